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

    When the ring is full nothing is taken. Latency: 1 cycle from a byte taken to the byte to be written.
    Cost: the multiplexer of a result's bytes, counters of the bytes put and of the words that the host has.

    Attributes
    ----------
    raw, results : In(stream)
        The accelerator's; a token's raw logits come before it.
    emit_raw : In(1)
        Whether a token's scale is wanted.
    drop : In(1)
        Takes a result without its word, a cycle later.
    clear : In(1)
        Empties the ring.
    wanted : In(1)
        In the cycle before `ready`, at least.
    take, taken : In
        The host has everything before this position, in words.
    valid, byte : Out; ready : In(1)
        A byte of a word, the low one first, and 0 if none is wanted. `ready` only two cycles or more after
        `valid`, and not in the three cycles behind itself.
    write, position : Out
        A cycle after `ready`: the byte that was taken is to be written, and where.
    """

    latency = 1

    def __init__(self) -> None:
        bits = RING_WORDS.bit_length()
        super().__init__(
            {
                "raw": In(stream.Signature(RAW_LOGIT)),
                "results": In(stream.Signature(RESULT)),
                "emit_raw": In(1),
                "drop": In(1),
                "clear": In(1),
                "wanted": In(1),
                "take": In(1),
                "taken": In(bits),
                "valid": Out(1),
                "position": Out(bits + 1),
                "byte": Out(8),
                "ready": In(1),
                "write": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        taken = Signal(RING_WORDS.bit_length(), reset_less=True)
        parts = Signal(3, init=1, reset_less=True)
        token, mantissa, exponent = parts
        full, last = Signal(), Signal()
        high, words = self.position[0], self.position[1:]
        result = self.results.payload
        # Registers: the way to the accelerator and back is long. It has a raw logit or a result for some
        # cycles before a byte of it is taken.
        logit = Signal()
        byte: Value = C(0, 8)
        for name, chosen, word in (
            ("logit_byte", logit, self.raw.payload.sum[:16]),
            ("token_byte", ~logit & token, Cat(result.token[:15], result.last)),
            ("mantissa_byte", ~logit & mantissa, Cat(result.mantissa, C(0, 1))),
            ("exponent_byte", ~logit & exponent, Cat(result.exponent, result.exponent[-1].replicate(8))),
        ):
            # Each in a register, so that paths stay short.
            part = Signal(8, name=name, reset_less=True)
            m.d.sync += part.eq(word.word_select(high, 8))
            with m.If(~(chosen & self.wanted)):
                m.d.sync += part.eq(0)
            byte = byte | part
        m.d.comb += [
            self.valid.eq((self.raw.valid | self.results.valid) & ~full),
            last.eq(exponent | ~self.emit_raw),
        ]
        m.d.comb += self.byte.eq(byte)
        m.d.sync += [
            logit.eq(self.raw.valid),
            self.raw.ready.eq(self.ready & high & logit),
            self.results.ready.eq((self.ready & high & ~logit & last) | self.drop),
            self.write.eq(self.ready),
            # A cycle late, which is early enough: between two bytes there are several.
            full.eq(words == taken ^ RING_WORDS),
        ]
        with m.If(self.write):
            m.d.sync += self.position.eq(self.position + 1)
        with m.If(self.ready & high & ~logit & self.emit_raw):
            m.d.sync += parts.eq(parts.rotate_left(1))
        with m.If(self.take):
            m.d.sync += taken.eq(self.taken)
        with m.If(self.clear):
            m.d.sync += [self.position.eq(0), taken.eq(0), parts.eq(1)]
        return m
