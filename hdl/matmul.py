"""Streams a ternary matrix past the lookup tables, and adds the rows' partial sums."""

from amaranth.hdl import C, Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import memory, stream, wiring
from amaranth.lib.data import ArrayLayout
from amaranth.lib.wiring import In, Out

from ..models.image import Layout
from ..models.numerics import INT8, SUM
from .arith import delay
from .dot import LookupDot, TableFiller
from .isa import COUNT_BITS

__all__ = ["MatMul"]

_WRITE_BACK = 3
"""Cycles from a partial sum's beat until that of the next column block may come."""


class MatMul(wiring.Component):
    """Ternary matrix times int8 vector.

    Row blocks are outermost, then column blocks, then rows; a beat is one row of one column block. While a
    column block's rows stream, the next one's tables are filled, so blocks of at least 125 rows stream
    without a pause. Sums leave during a row block's last column block, one a beat, rows in order. Latency:
    `latency` cycles from a beat to its sum. Cost: the dot product's, a partial sum memory and its adder.

    Parameters
    ----------
    layout
        Tables and rows a row block.
    words
        Activation words: five a column block.

    Attributes
    ----------
    start : In(1)
        Begins a product with the dimensions below, which are held until `done`.
    rows, blocks : In
        Rows of the matrix and its column blocks, both at least 1.
    one_by_one : In(1)
        Takes a beat of a last column block only after `taken` has acknowledged the sum before.
    taken : In(1)
        Acknowledges a sum.
    hold : In(1)
        No beat of a last column block is taken while high.
    beats : In(stream)
        Weight beats.
    word_address, word :
        Read port of the activation memory (`TableFiller`).
    valid, row, sum : Out
        A finished row.
    done : Out(1)
        High for a cycle, after the last sum.
    filling : Out(1)
        No beat is taken because the tables of the next block are not ready.
    """

    def __init__(self, layout: Layout, words: int) -> None:
        self._layout = layout
        self._words = words
        self._dot = LookupDot(layout.tables)
        super().__init__(
            {
                "start": In(1),
                "rows": In(COUNT_BITS),
                "blocks": In(COUNT_BITS),
                "one_by_one": In(1),
                "taken": In(1),
                "hold": In(1),
                "beats": In(stream.Signature(unsigned(8 * layout.beat_bytes))),
                "word_address": Out(range(words)),
                "word": In(ArrayLayout(signed(INT8.bits), layout.tables)),
                "valid": Out(1),
                "row": Out(COUNT_BITS),
                "sum": Out(signed(SUM.bits)),
                "done": Out(1),
                "filling": Out(1),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from a beat to its sum."""
        return self._dot.latency + 1

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.dot = dot = self._dot
        m.submodules.filler = filler = TableFiller(self._layout.tables, self._words)
        m.submodules.partial = partial = memory.Memory(
            shape=signed(SUM.bits), depth=self._layout.row_block, init=[]
        )
        filled = Signal(2)

        # Filler: walks the same row and column blocks, one bank ahead.
        fill_rows, fill_block, fill_bank = Signal(COUNT_BITS), Signal(COUNT_BITS), Signal()
        last_fill = Signal()
        m.d.comb += [
            last_fill.eq(fill_block + 1 == self.blocks),
            filler.block.eq(fill_block),
            self.word_address.eq(filler.word_address),
            filler.word.eq(self.word),
            dot.fill_bank.eq(fill_bank),
            dot.entry.eq(filler.entry),
            dot.values.eq(filler.values),
            dot.write.eq(filler.write),
        ]
        with m.FSM(name="fill"):
            with m.State("IDLE"):
                with m.If(self.start):
                    m.d.sync += [fill_rows.eq(self.rows), fill_block.eq(0)]
                    m.next = "WAIT"
            with m.State("WAIT"):
                with m.If(~filled.bit_select(fill_bank, 1)):
                    m.d.comb += filler.start.eq(1)
                    m.next = "FILL"
            with m.State("FILL"):
                with m.If(filler.done):
                    m.d.sync += [filled.bit_select(fill_bank, 1).eq(1), fill_bank.eq(~fill_bank)]
                    m.d.sync += fill_block.eq(Mux(last_fill, 0, fill_block + 1))
                    m.next = "WAIT"
                    with m.If(last_fill):
                        m.d.sync += fill_rows.eq(fill_rows - self._layout.row_block)
                        with m.If(fill_rows <= self._layout.row_block):
                            m.next = "IDLE"

        # Rows: one beat each.
        row_base, block, row, left, bank = (
            Signal(COUNT_BITS),
            Signal(COUNT_BITS),
            Signal(range(self._layout.row_block)),
            Signal(COUNT_BITS),
            Signal(),
        )
        last_block, last_row, last_rows, take, waiting = Signal(), Signal(), Signal(), Signal(), Signal()
        drain = Signal(range(self.latency + 2))
        m.d.comb += [
            last_block.eq(block + 1 == self.blocks),
            last_row.eq((row + 1 == left) | (row == self._layout.row_block - 1)),
            last_rows.eq(left <= self._layout.row_block),
            dot.codes.eq(self.beats.payload),
            dot.bank.eq(bank),
            take.eq(self.beats.valid & self.beats.ready),
        ]
        # A partial sum is written 3 cycles after its beat has read the one before: so long, a row must not
        # come again, which matters to blocks of one or two rows whose tables have all been filled while beats
        # were late.
        unsettled = Signal(range(_WRITE_BACK + 1))
        with m.If(take & (row == 0)):
            m.d.sync += unsettled.eq(_WRITE_BACK - 1)
        with m.Elif((unsettled != 0) & (take | (row == 0))):
            m.d.sync += unsettled.eq(unsettled - 1)
        with m.If(self.one_by_one & take & last_block):
            m.d.sync += waiting.eq(1)
        with m.Elif(self.taken):
            m.d.sync += waiting.eq(0)
        with m.FSM(name="rows"):
            with m.State("IDLE"):
                with m.If(self.start):
                    m.d.sync += [row_base.eq(0), block.eq(0), row.eq(0), left.eq(self.rows), waiting.eq(0)]
                    m.next = "STREAM"
            with m.State("STREAM"):
                m.d.comb += [
                    self.filling.eq(~filled.bit_select(bank, 1)),
                    self.beats.ready.eq(
                        filled.bit_select(bank, 1)
                        & ~waiting
                        & ~(last_block & self.hold)
                        & ~((row == 0) & (unsettled != 0))
                    ),
                ]
                with m.If(take):
                    m.d.sync += row.eq(row + 1)
                    with m.If(last_row):
                        m.d.sync += [
                            row.eq(0),
                            filled.bit_select(bank, 1).eq(0),
                            bank.eq(~bank),
                            block.eq(block + 1),
                        ]
                        with m.If(last_block):
                            m.d.sync += [
                                block.eq(0),
                                row_base.eq(row_base + self._layout.row_block),
                                left.eq(left - self._layout.row_block),
                            ]
                            with m.If(last_rows):
                                m.d.sync += drain.eq(self.latency + 1)
                                m.next = "DRAIN"
            with m.State("DRAIN"):
                m.d.sync += drain.eq(drain - 1)
                with m.If((drain == 0) & ~waiting):
                    m.d.comb += self.done.eq(1)
                    m.next = "IDLE"

        # The partial sum memory is read a cycle before the dot product's total arrives.
        row_bits = len(row)
        stages = delay(m, Cat(take, row, block == 0, last_block, row_base), dot.latency, "stage")
        read, write = partial.read_port(), partial.write_port()
        m.d.comb += read.addr.eq(stages[-2][1 : 1 + row_bits])
        valid, at, first, final, base = (
            stages[-1][0],
            stages[-1][1 : 1 + row_bits],
            stages[-1][1 + row_bits],
            stages[-1][2 + row_bits],
            stages[-1][3 + row_bits :],
        )
        before = Signal(signed(SUM.bits))
        m.d.comb += before.eq(Mux(first, 0, read.data))
        m.d.sync += [
            self.sum.eq((Cat(C(1, 1), before).as_signed() + Cat(dot.carry, dot.total).as_signed()) >> 1),
            self.valid.eq(valid & final),
            self.row.eq(base + at),
            write.en.eq(valid & ~final),
            write.addr.eq(at),
        ]
        m.d.comb += write.data.eq(self.sum)
        return m
