"""Rounds a product to int8."""

from amaranth.hdl import C, Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..models.numerics import INT8, NORMAL
from .scalars import PEAK_BITS

__all__ = ["Quantiser"]

_ROUNDED_BITS = 9


class Quantiser(wiring.Component):
    """`numerics.quantise`: product * factor / 2**shift to nearest, ties away from zero, in -128 .. 127.

    Latency: `latency` cycles. Cost: a 16 x 16 bit multiplier and a 23-bit shifter.

    Attributes
    ----------
    product : In
        NORMAL, -2**15 + 1 to 2**15 - 1.
    factor, shift : In
        From `Reciprocal`, 8 <= shift <= 22; held.
    q : Out
        INT8.
    """

    latency = 3

    def __init__(self) -> None:
        super().__init__(
            {
                "product": In(signed(NORMAL.bits)),
                "factor": In(15),
                "shift": In(5),
                "q": Out(signed(INT8.bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        sign = self.product[-1]
        size = Signal(PEAK_BITS)
        m.d.comb += size.eq(Mux(sign, -self.product, self.product))
        wide = Signal(2 * PEAK_BITS, reset_less=True)
        negative = Signal(reset_less=True)
        m.d.sync += [wide.eq(size * self.factor), negative.eq(sign)]

        # Right by shift - 1, so that one bit is left to round away: 7 always, and 0 to 14 more. Nine bits can
        # still round to 255; bits that would end up above them only tell that the result is too large.
        rest: Value = wide[7:]
        large: Value = C(0, 1)
        more = Cat(self.shift[:3], self.shift[4])
        for k in reversed(range(4)):
            width = _ROUNDED_BITS + (1 << k) - 1
            large = large | Mux(more[k], rest[width + (1 << k) :], rest[width:]).any()
            rest = Mux(more[k], rest[1 << k :], rest)[:width]
        kept = Signal(_ROUNDED_BITS, reset_less=True)
        beyond, below = Signal(reset_less=True), Signal(reset_less=True)
        m.d.sync += [kept.eq(rest), beyond.eq(large), below.eq(negative)]
        # Half of what was kept is rounded away from zero: half of its negation, rounded up. One addition.
        rounded = Signal(INT8.bits + 1)
        too_large = beyond | kept[-1] | (~below & rounded[INT8.bits])
        m.d.comb += rounded.eq((kept ^ below.replicate(_ROUNDED_BITS)) + 1)
        m.d.sync += self.q.eq(
            Mux(too_large, Cat((~below).replicate(INT8.bits - 1), below), rounded[1:]),
        )
        return m
