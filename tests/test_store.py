"""The vector memory."""

from typing import Any

import numpy as np
from simulate import cycle, simulate
from tritforge.hdl.store import VectorStore
from tritforge.models.numerics import VECTOR


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


def test_nothing_is_written_without_write() -> None:
    dut = VectorStore(4)

    async def testbench(ctx: Any) -> None:
        await cycle(ctx, dut, write=1, write_address=2, write_element=VECTOR.low)
        await cycle(ctx, dut, write=0, write_address=2, write_element=VECTOR.high, read_address=2)
        assert await cycle(ctx, dut, ("element",)) == [VECTOR.low]
        assert await cycle(ctx, dut, ("element",)) == [VECTOR.low]

    simulate(dut, testbench)


def test_a_vector_is_replaced_while_it_is_read_behind_the_writes() -> None:
    old, new = np.random.default_rng(2).integers(VECTOR.low, VECTOR.high + 1, (2, 16)).tolist()
    dut = VectorStore(16)
    seen = []

    async def testbench(ctx: Any) -> None:
        for address, value in enumerate(old):
            await cycle(ctx, dut, write=1, write_address=address, write_element=value)
        for address in range(17):
            reading = {"read_address": address} if address < 16 else {}
            writing = {"write_address": address - 1, "write_element": new[address - 1]} if address else {}
            seen.extend(await cycle(ctx, dut, ("element",), write=address > 0, **reading, **writing))
        for address in range(17):
            seen.extend(await cycle(ctx, dut, ("element",), write=0, read_address=min(address, 15)))

    simulate(dut, testbench)
    assert seen[1:17] == old
    assert seen[18:] == new
