"""Benches under cocotb: units side by side in one Verilog design, which is compiled once."""

from collections.abc import Iterable
from typing import Any

import cocotb
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import Out, connect, flipped
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly

from .driver import Case, Driver
from .parts import Bench

__all__ = ["SideBySide", "cocotb_tests"]


class SideBySide(wiring.Component):
    """Units without any connection; the ports of each carry its name in front.

    Parameters
    ----------
    benches
        Whose units.
    """

    def __init__(self, benches: Iterable[Bench]) -> None:
        self._units = {bench.name: bench.make() for bench in benches}
        super().__init__({name: Out(unit.signature) for name, unit in self._units.items()})

    def elaborate(self, platform: object) -> Module:
        """Amaranth's."""
        m = Module()
        for name, unit in self._units.items():
            m.submodules[name] = unit
            connect(m, flipped(getattr(self, name)), unit)
        return m


class _CocotbDriver(Driver):
    """Sees a cycle from falling edge to falling edge: no order of events around the rising edge matters."""

    def __init__(self, bench: Bench, dut: Any) -> None:
        super().__init__(bench.make(), bench.unread)
        self._dut = dut
        self._handles = {port: getattr(dut, f"{bench.name}__{port}") for port in self.shapes}

    async def _reset(self, cycles: int) -> None:
        self._dut.rst.value = 1
        for _ in range(cycles):
            await FallingEdge(self._dut.clk)
        self._dut.rst.value = 0

    async def _cycle(self, outputs: list[str]) -> list[int]:
        await ReadOnly()
        values = [self._read(output) for output in outputs]
        await FallingEdge(self._dut.clk)
        return values

    def _read(self, output: str) -> int:
        return int(self._handles[output].value)

    def _write(self, name: str, bits: int) -> None:
        self._handles[name].value = bits


def _test(bench: Bench, case: str, run: Case) -> Any:
    async def body(dut: Any) -> None:
        Clock(dut.clk, 10, unit="step").start()
        await FallingEdge(dut.clk)
        driver = _CocotbDriver(bench, dut)
        await driver.reset(2)
        await run(driver)

    return cocotb.test(name=f"{bench.name}_{case}")(body)


def cocotb_tests(benches: Iterable[Bench]) -> dict[str, Any]:
    """Return a cocotb test for each case."""
    return {
        f"{bench.name}_{case}": _test(bench, case, run)
        for bench in benches
        for case, run in {**bench.cases, **bench.long}.items()
    }
