"""Synthesis and packing lose nothing: netlist and unpacked bitstream compute what the design does."""

import ctypes
import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tritforge.hdl.boards.up5k import BOARDS
from tritforge.hdl.config import AcceleratorConfig
from tritforge.hdl.dot import LookupDot
from tritforge.hdl.parallel_scale import ParallelScale
from tritforge.host.boardspeed import board_speed
from tritforge.host.link.driver import Board
from tritforge.host.link.engine import BoardEngine
from tritforge.host.link.flashfile import story_frames
from tritforge.host.link.transport import InProcess
from tritforge.models.loading import load
from tritforge.models.software import GoldenEngine
from tritforge.sim.boardbuild import Design, board_design, implement
from tritforge.sim.boardpins import PinSim
from tritforge.sim.build import build_model
from tritforge.sim.harness import Harness
from tritforge.sim.netlist import BOARD_SYNTHESIS, board_netlist, cell_models, netlist_verilog
from tritforge.sim.synthesis import synthesise_counts
from tritforge.sim.tools import run_iceunpack
from tritforge.sim.verilog import to_verilog

pytestmark = pytest.mark.usefixtures("needs_compiler")

ROOT = Path(__file__).parent.parent
BUDGET: dict[str, int] = tomllib.loads((ROOT / "tests" / "budgets.toml").read_text())["board"]
DOCUMENTED: dict[str, Any] = json.loads((ROOT / "docs" / "boards" / "icebreaker.json").read_text())["report"]
MARGIN = 0.02
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


def test_a_multiplier_between_registers_is_still_one_in_the_netlist(tmp_path: Path) -> None:
    unit = to_verilog(Harness(ParallelScale()))
    assert synthesise_counts(unit, **BOARD_SYNTHESIS).dsp == 1
    assert run(netlist_verilog(unit), "top", tmp_path) == run(unit, "top", tmp_path)


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


ABOUT = BOARDS["icebreaker"]
CONFIG = AcceleratorConfig.load("up5k")


@pytest.fixture(scope="module")
def design() -> Design:
    return board_design(ABOUT, CONFIG, ABOUT.clock_hz, ABOUT.baud)


@pytest.mark.board
def test_a_board_takes_no_more_cells_and_a_token_no_more_cycles_and_both_are_documented(
    design: Design,
) -> None:
    counts = vars(synthesise_counts(design.verilog, **BOARD_SYNTHESIS))
    found = {**counts, "cycles_per_token": board_speed(load("tiny"), CONFIG, ABOUT).device}
    advice = "if it is worth it, raise tests/budgets.toml and run `make icebreaker-seeds`"
    for figure, number in found.items():
        # What has no ceiling is not to be used.
        assert number <= BUDGET.get(figure, 0) * (1 + MARGIN), f"{figure}: {number}; {advice}"
        assert number == pytest.approx(DOCUMENTED.get(figure, 0), rel=MARGIN), f"{figure}: {number}; {advice}"


@pytest.mark.board
def test_the_netlist_of_a_board_tells_a_story_and_generates_what_golden_does(design: Design) -> None:
    """By its pins: `micro` is read from flash, told as text, then asked for over the UART."""
    model, length = load("micro"), 10
    story = story_frames(model, CONFIG, "Romeo", temperature=0.6, seed=2, new_tokens=length)
    pins = Pins(PinSim(board_netlist(design.verilog), flash=story))
    golden = GoldenEngine(model.integers)
    assert model.symbols is not None
    wanted = [*golden.generate(model.encode("Romeo"), length, temperature=0.6, seed=2)]
    told = b""
    for _ in range(200):  # flash alone takes half of it
        if len(told) < length:
            told += pins.exchange(b"", READING)
    assert told.decode() == "".join(model.symbols[token] for token in wanted)

    board = Board(InProcess(pins, "the netlist"), timeout=100)
    board.open(CONFIG, design.build.hex())
    netlist = BoardEngine(board, model.image(CONFIG.layout), CONFIG)
    assert netlist.loaded.written == 0
    golden.reset()
    written = [[*each.generate([3, 1, 4], 20, temperature=0.9, seed=1)] for each in (netlist, golden)]
    assert written[0] == written[1]
    for ours, theirs in zip(netlist.logits([7, 8]), golden.logits([7, 8]), strict=True):
        assert np.array_equal(ours, theirs)
    assert np.array_equal(netlist.state().h, golden.state().h)


READING = 20_000
"""Cycles of a look at what a board says by itself."""


class Pins:
    """A board's pins as a device: bytes take their time, and their answer a little more."""

    clock_hz = None
    busy = True

    def __init__(self, pins: PinSim) -> None:
        self.pins = pins

    def exchange(self, data: bytes, cycles: int = 1000) -> bytes:
        return self.pins.exchange(data, cycles + len(data) * 10 * round(ABOUT.clock_hz / ABOUT.baud))
