"""Streams ternary matrices past the dot products, and adds the rows' partial sums."""

from collections.abc import Callable

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.data import ArrayLayout
from amaranth.lib.wiring import In, Out

from ..models.numerics import INT8, SUM
from .arith import delay
from .config import AcceleratorConfig
from .dot_sums import PartialSums
from .dots import DOTS

__all__ = ["MatMul"]


class MatMul(wiring.Component):
    """Ternary matrices times int8 vectors, one product after another without a pause between them.

    Row blocks are outermost, then column blocks, then rows; a beat is one row of one column block, for all
    streams. While a column block's rows stream, the next one's tables are filled, also those of the next
    product's first block; an adder tree's activations are its tables here (`dots.DOTS`). Sums leave during
    a row block's last column block, one a beat, rows in order.
    Latency: `latency` cycles from a beat to its sum. Cost: control; for each stream the dot product's and
    that of its partial sums (`PartialSums`).

    Parameters
    ----------
    config
        The accelerator.
    tag
        Shape of what is told to whom the sums belong.
    behind
        Cycles for which a sum's consequences last: until then the next product's sums don't come.

    Attributes
    ----------
    start, ready : In(1), Out(1)
        Begins a product of `rows` rows and `blocks` column blocks, whose inputs are in half `slot` of the
        activation memory; all are given with `start`, while `ready`.
    tag : In; sums_tag : Out
        Comes with `start`; that of the sums.
    fill_block, fill_slot : Out; fill_ready, fill_certain, fill_void : In
        The column block whose tables are filled next; it is there, or each of its words will be before it is
        read; it will not change; it changes now, for 3 cycles or more.
    word_address, words :
        Read port of all streams' activation memories (`TableFiller`), half `fill_slot`.
    beats : In(stream)
        Weight beats.
    enter, may_enter : Out(1), In(1)
        The sums of another product begin, if they may; a pulse.
    open : In(1)
        A beat whose sums leave can be taken in the next cycle.
    leaves, odd : Out(1)
        Such a beat is taken; its row is an odd one.
    one_by_one, taken : In(1)
        Each sum waits until the one before was taken.
    valid, row, sums : Out
        A finished row, one sum a stream.
    idle : Out(1)
        No product is in work.
    waits_for_inputs, waits_for_tables, waits_for_scale, waits_to_open : Out(1)
        Why no beat is taken.
    """

    def __init__(self, config: AcceleratorConfig, tag: object, behind: int) -> None:
        self._config = config
        self._behind = behind
        self._tag = tag
        layout = config.layout
        kind = DOTS[layout.dot]
        self._filler = kind.filler(
            layout.tables * config.streams, config.activation_words, kind.code.trits, config.family
        )
        self._dots = [kind.dot(layout.tables, config.family) for _ in range(config.streams)]
        dot = self._dots[0]
        self._sums = PartialSums(layout.row_block, dot.total_bits, SUM.bits, dot.latency, config.streams)
        words = ArrayLayout(signed(INT8.bits), layout.tables * config.streams)
        super().__init__(
            {
                "start": In(1),
                "ready": Out(1),
                "rows": In(config.row_bits),
                "blocks": In(config.block_bits),
                "slot": In(1),
                "tag": In(tag),
                "sums_tag": Out(tag),
                "fill_block": Out(config.block_bits),
                "fill_slot": Out(1),
                "fill_ready": In(1),
                "fill_certain": In(1),
                "fill_void": In(1),
                "word_address": Out(range(config.activation_depth)),
                "words": In(words),
                "beats": In(stream.Signature(unsigned(8 * layout.beat_bytes))),
                "enter": Out(1),
                "may_enter": In(1),
                "open": In(1),
                "leaves": Out(1),
                "odd": Out(1),
                "one_by_one": In(1),
                "taken": In(1),
                "valid": Out(1),
                "row": Out(config.row_bits),
                "sums": Out(ArrayLayout(signed(SUM.bits), config.streams)),
                "idle": Out(1),
                "waits_for_inputs": Out(1),
                "waits_for_tables": Out(1),
                "waits_for_scale": Out(1),
                "waits_to_open": Out(1),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from a beat to its sum."""
        return self._sums.latency

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, layout = self._config, self._config.layout
        m.submodules.filler = filler = self._filler
        m.submodules.partial = partial = self._sums
        filled, fills = Signal(2), Signal()  # a bank is filled, and so from the next cycle on

        # A product first fills tables, then streams; the next one may fill while this one streams.
        rows, blocks = Signal(config.row_bits, reset_less=True), Signal(config.block_bits, reset_less=True)
        tag = Signal(self._tag, reset_less=True)
        filling, handed = Signal(), Signal(init=1)
        hand = Signal()
        m.d.comb += self.ready.eq(~filling & handed)
        with m.If(self.start):
            m.d.sync += [
                rows.eq(self.rows), blocks.eq(self.blocks), tag.eq(self.tag), self.fill_slot.eq(self.slot),
                filling.eq(1), handed.eq(0),
            ]  # fmt: skip
        with m.If(hand):
            m.d.sync += handed.eq(1)

        # Filler: walks the product's row and column blocks, one bank ahead of the rows.
        fill_left, fill_bank = Signal(config.row_bits, reset_less=True), Signal()
        fill_blocks_left = Signal(config.block_bits, reset_less=True)
        last_fill, last_fill_rows = Signal(), Signal()
        m.d.comb += [
            filler.block.eq(self.fill_block),
            self.word_address.eq(filler.word_address | (self.fill_slot << config.slot_bits)),
            filler.word.eq(self.words),
        ]
        with m.If(self.start):
            m.d.sync += [
                fill_left.eq(self.rows), fill_blocks_left.eq(self.blocks), self.fill_block.eq(0),
            ]  # fmt: skip
        # Known a cycle late, before which it isn't looked at.
        there = Signal()
        m.d.sync += [
            there.eq(self.fill_ready),
            last_fill.eq(fill_blocks_left == 1),
            last_fill_rows.eq(fill_left < layout.row_block + 1),
        ]
        # A fill that was cut off may still end in the first cycles of the next.
        cut = Cat(delay(m, filler.start, 2, "started")).any()
        with m.FSM(name="fill"):
            with m.State("WAIT"):
                with m.If(filling & ~filled.bit_select(fill_bank, 1) & there):
                    m.d.comb += filler.start.eq(1)
                    m.next = "FILL"
                with m.If(self.start):  # nothing is filling
                    m.next = "NEXT"
            with m.State("FILL"):
                with m.If(self.fill_void):
                    m.next = "WAIT"
                with m.Elif(filler.done & ~cut):
                    m.next = "FILLED"
            with m.State("FILLED"):
                with m.If(self.fill_void):
                    m.next = "WAIT"
                with m.Elif(self.fill_certain):
                    m.d.comb += fills.eq(1)
                    m.d.sync += [
                        filled.bit_select(fill_bank, 1).eq(1),
                        fill_bank.eq(~fill_bank),
                        self.fill_block.eq(self.fill_block + 1),
                        fill_blocks_left.eq(fill_blocks_left - 1),
                    ]
                    m.next = "NEXT"
                    with m.If(last_fill):
                        m.d.sync += [
                            self.fill_block.eq(0), fill_blocks_left.eq(blocks),
                            fill_left.eq(fill_left - layout.row_block),
                        ]  # fmt: skip
                        with m.If(last_fill_rows):
                            m.d.sync += filling.eq(0)
            with m.State("NEXT"):
                m.next = "WAIT"

        # Rows: one beat each. Whether one is taken is decided in the cycle before, and stands in a register.
        streaming, entered, bank = Signal(), Signal(), Signal()
        row_blocks, blocks_left = (
            Signal(config.block_bits, name=name, reset_less=True) for name in ("row_blocks", "blocks_left")
        )
        first_block, last_block = Signal(reset_less=True), Signal(reset_less=True)
        # Rows of this row block; those of it that have not come yet, this one included; rows of the product
        # beyond this row block, if there are any.
        block_rows, rest = (
            Signal(range(layout.row_block + 1), name=name, reset_less=True) for name in ("block_rows", "rest")
        )
        beyond = Signal(signed(config.row_bits + 1), reset_less=True)
        single, last_row, last_rows = (
            Signal(name=name, reset_less=True) for name in ("single", "last_row", "last_rows")
        )
        take, waiting, settled, ends = Signal(), Signal(), Signal(), Signal()
        wakes, begins = Signal(), Signal()  # the next product is handed to idle rows; a row block comes next
        next_tag = Signal(self._tag, reset_less=True)
        here = filled.bit_select(bank, 1)
        turns, over = take & last_row, last_block & last_rows
        m.d.comb += [
            take.eq(self.beats.valid & self.beats.ready),
            ends.eq(turns & over),
            self.leaves.eq(take & last_block),
            wakes.eq(~handed & ~streaming),
            hand.eq(wakes | (ends & ~handed)),
            begins.eq(wakes | (last_block & ~(last_rows & handed))),
        ]
        # A partial sum is read a while before it is written: so long, its row must not come again, which
        # matters to blocks of few rows whose tables have all been filled while beats were late.
        pause, going = Signal(), Signal()
        again = partial.write_back
        resting = delay(m, take & (block_rows < again), again - 1, "resting")
        waits = Mux(waiting, ~self.taken, self.one_by_one & self.leaves)
        pauses = waits | Cat(resting[:-1]).any()
        goes = Mux(
            turns,
            (filled.bit_select(~bank, 1) | fills) & ~(over & handed),
            (here | (fills & (fill_bank == bank))) & (streaming | ~handed),
        )
        # A last block's beats wait until their sums may leave, too.
        lone_block, may_leave = Signal(), self.open & entered
        last_then = Mux(begins, lone_block, blocks_left == 2)
        passes = Mux(
            turns,
            ~last_then | (may_leave & ~over),
            ~Mux(wakes, lone_block, last_block) | may_leave,
        )
        m.d.sync += [
            waiting.eq(waits), pause.eq(pauses), going.eq(goes & ~pauses),
            self.beats.ready.eq(goes & passes & ~pauses),
        ]  # fmt: skip
        m.d.comb += [
            self.waits_for_tables.eq(streaming & ~going & ~pause),
            self.waits_for_inputs.eq(self.waits_for_tables & filling & ~there),
            self.waits_for_scale.eq(streaming & last_block & ~entered),
            self.waits_to_open.eq(streaming & last_block & entered & ~self.beats.ready),
        ]
        # What comes behind this row block: the product's next one, or the next product.
        other = ~streaming | last_rows
        rows_then = Mux(other, rows, beyond[:-1])
        blocks_then = Mux(other, blocks, row_blocks)

        def known(decide: Callable[[Value], Value], given: Value, begun: Value, held: Value) -> Value:
            """What holds of the next product's number, since it was given, or of one held for long."""
            of_product, of_rest = Signal(), Signal()
            with m.If(self.start):
                m.d.sync += of_product.eq(decide(given))
            m.d.sync += of_rest.eq(decide(held))
            return Mux(begun, of_product, of_rest)

        few = known(lambda count: count < layout.row_block + 1, self.rows, other, beyond[:-1])
        lone = known(lambda count: count == 1, self.rows, other, beyond[:-1])
        m.d.comb += lone_block.eq(known(lambda count: count == 1, self.blocks, other, row_blocks))
        # Enables see as little of `take` as can be: what it does is decided beside it.
        many = Mux(few, rows_then, layout.row_block)
        with m.If(take | wakes):
            m.d.sync += [rest.eq(rest - 1), last_row.eq(rest == 2)]
            with m.If(last_row | wakes):
                m.d.sync += [rest.eq(Mux(begins, many, block_rows)), last_row.eq(Mux(begins, lone, single))]
        with m.If(turns | wakes):
            m.d.sync += [
                blocks_left.eq(Mux(begins, blocks_then, blocks_left - 1)),
                first_block.eq(begins), last_block.eq(last_then),
            ]  # fmt: skip
            with m.If(begins):
                m.d.sync += [
                    block_rows.eq(many), single.eq(lone), last_rows.eq(few),
                    beyond.eq(rows_then - layout.row_block), row_blocks.eq(blocks_then),
                ]  # fmt: skip
        with m.If(take):
            m.d.sync += self.odd.eq(~self.odd)
            with m.If(last_row):
                m.d.sync += [self.odd.eq(0), filled.bit_select(bank, 1).eq(0), bank.eq(~bank)]
        with m.If(ends):
            m.d.sync += [streaming.eq(0), entered.eq(0)]
        with m.If(hand):
            m.d.sync += [streaming.eq(1), next_tag.eq(tag)]

        # The sums of the next product come when those of the one before have had their consequences.
        wait = Signal(range(self.latency + self._behind + 1))
        m.d.comb += [
            settled.eq(wait == 0),
            self.enter.eq(streaming & ~entered & settled & self.may_enter),
            self.idle.eq(self.ready & ~streaming & settled),
        ]
        with m.If(ends):
            m.d.sync += wait.eq(self.latency + self._behind)
        with m.Elif(~settled & ~waiting):
            m.d.sync += wait.eq(wait - 1)
        with m.If(self.enter):
            m.d.sync += [entered.eq(1), self.sums_tag.eq(next_tag)]

        m.d.comb += [
            partial.valid.eq(take),
            partial.first.eq(first_block),
            partial.final.eq(last_block),
            partial.ends.eq(last_row),
            self.valid.eq(partial.valid_sums),
            self.sums.eq(partial.sums),
        ]
        # Rows leave in order.
        row = Signal(config.row_bits, reset_less=True)
        m.d.comb += self.row.eq(row)
        with m.If(self.enter):
            m.d.sync += row.eq(0)
        with m.Elif(self.valid):
            m.d.sync += row.eq(row + 1)
        for k, dot in enumerate(self._dots):
            m.submodules[f"dot{k}"] = dot
            m.d.comb += [
                dot.codes.eq(self.beats.payload),
                dot.bank.eq(bank),
                dot.fill_bank.eq(fill_bank),
                dot.entry.eq(filler.entry),
                dot.write.eq(filler.write),
                *(dot.values[t].eq(filler.values[k * layout.tables + t]) for t in range(layout.tables)),
                partial.totals[k].eq(dot.total),
                partial.carries[k].eq(dot.carry),
            ]
        return m
