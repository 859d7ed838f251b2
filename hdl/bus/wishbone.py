"""Wishbone B4: a slave in front of registers, and a read master for weights."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from ..registers import ADDRESS_BITS, WORD_BITS
from ..sequencer import REQUEST
from .bursts import BurstReader
from .port import RegisterPort

__all__ = ["WishboneReadSignature", "WishboneReader", "WishboneSignature", "WishboneSlave"]

_WIDEST = 64
_INCREMENTING, _END_OF_BURST = 0b010, 0b111


class WishboneSignature(wiring.Signature):
    """Classic Wishbone with 32 bits of data, seen from the master; `adr` counts words."""

    def __init__(self) -> None:
        super().__init__(
            {
                "cyc": Out(1),
                "stb": Out(1),
                "we": Out(1),
                "adr": Out(ADDRESS_BITS - 2),
                "sel": Out(WORD_BITS // 8),
                "dat_w": Out(WORD_BITS),
                "dat_r": In(WORD_BITS),
                "ack": In(1),
                "err": In(1),
            }
        )


class WishboneReadSignature(wiring.Signature):
    """The read half of Wishbone with registered feedback, seen from the master; `adr` counts words.

    Parameters
    ----------
    address_bits, data_bits
        Widths of `adr` and `dat_r`.
    """

    def __init__(self, address_bits: int, data_bits: int) -> None:
        super().__init__(
            {
                "cyc": Out(1),
                "stb": Out(1),
                "we": Out(1),
                "adr": Out(address_bits),
                "sel": Out(data_bits // 8),
                "cti": Out(3),
                "bte": Out(2),
                "dat_r": In(data_bits),
                "ack": In(1),
                "err": In(1),
            }
        )


class WishboneSlave(wiring.Component):
    """Registers on Wishbone.

    What the registers refuse, and a write of less than a word, ends with ERR. Latency: 1 cycle from STB to
    ACK or ERR. Cost: a flip-flop or two.

    Attributes
    ----------
    bus : In(WishboneSignature)
        The bus.
    port : Out(RegisterPort)
        The registers.
    """

    def __init__(self) -> None:
        super().__init__({"bus": In(WishboneSignature()), "port": Out(RegisterPort())})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bus: Any = self.bus
        port: Any = self.port
        selected, answers, refused = Signal(), Signal(), Signal()
        m.d.comb += [
            selected.eq(bus.cyc & bus.stb),
            port.address.eq(bus.adr),
            port.write_data.eq(bus.dat_w),
            port.read.eq(selected & ~answers & ~bus.we),
            port.write.eq(selected & ~answers & bus.we & bus.sel.all()),
            bus.dat_r.eq(port.read_data),
            bus.ack.eq(selected & answers & ~(port.error | refused)),
            bus.err.eq(selected & answers & (port.error | refused)),
        ]
        m.d.sync += [answers.eq(selected & ~answers), refused.eq(bus.we & ~bus.sel.all())]
        return m


class WishboneReader(wiring.Component):
    """Fetches weight beats over Wishbone.

    Incrementing bursts with registered feedback (CTI), which a classic slave may ignore. A cycle that ends
    with ERR counts as read. See `BurstReader` for latency and cost; a cycle more a burst.

    Parameters
    ----------
    channels
        Number of read channels of the accelerator.
    beat_bits
        Width of a weight beat.
    address_bits
        Width of a byte address.
    burst
        Longest burst in words; a power of two.

    Attributes
    ----------
    bus : Out(WishboneReadSignature)
        The bus.
    base : In
        Byte address of the image, a multiple of 4,096.
    error : Out(1)
        A cycle has ended with ERR since reset.
    requests : In(stream), beats : Out(stream)
        One of each a channel.
    """

    def __init__(self, channels: int, beat_bits: int, address_bits: int = 32, burst: int = 32) -> None:
        self._reader = BurstReader(channels, beat_bits, _WIDEST, address_bits, burst)
        self._shift = exact_log2(self._reader.data_bits // 8)
        super().__init__(
            {
                "bus": Out(WishboneReadSignature(address_bits - self._shift, self._reader.data_bits)),
                "base": In(address_bits),
                "error": Out(1),
                "requests": In(stream.Signature(REQUEST)).array(channels),
                "beats": Out(stream.Signature(unsigned(beat_bits))).array(channels),
            }
        )

    @property
    def data_bits(self) -> int:
        """Width of the bus's data."""
        return self._reader.data_bits

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bus: Any = self.bus
        m.submodules.reader = reader = self._reader
        burst = reader.bursts.payload
        left, channel, ended = Signal.like(burst.length), Signal.like(burst.channel), Signal()
        m.d.comb += [
            ended.eq(bus.stb & (bus.ack | bus.err)),
            bus.cyc.eq(left != 0),
            bus.stb.eq(left != 0),
            bus.sel.eq(-1),
            bus.cti.eq(Mux(left == 1, _END_OF_BURST, _INCREMENTING)),
            reader.bursts.ready.eq(left == 0),
            reader.data.eq(bus.dat_r),
            reader.data_channel.eq(channel),
            reader.data_valid.eq(ended),
        ]
        with m.If(reader.bursts.valid & reader.bursts.ready):
            m.d.sync += [
                left.eq(burst.length),
                channel.eq(burst.channel),
                bus.adr.eq(burst.address[self._shift :]),
            ]
        with m.If(ended):
            m.d.sync += [left.eq(left - 1), bus.adr.eq(bus.adr + 1)]
            with m.If(bus.err):
                m.d.sync += self.error.eq(1)
        reader.attach(m, self)
        return m
