"""Parts of the device's end of the link, each alone; and the clocks and pins of boards."""

from __future__ import annotations

from binascii import crc_hqx
from dataclasses import replace
from typing import Any

import pytest
from amaranth.sim import Simulator
from hypothesis import example, given, settings
from hypothesis import strategies as st
from simulate import cycle, simulate
from tritforge.hdl.boards.pll import Pll
from tritforge.hdl.boards.up5k import BOARDS, Board, Up5kTop
from tritforge.hdl.config import AcceleratorConfig
from tritforge.hdl.link.crc import Crc
from tritforge.hdl.link.serial import Serial
from tritforge.models.errors import TritforgeError

CONFIG = AcceleratorConfig.load("up5k")

# CRC --------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=40))
@settings(max_examples=25)
@example(b"123456789")
@example(b"\x00")
@example(b"\xff\xff")
def test_the_crc_is_crc_16_ccitt_false_and_sends_itself_from_its_high_byte(data: bytes) -> None:
    dut = Crc()
    found = []

    async def testbench(ctx: Any) -> None:
        await cycle(ctx, dut, clear=1, update=1, byte=0xA5)
        for byte in data:
            await cycle(ctx, dut, clear=0, update=1, byte=byte)
        for _ in range(2):
            high = ctx.get(dut.high)
            found.append(high)
            await cycle(ctx, dut, clear=0, update=1, byte=high)
        await cycle(ctx, dut, update=0)
        found.append(ctx.get(dut.zero))
        await cycle(ctx, dut, update=1, byte=1)
        await cycle(ctx, dut, update=0)
        found.append(ctx.get(dut.zero))

    simulate(dut, testbench)
    assert found == [*crc_hqx(data, 0xFFFF).to_bytes(2, "big"), 1, 0]


# UART and flash ---------------------------------------------------------------------------------------------


def run(dut: Serial, *testbenches: Any, background: Any = None) -> None:
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    for testbench in testbenches:
        simulator.add_testbench(testbench)
    if background is not None:
        simulator.add_testbench(background, background=True)
    simulator.run()


def decoded(line: list[int], period: float) -> bytes:
    """Bytes on a line, each bit as it is in its middle."""
    received, at = [], 0
    while 0 in line[at:]:
        at += line[at:].index(0)
        bits = [line[round(at + (k + 0.5) * period)] for k in range(10)]
        assert (bits[0], bits[9]) == (0, 1)
        received.append(sum(bit << k for k, bit in enumerate(bits[1:9])))
        at += round(9.5 * period)
    return bytes(received)


@pytest.mark.parametrize("period", [6, 7, 8, 13])
def test_bytes_leave_as_a_start_bit_eight_bits_from_the_lowest_and_a_stop_bit(period: int) -> None:
    dut = Serial(period)
    data = bytes([0x00, 0xFF, 0x7E, 0xA5, 0x01, 0x80])
    line: list[int] = []

    async def send(ctx: Any) -> None:
        for byte in data:
            ctx.set(dut.tx.payload, byte)
            ctx.set(dut.tx.valid, 1)
            await ctx.tick().until(dut.tx.ready)
        ctx.set(dut.tx.valid, 0)
        await ctx.tick().repeat(11 * period)

    async def watch(ctx: Any) -> None:
        async for _, _, level in ctx.tick().sample(dut.pin_tx):
            line.append(int(level))

    run(dut, send, background=watch)
    assert decoded(line, period) == data


@pytest.mark.parametrize("period", [6, 8, 13])
@pytest.mark.parametrize("drift", [-0.03, 0.0, 0.03])
@pytest.mark.parametrize("gap", [0, 1, 50])
def test_bytes_are_received_even_from_a_clock_that_differs(period: int, drift: float, gap: int) -> None:
    dut = Serial(period)
    data = bytes([0x00, 0xFF, 0x7E, 0xA5, 0x01, 0x80])
    bits = [1] * 3
    for byte in data:
        bits += [0, *(byte >> k & 1 for k in range(8)), 1, *[1] * gap]
    received = []

    async def send(ctx: Any) -> None:
        for now in range(int((len(bits) - 1) * period * (1 + drift))):
            ctx.set(dut.pin_rx, bits[int(now / period / (1 + drift))])
            await ctx.tick()
        await ctx.tick().repeat(4 * period)

    async def take(ctx: Any) -> None:
        ctx.set(dut.rx.ready, 1)
        async for _, _, valid, byte in ctx.tick().sample(dut.rx.valid, dut.rx.payload):
            if valid:
                received.append(byte)

    run(dut, send, background=take)
    assert bytes(received) == data


@pytest.mark.parametrize("offset", [0, 0x20000, 0xFFFFFF, 0xA5C381])
@pytest.mark.parametrize("slow", [0, 100])
def test_flash_is_asked_once_and_gives_a_byte_whenever_one_is_wanted(offset: int, slow: int) -> None:
    dut = Serial(6, offset)
    data = bytes([0x81, 0x02, 0xFE, 0x13])
    asked: list[int] = []
    received = []

    async def flash(ctx: Any) -> None:
        answer = [byte >> k & 1 for byte in data for k in range(8)]  # the order in which a UART has them
        level, given = 0, 0
        ctx.set(dut.flash_cipo, 1)
        async for _, _, clock, copi, chosen in ctx.tick().sample(
            dut.flash_clk, dut.flash_copi, dut.flash_cs_n
        ):
            assert not chosen
            if clock and not level and len(asked) < 32:
                asked.append(copi)
            elif level and not clock and len(asked) == 32:
                ctx.set(dut.flash_cipo, answer[given])
                given = min(given + 1, len(answer) - 1)
            level = clock

    async def take(ctx: Any) -> None:
        ctx.set(dut.booting, 1)
        for _ in data:
            await ctx.tick().repeat(slow + 1)
            ctx.set(dut.rx.ready, 1)
            (byte,) = await ctx.tick().sample(dut.rx.payload).until(dut.rx.valid)
            received.append(byte)
            ctx.set(dut.rx.ready, 0)

    run(dut, take, background=flash)
    assert int("".join(map(str, asked)), 2) == 0x03000000 | offset
    assert bytes(received) == data


def test_a_period_or_an_offset_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="a bit needs at least 6 clock cycles, not 5"):
        Serial(5)
    with pytest.raises(ValueError, match="an offset of 24 bits, not 0x1000000"):
        Serial(8, 1 << 24)


# Clocks -----------------------------------------------------------------------------------------------------


@given(st.sampled_from([12_000_000, 48_000_000]), st.integers(16, 66))
def test_the_pll_makes_a_clock_exactly_and_within_its_limits(source: int, megahertz: int) -> None:
    try:
        pll = Pll.make(source, megahertz * 1_000_000)
    except TritforgeError as error:
        assert "the nearest that it can make" in str(error)
        return
    assert pll.output(source) == megahertz * 1_000_000
    detector = source / (pll.divr + 1)
    assert 10e6 <= detector <= 133e6
    assert 533e6 <= detector * (pll.divf + 1) <= 1066e6
    assert 1 <= pll.divq <= 6
    assert 0 <= pll.divf <= 127


def test_the_pll_s_dividers_of_a_published_example() -> None:
    # icepll -i 12 -o 48: DIVR 0, DIVF 63, DIVQ 4, FILTER_RANGE 1.
    assert Pll.make(12_000_000, 48_000_000) == Pll(0, 63, 4, 1)


@pytest.mark.parametrize("megahertz", [24, 27, 30, 33, 36, 48])
def test_usual_clocks_can_be_made_of_12_mhz(megahertz: int) -> None:
    assert Pll.make(12_000_000, megahertz * 1_000_000).output(12e6) == megahertz * 1e6


def test_clocks_that_can_t_be_made_are_refused() -> None:
    with pytest.raises(TritforgeError, match="can't make a clock of 6 MHz: it takes 10 to 133 MHz"):
        Pll.make(6_000_000, 24_000_000)
    with pytest.raises(TritforgeError, match=r"can't make 25.3 MHz of 12 MHz; the nearest .* 25.125 MHz"):
        Pll.make(12_000_000, 25_300_000)


# Boards -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_each_port_of_a_board_has_a_pin_of_its_own(board: Board) -> None:
    top = Up5kTop(CONFIG, board)
    assert set(board.pins) == set(top.signature.members)
    assert len(set(board.pins.values())) == len(board.pins)
    assert set(board.pull_ups) <= set(board.pins)


def test_the_icebreaker_s_pins_are_those_of_its_schematic() -> None:
    assert BOARDS["icebreaker"].pins == {
        "clk_in": "35", "rx": "6", "tx": "9",
        "flash_cs_n": "16", "flash_clk": "15", "flash_copi": "14", "flash_cipo": "17",
    }  # fmt: skip


def test_an_impossible_baud_rate_clock_or_accelerator_is_refused() -> None:
    board = BOARDS["icebreaker"]
    with pytest.raises(TritforgeError, match="5,000,000 baud can't be made of 24 MHz"):
        Up5kTop(CONFIG, board, clock_hz=24_000_000, baud=5_000_000)
    with pytest.raises(TritforgeError, match="3,700,000 baud can't be made of 24 MHz"):
        Up5kTop(CONFIG, board, clock_hz=24_000_000, baud=3_700_000)
    with pytest.raises(TritforgeError, match="oscillator can't make 30 MHz: choose 48, 24, 12, 6 MHz"):
        Up5kTop(CONFIG, BOARDS["upduino_v3"], clock_hz=30_000_000)
    with pytest.raises(TritforgeError, match="a build has 8 bytes, not 7"):
        Up5kTop(CONFIG, board, bytes(7))
    wide = replace(CONFIG, hidden=300)
    with pytest.raises(TritforgeError, match="a hidden size of at most 258; up5k has 300"):
        Up5kTop(wide, board)
