"""Bench of `hdl.datapath`: one stream's way from sums to elements, and from these to the next int8 inputs.

What all streams share is played beside it: passes over vectors with their weights, and rows of sums, which
are any numbers. Compared with `models.numerics` are all elements that leave a unit, int8 inputs, output
scales, states, chosen tokens, raw logits and the number of clamped values.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from ...hdl.config import AcceleratorConfig
from ...hdl.datapath import PROBES, Datapath
from ...hdl.isa import Epilogue as Mode
from ...hdl.rescale import Rescaler
from ...hdl.vectors import VectorControl
from ...models import numerics
from ...models.image import Layout
from ...models.numerics import ACT, GATE, INT8, NOISE, SCALE, SUM, VECTOR, WEIGHT, Saturations
from .driver import Driver, Ints, MismatchError, Random, expect
from .parts import Agent, Bench, Picture, Sink, corners_and_random, named, run_until, step

__all__ = ["BENCHES", "Shape", "token_of"]

_HIDDEN, _INTERMEDIATE, _LAYERS, _VOCABULARY = 24, 31, 2, 40
_CONFIG = AcceleratorConfig(
    "bench", Layout(8, 122), _HIDDEN, _INTERMEDIATE, _HIDDEN * _LAYERS, 256, vocabulary=_VOCABULARY
)


@dataclass(frozen=True)
class Shape:
    """Of a model, at most that of the accelerator."""

    hidden: int = _HIDDEN
    intermediate: int = _INTERMEDIATE
    vocabulary: int = _VOCABULARY


_SETTLING = 12
"""Cycles from the start of a vocabulary to its first row, at least."""
_PATIENCE = 2000

Events = list[tuple[int, int, int]]


@dataclass(frozen=True)
class Header:
    """SCALEs of a BitLinear: its constant and its epsilon."""

    constant: tuple[int, int]
    epsilon: tuple[int, int] = (1 << (SCALE.bits - 1), -40)

    @property
    def fields(self) -> dict[str, int]:
        """As `hdl.datapath.HEADER`."""
        return {
            "mantissa": self.constant[0],
            "exponent": self.constant[1],
            "epsilon": self.epsilon[0],
            "epsilon_exponent": self.epsilon[1],
        }


@dataclass(frozen=True)
class Pass:
    """A pass over a vector: its weights, (n,), and how it is made; see `hdl.vectors`."""

    weights: Ints
    projecting: bool = True
    running: bool = False
    own_energy: bool = False
    product: bool = False
    against_g: bool = False
    bound: bool = False
    slot: int = 0


class _Vectors:
    """Plays `VectorControl` and `WeightBuffer`, and keeps the settings of the pass before.

    Attributes
    ----------
    complete
        Whether int8 inputs are complete: they must stay so until the next projection, whatever is produced.
    """

    def __init__(self, random: Random, bubbles: float, width: int) -> None:
        self._random = random
        self._bubbles = bubbles
        self._width = width
        self._now: Pass | None = None
        self._held = {"measured": 1}
        self._cycle = self._given = self._rest = 0
        self._read: list[int | None] = [None, None]
        self.complete = False
        # A word that is gathered is a cycle late, and its weights with it.
        self._weights: list[Any] = [None] * (1 if width == 1 else 2)

    @property
    def idle(self) -> bool:
        """Whether no pass is in work."""
        return self._now is None

    @property
    def running(self) -> bool:
        """Whether elements that are produced are taken."""
        return self._now is not None and self._now.running and self._cycle > 2

    def start(self, now: Pass) -> None:
        """Begin a pass in the coming cycle."""
        self._now = now
        self.complete &= not now.projecting
        self._cycle = self._given = 0
        self._rest = VectorControl.latency_of(self._width) + 1

    def inputs(self, driver: Driver) -> dict[str, Any]:
        """See `Agent`."""
        given: dict[str, Any] = driver.noise(self._random, "address", "weight", "bound_row", "project_count")
        given["project"] = 0
        now = self._now
        # Without a word that is read, it is noise which of its elements are the vector's.
        pulses = {"present": int(self._random.integers(1 << self._width))} if self._width > 1 else {}
        if now is not None:
            if self._cycle == 0 and now.projecting:
                given |= {"project": 1, "project_count": len(now.weights), "project_slot": now.slot}
            if self._cycle == 1:
                self._held |= {
                    name: int(getattr(now, name)) for name in ("projecting", "own_energy", "product")
                }
                if now.projecting:
                    self._held["measured"] = 0
                if not now.bound:
                    self._held["against_g"] = int(now.against_g)
            if self._cycle == 2:
                pulses["clear"] = int(not now.bound)
            if self._cycle > 2:
                pulses |= self._element(now, given)
        given["vector_pass"] = self._held | pulses
        return given

    def _element(self, now: Pass, given: dict[str, Any]) -> dict[str, int]:
        """A cycle of the pass itself."""
        if now.running:
            weight, self._weights = self._weights[0], [*self._weights[1:], None]
            if weight is not None:
                given["weight"] = weight
            return {"running": 1}
        before, last = self._read
        left = self._given < len(now.weights)
        reads = left and self._random.random() >= self._bubbles
        self._read = [self._given if reads else None, before]
        if reads:
            given["address"] = self._given
            self._given += self._width
        if last is not None:
            given |= {"weight": self._word(now, last), "bound_row": last}
        pulses = {
            "reading": int(left),
            "valid": int(before is not None and not now.bound),
            "bound_write": int(last is not None and now.bound),
        }
        if self._width > 1 and before is not None:
            pulses["present"] = (1 << min(self._width, len(now.weights) - before)) - 1
        return pulses

    def _word(self, now: Pass, first: int) -> Any:
        """Weights from one on: a number, or a word of them, with anything behind the last one."""
        here = now.weights[first : first + self._width].tolist()
        if self._width == 1:
            return here[0]
        beyond = self._random.integers(WEIGHT.low, WEIGHT.high + 1, self._width - len(here))
        return [*here, *beyond.tolist()]

    def see(self, outputs: SimpleNamespace) -> None:
        """See `Agent`."""
        if self.complete:
            expect("complete, until the next projection", outputs.complete, 1)
        now = self._now
        if now is None:
            return
        if self.running and outputs.produced:
            if self._given == len(now.weights):
                raise MismatchError("an element is produced of which nobody knows")
            self._given += 1
            if self._given % self._width == 0 or self._given == len(now.weights):
                self._weights[-1] = self._word(now, (self._given - 1) // self._width * self._width)
        self._cycle += 1
        if self._given >= len(now.weights):
            self._rest -= 1
        if self._rest == 0:
            self._held["measured"] = 1
            self._now = None


class _Rows:
    """Plays `MatMul`, or the embedding's elements, and keeps all that leaves the stream.

    Attributes
    ----------
    events
        Of each unit of `PROBES` what it wrote: mode, row, value.
    saturations
        Values clamped.
    """

    def __init__(self, random: Random, bubbles: float, behind: int) -> None:
        self._random = random
        self._bubbles = bubbles
        self._behind = behind
        self._values: Sequence[int] = ()
        self._beside: Mapping[str, Ints] = {}
        self._begin: dict[str, Any] = {}
        self._row = self._rest = 0
        self._waits = self._owed = self._one_by_one = False
        self._late: list[int | None] = [None] * Rescaler.latency
        self.events: dict[str, Events] = {unit: [] for unit in PROBES}
        self.saturations = 0

    @property
    def idle(self) -> bool:
        """Whether every row has had its consequences."""
        return self._rest == 0

    def start(
        self,
        values: Ints,
        begin: Mapping[str, Any],
        beside: Mapping[str, Ints] | None = None,
        one_by_one: bool = False,
    ) -> None:
        """Begin with the inputs `begin`, a pulse; what is `beside` a row comes with its output."""
        self._values = values.tolist()
        self._begin = dict(begin)
        self._beside = beside or {}
        self._row = 0
        self._rest = self._behind
        self._one_by_one = one_by_one

    def inputs(self, driver: Driver) -> dict[str, Any]:
        """See `Agent`."""
        begin, self._begin = self._begin, {}
        given = {"enter": 0, "embed": 0, "sum_valid": 0, "embedding_valid": 0}
        given |= driver.noise(self._random, "sum", "row", "embedding", *self._beside)
        late, self._late = self._late[0], [*self._late[1:], None]
        if late is not None:
            given |= {name: int(column[late]) for name, column in self._beside.items()}
        if not begin and not self.idle and self._row < len(self._values) and not self._owed:
            if self._random.random() >= self._bubbles:
                value = self._values[self._row]
                port = "embedding" if driver.given("mode") == Mode.EMBED else "sum"
                given |= {f"{port}_valid": 1, port: value}
                if port == "sum":
                    given["row"] = self._row
                self._late[-1] = self._row
                self._owed = self._one_by_one
                self._row += 1
        elif self._row == len(self._values) and not self._owed and self._rest:
            self._rest -= 1
        return given | begin

    def see(self, outputs: SimpleNamespace) -> None:
        """See `Agent`."""
        for unit, element in zip(PROBES, outputs.probe, strict=True):
            if element.valid:
                self.events[unit].append((element.mode, element.row, element.value))
        self.saturations += outputs.saturations
        if outputs.taken:
            self._owed = False


@dataclass
class _Sampling:
    """How a head chooses; without a temperature the largest sum."""

    temperature: tuple[int, int] | None = None
    seed: int = 0
    position: int = 0
    emit_raw: bool = False


class _Stream:
    """Drives the unit, and knows what it must hold.

    Attributes
    ----------
    x, u
        Vectors in its memory, VECTOR.
    state
        (layers, hidden) ACT.
    """

    def __init__(
        self,
        driver: Driver,
        random: Random,
        *,
        bubbles: float = 0.0,
        stalls: float = 0.0,
        active: bool = True,
    ) -> None:
        self.driver = driver
        self.random = random
        self.active = active
        self.stalls = stalls
        self.vectors = _Vectors(random, bubbles, driver.bits("weight") // WEIGHT.bits)
        self.rows = _Rows(random, bubbles, driver.unit.latency)
        self.agents: list[Agent] = [self.vectors, self.rows]
        self.x = self.u = self.vector = np.zeros(0, np.int64)
        self.levels = np.zeros(1, np.int64)
        self.i = self.f = np.zeros(0, np.int64)
        self.peak = self.energy = self.against = np.zeros((), np.int64)
        self.scale: tuple[Any, Any] = (0, 0)
        self.state = np.zeros((_LAYERS, _HIDDEN), np.int64)
        driver.set(active=int(active), busy=1)

    async def running(self) -> None:
        """Wait until elements that are produced are taken."""
        await run_until(self.driver, self.agents, lambda: self.vectors.running)

    async def idle(self) -> None:
        """Wait until pass and rows have ended."""
        await run_until(self.driver, self.agents, lambda: self.vectors.idle and self.rows.idle, _PATIENCE)

    # Passes

    async def over(self, now: Pass) -> None:
        """Pass over a vector that is there, and compare int8 inputs."""
        self.vectors.start(now)
        await self.idle()
        await self._gathered(now, self.u if now.product else self.x)

    async def _gathered(self, now: Pass, vector: Ints) -> None:
        """Keep what a pass must have found, and compare int8 inputs."""
        if now.bound:
            return
        if not now.projecting:
            normal = numerics.normalise(vector, self.levels[-1])
            self.energy = numerics.squares(numerics.product(normal, now.weights))
            return
        self.levels = levels = numerics.running_levels(vector)
        normal = numerics.normalise(vector, levels)
        products = numerics.product(normal, now.weights)
        self.peak = numerics.running_peak(products, levels)
        if now.own_energy:
            self.energy = numerics.running_squares(normal, levels)
        expected = numerics.quantise(numerics.align(products, levels), *numerics.reciprocal(self.peak))
        for _ in range(_PATIENCE):
            seen = await step(self.driver, self.agents)
            if seen.complete:
                break
        expect("complete, certain, slot", [seen.complete, seen.certain, seen.current_slot], [1, 1, now.slot])
        self.vectors.complete = True
        tables = _CONFIG.layout.tables
        found: list[int] = []
        for word in range(-(-len(expected) // tables)):
            await step(self.driver, self.agents, word_address=now.slot << _CONFIG.slot_bits | word)
            bits = self.driver.registered("word")
            found += np.frombuffer(bits.to_bytes(tables, "little"), np.int8).tolist()
        expect("int8 inputs", found[: len(expected)], expected)

    # Scales

    async def output_scale(self, header: Header, sampling: _Sampling | None = None) -> None:
        """Compute the output scale of what was measured last."""
        sampling = sampling or _Sampling()
        mantissa, exponent = sampling.temperature or (0, 0)
        given = {
            "sample": int(sampling.temperature is not None),
            "temperature_mantissa": mantissa,
            "temperature_exponent": exponent,
            "seed": sampling.seed,
            "emit_raw": int(sampling.emit_raw),
        }
        self.driver.set(sampling=given, position=sampling.position, header=header.fields)
        seen = await step(self.driver, self.agents, scale_start=1)
        self.driver.set(scale_start=0)
        for _ in range(_PATIENCE):
            if seen.scale_done:
                break
            seen = await step(self.driver, self.agents)
        nested = self.driver.given("vector_pass").get("against_g", 0)
        epsilon = numerics.epsilon_term(
            *header.epsilon, numerics.LEVEL_SHIFT * self.levels[-1], self.against if nested else 1
        )
        self.scale = numerics.inverse_root_scale(header.constant, self.peak, self.energy, epsilon)
        found = self.driver.registered("mantissa"), self.driver.registered("exponent")
        expect("output scale", found, self.scale)
        if sampling.temperature:
            self.scale = numerics.multiply_scale(*self.scale, sampling.temperature)

    # Rows

    async def embed(self, elements: Ints, header: Header, running: Pass | None = None) -> None:
        """Give an embedding's elements: the new x."""
        saturations = Saturations()
        self.x = numerics.rescale(elements, *header.constant, VECTOR, saturations)
        begin = {"embed": 1, "embedding_header": header.fields}
        await self._pass(Mode.EMBED, elements, begin, running)
        await self._leave(Mode.EMBED, {"x": self.x}, saturations, running, self.x)

    async def product(
        self,
        mode: Mode,
        sums: Ints,
        *,
        running: Pass | None = None,
        reading: Pass | None = None,
        layer: int = 0,
        first: bool = False,
        keep: bool = True,
        chain: Ints | None = None,
    ) -> None:
        """Give a matrix product's sums, with a pass that takes what they make or reads x meanwhile."""
        wide = VECTOR if mode == Mode.RESIDUAL else ACT
        saturations = Saturations()
        outputs = numerics.rescale(sums, *self.scale, wide, saturations)
        self.against = np.zeros((), np.int64)
        leaves: dict[str, Ints] = {}
        made = outputs
        match mode:
            case Mode.SILU:
                self.i = leaves["i"] = numerics.silu(outputs)
            case Mode.GATE:
                self.f = leaves["f"] = numerics.lower_bound_gate(numerics.sigmoid(outputs), self.f)
            case Mode.MLGRU:
                before = np.zeros_like(self.i) if first else self.state[layer]
                h = numerics.mlgru(self.i, self.f, before if chain is None else chain, saturations)
                if keep:
                    self.state[layer] = h
                self.u = made = numerics.glu(numerics.silu(h), outputs)
                self.against = numerics.squares(outputs)
                leaves = {"g": outputs, "h": h, "product": made}
            case Mode.GLU:
                made = numerics.glu(numerics.silu(outputs[0::2]), outputs[1::2])
                leaves = {"product": made}
            case Mode.RESIDUAL:
                self.x = made = leaves["x"] = saturations.clamp(self.x + outputs, VECTOR)
        begin = {
            "enter": 1,
            "state_base": layer * _HIDDEN,
            "first": int(first),
            "keep": int(keep),
            "chained": int(chain is not None),
        }
        await self._pass(mode, sums, begin, running or reading, {} if chain is None else {"chain": chain})
        await self._leave(mode, leaves, saturations, running or reading, self.x if reading else made)

    async def _pass(
        self,
        mode: Mode,
        values: Ints,
        begin: Mapping[str, Any],
        now: Pass | None,
        beside: Mapping[str, Ints] | None = None,
    ) -> None:
        if now:
            self.vectors.start(now)
            if now.running:
                await self.running()
        self.driver.set(mode=mode)
        self.rows.start(values, begin, beside)
        await self.idle()

    async def _leave(
        self,
        mode: Mode,
        leaves: Mapping[str, Ints],
        saturations: Saturations,
        now: Pass | None = None,
        measured: Ints | None = None,
    ) -> None:
        """Compare what has left units since the last time."""
        for unit, events in self.rows.events.items():
            values = leaves[unit].tolist() if unit in leaves and self.active else []
            expect(unit, events, [(mode, row, value) for row, value in enumerate(values)])
            events.clear()
        expect("saturations", self.rows.saturations, saturations.count if self.active else 0)
        self.rows.saturations = 0
        if now and measured is not None:
            await self._gathered(now, measured)

    async def bound(self, bounds: Ints) -> None:
        """Give the lower bounds of the next product of f."""
        await self.over(Pass(bounds, projecting=False, bound=True))
        self.f = bounds

    async def head(self, sums: Ints, sampling: _Sampling) -> None:
        """Give sums of a vocabulary; compare the token, and raw logits."""
        saturations = Saturations()
        token = int(np.argmax(sums))
        if sampling.temperature:
            values = numerics.rescale(sums, *self.scale, VECTOR, saturations)
            noise = numerics.gumbel_noise(sampling.seed, sampling.position, len(sums))
            token = int(np.argmax(values + (noise << (VECTOR.fraction - NOISE.fraction))))
        await step(self.driver, self.agents, head_start=1)
        self.driver.set(head_start=0)
        for _ in range(_SETTLING):
            await step(self.driver, self.agents)
        raw = Sink("raw", self.random, self.stalls)
        self.agents.append(raw)
        self.driver.set(mode=Mode.HEAD)
        emits = sampling.emit_raw and self.active
        self.rows.start(sums, {"enter": 1}, one_by_one=emits)
        await self.idle()
        self.agents.remove(raw)
        found = [(int(each.row), int(each.sum)) for each in raw.taken]
        expect("raw logits", found, list(enumerate(sums.tolist())) if emits else [])
        expect("token", self.driver.registered("token"), token)
        await self._leave(Mode.HEAD, {}, saturations)

    # State

    async def write_state(self, state: Ints) -> None:
        """Write all layers' states."""
        self.driver.set(busy=0, state_write=1)
        for address, value in enumerate(state.reshape(-1).tolist()):
            await step(self.driver, self.agents, state_address=address, state_write_value=value)
        self.driver.set(busy=1, state_write=0)
        self.state = state.copy()

    async def check_state(self) -> None:
        """Read all layers' states, and compare."""
        found = []
        self.driver.set(busy=0)
        for address in range(self.state.size):
            await step(self.driver, self.agents, state_address=address)
            found.append(self.driver.registered("state_value"))
        self.driver.set(busy=1)
        expect("state", found, self.state.reshape(-1).tolist())


# What is given


@dataclass
class _Draw:
    """Random numbers of a model and a text."""

    random: Random
    slot: int = field(default=0)

    def weights(self, count: int) -> Ints:
        """Norm weights."""
        return corners_and_random(self.random, WEIGHT.low + 1, WEIGHT.high, count)

    def sums(self, count: int) -> Ints:
        """Sums of all sizes; few do not fit the rescaler."""
        sums = self.random.integers(SUM.low, SUM.high + 1, count)
        return sums >> self.random.integers(6, SUM.bits, count)

    def header(self, low: int, high: int) -> Header:
        """SCALEs whose constant's exponent is from `low` to `high`."""

        def mantissa() -> int:
            return int(self.random.integers(1 << (SCALE.bits - 1), SCALE.high + 1))

        epsilon = (mantissa(), int(self.random.integers(-50, -10)))
        return Header((mantissa(), int(self.random.integers(low, high + 1))), epsilon)

    def project(self, count: int, **how: Any) -> Pass:
        """A projection, into the other slot than the one before."""
        self.slot = 1 - self.slot
        return Pass(self.weights(count), slot=self.slot, **how)

    def energy(self, count: int, **how: Any) -> Pass:
        """An energy pass."""
        return Pass(self.weights(count), projecting=False, **how)


_ACT, _VECTOR = (-32, -22), (-30, -18)
"""Exponents of constants at which outputs in these formats use their range, and sometimes leave it."""


async def _layer(
    stream: _Stream, draw: _Draw, layer: int, last: bool = False, *, shape: Shape, **how: Any
) -> None:
    """A layer behind the projection of x for i; the last one does not go on."""
    d, wide = shape.hidden, shape.intermediate
    await stream.over(draw.energy(d))
    await stream.output_scale(draw.header(*_ACT))
    await stream.product(Mode.SILU, draw.sums(d), reading=draw.project(d))
    await stream.bound(draw.random.integers(0, GATE.high + 1, d))
    await stream.output_scale(draw.header(*_ACT))
    await stream.product(Mode.GATE, draw.sums(d), reading=draw.project(d))
    await stream.output_scale(draw.header(*_ACT))
    await stream.product(Mode.MLGRU, draw.sums(d), running=draw.project(d, running=True), layer=layer, **how)
    await stream.over(draw.energy(d, product=True, against_g=True))
    await stream.output_scale(draw.header(*_VECTOR))
    await stream.product(Mode.RESIDUAL, draw.sums(d), running=draw.project(d, running=True))
    await stream.over(draw.energy(d))
    await stream.output_scale(draw.header(*_ACT))
    running = draw.project(wide, running=True, own_energy=True)
    await stream.product(Mode.GLU, draw.sums(2 * wide), running=running)
    await stream.output_scale(draw.header(*_VECTOR))
    onwards = None if last else draw.project(d, running=True)
    await stream.product(Mode.RESIDUAL, draw.sums(d), running=onwards)


async def _token(
    stream: _Stream,
    draw: _Draw,
    sampling: _Sampling | None = None,
    layers: int = _LAYERS,
    *,
    shape: Shape = Shape(),
    **how: Any,
) -> None:
    """A token, and the next one's choice."""
    elements = draw.random.integers(INT8.low, INT8.high + 1, shape.hidden)
    await stream.embed(elements, draw.header(-22, -12), draw.project(shape.hidden, running=True))
    for layer in range(layers):
        last = layer == layers - 1 and sampling is None
        await _layer(stream, draw, layer, last, shape=shape, **how)
    if sampling is not None:
        await stream.over(draw.energy(shape.hidden))
        await stream.output_scale(draw.header(*_VECTOR), sampling)
        await stream.head(draw.sums(shape.vocabulary), sampling)


def _begun(driver: Driver, seed: int, **how: Any) -> tuple[_Stream, _Draw]:
    random = np.random.default_rng(seed)
    return _Stream(driver, random, **how), _Draw(random)


async def token_of(driver: Driver, shape: Shape, seed: int) -> None:
    """A token of a model of one layer, from zero state, and the next one's choice."""
    stream, draw = _begun(driver, seed, bubbles=0.1)
    stream.state = np.zeros((1, shape.hidden), np.int64)
    await stream.write_state(stream.state)
    await _token(stream, draw, _Sampling((20_000, -14), seed, 7), layers=1, shape=shape)
    await stream.check_state()


async def _odd_sizes(driver: Driver) -> None:
    """Vectors that end within a word, behind longer ones whose elements are still in the memory."""
    await token_of(driver, Shape(), 1)
    await token_of(driver, Shape(hidden=21, intermediate=30, vocabulary=5), 2)


async def _a_token(driver: Driver) -> None:
    stream, draw = _begun(driver, 0, bubbles=0.2)
    await stream.write_state(draw.random.integers(ACT.low, ACT.high + 1, (_LAYERS, _HIDDEN)))
    await _token(stream, draw, _Sampling((20_000, -14), 3, 7), layers=1)
    for exponent in (-18, -11, -8):  # noise decides, or the logits; some leave VECTOR
        sampling = _Sampling((20_000, exponent), 3, 8)
        await stream.output_scale(draw.header(*_VECTOR), sampling)
        await stream.head(draw.sums(_VOCABULARY), sampling)
    await stream.check_state()


async def _corners(driver: Driver) -> None:
    """Sums that do not fit, x at the ends of its format and of every level, a scale at its end, zeros."""
    stream, draw = _begun(driver, 1)
    ends = np.resize([SUM.low, SUM.high, 0, -1, 1, 1 << 15, -(1 << 15) - 1], _HIDDEN)
    for constant in ((SCALE.high, -16), (1 << 14, -48), (1 << 14, -14)):
        await stream.embed(np.resize([INT8.low, INT8.high, 0, -1], _HIDDEN), Header(constant))
        await stream.over(draw.project(_HIDDEN, own_energy=True))
        await stream.output_scale(Header((SCALE.high, -12)))
        await stream.product(Mode.RESIDUAL, ends, running=draw.project(_HIDDEN, running=True))
        expect("ends of x", [stream.x.min(), stream.x.max()], [VECTOR.low, VECTOR.high])
        await stream.product(Mode.RESIDUAL, -1 - ends, running=draw.project(_HIDDEN, running=True))
    nothing = Header((1 << 14, -100))
    await stream.embed(np.zeros(_HIDDEN, np.int64), nothing, draw.project(_HIDDEN, running=True))
    await stream.over(draw.energy(_HIDDEN))
    await stream.output_scale(draw.header(*_ACT))


async def _texts(driver: Driver, seed: int, tokens: int, **how: Any) -> None:
    """The first token starts from zero, whatever the state memory holds."""
    stream, draw = _begun(driver, seed, **how)
    await stream.write_state(draw.random.integers(ACT.low, ACT.high + 1, (_LAYERS, _HIDDEN)))
    for position in range(tokens):
        temperature = (int(draw.random.integers(1 << 14, 1 << 15)), -14) if position % 2 else None
        seed = int(draw.random.integers(1 << 32))
        sampling = _Sampling(temperature, seed, position, emit_raw=position % 3 == 0)
        await _token(stream, draw, sampling, first=position == 0)
        await stream.check_state()


async def _long_texts_without_a_bubble(driver: Driver) -> None:
    await _texts(driver, 2, 2)


async def _long_texts_with_bubbles_and_stalls(driver: Driver) -> None:
    await _texts(driver, 3, 2, bubbles=0.4, stalls=0.5)


async def _passes(driver: Driver, seed: int, **how: Any) -> None:
    """200 operations one behind another, on vectors of any length: products change x, which is projected."""
    stream, draw = _begun(driver, seed, **how)
    for length in (_HIDDEN, *draw.random.integers(1, _HIDDEN + 1, 9).tolist()):
        await stream.embed(draw.random.integers(INT8.low, INT8.high + 1, length), draw.header(-22, -12))
        await stream.over(draw.project(length, own_energy=True))
        await stream.output_scale(draw.header(*_VECTOR))
        for _ in range(10):
            await stream.product(Mode.RESIDUAL, draw.sums(length), running=draw.project(length, running=True))
            await stream.over(draw.project(length))


async def _hundreds_of_passes(driver: Driver) -> None:
    await _passes(driver, 4)


async def _hundreds_of_passes_with_bubbles(driver: Driver) -> None:
    await _passes(driver, 7, bubbles=0.4)


async def _states_from_another_stream(driver: Driver) -> None:
    """h goes on from another stream's; new states are not kept, or are another stream's."""
    stream, draw = _begun(driver, 5)
    await stream.write_state(draw.random.integers(ACT.low, ACT.high + 1, (_LAYERS, _HIDDEN)))
    chain = draw.random.integers(ACT.low, ACT.high + 1, _HIDDEN)
    await _token(stream, draw, layers=1, keep=False, chain=chain)
    driver.set(state_base=_HIDDEN)
    for row in range(_HIDDEN):
        stream.state[1, row] = 9 * row - 100
        await step(driver, stream.agents, other_write=1, other_row=row, other_h=9 * row - 100)
    driver.set(other_write=0)
    await stream.check_state()


async def _a_stream_without_a_token(driver: Driver) -> None:
    """Nothing that leaves it counts, and its state stays."""
    stream, draw = _begun(driver, 6, active=False)
    await stream.write_state(draw.random.integers(ACT.low, ACT.high + 1, (_LAYERS, _HIDDEN)))
    await _token(stream, draw, _Sampling((20_000, -12), 1, 2, emit_raw=True), layers=1, keep=False)
    await stream.check_state()


async def _reset_in_the_middle(driver: Driver) -> None:
    """Behind a reset nothing leaves, and the next token is right; the state stays."""
    for seed, cycles in enumerate((1, 9, 40)):
        stream, draw = _begun(driver, 10 + seed)
        await stream.write_state(draw.random.integers(ACT.low, ACT.high + 1, (_LAYERS, _HIDDEN)))
        elements = draw.random.integers(INT8.low, INT8.high + 1, _HIDDEN)
        await stream.embed(
            elements, draw.header(-22, -12), draw.project(_HIDDEN, own_energy=True, running=True)
        )
        await stream.output_scale(draw.header(*_VECTOR))
        stream.vectors.start(draw.project(_HIDDEN, running=True))
        await stream.running()
        driver.set(mode=Mode.RESIDUAL)
        stream.rows.start(draw.sums(_HIDDEN), {"enter": 1})
        for _ in range(cycles):
            await step(driver, stream.agents)
        await driver.reset()
        driver.set(active=1)
        for _ in range(driver.unit.latency):
            seen = await driver.cycle()
            expect("elements after a reset", [each.valid for each in seen.probe], [0] * len(PROBES))
            expect("produced, complete", [seen.produced, seen.raw__valid], [0, 0])
        again, draw = _begun(driver, 20 + seed)
        again.state = stream.state
        await _token(again, draw, layers=1)
        await again.check_state()


async def _embedding(driver: Driver, elements: list[int], weights: list[int]) -> None:
    """An embedding's elements become int8 inputs while they come."""
    stream, _ = _begun(driver, 0)
    begin = {"embed": 1, "embedding_header": Header((1 << 14, -20)).fields}
    stream.rows.start(np.array(elements), begin)
    stream.vectors.start(Pass(np.array(weights), running=True))
    driver.set(mode=Mode.EMBED)
    await stream.running()
    await stream.idle()
    for _ in range(_PATIENCE):
        if (await step(driver, stream.agents)).complete:
            break


async def _picture(driver: Driver) -> None:
    await _embedding(driver, [3, -7, 100, 1], [20_000, 9_000, 30_000, -400])


async def _picture_of_words(driver: Driver) -> None:
    await _embedding(driver, [3, -7, 100, 1, 5, 90], [20_000, 9_000, 30_000, -400, 7, 10_000])


_CASES = named(_a_token, _corners)
_LONG = named(
    _long_texts_without_a_bubble,
    _long_texts_with_bubbles_and_stalls,
    _hundreds_of_passes,
    _hundreds_of_passes_with_bubbles,
    _states_from_another_stream,
    _a_stream_without_a_token,
    _reset_in_the_middle,
)
_PORTS = {
    "project": "",
    "embed": "",
    "embedding_valid": "",
    "embedding": "embedding_valid",
    "produced": "",
    "void": "",
    "certain": "",
    "complete": "",
}

BENCHES = (
    Bench("datapath", Datapath, _CASES, Picture(_picture, _PORTS), (_CONFIG,), _LONG),
    Bench(
        "datapath_of_words",
        Datapath,
        {**_CASES, **named(_odd_sizes)},
        Picture(_picture_of_words, _PORTS),
        (replace(_CONFIG, vector_width=4),),
        _LONG,
    ),
)
"""With elements one by one, and with words of four."""
