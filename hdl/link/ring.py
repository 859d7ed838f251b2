"""Takes results apart into the words of the link's ring."""

from amaranth.hdl import C, Cat, Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..accelerator import RAW_LOGIT
from ..conductor import RESULT
from .protocol import RING_WORDS

__all__ = ["Ring"]


class Ring(wiring.Component):
    """Takes raw logits and results apart into words of the ring, as docs/link.md describes them.

    When the ring is full nothing is taken. Latency: none; 2 cycles a word. Cost: the multiplexer of a
    result's bytes, counters of the bytes put and of the words that the host has.

    Attributes
    ----------
    raw, results : In(stream)
        The accelerator's; a token's raw logits come before it.
    emit_raw : In(1)
        Whether a token's scale is wanted.
    drop : In(1)
        Takes a result without its word.
    clear : In(1)
        Empties the ring.
    take, taken : In
        The host has everything before this position, in words.
    valid, position, byte : Out; ready : In(1)
        A byte to be written, and where; `byte` is of the word, low byte first. `ready` only while `valid`.
    """

    def __init__(self) -> None:
        bits = RING_WORDS.bit_length()
        super().__init__(
            {
                "raw": In(stream.Signature(RAW_LOGIT)),
                "results": In(stream.Signature(RESULT)),
                "emit_raw": In(1),
                "drop": In(1),
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
        taken = Signal(RING_WORDS.bit_length())
        parts = Signal(3, init=1)
        token, mantissa, exponent = parts
        full, last = Signal(), Signal()
        put = self.ready
        high, words = self.position[0], self.position[1:]
        result = self.results.payload
        logit = self.raw.valid
        byte: Value = C(0, 8)
        for chosen, word in (
            (logit, self.raw.payload.sum[:16]),
            (~logit & token, Cat(result.token[:15], result.last)),
            (~logit & mantissa, Cat(result.mantissa, C(0, 1))),
            (~logit & exponent, Cat(result.exponent, result.exponent[-1].replicate(8))),
        ):
            byte = byte | (word.word_select(high, 8) & chosen.replicate(8))
        m.d.comb += [
            self.valid.eq((logit | self.results.valid) & ~full),
            self.byte.eq(byte),
            last.eq(exponent | ~self.emit_raw),
            self.raw.ready.eq(put & high),
            self.results.ready.eq((put & high & ~logit & last) | self.drop),
        ]
        # A cycle late, which is early enough: between two bytes there are several.
        m.d.sync += full.eq(words == taken ^ RING_WORDS)
        with m.If(put):
            m.d.sync += self.position.eq(self.position + 1)
        with m.If(put & high & ~logit & self.emit_raw):
            m.d.sync += parts.eq(parts.rotate_left(1))
        with m.If(self.take):
            m.d.sync += taken.eq(self.taken)
        with m.If(self.clear):
            m.d.sync += [self.position.eq(0), taken.eq(0), parts.eq(1)]
        return m
