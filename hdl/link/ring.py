"""Puts results into the link's ring, byte by byte."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..accelerator import RAW_LOGIT
from ..conductor import RESULT
from .protocol import RING_WORDS

__all__ = ["Ring"]

_PARTS = 3
"""Words of a result: token, mantissa, exponent."""


class Ring(wiring.Component):
    """Takes raw logits and results apart into words of the ring, as docs/link.md describes them.

    When the ring is full nothing is taken. Latency: none; 2 cycles a word. Cost: the multiplexer of a
    result's bytes, counters of the bytes put and of the words that the host has.

    Attributes
    ----------
    raw, results : In(stream)
        The accelerator's; a token's raw logits come before it.
    emit_raw, text : In(1)
        Whether a token's scale is wanted; whether results are somebody else's.
    clear : In(1)
        Empties the ring.
    take, taken : In
        The host has everything before this position, in words.
    valid, position, byte : Out; ready : In(1)
        A byte to be written, and where; `byte` is of the word, low byte first.
    """

    def __init__(self) -> None:
        bits = RING_WORDS.bit_length()
        super().__init__(
            {
                "raw": In(stream.Signature(RAW_LOGIT)),
                "results": In(stream.Signature(RESULT)),
                "emit_raw": In(1),
                "text": In(1),
                "clear": In(1),
                "take": In(1),
                "taken": In(bits),
                "valid": Out(1),
                "position": Out(bits + 1),
                "byte": Out(8),
                "ready": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bits = RING_WORDS.bit_length()
        taken = Signal(bits)
        part = Signal(range(_PARTS))
        full, put, last = Signal(), Signal(), Signal()
        high, words = self.position[0], self.position[1:]
        result = self.results.payload
        token = Cat(result.token[:15], result.last)
        exponent = Cat(result.exponent, result.exponent[-1].replicate(8))
        word = Mux(self.raw.valid, self.raw.payload.sum[:16], Array([token, result.mantissa, exponent])[part])
        m.d.comb += [
            full.eq(words == taken ^ RING_WORDS),
            self.valid.eq((self.raw.valid | (self.results.valid & ~self.text)) & ~full),
            put.eq(self.valid & self.ready),
            self.byte.eq(word.word_select(high, 8)),
            last.eq((part == _PARTS - 1) | ~self.emit_raw),
            self.raw.ready.eq(put & high),
            self.results.ready.eq(put & high & ~self.raw.valid & last),
        ]
        with m.If(put):
            m.d.sync += self.position.eq(self.position + 1)
        with m.If(put & high & ~self.raw.valid):
            m.d.sync += part.eq(Mux(last, 0, part + 1))
        with m.If(self.take):
            m.d.sync += taken.eq(self.taken)
        with m.If(self.clear):
            m.d.sync += [self.position.eq(0), taken.eq(0), part.eq(0)]
        return m
