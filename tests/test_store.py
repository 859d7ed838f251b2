"""The vector memory."""

from typing import Any

import numpy as np
from simulate import cycle, simulate
from tritforge.hdl.store import VectorStore
from tritforge.models.numerics import VECTOR, magnitude_or


def test_elements_are_read_a_cycle_after_their_address() -> None:
    values = np.random.default_rng(0).integers(VECTOR.low, VECTOR.high + 1, 20).tolist()
    dut = VectorStore(20)
    seen = []

    async def testbench(ctx: Any) -> None:
        for address, value in enumerate(values):
            await cycle(ctx, dut, write=1, write_address=address, write_element=value)
        for address in range(20):
            seen.extend(await cycle(ctx, dut, ("element",), write=0, read_address=address))
        seen.extend(await cycle(ctx, dut, ("element",)))

    simulate(dut, testbench)
    assert seen[1:] == values


def test_the_magnitude_is_that_of_what_was_written_since_clear() -> None:
    random = np.random.default_rng(1)
    dut = VectorStore(4)
    vectors = [random.integers(VECTOR.low, VECTOR.high + 1, 5) >> shift for shift in (31, 20, 5, 0)]
    vectors += [np.array([VECTOR.low]), np.array([VECTOR.high]), np.array([0]), np.array([-1]), np.array([1])]
    found = []

    async def testbench(ctx: Any) -> None:
        for vector in vectors:
            await cycle(ctx, dut, clear=1, write=0)
            for value in vector.tolist():
                await cycle(ctx, dut, clear=0, write=1, write_element=value)
            await cycle(ctx, dut, write=0, write_element=VECTOR.low)  # not written, does not count
            found.extend(await cycle(ctx, dut, ("magnitude",)))

    simulate(dut, testbench)
    assert found == [int(magnitude_or(vector)) for vector in vectors]
    assert found[-5:] == [VECTOR.high, VECTOR.high, 0, 0, 1]
