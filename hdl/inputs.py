"""Int8 inputs of a BitLinear, made while the vector's peak is still being found."""

import enum
from collections.abc import Mapping

from amaranth.hdl import Array, Cat, Module, Mux, ShapeLike, Signal, signed
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Member, Out

from ..models.numerics import INT8, LEVEL_MAX, NORMAL
from ..models.trits import TRITS_PER_BYTE
from .arith import delay
from .measure import LEVEL_BITS, shift_levels
from .quantiser import Quantiser
from .scalars import PEAK_BITS, Reciprocal

__all__ = ["InputQuantiser", "quantiser_ports"]


def quantiser_ports(
    depth: int, tables: int, words: int, digits: int, measured: Mapping[str, Member], q: ShapeLike
) -> dict[str, Member]:
    """Ports of a unit that makes int8 inputs of what is `measured`, a `q` of them at a time."""
    return {
        "clear": In(1),
        "count": In(range(depth + 1)),
        "slot": In(1),
        **measured,
        "measured": In(1),
        "q_write": Out(1),
        "q_word": Out(range(words)),
        "q_lane": Out(range(tables)),
        "q": Out(q),
        "blocks": Out(range(words // digits + 1)),
        "first_soon": Out(1),
        "complete": Out(1),
        "certain": Out(1),
        "void": Out(1),
        "current_slot": Out(1),
    }


class _State(enum.Enum):
    FIRST = 0  # waits for a product; the first one changes the peak
    START = 1
    DIVIDE = 2
    QUANTISE = 3


class InputQuantiser(wiring.Component):
    """Keeps a vector's products and turns them into int8 (`numerics.align`, `reciprocal`, `quantise`).

    It does not wait for the last product: it takes the largest so far for the peak, divides, and quantises
    from the first element on; `void` tells that a new peak has made this worthless, and that it begins again.
    The largest of n elements is the last one once in n times, so most of the work is done when the last one
    comes. An element a cycle. Latency: at most `latency` cycles from the product that changes the peak to the
    first int8 input. Cost: a product memory, a 16 x 15 bit multiplier, a divider.

    Parameters
    ----------
    depth
        Largest number of elements.
    tables
        Bytes of an activation word.
    words
        Activation words of a vector.
    digits
        Activation words of a column block: weights of a code.

    Attributes
    ----------
    clear, count, slot : In
        Begins a vector of `count` elements, written to half `slot` of the activation memory; `clear` is a
        pulse, and the other two come with it.
    product_valid, product, settled, changed, rise, level, peak : In
        From `Measure`.
    measured : In(1)
        All products have settled; held until the next `clear`.
    q_write, q_word, q_lane, q : Out
        Int8 input for byte `q_lane` of the slot's word `q_word`.
    blocks : Out
        Column blocks that are complete, if `complete` is low.
    first_soon : Out(1)
        The first one is, but for its last inputs, which are written, one a cycle, in this cycle and the next
        three. Means something while `void` is low.
    complete : Out(1)
        The whole vector is quantised.
    certain : Out(1)
        The peak is final: what is quantised stays.
    void : Out(1)
        What has been quantised is worthless; high until the new peak's reciprocal is there.
    current_slot : Out(1)
        The slot that is written.
    """

    latency = Reciprocal.slowest + Quantiser.latency + 5

    def __init__(self, depth: int, tables: int, words: int, digits: int = TRITS_PER_BYTE) -> None:
        self._depth = depth
        self._tables = tables
        self._words = words
        self._digits = digits
        measured = {
            "product_valid": In(1),
            "product": In(signed(NORMAL.bits)),
            "settled": In(1),
            "changed": In(1),
            "rise": In(LEVEL_BITS),
            "level": In(LEVEL_BITS),
            "peak": In(PEAK_BITS),
        }
        super().__init__(quantiser_ports(depth, tables, words, digits, measured, signed(INT8.bits)))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.reciprocal = reciprocal = Reciprocal()
        m.submodules.quantiser = quantiser = Quantiser()
        m.submodules.products = products = memory.Memory(
            shape=signed(NORMAL.bits), depth=self._depth, init=[]
        )
        read, write = products.read_port(), products.write_port()
        count = Signal(range(self._depth + 1))
        written, settled = Signal.like(count), Signal.like(count)
        m.d.comb += [
            write.addr.eq(written),
            write.data.eq(self.product),
            write.en.eq(self.product_valid),
            reciprocal.peak.eq(self.peak),
        ]

        # Where a level begins: the products before were taken at a lower one.
        begins = Array(Signal.like(count, name=f"begin{k}", reset_less=True) for k in range(LEVEL_MAX + 1))
        for k in range(1, LEVEL_MAX + 1):
            with m.If(self.settled & ~(self.level < k) & (self.level < k + self.rise)):
                m.d.sync += begins[k].eq(settled)
        with m.If(self.product_valid):
            m.d.sync += written.eq(written + 1)
        with m.If(self.settled):
            m.d.sync += settled.eq(settled + 1)

        element = Signal.like(count)
        element_level = Signal(LEVEL_BITS)
        passed = Signal(range(4))
        issue, level_ends = Signal(), Signal()
        raised = Cat(delay(m, level_ends, 2, "raised")[1:]).any()
        # Where the next level begins, if there is one, and whether the element is there: up to two cycles
        # late, which `raised` waits for; only `pending` is not. If it changes otherwise, the peak does, too.
        boundary, more_levels = Signal.like(count, reset_less=True), Signal()
        at_boundary, pending = Signal(), Signal()
        following = (element + 1)[: len(element)]
        m.d.sync += [
            boundary.eq(begins[(element_level + 1)[:LEVEL_BITS]]),
            more_levels.eq(element_level != self.level),
            at_boundary.eq(Mux(issue, boundary == following, boundary == element)),
            pending.eq(self.settled | Mux(issue, settled != following, settled != element)),
        ]
        # The first block's elements are all on their way, and nothing but a new peak can stop them. The last
        # of them are written before their word, the block's last one, is read.
        m.d.sync += self.first_soon.eq(~(element < self._digits * self._tables))
        digit = Signal(range(self._digits))
        stages = delay(m, issue, 2 + Quantiser.latency, "stage")
        # Whether all elements are on their way, a cycle late, which they hide; and whether any are.
        ended, under_way = Signal(), Signal()
        m.d.sync += [ended.eq(element == count), under_way.eq(Cat(stages[:-1]).any())]
        m.d.comb += [
            self.void.eq(1),
            read.addr.eq(element),
            self.q_write.eq(stages[-1]),
            self.certain.eq(self.measured & ~self.void),
            self.complete.eq(self.certain & ended & ~under_way),
        ]
        with m.If(self.q_write):
            m.d.sync += self.q_lane.eq(self.q_lane + 1)
            with m.If(self.q_lane == self._tables - 1):
                m.d.sync += [self.q_lane.eq(0), self.q_word.eq(self.q_word + 1), digit.eq(digit + 1)]
                with m.If(digit == self._digits - 1):
                    m.d.sync += [digit.eq(0), self.blocks.eq(self.blocks + 1)]
        state = Signal(_State, init=_State.QUANTISE)
        with m.Switch(state):
            with m.Case(_State.START):
                m.d.comb += reciprocal.start.eq(1)
                m.d.sync += [passed.eq(0), state.eq(_State.DIVIDE)]
            with m.Case(_State.DIVIDE):
                m.d.sync += [
                    element.eq(0), element_level.eq(0), self.blocks.eq(0), digit.eq(0),
                    self.q_lane.eq(0), self.q_word.eq(0),
                ]  # fmt: skip
                # A division that was cut off may still end in the first cycles.
                with m.If(passed != 3):
                    m.d.sync += passed.eq(passed + 1)
                with m.Elif(reciprocal.done):
                    m.d.sync += state.eq(_State.QUANTISE)
            with m.Case(_State.QUANTISE):
                m.d.comb += [
                    self.void.eq(0),
                    level_ends.eq(~raised & more_levels & at_boundary),
                ]
                with m.If(level_ends):
                    m.d.sync += element_level.eq(element_level + 1)
                with m.Elif(~raised & pending):
                    m.d.comb += issue.eq(1)
                    m.d.sync += element.eq(following)
        with m.If(self.clear):
            m.d.sync += [
                count.eq(self.count), self.current_slot.eq(self.slot), written.eq(0), settled.eq(0),
                state.eq(_State.FIRST),
            ]  # fmt: skip
        with m.Elif(self.changed):
            m.d.sync += state.eq(_State.START)

        # 1: the product is here; 2: aligned to the highest level; then the quantiser.
        behind = Signal(LEVEL_BITS, reset_less=True)
        aligned = Signal(signed(NORMAL.bits), reset_less=True)
        m.d.sync += [
            behind.eq(self.level - element_level),
            aligned.eq(shift_levels(read.data, behind)),
        ]
        m.d.comb += [
            quantiser.product.eq(aligned),
            quantiser.factor.eq(reciprocal.factor),
            quantiser.shift.eq(reciprocal.shift),
            self.q.eq(quantiser.q),
        ]
        return m
