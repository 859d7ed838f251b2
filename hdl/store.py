"""Vector memory that knows how wide its widest element is."""

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from ..models.numerics import VECTOR

__all__ = ["VectorStore"]


class VectorStore(wiring.Component):
    """Memory of VECTOR elements, with `numerics.magnitude_or` of what was written since `clear`.

    Latency: 1 cycle from address to element. Cost: 32 bits an element, 31 flip-flops.

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
    clear : In(1)
        Forgets the magnitude.
    magnitude : Out
        OR of the elements' bits, negative ones inverted.
    """

    def __init__(self, depth: int) -> None:
        self._depth = depth
        super().__init__(
            {
                "read_address": In(range(depth)),
                "element": Out(signed(VECTOR.bits)),
                "write": In(1),
                "write_address": In(range(depth)),
                "write_element": In(signed(VECTOR.bits)),
                "clear": In(1),
                "magnitude": Out(VECTOR.bits - 1),
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
        size = Signal(VECTOR.bits - 1)
        m.d.comb += size.eq(self.write_element[:-1] ^ self.write_element[-1].replicate(VECTOR.bits - 1))
        with m.If(self.clear):
            m.d.sync += self.magnitude.eq(0)
        with m.Elif(self.write):
            m.d.sync += self.magnitude.eq(self.magnitude | size)
        return m
