"""No result depends on what a memory gives when a word is read and written at once."""

import ctypes
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tritforge.hdl.config import AcceleratorConfig
from tritforge.hdl.link.protocol import RING_WORDS
from tritforge.hdl.store import VectorStore
from tritforge.host.link.driver import Board
from tritforge.host.link.engine import BoardEngine
from tritforge.host.link.flashfile import story_frames
from tritforge.host.link.transport import InProcess
from tritforge.models.checkpoint import Checkpoint
from tritforge.models.image import in_memory_image
from tritforge.models.loading import load
from tritforge.models.quantise import quantise
from tritforge.models.software import GoldenEngine
from tritforge.sim import board, engine
from tritforge.sim.build import build_model
from tritforge.sim.verilog import to_verilog, with_collisions

pytestmark = pytest.mark.usefixtures("needs_compiler")

UP5K = AcceleratorConfig.load("up5k")
ONES = ("--x-assign", "1")
"""What such a read gives in these tests: all bits set."""


def test_a_read_that_meets_a_write_gives_no_element_here(tmp_path: Path) -> None:
    driver = tmp_path / "driver.cpp"
    driver.write_text("""
        #include "Vmodel.h"
        static Vmodel top;
        extern "C" __attribute__((visibility("default"))) unsigned cycle(unsigned write, unsigned read) {
            top.write = 1, top.write_address = write, top.write_element = 5, top.read_address = read;
            top.clk = 0, top.eval(), top.clk = 1, top.eval();
            return top.element;
        }
    """)
    library = build_model(with_collisions(to_verilog(VectorStore(8), "top")), "top", driver, options=ONES)
    cycle = ctypes.CDLL(str(library)).cycle
    assert [cycle(3, 2), cycle(2, 3), cycle(4, 4), cycle(1, 4)] == [0, 5, (1 << 24) - 1, 5]


def test_whole_texts_are_right_whatever_such_reads_give(
    model_a: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verilog = with_collisions(engine.accelerator_verilog(UP5K))
    library = build_model(verilog, "accelerator", engine._RUNNER, options=ONES)
    monkeypatch.setattr(engine, "compiled_accelerator", lambda config, waveforms: library)
    image = in_memory_image(quantise(Checkpoint(model_a)), UP5K.layout)
    tokens = np.random.default_rng(0).integers(0, 256, 40)
    for stall_rate in (0.0, 0.3):
        rtl, golden = engine.RtlEngine(image, UP5K, stall_rate=stall_rate), GoldenEngine(image)
        for ours, theirs in zip(rtl.logits(tokens), golden.logits(tokens), strict=True):
            assert np.array_equal(ours, theirs)
        written = [list(e.generate([3], 30, temperature=0.9, seed=1)) for e in (rtl, golden)]
        assert written[0] == written[1]
        assert np.array_equal(rtl.state().h, golden.state().h)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[board.BoardSim]:
    """A board that tells a story of `micro` from its flash, then listens."""
    # Yosys takes minutes to read the zeros that memories begin with; without them they do so, too.
    verilog = re.sub(r"    \S+\[\d+\] = 16'h0000;\n", "", board.link_verilog(UP5K))
    library = board.compiled_board(with_collisions(verilog), ONES)
    monkeypatch.setattr(board, "_library", lambda config, build: library)
    micro = load("micro")
    story = story_frames(micro, UP5K, "Romeo", temperature=0.6, seed=2, new_tokens=STORY)
    return board.BoardSim(UP5K, flash=story)


STORY = 30


def test_a_board_is_right_whatever_such_reads_give(device: board.BoardSim, model_a: Path) -> None:
    """Weights, program, requests, the table of characters and the ring of results: all of its memories."""
    micro = load("micro")
    assert micro.symbols is not None
    golden = GoldenEngine(micro.integers)
    wanted = [*golden.generate(micro.encode("Romeo"), STORY, temperature=0.6, seed=2)]
    told = b""
    for _ in range(100):
        told += device.exchange(b"")
    assert told.decode() == "".join(micro.symbols[token] for token in wanted)

    host = Board(InProcess(device), timeout=100)
    host.open(UP5K)
    there = BoardEngine(host, micro.image(UP5K.layout), UP5K)
    assert there.loaded.written == 0    # by checksums of all blocks
    agree(there, golden, RING_WORDS + 50)

    image = in_memory_image(quantise(Checkpoint(model_a)), UP5K.layout)
    loaded = BoardEngine(host, image, UP5K)
    assert loaded.loaded.written > 50_000 // 2
    agree(loaded, GoldenEngine(image), 20)
    agree(loaded, GoldenEngine(image), 20)
    again = BoardEngine(host, image, UP5K)
    assert again.loaded.written == 0


def agree(ours: BoardEngine, golden: GoldenEngine, count: int) -> None:
    """Compare a generation, its states and logits behind it, from a reset on."""
    both = (ours, golden)
    for each in both:
        each.reset()
    written = [[*each.generate([3, 1, 4, 1, 5], count, temperature=0.9, seed=1)] for each in both]
    assert written[0] == written[1]
    assert np.array_equal(ours.state().h, golden.state().h)
    for one, other in zip(ours.logits([7, 8, 9]), golden.logits([7, 8, 9]), strict=True):
        assert np.array_equal(one, other)
