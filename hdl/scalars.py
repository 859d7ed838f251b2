"""The two numbers that a BitLinear needs once a token: the factors of its inputs and of its sums."""

from amaranth.hdl import C, Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..models.numerics import EXPONENT_BITS, SCALE, SQUARES_BITS
from .arith import bit_length

__all__ = ["ENERGY_BITS", "PEAK_BITS", "InverseRootScale", "Reciprocal", "ScaleProduct", "SerialDivider"]

PEAK_BITS = 15
"""Bits of the largest `|product|`."""
ENERGY_BITS = SQUARES_BITS + 1
"""Bits of a sum of squares with its epsilon."""


class SerialDivider(wiring.Component):
    """Floor division of 32 bits by 16, one quotient bit a cycle.

    Latency: 17 cycles from `start` to `done`. The dividend's upper half must be less than the divisor, so
    that the quotient has 16 bits. Cost: a 17-bit subtractor.

    Attributes
    ----------
    start, dividend, divisor : In
        The divisor is held until `done`.
    done, quotient : Out
        `quotient` is valid from `done` until the next start.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "start": In(1),
                "dividend": In(32),
                "divisor": In(16),
                "done": Out(1),
                "quotient": Out(16),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        rest = Signal(32)
        steps = Signal(range(17))
        difference = Signal(signed(18))
        m.d.comb += [difference.eq(rest[15:] - self.divisor), self.quotient.eq(rest[:16])]
        m.d.sync += self.done.eq(steps == 1)
        with m.If(self.start):
            m.d.sync += [rest.eq(self.dividend), steps.eq(16)]
        with m.Elif(steps != 0):
            m.d.sync += [
                steps.eq(steps - 1),
                rest.eq(Cat(difference >= 0, rest[:15], Mux(difference < 0, rest[15:31], difference[:16]))),
            ]
        return m


class Reciprocal(wiring.Component):
    """`numerics.reciprocal`: factor / 2**shift just below 127 / peak.

    Latency: 18 cycles from `start` to `done`. Cost: a 16-bit shifter and the divider.

    Attributes
    ----------
    start, peak : In
        Largest `|product|`; 0 counts as 1. Held until `done`.
    done, factor, shift : Out
        Valid from `done` until the next start.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "start": In(1),
                "peak": In(PEAK_BITS),
                "done": Out(1),
                "factor": Out(15),
                "shift": Out(5),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.divider = divider = SerialDivider()
        divisor = Signal(16)
        lead = Signal(5)
        begin = Signal()
        m.d.comb += lead.eq(16 - bit_length(m, self.peak | (self.peak == 0), "peak_length"))
        m.d.sync += begin.eq(self.start)
        with m.If(self.start):
            m.d.sync += [divisor.eq((self.peak | (self.peak == 0)) << lead), self.shift.eq(23 - lead)]
        m.d.comb += [
            divider.start.eq(begin),
            divider.dividend.eq(127 << 23),
            divider.divisor.eq(divisor),
            self.factor.eq(divider.quotient),
            self.done.eq(divider.done),
        ]
        return m


class InverseRootScale(wiring.Component):
    """`numerics.epsilon_term` and `numerics.inverse_root_scale`, bit-serial.

    scale = constant * peak / sqrt(energy + epsilon * against). Latency: below `latency` cycles from `start`
    to `done`, by the size of the numbers; it runs beside the matrix product, whose first sum needs it. Cost:
    a 47-bit adder, a 17-bit subtractor and the divider.

    Attributes
    ----------
    start : In(1)
        Begins; all inputs are held until `done`.
    energy, peak, against : In
        Sum of squares; largest `|product|`; what epsilon is measured against (1, or a sum of squares).
    norm_shift : In
        Shift at which the energy was taken, 0 to 17.
    constant, constant_exponent, epsilon, epsilon_exponent : In
        SCALEs.
    done, mantissa, exponent : Out
        The SCALE; valid from `done` until the next start.
    """

    latency = 165

    def __init__(self) -> None:
        super().__init__(
            {
                "start": In(1),
                "energy": In(SQUARES_BITS),
                "peak": In(PEAK_BITS),
                "against": In(SQUARES_BITS),
                "norm_shift": In(5),
                "constant": In(SCALE.bits),
                "constant_exponent": In(signed(EXPONENT_BITS)),
                "epsilon": In(SCALE.bits),
                "epsilon_exponent": In(signed(EXPONENT_BITS)),
                "done": Out(1),
                "mantissa": Out(SCALE.bits),
                "exponent": Out(signed(EXPONENT_BITS)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.divider = divider = SerialDivider()
        wide = Signal(ENERGY_BITS)  # epsilon term, then energy, then radicand
        product = Signal(32)
        factor = Signal(16)
        steps = Signal(range(17))
        move = Signal(signed(EXPONENT_BITS + 2))
        exponent = Signal(signed(EXPONENT_BITS + 2))
        root = Signal(16)
        rest = Signal(18)

        def multiply(then: str) -> None:
            """product = factor * product[15 bits], most significant bit first, in 15 steps."""
            m.d.sync += [
                product.eq(Cat(C(0, 1), product[:31]) + Mux(wide[14], factor, 0)),
                wide.eq(wide << 1),
                steps.eq(steps - 1),
            ]
            with m.If(steps == 1):
                m.next = then

        trial = Signal(signed(20))
        m.d.comb += [
            trial.eq(Cat(wide[30:32], rest[:17]) - Cat(C(1, 2), root)),
            divider.dividend.eq(product),
            divider.divisor.eq(root),
            divider.start.eq(0),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += self.done.eq(0)
                with m.If(self.start):
                    m.d.sync += [
                        wide.eq(self.against),
                        move.eq(self.epsilon_exponent - Cat(C(0, 1), self.norm_shift)),
                    ]
                    m.next = "CUT"
            with m.State("CUT"):  # what epsilon is measured against, to 16 bits
                with m.If(wide[16:] != 0):
                    m.d.sync += [wide.eq(wide >> 1), move.eq(move + 1)]
                with m.Else():
                    m.d.sync += [factor.eq(wide), wide.eq(self.epsilon), product.eq(0), steps.eq(SCALE.bits)]
                    m.next = "EPSILON"
            with m.State("EPSILON"):
                multiply("MOVE_START")
            with m.State("MOVE_START"):
                m.d.sync += wide.eq(product)
                # Beyond these moves nothing is left, or nothing more is added (`numerics.epsilon_term`).
                with m.If(move > 15):
                    m.d.sync += move.eq(15)
                with m.Elif(move < -32):
                    m.d.sync += move.eq(-32)
                m.next = "MOVE"
            with m.State("MOVE"):
                with m.If(move > 0):
                    m.d.sync += [wide.eq(wide << 1), move.eq(move - 1)]
                with m.Elif(move < 0):
                    m.d.sync += [wide.eq(wide >> 1), move.eq(move + 1)]
                with m.Else():
                    m.next = "ADD"
            with m.State("ADD"):
                m.d.sync += [wide.eq(wide + self.energy), exponent.eq(self.constant_exponent)]
                m.next = "ZERO"
            with m.State("ZERO"):
                with m.If(wide == 0):
                    m.d.sync += wide.eq(1)
                m.next = "NORMALISE"
            with m.State("NORMALISE"):  # radicand to 31 or 32 bits
                with m.If(wide[32:] != 0):
                    m.d.sync += [wide.eq(wide >> 2), exponent.eq(exponent - 1)]
                with m.Elif(wide[30:32] == 0):
                    m.d.sync += [wide.eq(wide << 2), exponent.eq(exponent + 1)]
                with m.Else():
                    m.d.sync += [root.eq(0), rest.eq(0), steps.eq(16)]
                    m.next = "ROOT"
            with m.State("ROOT"):
                m.d.sync += [wide.eq(wide << 2), steps.eq(steps - 1)]
                with m.If(trial >= 0):
                    m.d.sync += [rest.eq(trial[:18]), root.eq(Cat(C(1, 1), root[:15]))]
                with m.Else():
                    m.d.sync += [rest.eq(Cat(wide[30:32], rest[:16])), root.eq(Cat(C(0, 1), root[:15]))]
                with m.If(steps == 1):
                    m.d.sync += [
                        factor.eq(self.peak | (self.peak == 0)),
                        wide.eq(self.constant),
                        product.eq(0),
                        steps.eq(SCALE.bits),
                    ]
                    m.next = "CONSTANT"
            with m.State("CONSTANT"):
                multiply("LEAD")
            with m.State("LEAD"):
                with m.If(~product[30]):
                    m.d.sync += [product.eq(product << 1), exponent.eq(exponent - 1)]
                with m.Else():
                    m.d.comb += divider.start.eq(1)
                    m.next = "DIVIDE"
            with m.State("DIVIDE"):
                with m.If(divider.done):
                    carry = divider.quotient[15]
                    m.d.sync += [
                        self.mantissa.eq(Mux(carry, divider.quotient[1:], divider.quotient)),
                        self.exponent.eq(exponent + carry),
                        self.done.eq(1),
                    ]
                    m.next = "IDLE"
        return m


class ScaleProduct(wiring.Component):
    """`numerics.multiply_scale`: a SCALE times another, truncated, bit-serial.

    Latency: 16 cycles from `start` to `done`. Cost: a 16-bit adder.

    Attributes
    ----------
    start : In(1)
        Begins; the inputs are held until `done`.
    a_mantissa, a_exponent, b_mantissa, b_exponent : In
        SCALEs.
    done, mantissa, exponent : Out
        The product; valid from `done` until the next start.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "start": In(1),
                "a_mantissa": In(SCALE.bits),
                "a_exponent": In(signed(EXPONENT_BITS)),
                "b_mantissa": In(SCALE.bits),
                "b_exponent": In(signed(EXPONENT_BITS)),
                "done": Out(1),
                "mantissa": Out(SCALE.bits),
                "exponent": Out(signed(EXPONENT_BITS + 2)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        product = Signal(2 * SCALE.bits)
        multiplier = Signal(SCALE.bits)
        steps = Signal(range(SCALE.bits + 1))
        m.d.sync += self.done.eq(steps == 1)
        with m.If(self.start):
            m.d.sync += [product.eq(0), multiplier.eq(self.b_mantissa), steps.eq(SCALE.bits)]
        with m.Elif(steps != 0):
            # From the lowest bit upwards: the sum enters on top and moves down.
            total = Signal(SCALE.bits + 1)
            m.d.comb += total.eq(product[SCALE.bits :] + Mux(multiplier[0], self.a_mantissa, 0))
            m.d.sync += [
                product.eq(Cat(product[1 : SCALE.bits], total)),
                multiplier.eq(multiplier >> 1),
                steps.eq(steps - 1),
            ]
        carry = product[-1]
        m.d.comb += [
            self.mantissa.eq(Mux(carry, product[SCALE.bits :], product[SCALE.bits - 1 :])),
            self.exponent.eq(self.a_exponent + self.b_exponent + (SCALE.bits - 1) + carry),
        ]
        return m
