"""Vector memory."""

from amaranth.hdl import Module, Mux, ShapeLike, Signal, signed
from amaranth.lib import memory, wiring
from amaranth.lib.data import ArrayLayout
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from ..models.numerics import VECTOR

__all__ = ["VectorStore", "WordStore"]


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


class WordStore(wiring.Component):
    """Memory whose elements are written one by one or by the word, and read both ways at once.

    Each place of a word has a bank of its own, so a word can be read while one of its elements is written,
    of which alone nothing is known then. Latency: 1 cycle from address to element and word. Cost: the
    elements' bits in `width` memories, a choice of one of `width`.

    Parameters
    ----------
    shape
        Shape of an element.
    depth
        Number of elements; whole words are taken.
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
    fill, fill_word : In
        Writes the word in which the element at `write_address` lies instead.
    """

    latency = 1

    def __init__(self, shape: ShapeLike, depth: int, width: int) -> None:
        self._shape = shape
        self._width = width
        self._words = -(-depth // width)
        word = ArrayLayout(shape, width)
        super().__init__(
            {
                "read_address": In(range(depth)),
                "element": Out(shape),
                "word": Out(word),
                "write": In(1),
                "write_address": In(range(depth)),
                "write_element": In(shape),
                "fill": In(1),
                "fill_word": In(word),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        within = exact_log2(self._width)
        place = Signal(within)
        m.d.sync += place.eq(self.read_address)
        m.d.comb += self.element.eq(self.word[place])
        for k, element in enumerate(self.word):
            m.submodules[f"bank{k}"] = bank = memory.Memory(shape=self._shape, depth=self._words, init=[])
            read, write = bank.read_port(), bank.write_port()
            m.d.comb += [
                read.addr.eq(self.read_address[within:]),
                element.eq(read.data),
                write.addr.eq(self.write_address[within:]),
                write.data.eq(Mux(self.fill, self.fill_word[k], self.write_element)),
                write.en.eq(self.fill | (self.write & (self.write_address[:within] == k))),
            ]
        return m
