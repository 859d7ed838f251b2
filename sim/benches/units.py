"""The benches of `library` under cocotb: all units side by side in one design, which is compiled once."""

from collections.abc import Mapping
from typing import Any

import cocotb
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import Out, connect, flipped
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly

from .driver import Case, Driver
from .library import LIBRARY

__all__ = ["design"]


class _SideBySide(wiring.Component):
    """Units without any connection; the ports of each carry its name in front."""

    def __init__(self, units: Mapping[str, wiring.Component]) -> None:
        self._units = dict(units)
        super().__init__({name: Out(unit.signature) for name, unit in units.items()})

    def elaborate(self, platform: object) -> Module:
        """Amaranth's."""
        m = Module()
        for name, unit in self._units.items():
            m.submodules[name] = unit
            connect(m, flipped(getattr(self, name)), unit)
        return m


def design() -> wiring.Component:
    """The unit of every bench."""
    return _SideBySide({name: bench.make() for name, bench in LIBRARY.items()})


class _CocotbDriver(Driver):
    """Sees a cycle from falling edge to falling edge: no order of events around the rising edge matters."""

    def __init__(self, unit: wiring.Component, dut: Any, name: str) -> None:
        super().__init__(unit)
        self._dut = dut
        self._handles = {port: getattr(dut, f"{name}__{port}") for port in self.shapes}

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


def _test(name: str, case: str, run: Case) -> Any:
    async def body(dut: Any) -> None:
        Clock(dut.clk, 10, unit="step").start()
        await FallingEdge(dut.clk)
        driver = _CocotbDriver(LIBRARY[name].make(), dut, name)
        await driver.reset(2)
        await run(driver)

    return cocotb.test(name=f"{name}_{case}")(body)


for _name, _bench in LIBRARY.items():
    for _case, _run in {**_bench.cases, **_bench.long}.items():
        globals()[f"{_name}_{_case}"] = _test(_name, _case, _run)
