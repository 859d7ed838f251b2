"""A board's own speed does not depend on the line, and what a host sees of it does."""

from dataclasses import replace

import pytest
from board_setup import CONFIG
from tritforge.hdl.boards.up5k import BOARDS
from tritforge.host.boardspeed import Speed, board_speed
from tritforge.models.loading import load

pytestmark = pytest.mark.usefixtures("needs_compiler")


def test_a_slower_line_slows_the_host_alone() -> None:
    board = BOARDS["icebreaker"]
    lines = [replace(board, baud=baud) for baud in (3_000_000, 500_000)]
    fast, slow = (board_speed(load("micro"), CONFIG, line) for line in lines)
    assert fast.device == slow.device
    assert fast.device < fast.host < slow.host
    # Each token is two bytes of ten bits.
    assert slow.host > 2 * 10 * board.clock_hz / 500_000


def test_speeds_are_the_clock_by_cycles() -> None:
    assert Speed(device=1000.0, host=1600.0).to_dict(24e6) == {
        "cycles_per_token": 1000.0,
        "tokens_per_second": 24_000.0,
        "host_tokens_per_second": 15_000.0,
    }
