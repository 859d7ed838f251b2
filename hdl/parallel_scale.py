"""`InverseRootScale` where it must be soon: whole words a cycle, a digit of root and quotient a cycle."""

from enum import IntEnum

from amaranth.hdl import C, Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring

from ..models.numerics import EXPONENT_BITS, SCALE, SQUARES_BITS
from .scalars import PEAK_BITS, scale_ports

__all__ = ["ParallelScale"]

_FIELD = SCALE.bits + 1
"""Bits of what is cut to its leading ones: energies, epsilon's term, root, quotient."""


class _Step(IntEnum):
    """What `ParallelScale` does, in this order; a cycle each, but for ROOT and DIVIDE."""

    IDLE = 0
    AGAINST = 1  # into the normaliser, as the next two
    ENERGY = 2
    PEAK = 3
    LEADING = 4
    EPSILON_IN = 5  # epsilon and what the normaliser has made of `against`, into the multiplier
    EPSILON_TIMES = 6
    EPSILON_PRODUCT = 7
    TERM = 8
    ORDER = 9  # energy and epsilon's term
    ALIGN = 10  # the smaller one
    ADD = 11
    RADICAND = 12
    ROOT = 13  # 15 digits, since the first one is known
    DIVIDE = 14  # 16 digits
    PEAK_IN = 15  # peak and quotient into the multiplier
    PEAK_TIMES = 16
    PEAK_PRODUCT = 17
    RESULT = 18
    TEMPER_TIMES = 19  # if wanted
    TEMPER_PRODUCT = 20
    TEMPER = 21


class ParallelScale(wiring.Component):
    """`InverseRootScale` in a fifth of the time: same ports, same numbers, bit by bit.

    One normaliser moves numbers to the left, as far as they need, in three cycles; one multiplier takes what
    it leaves; root and quotient come from one subtractor, a digit a cycle. Latency from `start` to `done`:
    `fastest` cycles, whatever the numbers are, and `latency` cycles if tempered. Cost: a 16 x 15 bit
    multiplier, a shifter of `energy_bits`, one of 16 bits, a 19-bit subtractor.

    Parameters
    ----------
    energy_bits
        Bits of `energy` and `against`, at most 46.

    Attributes
    ----------
    start, ..., tempered_exponent :
        See `InverseRootScale`.
    """

    fastest = 48
    latency = 51

    def __init__(self, energy_bits: int = SQUARES_BITS) -> None:
        self._energy_bits = energy_bits
        super().__init__(scale_ports(energy_bits))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # One bit a step: nothing is decoded before an adder.
        step = Signal(len(_Step), init=1)
        count = Signal(4)

        def at(*steps: _Step) -> Value:
            return Cat(step[each] for each in steps).any()

        begins = at(_Step.IDLE) & self.start
        digit, last = at(_Step.ROOT, _Step.DIVIDE), count.all()
        m.d.sync += count.eq(Mux(digit, count + 1, 1))
        with m.If(begins | (digit & last) | ~(at(_Step.IDLE) | digit)):
            m.d.sync += step.eq(Cat(step[-1], step[:-1]))
            with m.If(~self.temper):
                m.d.sync += [
                    step[_Step.TEMPER_TIMES].eq(0),
                    step[_Step.IDLE].eq(step[_Step.RESULT]),
                ]

        # What is normalised follows by three cycles: `against` in EPSILON_IN, then the energy, then the peak.
        word = Signal(_FIELD * max(2, -(-self._energy_bits // _FIELD)), reset_less=True)
        m.d.sync += word.eq(
            Mux(at(_Step.AGAINST), self.against | 1, 0)
            | Mux(at(_Step.ENERGY), self.energy, 0)
            | Mux(at(_Step.PEAK), Cat(C(0, len(word) - PEAK_BITS), self.peak | (self.peak == 0)), 0)
        )
        leading, zeros = _normalised(m, word)
        all_bits = len(word) - _FIELD  # exponent of the leading bits where no zeros are above
        energy, energy_exponent = (
            Signal(_FIELD, reset_less=True),
            Signal(signed(EXPONENT_BITS), reset_less=True),
        )
        peak, peak_zeros = Signal(PEAK_BITS, reset_less=True), Signal.like(zeros, reset_less=True)
        with m.If(at(_Step.EPSILON_TIMES)):
            m.d.sync += [energy.eq(leading), energy_exponent.eq(all_bits - zeros)]
        with m.If(at(_Step.EPSILON_PRODUCT)):
            m.d.sync += [peak.eq(leading[-PEAK_BITS:]), peak_zeros.eq(zeros)]

        # The only multiplier, for three products. One of a product's first three bits is set.
        long, short = Signal(_FIELD, reset_less=True), Signal(SCALE.bits, reset_less=True)
        partial = Signal(_FIELD + SCALE.bits, reset_less=True)
        product = Signal.like(partial)
        mantissa, carries = Signal(SCALE.bits), Signal(2)
        digits = Signal(_FIELD, reset_less=True)  # of the radicand, then of the quotient
        m.d.sync += partial.eq(long * short)
        # Only when it is there: of two registers that always load, yosys, which moves both into iCE40's
        # multiplier, leaves the second one beside it, without an input.
        with m.If(at(_Step.EPSILON_PRODUCT, _Step.PEAK_PRODUCT, _Step.TEMPER_PRODUCT)):
            m.d.sync += product.eq(partial)
        with m.If(product[-1]):
            m.d.comb += [mantissa.eq(product[-SCALE.bits :]), carries.eq(2)]
        with m.Elif(product[-2]):
            m.d.comb += [mantissa.eq(product[-SCALE.bits - 1 : -1]), carries.eq(1)]
        with m.Else():
            m.d.comb += mantissa.eq(product[-SCALE.bits - 2 : -2])
        with m.If(at(_Step.EPSILON_IN)):
            m.d.sync += [long.eq(Mux(self.nested, leading, 1 << (_FIELD - 1))), short.eq(self.epsilon)]
        with m.If(at(_Step.PEAK_IN)):
            m.d.sync += [long.eq(digits), short.eq(peak)]
        with m.If(at(_Step.RESULT)):
            m.d.sync += [long.eq(mantissa), short.eq(self.temperature)]

        # Epsilon's term: how far its last bit is above the energy's, at first without the product's carry.
        ahead = Signal(signed(EXPONENT_BITS + 2), reset_less=True)
        behind, sum_exponent = Signal.like(ahead), Signal.like(ahead)
        term = Signal(_FIELD, reset_less=True)
        with m.If(at(_Step.PEAK)):
            m.d.sync += ahead.eq(self.epsilon_exponent + (SCALE.bits - 1))
        with m.If(at(_Step.LEADING)):
            m.d.sync += ahead.eq(ahead - (self.norm_shift << 1))
        with m.If(at(_Step.EPSILON_IN)):
            m.d.sync += ahead.eq(ahead - Mux(self.nested, zeros, all_bits + _FIELD - 1))
        with m.If(at(_Step.EPSILON_TIMES)):
            m.d.sync += ahead.eq(ahead + zeros)
        with m.If(at(_Step.TERM)):
            m.d.sync += [
                term.eq(Mux(product[-1], product[-_FIELD:], product[-_FIELD - 1 : -1])),
                ahead.eq(ahead + product[-1]),
                behind.eq(~ahead + ~product[-1]),  # what `ahead` becomes, negated
            ]

        # The one that ends higher stays; the other one moves to it. `numerics` keeps two more bits of
        # epsilon, which change no number: the energy has none there, and so they never carry.
        above, below = Signal(_FIELD, reset_less=True), Signal(_FIELD, reset_less=True)
        by = Signal(range(_FIELD + 1), reset_less=True)
        aligned, total = Signal.like(below), Signal(_FIELD + 1, reset_less=True)
        epsilon_stays = behind[-1] | ~energy[-1]
        distance = Mux(behind[-1], ahead, behind)[:-1]
        with m.If(at(_Step.ORDER)):
            m.d.sync += [
                above.eq(Mux(epsilon_stays, term, energy)),
                below.eq(Mux(epsilon_stays, energy, term)),
                by.eq(Mux(distance[4:].any(), _FIELD, distance)),
                sum_exponent.eq(energy_exponent + Mux(epsilon_stays, ahead, 0)),
            ]
        m.d.sync += [aligned.eq(below >> by), total.eq(above + aligned)]

        # Root and quotient: 4 * root + 1 is what a next digit of the root takes off, and the divisor as well.
        # Where the exponent is odd, the radicand has one bit less.
        rest, root = Signal(_FIELD + 2, reset_less=True), Signal(_FIELD, reset_less=True)
        less, difference, fits = Signal(len(rest) + 1), Signal(len(rest) + 2), Signal()
        carry = total[-1]
        odd = sum_exponent[0] ^ carry
        radicand = Mux(carry, total[1:], total[:-1])
        even_radicand = Cat(C(0, 2), radicand[:-2])
        m.d.comb += [
            less.eq(Mux(at(_Step.ROOT), Cat(digits[-2:], rest), Cat(C(0, 1), rest))),
            difference.eq(less - Cat(C(1, 2), root)),
            fits.eq(~difference[-1]),
        ]
        with m.If(at(_Step.RADICAND)):
            # The first digit is 1: of the two bits above, or of the one, 1 is left off.
            m.d.sync += [
                root.eq(1),
                rest.eq(Mux(odd, 0, Cat(~radicand[-2], radicand[-2]))),
                digits.eq(Mux(odd, Cat(C(0, 1), radicand[:-1]), even_radicand)),
            ]
        with m.If(digit):
            m.d.sync += rest.eq(Mux(fits, difference, less))
        with m.If(at(_Step.ROOT)):
            m.d.sync += [root.eq(Cat(fits, root)), digits.eq(digits << 2)]
            with m.If(last):
                m.d.sync += rest.eq(self.constant << 2)
        with m.If(at(_Step.DIVIDE)):
            m.d.sync += digits.eq(Cat(fits, digits))

        # The exponent: of the sum, halved upwards; of the quotient; of the products.
        exponent = self.tempered_exponent
        tempering = Signal(signed(EXPONENT_BITS + 1), reset_less=True)
        result = Signal.like(exponent)
        m.d.comb += result.eq(exponent + carries + Mux(at(_Step.TEMPER), tempering, 0))
        m.d.sync += tempering.eq(self.temperature_exponent + (SCALE.bits - 1))
        with m.If(at(_Step.RADICAND)):
            m.d.sync += exponent.eq(sum_exponent + carry + 1)
        with m.If(at(_Step.ROOT) & last):
            m.d.sync += exponent.eq(self.constant_exponent - (exponent >> 1))
        with m.If(at(_Step.PEAK_IN)):
            m.d.sync += exponent.eq(exponent - peak_zeros + (SCALE.bits - 1 - _FIELD // 2))
        with m.If(at(_Step.RESULT, _Step.TEMPER)):
            m.d.sync += [self.tempered_mantissa.eq(mantissa), exponent.eq(result)]

        ends = (at(_Step.RESULT) & ~self.temper) | at(_Step.TEMPER)
        m.d.sync += self.done.eq(ends)
        with m.If(ends):
            m.d.sync += [
                self.mantissa.eq(Mux(at(_Step.TEMPER), self.tempered_mantissa, mantissa)),
                self.exponent.eq(Mux(at(_Step.TEMPER), exponent, result)),
            ]
        return m


def _normalised(m: Module, word: Signal) -> tuple[Value, Value]:
    """Return the leading bits of `word` three cycles ago, and how many zeros stood above; of 0, zeros."""
    counts: list[Value] = []
    rest: Value = word
    for size in (16, 4, 1):
        # The one is in the first `size` bits then; as many bits as the result's are kept below it.
        keep = _FIELD + size - 1
        groups = len(rest) // size if rest is word else 4
        moved, skipped = _without(rest, size, groups - 1, keep), Value.cast(groups - 1)
        for k in reversed(range(groups - 1)):
            found = rest[len(rest) - (k + 1) * size : len(rest) - k * size].any()
            moved, skipped = Mux(found, _without(rest, size, k, keep), moved), Mux(found, k, skipped)
        rest = Signal(keep, name=f"skipped_{size}", reset_less=True)
        following = [Signal(2, name=f"groups_{size}_{k}", reset_less=True) for k in range(len(counts) + 1)]
        m.d.sync += [rest.eq(moved), *(a.eq(b) for a, b in zip(following, [skipped, *counts], strict=True))]
        counts = list(following)
    return rest, Cat(*counts)


def _without(word: Value, size: int, groups: int, keep: int) -> Value:
    """Return the first `keep` bits of `word` without its first groups of bits."""
    return Cat(C(0, groups * size), word)[len(word) - keep : len(word)]
