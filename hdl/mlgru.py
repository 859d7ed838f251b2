"""The MatMul-free gated linear recurrence, element by element."""

from amaranth.hdl import C, Cat, Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..models.numerics import ACT, GATE
from .arith import clamp, delay

__all__ = ["ForgetGate", "Mlgru"]


class ForgetGate(wiring.Component):
    """`numerics.lower_bound_gate`: L + (1 - L) * gate. Latency: 2 cycles. Cost: a 15 x 15 bit multiplier."""

    latency = 2

    def __init__(self) -> None:
        super().__init__({"bound": In(GATE.bits), "gate": In(GATE.bits), "f": Out(GATE.bits)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        product = Signal(2 * GATE.bits, reset_less=True)
        either = Signal(GATE.bits + 1, reset_less=True)
        m.d.sync += [product.eq(self.bound * self.gate), either.eq(self.bound + self.gate)]
        f = Signal(GATE.bits + 1)
        m.d.comb += f.eq(either - product[GATE.fraction :])
        m.d.sync += self.f.eq(f[:-1] | f[-1].replicate(GATE.bits))
        return m


class Mlgru(wiring.Component):
    """`numerics.mlgru`: h = i + f * (h_before - i).

    Latency: `latency` cycles from i and h_before to h. Cost: a 16 x 16 bit multiplier.

    Attributes
    ----------
    i, f, before : In
        silu of i_proj in ACT, forget gate in GATE, the state in ACT; f comes a cycle after the others.
    h : Out
        New state in ACT.
    clamped : Out(1)
        h_before - i did not fit in ACT; two cycles after them.
    """

    latency = 4

    def __init__(self) -> None:
        super().__init__(
            {
                "i": In(signed(ACT.bits)),
                "f": In(GATE.bits),
                "before": In(signed(ACT.bits)),
                "h": Out(signed(ACT.bits)),
                "clamped": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        whole = Signal(signed(ACT.bits + 1), reset_less=True)
        difference = Signal(signed(ACT.bits), reset_less=True)
        clipped, outside = clamp(whole, ACT.bits)
        f = Signal(GATE.bits, reset_less=True)
        m.d.sync += [
            whole.eq(self.before - self.i),
            difference.eq(clipped), self.clamped.eq(outside), f.eq(self.f),
        ]  # fmt: skip
        product = Signal(signed(ACT.bits + GATE.bits), reset_less=True)
        m.d.sync += product.eq(difference * Cat(f, C(0, 1)).as_signed())
        i = delay(m, self.i, 3, "i", data=True)[-1]
        # The bit to round is added to itself: it carries into the sum where it is 1, on the same adder.
        half = product[GATE.fraction - 1]
        m.d.sync += self.h.eq((Cat(half, product[GATE.fraction :]) + Cat(half, i)) >> 1)
        return m
