"""The buffer of vector weights: none is lost, doubled or given out of turn."""

from collections import deque
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import ResetInserter, Signal
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st
from simulate import simulate
from tritforge.hdl.weights import WeightBuffer

Wishes = list[tuple[bool, bool, bool]]
"""For each cycle: a weight is offered, one is to be reserved, one is to be taken; each if it can be."""


def pass_through(depth: int, wishes: Wishes) -> int:
    """Follow a buffer with a model of it; return how many weights were taken.

    What it promises is always so. What is so it knows at the latest when nothing has changed for a cycle.
    """
    dut = WeightBuffer(depth)
    size = max(4, 1 << (depth - 1).bit_length())
    random = np.random.default_rng(len(wishes))
    weights = iter(random.integers(-(2**15), 2**15, len(wishes)).tolist())
    held: deque[int] = deque()
    reserved = taken = 0

    async def testbench(ctx: Any) -> None:
        nonlocal reserved, taken
        offered: int | None = None
        expected: int | None = None
        quiet = False
        ready, promised = 1, 0
        for offer, reserve, take in wishes:
            if offered is None and offer:
                offered = next(weights)
            free, available = len(held) < size, len(held) > reserved
            ctx.set(dut.weights.valid, offered is not None)
            ctx.set(dut.weights.payload, (0x5555 if offered is None else offered) & 0xFFFF)
            promised = int(ctx.get(dut.available))
            reserve, take = reserve and bool(promised), take and reserved > 0
            ready, promised, weight = await cycle_of(ctx, dut, reserve, take)
            assert ready <= free
            assert promised <= available
            if quiet:
                assert ready == free
                assert promised == available
            if expected is not None:
                assert weight == expected & 0xFFFF
            expected = held.popleft() if take else None
            reserved += reserve - take
            taken += take
            comes = offered is not None and bool(ready)
            quiet = not (reserve or take or comes)
            if comes:
                held.append(offered)  # type: ignore[arg-type]
                offered = None

    simulate(dut, testbench)
    return taken


async def cycle_of(ctx: Any, dut: WeightBuffer, reserve: bool, take: bool) -> tuple[int, int, int]:
    ctx.set(dut.reserve, reserve)
    ctx.set(dut.pop, take)
    _, _, *values = await ctx.tick().sample(dut.weights.ready, dut.available, dut.weight)
    return tuple(int(value) for value in values)  # type: ignore[return-value]


@settings(max_examples=40)
@given(
    st.sampled_from([1, 2, 3, 4, 8]),
    st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), max_size=80),
)
def test_weights_come_in_order_whatever_the_traffic(depth: int, wishes: Wishes) -> None:
    pass_through(depth, wishes)


@pytest.mark.parametrize("depth", [1, 4, 5])
@pytest.mark.parametrize(("offer", "reserve", "take"), [(0.9, 0.5, 0.5), (0.5, 0.9, 0.4), (0.5, 0.5, 0.9)])
def test_hundreds_pass_whichever_side_is_slow(depth: int, offer: float, reserve: float, take: float) -> None:
    drawn = np.random.default_rng(depth).random((1500, 3)) < [offer, reserve, take]
    assert pass_through(depth, [tuple(row) for row in drawn.tolist()]) > 200


def test_a_weight_a_cycle_passes_without_a_bubble() -> None:
    # The first is stored in cycle 0, reserved in 2 and taken in 3.
    assert pass_through(8, [(True, True, True)] * 300) == 297


def test_what_is_reserved_waits_for_as_long_as_it_takes() -> None:
    fill, promise = [(True, False, False)] * 8, [(False, True, False)] * 6
    wait, take = [(False, False, False)] * 20, [(True, False, True)] * 8
    assert pass_through(8, [*fill, *promise, *wait, *take]) == 6


def test_a_full_buffer_takes_none_until_one_has_been_taken() -> None:
    dut = WeightBuffer(5)
    ready = []

    async def testbench(ctx: Any) -> None:
        ctx.set(dut.weights.valid, 1)
        for _ in range(12):
            ready.append((await cycle_of(ctx, dut, False, False))[0])
        await cycle_of(ctx, dut, True, False)
        for take in (True, False, False):
            ready.append((await cycle_of(ctx, dut, False, take))[0])

    simulate(dut, testbench)
    # 5 weights have 8 places, of which the last one is filled later.
    assert ready == [1] * 7 + [0, 1] + [0] * 3 + [0, 0, 1]


def test_reset_empties_it() -> None:
    dut, reset = WeightBuffer(4), Signal()
    simulator = Simulator(ResetInserter(reset)(dut))
    simulator.add_clock(1e-6)

    async def testbench(ctx: Any) -> None:
        ctx.set(dut.weights.valid, 1)
        for value in (1, 2, 3):
            ctx.set(dut.weights.payload, value)
            await cycle_of(ctx, dut, value > 1, False)
        ctx.set(dut.weights.valid, 0)
        ctx.set(reset, 1)
        await ctx.tick()
        ctx.set(reset, 0)
        assert (await cycle_of(ctx, dut, False, False))[:2] == (1, 0)
        ctx.set(dut.weights.valid, 1)
        ctx.set(dut.weights.payload, 7)
        await cycle_of(ctx, dut, False, False)
        ctx.set(dut.weights.valid, 0)
        await cycle_of(ctx, dut, True, False)
        await cycle_of(ctx, dut, False, True)
        assert (await cycle_of(ctx, dut, False, False))[2] == 7

    simulator.add_testbench(testbench)
    simulator.run()
