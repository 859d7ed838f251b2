"""`InputQuantiser` for several elements a cycle."""

import enum

from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.lib import memory, wiring
from amaranth.lib.data import ArrayLayout, StructLayout
from amaranth.lib.wiring import In
from amaranth.utils import exact_log2

from ..models.numerics import INT8, NORMAL
from .arith import delay
from .inputs import quantiser_ports
from .measure import LEVEL_BITS, shift_levels
from .quantiser import Quantiser
from .scalars import PEAK_BITS, Reciprocal

__all__ = ["WideInputQuantiser"]


class _State(enum.Enum):
    FIRST = 0  # waits for a word; the first one changes the peak
    DIVIDE = 1
    QUANTISE = 2


class WideInputQuantiser(wiring.Component):
    """`InputQuantiser`, a word of elements a cycle: behind `WideMeasure`.

    The level of each product is kept beside it. Latency: at most `latency` cycles from the word that changes
    the peak to the first int8 inputs. Cost: a divider; for each element of a word a memory of products and a
    16 x 15 bit multiplier.

    Parameters
    ----------
    depth, tables, words, digits
        See `InputQuantiser`.
    width
        Elements of a word, a power of two that divides `tables`.

    Attributes
    ----------
    clear, count, slot : In
        See `InputQuantiser`.
    product_valid, products, levels, settled, changed, level, peak : In
        From `WideMeasure`.
    measured : In(1)
        All products have settled; held until the next `clear`.
    q_write, q_word, q_lane, q : Out
        Int8 inputs for the bytes from `q_lane` on of the slot's word `q_word`. Beyond the vector's last one
        they are 0.
    blocks, first_soon, complete, certain, void, current_slot : Out
        See `InputQuantiser`.

    Raises
    ------
    ValueError
        If `tables` are no whole words of elements.
    """

    latency = Reciprocal.slowest + Quantiser.latency + 5

    def __init__(self, depth: int, tables: int, words: int, digits: int, width: int) -> None:
        if tables % width:
            raise ValueError(f"an activation word of {tables} bytes is no whole number of {width} elements")
        self._depth = -(-depth // width)
        self._tables = tables
        self._digits = digits
        self._width = width
        measured = {
            "product_valid": In(1),
            "products": In(ArrayLayout(signed(NORMAL.bits), width)),
            "levels": In(ArrayLayout(LEVEL_BITS, width)),
            "settled": In(1),
            "changed": In(1),
            "level": In(LEVEL_BITS),
            "peak": In(PEAK_BITS),
        }
        q = ArrayLayout(signed(INT8.bits), width)
        super().__init__(quantiser_ports(depth, tables, words, digits, measured, q))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.reciprocal = reciprocal = Reciprocal()
        stored = StructLayout({"products": self.products.shape(), "levels": self.levels.shape()})
        m.submodules.products = store = memory.Memory(shape=stored, depth=self._depth, init=[])
        read, write = store.read_port(), store.write_port()
        # All of these count words.
        count = Signal(range(self._depth + 1))
        written, settled, word = (Signal.like(count, name=name) for name in ("written", "settled", "word"))
        m.d.comb += [
            write.addr.eq(written),
            write.data.products.eq(self.products),
            write.data.levels.eq(self.levels),
            write.en.eq(self.product_valid),
            read.addr.eq(word),
            reciprocal.peak.eq(self.peak),
        ]
        with m.If(self.product_valid):
            m.d.sync += written.eq(written + 1)
        with m.If(self.settled):
            m.d.sync += settled.eq(settled + 1)

        issue = Signal()
        stages = delay(m, issue, 2 + Quantiser.latency, "stage")
        # Whether all words are on their way, a cycle late, which they hide; and whether any are.
        ended, under_way = Signal(), Signal()
        m.d.sync += [ended.eq(word == count), under_way.eq(Cat(stages[:-1]).any())]
        m.d.comb += [
            self.void.eq(1),
            self.q_write.eq(stages[-1]),
            self.certain.eq(self.measured & ~self.void),
            self.complete.eq(self.certain & ended & ~under_way),
            self.first_soon.eq(self.blocks != 0),
        ]
        digit = Signal(range(self._digits))
        with m.If(self.q_write):
            m.d.sync += self.q_lane.eq(self.q_lane + self._width)
            with m.If(self.q_lane == self._tables - self._width):
                m.d.sync += [self.q_lane.eq(0), self.q_word.eq(self.q_word + 1), digit.eq(digit + 1)]
                with m.If(digit == self._digits - 1):
                    m.d.sync += [digit.eq(0), self.blocks.eq(self.blocks + 1)]

        state = Signal(_State, init=_State.QUANTISE)
        # For so long a division that was cut off, and words that were on their way, may still come.
        cut = delay(m, self.changed, 1 + len(stages), "changed")[1:]
        m.d.comb += reciprocal.start.eq(cut[0])
        with m.Switch(state):
            with m.Case(_State.DIVIDE):
                m.d.sync += [
                    word.eq(0), self.blocks.eq(0), digit.eq(0), self.q_lane.eq(0), self.q_word.eq(0),
                ]  # fmt: skip
                with m.If(reciprocal.done & ~Cat(cut).any()):
                    m.d.sync += state.eq(_State.QUANTISE)
            with m.Case(_State.QUANTISE):
                m.d.comb += self.void.eq(0)
                with m.If(word != settled):
                    m.d.comb += issue.eq(1)
                    m.d.sync += word.eq(word + 1)
        with m.If(self.clear):
            m.d.sync += [
                count.eq((self.count + self._width - 1) >> exact_log2(self._width)),
                self.current_slot.eq(self.slot), written.eq(0), settled.eq(0), state.eq(_State.FIRST),
            ]  # fmt: skip
        with m.Elif(self.changed):
            m.d.sync += state.eq(_State.DIVIDE)

        # 1: the products are here; 2: aligned to the highest level; then the quantisers.
        for k in range(self._width):
            m.submodules[f"quantiser{k}"] = quantiser = Quantiser()
            behind = (self.level - read.data.levels[k])[:LEVEL_BITS]
            aligned = Signal(signed(NORMAL.bits), name=f"aligned{k}", reset_less=True)
            m.d.sync += aligned.eq(shift_levels(read.data.products[k], behind))
            m.d.comb += [
                quantiser.product.eq(aligned),
                quantiser.factor.eq(reciprocal.factor),
                quantiser.shift.eq(reciprocal.shift),
                self.q[k].eq(quantiser.q),
            ]
        return m
