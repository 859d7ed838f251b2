"""Adds the dot products of a row's column blocks in memory."""

from amaranth.hdl import C, Cat, Module, Mux, Signal, signed
from amaranth.lib import memory, wiring
from amaranth.lib.data import ArrayLayout
from amaranth.lib.wiring import In, Out

from .arith import delay

__all__ = ["PartialSums"]


class PartialSums(wiring.Component):
    """Adds each row's dot product to the sum of the column blocks before.

    Beats come row by row, and column block by column block; a row comes again `write_back` cycles later at
    the earliest, so that no sum is read in the cycle that writes it. A sum from memory is held in flip-flops,
    which a first column block resets. Latency: `latency` cycles from a beat to its sums. Cost: a row counter;
    for each stream an adder and a memory.

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
    streams
        Dot products of a beat, each with sums of its own.

    Attributes
    ----------
    valid, first, final, ends : In(1)
        A beat: of the first column block, of the last one, and of the last row of its block.
    totals, carries : In
        The beat's dot products, each total + carry, `dot_latency` cycles later.
    sums : Out
        Sums over the column blocks so far.
    valid_sums : Out(1)
        The sums are those of a last column block.
    collision : Signal
        A sum is read in the cycle that writes it, which must not be.
    """

    write_back = 4
    """Cycles from a beat until the same row's next one may come."""

    def __init__(self, rows: int, total_bits: int, bits: int, dot_latency: int, streams: int = 1) -> None:
        self._rows = rows
        self._dot_latency = dot_latency
        self._streams = streams
        self.collision = Signal()
        super().__init__(
            {
                "valid": In(1),
                "first": In(1),
                "final": In(1),
                "ends": In(1),
                "totals": In(ArrayLayout(signed(total_bits), streams)),
                "carries": In(streams),
                "sums": Out(ArrayLayout(signed(bits), streams)),
                "valid_sums": Out(1),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from a beat to its sum: the dot product's, at least the 2 of a memory's word, and one."""
        return max(2, self._dot_latency) + 1

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # Flags go along with the dot product; the row is counted where it is needed.
        adds = self.latency - 1
        valid, first, final, ends = (
            delay(m, getattr(self, name), adds, name) for name in ("valid", "first", "final", "ends")
        )
        row = Signal(range(self._rows))
        with m.If(valid[adds - 2]):
            m.d.sync += row.eq(Mux(ends[adds - 2], 0, row + 1))
        written = delay(m, row, 3, "row")[-1]
        write = Signal()
        m.d.sync += [
            self.valid_sums.eq(valid[adds] & final[adds]),
            write.eq(valid[adds] & ~final[adds]),
        ]
        m.d.comb += self.collision.eq(write & valid[adds - 2] & (written == row))

        late = adds - self._dot_latency
        for k, total in enumerate(self.totals):
            total = delay(m, total, late, f"total{k}_")[-1].as_signed()
            carry = delay(m, self.carries[k], late, f"carry{k}_")[-1]
            m.submodules[f"memory{k}"] = sums = memory.Memory(
                shape=self.sums[k].shape(),
                depth=self._rows,
                init=[],
                attrs={"no_rw_check": 1, "ram_style": "block"},
            )
            read_port, write_port = sums.read_port(), sums.write_port()
            before = Signal.like(self.sums[k], name=f"before{k}")
            m.d.comb += [
                read_port.addr.eq(row),
                write_port.addr.eq(written),
                write_port.data.eq(self.sums[k]),
                write_port.en.eq(write),
            ]
            m.d.sync += [
                before.eq(Mux(first[adds - 1], 0, read_port.data)),
                self.sums[k].eq((Cat(C(1, 1), before).as_signed() + Cat(carry, total).as_signed()) >> 1),
            ]
        return m
