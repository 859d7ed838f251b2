"""The output scale against exact arithmetic (bit by bit: `sim/benches/scalars.py`)."""

from fractions import Fraction
from math import isqrt

import numpy as np
from simulate import serial
from tritforge.hdl.scalars import InverseRootScale, Reciprocal

COUNT = 60


def test_the_output_scale_is_the_exact_quotient_but_for_the_last_bits() -> None:
    random = np.random.default_rng(2)
    cases = {
        "energy": random.integers(2**45, 2**46, COUNT) >> random.integers(0, 46, COUNT),
        "peak": random.integers(0, 2**15, COUNT) >> random.integers(0, 15, COUNT),
        "constant": random.integers(2**14, 2**15, COUNT),
        "constant_exponent": random.integers(-100, 80, COUNT),
        "epsilon": np.full(COUNT, 2**14),
        "epsilon_exponent": np.full(COUNT, -128),  # no epsilon
    }
    _, found = serial(InverseRootScale(), ("mantissa", "exponent"), **cases)
    for k in range(COUNT):
        scale = Fraction(int(found["mantissa"][k])) * Fraction(2) ** int(found["exponent"][k])
        numerator = int(cases["constant"][k]) * max(int(cases["peak"][k]), 1)
        root = Fraction(isqrt(int(cases["energy"][k]) << 80), 1 << 40)
        exact = numerator * Fraction(2) ** int(cases["constant_exponent"][k]) / root
        # The bound is derived where numerics' own is tested.
        assert 1 - 2.0**-13 - 2.0**-17 < scale / exact < 1 + 2.0**-14


def test_the_reciprocal_is_just_below_127_over_the_peak() -> None:
    peaks = np.array([1, 2, 127, 128, 1000, 2**15 - 1])
    _, found = serial(Reciprocal(), ("factor", "shift"), peak=peaks)
    for peak, factor, shift in zip(peaks.tolist(), found["factor"], found["shift"], strict=True):
        found_quotient, exact = Fraction(int(factor), 1 << int(shift)), Fraction(127, peak)
        assert exact * Fraction(16_255, 16_256) < found_quotient <= exact
