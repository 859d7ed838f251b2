"""Quantiser and norm unit against the golden model."""

from itertools import product as combinations
from typing import Any

import numpy as np
import pytest
from simulate import Ints, corners_and_random, pipeline, simulate
from tritforge.hdl.norm import NormUnit, Quantiser
from tritforge.models.numerics import (
    VECTOR,
    WEIGHT,
    magnitude_or,
    norm_shift,
    normalise,
    product,
    quantise,
    reciprocal,
    squares,
)

TABLES = 8
WORDS = 15
LARGEST = 2**15 - 1


@pytest.mark.parametrize("peak", [1, 2, 3, 127, 128, 254, 1000, 16_384, LARGEST])
def test_quantised_values_are_those_of_the_golden_model(peak: int) -> None:
    random = np.random.default_rng(peak)
    products = np.concatenate([[-peak, peak, 0], random.integers(-peak, peak + 1, 100)])
    factor, shift = (int(each) for each in reciprocal(peak))
    count = len(products)
    found = pipeline(
        Quantiser(),
        Quantiser.latency,
        ("q",),
        product=products,
        factor=[factor] * count,
        shift=[shift] * count,
    )
    assert np.array_equal(found["q"], quantise(products, factor, shift))


def test_ties_go_away_from_zero_and_minus_128_is_reached() -> None:
    # 16,384 / 2**15 = 1/2; 128 is clamped at the upper end alone.
    products = [1, -1, 3, -3, 255, -255, 257, -257, LARGEST, -LARGEST]
    found = pipeline(
        Quantiser(), Quantiser.latency, ("q",), product=products, factor=[1 << 14] * 10, shift=[15] * 10
    )
    assert found["q"].tolist() == [1, -1, 2, -2, 127, -128, 127, -128, 127, -128]


class Run:
    """One use of the norm unit: what it wrote and found, and the cycles it took."""

    def __init__(self) -> None:
        self.q: list[tuple[int, int]] = []
        self.cycles = 0
        self.passes = 0
        self.energy = self.peak = self.shift = -1
        self.measured: tuple[int, int] | None = None


def use(
    unit: NormUnit, cases: list[tuple[bool, bool, Ints, Ints]], gaps: float = 0.0, seed: int = 0
) -> list[Run]:
    """Run `cases` of (project, own_energy, vector, weights) one after another."""
    random = np.random.default_rng(seed)
    runs = []

    async def testbench(ctx: Any) -> None:
        for project, own_energy, vector, weights in cases:
            run = Run()
            settings = {
                "project": project,
                "own_energy": own_energy,
                "count": len(vector),
                "magnitude": int(magnitude_or(vector)),
            }
            for name, value in settings.items():
                ctx.set(getattr(unit, name), value)
            element, position, offered = 0, len(weights), False
            for passed in range(100_000):
                offered = position < len(weights) and (offered or random.random() >= gaps)
                ctx.set(unit.start, passed == 0)
                ctx.set(unit.vector, element)
                ctx.set(unit.weights.valid, offered)
                ctx.set(unit.weights.payload, int(weights[position]) & 0xFFFF if offered else 0x5555)
                (
                    _,
                    _,
                    unpack,
                    ready,
                    address,
                    q_write,
                    q,
                    q_address,
                    q_lane,
                    measured,
                    done,
                    peak,
                    energy,
                ) = await ctx.tick().sample(
                    unit.unpack,
                    unit.weights.ready,
                    unit.address,
                    unit.q_write,
                    unit.q,
                    unit.q_address,
                    unit.q_lane,
                    unit.measured,
                    unit.done,
                    unit.peak,
                    unit.energy,
                )
                element = int(vector[address]) if address < len(vector) else 0
                if offered and ready:
                    position, offered = position + 1, False
                if unpack:
                    assert position == len(weights)
                    position = 0
                    run.passes += 1
                if q_write:
                    run.q.append((q_address * TABLES + q_lane, q))
                if measured:
                    run.measured = peak, energy
                if done:
                    break
            assert position == len(weights)
            run.cycles, run.peak, run.energy, run.shift = passed, peak, energy, ctx.get(unit.norm_shift)
            runs.append(run)

    simulate(unit, testbench)
    return runs


def vectors(random: np.random.Generator, count: int) -> list[Ints]:
    return [
        random.integers(VECTOR.low, VECTOR.high + 1, count),
        random.integers(VECTOR.low, VECTOR.high + 1, count) >> 12,
        random.integers(-200, 200, count),
        np.zeros(count, np.int64),
        np.where(np.arange(count) % 2, VECTOR.low, VECTOR.high),
    ]


def check(cases: list[tuple[bool, bool, Ints, Ints]], gaps: float = 0.0) -> list[Run]:
    runs = use(NormUnit(TABLES, WORDS), cases, gaps)
    energy = 0
    for (project, own_energy, vector, weights), run in zip(cases, runs, strict=True):
        shift = int(norm_shift(magnitude_or(vector)))
        normal = normalise(vector, shift)
        products = product(normal, weights)
        if not project:
            energy = int(squares(products))
        elif own_energy:
            energy = int(squares(normal))
        assert run.shift == shift
        assert run.energy == energy
        if project:
            peak = int(np.abs(products).max())
            assert run.measured == (peak, energy)
            assert run.peak == peak
            expected = quantise(products, *reciprocal(peak))
            assert run.q == list(enumerate(expected.tolist()))
            assert run.passes == 2
        else:
            assert run.q == []
            assert run.measured is None
            assert run.passes == 1
    return runs


def cases(seed: int, counts: tuple[int, ...]) -> list[tuple[bool, bool, Ints, Ints]]:
    random = np.random.default_rng(seed)
    return [
        (project, own_energy, vector, corners_and_random(random, -WEIGHT.high, WEIGHT.high, count))
        for count in counts
        for vector in vectors(random, count)
        for project, own_energy in ((False, False), (True, False), (True, True))
    ]


def test_energy_peak_and_inputs_are_those_of_the_golden_model() -> None:
    check(cases(0, (1, 7, 8, 9, 61)))


def test_gaps_between_weights_change_nothing() -> None:
    check(cases(1, (1, 19, 40)), gaps=0.4)


def test_a_full_vector_of_extremes_fits_energy_and_activation_memory() -> None:
    count = TABLES * WORDS
    extremes = [np.full(count, VECTOR.low), np.full(count, VECTOR.high)]
    weights = [np.full(count, WEIGHT.high), np.full(count, -WEIGHT.high)]
    check([(*flags, v, w) for v, w, flags in combinations(extremes, weights, ((False, False), (True, True)))])


def test_a_pass_takes_the_count_and_8_cycles_and_a_projection_26_between_its_passes() -> None:
    random = np.random.default_rng(2)
    for count in (1, 40):
        vector, weights = random.integers(-1000, 1000, count), random.integers(-1000, 1000, count)
        stats, project = use(
            NormUnit(TABLES, WORDS), [(False, False, vector, weights), (True, False, vector, weights)]
        )
        assert stats.cycles == count + 8
        assert project.cycles == 2 * count + 34
