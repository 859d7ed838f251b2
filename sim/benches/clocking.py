"""Clock and reset of a bench.

A cycle is seen from falling edge to falling edge: inputs change behind a falling edge, and what holds at the
rising edge is read when everything has settled. So no simulator's order of events around the rising edge
matters.
"""

from collections.abc import Iterable
from typing import Any

from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly

__all__ = ["begin", "next_cycle", "reset", "settled"]


async def next_cycle(dut: Any) -> None:
    """Wait until inputs may be set for the next rising edge."""
    await FallingEdge(dut.clk)


async def settled() -> None:
    """Wait until outputs show what the next rising edge will see; inputs stay until `next_cycle`."""
    await ReadOnly()


async def reset(dut: Any, inputs: Iterable[str]) -> None:
    """Two cycles of reset, with all inputs low from then on."""
    await next_cycle(dut)
    for name in inputs:
        getattr(dut, name).value = 0
    dut.rst.value = 1
    await next_cycle(dut)
    await next_cycle(dut)
    dut.rst.value = 0


async def begin(dut: Any, inputs: Iterable[str]) -> None:
    """Start the clock, and reset."""
    Clock(dut.clk, 10, unit="step").start()
    await reset(dut, inputs)
