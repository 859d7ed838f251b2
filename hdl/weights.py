"""Buffer of vector weights between the weight memory and the vector unit."""

from amaranth.hdl import C, Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2, exact_log2

from ..models.numerics import WEIGHT

__all__ = ["WeightBuffer"]


class WeightBuffer(wiring.Component):
    """FIFO whose weights are promised before they are taken.

    Rows of a matrix product are long on their way through dot product, rescaler and epilogue, and can't wait
    where they meet their weight. So a weight is reserved when a row begins, and taken when it arrives: by the
    word, where a word has several.
    Latency: 1 cycle from `pop` to `weight`. Cost: 16 bits a weight, two pointers and a counter.

    Parameters
    ----------
    depth
        Number of weights; a power of two is taken.
    width
        Weights of a word, a power of two.

    Attributes
    ----------
    weights : In(stream)
        Words of weights from the memory.
    available, soon : Out(1)
        A weight, or a whole word, can be reserved; it certainly can in the next cycle.
    reserve, may_reserve : In(1)
        Reserves the next weight; only while `available`. The second one, which only `soon` looks at, tells
        early in a cycle that the first may come in it: `soon` is right if no other weight is reserved then.
    pop : In(1)
        Takes the oldest word of which a weight is reserved.
    weight : Out
        The word taken a cycle before.
    clear, by_word : In(1)
        If `width` is more than 1: a vector begins, for which nothing is reserved yet; `reserve` reserves a
        word.
    """

    latency = 1

    def __init__(self, depth: int, width: int = 1) -> None:
        self._bits = max(2, ceil_log2(-(-depth // width)))
        self._within = exact_log2(width)
        self._word = unsigned(WEIGHT.bits * width)
        ports = {
            "weights": In(stream.Signature(self._word)),
            "available": Out(1),
            "soon": Out(1),
            "reserve": In(1),
            "may_reserve": In(1),
            "pop": In(1),
            "weight": Out(self._word),
        }
        super().__init__(ports if width == 1 else ports | {"clear": In(1), "by_word": In(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        depth = 1 << self._bits
        m.submodules.memory = store = memory.Memory(shape=self._word, depth=depth, init=[])
        read, write = store.read_port(), store.write_port()
        written, taken, ahead = (Signal(self._bits + 1, name=name) for name in ("written", "taken", "ahead"))
        # `ahead` counts what is written and not reserved.
        opens, begun = self._by_word(m) if self._within else (self.reserve, None)
        # Registers, since much is decided by them. What is written, and what is taken, they see a cycle late:
        # so the last two places are filled more slowly, and a lone word is not followed by one at once.
        room, available = Signal(init=1), Signal()
        held = (written - taken)[: self._bits + 1]

        def left(reserved: Value) -> Value:
            """More than one, or one that is not reserved; or a word of which one was."""
            more = ahead[1:].any() | (ahead[0] & ~reserved)
            return more | begun if self._within else more

        m.d.comb += self.soon.eq(left(self.may_reserve))
        # Fewer are held than depth - 2, or than depth if none comes.
        m.d.sync += [
            available.eq(left(opens)),
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
        with m.If(write.en != opens):
            m.d.sync += ahead.eq(ahead + Cat(C(1, 1), opens.replicate(self._bits)))
        with m.If(self.pop):
            m.d.sync += taken.eq(taken + 1)
        return m

    def _by_word(self, m: Module) -> tuple[Value, Value]:
        """Whether a word is reserved, with its first weight; whether a word's other weights still can be."""
        place, then = Signal(self._within), Signal(self._within)
        m.d.comb += then.eq(Mux(self.clear, 0, place + (self.reserve & ~self.by_word)))
        m.d.sync += place.eq(then)
        return self.reserve & (place == 0), then.any()
