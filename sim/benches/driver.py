"""Drives a unit a cycle at a time, whatever simulates it.

A bench's cases are written against `Driver`. In Amaranth's simulator (`simulate`) they need no compiler:
there tests, planted mistakes and waveforms run. On the unit's Verilog, compiled by Verilator, the same cases
run under cocotb (`sim/benches/cocotb_driver.py`).
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection
from types import SimpleNamespace
from typing import Any

import numpy as np
from amaranth.hdl import ClockDomain, Module, Shape, ShapeCastable, Value
from amaranth.lib.wiring import Component, In
from amaranth.sim import Simulator
from numpy.typing import NDArray

__all__ = ["Case", "Driver", "Ints", "MismatchError", "Random", "expect", "simulate"]

Ints = NDArray[np.int64]
Random = np.random.Generator


class MismatchError(AssertionError):
    """A unit gave another value than it should have, or gave it in another cycle."""


def expect(what: str, found: Any, expected: Any) -> None:
    """Compare values, or sequences of them.

    Raises
    ------
    MismatchError
        With the first difference.
    """
    if np.shape(found) != np.shape(expected):
        raise MismatchError(f"{what}: expected {len(expected)} values, got {len(found)}")
    if np.ndim(found) == 0:
        if found != expected:
            raise MismatchError(f"{what}: expected {expected}, got {found}")
        return
    for k, (one, other) in enumerate(zip(found, expected, strict=True)):
        if np.any(one != other):
            raise MismatchError(f"{what}[{k}]: expected {other}, got {one}")


class Driver(ABC):
    """Sets a unit's inputs and reads its outputs, cycle by cycle.

    Ports are named as in Verilog: nested names are joined by two underscores.

    Parameters
    ----------
    unit
        The component.
    unread
        Outputs that the cases don't look at.
    record
        Whether `history` is kept.

    Attributes
    ----------
    shapes
        Shape of every port.
    history
        Every port in every cycle since the last reset.
    """

    def __init__(self, unit: Component, unread: Collection[str] = (), record: bool = False) -> None:
        self.unit = unit
        self._record = record
        ports = {"__".join(map(str, path)): member for path, member, _ in unit.signature.flatten(unit)}
        self.shapes: dict[str, Any] = {name: member.shape for name, member in ports.items()}
        self._bits: dict[str, int] = {name: Shape.cast(shape).width for name, shape in self.shapes.items()}
        self._inputs = [name for name, member in ports.items() if member.flow == In]
        self._outputs = [name for name in ports if name not in self._inputs and name not in unread]
        self._now: dict[str, Any] = {}
        self._written: dict[str, int] = {}
        self._seen: dict[str, tuple[int, Any]] = {}
        self.history: list[dict[str, Any]] = []

    def bits(self, port: str) -> int:
        """Width of a port."""
        return self._bits[port]

    def noise(self, random: Random, *ports: str) -> dict[str, int]:
        """Random bits for input ports: what an input holds while it must not matter."""
        return {port: int.from_bytes(random.bytes(-(-self.bits(port) // 8)), "little") for port in ports}

    async def reset(self, cycles: int = 1) -> None:
        """Reset for a number of cycles, with all inputs low from then on."""
        self.set(**dict.fromkeys(self._inputs, 0))
        await self._reset(cycles)
        self.history.clear()

    def set(self, **inputs: Any) -> None:
        """Set inputs, which stay."""
        self._now.update(inputs)
        for name, value in inputs.items():
            shape = self.shapes[name]
            if isinstance(shape, ShapeCastable) and not isinstance(value, int):
                value = shape.const(value).as_bits()
            bits = int(value) & ((1 << self._bits[name]) - 1)
            if self._written.get(name) != bits:
                self._written[name] = bits
                self._write(name, bits)

    def given(self, port: str) -> Any:
        """Return what an input was set to."""
        return self._now[port]

    async def cycle(self, **inputs: Any) -> SimpleNamespace:
        """Set inputs, which stay, let a cycle pass, and return what the outputs were at its end."""
        self.set(**inputs)
        raw = await self._cycle(self._outputs)
        seen = {name: self._decoded(name, bits) for name, bits in zip(self._outputs, raw, strict=True)}
        if self._record:
            self.history.append(self._now | seen)
        return SimpleNamespace(**seen)

    def registered(self, output: str) -> Any:
        """Return what an output will be in the coming cycle; only for one that no input reaches at once."""
        return self._decoded(output, self._read(output))

    def _decoded(self, name: str, bits: int) -> Any:
        """Return a port's value; most ports keep theirs for many cycles, so the last one is remembered."""
        before, value = self._seen.get(name, (-1, None))
        if before != bits:
            value = self._value(name, bits)
            self._seen[name] = bits, value
        return value

    def _value(self, name: str, bits: int) -> Any:
        shape = self.shapes[name]
        if isinstance(shape, ShapeCastable):
            return shape.from_bits(bits)
        width = self.bits(name)
        return bits - (bits >> (width - 1) << width) if Shape.cast(shape).signed else bits

    @abstractmethod
    async def _reset(self, cycles: int) -> None: ...

    @abstractmethod
    async def _cycle(self, outputs: list[str]) -> list[int]: ...

    @abstractmethod
    def _read(self, output: str) -> int: ...

    @abstractmethod
    def _write(self, name: str, bits: int) -> None: ...


Case = Callable[[Driver], Awaitable[None]]
"""A test of a unit, to be given a driver behind a reset."""


class _AmaranthDriver(Driver):
    def __init__(self, unit: Component, context: Any, reset: Value, record: bool) -> None:
        super().__init__(unit, record=record)
        self._context = context
        self._domain_reset = reset
        values = unit.signature.flatten(unit)
        self._values = {"__".join(map(str, path)): Value.cast(value) for path, _, value in values}
        self._signs = {name: Shape.cast(value.shape()).signed for name, value in self._values.items()}

    async def _reset(self, cycles: int) -> None:
        self._context.set(self._domain_reset, 1)
        for _ in range(cycles):
            await self._context.tick()
        self._context.set(self._domain_reset, 0)

    async def _cycle(self, outputs: list[str]) -> list[int]:
        _, _, *values = await self._context.tick().sample(*(self._values[name] for name in outputs))
        return [int(value) & self._mask(name) for name, value in zip(outputs, values, strict=True)]

    def _mask(self, name: str) -> int:
        return (1 << len(self._values[name])) - 1

    def _read(self, output: str) -> int:
        return int(self._context.get(self._values[output])) & self._mask(output)

    def _write(self, name: str, bits: int) -> None:
        width = len(self._values[name])
        self._context.set(
            self._values[name], bits - (bits >> (width - 1) << width) if self._signs[name] else bits
        )


def simulate(unit: Component, case: Case, *, record: bool = False) -> Driver:
    """Run a case in Amaranth's simulator, and return its driver, with the history if it is to `record` it."""
    m = Module()
    m.domains.sync = domain = ClockDomain()
    m.submodules.unit = unit
    drivers = []

    async def testbench(context: Any) -> None:
        drivers.append(driver := _AmaranthDriver(unit, context, domain.rst, record))
        await driver.reset()
        await case(driver)

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    return drivers[0]
