"""The driver on a board's own top level, in simulation, next to the golden model."""

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tritforge.hdl.config import AcceleratorConfig
from tritforge.host.cli import cli
from tritforge.host.link.device import GoldenDevice
from tritforge.host.link.driver import Board
from tritforge.host.link.engine import BoardEngine
from tritforge.host.link.flashfile import story_frames
from tritforge.host.link.transport import InProcess
from tritforge.models.loading import load
from tritforge.models.software import GoldenEngine
from tritforge.sim.board import BoardSim

CONFIG = AcceleratorConfig.load("up5k")

pytestmark = pytest.mark.usefixtures("needs_compiler")


@pytest.fixture(scope="module")
def engine() -> BoardEngine:
    board = Board(InProcess(BoardSim(CONFIG)), timeout=20)
    board.open(CONFIG)
    return BoardEngine(board, load("micro").image(CONFIG.layout), CONFIG)


def test_a_simulated_board_has_the_golden_model_s_numbers(engine: BoardEngine) -> None:
    golden = GoldenEngine(load("micro").integers)
    engine.reset()
    both = (engine, golden)
    tokens = [[*each.generate([3, 1, 4, 1, 5], 12, temperature=0.8, seed=9)] for each in both]
    assert tokens[0] == tokens[1]
    assert engine.cycles > 12 * 2000
    (sums, scales), (golden_sums, golden_scales) = (each.logits([7, 8]) for each in both)
    assert np.array_equal(sums, golden_sums)
    assert np.array_equal(scales, golden_scales)
    ours, theirs = engine.state(), golden.state()
    assert np.array_equal(ours.h, theirs.h)
    assert (ours.position, ours.next_token) == (theirs.position, theirs.next_token)


def test_it_is_halted_and_goes_on(engine: BoardEngine) -> None:
    engine.reset()
    run = engine.generate([1], 5000)
    tokens = [*islice(run, 2)]
    engine.board.halt()
    tokens += run
    assert 2 < len(tokens) < 200
    tokens += engine.generate([], 2)
    assert tokens == [*GoldenEngine(load("micro").integers).generate([1], len(tokens))]


def test_what_is_loaded_is_not_loaded_again(engine: BoardEngine) -> None:
    again = BoardEngine(engine.board, load("micro").image(CONFIG.layout), CONFIG)
    assert again.loaded.written == 0


def test_one_bitstream_has_the_voice_of_whatever_model_is_loaded() -> None:
    device = BoardSim(CONFIG)
    for name in ("tiny", "bard", "micro"):
        model = load(name)
        image = model.image(CONFIG.layout)
        board = Board(InProcess(device), timeout=20)
        board.open(CONFIG)
        both = BoardEngine(board, image, CONFIG), GoldenEngine(model.integers)
        assert both[0].loaded.written > len(image.memory.tobytes()) // 2
        prompt = model.encode("The ")
        ours, theirs = ([*each.generate(prompt, 5, temperature=0.8, seed=4)] for each in both)
        assert ours == theirs, name
        assert np.array_equal(both[0].state().h, both[1].state().h), name


def test_it_tells_the_story_in_its_flash_as_the_model_of_a_device_does() -> None:
    flash = story_frames(load("micro"), CONFIG, "Romeo", seed=2, new_tokens=10)
    device, board = GoldenDevice(CONFIG, flash=flash), BoardSim(CONFIG, flash=flash)
    expected = b"".join(device.exchange(b"") for _ in range(12))
    assert len(expected) == 10
    told = b""
    for _ in range(1000):
        told += board.exchange(b"")
        if len(told) >= len(expected):
            break
    assert told == expected


def test_chat_tells_the_device_s_speed(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.json"
    about = {"board": "icebreaker", "clock_hz": 30_000_000, "baud": 3_000_000, "build": "0" * 16}
    manifest.write_text(json.dumps({**about, "accelerator": CONFIG.to_dict()}))
    arguments = ["chat", "--sim", "--manifest", str(manifest), "--model", "micro", "--max-new", "4"]
    result = CliRunner().invoke(cli, arguments, input="A\n")
    assert result.exit_code == 0
    assert " cycles a token at 30 MHz); seen over the simulated board (rtl): " in result.stderr
