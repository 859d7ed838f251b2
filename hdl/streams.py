"""Takes numbers out of weight beats: one a cycle, or a word of several."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from .isa import COUNT_BITS

__all__ = ["HEADER_BITS", "Unpacker"]

HEADER_BITS = 64


class Unpacker(wiring.Component):
    """Beats in, vectors of 16-bit elements out: int16, or int8 sign-extended; and headers, kept whole.

    Latency: 1 cycle from a beat to its first element. One element a cycle, or of int16 a word of `width`,
    without a bubble between beats; what is left of a vector's last beat is dropped. Cost: a register as wide
    as a beat.

    Parameters
    ----------
    beat_bits
        Width of a beat, a multiple of 64.
    count_bits
        Bits of a vector's number of elements.
    width
        Elements of a word, a power of two.

    Attributes
    ----------
    beats : In(stream)
        Beats, the first element in the low bits.
    soon : Out(1)
        A beat that comes two cycles later finds its place, unless `elements` are not taken meanwhile.
    elements : Out(stream)
        Elements as 16-bit two's complement, a word of them, the first in the low bits; of int8 one alone.
    start : In(1)
        Begins a vector of `count` elements, int8 if `bytes` is high, else int16; the one before must have
        ended.
    take_header : In(1)
        Takes the next beat as a header; held until `header_taken`. Not during a vector.
    header, header_taken : Out
        A header, 64 bits, in the cycle in which it is taken.
    idle : Out(1)
        All elements of the vector have left.

    Raises
    ------
    ValueError
        If `beat_bits` is no multiple of 64, or its elements are not whole words.
    """

    latency = 1

    def __init__(self, beat_bits: int, count_bits: int = COUNT_BITS, width: int = 1) -> None:
        if beat_bits <= 0 or beat_bits % HEADER_BITS:
            raise ValueError(f"a beat must be a multiple of {HEADER_BITS} bits wide, not {beat_bits}")
        if beat_bits % (16 * width):
            raise ValueError(f"a beat of {beat_bits} bits has no whole number of words of {width} elements")
        self._beat_bits = beat_bits
        self._count_bits = count_bits
        self._width = width
        super().__init__(
            {
                "beats": In(stream.Signature(unsigned(beat_bits))),
                "soon": Out(1),
                "elements": Out(stream.Signature(unsigned(16 * width))),
                "start": In(1),
                "count": In(count_bits),
                "bytes": In(1),
                "take_header": In(1),
                "header": Out(HEADER_BITS),
                "header_taken": Out(1),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        lanes = self._beat_bits // 8
        word = 16 * self._width
        held = Signal(self._beat_bits, reset_less=True)
        left = Signal(range(lanes + 1))
        wanted = Signal(self._count_bits)
        # What decides about a beat, in registers: whether there is an element; the last one of a beat, of
        # all; a beat is wanted, or is when this element has left, or when the third one has.
        empty, last, done, ending = Signal(init=1), Signal(), Signal(init=1), Signal()
        dry, brim, near = Signal(), Signal(), Signal()
        narrow = Signal()
        step, load = Signal(), Signal()
        # Of two bytes the second is taken in place, so that what is held only moves by 16 bits, or by a word.
        second, moves = Signal(), Signal()
        low = Mux(second, held[8:16], held[:8])
        m.d.comb += self.elements.payload.eq(
            Cat(low, Mux(narrow, low[-1].replicate(8), held[8:16]), held[16:word])
        )
        m.d.comb += [
            self.elements.valid.eq(~empty),
            self.idle.eq(done),
            step.eq(self.elements.valid & self.elements.ready),
            load.eq(self.beats.valid & ~self.take_header & (dry | (brim & step))),
            self.beats.ready.eq(self.take_header | dry | (brim & step)),
            self.soon.eq(self.take_header | dry | (near & self.elements.ready)),
            self.header_taken.eq(self.take_header & self.beats.valid),
            self.header.eq(self.beats.payload),
        ]
        with m.If(step):
            m.d.sync += [
                left.eq(left - 1), last.eq(left == 2), empty.eq(last),
                wanted.eq(wanted - 1), ending.eq(wanted == 2), done.eq(ending),
                dry.eq(last & ~ending), brim.eq((left == 2) & (wanted != 2)),
                near.eq((left == 4) & ~(wanted < 5)),
                second.eq(narrow & ~second), moves.eq(~narrow | ~second),
            ]  # fmt: skip
            with m.If(moves):
                m.d.sync += held.eq(held >> 16 if word == 16 else Mux(narrow, held >> 16, held >> word))
        with m.If(load):
            m.d.sync += [
                held.eq(self.beats.payload), left.eq(Mux(narrow, lanes, 8 * lanes // word)),
                last.eq(0), empty.eq(0), second.eq(0), moves.eq(~narrow),
                dry.eq(0), brim.eq(0), near.eq(0),
            ]  # fmt: skip
        if lanes * 8 == word:  # a word is a beat, so it is its last one as it comes
            with m.If(load & ~narrow):
                m.d.sync += [last.eq(1), brim.eq(~Mux(step, wanted == 2, ending))]
        with m.If(step & ending):
            m.d.sync += empty.eq(1)
        count: Value = self.count
        if self._width > 1:
            words = (count + self._width - 1) >> exact_log2(self._width)
            count = Mux(self.bytes, count, words)
        with m.If(self.start):
            m.d.sync += [
                wanted.eq(count), ending.eq(count == 1), done.eq(count == 0),
                dry.eq(count != 0), narrow.eq(self.bytes),
            ]  # fmt: skip
        return m
