"""Makes words of elements that come one by one."""

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.data import ArrayLayout
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from ..models.numerics import VECTOR

__all__ = ["Gatherer"]


class Gatherer(wiring.Component):
    """Gathers a vector's elements, as epilogues produce them, into words for `WideMeasure`.

    What a last word lacks is 0. Latency: `latency` cycles from a word's last element to the word. Cost: a
    word in flip-flops, a counter.

    Parameters
    ----------
    width
        Elements of a word, a power of two.
    count_bits
        Bits of a vector's number of elements.

    Attributes
    ----------
    clear, count : In
        Begins a vector of `count` elements.
    valid, element : In
        An element.
    word_valid, word : Out
        A word of them.
    """

    latency = 1

    def __init__(self, width: int, count_bits: int) -> None:
        self._width = width
        self._count_bits = count_bits
        super().__init__(
            {
                "clear": In(1),
                "count": In(count_bits),
                "valid": In(1),
                "element": In(signed(VECTOR.bits)),
                "word_valid": Out(1),
                "word": Out(ArrayLayout(signed(VECTOR.bits), self._width)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        left = Signal(self._count_bits)
        place = Signal(exact_log2(self._width))
        m.d.sync += self.word_valid.eq(self.valid & ((place == self._width - 1) | (left == 1)))
        with m.If(self.valid):
            m.d.sync += [left.eq(left - 1), place.eq(place + 1)]
        for k, each in enumerate(self.word):
            with m.If(self.valid & (place == k)):
                m.d.sync += each.eq(self.element)
            with m.Elif(self.valid & (place == 0)):
                m.d.sync += each.eq(0)
        with m.If(self.clear):
            m.d.sync += [left.eq(self.count), place.eq(0)]
        return m
