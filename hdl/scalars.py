"""The two numbers that a BitLinear needs once a token: the factors of its inputs and of its sums."""

from enum import IntEnum

from amaranth.hdl import C, Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Member, Out

from ..models.numerics import EXPONENT_BITS, SCALE, SQUARES_BITS
from .arith import one_of

__all__ = ["PEAK_BITS", "InverseRootScale", "Reciprocal", "scale_ports"]

PEAK_BITS = 15
"""Bits of the largest `|product|`."""


class Reciprocal(wiring.Component):
    """`numerics.reciprocal`: factor / 2**shift just below 127 / peak, one quotient bit a cycle.

    Latency: `fastest` cycles from `start` to `done`, and one for each leading zero of the peak, up to
    `slowest`. A start while it divides begins anew. Cost: a 15-bit subtractor, two 15-bit shift registers.

    Attributes
    ----------
    start, peak : In
        Largest `|product|`; 0 counts as 1.
    done, factor, shift : Out
        Valid from `done` until the next start.
    """

    fastest = PEAK_BITS + 1
    slowest = 2 * PEAK_BITS
    latency = range(fastest, slowest + 1)

    def __init__(self) -> None:
        super().__init__(
            {
                "start": In(1),
                "peak": In(PEAK_BITS),
                "done": Out(1),
                "factor": Out(PEAK_BITS),
                "shift": Out(5),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        inverted = Signal(PEAK_BITS, reset_less=True)  # ~divisor, so that the subtraction is an addition
        rest = Signal(PEAK_BITS, reset_less=True)
        factor, shift = Signal.like(self.factor, reset_less=True), Signal.like(self.shift, reset_less=True)
        difference = Signal(PEAK_BITS + 2)
        busy, fits = Signal(), Signal()
        doubled = rest << 1
        m.d.comb += [
            difference.eq(doubled + Cat(inverted, C(1, 1)) + 1),
            fits.eq(difference[-1]),
            self.factor.eq(factor),
            self.shift.eq(shift),
        ]
        m.d.sync += self.done.eq(0)
        with m.If(self.start):
            # The lone 1 in the quotient reaches its top in the last step.
            m.d.sync += [
                busy.eq(1), rest.eq(127 << 7), factor.eq(1), shift.eq(22),
                inverted.eq(~(self.peak | (self.peak == 0))),
            ]  # fmt: skip
        with m.Elif(busy & inverted[-1]):
            m.d.sync += [inverted.eq(Cat(C(1, 1), inverted)), shift.eq(shift - 1)]
        with m.Elif(busy):
            m.d.sync += [rest.eq(Mux(fits, difference, doubled)), factor.eq(Cat(fits, factor))]
            with m.If(factor[-1]):
                m.d.sync += [busy.eq(0), self.done.eq(1)]
        return m


class _Step(IntEnum):
    """What `InverseRootScale` does, in this order."""

    IDLE = 0
    LOAD = 1  # `against` if nested, else epsilon
    LEVEL = 2  # its leading bit to the top of `upper`
    EPSILON = 3
    EPSILON_IN = 4  # nested only, as the next two: epsilon into `operand`
    EPSILON_TIMES = 5  # times `against`
    EPSILON_LEVEL = 6
    ENERGY = 7
    ENERGY_IN = 8  # into `operand`, until its leading bit is at the top or the last bit is epsilon's
    ALIGN = 9  # epsilon's term into `lower`, as far as it meets the energy's bits, and added
    SUM_LEVEL = 10
    CONSTANT = 11
    HALVE = 12  # the exponent
    ROOT = 13  # of `upper`, into `operand`
    CONSTANT_IN = 14  # into `lower`
    DIVIDE = 15  # `lower` by `operand`, into `upper`
    PEAK_IN = 16  # into `operand`
    PEAK_TIMES = 17
    PEAK_LEVEL = 18
    RESULT = 19
    TEMPER = 20  # times the temperature, if wanted
    TEMPER_LEVEL = 21


_FIELD = SCALE.bits + 1
_LOWER = _FIELD + 3
_WIDE = 3 * _FIELD


def scale_ports(energy_bits: int) -> dict[str, Member]:
    """Ports of a unit that makes output scales: those of `InverseRootScale`."""
    return {
        "start": In(1),
        "energy": In(energy_bits),
        "peak": In(PEAK_BITS),
        "nested": In(1),
        "against": In(energy_bits),
        "norm_shift": In(5),
        "constant": In(SCALE.bits),
        "constant_exponent": In(signed(EXPONENT_BITS)),
        "epsilon": In(SCALE.bits),
        "epsilon_exponent": In(signed(EXPONENT_BITS)),
        "temper": In(1),
        "temperature": In(SCALE.bits),
        "temperature_exponent": In(signed(EXPONENT_BITS)),
        "done": Out(1),
        "mantissa": Out(SCALE.bits),
        "exponent": Out(signed(EXPONENT_BITS)),
        "tempered_mantissa": Out(SCALE.bits),
        "tempered_exponent": Out(signed(EXPONENT_BITS + 2)),
    }


class InverseRootScale(wiring.Component):
    """`numerics.epsilon_term`, `inverse_root_scale` and `multiply_scale` on one adder, a bit a cycle.

    scale = constant * peak / sqrt(energy + epsilon * against), and that times 1 / temperature. It runs beside
    the matrix product, whose first sum needs it. Latency from `start` to `done`: about 235 cycles, 40 more if
    nested, 20 more if tempered; below `latency`, with the smallest numbers. Cost: a shift register of 48 bits
    with three sources, 35 bits of accumulator and a 19-bit adder, a 10-bit one for the exponent.

    Parameters
    ----------
    energy_bits
        Bits of `energy` and `against`, at most 46.

    Attributes
    ----------
    start : In(1)
        Begins; all inputs are held until `done`.
    energy, peak : In
        Sum of squares; largest `|product|`.
    nested, against : In
        Whether epsilon is measured against 1, or against `against`, another sum of squares.
    norm_shift : In
        Shift at which the energy was taken, 0 to 17; beyond 8, which no accelerator reaches, the smallest
        numbers take up to 100 cycles more.
    constant, constant_exponent, epsilon, epsilon_exponent : In
        SCALEs. Epsilon's term must be below 2**(energy_bits + 16).
    temper, temperature, temperature_exponent : In
        Whether the scale is also multiplied by this SCALE.
    done : Out(1)
        A pulse.
    mantissa, exponent : Out
        The SCALE; valid from `done` until the next is done.
    tempered_mantissa, tempered_exponent : Out
        The SCALE times the temperature, or the SCALE itself; valid from `done` until the next start.
    """

    latency = 440

    def __init__(self, energy_bits: int = SQUARES_BITS) -> None:
        self._energy_bits = energy_bits
        super().__init__(scale_ports(energy_bits))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # One bit a step, since most signals below are an OR of few steps.
        step = Signal(len(_Step), init=1)
        wide = Signal(_WIDE, reset_less=True)
        upper, operand = Signal(_FIELD, reset_less=True), Signal(_FIELD, reset_less=True)
        lower = Signal(_LOWER, reset_less=True)
        exponent = Signal(signed(EXPONENT_BITS + 2), reset_less=True)
        count = Signal(8, reset_less=True)

        def at(*steps: _Step) -> Value:
            return Cat(step[each] for each in steps).any()

        times = at(_Step.EPSILON_TIMES, _Step.PEAK_TIMES, _Step.TEMPER)
        levels = at(_Step.EPSILON_LEVEL, _Step.SUM_LEVEL, _Step.PEAK_LEVEL, _Step.TEMPER_LEVEL)
        level = upper[-1]
        begins = at(_Step.IDLE) & self.start
        last = count[:4].all()  # of 16
        # A root or quotient bit takes two cycles: one to compare, one to subtract.
        subtracts = Signal()
        rooted = at(_Step.ROOT) & subtracts & count[0]
        root_ends = rooted & last & count[4]
        divided = at(_Step.DIVIDE) & subtracts & count[6] & count[0]
        energy_ends = at(_Step.ENERGY_IN) & (operand[-1] | ~exponent[-1])
        aligned = at(_Step.ALIGN) & exponent[-1] & ~exponent[4:-1].all()  # below -16
        m.d.sync += subtracts.eq(at(_Step.ROOT, _Step.DIVIDE) & ~subtracts)

        ends = Cat(
            begins,
            at(_Step.LOAD, _Step.EPSILON, _Step.ENERGY, _Step.CONSTANT, _Step.HALVE, _Step.RESULT),
            level & (levels | at(_Step.LEVEL)),
            last & (times | at(_Step.EPSILON_IN, _Step.CONSTANT_IN, _Step.PEAK_IN)),
            energy_ends, aligned, root_ends, divided,
        ).any()  # fmt: skip
        following = [step[-1], *step[:-1]]
        following[_Step.EPSILON_IN] &= self.nested
        following[_Step.ENERGY] = Mux(self.nested, following[_Step.ENERGY], step[_Step.EPSILON])
        following[_Step.TEMPER] &= self.temper
        following[_Step.IDLE] = Mux(self.temper, following[_Step.IDLE], step[_Step.RESULT])
        # No choice of which the step itself is one: it would become an enable, which the reset takes part in.
        m.d.sync += step.eq(one_of(((ends, Cat(following)), (~ends, step))))

        # wide: what is to be read, from the top; zero before a load, so that its sources can be ORed.
        pad = self._energy_bits % 2  # an even number of bits: the exponent is halved below
        bits = self._energy_bits + pad
        below = C(0, _WIDE - bits)
        fields = Cat(C(0, 1), self.peak | (self.peak == 0), C(0, 1), self.constant, C(0, 1), self.epsilon)
        load_against, load_fields = Signal(), Signal()
        m.d.sync += [
            load_against.eq(begins & self.nested),
            load_fields.eq(
                (begins & ~self.nested)
                | (at(_Step.LEVEL) & level & self.nested)
                | (at(_Step.SUM_LEVEL) & level)
            ),
        ]
        with m.If(at(_Step.IDLE, _Step.EPSILON_LEVEL, _Step.ALIGN) | (at(_Step.LEVEL) & level)):
            m.d.sync += wide.eq(0)
        with m.Elif(
            at(
                _Step.LOAD, _Step.LEVEL, _Step.EPSILON, _Step.EPSILON_IN, _Step.ENERGY, _Step.ENERGY_IN,
                _Step.CONSTANT, _Step.CONSTANT_IN, _Step.PEAK_IN,
            )
            | rooted  # skips epsilon
        ):  # fmt: skip
            m.d.sync += wide.eq(
                (wide << 1)
                | Mux(at(_Step.ENERGY), Cat(below, self.energy, C(0, pad)), 0)
                | Mux(load_fields, fields, 0)
                | Mux(load_against, Cat(below, self.against | 1, C(0, pad)), 0)
            )

        # upper, bit, lower: accumulator that moves to the left. In a multiplication the multiplier leaves on
        # top while the product grows below; a root or a quotient takes its bits from the top, through `bit`.
        bit, minus = Signal(), Signal()
        shifted = Cat(bit, lower[:-1])
        total = Signal(_LOWER + 1)
        # operand is complemented where it is subtracted: minus 4 * operand and 1.
        m.d.comb += total.eq(shifted + Cat(minus, minus, operand, minus))
        fits, multiplied = Signal(), Signal()
        m.d.sync += [fits.eq(total[-1]), multiplied.eq(times & level)]
        with m.If(at(_Step.HALVE)):
            m.d.sync += minus.eq(1)
        with m.If(at(_Step.PEAK_IN)):
            m.d.sync += minus.eq(0)
        takes = aligned | (times & level) | (subtracts & fits & (at(_Step.DIVIDE) | count[0]))
        moves = at(_Step.ALIGN, _Step.HALVE) | times | (levels & ~level) | subtracts
        with m.If(
            at(_Step.EPSILON_IN, _Step.ENERGY, _Step.CONSTANT, _Step.PEAK_IN, _Step.RESULT) | root_ends
        ):
            m.d.sync += lower.eq(0)
        with m.Elif(moves | at(_Step.CONSTANT_IN)):
            m.d.sync += lower.eq(Mux(takes, total, shifted))
        enters = Mux(at(_Step.LEVEL), wide[-1], Mux(at(_Step.DIVIDE), takes, lower[-1]))
        with m.If(begins | aligned):
            m.d.sync += [upper.eq(0), bit.eq(0)]
        with m.Elif(moves | at(_Step.CONSTANT_IN) | energy_ends | (at(_Step.LEVEL) & ~level)):
            m.d.sync += [
                # The carry of the step before has moved by one.
                upper.eq(Cat(enters, upper[:-1]) + Cat(C(0, 1), fits & multiplied)),
                bit.eq(
                    (at(_Step.CONSTANT_IN) & wide[-1])
                    | (at(_Step.ENERGY_IN, _Step.ALIGN, _Step.HALVE, _Step.ROOT) & upper[-1])
                ),
            ]
        with m.If(at(_Step.RESULT)):
            m.d.sync += upper[0].eq(0)

        with m.If(at(_Step.ENERGY)):
            m.d.sync += operand.eq(0)
        with m.Elif(at(_Step.CONSTANT)):  # no root bit yet
            m.d.sync += operand.eq(~0)
        with m.Elif(at(_Step.PEAK_LEVEL)):
            m.d.sync += operand.eq(Cat(C(0, 1), self.temperature))
        with m.Elif(at(_Step.EPSILON_IN, _Step.PEAK_IN) | rooted | (at(_Step.ENERGY_IN) & ~energy_ends)):
            m.d.sync += operand.eq(Cat(Mux(at(_Step.ROOT), ~takes, wide[-1]), operand))

        # exponent: first epsilon's, minus the energy's; then, from SUM_LEVEL on, the scale's. The constants,
        # and where `count` starts, are what the moves, counted or not, leave over.
        addend = Signal.like(exponent)
        m.d.comb += addend.eq(
            Mux(at(_Step.LOAD), self.epsilon_exponent, 0)
            | Mux(at(_Step.EPSILON), Mux(self.nested, 2, 17 - bits), 0)
            | Mux(at(_Step.ENERGY), Cat(C(0, 1), ~self.norm_shift, C(-1, 4)).as_signed(), 0)  # -2 - 2 shift
            | Mux(at(_Step.CONSTANT), self.constant_exponent, 0)
            | Mux(at(_Step.HALVE), count[1:], 0)
            | Mux(at(_Step.RESULT), self.temperature_exponent, 0)
            | Mux(at(_Step.ENERGY_IN) | times, 1, 0)
            | Mux(
                at(
                    _Step.LEVEL, _Step.EPSILON_LEVEL, _Step.ALIGN, _Step.CONSTANT_IN, _Step.PEAK_LEVEL,
                    _Step.TEMPER_LEVEL,
                )
                | (at(_Step.DIVIDE) & subtracts),
                -1,
                0,
            )
        )  # fmt: skip
        with m.If(begins | (at(_Step.SUM_LEVEL) & level)):
            m.d.sync += exponent.eq(0)
        with m.Elif(
            ~(
                at(_Step.IDLE)
                | (level & (levels | at(_Step.LEVEL)))
                | energy_ends
                | (at(_Step.RESULT) & ~self.temper)
            )
        ):
            m.d.sync += exponent.eq(exponent + addend)
        with m.If(at(_Step.IDLE) | divided):
            m.d.sync += count.eq(0)
        with m.Elif(at(_Step.ENERGY)):
            m.d.sync += count.eq((37 - bits) % 256)
        with m.Elif(at(_Step.HALVE)):  # an odd exponent's root skips the first move
            m.d.sync += count[1:].eq(0)
        with m.Elif(
            at(_Step.EPSILON_IN, _Step.CONSTANT_IN, _Step.PEAK_IN)
            | times
            | subtracts
            | (at(_Step.ENERGY_IN) & ~energy_ends)
            | (at(_Step.SUM_LEVEL) & ~level)
        ):
            m.d.sync += count.eq(count + 1)

        m.d.comb += [self.tempered_mantissa.eq(upper[1:]), self.tempered_exponent.eq(exponent)]
        m.d.sync += self.done.eq((at(_Step.RESULT) & ~self.temper) | (at(_Step.TEMPER_LEVEL) & level))
        with m.If(at(_Step.RESULT)):
            m.d.sync += [self.mantissa.eq(upper[1:]), self.exponent.eq(exponent)]
        return m
