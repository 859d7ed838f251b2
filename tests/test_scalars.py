"""Divider, reciprocal, output scale and product of scales against the golden model."""

from fractions import Fraction
from math import isqrt

import numpy as np
from simulate import Ints, corners_and_random, serial
from tritforge.hdl.scalars import InverseRootScale, Reciprocal, ScaleProduct, SerialDivider
from tritforge.models.numerics import epsilon_term, inverse_root_scale, multiply_scale, reciprocal

LARGEST_ENERGY = 2**46 - 1
LARGEST_PEAK = 2**15 - 1
MANTISSAS = (1 << 14, (1 << 15) - 1)


def test_division_is_floor_division_in_17_cycles() -> None:
    random = np.random.default_rng(0)
    divisor = corners_and_random(random, 1, 2**16 - 1, 200)
    quotient = corners_and_random(random, 0, 2**16 - 1, 200)
    dividend = divisor * quotient + (divisor - 1) * random.integers(0, 2, 200)
    cycles, found = serial(SerialDivider(), ("quotient",), dividend=dividend, divisor=divisor)
    assert np.array_equal(found["quotient"], quotient)
    assert set(cycles) == {17}


def test_the_reciprocal_is_that_of_the_golden_model_in_18_cycles() -> None:
    powers = 2 ** np.arange(15)
    random = np.random.default_rng(1).integers(1, LARGEST_PEAK, 150)
    peak = np.concatenate([[0, LARGEST_PEAK], powers, powers[1:] - 1, random])
    cycles, found = serial(Reciprocal(), ("factor", "shift"), peak=peak)
    factor, shift = reciprocal(peak)
    assert np.array_equal(found["factor"], factor)
    assert np.array_equal(found["shift"], shift)
    assert set(cycles) == {18}


def scale_of(**inputs: Ints) -> tuple[Ints, Ints, Ints]:
    """Mantissa, exponent and cycles of each case."""
    cycles, found = serial(InverseRootScale(), ("mantissa", "exponent"), **inputs)
    return found["mantissa"], found["exponent"], cycles


def golden_scale_of(
    energy: Ints,
    peak: Ints,
    against: Ints,
    norm_shift: Ints,
    constant: Ints,
    constant_exponent: Ints,
    epsilon: Ints,
    epsilon_exponent: Ints,
) -> tuple[Ints, Ints]:
    added = epsilon_term(epsilon, epsilon_exponent, norm_shift, against)  # type: ignore[arg-type]
    return inverse_root_scale((constant, constant_exponent), peak, energy + added)  # type: ignore[arg-type]


def scale_cases(count: int) -> dict[str, Ints]:
    random = np.random.default_rng(2)
    return {
        "energy": random.integers(0, LARGEST_ENERGY + 1, count) >> random.integers(0, 47, count),
        "peak": corners_and_random(random, 0, LARGEST_PEAK, count),
        "against": np.where(
            random.random(count) < 0.3,
            1,
            random.integers(0, LARGEST_ENERGY + 1, count) >> random.integers(0, 47, count),
        ),
        "norm_shift": random.integers(0, 18, count),
        "constant": random.integers(*MANTISSAS, count, endpoint=True),
        "constant_exponent": random.integers(-100, 80, count),
        "epsilon": random.integers(*MANTISSAS, count, endpoint=True),
        "epsilon_exponent": random.integers(-60, 20, count),
    }


def check_scales(cases: dict[str, Ints]) -> Ints:
    mantissa, exponent, cycles = scale_of(**cases)
    golden_mantissa, golden_exponent = golden_scale_of(**cases)
    assert np.array_equal(mantissa, golden_mantissa)
    assert np.array_equal(exponent, golden_exponent)
    return cycles


def test_the_output_scale_is_that_of_the_golden_model() -> None:
    assert check_scales(scale_cases(250)).max() < InverseRootScale.latency


def test_the_output_scale_at_the_ends_of_every_input() -> None:
    base = {name: values[0] for name, values in scale_cases(1).items()}
    rows = []
    for energy in (0, 1, 2, LARGEST_ENERGY):
        for peak in (0, 1, LARGEST_PEAK):
            for epsilon in (
                (-128, 1, 17),
                (127, 1, 0),
                (127, LARGEST_ENERGY, 0),
                (-62, LARGEST_ENERGY, 17),
                (-10, 0, 3),
            ):
                for constant in MANTISSAS:
                    exponent, against, shift = epsilon
                    rows.append(
                        base
                        | {
                            "energy": energy,
                            "peak": peak,
                            "epsilon_exponent": exponent,
                            "against": against,
                            "norm_shift": shift,
                            "constant": constant,
                            "epsilon": constant,
                            "constant_exponent": 0,
                        }
                    )
    cases = {name: np.array([row[name] for row in rows]) for name in base}
    assert check_scales(cases).max() < InverseRootScale.latency


def test_the_output_scale_is_the_exact_quotient_but_for_the_last_bits() -> None:
    cases = scale_cases(60)
    cases["epsilon_exponent"][:] = -128  # no epsilon
    mantissa, exponent, _ = scale_of(**cases)
    for k in range(60):
        found = Fraction(int(mantissa[k])) * Fraction(2) ** int(exponent[k])
        numerator = int(cases["constant"][k]) * max(int(cases["peak"][k]), 1)
        scale = Fraction(2) ** int(cases["constant_exponent"][k])
        root = Fraction(isqrt(max(int(cases["energy"][k]), 1) << 80), 1 << 40)
        exact = numerator * scale / root
        assert 0.9999 < found / exact <= Fraction(2**15, 2**15 - 1)


def test_a_product_of_scales_is_that_of_the_golden_model_in_16_cycles() -> None:
    random = np.random.default_rng(3)
    a, b = corners_and_random(random, *MANTISSAS, 200), corners_and_random(random, *MANTISSAS, 200)
    exponents = random.integers(-128, 128, (2, 200))
    cycles, found = serial(
        ScaleProduct(),
        ("mantissa", "exponent"),
        a_mantissa=a,
        b_mantissa=b,
        a_exponent=exponents[0],
        b_exponent=exponents[1],
    )
    expected = [
        multiply_scale(*each[:2], each[2:]) for each in zip(a, exponents[0], b, exponents[1], strict=True)
    ]
    assert list(zip(found["mantissa"], found["exponent"], strict=True)) == expected
    assert set(cycles) == {16}
