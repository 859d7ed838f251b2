"""Runs units in Amaranth's simulator.

A cycle's number counts rising edges: what is set in cycle 0 and seen through one register is seen in cycle 1.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
from amaranth.lib.wiring import Component
from amaranth.sim import Simulator
from numpy.typing import NDArray
from tritforge.sim.benches.parts import corners_and_random

__all__ = ["Ints", "Outputs", "corners_and_random", "cycle", "pipeline", "serial", "simulate"]

Ints = NDArray[np.int64]
Outputs = dict[str, Ints]


def simulate(dut: Component, testbench: Callable[[Any], Awaitable[None]]) -> None:
    """Run a testbench until it returns."""
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()


async def cycle(ctx: Any, dut: Component, outputs: tuple[str, ...] = (), **inputs: int) -> list[int]:
    """Set inputs, let a cycle pass, and return what the outputs were in it."""
    for name, value in inputs.items():
        ctx.set(getattr(dut, name), value)
    _, _, *values = await ctx.tick().sample(*(getattr(dut, name) for name in outputs))
    return [int(value) for value in values]


def pipeline(dut: Component, latency: int, outputs: tuple[str, ...], **inputs: Any) -> Outputs:
    """Give inputs, one element a cycle, and return the outputs `latency` cycles later."""
    columns = {name: np.asarray(values, np.int64).tolist() for name, values in inputs.items()}
    count = max(len(values) for values in columns.values())
    seen = []

    async def testbench(ctx: Any) -> None:
        for k in range(count + latency):
            now = {name: values[k] for name, values in columns.items()} if k < count else {}
            seen.append(await cycle(ctx, dut, outputs, **now))

    simulate(dut, testbench)
    found = np.array(seen[latency:], np.int64)
    return {name: found[:, k] for k, name in enumerate(outputs)}


def serial(dut: Component, outputs: tuple[str, ...], **inputs: Any) -> tuple[Ints, Outputs]:
    """Start a unit for one case after another; return cycles from `start` to `done`, and the outputs then."""
    columns = {name: np.asarray(values, np.int64).tolist() for name, values in inputs.items()}
    count = max(len(values) for values in columns.values())
    cycles, seen = [], []

    async def testbench(ctx: Any) -> None:
        for k in range(count):
            await cycle(ctx, dut, start=1, **{name: values[k] for name, values in columns.items()})
            passed, done = 0, 0
            while not done:
                done, *values = await cycle(ctx, dut, ("done", *outputs), start=0)
                passed += 1
                assert passed < 1000, f"case {k} is not done"
            cycles.append(passed)
            seen.append(values)

    simulate(dut, testbench)
    found = np.array(seen, np.int64)
    return np.array(cycles), {name: found[:, k] for k, name in enumerate(outputs)}
