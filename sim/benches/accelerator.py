"""Bench of the whole accelerator at its ports: texts of several streams, against the golden model.

A small random model lies in a memory with one port for matrices and vectors, or one for each, that has no
beat in some cycles; tokens come late, results and raw logits wait. Compared are chosen tokens, scales, raw
logits, states, positions and the number of clamped values.
"""

import tempfile
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from ...hdl.accelerator import Accelerator
from ...hdl.compiler import compile_program
from ...hdl.conductor import STOPS
from ...hdl.config import AcceleratorConfig
from ...models.checkpoint import Checkpoint
from ...models.config import ModelConfig
from ...models.golden import GoldenModel, Logits
from ...models.image import Image, Layout, in_memory_image
from ...models.numerics import ACT, to_scale
from ...models.quantise import Block, quantise
from ...models.synthesis import synthesise
from .driver import Driver, Ints, Random, expect
from .parts import Agent, Bench, Picture, Sink, Source, named, run_until, step

__all__ = ["BENCHES", "SMALL", "System", "Text", "small_system"]

_PER_TOKEN = 40_000
"""Cycles after which a token can't be expected any more."""


@dataclass(frozen=True)
class System:
    """The shape of a model, and an accelerator for it."""

    model: ModelConfig
    config: AcceleratorConfig

    def image(self) -> Image:
        """Return a random model, laid out for the accelerator."""
        with tempfile.TemporaryDirectory() as folder:
            synthesise(self.model, folder, seed=1, dtype="float32")
            return in_memory_image(quantise(Checkpoint(folder)), self.config.layout)


def small_system(layers: int = 2, streams: int = 2, **shape: int) -> System:
    """Two column blocks in one matrix of each layer, no dimension a multiple of another, if not told."""
    odd = {"hidden_size": 21, "vocab_size": 23, "intermediate_size": 50}
    fields: dict[str, Any] = {"num_hidden_layers": layers, **odd, **shape}
    model = ModelConfig(**fields)
    return System(model, AcceleratorConfig("bench", Layout(8, 122), 24, 56, 64, 256, 0, 30, streams))


class _Specified:
    """`IntegerModel` of an image, whose layer 0 has no lower bound, whatever the image says."""

    def __init__(self, image: Image) -> None:
        self._image = image
        self.config, self.tokenizer = image.config, image.tokenizer
        self.embedding, self.head = image.embedding, image.head

    def block(self, layer: int) -> Block:
        """See `IntegerModel`."""
        block = self._image.block(layer)
        return block if layer else replace(block, bound=np.zeros_like(block.bound))


@dataclass(frozen=True)
class Text:
    """What one stream is asked for: a prompt, and so many new tokens.

    Parameters
    ----------
    prompt
        At least one token.
    new_tokens
        1 or more.
    stream
        Whose text it is.
    afresh
        Whether it begins at position 0, else it goes on.
    """

    prompt: Sequence[int]
    new_tokens: int = 1
    stream: int = 0
    afresh: bool = False


@dataclass
class _Settings:
    """Settings of a run, as the accelerator has them."""

    stops: list[int] = field(default_factory=lambda: [0] * STOPS)
    stops_enabled: int = 0
    sample: int = 0
    emit_raw: int = 0
    halt: int = 0
    chain: int = 0
    temperature_mantissa: int = 0
    temperature_exponent: int = 0
    seeds: list[int] = field(default_factory=list)

    @property
    def temperature(self) -> tuple[int, int] | None:
        return (self.temperature_mantissa, self.temperature_exponent) if self.sample else None


class _Memory:
    """Weight memory: requests are queued; with one port, vectors go first."""

    def __init__(self, beats: Sequence[int], random: Random, stalls: float, ports: int) -> None:
        self._beats = beats
        self._random = random
        self._stalls = stalls
        self._ports = ports
        self._queues: dict[str, deque[int]] = {"": deque(), "vector_": deque()}
        self._offered = {"": False, "vector_": False}

    def inputs(self, driver: Driver) -> dict[str, Any]:
        """See `Agent`."""
        given: dict[str, Any] = {}
        for channel, queue in self._queues.items():
            here = bool(queue) and (self._offered[channel] or self._random.random() >= self._stalls)
            self._offered[channel] = here
        vector_moves = self._offered["vector_"] and driver.registered("vector_beats__ready")
        if self._ports == 1 and vector_moves:
            self._offered[""] = False
        for channel, queue in self._queues.items():
            payload = f"{channel}beats__payload"
            offered = self._offered[channel]
            given[f"{channel}beats__valid"] = int(offered)
            given |= {payload: queue[0]} if offered else driver.noise(self._random, payload)
            given[f"{channel}request__ready"] = int(self._random.random() >= self._stalls)
        self._given = given
        return given

    def see(self, outputs: SimpleNamespace) -> None:
        """See `Agent`."""
        for channel, queue in self._queues.items():
            if self._offered[channel] and getattr(outputs, f"{channel}beats__ready"):
                queue.popleft()
                self._offered[channel] = False
            if getattr(outputs, f"{channel}request__valid") and self._given[f"{channel}request__ready"]:
                request = getattr(outputs, f"{channel}request__payload")
                queue.extend(self._beats[request.address : request.address + request.count])

    @property
    def empty(self) -> bool:
        """Whether every beat that was asked for has been taken."""
        return not any(self._queues.values())


class _Host:
    """Drives an accelerator, and keeps the golden model's part of every stream."""

    def __init__(
        self, driver: Driver, system: System, random: Random, *, stalls: float = 0.0, ports: int = 1
    ) -> None:
        self.driver = driver
        self.system = system
        self.random = random
        self.stalls = stalls
        image = system.image()
        self.golden = GoldenModel(_Specified(image))
        beats = [int.from_bytes(beat.tobytes(), "little") for beat in image.memory]
        self.memory = _Memory(beats, random, stalls, ports)
        self.states = [self.golden.initial_state() for _ in range(system.config.streams)]
        self.positions = [0] * system.config.streams

    async def load(self) -> None:
        """Write the program."""
        for address, word in enumerate(compile_program(self.system.model, self.system.config).words()):
            await self.driver.cycle(program_write=1, program_address=address, program_word=word)
        self.driver.set(program_write=0)

    def _forward(self, stream: int, token: int) -> Logits:
        logits, self.states[stream] = self.golden.forward(np.array([token]), self.states[stream])
        self.positions[stream] += 1
        return logits

    def _choice(self, stream: int, logits: Logits, settings: _Settings, seed_of: int) -> tuple[Any, Ints]:
        """A result (token, mantissa, exponent), and the raw logits."""
        token = self.golden.choose(
            logits, self.positions[stream] - 1, settings.temperature, settings.seeds[seed_of]
        )
        return (token, int(logits.mantissa[-1]), int(logits.exponent[-1])), logits.sums[-1]

    def _expected(
        self, texts: Sequence[Text], settings: _Settings
    ) -> tuple[list[list[Any]], list[list[Any]]]:
        """Results and raw logits of each stream; states and positions move on."""
        streams = self.system.config.streams
        results: list[list[Any]] = [[] for _ in range(streams)]
        raw: list[list[Any]] = [[] for _ in range(streams)]
        stops = [stop for k, stop in enumerate(settings.stops) if settings.stops_enabled >> k & 1]
        for text in texts:
            k = text.stream
            if settings.chain:  # every token's logits, by the first streams in turn
                for t, token in enumerate(text.prompt):
                    at = t % settings.chain
                    result, sums = self._choice(0, self._forward(0, token), settings, at)
                    results[at].append((*result, 1))
                    raw[at] += enumerate(sums.tolist())
                continue
            for token in text.prompt[:-1]:
                self._forward(k, token)
            token = text.prompt[-1]
            for left in range(text.new_tokens, 0, -1):
                result, sums = self._choice(k, self._forward(k, token), settings, k)
                token = result[0]
                last = left == 1 or token in stops
                results[k].append((*result, int(last)))
                raw[k] += enumerate(sums.tolist())
                if last:
                    break
        return results, raw

    def _tokens(self, texts: Sequence[Text], chain: int) -> list[dict[str, int]]:
        """Tokens of all texts, the streams in turn."""
        queues = []
        for text in texts:
            queue = []
            for t, token in enumerate(text.prompt):
                last = t == len(text.prompt) - 1
                queue.append(
                    {
                        "token": token,
                        "logits": int(last or chain > 0),
                        "new_tokens": text.new_tokens if last and not chain else 0,
                        "stream": t % chain if chain else text.stream,
                    }
                )
            queues.append(queue)
        if len({text.stream for text in texts}) < len(texts):
            return [token for queue in queues for token in queue]  # one behind another
        longest = max(map(len, queues))
        return [queue[t] for t in range(longest) for queue in queues if t < len(queue)]

    async def talk(self, *texts: Text, **settings: Any) -> None:
        """Give texts, and compare all that comes."""
        driver, streams = self.driver, self.system.config.streams
        now = _Settings(**settings)
        now.seeds = now.seeds or self.random.integers(0, 1 << 32, streams).tolist()
        driver.set(settings=vars(now))
        for text in texts:
            if text.afresh:
                self.states[text.stream] = self.golden.initial_state()
                self.positions[text.stream] = 0
                await driver.cycle(set_position=1, state_stream=text.stream, new_position=0)
        driver.set(set_position=0)
        clamped, before = self.golden.saturations.count, driver.registered("saturations")
        results, raw = self._expected(texts, now)
        source = Source("tokens", self._tokens(texts, now.chain), self.random, self.stalls)
        sink = Sink("results", self.random, self.stalls)
        logits = Sink("raw", self.random, self.stalls)
        agents: list[Agent] = [self.memory, source, sink, logits]
        steps = sum(len(text.prompt) + text.new_tokens for text in texts)
        await run_until(
            driver, agents, lambda: not source.left and bool(driver.registered("idle")), steps * _PER_TOKEN
        )
        await step(driver, agents)
        for k in range(streams):
            given = [each for each in sink.taken if each.stream == k]
            found = [(each.token, each.mantissa, each.exponent, each.last) for each in given]
            expect(f"results of stream {k}", found, results[k])
            sums = [(each.row, each.sum) for each in logits.taken if each.stream == k]
            expect(f"raw logits of stream {k}", sums, raw[k] if now.emit_raw else [])
            position = int(driver.registered("positions")[k])
            if k == 0 or not now.chain:
                expect(f"position of stream {k}", position, self.positions[k])
            self.positions[k] = position  # the others' means nothing behind a chain
        clamps = self.golden.saturations.count - clamped
        expect("clamped values", driver.registered("saturations") - before, clamps)
        for k in [0] if now.chain else {text.stream for text in texts}:
            expect(f"state of stream {k}", await self.state(k), self.states[k].reshape(-1).tolist())

    async def state(self, stream: int) -> list[int]:
        """Read a stream's state."""
        values: list[int] = []
        agents: list[Agent] = [self.memory]
        for address in range(self.states[stream].size):
            await step(self.driver, agents, state_stream=stream, state_address=address)
            values.append(int((await step(self.driver, agents)).state_value))
        return values

    async def write_state(self, stream: int, state: Ints, position: int) -> None:
        """Write a stream's state and position."""
        agents: list[Agent] = [self.memory]
        self.driver.set(state_stream=stream, state_write=1)
        for address, value in enumerate(state.reshape(-1).tolist()):
            await step(self.driver, agents, state_address=address, state_write_value=value)
        await step(self.driver, agents, state_write=0, set_position=1, new_position=position)
        self.driver.set(set_position=0)
        self.states[stream], self.positions[stream] = state.copy(), position


async def _begun(driver: Driver, seed: int, system: System | None = None, **memory: Any) -> _Host:
    host = _Host(driver, system or small_system(), np.random.default_rng(seed), **memory)
    await host.load()
    return host


def _prompt(random: Random, count: int) -> list[int]:
    return [int(token) for token in random.integers(0, small_system().model.vocab_size, count)]


async def _one_token(driver: Driver) -> None:
    """For Amaranth's simulator: the smallest system, one token."""
    streams = driver.unit.config.streams
    host = _Host(driver, small_system(1, streams), np.random.default_rng(0))
    await host.load()
    await host.talk(Text([5]), emit_raw=1)


async def _two_tokens_at_once(driver: Driver) -> None:
    """For Amaranth's simulator: a token of each stream."""
    host = _Host(driver, small_system(1), np.random.default_rng(1))
    await host.load()
    await host.talk(Text([5], 1, 0), Text([9], 1, 1), emit_raw=1)


async def _texts_one_behind_another(driver: Driver) -> None:
    """On one stream: two requests at once, one that goes on, and a new text, whose state is zero again."""
    host = await _begun(driver, 1)
    await host.talk(Text([3, 7], 2), Text([1], 2))
    await host.talk(Text([9, 9], 1), emit_raw=1)
    await host.talk(Text([2, 8], 1, afresh=True))


async def _texts_at_once(driver: Driver) -> None:
    """Texts of different lengths and ends on both streams; one ends at its stop token."""
    host = await _begun(driver, 2, ports=2)
    await host.talk(Text([3, 7, 1], 1, 0), Text([4], 4, 1))
    await host.talk(Text([5], 3, 1), Text([6, 6], 1, 0), emit_raw=1)
    # Whatever the model likes to say: one of many tokens is soon a stop.
    await host.talk(Text([5], 5, 0), Text([1, 2], 4, 1), stops=[5, 11], stops_enabled=3)


async def _stalls_everywhere(driver: Driver) -> None:
    """A slow memory, late tokens, results and raw logits that wait."""
    for ports in (1, 2):
        host = await _begun(driver, 3 + ports, stalls=0.5, ports=ports)
        await host.talk(Text(_prompt(host.random, 2), 1, 0), Text([1], 2, 1), emit_raw=1)
        await driver.reset()


async def _samples(driver: Driver) -> None:
    host = await _begun(driver, 6, stalls=0.1)
    for temperature in (0.7, 3.0):
        mantissa, exponent = to_scale(1 / temperature)
        options = {"sample": 1, "temperature_mantissa": mantissa, "temperature_exponent": exponent}
        await host.talk(Text(_prompt(host.random, 2), 2, 0), Text([1], 3, 1), **options)


async def _positions_of_one_text(driver: Driver) -> None:
    """A prompt whose positions pass together, its rest of one; then one that goes on from there alone."""
    host = await _begun(driver, 7, stalls=0.2)
    await host.talk(Text(_prompt(host.random, 4)), chain=2, emit_raw=1)
    await host.talk(Text(_prompt(host.random, 1)), chain=1, emit_raw=1)
    await host.talk(Text([4, 2], 2))
    await host.talk(Text(_prompt(host.random, 2)), chain=2)


async def _saved_states(driver: Driver) -> None:
    """A state that was read is written into another stream, which goes on as the first would."""
    host = await _begun(driver, 8)
    await host.talk(Text([3, 7, 1], 2, 0))
    await host.write_state(1, host.states[0], host.positions[0])
    await host.talk(Text([4], 2, 1))
    corners = np.resize([ACT.low, ACT.high, 0, -1, 1], host.states[0].shape)
    await host.write_state(0, corners, 2**32 - 2)
    host.positions[0] = 2**32 - 2
    await host.talk(Text([4], 1, 0))


async def _reset_in_the_middle(driver: Driver) -> None:
    """Of a token, at any stage; a text behind it is right, whatever the state memory holds."""
    random = np.random.default_rng(9)
    host = await _begun(driver, 9)
    for cycles in (40, *random.integers(300, 5000, 3).tolist()):
        source = Source("tokens", host._tokens([Text([5, 6], 2, 0), Text([7], 2, 1)], 0), random)
        agents: list[Agent] = [host.memory, source, Sink("results", random)]
        for _ in range(cycles):
            await step(driver, agents)
        await driver.reset()
        host = _Host(driver, host.system, random)  # the program memory stays
        await host.talk(Text([3], 1, 0), Text([8], 1, 1))
        await driver.reset()


async def _many_steps(driver: Driver, seed: int, steps: int, **memory: Any) -> None:
    """Tokens of both streams; a step is seven products, of a model so small that these are soon done."""
    system = small_system(1, hidden_size=3, intermediate_size=4, vocab_size=5)
    host = await _begun(driver, seed, system, **memory)
    await host.talk(Text([3], steps, 0), Text([4, 1, 2], steps - 2, 1))


async def _long_run(driver: Driver) -> None:
    """560 products without a pause: 80 steps, 160 tokens."""
    await _many_steps(driver, 10, 80)


async def _long_run_with_stalls(driver: Driver) -> None:
    """280 products, 80 tokens, from a slow memory with one port and 280 with two; results wait."""
    for ports in (1, 2):
        await _many_steps(driver, 10 + ports, 40, stalls=0.4, ports=ports)
        await driver.reset()


async def _picture(driver: Driver) -> None:
    await _one_token(driver)


_PORTS = {
    "tokens__valid": "",
    "tokens__ready": "",
    "tokens__payload": "tokens__valid",
    "vector_request__valid": "",
    "vector_beats__valid": "",
    "request__valid": "",
    "beats__valid": "",
    "beats__ready": "",
    "raw__valid": "",
    "results__valid": "",
    "results__payload": "results__valid",
    "idle": "",
}

BENCHES = (
    Bench(
        "accelerator",
        Accelerator,
        {},
        Picture(_picture, _PORTS),
        (small_system().config,),
        named(
            _texts_one_behind_another,
            _texts_at_once,
            _stalls_everywhere,
            _samples,
            _positions_of_one_text,
            _saved_states,
            _reset_in_the_middle,
            _long_run,
            _long_run_with_stalls,
        ),
        ("probe", "status", "cycles", "layer"),
    ),
)
"""One bench, too large for Amaranth's simulator."""

SMALL = tuple(
    Bench(
        f"accelerator_{name}",
        Accelerator,
        {case.__name__.strip("_"): case},
        Picture(case, _PORTS),
        (small_system(1, streams).config,),
    )
    for name, streams, case in (("alone", 1, _one_token), ("pair", 2, _two_tokens_at_once))
)
"""Accelerators of a layer, small enough for Amaranth's simulator."""
