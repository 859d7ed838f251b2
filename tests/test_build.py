"""A component becomes Verilog, the same everywhere; Verilog becomes a library that computes what it says."""

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from amaranth.hdl import Module, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from tritforge.sim import build, tools
from tritforge.sim.build import build_model
from tritforge.sim.tools import ToolError
from tritforge.sim.verilog import to_verilog


class Accumulator(wiring.Component):
    """Adds `step` to a sum each clock; a memory holds the last 256 sums."""

    def __init__(self, step: int = 1) -> None:
        self.step = step
        bus = wiring.Signature({"address": Out(8), "data": In(16)})
        super().__init__({"total": Out(16), "read": In(bus)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.memory = memory = Memory(shape=16, depth=256, init=[])
        write, read = memory.write_port(), memory.read_port()
        m.d.sync += self.total.eq(self.total + self.step)
        m.d.comb += [
            write.addr.eq(self.total), write.data.eq(self.total), write.en.eq(1),
            read.addr.eq(self.read.address), self.read.data.eq(read.data),
        ]
        return m


DRIVER = """
#include "Vmodel.h"
#include "step.h"
extern "C" __attribute__((visibility("default"))) int after(int cycles) {
    VerilatedContext context;
    Vmodel model{&context};
    model.rst = 0;
    for (int i = 0; i < cycles; ++i) {
        model.clk = 0; model.eval();
        model.clk = 1; model.eval();
    }
    return model.total;
}
"""


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITFORGE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("CXX", raising=False)
        yield


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("a folder")
    (folder / "driver.cpp").write_text(DRIVER)
    (folder / "step.h").write_text("#pragma once\n")
    return folder / "driver.cpp"


def test_ports_are_the_signatures_members_clock_and_reset() -> None:
    header = to_verilog(Accumulator(), "accumulator").split("module accumulator(")[1].split(");")[0]
    ports = {name.strip() for name in header.split(",")}
    assert ports == {"clk", "rst", "total", "read__address", "read__data"}


def test_verilog_is_the_same_in_every_run_and_names_no_files() -> None:
    here = to_verilog(Accumulator())
    program = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); "
        "from test_build import Accumulator, to_verilog; sys.stdout.write(to_verilog(Accumulator()))"
    )
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        assert done.stdout == here
    assert "test_build" not in here
    assert "src =" not in here


def test_a_library_computes_what_the_design_says(driver: Path) -> None:
    library = ctypes.CDLL(str(build_model(to_verilog(Accumulator(3)), "top", driver)))
    assert [library.after(cycles) for cycles in (1, 1000, 65535)] == [3, 3000, 65533]


class Bytes(wiring.Component):
    """A memory of words of 100 bytes; in each cycle one value goes to the enabled bytes of a word."""

    def __init__(self) -> None:
        bus = {"address": Out(2), "enable": Out(100), "value": Out(8)}
        super().__init__({"write": In(wiring.Signature(bus)), "address": In(2), "word": Out(800)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.memory = memory = Memory(shape=unsigned(800), depth=4, init=[])
        write, read = memory.write_port(granularity=8), memory.read_port()
        m.d.comb += [
            write.addr.eq(self.write.address), write.en.eq(self.write.enable),
            write.data.eq(self.write.value.replicate(100)),
            read.addr.eq(self.address), self.word.eq(read.data),
        ]
        return m


BYTES_DRIVER = """
#include <cstring>
#include "Vmodel.h"
extern "C" __attribute__((visibility("default")))
void write_and_read(const unsigned char *writes, int count, unsigned char *words) {
    VerilatedContext context;
    Vmodel model{&context};
    auto clock = [&] { model.clk = 0; model.eval(); model.clk = 1; model.eval(); };
    for (; count--; writes += 16) {
        model.write___05Faddress = writes[0];
        model.write___05Fvalue = writes[1];
        std::memcpy(&model.write___05Fenable, writes + 2, 13);
        clock();
    }
    std::memset(&model.write___05Fenable, 0, 13);
    for (int address = 0; address < 4; ++address) {
        model.address = address;
        clock();
        std::memcpy(words + 100 * address, &model.word, 100);
    }
}
"""


def test_a_memory_with_byte_enables_keeps_what_was_written_to_each_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "driver.cpp").write_text(BYTES_DRIVER)
    designs: list[str] = []

    def run_verilator(arguments: list[str], folder: Path) -> None:
        designs.append((folder / "design.v").read_text())
        tools.run_verilator(arguments, folder)

    monkeypatch.setattr(build, "run_verilator", run_verilator)
    library = ctypes.CDLL(str(build_model(to_verilog(Bytes()), "top", tmp_path / "driver.cpp")))
    assert "for (k = 0; k < 100; k = k + 1)" in designs[0]

    random = np.random.default_rng(1)
    writes = random.integers(0, 256, (300, 16), np.uint8)
    writes[:, 0] &= 3
    writes[::2, 2:15] &= random.integers(0, 256, (150, 13), np.uint8)
    writes[100:110, 2:15] = 0
    writes[110:120, 2:15] = 255
    writes[:, 14] &= 0x0F  # 100 enables
    expected = np.zeros((4, 100), np.uint8)
    for address, value, *enable in writes[:, :15]:
        expected[address][np.unpackbits(np.array(enable, np.uint8), bitorder="little")[:100] == 1] = value
    words = np.zeros_like(expected)
    library.write_and_read(writes.tobytes(), len(writes), ctypes.c_void_p(words.ctypes.data))
    assert np.array_equal(words, expected)


def test_two_models_in_one_process_stay_apart(driver: Path) -> None:
    three, five = (ctypes.CDLL(str(build_model(to_verilog(Accumulator(n)), "top", driver))) for n in (3, 5))
    assert (three.after(7), five.after(7), three.after(7)) == (21, 35, 21)


def test_a_built_model_is_found_again_and_its_folder_holds_the_library_alone(
    driver: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verilog = to_verilog(Accumulator(3))
    library = build_model(verilog, "top", driver)
    assert list(library.parent.iterdir()) == [library]

    def refuse(*_: object) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr(build, "run_verilator", refuse)
    assert build_model(verilog, "top", driver) == library


@pytest.mark.parametrize("change", ["verilog", "cpp", "header", "options", "compiler", "verilator"])
def test_a_change_of_anything_that_goes_in_builds_anew(
    change: str, driver: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verilog = to_verilog(Accumulator(3))
    before = build_model(verilog, "top", driver)
    shutil.copytree(driver.parent, tmp_path / "copy")
    copy = tmp_path / "copy" / driver.name
    options: list[str] = []
    if change == "verilog":
        verilog += "\n"
    elif change == "cpp":
        copy.write_text(DRIVER + "\n")
    elif change == "header":
        (copy.parent / "step.h").write_text("#pragma once\n\n")
    elif change == "options":
        options = ["--stats"]
    elif change == "compiler":
        monkeypatch.setattr(build, "compiler_version", lambda: "another")
    else:
        monkeypatch.setattr(build, "verilator_version", lambda: "another")
    monkeypatch.setattr(build, "run_verilator", _stop)
    with pytest.raises(StopIteration):
        build_model(verilog, "top", copy, options=options)
    monkeypatch.undo()
    os.environ["TRITFORGE_CACHE"] = str(before.parent.parent.parent)


def _stop(*_: object) -> None:
    raise StopIteration


def test_an_unchanged_copy_elsewhere_is_the_same_model(driver: Path, tmp_path: Path) -> None:
    shutil.copytree(driver.parent, tmp_path / "copy")
    verilog = to_verilog(Accumulator(3))
    assert build_model(verilog, "top", tmp_path / "copy" / driver.name) == build_model(verilog, "top", driver)


def test_a_mistake_in_the_driver_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "bad.cpp").write_text("int f() { return nonsense; }\n")
    with pytest.raises(ToolError, match=r"bad\.cpp:1:.*nonsense"):
        build_model(to_verilog(Accumulator()), "top", tmp_path / "bad.cpp")
