"""Vector memory."""

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import memory, wiring
from amaranth.lib.data import ArrayLayout
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from ..models.numerics import VECTOR

__all__ = ["VectorStore", "WideVectorStore"]


class VectorStore(wiring.Component):
    """Memory of VECTOR elements.

    Latency: 1 cycle from address to element. Cost: 32 bits an element.

    Parameters
    ----------
    depth
        Number of elements.

    Attributes
    ----------
    read_address, element :
        Read port.
    write, write_address, write_element : In
        Write port.
    """

    latency = 1

    def __init__(self, depth: int) -> None:
        self._depth = depth
        super().__init__(
            {
                "read_address": In(range(depth)),
                "element": Out(signed(VECTOR.bits)),
                "write": In(1),
                "write_address": In(range(depth)),
                "write_element": In(signed(VECTOR.bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.memory = store = memory.Memory(shape=signed(VECTOR.bits), depth=self._depth, init=[])
        read, write = store.read_port(), store.write_port()
        m.d.comb += [
            read.addr.eq(self.read_address),
            self.element.eq(read.data),
            write.addr.eq(self.write_address),
            write.data.eq(self.write_element),
            write.en.eq(self.write),
        ]
        return m


class WideVectorStore(wiring.Component):
    """`VectorStore` whose elements are read by the word as well.

    Latency: 1 cycle from address to element and word. Cost: 24 bits an element, a choice of one of `width`.

    Parameters
    ----------
    depth
        Number of elements, a multiple of `width`.
    width
        Elements of a word, a power of two.

    Attributes
    ----------
    read_address, element :
        Read port.
    word : Out
        The word in which `element` lies: the elements at its address rounded down to a word's, and behind.
    write, write_address, write_element : In
        Write port.
    """

    latency = 1

    def __init__(self, depth: int, width: int) -> None:
        self._depth = depth
        self._width = width
        super().__init__(
            {
                "read_address": In(range(depth)),
                "element": Out(signed(VECTOR.bits)),
                "word": Out(ArrayLayout(signed(VECTOR.bits), width)),
                "write": In(1),
                "write_address": In(range(depth)),
                "write_element": In(signed(VECTOR.bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        within = exact_log2(self._width)
        m.submodules.memory = store = memory.Memory(
            shape=ArrayLayout(signed(VECTOR.bits), self._width), depth=self._depth >> within, init=[]
        )
        read, write = store.read_port(), store.write_port(granularity=1)
        place = Signal(within)
        m.d.sync += place.eq(self.read_address)
        m.d.comb += [
            read.addr.eq(self.read_address >> within),
            self.word.eq(read.data),
            self.element.eq(read.data[place]),
            write.addr.eq(self.write_address >> within),
            write.en.eq(self.write << self.write_address[:within]),
            *(each.eq(self.write_element) for each in write.data),
        ]
        return m
