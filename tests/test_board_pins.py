"""A board does the same through its UART's and its flash's pins as it does byte by byte."""

from __future__ import annotations

from functools import cache

import pytest
from board_setup import BUILD, CONFIG, IDENTITY
from link_host import (
    BOOT_FAILED,
    CONTROL,
    OPEN,
    READ,
    RING,
    TABLE,
    TEXT,
    WEIGHTS,
    WRITE,
    Host,
    request,
)
from tritforge.hdl.boards.up5k import BOARDS
from tritforge.sim.boardpins import PinSim, board_verilog

BOARD = BOARDS["icebreaker"]
BYTE = 10 * BOARD.clock_hz // BOARD.baud
"""Cycles of a byte on the line."""

pytestmark = pytest.mark.usefixtures("needs_compiler")


def in_flash(*frames: bytes) -> bytes:
    """The bits of each byte lie in flash in the opposite order."""
    return bytes(int(f"{byte:08b}"[::-1], 2) for byte in b"".join(frames))


@cache
def design() -> str:
    return board_verilog(CONFIG, BUILD)


def connect(flash: bytes = b"", drift: float = 0.0) -> Host:
    pins = PinSim(design(), flash=flash, drift=drift)
    assert pins.exchange(b"", (len(flash) + 200) * BYTE) == b""
    return Host(lambda data: pins.exchange(data, (len(data) + 150) * BYTE))


@pytest.mark.parametrize("drift", [-0.02, 0.0, 0.02])
def test_requests_go_through_the_uart_even_if_the_clocks_differ(drift: float) -> None:
    host = connect(drift=drift)
    assert host.open() == IDENTITY
    for seed in range(5):
        data = bytes((seed * 31 + 7 * k) % 256 for k in range(120))
        host.ask(WRITE | WEIGHTS, 100 * seed, data)
        assert host.ask(READ | WEIGHTS, 100 * seed, count=120).data == data


def test_flash_is_read_through_its_pins() -> None:
    data = bytes(range(100, 220))
    host = connect(
        in_flash(
            request(1, WRITE | WEIGHTS, 0x1234, data),
            request(2, WRITE | TABLE, 0, b"\x7e\x7dtext"),
            request(3, WRITE | CONTROL, TEXT),
            request(4, OPEN | TABLE),
        )
    )
    assert host.ask(READ | RING, count=0).status == 0x03
    assert host.open() == IDENTITY
    assert host.ask(READ | WEIGHTS, 0x1234, count=120).data == data
    assert host.ask(READ | TABLE, 0, count=6).data == b"\x7e\x7dtext"
    assert not host.ask(READ | RING, count=0).status & BOOT_FAILED


def test_erased_flash_leaves_a_board_that_listens() -> None:
    host = connect()
    assert host.ask(READ | RING, count=0).status & BOOT_FAILED
    assert host.open() == IDENTITY


def test_what_comes_while_an_answer_leaves_is_lost_and_can_be_asked_again() -> None:
    host = connect()
    host.open()
    pins = host.exchange
    first = request(50, READ | WEIGHTS, 0, count=120)
    second = request(51, READ | TABLE, 55, count=18)
    sent = pins(first + second)
    assert sent.count(b"\x7e") == 2
    host.number = 50
    assert host.ask(READ | TABLE, 55, count=18).data == IDENTITY
