"""Takes tokens from the host, counts positions, and feeds sampled tokens back."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.data import ArrayLayout, StructLayout
from amaranth.lib.wiring import In, Out

from ..models.numerics import EXPONENT_BITS, SCALE
from .isa import COUNT_BITS

__all__ = ["RESULT", "STOPS", "STREAM_BITS", "TOKEN", "Conductor"]

STREAM_BITS = 4
"""Bits of a stream's number."""

TOKEN = StructLayout(
    {
        "token": unsigned(COUNT_BITS),
        "logits": unsigned(1),
        "new_tokens": unsigned(COUNT_BITS),
        "stream": unsigned(STREAM_BITS),
    }
)
"""A token to consume; whether its logits are wanted; how many to choose and consume after it; whose it is."""

RESULT = StructLayout(
    {
        "token": unsigned(COUNT_BITS),
        "mantissa": unsigned(SCALE.bits),
        "exponent": signed(EXPONENT_BITS),
        "last": unsigned(1),
        "stream": unsigned(STREAM_BITS),
    }
)
"""A chosen token; the scale of its raw logits; whether its stream now waits for the host; which one it is."""

STOPS = 2
"""Number of stop tokens."""


class Conductor(wiring.Component):
    """Runs the sequencer once for a step: a token of each stream that has one.

    A step begins when the host offers no token that could still join it. After a token with `new_tokens`,
    chosen tokens are consumed in turn until so many have been chosen or a stop token was. With `chain` so
    many streams, the first ones, are successive positions of one text, the first stream's, and a step waits
    for a token for each. Latency: `latency` cycles, at most, from `done` to the next `start`, if results are
    taken at once. Cost: for each stream a 32-bit counter of positions, a 16-bit one of tokens, a 16-bit
    token.

    Parameters
    ----------
    streams
        Number of streams.

    Attributes
    ----------
    tokens : In(stream), results : Out(stream)
        See `TOKEN` and `RESULT`.
    stops, stops_enabled, halt : In
        When to stop generating; `halt` stops at once.
    chain : In
        Streams that are positions of one text; 0 where each stream has its own.
    set_position, position_stream, new_position : In
        Moves a stream to a position while `idle`; 0 begins a text, with zero state.
    positions : Out
        Number of tokens that each stream has consumed. With `chain` that is the first stream's; the others'
        numbers mean nothing then, nor behind it until `set_position`.
    start, token, active, logits : Out; done, chosen, mantissa, exponent : In
        The sequencer's and the heads' side: a step of the streams that are `active`, those that want logits.
    idle : Out(1)
        Waits for a token.

    Raises
    ------
    ValueError
        If the number of streams is out of range.
    """

    def __init__(self, streams: int = 1) -> None:
        if not 1 <= streams <= 1 << STREAM_BITS:
            raise ValueError(f"a conductor has from 1 to {1 << STREAM_BITS} streams, not {streams}")
        self._streams = streams
        counts = ArrayLayout(unsigned(COUNT_BITS), streams)
        super().__init__(
            {
                "tokens": In(stream.Signature(TOKEN)),
                "results": Out(stream.Signature(RESULT)),
                "stops": In(ArrayLayout(unsigned(COUNT_BITS), STOPS)),
                "stops_enabled": In(STOPS),
                "halt": In(1),
                "chain": In(range(streams + 1)),
                "set_position": In(1),
                "position_stream": In(STREAM_BITS),
                "new_position": In(32),
                "positions": Out(ArrayLayout(unsigned(32), streams)),
                "start": Out(1),
                "token": Out(counts),
                "active": Out(streams),
                "logits": Out(streams),
                "done": In(1),
                "chosen": In(counts),
                "mantissa": In(ArrayLayout(unsigned(SCALE.bits), streams)),
                "exponent": In(ArrayLayout(signed(EXPONENT_BITS), streams)),
                "idle": Out(1),
            }
        )

    @property
    def latency(self) -> int:
        """See above."""
        return 2 * self._streams + 1

    def elaborate(self, platform: object) -> Module:
        m = Module()
        streams = range(self._streams)
        offered = self.tokens.payload
        left = Array(Signal(COUNT_BITS, name=f"left{k}", reset_less=True) for k in streams)
        at = Signal(range(self._streams))
        free, last = Signal(), Signal()
        chosen = Signal(COUNT_BITS)
        here = self.active.bit_select(at, 1)
        m.d.comb += [
            free.eq(~self.active.bit_select(offered.stream, 1) & (offered.stream < self._streams)),
            chosen.eq(Array(self.chosen)[at]),
            self.results.payload.token.eq(chosen),
            self.results.payload.mantissa.eq(Array(self.mantissa)[at]),
            self.results.payload.exponent.eq(Array(self.exponent)[at]),
            self.results.payload.last.eq(last),
            self.results.payload.stream.eq(at),
        ]
        # Known a cycle after what is chosen, which stands long before a step is done.
        stopped, enough = Signal(STOPS), Signal()
        m.d.sync += [
            stopped.eq(Cat(self.stops_enabled[k] & (self.stops[k] == chosen) for k in range(STOPS))),
            enough.eq(left[at] <= 1),
        ]
        m.d.comb += last.eq(enough | stopped.any() | self.halt)
        gathered: Value = self.active.all()
        if self._streams > 1:
            gathered = Cat(self.active[k] | (self.chain < k + 1) for k in streams).all()
        together = self.chain if self._streams > 1 else 1
        with m.FSM():
            with m.State("GATHER"):
                m.d.comb += [
                    self.idle.eq(self.active == 0),
                    self.tokens.ready.eq(free & ~self.set_position),
                ]
                with m.If(self.set_position):
                    for k in streams:
                        with m.If(self.position_stream == k):
                            m.d.sync += self.positions[k].eq(self.new_position)
                with m.Elif(self.tokens.valid & free):
                    for k in streams:
                        with m.If(offered.stream == k):
                            m.d.sync += [
                                self.token[k].eq(offered.token),
                                self.logits[k].eq(offered.logits),
                                self.active[k].eq(1),
                                left[k].eq(offered.new_tokens),
                            ]
                with m.Elif(Mux(self.chain, gathered, self.active.any())):
                    m.next = "START"
            with m.State("START"):
                m.d.comb += self.start.eq(1)
                with m.If(self.chain):
                    for k in streams[1:]:
                        m.d.sync += self.positions[k].eq(self.positions[0] + k)
                m.next = "RUN"
            with m.State("RUN"):
                with m.If(self.done):
                    for k in streams:
                        with m.If(self.active[k]):
                            m.d.sync += self.positions[k].eq(self.positions[k] + 1)
                    with m.If(self.chain):
                        m.d.sync += self.positions[0].eq(self.positions[0] + together)
                    m.next = "RESULT"
            with m.State("RESULT"):
                m.d.comb += self.results.valid.eq(here & self.logits.bit_select(at, 1))
                with m.If(~self.results.valid | self.results.ready):
                    for k in streams:
                        with m.If(at == k):
                            m.d.sync += [self.token[k].eq(chosen), left[k].eq(left[k] - 1)]
                            with m.If(~self.results.valid | last):
                                m.d.sync += self.active[k].eq(0)
                    m.d.sync += at.eq(at + 1)
                    m.next = "OTHER"
                    with m.If(at == self._streams - 1):
                        m.d.sync += at.eq(0)
                        m.next = "GATHER"
            with m.State("OTHER"):
                m.next = "RESULT"
        return m
