"""Adds the dot products of a row's column blocks in memory."""

from amaranth.hdl import C, Cat, Module, Mux, Signal, signed
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from .arith import delay

__all__ = ["PartialSums"]


class PartialSums(wiring.Component):
    """Adds each row's dot product to the sum of the column blocks before.

    Beats come row by row, and column block by column block; a row comes again `write_back` cycles later at
    the earliest, so that no sum is read in the cycle that writes it. A sum from memory is held in flip-flops,
    which a first column block resets. Latency: `latency` cycles from a beat to `sum`. Cost: an adder, a row
    counter and a memory.

    Parameters
    ----------
    rows
        Rows of a block.
    total_bits
        Width of the dot product.
    bits
        Width of a sum.
    dot_latency
        Cycles from a beat to its dot product.

    Attributes
    ----------
    valid, first, final, ends : In(1)
        A beat: of the first column block, of the last one, and of the last row of its block.
    total, carry : In
        The beat's dot product, total + carry, `dot_latency` cycles later.
    sum : Out
        Sum over the column blocks so far.
    sum_valid : Out(1)
        The sum is one of a last column block.
    collision : Signal
        A sum is read in the cycle that writes it, which must not be.
    """

    write_back = 4
    """Cycles from a beat until the same row's next one may come."""

    def __init__(self, rows: int, total_bits: int, bits: int, dot_latency: int) -> None:
        self._rows = rows
        self._dot_latency = dot_latency
        self.collision = Signal()
        super().__init__(
            {
                "valid": In(1),
                "first": In(1),
                "final": In(1),
                "ends": In(1),
                "total": In(signed(total_bits)),
                "carry": In(1),
                "sum": Out(signed(bits)),
                "sum_valid": Out(1),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from a beat to its sum: the dot product's, at least the 2 of a memory's word, and one."""
        return max(2, self._dot_latency) + 1

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.memory = sums = memory.Memory(
            shape=self.sum.shape(), depth=self._rows, init=[], attrs={"no_rw_check": 1, "ram_style": "block"}
        )
        read, write = sums.read_port(), sums.write_port()

        # Flags go along with the dot product; the row is counted where it is needed.
        adds = self.latency - 1
        valid, first, final, ends = (
            delay(m, getattr(self, name), adds, name) for name in ("valid", "first", "final", "ends")
        )
        late = adds - self._dot_latency
        total, carry = delay(m, self.total, late, "total")[-1], delay(m, self.carry, late, "carry")[-1]
        row = Signal(range(self._rows))
        with m.If(valid[adds - 2]):
            m.d.sync += row.eq(Mux(ends[adds - 2], 0, row + 1))
        before = Signal.like(self.sum)
        m.d.comb += [
            read.addr.eq(row),
            write.addr.eq(delay(m, row, 3, "row")[-1]),
            write.data.eq(self.sum),
            self.collision.eq(write.en & valid[adds - 2] & (write.addr == read.addr)),
        ]
        m.d.sync += [
            before.eq(Mux(first[adds - 1], 0, read.data)),
            self.sum.eq((Cat(C(1, 1), before).as_signed() + Cat(carry, total.as_signed()).as_signed()) >> 1),
            self.sum_valid.eq(valid[adds] & final[adds]),
            write.en.eq(valid[adds] & ~final[adds]),
        ]
        return m
