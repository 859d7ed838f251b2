"""Takes tokens from the host, counts positions, and feeds sampled tokens back."""

from amaranth.hdl import Module, Signal, signed, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.data import ArrayLayout, StructLayout
from amaranth.lib.wiring import In, Out

from ..models.numerics import EXPONENT_BITS, SCALE
from .isa import COUNT_BITS

__all__ = ["RESULT", "STOPS", "TOKEN", "Conductor"]

TOKEN = StructLayout({"token": unsigned(COUNT_BITS), "logits": unsigned(1), "generate": unsigned(1)})
"""A token to consume; whether its logits are wanted; whether to go on with the token chosen from them."""

RESULT = StructLayout(
    {
        "token": unsigned(COUNT_BITS),
        "mantissa": unsigned(SCALE.bits),
        "exponent": signed(EXPONENT_BITS),
        "last": unsigned(1),
    }
)
"""A chosen token; the scale of its raw logits; whether the device now waits for the host."""

STOPS = 2
"""Number of stop tokens."""


class Conductor(wiring.Component):
    """Runs the sequencer once a token.

    After a token with `generate`, chosen tokens are consumed in turn until `new_tokens` have been chosen or a
    stop token was. Latency: 2 cycles a token. Cost: a 32-bit counter of positions and a 16-bit one of tokens.

    Attributes
    ----------
    tokens : In(stream), results : Out(stream)
        See `TOKEN` and `RESULT`.
    new_tokens, stops, stops_enabled, halt : In
        When to stop generating; `halt` stops at once.
    set_position, new_position : In
        Moves to a position while `idle`; 0 begins a text, with zero state.
    position : Out
        Number of tokens consumed.
    start, token, logits : Out; done, chosen, mantissa, exponent : In
        The sequencer's and the head's side.
    idle : Out(1)
        Waits for a token.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "tokens": In(stream.Signature(TOKEN)),
                "results": Out(stream.Signature(RESULT)),
                "new_tokens": In(COUNT_BITS),
                "stops": In(ArrayLayout(unsigned(COUNT_BITS), STOPS)),
                "stops_enabled": In(STOPS),
                "halt": In(1),
                "set_position": In(1),
                "new_position": In(32),
                "position": Out(32),
                "start": Out(1),
                "token": Out(COUNT_BITS),
                "logits": Out(1),
                "done": In(1),
                "chosen": In(COUNT_BITS),
                "mantissa": In(SCALE.bits),
                "exponent": In(signed(EXPONENT_BITS)),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        left = Signal(COUNT_BITS)
        stopped = Signal()
        m.d.comb += stopped.eq((left <= 1) | self.halt)
        for k in range(STOPS):
            with m.If(self.stops_enabled[k] & (self.stops[k] == self.chosen)):
                m.d.comb += stopped.eq(1)
        m.d.comb += [
            self.results.payload.token.eq(self.chosen),
            self.results.payload.mantissa.eq(self.mantissa),
            self.results.payload.exponent.eq(self.exponent),
            self.results.payload.last.eq(stopped),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.idle.eq(1)
                with m.If(self.set_position):
                    m.d.sync += self.position.eq(self.new_position)
                with m.Else():
                    m.d.comb += self.tokens.ready.eq(1)
                    with m.If(self.tokens.valid):
                        m.d.sync += [
                            self.token.eq(self.tokens.payload.token),
                            self.logits.eq(self.tokens.payload.logits),
                            left.eq(0),
                        ]
                        with m.If(self.tokens.payload.generate):
                            m.d.sync += left.eq(self.new_tokens)
                        m.next = "START"
            with m.State("START"):
                m.d.comb += self.start.eq(1)
                m.next = "RUN"
            with m.State("RUN"):
                with m.If(self.done):
                    m.d.sync += self.position.eq(self.position + 1)
                    m.next = "IDLE"
                    with m.If(self.logits):
                        m.next = "RESULT"
            with m.State("RESULT"):
                m.d.comb += self.results.valid.eq(1)
                with m.If(self.results.ready):
                    m.d.sync += [self.token.eq(self.chosen), left.eq(left - 1)]
                    m.next = "IDLE"
                    with m.If(~stopped):
                        m.next = "START"
        return m
