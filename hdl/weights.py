"""Buffer of vector weights between the weight memory and the vector unit."""

from amaranth.hdl import Module, Signal, unsigned
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ..models.numerics import WEIGHT

__all__ = ["WeightBuffer"]


class WeightBuffer(wiring.Component):
    """FIFO whose weights are promised before they are taken.

    Rows of a matrix product are long on their way through dot product, rescaler and epilogue, and can't wait
    where they meet their weight. So a weight is reserved when a row begins, and taken when it arrives.
    Latency: 1 cycle from `pop` to `weight`. Cost: 16 bits a weight, three pointers.

    Parameters
    ----------
    depth
        Number of weights; a power of two is taken.

    Attributes
    ----------
    weights : In(stream)
        Weights from the memory.
    available : Out(1)
        A weight can be reserved.
    reserve : In(1)
        Reserves the next; only while `available`.
    pop : In(1)
        Takes the oldest one reserved.
    weight : Out
        The one taken a cycle before.
    """

    latency = 1

    def __init__(self, depth: int) -> None:
        self._bits = max(2, ceil_log2(depth))
        super().__init__(
            {
                "weights": In(stream.Signature(unsigned(WEIGHT.bits))),
                "available": Out(1),
                "reserve": In(1),
                "pop": In(1),
                "weight": Out(WEIGHT.bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        depth = 1 << self._bits
        m.submodules.memory = store = memory.Memory(shape=unsigned(WEIGHT.bits), depth=depth, init=[])
        read, write = store.read_port(), store.write_port()
        written, reserved, taken = (
            Signal(self._bits + 1, name=name) for name in ("written", "reserved", "taken")
        )
        # Registers, since much is decided by them. What is written, and what is taken, they see a cycle late:
        # so the last two places are filled more slowly, and a lone weight is not followed by one at once.
        room, available = Signal(init=1), Signal()
        ahead, held = (written - reserved)[: self._bits + 1], (written - taken)[: self._bits + 1]
        m.d.sync += [
            # More than one, or one that is not reserved; fewer than depth - 2, or than depth if none comes.
            available.eq(ahead[1:].any() | (ahead[0] & ~self.reserve)),
            room.eq(~held[-1] & ~(held[1:-1].all() & write.en)),
        ]
        m.d.comb += [self.weights.ready.eq(room), self.available.eq(available)]
        m.d.comb += [
            write.addr.eq(written),
            write.data.eq(self.weights.payload),
            write.en.eq(self.weights.valid & self.weights.ready),
            read.addr.eq(taken),
            self.weight.eq(read.data),
        ]
        with m.If(write.en):
            m.d.sync += written.eq(written + 1)
        with m.If(self.reserve):
            m.d.sync += reserved.eq(reserved + 1)
        with m.If(self.pop):
            m.d.sync += taken.eq(taken + 1)
        return m
