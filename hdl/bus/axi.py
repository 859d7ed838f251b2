"""AXI: a slave in front of registers, and a read master for weights."""

from typing import Any

from amaranth.hdl import Module, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from ..registers import ADDRESS_BITS, WORD_BITS
from ..sequencer import REQUEST
from .bursts import BurstReader
from .port import RegisterPort

__all__ = ["Axi4ReadSignature", "AxiLiteSignature", "AxiLiteSlave", "AxiReader"]

_OKAY, _SLVERR = 0, 2
_INCREMENTING = 1
_BUFFERABLE_MODIFIABLE = 0b0011  # so that an interconnect may change a burst's width
_LONGEST = 256
_WIDEST = 1024


class AxiLiteSignature(wiring.Signature):
    """AXI4-Lite with 32 bits of data, seen from the master."""

    def __init__(self) -> None:
        super().__init__(
            {
                "awaddr": Out(ADDRESS_BITS),
                "awprot": Out(3),
                "awvalid": Out(1),
                "awready": In(1),
                "wdata": Out(WORD_BITS),
                "wstrb": Out(WORD_BITS // 8),
                "wvalid": Out(1),
                "wready": In(1),
                "bresp": In(2),
                "bvalid": In(1),
                "bready": Out(1),
                "araddr": Out(ADDRESS_BITS),
                "arprot": Out(3),
                "arvalid": Out(1),
                "arready": In(1),
                "rdata": In(WORD_BITS),
                "rresp": In(2),
                "rvalid": In(1),
                "rready": Out(1),
            }
        )


class Axi4ReadSignature(wiring.Signature):
    """The two read channels of AXI4, seen from the master.

    Parameters
    ----------
    address_bits, data_bits, id_bits
        Widths of addresses, data and transaction numbers.
    """

    def __init__(self, address_bits: int, data_bits: int, id_bits: int) -> None:
        super().__init__(
            {
                "arid": Out(id_bits),
                "araddr": Out(address_bits),
                "arlen": Out(8),
                "arsize": Out(3),
                "arburst": Out(2),
                "arcache": Out(4),
                "arprot": Out(3),
                "arvalid": Out(1),
                "arready": In(1),
                "rid": In(id_bits),
                "rdata": In(data_bits),
                "rresp": In(2),
                "rlast": In(1),
                "rvalid": In(1),
                "rready": Out(1),
            }
        )


class AxiLiteSlave(wiring.Component):
    """Registers on AXI4-Lite.

    One access at a time; reads and writes take turns. What the registers refuse, and a write of less than a
    word, is answered with SLVERR. Latency: 2 cycles from a read's address to its data, 3 from a write to its
    response. Cost: an address and a word.

    Attributes
    ----------
    bus : In(AxiLiteSignature)
        The bus.
    port : Out(RegisterPort)
        The registers.
    """

    def __init__(self) -> None:
        super().__init__({"bus": In(AxiLiteSignature()), "port": Out(RegisterPort())})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bus: Any = self.bus
        port: Any = self.port
        has_address, has_data, whole, read_first, refused = (
            Signal(name=name) for name in ("has_address", "has_data", "whole", "read_first", "refused")
        )
        address, data = Signal(ADDRESS_BITS - 2), Signal(WORD_BITS)
        m.d.comb += [bus.awready.eq(~has_address), bus.wready.eq(~has_data)]
        with m.If(bus.awvalid & bus.awready):
            m.d.sync += [has_address.eq(1), address.eq(bus.awaddr[2:])]
        with m.If(bus.wvalid & bus.wready):
            m.d.sync += [has_data.eq(1), data.eq(bus.wdata), whole.eq(bus.wstrb.all())]
        m.d.comb += [
            port.address.eq(address),
            port.write_data.eq(data),
            bus.rdata.eq(port.read_data),
            bus.rresp[1].eq(port.error),
            bus.bresp[1].eq(port.error | refused),
        ]
        with m.FSM():
            with m.State("IDLE"):
                with m.If(has_address & has_data & ~(read_first & bus.arvalid)):
                    m.d.comb += port.write.eq(whole)
                    m.d.sync += [refused.eq(~whole), read_first.eq(1)]
                    m.next = "WRITTEN"
                with m.Elif(bus.arvalid):
                    m.d.comb += [bus.arready.eq(1), port.address.eq(bus.araddr[2:]), port.read.eq(1)]
                    m.d.sync += read_first.eq(0)
                    m.next = "READ"
            with m.State("WRITTEN"):
                m.d.comb += bus.bvalid.eq(1)
                with m.If(bus.bready):
                    m.d.sync += [has_address.eq(0), has_data.eq(0)]
                    m.next = "IDLE"
            with m.State("READ"):
                m.d.comb += bus.rvalid.eq(1)
                with m.If(bus.rready):
                    m.next = "IDLE"
        return m


class AxiReader(wiring.Component):
    """Fetches weight beats over AXI4.

    Bursts are INCR, stay within 4 KiB, and are asked for when there is room for all of their data: RREADY is
    always high. A channel's bursts carry its number as their ID. See `BurstReader` for latency and cost.

    Parameters
    ----------
    channels
        Number of read channels of the accelerator.
    beat_bits
        Width of a weight beat.
    address_bits
        Width of an address.
    burst
        Longest burst in transfers; a power of two, cut to what 4 KiB hold.

    Attributes
    ----------
    bus : Out(Axi4ReadSignature)
        The bus.
    base : In
        Address of the image, a multiple of 4,096.
    error : Out(1)
        A response was not OKAY since reset.
    requests : In(stream), beats : Out(stream)
        One of each a channel.
    """

    def __init__(self, channels: int, beat_bits: int, address_bits: int = 64, burst: int = 32) -> None:
        self._reader = BurstReader(channels, beat_bits, _WIDEST, address_bits, min(burst, _LONGEST))
        bus = Axi4ReadSignature(address_bits, self._reader.data_bits, max(1, (channels - 1).bit_length()))
        super().__init__(
            {
                "bus": Out(bus),
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
        m.d.comb += [
            bus.arid.eq(burst.channel),
            bus.araddr.eq(burst.address),
            bus.arlen.eq(burst.length - 1),
            bus.arsize.eq(exact_log2(reader.data_bits // 8)),
            bus.arburst.eq(_INCREMENTING),
            bus.arcache.eq(_BUFFERABLE_MODIFIABLE),
            bus.arvalid.eq(reader.bursts.valid),
            reader.bursts.ready.eq(bus.arready),
            bus.rready.eq(1),
            reader.data.eq(bus.rdata),
            reader.data_channel.eq(bus.rid),
            reader.data_valid.eq(bus.rvalid),
        ]
        with m.If(bus.rvalid & (bus.rresp != _OKAY)):
            m.d.sync += self.error.eq(1)
        reader.attach(m, self)
        return m
