"""The rescaler against `numerics.rescale`."""

from typing import Any

import numpy as np
import pytest
from simulate import Ints, cycle, simulate
from tritforge.hdl.rescale import SHIFT_BITS, Rescaler
from tritforge.models.numerics import ACT, NORMAL, SCALE, SUM, VECTOR, Fixed, Saturations, rescale

Group = tuple[Fixed, int, int, list[int]]
"""Format, mantissa, exponent, sums."""


def run(groups: list[Group]) -> list[tuple[Ints, Ints]]:
    """Values and numbers of clamps of each group."""
    dut = Rescaler()
    results = []

    async def testbench(ctx: Any) -> None:
        for fmt, mantissa, exponent, sums in groups:
            seen = []
            held = {"wide": fmt is VECTOR, "mantissa": mantissa, "shift": 8 - exponent - fmt.fraction}
            for k in range(len(sums) + dut.latency):
                now = {"sum": sums[k], "valid": 1} if k < len(sums) else {"valid": 0}
                seen.append(await cycle(ctx, dut, ("out_valid", "value", "clamped"), **now, **held))
            valid, values, clamped = np.array(seen).T
            assert valid.tolist() == [0] * dut.latency + [1] * len(sums)
            results.append((values[dut.latency :], np.bitwise_count(clamped[dut.latency :])))

    simulate(dut, testbench)
    return results


@pytest.mark.parametrize("fmt", [ACT, VECTOR], ids=["ACT", "VECTOR"])
def test_values_and_clamps_are_those_of_the_golden_model_for_all_shifts(fmt: Fixed) -> None:
    random = np.random.default_rng(0)
    corners = [0, 1, -1, 2**14, NORMAL.high, NORMAL.low, NORMAL.high + 1, NORMAL.low - 1, SUM.high, SUM.low]
    groups: list[Group] = []
    for shift in range(1 << SHIFT_BITS):
        exponent = 8 - shift - fmt.fraction
        mantissa = int(random.choice([1 << (SCALE.bits - 1), SCALE.high, random.integers(1 << 14, 1 << 15)]))
        wide = random.integers(SUM.low, SUM.high + 1, 4)
        narrow = random.integers(NORMAL.low, NORMAL.high + 1, 12) >> random.integers(0, 14, 12)
        groups.append((fmt, mantissa, exponent, [*corners, *wide.tolist(), *narrow.tolist()]))
    for (_, mantissa, exponent, sums), (values, clamps) in zip(groups, run(groups), strict=True):
        for value, count, each in zip(values, clamps, sums, strict=True):
            saturations = Saturations()
            assert value == rescale(each, mantissa, exponent, fmt, saturations)
            assert count == saturations.count


def test_ties_go_up() -> None:
    half = -15 - ACT.fraction  # 2**14 * 2**half is half a step of ACT
    ((values, clamps),) = run([(ACT, 1 << 14, half, [1, -1, 3, -3, 5, -5])])
    assert values.tolist() == [1, 0, 2, -1, 3, -2]
    assert not clamps.any()


def test_both_clamps_are_told_apart() -> None:
    dut = Rescaler()
    flags = {}

    async def testbench(ctx: Any) -> None:
        for each, shift in ((40_000, 60), (30_000, 0), (-40_000, 0), (1, 30)):
            for _ in range(dut.latency + 1):
                seen = await cycle(ctx, dut, ("clamped",), sum=each, shift=shift, mantissa=1 << 14)
            flags[each] = seen[0]

    simulate(dut, testbench)
    assert flags == {40_000: 0b01, 30_000: 0b10, -40_000: 0b11, 1: 0}


def test_rows_come_out_with_their_values_and_a_cycle_earlier_as_an_address() -> None:
    dut = Rescaler()
    rows = np.random.default_rng(1).integers(0, 1 << 16, 40).tolist()
    seen = []

    async def testbench(ctx: Any) -> None:
        for row in rows:
            seen.append(await cycle(ctx, dut, ("early_row", "out_row", "out_valid"), row=row, valid=row & 1))

    simulate(dut, testbench)
    early, late, valid = np.array(seen).T
    assert early[dut.latency - 1 :].tolist() == rows[: 1 - dut.latency]
    assert late[dut.latency :].tolist() == rows[: -dut.latency]
    assert valid[dut.latency :].tolist() == [row & 1 for row in rows[: -dut.latency]]
