"""Vector memory."""

from amaranth.hdl import Module, signed
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from ..models.numerics import VECTOR

__all__ = ["VectorStore"]


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
