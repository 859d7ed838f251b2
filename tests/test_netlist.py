"""Synthesis and packing lose nothing: netlist and unpacked bitstream compute what the design does."""

import ctypes
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tritforge.hdl.config import AcceleratorConfig
from tritforge.hdl.dot import LookupDot
from tritforge.models.checkpoint import Checkpoint
from tritforge.models.image import Layout, in_memory_image
from tritforge.models.quantise import quantise
from tritforge.models.software import GoldenEngine
from tritforge.sim import engine
from tritforge.sim.boardbuild import Design, implement
from tritforge.sim.build import build_model
from tritforge.sim.harness import Harness
from tritforge.sim.netlist import cell_models, netlist_verilog
from tritforge.sim.tools import run_iceunpack
from tritforge.sim.verilog import to_verilog

pytestmark = pytest.mark.usefixtures("needs_compiler")

CYCLES = 4000

DRIVER = """
    #include "Vmodel.h"
    static Vmodel top;
    extern "C" __attribute__((visibility("default"))) int cycle(int rst, int in) {
        top.clk = 0, top.rst = rst, top.serial_in = in, top.eval();
        int out = top.serial_out;
        top.clk = 1, top.eval();
        return out;
    }
"""


@pytest.fixture(scope="module")
def unit() -> str:
    """A dot product of block RAM, tables and carries, between shift registers: four pins."""
    return to_verilog(Harness(LookupDot(2)))


@pytest.fixture(scope="module")
def expected(unit: str, tmp_path_factory: pytest.TempPathFactory) -> list[int]:
    answers = run(unit, "top", tmp_path_factory.mktemp("unit"))
    assert 0.1 < np.mean(answers) < 0.9
    return answers


def run(verilog: str, top: str, folder: Path) -> list[int]:
    """Answers of a design to random bits and now and then a reset, from power-up."""
    driver = folder / "driver.cpp"
    driver.write_text(DRIVER)
    cycle = ctypes.CDLL(str(build_model(verilog, top, driver))).cycle
    random = np.random.default_rng(1)
    bits, resets = random.integers(0, 2, CYCLES), random.random(CYCLES) < 0.002
    resets[:3] = True
    return [cycle(int(reset), int(bit)) for reset, bit in zip(resets, bits, strict=True)]


def test_a_units_netlist_answers_as_the_unit(unit: str, expected: list[int], tmp_path: Path) -> None:
    assert run(netlist_verilog(unit), "top", tmp_path) == expected


def test_a_units_unpacked_bitstream_answers_as_the_unit(
    unit: str, expected: list[int], tmp_path: Path
) -> None:
    if (unpacker := shutil.which("icebox_vlog")) is None:
        pytest.skip("no icebox_vlog: install fpga-icestorm (Debian, Ubuntu: apt install fpga-icestorm)")
    pins = {"clk": "35", "rst": "10", "serial_in": "6", "serial_out": "9"}
    built = implement(Design(unit, "sg48", pins, {"clk": 12e6}, sampled=("rst", "serial_in")), [1])
    (tmp_path / "top.pcf").write_text("".join(f"set_io {port} {pin}\n" for port, pin in pins.items()))
    shutil.copy(built.bitstream, tmp_path)
    run_iceunpack(["top.bin", "top.asc"], tmp_path)
    # -s: without comments; -p: the ports have their names.
    done = subprocess.run(
        [unpacker, "-s", "-n", "top", "-d", "sg48", "-p", "top.pcf", "top.asc"],
        cwd=tmp_path, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    # The ports are declared a second time below, which Verilog allows if the head has their names alone.
    head = re.match(r"\s*module top \((.*)\);", done.stdout)
    assert head is not None
    names = ", ".join(port.split()[1] for port in head[1].split(", "))
    unpacked = f"module top ({names}); {head[1].replace(', ', '; ')};" + done.stdout[head.end() :]
    assert run(unpacked + cell_models(), "top", tmp_path) == expected


@pytest.mark.board
def test_the_accelerators_netlist_generates_what_golden_does(
    make_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = AcceleratorConfig(
        "small", Layout(8, 128), hidden=32, intermediate=64, states=64, program_words=256, vocabulary=64
    )
    library = build_model(
        netlist_verilog(engine.accelerator_verilog(config), "accelerator"), "accelerator", engine._RUNNER
    )
    monkeypatch.setattr(engine, "compiled_accelerator", lambda config, waveforms: library)
    model = make_model(hidden_size=24, num_hidden_layers=2, vocab_size=37, intermediate_size=40)
    image = in_memory_image(quantise(Checkpoint(model)), config.layout)
    tokens = np.random.default_rng(0).integers(0, 37, 20)
    for stall_rate in (0.0, 0.3):
        netlist = engine.RtlEngine(image, config, stall_rate=stall_rate)
        golden = GoldenEngine(image)
        for ours, theirs in zip(netlist.logits(tokens), golden.logits(tokens), strict=True):
            assert np.array_equal(ours, theirs)
        written = [list(each.generate([3], 40, temperature=0.9, seed=1)) for each in (netlist, golden)]
        assert written[0] == written[1]
        assert np.array_equal(netlist.state().h, golden.state().h)
