"""Cells of small designs whose cost is known, family by family."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyosys
import pytest
from tritforge.hdl.dot import LookupDot
from tritforge.models.errors import TritforgeError
from tritforge.sim import synthesis
from tritforge.sim.harness import Harness
from tritforge.sim.synthesis import (
    DEVICES,
    FAMILIES,
    Counts,
    device_of,
    synthesise_counts,
    synthesised_cells,
)
from tritforge.sim.tools import ToolError
from tritforge.sim.verilog import to_verilog

NOTHING = Counts(lut4=0, carry=0, ff=0, bram=0, lutram=0, dsp=0, spram=0)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITFORGE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def memory(depth: int, width: int, style: str = "") -> str:
    """A memory with a registered read, which nothing reads while it is written."""
    bits = (depth - 1).bit_length()
    return f"""
module top(input clk, we, input [{bits - 1}:0] w, r, input [{width - 1}:0] d, output reg [{width - 1}:0] q);
  (* no_rw_check {style} *) reg [{width - 1}:0] m [0:{depth - 1}];
  always @(posedge clk) begin if (we) m[w] <= d; q <= m[r]; end
endmodule
"""


@pytest.mark.parametrize("family", FAMILIES)
def test_flip_flops_are_counted_and_nothing_else(family: str) -> None:
    ports = "input clk, input [6:0] d, output reg [6:0] q"
    verilog = f"module top({ports}); always @(posedge clk) q <= d; endmodule"
    assert synthesise_counts(verilog, family=family) == replace(NOTHING, ff=7)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_function_of_four_inputs_is_one_table(family: str) -> None:
    verilog = "module top(input [3:0] a, output y); assign y = ^a; endmodule"
    assert synthesise_counts(verilog, family=family) == replace(NOTHING, lut4=1)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_wide_function_counts_the_bits_of_its_tables(family: str) -> None:
    # Parity of six inputs: two LUT4s; or 64 bits, as one LUT6 or as four LUT4s with multiplexers behind.
    verilog = "module top(input [5:0] a, output y); assign y = ^a; endmodule"
    assert synthesise_counts(verilog, family=family).lut4 == (2 if family == "ice40" else 4)
    if family in ("ecp5", "gowin"):
        assert synthesise_counts(verilog, family=family, options=["-nowidelut"]).lut4 < 4


def test_cells_come_with_the_family_s_names() -> None:
    verilog = "module top(input [5:0] a, output y); assign y = ^a; endmodule"
    assert synthesised_cells(verilog, family="xilinx")["LUT6"] == 1
    assert synthesised_cells(verilog)["SB_LUT4"] == 2


@pytest.mark.parametrize("family", FAMILIES)
def test_an_adder_takes_a_carry_and_a_table_a_bit(family: str) -> None:
    verilog = "module top(input [31:0] a, b, output [31:0] y); assign y = a + b; endmodule"
    counts = synthesise_counts(verilog, family=family)
    assert 31 <= counts.carry <= 32
    assert 32 <= counts.lut4 <= 34
    assert replace(counts, carry=0, lut4=0) == NOTHING


@pytest.mark.parametrize(("family", "brams"), [("ice40", 4), ("ecp5", 1), ("gowin", 1), ("xilinx", 1)])
def test_a_large_memory_is_block_ram_of_the_family(family: str, brams: int) -> None:
    counts = synthesise_counts(memory(1024, 16), family=family)
    assert counts.bram == brams
    assert (counts.lutram, counts.spram, counts.dsp) == (0, 0, 0)


@pytest.mark.parametrize(("family", "lutram"), [("ecp5", 12), ("gowin", 8)])
def test_a_small_memory_is_lut_ram_where_tables_hold_16_bits(family: str, lutram: int) -> None:
    counts = synthesise_counts(memory(16, 8, ', ram_style = "distributed"'), family=family)
    assert counts.lutram == lutram
    assert counts.bram == 0
    assert counts.ff == 8


def test_a_small_memory_is_lut_ram_where_tables_hold_64_bits() -> None:
    # Four LUT6s make 32 words of 6 bits, so 12 bits take two such groups.
    counts = synthesise_counts(memory(32, 12, ', ram_style = "distributed"'), family="xilinx")
    assert counts.lutram == 2 * 4 * 4
    assert counts.bram == 0


def test_the_bypass_of_block_ram_is_counted() -> None:
    verilog = memory(256, 16)
    checked = synthesise_counts(verilog.replace("no_rw_check", "keep"))
    assert checked.lut4 > synthesise_counts(verilog).lut4
    assert synthesise_counts(verilog.replace("no_rw_check", "keep"), options=["-no-rw-check"]).ff < checked.ff


@pytest.mark.parametrize("family", FAMILIES)
def test_a_multiplication_is_one_dsp(family: str) -> None:
    verilog = "module top(input [15:0] a, b, output [31:0] y); assign y = a * b; endmodule"
    assert synthesise_counts(verilog, family=family).dsp == 1


def test_a_device_without_dsp_multiplies_in_tables() -> None:
    verilog = "module top(input [15:0] a, b, output [31:0] y); assign y = a * b; endmodule"
    counts = synthesise_counts(verilog, device="hx8k")
    assert counts.dsp == 0
    assert counts.lut4 > 100


def test_a_known_design_is_not_synthesised_again(monkeypatch: pytest.MonkeyPatch) -> None:
    verilog = "module top(input a, b, output y); assign y = a & b; endmodule"
    before = synthesise_counts(verilog)

    def refuse(script: str, folder: Path) -> None:
        raise AssertionError("synthesised again")

    monkeypatch.setattr(synthesis, "run_yosys", refuse)
    assert synthesise_counts(verilog) == before
    for other in ({"family": "ecp5"}, {"device": "hx8k"}, {"options": ["-abc2"]}):
        with pytest.raises(AssertionError, match="synthesised again"):
            synthesise_counts(verilog, **other)  # type: ignore[arg-type]


def test_a_netlist_is_the_same_to_the_byte_whatever_the_place_and_the_environment(tmp_path: Path) -> None:
    # Tables, block RAM and carries, in modules whose ports give a net several names.
    (tmp_path / "design.v").write_text(to_verilog(Harness(LookupDot(2))))
    program = (
        "import pathlib, sys; from tritforge.sim.synthesis import synthesise;"
        "print(synthesise(pathlib.Path(sys.argv[1]).read_text()))"
    )
    netlists = set()
    for run in range(4):
        packages = tmp_path / ("packages" * (run + 1))
        packages.mkdir()
        (packages / "pyosys").symlink_to(Path(pyosys.__file__).parent)
        environment = {
            **os.environ,
            "PYTHONPATH": str(packages),
            "TRITFORGE_CACHE": str(packages / "cache"),
            "ANYTHING": "x" * 777 * run,
        }
        command = [sys.executable, "-P", "-c", program, str(tmp_path / "design.v")]
        said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        netlists.add((Path(said.stdout.strip()) / "netlist.json").read_bytes())
    assert len(netlists) == 1


def test_the_first_device_of_a_family_is_its_default() -> None:
    assert {family: device_of(family) for family in FAMILIES} == {
        "ice40": "up5k", "ecp5": "85f", "gowin": "gw2a", "xilinx": "xc7"
    }
    assert all(device_of(family, device) == device for family in FAMILIES for device in DEVICES[family])


def test_unknown_families_and_devices_are_refused_with_those_that_are_known() -> None:
    sentence = "cells can't be counted for family 'ecp9': choose ice40, ecp5, gowin or xilinx"
    with pytest.raises(TritforgeError, match=sentence):
        synthesise_counts("", family="ecp9")
    sentence = "cells can't be counted for device '85f' of family ice40: choose up5k or hx8k"
    with pytest.raises(TritforgeError, match=sentence):
        synthesise_counts("", device="85f")


def test_a_mistake_in_the_design_is_one_sentence() -> None:
    with pytest.raises(ToolError, match=r"^yosys stopped with exit code 1: .*nonsense"):
        synthesise_counts("module top(output y); nonsense n(y); endmodule")


@pytest.mark.parametrize(("count", "kept"), [(3, False), (4, True)])
def test_an_enable_and_a_reset_of_few_flip_flops_become_logic(count: int, kept: bool) -> None:
    bits = f"[{count - 1}:0]"
    verilog = f"""
      module top(input clk, input e, input r, input {bits} d, output reg {bits} q, output reg {bits} p);
        always @(posedge clk) begin if (e) q <= d; p <= d; if (r) p <= 0; end
      endmodule"""
    cells = synthesised_cells(verilog, sharing=4)
    assert cells == ({"SB_DFFE": 4, "SB_DFFSR": 4} if kept else {"SB_DFF": 6, "SB_LUT4": 6})
    assert synthesised_cells(verilog) == {"SB_DFFE": count, "SB_DFFSR": count}


def test_sharing_is_for_ice40_alone() -> None:
    with pytest.raises(ValueError, match="sharing is for ice40, not for ecp5"):
        synthesised_cells("module top; endmodule", family="ecp5", sharing=4)
