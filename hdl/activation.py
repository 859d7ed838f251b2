"""Sigmoid and SiLU from one table."""

from amaranth.hdl import C, Cat, Module, Signal, signed, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from ..models.numerics import ACT, GATE, SEGMENT_BITS, sigmoid_table
from .arith import delay, shift_add

__all__ = ["Activation"]


class Activation(wiring.Component):
    """`numerics.sigmoid` and `numerics.silu` of an ACT a cycle.

    Latency: `latency` cycles to silu, `gate_latency` to the gate. Cost: a 16 x 16 bit multiplier, eight
    10-bit adders, 256 x 25 bits of tables.

    Attributes
    ----------
    valid, x : In
        Argument.
    early_valid, gate_early : Out(1)
        silu, or the gate, comes in the next cycle.
    out_valid, silu : Out
        silu(x) in ACT.
    gate_valid, gate : Out
        sigmoid(x) in GATE.
    """

    latency = 6
    gate_latency = 4

    def __init__(self) -> None:
        super().__init__(
            {
                "valid": In(1),
                "x": In(signed(ACT.bits)),
                "early_valid": Out(1),
                "out_valid": Out(1),
                "silu": Out(signed(ACT.bits)),
                "gate_early": Out(1),
                "gate_valid": Out(1),
                "gate": Out(GATE.bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        starts, rises = zip(*sigmoid_table(), strict=True)
        rise_bits = max(rises).bit_length()
        m.submodules.rises = rise_rom = memory.Memory(shape=unsigned(rise_bits), depth=len(rises), init=rises)
        m.submodules.starts = start_rom = memory.Memory(
            shape=unsigned(GATE.bits), depth=len(starts), init=starts
        )
        rise_read, start_read = rise_rom.read_port(), start_rom.read_port()
        valid = delay(m, self.valid, self.latency, "valid")
        m.d.comb += [
            self.early_valid.eq(valid[-2]),
            self.out_valid.eq(valid[-1]),
            self.gate_early.eq(valid[self.gate_latency - 1]),
            self.gate_valid.eq(valid[self.gate_latency]),
        ]

        sign = self.x[-1]
        sizes = delay(m, Cat(self.x[:-1] ^ sign.replicate(ACT.bits - 1), sign), 3, "size", data=True)
        m.d.comb += [
            rise_read.addr.eq(sizes[0][SEGMENT_BITS:-1]),
            start_read.addr.eq(sizes[2][SEGMENT_BITS:-1]),
        ]
        # rise * inside: four bits of the place in the segment, then three; then start.
        first, second = (Signal(rise_bits, reset_less=True, name=name) for name in ("first", "second"))
        rise = delay(m, rise_read.data, 1, "rise", data=True)
        m.d.sync += [
            first.eq(shift_add(C(0, rise_bits), rise[0], sizes[1][:4]) >> 4),
            second.eq(shift_add(first, rise[1], sizes[2][4:SEGMENT_BITS]) >> 3),
        ]
        # 2**15 - 1 - upper for negative x: all bits inverted.
        upper = Signal(GATE.bits)
        gate = Signal(GATE.bits, reset_less=True)
        x = Signal(signed(ACT.bits), reset_less=True)
        negative = sizes[3][-1]
        m.d.comb += upper.eq(start_read.data + second)
        m.d.sync += [
            gate.eq(upper ^ negative.replicate(GATE.bits)),
            x.eq(sizes[3] ^ negative.replicate(ACT.bits - 1)),
        ]
        product = Signal(signed(ACT.bits + GATE.bits), reset_less=True)
        m.d.comb += self.gate.eq(gate)
        m.d.sync += [
            product.eq(x * Cat(gate, C(0, 1)).as_signed()),
            self.silu.eq((product + (1 << (GATE.fraction - 1))) >> GATE.fraction),
        ]
        return m
