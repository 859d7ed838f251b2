"""Noise and head against the golden model."""

from typing import Any

import numpy as np
import pytest
from simulate import Ints, cycle, simulate
from tritforge.hdl.head import GumbelNoise, Head
from tritforge.hdl.rescale import Rescaler
from tritforge.models.numerics import NOISE, SUM, VECTOR, gumbel_noise

PLACES = [(0, 0), (0, 1), (1, 0), (12345, 77), (2**32 - 1, 2**32 - 1), (7, 2**16), (2**31, 2**20 + 3)]
"""Seeds and positions."""


def test_noise_is_that_of_the_golden_model_for_seeds_and_positions() -> None:
    dut = GumbelNoise()
    random = np.random.default_rng(0)
    streams = []

    async def testbench(ctx: Any) -> None:
        for seed, position in PLACES:
            await cycle(ctx, dut, start=1, step=0, seed=seed, position=position)
            for _ in range(8):
                await cycle(ctx, dut, start=0)
            steps, seen = [], []
            for k in range(160):
                steps.append(int(k < 150 and random.random() < 0.8))
                seen += await cycle(ctx, dut, ("noise",), step=steps[-1])
            streams.append([seen[k + dut.latency] for k in np.flatnonzero(steps)])

    simulate(dut, testbench)
    for (seed, position), stream in zip(PLACES, streams, strict=True):
        assert stream == gumbel_noise(seed, position, len(stream)).tolist()


class Choice:
    """What the head made of one vocabulary."""

    def __init__(self) -> None:
        self.token = -1
        self.saturations = 0
        self.raw: list[tuple[int, int]] = []


def choose(
    sums: Ints,
    values: Ints,
    *,
    sample: bool,
    place: tuple[int, int] = (0, 0),
    clamped: Ints | None = None,
    active: bool = True,
    emit_raw: bool = False,
    gaps: float = 0.3,
    unit: Head | None = None,
) -> Choice:
    """Pass a vocabulary's rows; the values follow their sums as they do behind the rescaler."""
    dut = unit or Head()
    random = np.random.default_rng(1)
    choice = Choice()
    flags = np.zeros(len(sums), np.int64) if clamped is None else clamped

    async def testbench(ctx: Any) -> None:
        await cycle(
            ctx,
            dut,
            start=1,
            active=active,
            sample=sample,
            emit_raw=emit_raw,
            seed=place[0],
            position=place[1],
        )
        for _ in range(8):
            await cycle(ctx, dut, start=0)
        row, owed, behind = 0, False, [-1] * Rescaler.latency
        for _ in range(2000):
            give = row < len(sums) and not owed and random.random() >= gaps
            behind.append(row if give else -1)
            late = behind[-1 - Rescaler.latency]
            ready = bool(random.random() >= gaps)
            ctx.set(dut.raw.ready, ready)
            taken, valid, raw_sum, raw_row, saturations = await cycle_raw(
                ctx,
                dut,
                sum_valid=give,
                sum_row=row if give else 3,
                sum=int(sums[row]) if give else SUM.high,
                valid=late >= 0,
                row=late if late >= 0 else 5,
                value=int(values[late]) if late >= 0 else VECTOR.high,
                clamped=int(flags[late]) if late >= 0 else 3,
            )
            assert taken == (valid and ready)
            if taken:
                choice.raw.append((raw_row, raw_sum))
                owed = False
            if give:
                row, owed = row + 1, emit_raw and active
            choice.saturations += saturations
            if row == len(sums) and not owed and all(each < 0 for each in behind[-1 - Rescaler.latency :]):
                break
        else:
            raise AssertionError("rows or raw logits are left")
        choice.token = ctx.get(dut.token)

    simulate(dut, testbench)
    return choice


async def cycle_raw(ctx: Any, dut: Head, **inputs: int) -> list[int]:
    for name, value in inputs.items():
        ctx.set(getattr(dut, name), value)
    _, _, *values = await ctx.tick().sample(
        dut.taken, dut.raw.valid, dut.raw.payload.sum, dut.raw.payload.row, dut.saturations
    )
    return [int(value) for value in values]


@pytest.mark.parametrize(
    ("sums", "token"),
    [
        ([5], 0),
        ([3, 7, 7, 1], 1),
        ([-9, -9, -9], 0),
        ([SUM.low, SUM.low, SUM.low + 1], 2),
        ([0, SUM.high, SUM.high], 1),
        ([-1, 0, -1, 0], 1),
    ],
)
def test_greedy_takes_the_first_of_the_largest_sums(sums: list[int], token: int) -> None:
    values = np.arange(len(sums))  # would choose the last row
    assert choose(np.array(sums), values, sample=False).token == token


def test_greedy_of_random_sums_is_argmax() -> None:
    random = np.random.default_rng(2)
    for _ in range(5):
        sums = random.integers(-40, 40, 75)
        assert choose(sums, np.zeros(75, np.int64), sample=False).token == int(np.argmax(sums))


def test_a_sample_is_the_largest_value_with_noise() -> None:
    random = np.random.default_rng(3)
    chosen = set()
    for place in PLACES:
        values = random.integers(-2 << VECTOR.fraction, 2 << VECTOR.fraction, 75)
        noise = gumbel_noise(*place, 75) << (VECTOR.fraction - NOISE.fraction)
        token = choose(np.arange(75), values, sample=True, place=place).token
        assert token == int(np.argmax(values + noise))
        chosen.add(token != int(np.argmax(values)))
    assert chosen == {False, True} or chosen == {True}


def test_the_largest_value_with_the_largest_noise_does_not_overflow() -> None:
    values = np.full(40, VECTOR.low)
    values[17] = VECTOR.high
    assert choose(np.zeros(40, np.int64), values, sample=True).token == 17


def test_clamps_count_when_sampling_alone() -> None:
    clamped = np.random.default_rng(4).integers(0, 4, 30)
    sums = np.zeros(30, np.int64)
    assert choose(sums, sums, sample=True, clamped=clamped).saturations == np.bitwise_count(clamped).sum()
    assert choose(sums, sums, sample=False, clamped=clamped).saturations == 0


def test_raw_logits_are_all_sums_in_order() -> None:
    sums = np.random.default_rng(5).integers(SUM.low, SUM.high + 1, 40)
    choice = choose(sums, sums, sample=False, emit_raw=True)
    assert choice.raw == list(enumerate(sums.tolist()))
    assert choice.token == int(np.argmax(sums))
    assert choose(sums, sums, sample=False).raw == []


def test_rows_that_are_no_logits_change_nothing() -> None:
    sums = np.arange(30)
    choice = choose(sums, sums, sample=True, active=False, emit_raw=True, clamped=np.full(30, 3), gaps=0.0)
    assert (choice.token, choice.raw, choice.saturations) == (0, [], 0)
