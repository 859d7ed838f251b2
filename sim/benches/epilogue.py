"""Bench of `hdl.epilogue`: i, f and g of row j in; h_j, the gated output and new elements of x out.

A token's rows of i, f and g pass one after another, as they do behind matrix products. The expected elements
are those of `models.numerics`; every unit's writes must come in the order of rows, no later than `latency`
cycles after their row.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...hdl.epilogue import Epilogue
from ...hdl.isa import Epilogue as Mode
from ...models import numerics
from ...models.numerics import ACT, GATE, VECTOR, Saturations
from .driver import Driver, Ints, MismatchError, Random, expect
from .parts import Bench, Picture, corners_and_random, named, one_of_each

__all__ = ["BENCHES", "texts"]

_HIDDEN = 24
_LAYERS = 2
_WRITERS = {
    "i": "i_value",
    "f": "f_value",
    "g": "g_value",
    "h": "h_value",
    "product": "product",
    "x": "x_value",
}
"""Units that write, and the port of what they write."""


@dataclass
class _Token:
    """A token's inputs in one layer: i, f and g in ACT, lower bounds in GATE, (n,); clamped flags (3, n)."""

    i: Ints
    f: Ints
    g: Ints
    bound: Ints
    clamped: Ints = field(default_factory=lambda: np.zeros((3, _HIDDEN), np.int64))


def _draw(random: Random, hidden: int = _HIDDEN) -> _Token:
    i, f, g = random.integers(ACT.low, ACT.high + 1, (3, hidden)) >> random.integers(0, 8, (3, hidden))
    flags = random.integers(0, 4, (3, hidden))
    return _Token(i, f, g, random.integers(0, GATE.high + 1, hidden), flags)


class _Pipeline:
    """Drives the unit, and keeps what it wrote; the shape is a model's."""

    def __init__(
        self,
        driver: Driver,
        random: Random,
        bubbles: float = 0.0,
        *,
        hidden: int = _HIDDEN,
        layers: int = _LAYERS,
    ) -> None:
        self.driver = driver
        self.hidden = hidden
        self.random = random
        self.bubbles = bubbles
        self.writes: dict[str, list[tuple[int, int]]] = {unit: [] for unit in _WRITERS}
        self.saturations = 0
        self.state = np.zeros((layers, hidden), np.int64)

    def _see(self, seen: Any) -> bool:
        self.saturations += seen.saturations
        wrote = False
        for unit, value in _WRITERS.items():
            if getattr(seen, f"{unit}_write"):
                self.writes[unit].append((getattr(seen, f"{unit}_row"), getattr(seen, value)))
                wrote = True
        return wrote

    async def write_state(self, values: Ints) -> None:
        """Write all layers' states, through the ports for a saved state."""
        for address, value in enumerate(values.reshape(-1).tolist()):
            await self.driver.cycle(busy=0, state_write=1, state_address=address, state_write_value=value)
        self.driver.set(state_write=0)
        self.state = values.reshape(self.state.shape).copy()

    async def check_state(self) -> None:
        """Read all layers' states, and compare."""
        values = []
        for address in range(self.state.size):
            await self.driver.cycle(busy=0, state_address=address)
            values.append(self.driver.registered("state_value"))
        expect("state", values, self.state.reshape(-1).tolist())

    async def rows(
        self,
        mode: Mode,
        values: Ints,
        clamped: Ints,
        beside: Mapping[str, Ints] | None = None,
        *,
        cycles: int | None = None,
    ) -> None:
        """Pass rows as `Rescaler` gives them, and wait until the last write is done.

        `beside` comes with its row.
        """
        random, driver = self.random, self.driver
        beside = beside or {}
        slots: list[int] = []
        for k in range(len(values)):
            while random.random() < self.bubbles:
                slots.append(-1)
            slots.append(k)
        ends = len(slots)
        slots += [-1] * driver.unit.latency
        last = 0
        driver.set(mode=int(mode), busy=1)
        for cycle, k in enumerate(slots[:cycles]):
            # What is not valid is noise.
            inputs = driver.noise(random, "value", "clamped", *beside)
            inputs |= {port: int(random.integers(self.hidden)) for port in ("row", "early_row")}
            if k >= 0:
                inputs |= {"row": k, "value": int(values[k]), "clamped": int(clamped[k])}
                inputs |= {port: int(column[k]) for port, column in beside.items()}
            if cycle + 1 < len(slots) and slots[cycle + 1] >= 0:
                inputs["early_row"] = slots[cycle + 1]
            if self._see(await driver.cycle(valid=int(k >= 0), **inputs)):
                last = cycle
        if cycles is None and last - (ends - 1) >= driver.unit.latency:
            raise MismatchError(f"a write came {last - (ends - 1)} cycles after the last row")

    async def prepare(self, mode: Mode, **held: int) -> None:
        """A cycle between two matrix products: settings change, and the first row's address comes."""
        wrote = self._see(await self.driver.cycle(mode=int(mode), busy=1, valid=0, early_row=0, **held))
        expect("a write between products", wrote, False)

    def _begin(self) -> None:
        for writes in self.writes.values():
            writes.clear()
        self.saturations = 0

    def _compare(self, expected: Mapping[str, Ints], saturations: int) -> None:
        for unit, writes in self.writes.items():
            expect(unit, writes, list(enumerate(expected[unit].tolist())) if unit in expected else [])
        expect("saturations", self.saturations, saturations)

    async def token(
        self,
        token: _Token,
        layer: int,
        *,
        first: bool = False,
        keep: bool = True,
        chain: Ints | None = None,
    ) -> int:
        """Pass i, f and g, and compare everything; `state` moves on. Returns how many h - i were clamped."""
        saturations = Saturations()
        i = numerics.silu(token.i)
        f = numerics.lower_bound_gate(numerics.sigmoid(token.f), token.bound)
        memory = np.zeros_like(i) if first else self.state[layer]
        h = numerics.mlgru(i, f, memory if chain is None else chain, saturations)
        if keep:
            self.state[layer] = h
        self._begin()
        width = self.driver.bits("bound") // GATE.bits
        for row in range(0, len(token.bound), width):
            # Behind the last row are no lower bounds, but whatever the weight memory has.
            word = self.random.integers(0, GATE.high + 1, width)
            here = token.bound[row : row + width]
            word[: len(here)] = here
            bits = sum(bound << GATE.bits * k for k, bound in enumerate(word.tolist()))
            await self.driver.cycle(bound_write=1, bound_row=row, bound=bits, valid=0)
        self.driver.set(bound_write=0)
        held = {
            "first": int(first),
            "state_base": layer * self.hidden,
            "keep": int(keep),
            "chained": int(chain is not None),
        }
        for values, clamped, mode in zip(
            (token.i, token.f, token.g), token.clamped, (Mode.SILU, Mode.GATE, Mode.MLGRU), strict=True
        ):
            await self.prepare(mode, **held)
            await self.rows(mode, values, clamped, None if chain is None else {"chain": chain})
        u = numerics.glu(numerics.silu(h), token.g)
        flags = int(np.bitwise_count(token.clamped).sum())
        self._compare({"i": i, "f": f, "g": token.g, "h": h, "product": u}, saturations.count + flags)
        return saturations.count

    async def glu(self, gate: Ints, up: Ints) -> None:
        """Pass the interleaved rows of gate and up, and compare."""
        self._begin()
        rows = np.stack([gate, up], axis=1).reshape(-1)
        await self.prepare(Mode.GLU)
        await self.rows(Mode.GLU, rows, np.zeros_like(rows))
        self._compare({"product": numerics.glu(numerics.silu(gate), up)}, 0)

    async def x(self, mode: Mode, values: Ints, before: Ints) -> None:
        """Pass rows that go to x, and compare."""
        self._begin()
        saturations = Saturations()
        total = values + (0 if mode == Mode.EMBED else before)
        expected = saturations.clamp(total, VECTOR)
        await self.prepare(mode)
        await self.rows(mode, values, np.zeros_like(values), {"x_element": before})
        self._compare({"x": expected}, saturations.count)


async def texts(
    driver: Driver, seed: int, bubbles: float, tokens: int, *, hidden: int = _HIDDEN, layers: int = _LAYERS
) -> None:
    """Texts of five tokens; the first one starts from zero, whatever the state memory holds."""
    random = np.random.default_rng(seed)
    pipeline = _Pipeline(driver, random, bubbles, hidden=hidden, layers=layers)
    await pipeline.write_state(random.integers(ACT.low, ACT.high + 1, hidden * layers))
    for position in range(tokens):
        for layer in range(layers):
            await pipeline.token(_draw(random, hidden), layer, first=position % 5 == 0)
    await pipeline.check_state()


async def _a_text(driver: Driver) -> None:
    await texts(driver, 1, 0.2, 2)


async def _odd_sizes(driver: Driver) -> None:
    """Rows that end within a word of lower bounds, behind longer ones whose elements are still there."""
    for seed, hidden in enumerate((_HIDDEN, _HIDDEN - 3, _HIDDEN - 2, 3, 1)):
        await texts(driver, 10 + seed, 0.2, 1, hidden=hidden)


async def _long_texts_without_a_bubble(driver: Driver) -> None:
    await texts(driver, 2, 0.0, 40)


async def _long_texts_with_bubbles(driver: Driver) -> None:
    await texts(driver, 3, 0.4, 40)


async def _corners(driver: Driver) -> None:
    """Ends of ACT and GATE in all combinations: saturating h - i, a gate that forgets all or nothing."""
    pipeline = _Pipeline(driver, np.random.default_rng(4))
    ends = (ACT.low, 0, ACT.high)
    cases = one_of_each(
        before=(*ends, -1, 1), i=ends, f=ends, bound=(0, 1 << 14, GATE.high), g=(ACT.low, ACT.high)
    )
    count = len(cases["i"])
    clamped = 0
    for start in range(0, count, _HIDDEN):
        part = {name: np.resize(values[start:], _HIDDEN) for name, values in cases.items()}
        state = np.zeros((_LAYERS, _HIDDEN), np.int64)
        state[1] = part.pop("before")
        await pipeline.write_state(state)
        clamped += await pipeline.token(_Token(**part), 1)
    expect("whether any difference was clamped", clamped > 0, True)


async def _gated_units(driver: Driver) -> None:
    random = np.random.default_rng(5)
    for bubbles in (0.0, 0.4):
        pipeline = _Pipeline(driver, random, bubbles)
        for _ in range(4):
            gate, up = (corners_and_random(random, ACT.low, ACT.high, _HIDDEN) for _ in range(2))
            await pipeline.glu(gate, up)


async def _residual_stream(driver: Driver) -> None:
    """Sums that do not fit in VECTOR are among them."""
    random = np.random.default_rng(6)
    for bubbles in (0.0, 0.4):
        pipeline = _Pipeline(driver, random, bubbles)
        for mode in (Mode.EMBED, Mode.RESIDUAL, Mode.RESIDUAL, Mode.RESIDUAL):
            values, before = (corners_and_random(random, VECTOR.low, VECTOR.high, _HIDDEN) for _ in range(2))
            await pipeline.x(mode, values, before)


async def _states_from_another_stream(driver: Driver) -> None:
    """h goes on from another stream's; new states are not kept, or are another stream's."""
    random = np.random.default_rng(7)
    pipeline = _Pipeline(driver, random, 0.3)
    await pipeline.write_state(random.integers(ACT.low, ACT.high + 1, _HIDDEN * _LAYERS))
    for first in (False, True):
        await pipeline.token(_draw(random), 0, keep=False, first=first)
        chain = random.integers(ACT.low, ACT.high + 1, _HIDDEN)
        await pipeline.token(_draw(random), 1, keep=False, chain=chain, first=first)
    await pipeline.check_state()
    await pipeline.prepare(Mode.MLGRU, state_base=_HIDDEN, keep=0)
    for row in range(_HIDDEN):
        pipeline.state[1, row] = 7 * row - 50
        await driver.cycle(other_write=1, other_row=row, other_h=7 * row - 50)
    driver.set(other_write=0)
    await pipeline.check_state()


async def _state_ports_are_closed_while_rows_pass(driver: Driver) -> None:
    random = np.random.default_rng(8)
    pipeline = _Pipeline(driver, random)
    await pipeline.write_state(random.integers(ACT.low, ACT.high + 1, _HIDDEN * _LAYERS))
    await driver.cycle(busy=1)
    driver.set(state_write=1, state_address=3, state_write_value=99)
    await pipeline.token(_draw(random), 0)
    await driver.cycle(state_write=0)
    await pipeline.check_state()


async def _reset_in_the_middle(driver: Driver) -> None:
    """After a reset among rows of g nothing is written, and the next text is right."""
    random = np.random.default_rng(9)
    for cycles in (1, 4, 9, 20):
        pipeline = _Pipeline(driver, random)
        token = _draw(random)
        await pipeline.prepare(Mode.MLGRU, keep=1)
        await pipeline.rows(Mode.MLGRU, token.g, token.clamped[2], cycles=cycles)
        await driver.reset()
        pipeline._begin()
        driver.set(mode=int(Mode.MLGRU), busy=1)
        for _ in range(driver.unit.latency):
            pipeline._see(await driver.cycle())
        pipeline._compare({}, 0)
        await pipeline.token(_draw(random), 0, first=True)


async def _picture(driver: Driver) -> None:
    random = np.random.default_rng(0)
    pipeline = _Pipeline(driver, random)
    await pipeline.prepare(Mode.GLU)
    values = np.array([2048, 100, -2048, 100])
    await pipeline.rows(Mode.GLU, values, np.zeros_like(values))


async def _picture_of_words(driver: Driver) -> None:
    pipeline = _Pipeline(driver, np.random.default_rng(0))
    await pipeline.prepare(Mode.GATE)
    for row, bound in ((0, 16_000), (4, 8_000)):
        await driver.cycle(bound_write=1, bound_row=row, bound=bound)
    driver.set(bound_write=0)
    values = np.array([2048, -2048, 0, 100, 2048, -2048])
    await pipeline.rows(Mode.GATE, values, np.zeros_like(values))


_CASES = named(_a_text, _states_from_another_stream)
_LONG = named(
    _corners,
    _gated_units,
    _residual_stream,
    _state_ports_are_closed_while_rows_pass,
    _reset_in_the_middle,
    _long_texts_without_a_bubble,
    _long_texts_with_bubbles,
)
_ROW_PORTS = {"mode": "", "early_row": "", "valid": "", "row": "valid", "value": "valid"}

BENCHES = (
    Bench(
        "epilogue",
        Epilogue,
        _CASES,
        Picture(
            _picture,
            {
                **_ROW_PORTS,
                "product_write": "",
                "product_row": "product_write",
                "product": "product_write",
            },
        ),
        (_HIDDEN, _HIDDEN * _LAYERS),
        _LONG,
    ),
    Bench(
        "epilogue_of_words",
        Epilogue,
        {**_CASES, **named(_odd_sizes)},
        Picture(
            _picture_of_words,
            {
                "bound_write": "",
                "bound_row": "bound_write",
                "bound": "bound_write",
                **_ROW_PORTS,
                "f_write": "",
                "f_row": "f_write",
                "f_value": "f_write",
            },
        ),
        (_HIDDEN, _HIDDEN * _LAYERS, 4),
        _LONG,
    ),
)
"""With lower bounds one by one, and with words of four."""
