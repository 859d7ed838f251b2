"""Bench of the MLGRU pipeline: `hdl.epilogue.Epilogue`, i, f and g of row j in, h_j and the gated output out.

A token's rows of i, f and g pass one after another, as they do behind a matrix product. The expected elements
are those of `models.numerics`; every unit's writes must come in the order of rows, no later than `latency`
cycles after their row.
"""

from dataclasses import dataclass, field
from itertools import product
from typing import Any

import cocotb
import numpy as np
from numpy.typing import NDArray

from ...hdl.epilogue import Epilogue
from ...hdl.isa import Epilogue as Mode
from ...models import numerics
from ...models.numerics import ACT, GATE, Saturations
from .clocking import begin, next_cycle, reset, settled

__all__ = ["design"]

_HIDDEN = 24
_LAYERS = 2
_INPUTS = (
    "mode",
    "first",
    "state_base",
    "early_row",
    "valid",
    "row",
    "value",
    "clamped",
    "bound_write",
    "bound_row",
    "bound",
    "x_element",
    "busy",
    "state_address",
    "state_write",
    "state_write_value",
)
_UNITS = {"i": "i_value", "f": "f_value", "g": "g_value", "h": "h_value", "product": "product"}

_Ints = NDArray[np.int64]
_Random = np.random.Generator


def design() -> Epilogue:
    """The unit under test: 24 elements in two layers."""
    return Epilogue(_HIDDEN, _HIDDEN * _LAYERS)


@dataclass
class _Token:
    """A token's inputs in one layer: i, f and g in ACT, lower bounds in GATE, (n,); clamped flags (3, n)."""

    i: _Ints
    f: _Ints
    g: _Ints
    bound: _Ints
    clamped: _Ints = field(default_factory=lambda: np.zeros((3, _HIDDEN), np.int64))


def _random_token(random: _Random) -> _Token:
    i, f, g = random.integers(ACT.low, ACT.high + 1, (3, _HIDDEN)) >> random.integers(0, 8, (3, _HIDDEN))
    return _Token(i, f, g, random.integers(0, GATE.high + 1, _HIDDEN))


class _Pipeline:
    """Drives the unit, and keeps what it wrote."""

    latency = Epilogue.latency

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        self.writes: dict[str, list[tuple[int, int]]] = {unit: [] for unit in _UNITS}
        self.saturations = 0

    async def begin(self) -> None:
        await begin(self.dut, _INPUTS)

    async def _cycle(self) -> set[str]:
        """Let the cycle's inputs act; return the units that write."""
        await settled()
        writing = set()
        self.saturations += int(self.dut.saturations.value)
        for unit, value in _UNITS.items():
            if getattr(self.dut, f"{unit}_write").value:
                writing.add(unit)
                row = int(getattr(self.dut, f"{unit}_row").value)
                self.writes[unit].append((row, getattr(self.dut, value).value.to_signed()))
        return writing

    async def write_state(self, values: _Ints) -> None:
        """All layers' states, through the ports for a saved state."""
        for address, value in enumerate(values):
            await next_cycle(self.dut)
            self.dut.busy.value = 0
            self.dut.state_write.value = 1
            self.dut.state_address.value = address
            self.dut.state_write_value.value = int(value)
        await next_cycle(self.dut)
        self.dut.state_write.value = 0
        await settled()

    async def read_state(self) -> list[int]:
        """All layers' states."""
        values = []
        for address in range(_HIDDEN * _LAYERS):
            await next_cycle(self.dut)
            self.dut.busy.value = 0
            self.dut.state_address.value = address
            await next_cycle(self.dut)
            await settled()
            values.append(self.dut.state_value.value.to_signed())
        return values

    async def bounds(self, bounds: _Ints) -> None:
        """Lower bounds into the buffer of f."""
        for row, bound in enumerate(bounds):
            await next_cycle(self.dut)
            self.dut.bound_write.value = 1
            self.dut.bound_row.value = row
            self.dut.bound.value = int(bound)
        await next_cycle(self.dut)
        self.dut.bound_write.value = 0
        await settled()

    async def rows(
        self,
        mode: Mode,
        values: _Ints,
        clamped: _Ints,
        random: _Random,
        bubbles: float,
        *,
        cycles: int | None = None,
    ) -> None:
        """Pass rows as `Rescaler` gives them, and wait until the last write is done."""
        slots: list[int | None] = []
        for each in range(len(values)):
            while random.random() < bubbles:
                slots.append(None)
            slots.append(each)
        ends = len(slots)
        slots += [None] * self.latency
        last = 0
        for cycle, row in enumerate(slots[:cycles]):
            await next_cycle(self.dut)
            upcoming = slots[cycle + 1] if cycle + 1 < len(slots) else None
            self.dut.mode.value = int(mode)
            self.dut.busy.value = 1
            # What is not valid is noise.
            self.dut.early_row.value = int(random.integers(_HIDDEN)) if upcoming is None else upcoming
            self.dut.valid.value = int(row is not None)
            self.dut.row.value = int(random.integers(_HIDDEN)) if row is None else row
            self.dut.value.value = int(random.integers(ACT.low, ACT.high) if row is None else values[row])
            self.dut.clamped.value = int(random.integers(4) if row is None else clamped[row])
            if await self._cycle():
                last = cycle
        if cycles is None:
            assert last - (ends - 1) < self.latency, (
                f"a write came {last - (ends - 1)} cycles after the last row"
            )

    async def prepare(self, layer: int, first: bool, mode: Mode) -> None:
        """A cycle between two matrix products: settings change, and the first row's address comes."""
        await next_cycle(self.dut)
        self.dut.mode.value = int(mode)
        self.dut.busy.value = 1
        self.dut.valid.value = 0
        self.dut.first.value = int(first)
        self.dut.state_base.value = layer * _HIDDEN
        self.dut.early_row.value = 0
        assert not await self._cycle()

    async def token(self, token: _Token, layer: int, first: bool, random: _Random, bubbles: float) -> None:
        """One token in one layer."""
        await self.bounds(token.bound)
        for values, clamped, mode in zip(
            (token.i, token.f, token.g), token.clamped, (Mode.SILU, Mode.GATE, Mode.MLGRU), strict=True
        ):
            await self.prepare(layer, first, mode)
            await self.rows(mode, values, clamped, random, bubbles)

    async def check(
        self,
        token: _Token,
        state: _Ints,
        layer: int,
        random: _Random,
        bubbles: float = 0.0,
        *,
        first: bool = False,
    ) -> dict[str, _Ints]:
        """Pass a token, compare everything and return what was expected; `state`, (layers, n), moves on."""
        saturations = Saturations()
        i = numerics.silu(token.i)
        f = numerics.lower_bound_gate(numerics.sigmoid(token.f), token.bound)
        before = np.zeros_like(i) if first else state[layer]
        h = numerics.mlgru(i, f, before, saturations)
        expected = {"i": i, "f": f, "g": token.g, "h": h, "product": numerics.glu(numerics.silu(h), token.g)}
        state[layer] = h

        for writes in self.writes.values():
            writes.clear()
        self.saturations = 0
        await self.token(token, layer, first, random, bubbles)
        for unit, values in expected.items():
            found = np.array(self.writes[unit], np.int64).reshape(-1, 2)
            assert found[:, 0].tolist() == list(range(_HIDDEN)), f"{unit}: rows {found[:, 0].tolist()}"
            wrong = np.flatnonzero(found[:, 1] != values)
            assert not wrong.size, (
                f"{unit}[{wrong[0]}]: expected {values[wrong[0]]}, got {found[wrong[0], 1]}"
            )
        clamped = sum(int(flags).bit_count() for flags in token.clamped.flat)
        assert self.saturations == saturations.count + clamped
        return expected | {"saturations": np.array(saturations.count)}


async def _texts(dut: Any, seed: int, bubbles: float) -> None:
    pipeline, random = _Pipeline(dut), np.random.default_rng(seed)
    await pipeline.begin()
    await pipeline.write_state(random.integers(ACT.low, ACT.high + 1, _HIDDEN * _LAYERS))
    state = np.zeros((_LAYERS, _HIDDEN), np.int64)
    for position in range(6):
        for layer in range(_LAYERS):
            await pipeline.check(_random_token(random), state, layer, random, bubbles, first=position == 0)
    assert await pipeline.read_state() == state.reshape(-1).tolist()


@cocotb.test()
async def a_text_without_bubbles(dut: Any) -> None:
    """Six tokens through two layers; the first one starts from zero, whatever the state memory holds."""
    await _texts(dut, 1, 0.0)


@cocotb.test()
async def a_text_with_bubbles(dut: Any) -> None:
    """The same with random gaps between rows."""
    await _texts(dut, 2, 0.4)


@cocotb.test()
async def corners(dut: Any) -> None:
    """Ends of ACT and GATE in all combinations: saturating h - i, a gate that forgets all or nothing."""
    pipeline, random = _Pipeline(dut), np.random.default_rng(3)
    await pipeline.begin()
    ends = (ACT.low, 0, ACT.high)
    cases = np.array(list(product((*ends, -1, 1), ends, ends, (0, 1 << 14, GATE.high), ends)), np.int64)
    cases = np.resize(cases, (-(-len(cases) // _HIDDEN) * _HIDDEN, 5))
    gates, saturations = set(), 0
    for start in range(0, len(cases), _HIDDEN):
        before, i, f, bound, g = cases[start : start + _HIDDEN].T
        state = np.zeros((_LAYERS, _HIDDEN), np.int64)
        state[1] = before
        await pipeline.write_state(state.reshape(-1))
        expected = await pipeline.check(_Token(i, f, g, bound), state, 1, random)
        gates |= set(expected["f"].tolist())
        saturations += int(expected["saturations"])
    assert {0, GATE.high} <= gates
    assert saturations


@cocotb.test()
async def saturations_of_rows_are_counted(dut: Any) -> None:
    """Both flags of every row count, and only those of rows."""
    pipeline, random = _Pipeline(dut), np.random.default_rng(4)
    await pipeline.begin()
    state = np.zeros((_LAYERS, _HIDDEN), np.int64)
    token = _random_token(random)
    token.clamped = random.integers(0, 4, (3, _HIDDEN))
    await pipeline.check(token, state, 0, random, 0.3, first=True)


@cocotb.test()
async def state_ports_are_closed_while_rows_pass(dut: Any) -> None:
    """A write through the ports for a saved state is ignored while busy."""
    pipeline, random = _Pipeline(dut), np.random.default_rng(5)
    await pipeline.begin()
    state = random.integers(ACT.low, ACT.high + 1, (_LAYERS, _HIDDEN))
    await pipeline.write_state(state.reshape(-1))
    assert await pipeline.read_state() == state.reshape(-1).tolist()
    await next_cycle(dut)
    dut.busy.value = 1
    await next_cycle(dut)
    dut.state_write.value = 1
    dut.state_address.value = 3
    dut.state_write_value.value = 99
    await pipeline.check(_random_token(random), state, 0, random)
    await next_cycle(dut)
    dut.state_write.value = 0
    assert await pipeline.read_state() == state.reshape(-1).tolist()


@cocotb.test()
async def reset_in_the_middle_leaves_no_row_behind(dut: Any) -> None:
    """After a reset among rows of g nothing is written, and the next text is right."""
    pipeline, random = _Pipeline(dut), np.random.default_rng(6)
    await pipeline.begin()
    for cycles in (1, 4, 9, 20):
        token = _random_token(random)
        await pipeline.prepare(0, True, Mode.MLGRU)
        await pipeline.rows(Mode.MLGRU, token.g, token.clamped[2], random, 0.0, cycles=cycles)
        await reset(dut, _INPUTS)
        state = np.zeros((_LAYERS, _HIDDEN), np.int64)
        await pipeline.check(_random_token(random), state, 0, random, first=True)
