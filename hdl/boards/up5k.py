"""Boards with a Lattice iCE40 UP5K: clock, accelerator, weights in SPRAM, and the link to a host.

Clock domains: one, ``sync``, from the board's crystal through the PLL, or from the chip's oscillator. What
comes from outside of it:

- ``rx``: through the `FFSynchronizer` ``serial.line``.
- ``flash_cipo``: read only when it is stable, most of a bit's time after flash's clock, which is made in
  ``sync``, let it change.
- the PLL's ``LOCK``: through the `ResetSynchronizer` ``lock``; until then ``sync`` is in reset.

Resets: that one, which the oscillator's boards don't have (their flip-flops begin as configuration leaves
them, which is as reset would), and `LinkDevice.reset`, made in ``sync``, for accelerator and memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from amaranth.hdl import ClockDomain, Const, Instance, Module, ResetInserter, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import ResetSynchronizer
from amaranth.lib.wiring import In, Out, connect, flipped

from ...models.errors import TritforgeError
from ..accelerator import Accelerator
from ..config import AcceleratorConfig
from ..link.device import LinkDevice
from ..link.serial import LEAST_PERIOD, Serial
from .pll import Pll
from .spram import SpramMemory

__all__ = ["BOARDS", "BUILD_BYTES", "SAMPLED", "Board", "Up5k", "Up5kTop"]

SAMPLED = ("flash_cipo",)
"""Inputs that are read only while they are known to be stable."""

BUILD_BYTES = 8
"""Of the numbers that tell builds, and configurations, apart."""
_OSCILLATOR = {48_000_000: "0b00", 24_000_000: "0b01", 12_000_000: "0b10", 6_000_000: "0b11"}
_OSCILLATOR_TOLERANCE = 0.1
_MOST_BAUD_ERROR = 0.02
_MOST_HIDDEN = 258


_FLASH = {"flash_cs_n": "cs", "flash_clk": "clk", "flash_copi": "copi", "flash_cipo": "cipo"}
"""Port -> its name in amaranth-boards."""


@dataclass(frozen=True)
class Board:
    """A board, as far as the accelerator's top level sees it.

    Parameters
    ----------
    platform
        Module and class of the board in amaranth-boards.
    link
        How a host reaches it.
    uart
        Pins `rx` and `tx`, if the board has no UART of its own.
    clock_hz, baud
        What a build takes if it is told nothing else.
    flash_offset
        Where the link's frames begin in flash, behind the bitstream.
    programmer
        The board's name for openFPGALoader; empty if that does not know it.
    pll_pad
        Whether the clock's pin is the PLL's own.
    seed
        Of the placement, if a build is told no other.
    """

    platform: str
    link: str
    uart: tuple[str, str] | None = None
    clock_hz: int = 24_000_000
    baud: int = 3_000_000
    flash_offset: int = 0x20000
    programmer: str = ""
    pll_pad: bool = True
    seed: int = 1

    @property
    def _platform(self) -> Any:
        module, name = self.platform.split(":")
        return getattr(import_module(module), name)

    @property
    def package(self) -> str:
        """The chip's package, as nextpnr names it."""
        return str(self._platform.package).lower()

    @property
    def crystal_hz(self) -> int | None:
        """Frequency of the clock at pin ``clk_in``; None if the chip's own oscillator is used."""
        name = self._platform.default_clk
        return None if name == "SB_HFOSC" else int(self._resource(name).clock.frequency)

    @property
    def clock_tolerance(self) -> float:
        """By which share the clock may be faster or slower than it is said to be.

        Published, at 0 to 85 degrees Celsius: Lattice FPGA-DS-02008 (iCE40 UltraPlus data sheet), the table
        "Internal Oscillators". A crystal's share is some millionths: none.
        """
        return _OSCILLATOR_TOLERANCE if self.crystal_hz is None else 0.0

    @property
    def pins(self) -> dict[str, str]:
        """Port of `Up5kTop` -> pin."""
        platform = self._platform
        flash = {each.name: each.ios[0].names[0] for each in self._resource("spi_flash_1x").ios}
        pins = {port: flash[name] for port, name in _FLASH.items()}
        if self.uart is None:
            uart = {each.name: each.ios[0].names[0] for each in self._resource("uart").ios}
            pins |= {"rx": uart["rx"], "tx": uart["tx"]}
        else:
            pins |= dict(zip(("rx", "tx"), self.uart, strict=True))
        if self.crystal_hz is not None:
            pins["clk_in"] = self._resource(platform.default_clk).ios[0].names[0]
        return pins

    @property
    def pull_ups(self) -> tuple[str, ...]:
        """Ports whose pins are to be pulled up: nobody need be connected."""
        return ("rx",)

    def _resource(self, name: str) -> Any:
        return next(each for each in self._platform.resources if each.name == name)


BOARDS = {
    "icebreaker": Board(
        "amaranth_boards.icebreaker:ICEBreakerPlatform",
        "USB: its second serial port",
        clock_hz=39_750_000,
        baud=3_312_500,
        programmer="ice40_generic",
    ),
    "upduino_v3": Board(
        "amaranth_boards.upduino_v3:UpduinoV3Platform",
        "a 3.3 V serial adapter: its TX to pin 28, its RX to pin 38 of the header. The clock is the chip's"
        " oscillator, which may be off by a tenth, and the baud rate with it",
        uart=("28", "38"),
        baud=1_000_000,
        programmer="ice40_generic",
    ),
    "ice40_up5k_b_evn": Board(
        "amaranth_boards.ice40_up5k_b_evn:ICE40UP5KBEVNPlatform",
        "a 3.3 V serial adapter: its TX to pin 26, its RX to pin 27 of header B",
        uart=("26", "27"),
        programmer="ice40_generic",
    ),
    "icebreaker_bitsy": Board(
        "amaranth_boards.icebreaker_bitsy:ICEBreakerBitsyPlatform",
        "a 3.3 V serial adapter: its TX to edge pin P0, its RX to P1; its USB is not used",
        uart=("47", "44"),
        flash_offset=0x60000,
        programmer="icebreaker-bitsy",
    ),
    "fomu_pvt": Board(
        "amaranth_boards.fomu_pvt:FomuPVTPlatform",
        "a 3.3 V serial adapter: its TX to touch pad 1, its RX to pad 4; its USB is not used",
        uart=("E4", "F5"),
        flash_offset=0x60000,
        programmer="fomu",
        pll_pad=False,
    ),
}
"""Boards that can be built for, the one that was looked at most first."""


def _check(config: AcceleratorConfig, build: bytes) -> None:
    if config.streams != 1 or config.beat_bits != 64:
        raise TritforgeError(
            f"a UP5K's accelerator has one stream and beats of 64 bits; {config.name} has {config.streams}"
            f" and {config.beat_bits}"
        )
    if config.hidden > _MOST_HIDDEN:
        raise TritforgeError(
            f"the link's raw logits have 16 bits, for a hidden size of at most {_MOST_HIDDEN};"
            f" {config.name} has {config.hidden}"
        )
    if len(build) != BUILD_BYTES:
        raise TritforgeError(f"a build has {BUILD_BYTES} bytes, not {len(build)}")


class Up5k(wiring.Component):
    """Accelerator, weights in SPRAM and link, in one clock domain; bytes in, bytes out.

    Parameters
    ----------
    config
        The accelerator: one stream, beats of 64 bits.
    build
        Which build this is, 8 bytes.
    simulated
        See `Spram`.
    boots
        See `LinkDevice`.

    Attributes
    ----------
    rx : In(stream), tx : Out(stream), booting : Out(1)
        See `LinkDevice`.
    idle : Out(1)
        See `Accelerator`.

    Raises
    ------
    TritforgeError
        If the configuration does not suit the chip.
    """

    def __init__(
        self,
        config: AcceleratorConfig,
        build: bytes = bytes(8),
        *,
        simulated: bool = False,
        boots: bool = True,
    ) -> None:
        _check(config, build)
        self._config = config
        self._simulated = simulated
        self._build = build
        self._boots = boots
        byte = stream.Signature(unsigned(8))
        super().__init__({"rx": In(byte), "tx": Out(byte), "booting": Out(1), "idle": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self._config
        core = Accelerator(config)
        most = 1 + config.layout.beats(2 * config.vector_depth)
        store = SpramMemory(most, self._simulated)
        digest = bytes.fromhex(config.digest())
        m.submodules.link = link = LinkDevice(self._build, digest[:BUILD_BYTES], self._boots)
        m.submodules.accelerator = ResetInserter(link.reset)(core)
        m.submodules.memory = ResetInserter(link.reset)(store)
        connect(m, core.request, store.request)
        connect(m, store.beats, core.beats)
        connect(m, core.vector_request, store.vector_request)
        connect(m, store.vector_beats, core.vector_beats)
        m.d.comb += store.vector_soon.eq(core.vector_soon)
        connect(m, core.results, link.results)
        connect(m, core.raw, link.raw)
        connect(m, link.tokens, core.tokens)
        connect(m, flipped(self.rx), link.rx)
        connect(m, link.tx, flipped(self.tx))
        m.d.comb += [
            self.booting.eq(link.booting),
            self.idle.eq(core.idle),
            core.settings.eq(link.settings),
            core.set_position.eq(link.set_position),
            core.new_position.eq(link.new_position),
            core.program_write.eq(link.write_program),
            core.program_address.eq(link.address),
            core.program_word.eq(link.data),
            core.state_write.eq(link.write_state),
            core.state_address.eq(link.address),
            core.state_write_value.eq(link.data),
            store.write.eq(link.write_weights),
            store.read.eq(link.read_weights),
            store.write_address.eq(link.address),
            store.write_word.eq(link.data),
            link.weights.eq(store.word),
            link.weights_busy.eq(store.busy),
            link.state.eq(core.state_value),
            link.idle.eq(core.idle),
            link.cause.eq(core.status.cause),
        ]
        return m


class Up5kTop(wiring.Component):
    """A board's whole design.

    Parameters
    ----------
    config, build
        See `Up5k`.
    board
        One of `BOARDS`.
    clock_hz, baud
        By default the board's.
    simulated
        A clock domain of the simulation's, and memories of its own, in place of the vendor's cells.

    Attributes
    ----------
    clk_in : In(1)
        The crystal, where the board has one and it is not simulated.
    rx : In(1), tx : Out(1)
        UART.
    flash_cs_n, flash_clk, flash_copi : Out(1); flash_cipo : In(1)
        SPI flash.

    Raises
    ------
    TritforgeError
        If the clock or the baud rate can't be made, or the accelerator does not suit the chip.
    """

    def __init__(
        self,
        config: AcceleratorConfig,
        board: Board = BOARDS["icebreaker"],
        build: bytes = bytes(8),
        *,
        clock_hz: int | None = None,
        baud: int | None = None,
        simulated: bool = False,
    ) -> None:
        _check(config, build)
        self.clock_hz = clock_hz or board.clock_hz
        self.baud = baud or board.baud
        period = round(self.clock_hz / self.baud)
        if period < LEAST_PERIOD or abs(self.clock_hz / self.baud / period - 1) > _MOST_BAUD_ERROR:
            raise TritforgeError(
                f"{self.baud:,} baud can't be made of {self.clock_hz / 1e6:g} MHz: a bit must last a whole"
                f" number of cycles, at least {LEAST_PERIOD}, to {_MOST_BAUD_ERROR:.0%}"
            )
        self._crystal = None if simulated else board.crystal_hz
        self._oscillator = not simulated and self._crystal is None
        if self._oscillator and self.clock_hz not in _OSCILLATOR:
            rates = ", ".join(f"{hz // 1_000_000}" for hz in _OSCILLATOR)
            raise TritforgeError(
                f"the chip's oscillator can't make {self.clock_hz / 1e6:g} MHz: choose {rates} MHz"
            )
        self._pll = None if self._crystal is None else Pll.make(self._crystal, self.clock_hz)
        self._pad = board.pll_pad
        self._config = config
        self._build = build
        self._simulated = simulated
        self._period = period
        self._flash_offset = board.flash_offset
        super().__init__(
            {
                **({} if self._crystal is None else {"clk_in": In(1)}),
                "rx": In(1, init=1),
                "tx": Out(1, init=1),
                "flash_cs_n": Out(1, init=1),
                "flash_clk": Out(1),
                "flash_copi": Out(1),
                "flash_cipo": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if self._pll is not None:
            self._crystal_clock(m, self._pll)
        elif self._oscillator:
            m.domains.sync = sync = ClockDomain(reset_less=True)
            m.submodules.oscillator = Instance(
                "SB_HFOSC",
                p_CLKHF_DIV=_OSCILLATOR[self.clock_hz],
                i_CLKHFEN=1,
                i_CLKHFPU=1,
                o_CLKHF=sync.clk,
            )
        m.submodules.device = device = Up5k(self._config, self._build, simulated=self._simulated)
        m.submodules.serial = serial = Serial(self._period, self._flash_offset)
        connect(m, serial.rx, device.rx)
        connect(m, device.tx, serial.tx)
        m.d.comb += [
            serial.booting.eq(device.booting),
            serial.pin_rx.eq(self.rx),
            self.tx.eq(serial.pin_tx),
            self.flash_cs_n.eq(serial.flash_cs_n),
            self.flash_clk.eq(serial.flash_clk),
            self.flash_copi.eq(serial.flash_copi),
            serial.flash_cipo.eq(self.flash_cipo),
        ]
        return m

    def _crystal_clock(self, m: Module, pll: Pll) -> None:
        m.domains.sync = sync = ClockDomain()
        lock = Signal()
        cell, pin = ("SB_PLL40_PAD", "PACKAGEPIN") if self._pad else ("SB_PLL40_CORE", "REFERENCECLK")
        m.submodules.pll = Instance(
            cell,
            p_FEEDBACK_PATH="SIMPLE",
            p_DIVR=Const(pll.divr, 4),
            p_DIVF=Const(pll.divf, 7),
            p_DIVQ=Const(pll.divq, 3),
            p_FILTER_RANGE=Const(pll.filter_range, 3),
            i_RESETB=1,
            i_BYPASS=0,
            o_LOCK=lock,
            o_PLLOUTGLOBAL=sync.clk,
            **{f"i_{pin}": self.clk_in},
        )
        m.submodules.lock = ResetSynchronizer(~lock)
