"""Every number format, table, rounding and saturation of the accelerator, written once.

The golden model calls these functions on numpy arrays; the hardware takes its widths, constants and table
contents from here. ``docs/numerics.md`` explains the choices and gives the measured errors.

Formats
-------
========= ==== ======== =====================================================================
name      bits fraction meaning
========= ==== ======== =====================================================================
ACT       16   11       pre-activations i, f, g, gate, up; silu(i), silu(h); the state h
VECTOR    24   15       residual stream x; the products g*silu(h) and silu(gate)*up
GATE      15   15       unsigned: sigmoid, forget gate, lower bound
WEIGHT    16   a vector norm weights, signed, one power of two a vector (`quantise_vector`)
NORMAL    16            a VECTOR shifted right by 4 bits a level until it fits (`running_levels`)
INT8      8             quantised activations of a BitLinear, -128 to 127
SUM       24            sums of a row, ternary weights times INT8
SCALE     15 + 8        mantissa in [2**14, 2**15) times 2**exponent (`to_scale`)
NOISE     11   7        unsigned: Gumbel noise plus a constant
========= ==== ======== =====================================================================
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ACT",
    "EMBEDDING_BITS",
    "EXPONENT_BITS",
    "GATE",
    "INT8",
    "LEVEL_MAX",
    "LEVEL_SHIFT",
    "MIX_ROUNDS",
    "MIX_SHIFTS",
    "MIX_STEP",
    "NOISE",
    "NORMAL",
    "RESCALE_LEFT",
    "SCALE",
    "SEGMENT_BITS",
    "SQUARES_BITS",
    "SUM",
    "VECTOR",
    "WEIGHT",
    "Fixed",
    "Ints",
    "Saturations",
    "align",
    "epsilon_term",
    "glu",
    "gumbel_noise",
    "gumbel_table",
    "inverse_root_scale",
    "lower_bound_gate",
    "mix",
    "mlgru",
    "multiply_scale",
    "noise_of",
    "noise_seed",
    "normalise",
    "product",
    "quantise",
    "quantise_vector",
    "reciprocal",
    "rescale",
    "running_levels",
    "running_peak",
    "running_squares",
    "scale_value",
    "sigmoid",
    "sigmoid_table",
    "silu",
    "squares",
    "to_scale",
]

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Fixed:
    """A fixed-point format: `bits` wide (sign included), value = integer / 2**`fraction`."""

    bits: int
    fraction: int = 0
    signed: bool = True

    @property
    def low(self) -> int:
        """Smallest integer that the format holds."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        """Largest integer that the format holds."""
        return (1 << (self.bits - (1 if self.signed else 0))) - 1

    @property
    def step(self) -> float:
        """Value of the last bit."""
        return 2.0**-self.fraction


ACT = Fixed(16, 11)
VECTOR = Fixed(24, 15)
GATE = Fixed(15, 15, signed=False)
WEIGHT = Fixed(16)
NORMAL = Fixed(16)
INT8 = Fixed(8)
SUM = Fixed(24)
SCALE = Fixed(15, signed=False)
NOISE = Fixed(11, 7, signed=False)
EXPONENT_BITS = 8
"""Bits of a SCALE's exponent, signed."""
EMBEDDING_BITS = 8
"""Bits of an embedding entry, signed, with one SCALE a row."""
SQUARES_BITS = 46
"""Bits of a sum of squares: 2**30 for each of up to 2**16 elements."""
LEVEL_SHIFT = 4
"""Bits by which a level shifts a VECTOR right."""
LEVEL_MAX = 2
"""Highest level: VECTOR to NORMAL takes a shift of up to 8."""
RESCALE_LEFT = 1
"""Largest shift to the left of `rescale`."""

_UNIT = 1 << GATE.fraction


class Saturations:
    """Counts the values that did not fit their format and were clamped."""

    def __init__(self) -> None:
        self.count = 0

    def clamp(self, values: Any, fmt: Fixed) -> Ints:
        """`values` clamped to `fmt`; each one that changes counts."""
        array = np.asarray(values, dtype=np.int64)
        clamped = np.clip(array, fmt.low, fmt.high)
        self.count += int(np.count_nonzero(clamped != array))
        return clamped


def _half_up(values: Ints, shift: Any) -> Ints:
    """values / 2**shift, to nearest, ties up; a negative shift multiplies. Shifts beyond 62 give 0."""
    shift = np.clip(np.asarray(shift, dtype=np.int64), -62, 62)
    right = np.maximum(shift, 0)
    half = np.where(right > 0, np.int64(1) << np.maximum(right - 1, 0), 0)
    result: Ints = ((values + half) >> right) << np.maximum(-shift, 0)
    return result


# Scales: positive numbers as a 15-bit mantissa and a power of two


def to_scale(value: float) -> tuple[int, int]:
    """The SCALE nearest to a positive `value`: (mantissa in [2**14, 2**15), exponent).

    Raises
    ------
    ValueError
        If `value` is not positive and finite, or its exponent does not fit in 8 bits.
    """
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(f"a scale must be positive and finite, not {value}")
    fraction, exponent = math.frexp(value)
    mantissa = round(fraction * (1 << SCALE.bits))
    exponent -= SCALE.bits
    if mantissa == 1 << SCALE.bits:
        mantissa, exponent = mantissa >> 1, exponent + 1
    if not -128 <= exponent <= 127:
        raise ValueError(f"the scale {value} needs the exponent {exponent}; 8 bits hold -128 to 127")
    return mantissa, exponent


def scale_value(mantissa: Any, exponent: Any) -> NDArray[np.float64]:
    """The number that a SCALE stands for, in float64 (exact)."""
    return np.ldexp(np.asarray(mantissa, dtype=np.float64), np.asarray(exponent, dtype=np.int32))


def multiply_scale(mantissa: Any, exponent: Any, by: tuple[int, int]) -> tuple[Ints, Ints]:
    """Product of SCALEs, truncated (the head's scale times 1/temperature)."""
    wide = (np.asarray(mantissa, dtype=np.int64) * by[0]) >> 14
    carry = wide >> 15
    return wide >> carry, np.asarray(exponent, dtype=np.int64) + by[1] + 14 + carry


def rescale(sums: Any, mantissa: Any, exponent: Any, fmt: Fixed, saturations: Saturations) -> Ints:
    """A BitLinear's output: `sums` times a SCALE, rounded (ties up) and clamped to `fmt`.

    `sums` is clamped to 16 bits first, the width of one multiplier.
    """
    narrow = saturations.clamp(sums, NORMAL)
    shifts = -(np.asarray(exponent, dtype=np.int64) + fmt.fraction)
    # The hardware's shifter starts to the left and moves right by 0 to 63.
    shifts = np.clip(shifts, -RESCALE_LEFT, 63 - RESCALE_LEFT)
    return saturations.clamp(_half_up(narrow * np.asarray(mantissa, dtype=np.int64), shifts), fmt)


def quantise_vector(values: NDArray[Any], bits: int = WEIGHT.bits) -> tuple[Ints, int]:
    """Norm weights as integers w and one exponent e, `values` = w / 2**e nearly.

    The exponent is the largest that keeps every |w| below 2**(bits - 1); an all-zero vector has exponent 0.
    """
    values = np.asarray(values, dtype=np.float64)
    peak = float(np.max(np.abs(values), initial=0.0))
    if peak == 0.0:
        return np.zeros(values.shape, dtype=np.int64), 0
    limit = (1 << (bits - 1)) - 1
    exponent = bits - 1 - math.frexp(peak)[1]
    if round(peak * 2.0**exponent) > limit:
        exponent -= 1
    return np.rint(values * 2.0**exponent).astype(np.int64), exponent


# RMSNorm and the int8 quantiser of a BitLinear


def running_levels(vectors: Ints) -> Ints:
    """Level of each element, 0 to 2: the lowest at which it and all before it fit NORMAL.

    An element can thus be normalised as soon as it is known. The last axis runs over elements.
    """
    vectors = np.asarray(vectors, dtype=np.int64)
    _, bits = np.frexp((vectors ^ (vectors >> 63)).astype(np.float64))
    levels = np.maximum(-(-(bits.astype(np.int64) - (NORMAL.bits - 1)) // LEVEL_SHIFT), 0)
    return np.maximum.accumulate(levels, axis=-1)


def normalise(vectors: Ints, level: Any) -> Ints:
    """VECTOR elements shifted right (towards minus infinity) by 4 bits a level: NORMAL."""
    return np.asarray(vectors, dtype=np.int64) >> (LEVEL_SHIFT * np.asarray(level, dtype=np.int64))


def align(products: Ints, levels: Ints) -> Ints:
    """Bring `products`, each taken at its level, to the last and highest level."""
    return normalise(products, levels[..., -1:] - levels)


def running_peak(products: Ints, levels: Ints) -> Ints:
    """Largest |product| at the highest level; loses 4 bits whenever the level rises."""
    sizes = np.abs(products)

    def rise(peak: Ints, level: int) -> Ints:
        largest: Ints = np.max(np.where(levels == level, sizes, 0), axis=-1)
        risen: Ints = np.maximum(peak >> LEVEL_SHIFT, largest)
        return risen

    return _by_level(levels, rise)


def running_squares(normal: Ints, levels: Ints) -> Ints:
    """Sum of squares at the highest level; loses 8 bits whenever the level rises."""

    def rise(energy: Ints, level: int) -> Ints:
        added: Ints = np.sum(np.where(levels == level, normal * normal, 0), axis=-1)
        return (energy >> 2 * LEVEL_SHIFT) + added

    return _by_level(levels, rise)


def _by_level(levels: Ints, rise: Callable[[Ints, int], Ints]) -> Ints:
    """What has been gathered at the last level, each level's elements after those of the levels below."""
    gathered = np.zeros(levels.shape[:-1], dtype=np.int64)
    for level in range(LEVEL_MAX + 1):
        gathered = np.where(levels[..., -1] >= level, rise(gathered, level), gathered)
    return gathered


def product(normal: Ints, weights: Ints) -> Ints:
    """NORMAL times WEIGHT without the last 15 bits: -2**15 + 1 to 2**15 - 1."""
    return (normal * weights) >> 15


def squares(values: Ints) -> Ints:
    """Sum of squares over the last axis, exact."""
    total: Ints = np.sum(values * values, axis=-1)
    return total


def reciprocal(peak: Any) -> tuple[Ints, Ints]:
    """(R, s) with R / 2**s just below 127 / `peak`; 16,256 <= R <= 32,512 and 8 <= s <= 22.

    `peak` is the largest |product|, 0 to 2**15 - 1; 0 counts as 1 (everything is then 0).
    """
    peak = np.maximum(np.asarray(peak, dtype=np.int64), 1)
    _, bits = np.frexp(peak.astype(np.float64))
    lead = 16 - bits.astype(np.int64)
    return (127 << 23) // (peak << lead), 23 - lead


def quantise(products: Ints, factor: Any, shift: Any) -> Ints:
    """INT8: `products` * factor / 2**shift, to nearest, ties away from zero, clamped to -128 .. 127."""
    products = np.asarray(products, dtype=np.int64)
    wide = np.abs(products) * np.asarray(factor, dtype=np.int64)
    magnitude = ((wide >> (np.asarray(shift, dtype=np.int64) - 1)) + 1) >> 1
    return np.clip(np.where(products < 0, -magnitude, magnitude), INT8.low, INT8.high)


def _leading(values: Any, bits: int) -> tuple[Ints, Ints]:
    """(m, e) of positive values, nearly m * 2**e: m is the leading `bits` bits."""
    values = np.asarray(values, dtype=np.int64)
    _, length = np.frexp(values.astype(np.float64))
    shift = length.astype(np.int64) - bits
    return _shifted(values, shift), shift


def _shifted(values: Ints, shift: Ints) -> Ints:
    """values / 2**shift, truncated."""
    return (values >> np.clip(shift, 0, 62)) << np.clip(-shift, 0, 62)


def epsilon_term(mantissa: int, exponent: int, shift: Any, energy: Any = 1) -> tuple[Ints, Ints]:
    """RMSNorm's epsilon in the units of a sum of squares taken at `shift`: (m of 16 bits, e), m * 2**e.

    mantissa * energy * 2**(exponent - 2 shift), truncated. `energy` is 1, or the sum of squares of g where a
    norm stands before the BitLinear's own; its last bit counts as 1, and it is cut to its leading 16 bits.
    """
    leading, cut = _leading(np.asarray(energy, dtype=np.int64) | 1, 16)
    term, more = _leading(mantissa * leading, 16)
    return term, exponent - 2 * np.asarray(shift, dtype=np.int64) + cut + more


def inverse_root_scale(
    constant: tuple[int, int], peak: Any, energy: Any, epsilon: tuple[Ints, Ints]
) -> tuple[Ints, Ints]:
    """constant * peak / sqrt(energy + epsilon) as a SCALE: the output scale of a BitLinear.

    Every step is truncated to 16 bits, but for the division by the root and a quarter, half of what the root
    lacks on average.

    Parameters
    ----------
    constant
        A SCALE: mean|W| / 127 times the powers of two and sqrt(n) that the integers leave out.
    peak
        Largest |product|, 0 to 2**15 - 1; 0 counts as 1.
    energy
        Sum of squares, 0 to 2**46 - 1.
    epsilon
        From `epsilon_term`, not 0.
    """
    energy = np.asarray(energy, dtype=np.int64)
    term, exponent = epsilon
    # The sum's last bit is that of the larger one's 16; of epsilon, two more are kept.
    _, length = np.frexp(energy.astype(np.float64))
    last = np.maximum(np.where(energy > 0, length.astype(np.int64) - 16, exponent), exponent)
    total = (_shifted(energy, last) << 2) + ((term << 2) >> np.minimum(last - exponent, 17))
    radicand, more = _leading(total, 16)
    power = last - 2 + more
    # An even power of two is left outside, so that the root has exactly 16 bits.
    odd = power & 1
    root = np.floor(np.sqrt((radicand << (16 - odd)).astype(np.float64))).astype(np.int64)
    quotient = (constant[0] << 18) // (4 * root + 1)
    mantissa, shift = _leading(quotient * np.maximum(np.asarray(peak, dtype=np.int64), 1), SCALE.bits)
    return mantissa, constant[1] - 16 - ((power - 16 + odd) >> 1) + shift


# Sigmoid, SiLU, the recurrence and the gated unit

SEGMENT_BITS = 7
"""Low bits of |x| inside a segment of the sigmoid's table: 256 segments of 1/16 each, up to 16."""


@lru_cache(maxsize=1)
def sigmoid_table() -> tuple[tuple[int, int], ...]:
    """256 pairs (value at the segment's start, rise over the segment) of sigmoid(|x|) in GATE."""
    knots = [min(round(_UNIT / (1.0 + math.exp(-k / 16))), GATE.high) for k in range(257)]
    return tuple((knots[k], knots[k + 1] - knots[k]) for k in range(256))


@lru_cache(maxsize=1)
def _sigmoid_arrays() -> tuple[Ints, Ints]:
    table = np.array(sigmoid_table(), dtype=np.int64)
    return table[:, 0], table[:, 1]


def sigmoid(acts: Ints) -> Ints:
    """GATE sigmoid of ACT: linear between 257 knots of |x|, mirrored; at most 32,767."""
    acts = np.asarray(acts, dtype=np.int64)
    # ~x instead of -x for negative x: no adder, and -2**15 needs no special case.
    size = acts ^ (acts >> 63)
    base, rise = _sigmoid_arrays()
    segment, inside = size >> SEGMENT_BITS, size & ((1 << SEGMENT_BITS) - 1)
    upper = base[segment] + ((rise[segment] * inside) >> SEGMENT_BITS)
    return np.where(acts < 0, _UNIT - 1 - upper, upper)


def silu(acts: Ints) -> Ints:
    """ACT silu(x) = x * sigmoid(x), to nearest, ties up."""
    return _half_up(acts * sigmoid(acts), GATE.fraction)


def lower_bound_gate(gate: Ints, bound: Ints) -> Ints:
    """GATE L + (1 - L) * gate, written L + gate - L * gate (product truncated); at most 32,767."""
    return np.minimum(bound + gate - ((bound * gate) >> GATE.fraction), GATE.high)


def mlgru(i: Ints, f: Ints, h: Ints, saturations: Saturations) -> Ints:
    """One step of the MLGRU, elementwise: f*h + (1 - f)*i, with i = silu(i_proj) (paper, section 3.3.1).

    Written i + f*(h - i), one multiplication; the difference is clamped to ACT, the product rounded (ties
    up).
    """
    difference = saturations.clamp(h - i, ACT)
    return i + _half_up(f * difference, GATE.fraction)


def glu(gate: Ints, up: Ints) -> Ints:
    """ACT times ACT in VECTOR, without its last bits: silu(gate) * up, g * silu(h)."""
    return (gate * up) >> (2 * ACT.fraction - VECTOR.fraction)


# Sampling: Gumbel-max with a counter-based stream

_MASK = 0xFFFFFFFF
MIX_SHIFTS = (13, 17, 5)
"""Of the random stream's step: left, right, left."""
MIX_STEP = 0x9E3779B9
"""What the random stream's step adds."""
MIX_ROUNDS = 8
"""Steps from seed and position to the first state."""


def mix(state: Any) -> Any:
    """One step of the random stream: Marsaglia's xorshift32 (13, 17, 5), then plus 0x9E3779B9.

    `state` is an integer or an array of 64-bit ones, below 2**32.
    """
    left, right, again = MIX_SHIFTS
    x = state ^ ((state << left) & _MASK)
    x = x ^ (x >> right)
    x = x ^ ((x << again) & _MASK)
    return (x + MIX_STEP) & _MASK


def noise_seed(seed: int, position: Any) -> NDArray[np.uint64]:
    """State of the random stream before the first vocabulary entry at a position, both modulo 2**32."""
    p = np.asarray(position, dtype=np.uint64) & np.uint64(_MASK)
    state = np.uint64(seed & _MASK) ^ (((p << np.uint64(16)) | (p >> np.uint64(16))) & np.uint64(_MASK))
    for _ in range(MIX_ROUNDS):
        state = mix(state)
    return np.asarray(state, dtype=np.uint64)


@lru_cache(maxsize=1)
def gumbel_table() -> tuple[tuple[int, int], ...]:
    """256 pairs (start, rise) of the Gumbel quantile function plus 3, in NOISE, by cells of the upper tail.

    Cell 16*k + m holds the tail probabilities from 2**-(k+1) * (1 + m/16) to 2**-(k+1) * (1 + (m+1)/16):
    the tail, which decides who wins, is as fine as the body.
    """

    def knot(tail: float) -> int:
        return (
            0 if tail >= 1.0 else max(0, round((3.0 - math.log(-math.log1p(-tail))) * (1 << NOISE.fraction)))
        )

    table = []
    for k in range(16):
        for m in range(16):
            end = knot(2.0 ** -(k + 1) * (1 + m / 16))
            # The lowest cell has no lower end: it keeps its top and its mean.
            start = max(knot(2.0 ** -(k + 1) * (1 + (m + 1) / 16)), end - 31)
            table.append((start, end - start))
    return tuple(table)


def noise_of(state: Any) -> Ints:
    """NOISE from a state: bits 31..17 choose the octave, 16..13 the cell, 12..6 the place in it."""
    state = np.asarray(state, dtype=np.int64)
    _, bits = np.frexp((state >> 17).astype(np.float64))
    cell = 16 * (15 - bits.astype(np.int64)) + ((state >> 13) & 15)
    table = np.array(gumbel_table(), dtype=np.int64)
    noise: Ints = table[cell, 0] + ((table[cell, 1] * ((state >> 6) & 127)) >> 7)
    return noise


def gumbel_noise(seed: int, position: int, vocabulary: int) -> Ints:
    """NOISE for every vocabulary entry at one position: one step of the stream an entry."""
    # Python's integers, which are ten times faster here than numpy's.
    state = int(noise_seed(seed, position))
    states = []
    for _ in range(vocabulary):
        state = mix(state)
        states.append(state)
    return noise_of(states)
