"""From runs of weight beats to bursts on a memory bus, and back from its words to beats."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import ceil_log2, exact_log2

from ..sequencer import REQUEST

__all__ = ["PAGE", "BurstReader", "beat_stride"]

PAGE = 4096
"""Bytes; no burst crosses a multiple of it."""

_BURSTS = 4
_REQUESTS = 4


def beat_stride(beat_bits: int) -> int:
    """Bytes from one weight beat to the next in a bus's memory: a power of two, the rest is padding."""
    return int(1 << ceil_log2(-(-beat_bits // 8)))


class BurstReader(wiring.Component):
    """The part of a read master that does not depend on the bus.

    A beat lies at `base` + number * `beat_stride`. The data bus is as wide as that, at most `widest`; a beat
    then takes several words, the lowest first. A burst is asked for when its channel's buffer has room for a
    whole one, so that data never have to wait: one channel's stall cannot stop the other. The last channel
    goes first. A channel takes four requests in advance. Latency: 4 cycles from request to burst, 2 from a
    beat's last word to the beat. Throughput: a word a cycle. Cost: a buffer of four bursts a channel, one of
    four requests, and two counters of 32 bits.

    Parameters
    ----------
    channels
        Number of read channels of the accelerator.
    beat_bits
        Width of a weight beat.
    widest
        Most bits of data, a power of two.
    address_bits
        Width of an address.
    burst
        Longest burst in words; a power of two, cut to what 4 KiB hold.

    Attributes
    ----------
    data_bits : int
        Width of the bus's data.
    requests : In(stream), beats : Out(stream)
        One of each a channel.
    base : In
        Address of the image, a multiple of 4,096.
    bursts : Out(stream)
        Bursts wanted: byte address, length in words, channel.
    data, data_channel, data_valid : In
        Words that come back; those of one channel in the order in which they were asked for.
    """

    def __init__(self, channels: int, beat_bits: int, widest: int, address_bits: int, burst: int) -> None:
        stride = 8 * beat_stride(beat_bits)
        self.data_bits: int = min(stride, widest)
        self._words = stride // self.data_bits
        self._burst = min(burst, PAGE * 8 // self.data_bits)
        self._channels = channels
        self._beat_bits = beat_bits
        channel = unsigned(max(1, (channels - 1).bit_length()))
        layout = StructLayout(
            {
                "address": unsigned(address_bits),
                "length": unsigned(self._burst.bit_length()),
                "channel": channel,
            }
        )
        super().__init__(
            {
                "requests": In(stream.Signature(REQUEST)).array(channels),
                "beats": Out(stream.Signature(unsigned(beat_bits))).array(channels),
                "base": In(address_bits),
                "bursts": Out(stream.Signature(layout)),
                "data": In(self.data_bits),
                "data_channel": In(channel),
                "data_valid": In(1),
            }
        )

    def attach(self, m: Module, master: Any) -> None:
        """Connect the accelerator's side to a bus master's members of the same names."""
        m.d.comb += self.base.eq(master.base)
        for ours, theirs in zip(self.requests, master.requests, strict=True):
            connect(m, ours, flipped(theirs))
        for ours, theirs in zip(self.beats, master.beats, strict=True):
            connect(m, ours, flipped(theirs))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        out: Any = self.bursts
        free = Signal()
        m.d.comb += free.eq(~out.valid | out.ready)
        with m.If(out.ready):
            m.d.sync += out.valid.eq(0)
        earlier = free
        for k in reversed(range(self._channels)):
            earlier = self._channel(m, k, earlier)
        return m

    def _channel(self, m: Module, k: int, may_ask: Any) -> Any:
        """One channel; it may ask for a burst if `may_ask`; return whether the next channel may."""
        request, beats, out = self.requests[k], self.beats[k], self.bursts
        words, burst = self._words, self._burst
        depth = max(2, _BURSTS * burst // words)
        m.submodules[f"buffer{k}"] = buffer = fifo.SyncFIFOBuffered(width=self._beat_bits, depth=depth)
        shift = exact_log2(words)
        at = Signal(32 + shift, name=f"at{k}")
        left = Signal(32 + shift, name=f"left{k}")
        room = Signal(range(depth * words + 1), init=depth * words, name=f"room{k}")
        asks = Signal(name=f"asks{k}")
        to_border = Signal(range(burst + 1), name=f"to_border{k}")
        length = Signal(range(burst + 1), name=f"length{k}")
        m.submodules[f"queue{k}"] = queue = fifo.SyncFIFO(width=REQUEST.size, depth=_REQUESTS)
        run = REQUEST(queue.r_data)
        m.d.comb += [
            queue.w_data.eq(request.payload),
            queue.w_en.eq(request.valid),
            request.ready.eq(queue.w_rdy),
            queue.r_en.eq(left == 0),
            asks.eq(may_ask & (left != 0) & (room >= burst)),
            to_border.eq(burst - (at & (burst - 1))),
            length.eq(Mux(left < to_border, left, to_border)),
        ]
        with m.If(queue.r_rdy & queue.r_en):
            m.d.sync += [at.eq(run.address << shift), left.eq(run.count << shift)]
        with m.If(asks):
            m.d.sync += [
                at.eq(at + length),
                left.eq(left - length),
                out.valid.eq(1),
                out.payload.address.eq(self.base + (at << exact_log2(self.data_bits // 8))),
                out.payload.length.eq(length),
                out.payload.channel.eq(k),
            ]
        m.d.sync += room.eq(
            room - Mux(asks, length, 0) + Mux(beats.valid & beats.ready, words, 0)
        )

        mine = Signal(name=f"mine{k}")
        m.d.comb += [
            mine.eq(self.data_valid & (self.data_channel == k)),
            beats.payload.eq(buffer.r_data),
            beats.valid.eq(buffer.r_rdy),
            buffer.r_en.eq(beats.ready),
        ]
        if words == 1:
            m.d.comb += [buffer.w_data.eq(self.data), buffer.w_en.eq(mine)]
        else:
            earlier = Signal((words - 1) * self.data_bits, name=f"earlier{k}")
            number = Signal(shift, name=f"number{k}")
            with m.If(mine):
                m.d.sync += [
                    number.eq(number + 1),
                    earlier.eq(Cat(earlier, self.data)[self.data_bits :]),
                ]
            m.d.comb += [
                buffer.w_data.eq(Cat(earlier, self.data)),
                buffer.w_en.eq(mine & number.all()),
            ]
        return may_ask & ~asks
