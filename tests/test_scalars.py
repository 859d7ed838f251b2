"""The output scale against exact arithmetic and `numerics` (bit by bit also: `sim/benches/scalars.py`)."""

from collections.abc import Iterable
from fractions import Fraction
from math import isqrt

import numpy as np
import pytest
from simulate import Ints, Outputs, corners_and_random, serial
from tritforge.hdl.parallel_scale import ParallelScale
from tritforge.hdl.scalars import PEAK_BITS, InverseRootScale, Reciprocal
from tritforge.models.numerics import (
    SCALE,
    SQUARES_BITS,
    epsilon_term,
    inverse_root_scale,
    multiply_scale,
)
from tritforge.sim.benches.driver import Driver, expect
from tritforge.sim.benches.driver import simulate as drive

COUNT = 60
RESULTS = ("mantissa", "exponent", "tempered_mantissa", "tempered_exponent")
MANTISSAS = (1 << (SCALE.bits - 1), SCALE.high)

Unit = type[InverseRootScale] | type[ParallelScale]

both = pytest.mark.parametrize("unit", [InverseRootScale, ParallelScale])


def golden(cases: dict[str, Ints]) -> Outputs:
    """Return what `numerics` gives."""
    against = np.where(cases["nested"] == 1, cases["against"], 1)
    epsilon = epsilon_term(cases["epsilon"], cases["epsilon_exponent"], cases["norm_shift"], against)
    constant = cases["constant"], cases["constant_exponent"]
    mantissa, exponent = inverse_root_scale(constant, cases["peak"], cases["energy"], epsilon)
    times, more = multiply_scale(mantissa, exponent, (cases["temperature"], cases["temperature_exponent"]))
    temper = cases["temper"] == 1
    scales = mantissa, exponent, np.where(temper, times, mantissa), np.where(temper, more, exponent)
    return dict(zip(RESULTS, scales, strict=True))


def numbers(random: np.random.Generator, bits: int, count: int) -> Ints:
    """Return numbers of every length, and those of one bit or of ones alone."""
    any_length = random.integers(1 << (bits - 1), 1 << bits, count) >> random.integers(0, bits + 1, count)
    corners = (1 << random.integers(0, bits + 1, count)) - random.integers(0, 2, count)
    return np.where(random.random(count) < 0.6, any_length, np.minimum(corners, (1 << bits) - 1))


def drawn(count: int, seed: int, energy_bits: int = SQUARES_BITS) -> dict[str, Ints]:
    """Return cases in which epsilon's term and the energy meet at every distance, and beyond."""
    random = np.random.default_rng(seed)

    def mantissas() -> Ints:
        return corners_and_random(random, *MANTISSAS, count)

    def bits(of: Ints) -> Ints:
        return np.frexp(of.astype(np.float64))[1].astype(np.int64)

    energy, against = numbers(random, energy_bits, count), numbers(random, energy_bits, count)
    nested, shift = random.integers(0, 2, count), random.integers(0, 18, count)
    # Of the term's bits, the first is as far from the energy's first as is drawn, or one further.
    term = np.minimum(bits(energy) + random.integers(-22, 22, count), energy_bits + 15)
    term = np.where(random.random(count) < 0.2, random.integers(-120, energy_bits + 16, count), term)
    exponent = term - SCALE.bits + 2 * shift - np.where(nested == 1, bits(against | 1), 1)
    return {
        "energy": energy,
        "peak": corners_and_random(random, 0, (1 << PEAK_BITS) - 1, count),
        "nested": nested,
        "against": against,
        "norm_shift": shift,
        "constant": mantissas(),
        "constant_exponent": random.integers(-97, 38, count),  # the scale's fits 8 bits, whatever the rest is
        "epsilon": mantissas(),
        "epsilon_exponent": np.clip(exponent, -128, 127),
        "temper": random.integers(0, 2, count),
        "temperature": mantissas(),
        "temperature_exponent": random.integers(-128, 128, count),
    }


def one(**values: int) -> dict[str, Ints]:
    """Return a case; all else is small."""
    small = dict.fromkeys(drawn(1, 0), 0) | dict.fromkeys(("constant", "epsilon", "temperature"), 1 << 14)
    return {name: np.array([value]) for name, value in (small | values).items()}


def expect_numbers(found: Outputs, cases: dict[str, Ints]) -> None:
    for name, values in golden(cases).items():
        np.testing.assert_array_equal(found[name], values, name)


@both
def test_the_output_scale_is_the_exact_quotient_but_for_the_last_bits(unit: Unit) -> None:
    random = np.random.default_rng(2)
    cases = {
        "energy": random.integers(2**45, 2**46, COUNT) >> random.integers(0, 46, COUNT),
        "peak": random.integers(0, 2**15, COUNT) >> random.integers(0, 15, COUNT),
        "constant": random.integers(2**14, 2**15, COUNT),
        "constant_exponent": random.integers(-100, 80, COUNT),
        "epsilon": np.full(COUNT, 2**14),
        "epsilon_exponent": np.full(COUNT, -128),  # no epsilon
    }
    _, found = serial(unit(), ("mantissa", "exponent"), **cases)
    for k in range(COUNT):
        scale = Fraction(int(found["mantissa"][k])) * Fraction(2) ** int(found["exponent"][k])
        numerator = int(cases["constant"][k]) * max(int(cases["peak"][k]), 1)
        root = Fraction(isqrt(int(cases["energy"][k]) << 80), 1 << 40)
        exact = numerator * Fraction(2) ** int(cases["constant_exponent"][k]) / root
        # The bound is derived where numerics' own is tested.
        assert 1 - 2.0**-13 - 2.0**-17 < scale / exact < 1 + 2.0**-14


@pytest.mark.parametrize(
    ("unit", "energy_bits", "count"),
    [
        (InverseRootScale, 46, 80),
        (InverseRootScale, 35, 20),
        (ParallelScale, 46, 600),
        (ParallelScale, 40, 120),
        (ParallelScale, 33, 120),
        (ParallelScale, 32, 120),
        (ParallelScale, 17, 120),
    ],
)
def test_the_output_scale_is_that_of_numerics(unit: Unit, energy_bits: int, count: int) -> None:
    cases = drawn(count, energy_bits, energy_bits)
    _, found = serial(unit(energy_bits), RESULTS, **cases)
    expect_numbers(found, cases)


@both
def test_corner_values_give_what_numerics_gives(unit: Unit) -> None:
    largest = (1 << SQUARES_BITS) - 1
    corners = [
        one(energy=energy, epsilon_exponent=epsilon, temper=1, **more)
        for energy in (0, 1, largest)
        # No epsilon, and the largest.
        for epsilon, more in (
            (-128, {"norm_shift": 17}),
            (46, {}),
            (-128, {"nested": 1, "norm_shift": 17, "epsilon": SCALE.high}),
            (0, {"nested": 1, "against": largest, "peak": 1}),
            (34, {"norm_shift": 17, "nested": 1, "against": largest, "peak": (1 << PEAK_BITS) - 1}),
        )
    ]
    cases = {name: np.concatenate([each[name] for each in corners]) for name in corners[0]}
    _, found = serial(unit(), RESULTS, **cases)
    expect_numbers(found, cases)


def test_the_fast_scale_takes_its_latency_whatever_the_numbers_are() -> None:
    cases = drawn(60, 3)
    cycles, _ = serial(ParallelScale(), RESULTS, **cases)
    np.testing.assert_array_equal(
        cycles, np.where(cases["temper"] == 1, ParallelScale.latency, ParallelScale.fastest)
    )


def test_the_serial_scale_takes_its_latency_with_the_smallest_numbers_of_an_accelerator() -> None:
    # An accelerator shifts by 8 at most.
    cycles, _ = serial(InverseRootScale(), (), **one(norm_shift=8, epsilon_exponent=-128, temper=1))
    assert 0.98 * InverseRootScale.latency < cycles.max() < InverseRootScale.latency


@both
def test_a_scale_stays_until_the_next_one_that_may_start_with_done(unit: Unit) -> None:
    # The serial unit's scale makes room for the tempered one.
    cases = drawn(12, 4) | ({} if unit is ParallelScale else {"temper": np.zeros(12, np.int64)})
    expected = [
        dict(zip(RESULTS, values, strict=True)) for values in zip(*golden(cases).values(), strict=True)
    ]

    async def follow(driver: Driver) -> None:
        for k in range(12):
            inputs = {name: int(values[k]) for name, values in cases.items()}
            seen = await driver.cycle(start=1, **inputs)
            if k:
                expect(
                    "with the start", [getattr(seen, name) for name in RESULTS], [*expected[k - 1].values()]
                )
            while not driver.registered("done"):
                seen = await driver.cycle(start=0)
                if k:
                    before = expected[k - 1]
                    expect(
                        f"{k}, before",
                        (seen.mantissa, seen.exponent),
                        (before["mantissa"], before["exponent"]),
                    )
            expect(f"{k}", [driver.registered(name) for name in RESULTS], [*expected[k].values()])

    drive(unit(), follow)


@pytest.mark.parametrize(
    ("unit", "moments"),
    [(InverseRootScale, (1, 41, 90, 150, 200)), (ParallelScale, range(1, ParallelScale.latency + 2))],
)
def test_a_reset_ends_the_scale_and_the_next_one_is_right(unit: Unit, moments: Iterable[int]) -> None:
    cases = drawn(2, 9) | {"temper": np.array([1, 0])}
    first, second = ({name: int(values[k]) for name, values in cases.items()} for k in (0, 1))
    expected = [int(values[1]) for values in golden(cases).values()]

    async def interrupted(driver: Driver) -> None:
        for moment in moments:
            await driver.cycle(start=1, **first)
            for _ in range(moment):
                await driver.cycle(start=0)
            await driver.reset()
            for _ in range(unit.latency):
                expect(f"done, after a reset at {moment}", (await driver.cycle(**second)).done, 0)
            await driver.cycle(start=1)
            while not driver.registered("done"):
                await driver.cycle(start=0)
            expect(f"after a reset at {moment}", [driver.registered(name) for name in RESULTS], expected)

    drive(unit(), interrupted)


def test_the_reciprocal_is_just_below_127_over_the_peak() -> None:
    peaks = np.array([1, 2, 127, 128, 1000, 2**15 - 1])
    _, found = serial(Reciprocal(), ("factor", "shift"), peak=peaks)
    for peak, factor, shift in zip(peaks.tolist(), found["factor"], found["shift"], strict=True):
        found_quotient, exact = Fraction(int(factor), 1 << int(shift)), Fraction(127, peak)
        assert exact * Fraction(16_255, 16_256) < found_quotient <= exact
