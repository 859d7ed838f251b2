"""Counts the cycles that the accelerator spends on one cause."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .counting import loaded
from .protocol import COUNTER_BYTES
from .settings import CAUSE_BITS

__all__ = ["Counter"]

_LOWER_BITS = 12
"""Carried over by a register: long carry chains are slow."""


class Counter(wiring.Component):
    """Counts cycles in which the accelerator is not idle, and its cause is the watched one.

    It is read byte by byte from its low end, and is as before when all have been read. Latency: 3 cycles.
    Cost: 32 bits, and a comparison of causes.

    Attributes
    ----------
    idle, cause : In
        The accelerator's.
    watched : In
        A cause, or with the highest bit all.
    rotate : In(1)
        Moves on to the next byte; the accelerator has been idle for 3 cycles.
    clear : In(1)
        Begins anew.
    byte : Out(8)
        The byte to be read.
    """

    latency = 3

    def __init__(self) -> None:
        super().__init__(
            {
                "idle": In(1),
                "cause": In(CAUSE_BITS),
                "watched": In(CAUSE_BITS + 1),
                "rotate": In(1),
                "clear": In(1),
                "byte": Out(8),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        counter = Signal(8 * COUNTER_BYTES, reset_less=True)
        lower, upper = counter[:_LOWER_BITS], counter[_LOWER_BITS:]
        rotated = counter.rotate_right(8)
        idle, still_idle = Signal(), Signal()
        counts, carries = Signal(), Signal()
        total = Signal(_LOWER_BITS + 1)
        m.d.comb += [
            self.byte.eq(counter[:8]),
            # What is added while it rotates does not matter: see `loaded`.
            total.eq(lower + idle.replicate(_LOWER_BITS) + 1),
        ]
        m.d.sync += [
            idle.eq(self.idle),
            still_idle.eq(idle),
            counts.eq(~self.idle & (self.watched[-1] | (self.cause == self.watched[:-1]))),
            carries.eq(counts & total[-1]),
        ]
        with m.If(self.rotate | counts):
            m.d.sync += lower.eq(Mux(idle, rotated[:_LOWER_BITS], total[:_LOWER_BITS]))
        with m.If(self.rotate | carries):
            m.d.sync += upper.eq(loaded(still_idle, rotated[_LOWER_BITS:], upper))
        with m.If(self.clear):
            m.d.sync += counter.eq(0)
        return m
