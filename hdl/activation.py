"""Sigmoid and SiLU from one table."""

from amaranth.hdl import C, Cat, Module, Signal, signed, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from ..models.numerics import ACT, GATE, SEGMENT_BITS, sigmoid_table
from .arith import delay, shift_add

__all__ = ["Activation"]


class Activation(wiring.Component):
    """`numerics.sigmoid` and `numerics.silu` of an ACT a cycle.

    Latency: `latency` cycles for all outputs. Cost: a 16 x 16 bit multiplier, seven 10-bit adders, a 256 x 25
    bit table.

    Attributes
    ----------
    valid, x : In
        Argument.
    early_valid : Out(1)
        A result comes in the next cycle.
    out_valid, gate, silu : Out
        sigmoid(x) in GATE, silu(x) in ACT.
    """

    latency = 5

    def __init__(self) -> None:
        super().__init__(
            {
                "valid": In(1),
                "x": In(signed(ACT.bits)),
                "early_valid": Out(1),
                "out_valid": Out(1),
                "gate": Out(GATE.bits),
                "silu": Out(signed(ACT.bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        table = sigmoid_table()
        rise_bits = max(rise for _, rise in table).bit_length()
        m.submodules.table = rom = memory.Memory(
            shape=unsigned(GATE.bits + rise_bits),
            depth=len(table),
            init=[start | rise << GATE.bits for start, rise in table],
        )
        read = rom.read_port()
        xs = delay(m, self.x, 4, "x", data=True)
        valid = delay(m, self.valid, self.latency, "valid")
        m.d.comb += [self.early_valid.eq(valid[-2]), self.out_valid.eq(valid[-1])]

        size = Signal(ACT.bits - 1)
        inside = Signal(SEGMENT_BITS, reset_less=True)
        m.d.comb += [
            size.eq(self.x[:-1] ^ self.x[-1].replicate(ACT.bits - 1)),
            read.addr.eq(size[SEGMENT_BITS:]),
        ]
        m.d.sync += inside.eq(size[:SEGMENT_BITS])

        start = Signal(GATE.bits, reset_less=True)
        part = Signal(rise_bits, reset_less=True)
        m.d.sync += [
            start.eq(read.data[: GATE.bits]),
            part.eq(shift_add(read.data[GATE.bits :], inside) >> SEGMENT_BITS),
        ]
        upper = Signal(GATE.bits)
        gate = Signal(GATE.bits, reset_less=True)
        # 2**15 - 1 - upper for negative x: all bits inverted.
        m.d.comb += upper.eq(start + part)
        m.d.sync += gate.eq(upper ^ xs[2][-1].replicate(GATE.bits))
        product = Signal(signed(ACT.bits + GATE.bits + 1), reset_less=True)
        gates = delay(m, gate, 2, "gate", data=True)
        m.d.comb += self.gate.eq(gates[-1])
        m.d.sync += [
            product.eq(xs[3] * Cat(gate, C(0, 1)).as_signed()),
            self.silu.eq((product + (1 << (GATE.fraction - 1))) >> GATE.fraction),
        ]
        return m
