"""Bytes over a UART, or out of SPI flash: one shift register for all."""

from amaranth.hdl import C, Cat, Module, Mux, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

__all__ = ["LEAST_PERIOD", "Serial"]

LEAST_PERIOD = 6
"""Fewest clock cycles a bit."""
_READ = 0x03
_COMMAND_BYTES = 4


class Serial(wiring.Component):
    """Sends and receives 8N1, but not at once: what comes while a byte leaves, or nobody is ready, is lost.

    While `booting`, bytes are read from flash instead, one after another as they are wanted, bit by bit in
    the order in which a UART receives them. Latency: 10 bits' time a byte sent, 9 received, 8 read; 4 bytes'
    time for flash's command. Cost: a shift register, three counters.

    Parameters
    ----------
    period
        Clock cycles a bit; of flash's clock, too.
    offset
        Where reading flash begins, in bytes.

    Attributes
    ----------
    rx : Out(stream), tx : In(stream)
        Bytes received, or read; bytes to send.
    booting : In(1)
        Bytes come from flash.
    pin_rx, pin_tx : In(1), Out(1)
        UART.
    flash_cs_n, flash_clk, flash_copi : Out(1); flash_cipo : In(1)
        Flash.

    Raises
    ------
    ValueError
        If a bit has too few cycles, or the offset is no 24-bit number.
    """

    def __init__(self, period: int, offset: int = 0) -> None:
        if period < LEAST_PERIOD:
            raise ValueError(f"a bit needs at least {LEAST_PERIOD} clock cycles, not {period}")
        if not 0 <= offset < 1 << 24:
            raise ValueError(f"flash is read from an offset of 24 bits, not {offset:#x}")
        self._period = period
        self._command = _READ << 24 | offset
        byte = stream.Signature(unsigned(8))
        super().__init__(
            {
                "rx": Out(byte),
                "tx": In(byte),
                "booting": In(1),
                "pin_rx": In(1, init=1),
                "pin_tx": Out(1, init=1),
                "flash_cs_n": Out(1),
                "flash_clk": Out(1),
                "flash_copi": Out(1),
                "flash_cipo": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        line, before = Signal(init=1), Signal(init=1)
        m.submodules.line = FFSynchronizer(self.pin_rx, line, init=1)
        m.d.sync += before.eq(line)

        shift = Signal(9)
        left = Signal(4)
        time = Signal(range(self._period))
        sending, valid = Signal(), Signal()
        active, tick = Signal(), Signal()
        command = Signal(range(_COMMAND_BYTES + 1))
        asked = command[-1]
        starts = Signal()
        m.d.comb += [
            active.eq(left != 0),
            tick.eq(time == 0),
            starts.eq(Mux(self.booting, ~valid, before & ~line)),
            self.tx.ready.eq(~active),
            self.rx.valid.eq(valid),
            self.rx.payload.eq(shift[1:]),
            self.pin_tx.eq(~sending | shift[0]),
            self.flash_cs_n.eq(~self.booting),
        ]
        with m.If(~active):
            m.d.sync += sending.eq(self.tx.valid)
            with m.If(self.tx.valid):
                m.d.sync += [
                    shift.eq(Cat(C(0, 1), self.tx.payload)),
                    left.eq(10),
                    time.eq(self._period - 1),
                    valid.eq(0),
                ]
            with m.Elif(starts):
                m.d.sync += [
                    left.eq(Mux(self.booting, 8, 9)),
                    time.eq(Mux(self.booting, self._period - 1, self._period // 2 - 1)),
                    valid.eq(0),
                ]
            with m.Elif(self.rx.ready):
                m.d.sync += valid.eq(0)
        with m.Elif(tick):
            m.d.sync += [
                time.eq(self._period - 1),
                left.eq(left - 1),
                shift.eq(Cat(shift[1:], Mux(self.booting, self.flash_cipo, line | sending))),
            ]
            with m.If(left == 1):
                m.d.sync += [valid.eq(~sending & (asked | ~self.booting)), sending.eq(0)]
                with m.If(self.booting & ~asked):
                    m.d.sync += command.eq(command + 1)
        with m.Else():
            m.d.sync += time.eq(time - 1)

        # The clock rises in the middle of a bit, and falls behind the cycle in which flash's bit is taken.
        m.d.sync += self.flash_clk.eq(self.booting & active & ~time[-1])
        bits = C(self._command, 8 * _COMMAND_BYTES)
        # Bit by bit from the highest, which is sent when 8 bits are left.
        place = Cat((left - 1)[:3], ~command[:2])
        m.d.comb += self.flash_copi.eq(bits.bit_select(place, 1))
        return m
