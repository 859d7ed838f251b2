"""Turns a row's integer sum into an output: times a scale, rounded, clamped."""

from amaranth.hdl import C, Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..models.numerics import ACT, NORMAL, RESCALE_LEFT, SCALE, SUM, VECTOR
from .arith import clamp, delay

__all__ = ["SHIFT_BITS", "Rescaler"]

SHIFT_BITS = 6
_FINE = 3


class Rescaler(wiring.Component):
    """`numerics.rescale`, a sum a cycle.

    Latency: `latency` cycles from `valid` to `out_valid`. Cost: one 16 x 16 bit multiplier and a 40-bit
    shifter.

    Attributes
    ----------
    valid, sum : In
        A row's sum.
    mantissa : In
        SCALE's mantissa, held while sums pass.
    shift : In
        `RESCALE_LEFT` - (exponent + fraction bits of the output), 0 to 63; held.
    wide : In(1)
        High for VECTOR, low for ACT; held.
    early_valid : Out(1)
        An output comes in the next cycle, for the address of a memory read.
    out_valid, value : Out
        The output, ACT sign-extended.
    clamped : Out(2)
        Two bits: the sum, and the output, did not fit.
    """

    latency = 7

    def __init__(self) -> None:
        super().__init__(
            {
                "valid": In(1),
                "sum": In(signed(SUM.bits)),
                "mantissa": In(SCALE.bits),
                "shift": In(SHIFT_BITS),
                "wide": In(1),
                "early_valid": Out(1),
                "out_valid": Out(1),
                "value": Out(signed(VECTOR.bits)),
                "clamped": Out(2),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        valid = delay(m, self.valid, self.latency, "valid")
        m.d.comb += [self.early_valid.eq(valid[-2]), self.out_valid.eq(valid[-1])]

        # Where sums come from is chosen before this register, by lookup tables whose flip-flops it is.
        arrived = Signal.like(self.sum, reset_less=True)
        narrow = Signal(signed(NORMAL.bits), reset_less=True)
        too_wide = Signal()
        clipped, outside = clamp(arrived, NORMAL.bits)
        m.d.sync += [arrived.eq(self.sum), narrow.eq(clipped), too_wide.eq(outside)]

        product = Signal(signed(NORMAL.bits + SCALE.bits), reset_less=True)
        m.d.sync += product.eq(narrow * Cat(self.mantissa, C(0, 1)).as_signed())

        # One fraction bit more than the output's is kept, and rounded away at the end.
        shifted = Signal(signed(len(product) + RESCALE_LEFT + 1))
        coarse = Signal.like(shifted, reset_less=True)
        fine = Signal.like(shifted, reset_less=True)
        assert len(shifted) <= 33  # a shift by 32 leaves nothing but the sign
        m.d.comb += shifted.eq(product << (RESCALE_LEFT + 1))
        m.d.sync += [
            coarse.eq(
                Mux(
                    self.shift[-1],
                    shifted[-1].replicate(len(shifted)),
                    shifted >> Cat(C(0, _FINE), self.shift[_FINE:-1]),
                )
            ),
            fine.eq(coarse >> self.shift[:_FINE]),
        ]
        rounded = Signal(signed(len(fine)), reset_less=True)
        m.d.sync += rounded.eq((fine + 1) >> 1)
        sign = rounded[-1]
        too_large = Signal()
        m.d.comb += too_large.eq(
            (rounded[VECTOR.bits - 1 :] != sign.replicate(len(rounded) - VECTOR.bits + 1))
            | (
                ~self.wide
                & (rounded[ACT.bits - 1 : VECTOR.bits - 1] != sign.replicate(VECTOR.bits - ACT.bits))
            )
        )
        # The end of the format: ACT's sign goes on where VECTOR has bits.
        limit = Cat(
            (~sign).replicate(ACT.bits - 1), (sign ^ self.wide).replicate(VECTOR.bits - ACT.bits), sign
        )
        late = delay(m, too_wide, 4, "too_wide", data=True)[-1]
        m.d.sync += [
            self.value.eq(Mux(too_large, limit, rounded[: VECTOR.bits])),
            self.clamped.eq(Cat(late, too_large)),
        ]
        return m
