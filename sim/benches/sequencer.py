"""Bench of `hdl.sequencer`: whole programs, walked beside it as their instructions are described.

Units become ready late, the memory takes requests late, tokens come late; some streams have none.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from ...hdl.config import AcceleratorConfig
from ...hdl.isa import Epilogue, Instruction, Opcode
from ...hdl.sequencer import Sequencer
from ...models.image import Layout
from .driver import Driver, MismatchError, Random, expect
from .parts import Agent, Bench, Picture, Sink, named, run_until, step

__all__ = ["BENCHES", "run_drawn_program"]

_STREAMS = 3
_CONFIG = AcceleratorConfig("bench", Layout(8, 122), 64, 64, 4096, 256, streams=_STREAMS)
_UNITS = ("embed", "vector", "matrix")
_WIDE = 0xFFFFFFFF
_NONE = 0xABCD
"""Token of a stream that has none."""

Program = Sequence[Instruction]


class Start(NamedTuple):
    """A unit starts: which, with what beats, where in the model; EMBED for which stream."""

    unit: str
    instruction: int
    address: int
    beats: int
    layer: int
    state_base: int
    stream: int = 0


@dataclass(frozen=True)
class Step:
    """A token of each stream, or None; whether logits are wanted; `late` cycles after the step before."""

    tokens: tuple[int | None, ...]
    logits: bool = False
    late: int = 0


def _walk(program: Program, taken: Step) -> Iterator[Start]:
    """What a step must start, in order."""
    at = base = state_base = layer = 0
    while True:
        each = program[at]
        at += 1
        address = (each.address + base * each.layered) & _WIDE
        match each.opcode:
            case Opcode.LAYER:
                base += each.beats
                state_base += each.count
                layer += 1
                if layer != each.address:
                    at = each.blocks
            case Opcode.HEAD if taken.logits:
                pass
            case Opcode.HEAD | Opcode.END:
                return
            case Opcode.EMBED:
                for stream, token in enumerate(taken.tokens if layer == 0 else ()):
                    if token is not None:
                        where = (address + token * each.beats) & _WIDE
                        yield Start("embed", at - 1, where, each.beats, layer, state_base, stream)
            case opcode:
                unit = "matrix" if opcode == Opcode.MATMUL else "vector"
                yield Start(unit, at - 1, address, each.beats, layer, state_base)


@dataclass
class _Surroundings:
    """Gives steps, and plays the units: each is busy for a while once it has started.

    Parameters
    ----------
    busy
        Cycles, at most, until a unit, or what is to be drained, is ready again.
    """

    program: Program
    steps: Sequence[Step]
    random: Random
    busy: int = 0
    starts: list[Start] = field(default_factory=list)
    cycles: list[int] = field(default_factory=list)
    begun: list[int] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._cycle = 0
        self._running = False
        self._free_at = dict.fromkeys((*_UNITS, "drained"), 0)
        self._bits = [sum(word << 16 * k for k, word in enumerate(each.words())) for each in self.program]

    def inputs(self, driver: Driver) -> dict[str, Any]:
        """See `Agent`."""
        given: dict[str, Any] = {f"{unit}_ready": int(self._ready(unit)) for unit in _UNITS}
        given["drained"] = int(all(map(self._ready, self._free_at)))
        given["start"] = 0
        if not self._running and len(self.begun) < len(self.steps):
            now = self.steps[len(self.begun)]
            if self._cycle >= (self.ended[-1] + 1 if self.ended else 0) + now.late:
                given |= {
                    "start": 1,
                    "logits": int(now.logits),
                    "active": sum(1 << k for k, token in enumerate(now.tokens) if token is not None),
                    "token": [_NONE if token is None else token for token in now.tokens],
                }
                self.begun.append(self._cycle)
        self._given = given
        return given

    def _ready(self, unit: str) -> bool:
        return self._cycle >= self._free_at[unit]

    def see(self, outputs: SimpleNamespace) -> None:
        """See `Agent`."""
        expect("running", outputs.running, int(self._running))
        started = [unit for unit in _UNITS if getattr(outputs, unit)]
        if len(started) > 1:
            raise MismatchError(f"cycle {self._cycle}: {' and '.join(started)} start at once")
        for unit in started:
            expect(f"{unit} is ready", self._given[f"{unit}_ready"], 1)
            request = getattr(outputs, f"{'matrix' if unit == 'matrix' else 'vector'}_request__payload")
            bits = outputs.instruction.as_bits()
            self.starts.append(
                Start(
                    unit,
                    self._bits.index(bits) if bits in self._bits else -1,
                    request.address,
                    request.count,
                    outputs.layer,
                    outputs.state_base,
                    outputs.embed_stream if unit == "embed" else 0,
                )
            )
            self.cycles.append(self._cycle)
            if unit == "embed":
                expect("a token for EMBED", int(self._running), 1)
            wait = int(self.random.integers(self.busy + 1))
            for name in (unit, "drained"):
                self._free_at[name] = max(self._free_at[name], self._cycle + 1 + wait)
        if outputs.done:
            expect("drained", self._given["drained"], 1)
            expect("a step that is done", int(self._running), 1)
            self.ended.append(self._cycle)
            self._running = False
        if self._given["start"]:
            self._running = True
        self._cycle += 1


async def _load(driver: Driver, program: Program) -> None:
    words = [word for each in program for word in each.words()]
    for address, word in enumerate(words):
        await driver.cycle(program_write=1, program_address=address, program_word=word)
    driver.set(program_write=0)


async def _run(
    driver: Driver,
    program: Program,
    steps: Sequence[Step],
    random: Random,
    *,
    stalls: float = 0.0,
    busy: int = 0,
) -> _Surroundings:
    """Run steps on a program that is there, behind a reset, and compare all starts and their requests."""
    around = _Surroundings(program, steps, random, busy)
    requests = {name: Sink(f"{name}_request", random, stalls) for name in ("matrix", "vector")}
    expected = [each for now in steps for each in _walk(program, now)]
    patience = 1000 + (60 + 20 * busy) * (len(expected) + 10 * len(steps)) + sum(now.late for now in steps)
    await run_until(driver, [around, *requests.values()], lambda: len(around.ended) == len(steps), patience)
    # What the next step begins with may have been started already.
    expect("starts", around.starts[: len(expected)], expected)
    for name, sink in requests.items():
        asked = [each for each in around.starts if (each.unit == "matrix") == (name == "matrix")]
        found = [(each.address, each.count) for each in sink.taken]
        expect(f"{name} requests", found, [(each.address, each.beats) for each in asked])
    return around


def _vector(random: Random, **fields: Any) -> Instruction:
    opcode = random.choice([Opcode.PROJECT, Opcode.SCALE, Opcode.ENERGY, Opcode.BOUND])
    flags = ("running", "scale", "product", "own_energy", "against_g", "embedded")
    drawn: dict[str, Any] = {name: bool(random.integers(2)) for name in flags}
    return Instruction(
        Opcode(opcode),
        address=int(random.integers(_WIDE)),
        count=int(random.integers(1 << 16)),
        beats=int(random.integers(1 << 32)),
        slot=int(random.integers(2)),
        **drawn,
        **fields,
    )


def _matrix(random: Random, **fields: Any) -> Instruction:
    return Instruction(
        Opcode.MATMUL,
        address=int(random.integers(_WIDE)),
        count=int(random.integers(1 << 16)),
        blocks=int(random.integers(1 << 16)),
        beats=int(random.integers(1 << 32)),
        epilogue=Epilogue(int(random.integers(len(Epilogue)))),
        slot=int(random.integers(2)),
        **fields,
    )


def _draw_program(random: Random, layers: int, body: int = 6, head: int = 3) -> Program:
    """A few instructions, a body that is run `layers` times, and a head; no two instructions are equal."""

    def some(count: int, layered: bool) -> list[Instruction]:
        kinds = (_vector, _matrix)
        drawn = [kinds[random.integers(2)](random, layered=layered) for _ in range(count)]
        return [replace(each, count=(each.count & ~31) + k) for k, each in enumerate(drawn)]

    first = some(int(random.integers(1, 3)), False)
    embed = Instruction(
        Opcode.EMBED, address=int(random.integers(1000)), count=21, beats=int(random.integers(1, 1 << 16))
    )
    inside = some(body, True)
    inside.insert(int(random.integers(body)), embed)
    layer = Instruction(
        Opcode.LAYER, address=layers, count=int(random.integers(200)), blocks=len(first),
        beats=int(random.integers(1 << 28)),
    )  # fmt: skip
    return [*first, *inside, layer, Instruction(Opcode.HEAD), *some(head, False), Instruction(Opcode.END)]


def _draw_step(random: Random, late: int = 0, streams: int = _STREAMS) -> Step:
    tokens = random.choice([0, 1, 0x9A3C, 0xFFFF, int(random.integers(1 << 16))], streams).tolist()
    active = random.random(streams) < 0.6
    active[random.integers(streams)] = True
    chosen = tuple(token if here else None for token, here in zip(tokens, active, strict=True))
    return Step(chosen, bool(random.integers(2)), int(random.integers(late + 1)))


async def run_drawn_program(
    driver: Driver, random: Random, layers: int, body: int, head: int, streams: int
) -> None:
    """Three steps of a random program: so many layers, instructions of each, and of the head."""
    program = _draw_program(random, layers, body, head)
    await _load(driver, program)
    steps = [_draw_step(random, 0, streams) for _ in range(3)]
    await _run(driver, program, steps, random, stalls=0.2, busy=5)


async def _programs(driver: Driver) -> None:
    """Programs of 1 to 8 layers; steps with and without logits, of some streams or all."""
    random = np.random.default_rng(0)
    for layers in (1, 2, 3, 8):
        program = _draw_program(random, layers)
        await _load(driver, program)
        steps = [Step((5, 6, 7)), Step((None, 0xFFFF, None), True), *(_draw_step(random) for _ in range(3))]
        await _run(driver, program, steps, random)
        await driver.reset()


async def _without_a_bubble(driver: Driver) -> None:
    random = np.random.default_rng(1)
    program = _draw_program(random, 2)
    await _load(driver, program)
    await _run(driver, program, [_draw_step(random) for _ in range(60)], random)


async def _with_bubbles_and_stalls(driver: Driver) -> None:
    random = np.random.default_rng(2)
    for stalls, busy, late in ((0.6, 0, 0), (0.0, 40, 0), (0.0, 0, 300), (0.4, 20, 100)):
        program = _draw_program(random, int(random.integers(1, 4)))
        await _load(driver, program)
        await _run(
            driver, program, [_draw_step(random, late) for _ in range(10)], random, stalls=stalls, busy=busy
        )
        await driver.reset()


async def _cycles(driver: Driver) -> None:
    """Of an instruction, of EMBED's product by the token's bits, of the next step's first instruction."""
    random = np.random.default_rng(3)
    first, embed = _vector(random), Instruction(Opcode.EMBED, count=21, beats=9)
    program = [first, embed, _matrix(random), _vector(random), _matrix(random), Instruction(Opcode.END)]
    await _load(driver, program)
    latency = driver.unit.latency
    for token in (0, 1, 6, 0xFFFF):
        around = await _run(driver, program, [Step((token,) * _STREAMS), Step((1, 1, 1), late=200)], random)
        bits = token.bit_length()
        began, *embeds = around.cycles[: 1 + _STREAMS]
        # Until the unit starts, from reset on; then the token is fetched, and its bits are counted, and that
        # there are no more.
        expect("cycles to the first start", began - around.begun[0], latency + 1)
        expect("cycles to the first embedding", embeds[0] - began, latency + bits + 3)
        expect("cycles from stream to stream", np.diff(embeds), [bits + 6] * (_STREAMS - 1))
        rest = around.cycles[1 + _STREAMS : 4 + _STREAMS]
        expect("cycles behind the embeddings", rest[0] - embeds[-1], latency + 1)
        expect("cycles an instruction", np.diff(rest), [latency] * 2)
        again = next(cycle for cycle in around.cycles if cycle > around.ended[0])
        expect("cycles to the next program", again - around.ended[0], latency)
        expect("whether it begins before its token", again < around.begun[1], True)
        await driver.reset()


async def _reset_in_the_middle(driver: Driver) -> None:
    """The program stays, and begins with its first instruction."""
    random = np.random.default_rng(4)
    program = _draw_program(random, 3)
    await _load(driver, program)
    for cycles in (1, 5, 12, 13, 14, *random.integers(20, 300, 6).tolist()):
        agents: list[Agent] = [_Surroundings(program, [Step((1, 2, 3), True)], random)]
        agents += [Sink(f"{name}_request", random) for name in ("matrix", "vector")]
        for _ in range(cycles):
            await step(driver, agents)
        await driver.reset()
        for _ in range(20):
            seen = await driver.cycle(embed_ready=1, vector_ready=1, matrix_ready=1, drained=1)
            found = [getattr(seen, name) for name in (*_UNITS, "running", "done", "layer", "state_base")]
            expect("after a reset", found, [0] * 7)
        await _run(driver, program, [_draw_step(random) for _ in range(2)], random)
        await driver.reset()


async def _picture(driver: Driver) -> None:
    random = np.random.default_rng(0)
    project = Instruction(Opcode.PROJECT, address=10, count=21, beats=4, running=True)
    matmul = Instruction(Opcode.MATMUL, address=20, count=21, blocks=1, beats=21)
    program = [
        project,
        Instruction(Opcode.EMBED, address=100, count=21, beats=5),
        matmul,
        Instruction(Opcode.END),
    ]
    await _load(driver, program)
    await driver.reset()
    await _run(driver, program, [Step((2, None, 1))], random, busy=4)


BENCHES = (
    Bench(
        "sequencer",
        Sequencer,
        named(_programs, _cycles, _reset_in_the_middle),
        Picture(
            _picture,
            {
                "start": "",
                "active": "start",
                "running": "",
                "vector_request__valid": "",
                "vector_request__payload": "vector_request__valid",
                "vector": "",
                "embed": "",
                "matrix_request__valid": "",
                "matrix_request__payload": "matrix_request__valid",
                "matrix": "",
                "drained": "",
                "done": "",
            },
        ),
        (_CONFIG,),
        named(_without_a_bubble, _with_bubbles_and_stalls),
    ),
)
"""One bench."""
