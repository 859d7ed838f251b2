"""A board's own speed does not depend on the line, and what a host sees of it does."""

from dataclasses import replace
from pathlib import Path

import pytest
from board_setup import CONFIG
from tritforge.hdl.boards.up5k import BOARDS
from tritforge.host import boardspeed
from tritforge.host.boardspeed import Speed, board_speed
from tritforge.models.loading import Model, load

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


def test_a_speed_is_simulated_once_for_all_that_decides_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITFORGE_CACHE", str(tmp_path))
    asked = []

    def simulated(model: Model, *_: object) -> Speed:
        asked.append(model.name)
        return Speed(device=10.0 + len(asked), host=20.5)

    monkeypatch.setattr(boardspeed, "_simulated", simulated)
    board, other = BOARDS["icebreaker"], replace(CONFIG, program_words=CONFIG.program_words * 2)
    micro = load("micro")
    cases = [
        (micro, CONFIG, board),
        (load("tiny"), CONFIG, board),
        (micro, other, board),
        (micro, CONFIG, replace(board, clock_hz=24_000_000)),
        (micro, CONFIG, replace(board, baud=1_000_000)),
    ]
    first = [board_speed(*each) for each in cases]
    assert len(asked) == len(set(first)) == len(cases)
    assert first[0] == Speed(device=11.0, host=20.5)
    assert [board_speed(*each) for each in cases] == first
    assert len(asked) == len(cases)

    monkeypatch.setattr(boardspeed, "_sources", lambda: [b"another way to ask"])
    assert board_speed(*cases[0]).device == 16.0
