"""Rounds a product to int8."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..models.numerics import INT8, NORMAL
from .scalars import PEAK_BITS

__all__ = ["Quantiser"]


class Quantiser(wiring.Component):
    """`numerics.quantise`: product * factor / 2**shift to nearest, ties away from zero, in -128 .. 127.

    Latency: 2 cycles. Cost: a 16 x 16 bit multiplier and a 31-bit shifter.

    Attributes
    ----------
    product : In
        NORMAL, -2**15 + 1 to 2**15 - 1.
    factor, shift : In
        From `Reciprocal`; held.
    q : Out
        INT8.
    """

    latency = 2

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
        shifted = Signal(len(wide))
        magnitude = Signal(len(wide))
        limit = Signal(INT8.bits)
        m.d.comb += [
            shifted.eq(wide >> (self.shift - 1)[:5]),
            magnitude.eq((shifted + 1) >> 1),
            limit.eq(INT8.high + negative),
        ]
        clipped = Signal(INT8.bits)
        m.d.comb += clipped.eq(Mux(magnitude > limit, limit, magnitude))
        m.d.sync += self.q.eq(Mux(negative, -clipped, clipped))
        return m
