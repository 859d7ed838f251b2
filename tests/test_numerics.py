"""The operators against float64; run as a program, this prints the table of errors in docs/numerics.md."""

import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tritforge.models import numerics
from tritforge.models.numerics import ACT, GATE, LEVEL_MAX, NOISE, NORMAL, VECTOR, Fixed, Ints, Saturations

Floats = NDArray[np.float64]

ALL_ACT = np.arange(-(2**15), 2**15)
ACT_STEP, GATE_STEP, NOISE_STEP = 2.0**-11, 2.0**-15, 2.0**-7

acts = st.integers(-(2**15), 2**15 - 1)
gates = st.integers(0, 2**15 - 1)
vectors = st.integers(VECTOR.low, VECTOR.high)
mantissas = st.integers(2**14, 2**15 - 1)


def exact_sigmoid(values: Floats) -> Floats:
    return 1 / (1 + np.exp(-values))


# Measured over the whole input range, or over a grid or sample that says so ---------------------------------


def sigmoid_errors() -> Floats:
    """In units of GATE's last bit, for all 65,536 inputs."""
    return numerics.sigmoid(ALL_ACT) - exact_sigmoid(ALL_ACT * ACT_STEP) / GATE_STEP


def silu_errors() -> Floats:
    """In units of ACT's last bit, for all 65,536 inputs."""
    x = ALL_ACT * ACT_STEP
    return numerics.silu(ALL_ACT) - x * exact_sigmoid(x) / ACT_STEP


def bound_errors() -> Floats:
    """In units of GATE's last bit, for 1,048,576 pairs: a grid with both ends of both ranges."""
    axis = np.unique(np.linspace(0, 2**15 - 1, 1024).astype(np.int64))
    gate, bound = axis[:, None], axis[None, :]
    exact = bound + (2**15 - bound) * gate / 2**15
    return (numerics.lower_bound_gate(gate, bound) - exact).ravel()


def reciprocal_errors() -> Floats:
    """Relative, for all 32,767 peaks."""
    peak = np.arange(1, 2**15)
    factor, shift = numerics.reciprocal(peak)
    return factor / 2.0**shift * peak / 127 - 1


def quantise_errors() -> Floats:
    """In units of INT8, every product of 256 peaks against round(127 product / peak) before rounding."""
    errors = []
    for peak in np.unique(np.geomspace(1, 2**15 - 1, 256).astype(np.int64)):
        products = np.arange(-peak, peak + 1)
        quantised = numerics.quantise(products, *numerics.reciprocal(peak))
        errors.append(quantised - 127 * products / peak)
    return np.concatenate(errors)


def align_errors() -> Floats:
    """In units of NORMAL's last bit at the last level, for 524,288 random elements before and at a rise."""
    random = np.random.default_rng(0)
    bits = random.integers(1, VECTOR.bits + 1, (2**18, 2))
    elements = random.integers(VECTOR.low, VECTOR.high + 1, bits.shape) >> (VECTOR.bits - bits)
    weights = random.integers(-(2**15) + 1, 2**15, bits.shape)
    levels = numerics.running_levels(elements)
    products = numerics.align(numerics.product(numerics.normalise(elements, levels), weights), levels)
    return (products - elements * weights / 2.0 ** (15 + 4 * levels[:, -1:])).ravel()


NO_EPSILON = numerics.epsilon_term(2**14, -128, 0)
"""Too small for any energy but 0."""


def scale_errors() -> Floats:
    """Relative, of the output scale, for 1,048,576 random constants, peaks and energies of all sizes."""
    random = np.random.default_rng(0)
    errors = []
    for _ in range(64):
        constant = int(random.integers(2**14, 2**15))
        peak = np.exp2(random.uniform(0, 15, 2**14)).astype(np.int64)
        energy = np.exp2(random.uniform(0, 46, 2**14)).astype(np.int64)
        mantissa, exponent = numerics.inverse_root_scale((constant, -20), peak, energy, NO_EPSILON)
        exact = constant * 2.0**-20 * peak / np.sqrt(energy)
        errors.append(mantissa * 2.0**exponent / exact - 1)
    return np.concatenate(errors)


def mlgru_errors() -> Floats:
    """In units of ACT's last bit, for 1,048,576 random i, f and h of which none saturates."""
    random = np.random.default_rng(0)
    i, h = random.integers(-(2**14), 2**14, (2, 2**20))
    f = random.integers(0, 2**15, 2**20)
    share = f * GATE_STEP
    return numerics.mlgru(i, f, h, Saturations()) - (share * h + (1 - share) * i)


def noise_places() -> tuple[Floats, Floats, Ints]:
    """Every cell and place of the Gumbel table: its tail probability's middle, its probability, its noise."""
    octave, cell, place = (
        axis.ravel() for axis in np.meshgrid(range(16), range(16), range(128), indexing="ij")
    )
    top = np.where(octave < 15, 1 << np.maximum(14 - octave, 0), 0)
    noise = numerics.noise_of((top << 17) | (cell << 13) | (place << 6))
    tail = 2.0 ** -(octave + 1) * (1 + (cell + 1 - (place + 0.5) / 128) / 16)
    share = 2.0 ** -np.minimum(octave + 1, 15) / 2048
    return tail, share, noise


def noise_errors() -> Floats:
    """In units of NOISE's last bit, against Gumbel's quantile plus 3, for all places in tails up to 31/32."""
    tail, _, noise = noise_places()
    inside = tail < 31 / 32
    return (noise - (3 - np.log(-np.log1p(-tail))) / NOISE_STEP)[inside]


def noise_distribution() -> float:
    """Largest distance between the noise's distribution function and Gumbel's."""
    _, share, noise = noise_places()
    below = np.cumsum(np.bincount(noise, share, minlength=2**11))
    exact = np.exp(-np.exp(-((np.arange(2**11) + 1) * NOISE_STEP - 3)))
    return float(np.abs(below - exact).max())


# The formats ------------------------------------------------------------------------------------------------


def test_formats_hold_what_their_bits_say() -> None:
    assert (ACT.low, ACT.high, ACT.step) == (-32768, 32767, 1 / 2048)
    assert (VECTOR.low, VECTOR.high, VECTOR.step) == (-(2**23), 2**23 - 1, 2.0**-15)
    assert (GATE.low, GATE.high, GATE.step) == (0, 32767, 1 / 32768)
    assert (NOISE.low, NOISE.high) == (0, 2047)


def test_clamping_counts_what_it_changes() -> None:
    saturations = Saturations()
    clamped = saturations.clamp(np.array([-32769, -32768, 0, 32767, 32768, 99999]), ACT)
    assert clamped.tolist() == [-32768, -32768, 0, 32767, 32767, 32767]
    assert saturations.count == 3
    saturations.clamp(np.array([-1, 32768]), GATE)
    assert saturations.count == 5


# Scales -----------------------------------------------------------------------------------------------------


def test_scales_are_these() -> None:
    assert numerics.to_scale(1.0) == (2**14, -14)
    assert numerics.to_scale(0.75) == (24576, -15)
    assert numerics.to_scale(1 - 2.0**-20) == (2**14, -14)  # rounds up into the next power of two
    assert numerics.scale_value(24576, -15) == 0.75


@given(st.floats(2.0**-100, 2.0**100))
def test_a_scale_is_the_nearest(value: float) -> None:
    mantissa, exponent = numerics.to_scale(value)
    assert 2**14 <= mantissa < 2**15
    error = abs(Fraction(mantissa) * Fraction(2) ** exponent - Fraction(value))
    assert error <= Fraction(2) ** (exponent - 1)


@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan, 2.0**150, 2.0**-150])
def test_what_no_scale_holds_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="scale"):
        numerics.to_scale(value)


@given(mantissas, st.integers(-100, 0), mantissas, st.integers(-20, 0))
def test_a_product_of_scales_is_truncated_to_15_bits(a: int, e: int, b: int, f: int) -> None:
    mantissa, exponent = (int(each) for each in numerics.multiply_scale(a, e, (b, f)))
    assert 2**14 <= mantissa < 2**15
    exact = Fraction(a * b) * Fraction(2) ** (e + f)
    found = Fraction(mantissa) * Fraction(2) ** exponent
    assert exact * (1 - Fraction(1, 2**14)) < found <= exact


def rescaled(sums: list[int], mantissa: int, exponent: int, fmt: Fixed) -> tuple[list[int], int]:
    saturations = Saturations()
    values = numerics.rescale(np.array(sums), mantissa, exponent, fmt, saturations)
    return values.tolist(), saturations.count


def test_rescaling_rounds_ties_up() -> None:
    # 2**14 * 2**-26 in ACT's units of 2**-11 is a half.
    assert rescaled([-5, -3, -1, 0, 1, 3, 5], 2**14, -26, ACT) == ([-2, -1, 0, 0, 1, 2, 3], 0)
    # Three quarters: 0.75, 1.5, 2.25.
    assert rescaled([1, 2, 3, -1, -2, -3], 24576, -26, ACT) == ([1, 2, 2, -1, -1, -2], 0)


def test_rescaling_clamps_the_sums_to_16_bits_then_the_result_and_counts_both() -> None:
    assert rescaled([32767, 32768, -32768, -40000], 2**14, -25, ACT) == ([32767, 32767, -32768, -32768], 2)
    assert rescaled([16384, 16383, -16384, -16385], 2**14, -24, ACT) == ([32767, 32766, -32768, -32768], 2)
    assert rescaled([0, 1, -1], 2**15 - 1, 127, ACT) == ([0, 32767, -32768], 2)
    assert rescaled([32767, -32768], 2**14, -128, VECTOR) == ([0, 0], 0)


@given(st.integers(-(2**15), 2**15 - 1), mantissas, st.integers(-128, -14), st.sampled_from([ACT, VECTOR]))
def test_rescaling_is_exact_but_for_the_rounding(
    value: int, mantissa: int, exponent: int, fmt: Fixed
) -> None:
    exact = Fraction(value * mantissa) * Fraction(2) ** (exponent + fmt.fraction)
    rounded = math.floor(exact + Fraction(1, 2))
    clamped = min(max(rounded, fmt.low), fmt.high)
    assert rescaled([value], mantissa, exponent, fmt) == ([clamped], int(clamped != rounded))


@given(st.integers(-128, 127), st.floats(2.0**-20, 1.9999))
def test_an_embedding_entry_times_its_rows_scale_is_within_half_a_step(entry: int, scale: float) -> None:
    mantissa, exponent = numerics.to_scale(scale)
    (value,), count = rescaled([entry], mantissa, exponent, VECTOR)
    assert count == 0
    assert abs(value * VECTOR.step - entry * math.ldexp(mantissa, exponent)) <= VECTOR.step / 2


@settings(deadline=None)
@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=20))
def test_norm_weights_are_within_half_a_step_of_the_finest_format(values: list[float]) -> None:
    peak = max(map(abs, values))
    assume(peak == 0 or peak > 1e-30)
    integers, exponent = numerics.quantise_vector(np.array(values))
    assert (np.abs(integers) <= 2**15 - 1).all()
    assert (np.abs(integers / 2.0**exponent - values) <= 2.0 ** -(exponent + 1)).all()
    if peak:
        assert round(peak * 2.0 ** (exponent + 1)) > 2**15 - 1


def test_norm_weights_are_these() -> None:
    integers, exponent = numerics.quantise_vector(np.array([1.0, -0.5, 0.0]))
    assert (integers.tolist(), exponent) == ([16384, -8192, 0], 14)
    integers, exponent = numerics.quantise_vector(np.array([2 - 2.0**-20]))  # would round to 2**15
    assert (integers.tolist(), exponent) == ([16384], 13)
    integers, exponent = numerics.quantise_vector(np.zeros(3))
    assert (integers.tolist(), exponent) == ([0, 0, 0], 0)


# RMSNorm and the quantiser ----------------------------------------------------------------------------------


def gathered(vector: list[int], weights: list[int]) -> tuple[list[int], list[int], int, int]:
    """Levels, products at the last level, peak and energy, gathered element by element."""
    levels, products, peak, energy = [], [], 0, 0
    level = 0
    for element, weight in zip(vector, weights, strict=True):
        while not NORMAL.low <= math.floor(Fraction(element, 16**level)) <= NORMAL.high:
            level += 1
            peak //= 16
            energy //= 256
            products = [product // 16 for product in products]
        normal = element // 16**level
        levels.append(level)
        products.append(normal * weight // 2**15)
        peak = max(peak, abs(products[-1]))
        energy += normal**2
    return levels, products, peak, energy


@st.composite
def weighted_vectors(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """VECTORs of any sizes in any order, so that levels rise; and as many weights."""
    size = st.integers(0, VECTOR.bits - 1)
    element = size.flatmap(lambda bits: st.integers(-(1 << bits), (1 << bits) - 1))
    vector = draw(st.lists(element, min_size=1, max_size=20))
    weight = st.integers(-(2**15) + 1, 2**15 - 1)
    return vector, draw(st.lists(weight, min_size=len(vector), max_size=len(vector)))


@pytest.mark.parametrize("level", range(LEVEL_MAX + 1))
def test_a_level_holds_16_bits_and_4_more_for_each_below_it(level: int) -> None:
    high = 2 ** (15 + 4 * level) - 1
    inside = [value for value in (high, -high - 1) if VECTOR.low <= value <= VECTOR.high]
    outside = [value for value in (high + 1, -high - 2) if VECTOR.low <= value <= VECTOR.high]
    for value in [*inside, VECTOR.high, VECTOR.low] if level == LEVEL_MAX else inside:
        assert numerics.running_levels(np.array([value])).tolist() == [level]
        assert NORMAL.low <= int(numerics.normalise(np.array(value), level)) <= NORMAL.high
    for value in outside:
        assert numerics.running_levels(np.array([value])).tolist() == [level + 1]
        assert not NORMAL.low <= int(numerics.normalise(np.array(value), level)) <= NORMAL.high


@pytest.mark.parametrize("before", range(LEVEL_MAX + 1))
@pytest.mark.parametrize("after", range(LEVEL_MAX + 1))
def test_a_level_rises_by_any_number_at_once_and_never_falls(before: int, after: int) -> None:
    first, second = (2 ** (15 + 4 * level) - 1 for level in (before, after))
    found = numerics.running_levels(np.array([0, min(first, VECTOR.high), 1, -min(second, VECTOR.high), 0]))
    last = max(before, after)
    assert found.tolist() == [0, before, before, last, last]


@given(weighted_vectors())
def test_levels_products_peak_and_energy_are_those_gathered_element_by_element(
    case: tuple[list[int], list[int]],
) -> None:
    vector, weights = (np.array(values) for values in case)
    levels, products, peak, energy = gathered(*case)
    found = numerics.running_levels(vector)
    normal = numerics.normalise(vector, found)
    each = numerics.product(normal, weights)
    assert found.tolist() == levels
    assert numerics.align(each, found).tolist() == products
    assert int(numerics.running_peak(each, found)) == peak
    assert int(numerics.running_squares(normal, found)) == energy


@given(st.lists(weighted_vectors(), min_size=2, max_size=4))
def test_vectors_of_a_batch_do_not_meet(cases: list[tuple[list[int], list[int]]]) -> None:
    shortest = min(len(vector) for vector, _ in cases)
    vectors = np.array([vector[:shortest] for vector, _ in cases])
    levels = numerics.running_levels(vectors)
    normal = numerics.normalise(vectors, levels)
    for k, vector in enumerate(vectors):
        alone = numerics.running_levels(vector)
        assert levels[k].tolist() == alone.tolist()
        assert numerics.align(normal, levels)[k].tolist() == numerics.align(normal[k], alone).tolist()
        assert numerics.running_peak(normal, levels)[k] == numerics.running_peak(normal[k], alone)
        assert numerics.running_squares(normal, levels)[k] == numerics.running_squares(normal[k], alone)


@given(weighted_vectors())
def test_an_aligned_product_is_at_most_two_below_and_one_above_the_exact_one(
    case: tuple[list[int], list[int]],
) -> None:
    vector, weights = (np.array(values) for values in case)
    levels = numerics.running_levels(vector)
    products = numerics.align(numerics.product(numerics.normalise(vector, levels), weights), levels)
    for element, weight, found in zip(*case, products.tolist(), strict=True):
        exact = Fraction(element * weight, 2**15 * 16 ** int(levels[-1]))
        assert -2 < found - exact < 1


@given(weighted_vectors())
def test_the_peak_is_the_largest_aligned_product_or_one_less(case: tuple[list[int], list[int]]) -> None:
    # Sizes lose their bits towards zero, products towards minus infinity.
    vector, weights = (np.array(values) for values in case)
    levels = numerics.running_levels(vector)
    products = numerics.product(numerics.normalise(vector, levels), weights)
    largest = int(np.abs(numerics.align(products, levels)).max())
    assert largest - 1 <= int(numerics.running_peak(products, levels)) <= largest
    if levels[0] == levels[-1]:
        assert int(numerics.running_peak(products, levels)) == largest


@given(weighted_vectors())
def test_the_energy_is_within_the_bound_of_its_roundings(case: tuple[list[int], list[int]]) -> None:
    vector = np.array(case[0])
    levels = numerics.running_levels(vector)
    last = int(levels[-1])
    found = int(numerics.running_squares(numerics.normalise(vector, levels), levels))
    exact = sum(Fraction(element, 16**last) ** 2 for element in case[0])
    # (y - r)**2 is off by less than 2|y| + 1, which a rise divides too; a rise drops less than one.
    bound = sum(
        (2 * abs(Fraction(element, 16**level)) + 1) / 256 ** (last - level)
        for element, level in zip(case[0], levels.tolist(), strict=True)
    )
    assert abs(found - exact) < bound + 2


@given(weighted_vectors(), vectors, st.integers(-(2**15) + 1, 2**15 - 1))
def test_one_more_element_lowers_neither_level_nor_peak_nor_energy(
    case: tuple[list[int], list[int]], element: int, weight: int
) -> None:
    def measured(vector: list[int], weights: list[int]) -> tuple[int, int, int]:
        levels = numerics.running_levels(np.array(vector))
        normal = numerics.normalise(np.array(vector), levels)
        products = numerics.product(normal, np.array(weights))
        peak, energy = numerics.running_peak(products, levels), numerics.running_squares(normal, levels)
        return int(levels[-1]), int(peak), int(energy)

    level, peak, energy = measured(*case)
    more, higher, larger = measured([*case[0], element], [*case[1], weight])
    assert more >= level
    assert higher >= peak // 16 ** (more - level)
    assert larger >= energy // 256 ** (more - level)


def test_the_largest_vectors_fit_peak_and_energy() -> None:
    vector = np.full(2**16 - 1, VECTOR.low)
    levels = numerics.running_levels(vector)
    normal = numerics.normalise(vector, levels)
    products = numerics.product(normal, np.full(len(vector), 2**15 - 1))
    assert int(numerics.running_peak(products, levels)) == 2**15 - 1
    assert int(numerics.running_squares(normal, levels)) == (2**16 - 1) * 2**30 < 2**numerics.SQUARES_BITS


def test_products_and_squares_are_these() -> None:
    normal = np.array([-32768, 32767, 1, -1])
    weights = np.array([32767, 32767, 16384, 16384])
    assert numerics.product(normal, weights).tolist() == [-32767, 32766, 0, -1]
    assert numerics.squares(np.array([[-32768, -32768], [3, 4]])).tolist() == [2**31, 25]


def test_a_zero_vector_stays_zero_and_has_a_scale() -> None:
    zero = np.zeros(8, np.int64)
    levels = numerics.running_levels(zero)
    products = numerics.product(numerics.normalise(zero, levels), np.full(8, 32767))
    peak = numerics.running_peak(products, levels)
    energy = numerics.running_squares(numerics.normalise(zero, levels), levels)
    assert levels.tolist() == [0] * 8
    assert (int(peak), int(energy)) == (0, 0)
    assert numerics.quantise(numerics.align(products, levels), *numerics.reciprocal(peak)).tolist() == [0] * 8
    epsilon = numerics.epsilon_term(2**14, -20, 0)  # 2**-6
    mantissa, exponent = numerics.inverse_root_scale((2**14, 0), peak, energy, epsilon)
    scale = int(mantissa) * 2.0 ** int(exponent)  # the peak counts as 1
    assert scale == pytest.approx(2**14 / 2**-3, rel=2**-14)
    assert numerics.rescale(zero, mantissa, exponent, ACT, Saturations()).tolist() == [0] * 8


def test_the_reciprocal_is_never_above_and_within_2_to_minus_14() -> None:
    for peak in range(1, 2**15):
        factor, shift = (int(each) for each in numerics.reciprocal(peak))
        assert 127 * 2**shift * (2**14 - 1) <= factor * peak * 2**14 <= 127 * 2**shift * 2**14


def test_the_reciprocal_fits_15_bits_and_shifts_by_8_to_22() -> None:
    factor, shift = numerics.reciprocal(np.arange(2**15))
    assert (factor >= 16256).all()
    assert (factor <= 32512).all()
    assert shift.min() == 8
    assert shift.max() == 22
    assert factor[0] == factor[1]
    assert shift[0] == shift[1]


def test_quantising_rounds_ties_away_from_zero() -> None:
    # 2**14 / 2**15 is a half.
    products = np.array([-5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5])
    assert numerics.quantise(products, 2**14, 15).tolist() == [-3, -2, -2, -1, -1, 0, 1, 1, 2, 2, 3]


def test_quantising_clamps_to_minus_128_and_127() -> None:
    products = np.array([-300, -256, -255, -254, 254, 255, 256, 300])
    assert numerics.quantise(products, 2**14, 15).tolist() == [-128, -128, -128, -127, 127, 127, 127, 127]
    # Next to a peak of 32,767, the one product below -peak is -127.004: no clamp.
    assert numerics.quantise(np.array([-32768]), *numerics.reciprocal(32767)).tolist() == [-127]


def test_the_peak_becomes_127_for_every_peak() -> None:
    peak = np.arange(1, 2**15)
    factor, shift = numerics.reciprocal(peak)
    assert (numerics.quantise(peak, factor, shift) == 127).all()
    assert (numerics.quantise(-peak, factor, shift) == -127).all()


def test_quantising_is_within_half_a_step() -> None:
    # The reciprocal adds at most 127 * 2**-14.
    assert np.abs(quantise_errors()).max() <= 0.5 + 127 * 2.0**-14


@given(mantissas, st.integers(-100, 20), st.integers(0, 16), st.integers(0, 2**46 - 1))
def test_epsilon_is_moved_to_the_shifts_units(mantissa: int, exponent: int, shift: int, energy: int) -> None:
    exact = Fraction(mantissa * (energy | 1)) * Fraction(2) ** (exponent - 2 * shift)
    term, power = (int(each) for each in numerics.epsilon_term(mantissa, exponent, shift, energy))
    assert 2**15 <= term < 2**16
    # Cut to 16 bits twice.
    assert exact * (1 - Fraction(1, 2**14)) < term * Fraction(2) ** power <= exact


epsilons = st.tuples(mantissas, st.integers(-60, 0))


@given(mantissas, st.integers(-60, 20), st.integers(1, 2**15 - 1), st.integers(0, 2**46 - 1), epsilons)
def test_the_output_scale_is_within_its_bound(
    constant: int, exponent: int, peak: int, energy: int, epsilon: tuple[int, int]
) -> None:
    term = numerics.epsilon_term(*epsilon, 0)
    found = numerics.inverse_root_scale((constant, exponent), peak, energy, term)
    mantissa, e = (int(each) for each in found)
    assert 2**14 <= mantissa < 2**15
    root = math.sqrt(energy + epsilon[0] * 2.0 ** epsilon[1])
    ratio = mantissa * math.ldexp(1.0, e) * root / (constant * math.ldexp(1.0, exponent) * peak)
    # Cut to 15 bits: the result; to 15 or 16: the quotient. Cut to 16 under the fraction: the sum of energy
    # and epsilon, which counts half, and the root, to which a quarter of its last bit is added.
    assert 1 - 2.0**-14 - 2.0**-14 - 2.0**-17 < ratio < 1 + 1.25 * 2.0**-16 + 0.75 * 2.0**-15


def test_the_output_scale_of_a_power_of_two_is_within_the_quarter_that_the_root_gains() -> None:
    for bits in range(0, 46, 2):
        found = numerics.inverse_root_scale((2**14, -3), 1, 1 << bits, NO_EPSILON)
        mantissa, exponent = (int(each) for each in found)
        assert 1 - 2.0**-14 <= mantissa * 2.0 ** (exponent + 3 + bits // 2) / 2**14 <= 1


# Sigmoid, SiLU, the recurrence and the gated unit -----------------------------------------------------------


def test_sigmoid_is_within_6_steps_everywhere() -> None:
    # Between knots a chord is off by at most max|sigmoid''| / 8 / 16**2, 1.54 steps; rounding and truncation
    # add to it and, for negative x, taking ~x for -x: an ACT step, with the slope of 1/4 up to 4 GATE steps.
    errors = sigmoid_errors()
    assert len(errors) == 65536
    assert np.abs(errors[ALL_ACT >= 0]).max() <= 1.54 + 0.5 + 1
    assert np.abs(errors).max() <= 6


def test_sigmoid_rises_and_is_mirrored() -> None:
    values = numerics.sigmoid(ALL_ACT)
    assert (np.diff(values) >= 0).all()
    assert (values >= 0).all()
    assert (values <= 32767).all()
    assert (values + values[::-1] == 32767).all()  # of x and ~x
    assert numerics.sigmoid(np.array([0, -1])).tolist() == [16384, 16383]


def test_the_sigmoids_knots_are_the_nearest_numbers() -> None:
    starts = np.array(numerics.sigmoid_table())
    assert starts.shape == (256, 2)
    exact = np.minimum(exact_sigmoid(np.arange(257) / 16) * 2**15, 32767)
    assert (np.abs(starts[:, 0] - exact[:256]) <= 0.5).all()
    assert (starts[:-1].sum(axis=1) == starts[1:, 0]).all()
    assert abs(starts[-1].sum() - exact[256]) <= 0.5


def test_silu_is_within_1_3_steps_everywhere() -> None:
    errors = silu_errors()
    assert len(errors) == 65536
    assert np.abs(errors).max() <= 1.3


def test_silu_is_these() -> None:
    # sigmoid(1) = 0.731059, 1 * 2**11 * that = 1497.2; silu(-1) = -550.8; silu(15.9995) is the same.
    assert numerics.silu(np.array([0, 2048, -2048, 32767, -32768])).tolist() == [0, 1497, -551, 32766, 0]


def test_the_lower_bound_is_within_a_step_and_above_gate_and_bound() -> None:
    errors = bound_errors()
    assert len(errors) == 2**20
    assert np.abs(errors).max() < 1


@given(gates, gates)
def test_the_bounded_gate_lies_between_the_larger_and_one(gate: int, bound: int) -> None:
    value = int(numerics.lower_bound_gate(np.array(gate), np.array(bound)))
    assert max(gate, bound) <= value <= 32767


def test_the_bounded_gates_corners_are_these() -> None:
    gate, bound = np.array([0, 32767, 0, 32767, 12345]), np.array([0, 0, 32767, 32767, 0])
    assert numerics.lower_bound_gate(gate, bound).tolist() == [0, 32767, 32767, 32767, 12345]


def test_the_recurrence_is_within_half_a_step() -> None:
    errors = mlgru_errors()
    assert len(errors) == 2**20
    assert np.abs(errors).max() <= 0.5


@given(acts, gates, acts)
def test_the_state_stays_between_input_and_state(i: int, f: int, h: int) -> None:
    saturations = Saturations()
    new = int(numerics.mlgru(np.array(i), np.array(f), np.array(h), saturations))
    assert min(i, h) <= new <= max(i, h)
    assert saturations.count == (not -32768 <= h - i <= 32767)


def test_the_recurrence_is_these() -> None:
    def step(i: int, f: int, h: int) -> int:
        return int(numerics.mlgru(np.array(i), np.array(f), np.array(h), Saturations()))

    assert step(100, 0, 5000) == 100
    assert step(100, 16384, 200) == 150
    assert step(0, 16384, 1) == 1  # a half, up
    assert step(0, 16384, -1) == 0  # minus a half, up
    assert step(0, 32767, 32767) == 32766  # 32,766.00003


@given(acts, acts)
def test_the_gated_product_fits_and_loses_less_than_a_step(gate: int, up: int) -> None:
    activation = int(numerics.silu(np.array(gate)))
    value = int(numerics.glu(np.array(activation), np.array(up)))
    exact = Fraction(activation, 2**11) * Fraction(up, 2**11)
    assert VECTOR.low <= value <= VECTOR.high
    assert 0 <= exact - Fraction(value, 2**VECTOR.fraction) < Fraction(1, 2**VECTOR.fraction)


def test_the_gated_products_corners_fit() -> None:
    activations = numerics.silu(ALL_ACT)
    corners = np.array([activations.min(), activations.max()])
    found = numerics.glu(corners[:, None], np.array([ACT.low, ACT.high]))
    # silu(x) is -0.28 at least; 16 times -16 is -256, the end of VECTOR.
    assert found.min() >= VECTOR.low
    assert found.max() <= VECTOR.high
    assert found.min() * VECTOR.step == pytest.approx(-256, abs=0.03)
    assert found.max() * VECTOR.step == pytest.approx(256, abs=0.03)


# Sampling ---------------------------------------------------------------------------------------------------


def scalar_mix(x: int) -> int:
    """Marsaglia, "Xorshift RNGs" (2003), y ^= y<<13, y ^= y>>17, y ^= y<<5; and a Weyl step."""
    x = (x ^ x << 13) % 2**32
    x ^= x >> 17
    x = (x ^ x << 5) % 2**32
    return (x + 0x9E3779B9) % 2**32


def unmix(x: int) -> int:
    """The inverse: each shift is undone by repeating it until it has run out of the word."""
    x = (x - 0x9E3779B9) % 2**32
    for shift, left in ((5, True), (17, False), (13, True)):
        y = x
        for _ in range(32 // shift):
            y = x ^ ((y << shift) % 2**32 if left else y >> shift)
        x = y
    return x


def test_the_stream_begins_as_worked_out_by_hand() -> None:
    # 0 stays 0; 1 becomes 0x2001, then 0x2001, then 0x42021, the known first output of xorshift32.
    assert numerics.mix(np.array([0, 1])).tolist() == [0x9E3779B9, 0x9E3779B9 + 0x42021]
    assert int(numerics.mix(0xFFFFFFFF)) == scalar_mix(0xFFFFFFFF)


@given(st.integers(0, 2**32 - 1))
def test_mixing_is_a_bijection(state: int) -> None:
    mixed = int(numerics.mix(state))
    assert mixed == scalar_mix(state)
    assert unmix(mixed) == state


@given(st.integers(0, 2**40), st.integers(0, 2**40))
def test_seed_and_position_enter_the_stream_modulo_2_to_32(seed: int, position: int) -> None:
    seed_word, position_word = seed % 2**32, position % 2**32
    state = seed_word ^ ((position_word % 2**16) * 2**16 + position_word // 2**16)
    for _ in range(8):
        state = scalar_mix(state)
    assert int(numerics.noise_seed(seed, position)) == state


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(0, 10_000), st.integers(1, 50))
def test_noise_takes_one_step_an_entry(seed: int, position: int, vocabulary: int) -> None:
    state = int(numerics.noise_seed(seed, position))
    states = []
    for _ in range(vocabulary):
        state = scalar_mix(state)
        states.append(state)
    found = numerics.gumbel_noise(seed, position, vocabulary)
    assert found.tolist() == numerics.noise_of(np.array(states)).tolist()


def test_noise_uses_the_top_bits_for_the_octave() -> None:
    table = numerics.gumbel_table()
    assert len(table) == 256
    # Bit 31 set: the upper half of the tails, octave 0. All of the top 15 clear: the last octave.
    assert int(numerics.noise_of(0x80000000)) == table[0][0]
    assert int(numerics.noise_of(0x40000000 | 5 << 13)) == table[16 + 5][0]
    assert int(numerics.noise_of(3 << 13)) == table[15 * 16 + 3][0]
    assert int(numerics.noise_of(0x80000000 | 64 << 6)) == table[0][0] + table[0][1] // 2


def test_noise_fits_11_bits_and_a_rise_5() -> None:
    for start, rise in numerics.gumbel_table():
        assert 0 <= start <= start + rise <= 2047
        assert 0 <= rise <= 31


def test_noise_is_within_3_steps_of_gumbels_quantile() -> None:
    # Rounding of the knots, truncation, and the chord, which is off most where the quantile is steepest.
    errors, tail = noise_errors(), noise_places()[0]
    assert np.abs(errors).max() <= 3
    assert np.abs(errors[tail[tail < 31 / 32] < 3 / 4]).max() <= 1.6


def test_noise_is_distributed_as_gumbel() -> None:
    _, share, _ = noise_places()
    assert share.sum() == 1
    assert noise_distribution() <= 0.0125


def test_the_largest_of_logit_plus_noise_is_drawn_with_the_softmaxs_probability() -> None:
    logits = np.array([0.0, 1.0, -1.0, 2.0, 0.5])
    draws = 200_000
    state = numerics.noise_seed(7, np.arange(draws))
    scores = np.empty((draws, len(logits)))
    for entry, logit in enumerate(logits):
        state = numerics.mix(state)
        scores[:, entry] = logit + numerics.noise_of(state) * NOISE_STEP
    shares = np.bincount(scores.argmax(axis=1), minlength=len(logits)) / draws
    softmax = np.exp(logits) / np.exp(logits).sum()
    # Four standard deviations of the count, and the noise's own steps.
    assert (np.abs(shares - softmax) <= 4 * np.sqrt(softmax * (1 - softmax) / draws) + 0.002).all()


# The table in the documents ---------------------------------------------------------------------------------

MEASURES: list[tuple[str, Callable[[], Floats | float], str, str]] = [
    ("`sigmoid`", sigmoid_errors, "GATE", "all 65,536 inputs"),
    ("`silu`", silu_errors, "ACT", "all 65,536 inputs"),
    ("`lower_bound_gate`", bound_errors, "GATE", "1,048,576 pairs, a grid with all corners"),
    ("`mlgru`", mlgru_errors, "ACT", "1,048,576 random i, f, h"),
    ("`reciprocal`", reciprocal_errors, "", "all 32,767 peaks"),
    ("`quantise`", quantise_errors, "INT8", "all products of 256 peaks"),
    ("`align` of `product`", align_errors, "NORMAL", "524,288 random elements, before and at a rise"),
    ("`inverse_root_scale`", scale_errors, "", "1,048,576 random constants, peaks, energies"),
    ("`noise_of`", noise_errors, "NOISE", "all 32,768 places but those with tails above 31/32"),
    ("`noise_of`, distribution", noise_distribution, "", "exact sum over all 32,768 places"),
]


def measured_table() -> str:
    """Largest errors, as a table in Markdown."""
    lines = ["| Function | lowest error | highest error | in | over |", "| --- | --- | --- | --- | --- |"]
    for name, measure, unit, domain in MEASURES:
        errors = np.atleast_1d(measure())
        if name.endswith("distribution"):
            low, high, unit = "", f"{errors[0]:.4f}", "probability, largest distance"
        elif unit:
            low, high, unit = f"{errors.min():+.2f}", f"{errors.max():+.2f}", f"last bits of {unit}"
        else:
            low, high, unit = f"{errors.min() + 0.0:+.1e}", f"{errors.max() + 0.0:+.1e}", "parts of one"
        lines.append(f"| {name} | {low} | {high} | {unit} | {domain} |")
    return "\n".join(lines)


def test_the_document_shows_the_errors_measured_here() -> None:
    document = Path(__file__).parents[1] / "docs" / "numerics.md"
    assert measured_table() in document.read_text(encoding="utf-8")


if __name__ == "__main__":
    print(measured_table())
