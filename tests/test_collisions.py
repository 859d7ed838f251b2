"""No result depends on what a memory gives when a word is read and written at once."""

import ctypes
from pathlib import Path

import numpy as np
import pytest
from tritforge.hdl.config import AcceleratorConfig
from tritforge.hdl.store import VectorStore
from tritforge.models.checkpoint import Checkpoint
from tritforge.models.image import in_memory_image
from tritforge.models.quantise import quantise
from tritforge.models.software import GoldenEngine
from tritforge.sim import engine
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
