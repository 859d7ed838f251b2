"""Exported Verilog passes its own testbench in Icarus and Verilator, which finds what is wrong."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tritforge.hdl.config import AcceleratorConfig
from tritforge.host.cli import cli
from tritforge.models.config import ModelConfig
from tritforge.models.image import Layout
from tritforge.models.synthesis import synthesise
from tritforge.sim.bench import missing_tools
from tritforge.sim.export import EXPORTS
from tritforge.sim.tools import verilator_environment

# A beat as wide as a bus takes, one that is padded, and one in several words; two streams.
CONFIGS = {
    "stream": AcceleratorConfig("two", Layout(8, 128), 16, 16, 16, 256, vocabulary=16, streams=2),
    "axi": AcceleratorConfig("padded", Layout(24, 128), 16, 16, 16, 256, vocabulary=16),
    "wishbone": AcceleratorConfig("words", Layout(16, 128), 16, 16, 16, 256, vocabulary=16),
}
STATES, RAW = 9, 2 * 7


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["verilog", *map(str, arguments)])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What the command writes, for each bus."""
    work = tmp_path_factory.mktemp("export")
    fields = {"hidden_size": 9, "num_hidden_layers": 1, "vocab_size": 7, "intermediate_size": 11}
    synthesise(ModelConfig(**fields), work / "model", 0)
    for bus, config in CONFIGS.items():
        (work / f"{config.name}.toml").write_text(config.to_toml())
        accel = work / f"{config.name}.toml"
        done = run("--accel", accel, "--model", work / "model", "--bus", bus, "-o", work / bus)
        assert done.exit_code == 0, done.output
    return {bus: work / bus for bus in EXPORTS}


def commands(folder: Path, tool: str) -> str:
    """The line of the folder's README that runs a simulator."""
    (line,) = re.findall(rf"^    ({tool} .*)$", (folder / "README.md").read_text(), re.MULTILINE)
    return str(line)


def shell(command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    everything = os.environ | environment
    return subprocess.run(
        command, shell=True, cwd=folder, env=everything, capture_output=True, text=True, check=False
    )


@pytest.fixture
def icarus() -> None:
    if shutil.which("iverilog") is None:
        pytest.skip("there is no iverilog: install Icarus Verilog (Debian, Ubuntu: apt install iverilog)")


@pytest.fixture
def verilator() -> dict[str, str]:
    if missing := [tool for tool in missing_tools() if "library" not in tool]:
        pytest.skip(f"Verilator's own makefile needs {', '.join(missing)}")
    environment = verilator_environment()
    return {name: environment[name] for name in ("PATH", "VERILATOR_ROOT")}


def passed(done: subprocess.CompletedProcess[str], tokens: int) -> bool:
    told = f"PASS: {tokens} tokens chosen, {RAW} raw logits and "
    return done.returncode == 0 and told in done.stdout


@pytest.mark.parametrize(
    ("bus", "tokens"),
    [
        pytest.param("stream", 7, marks=pytest.mark.slow),
        pytest.param("axi", 5, marks=pytest.mark.slow),
        ("wishbone", 5),
    ],
)
@pytest.mark.usefixtures("icarus")
def test_icarus_passes(bus: str, tokens: int, folders: dict[str, Path]) -> None:
    done = shell(commands(folders[bus], "iverilog"), folders[bus])
    assert passed(done, tokens), done.stdout + done.stderr


@pytest.mark.parametrize(
    ("bus", "tokens"),
    [
        pytest.param("stream", 7, marks=pytest.mark.slow),
        ("axi", 5),
        pytest.param("wishbone", 5, marks=pytest.mark.slow),
    ],
)
def test_verilator_passes_and_finds_what_is_wrong(
    bus: str, tokens: int, folders: dict[str, Path], verilator: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / bus
    shutil.copytree(folders[bus], folder)
    line = commands(folder, "verilator")
    done = shell(line, folder, **verilator)
    assert passed(done, tokens), done.stdout + done.stderr
    program = line.rpartition("&& ")[2]
    for name in ("results", "raw", "starts", "ends", "weights"):
        good = (folder / f"{name}.hex").read_text()
        lines = good.splitlines()
        if name == "weights":
            lines.reverse()
        else:
            lines = [f"{int(line, 16) ^ 0x40:0{len(line)}x}" for line in lines]
        (folder / f"{name}.hex").write_text("\n".join(lines) + "\n")
        found = shell(program, folder)
        (folder / f"{name}.hex").write_text(good)
        assert found.returncode != 0, name
        assert "FAIL: " in found.stdout, name


def test_the_files_are_those_that_are_told(folders: dict[str, Path]) -> None:
    for bus, folder in folders.items():
        told = json.loads((folder / "export.json").read_text())
        top = f"tritforge_{CONFIGS[bus].name}"
        simulated = {f"{top}.vvp", "obj_dir"}
        assert set(told["files"]) == {path.name for path in folder.iterdir()} - simulated
        assert f"module {top}(" in (folder / f"{top}.v").read_text()
        assert ("registers.md" in told["files"]) == (bus != "stream")


def test_the_testbench_takes_its_constants_from_the_register_map(folders: dict[str, Path]) -> None:
    for bus in ("axi", "wishbone"):
        registers = json.loads((folders[bus] / "registers.json").read_text())["registers"]
        offsets = {register["name"]: register["offset"] for register in registers}
        (bench,) = folders[bus].glob("*_tb.v")
        constants = dict(re.findall(r"localparam REG_(\w+) = 12'h([0-9a-f]+);", bench.read_text()))
        constants.pop("SETTINGS")
        assert len(constants) > 10
        for name, offset in constants.items():
            assert int(offset, 16) == offsets[name], name


@pytest.mark.usefixtures("icarus")
@pytest.mark.slow
def test_fusesoc_runs_the_core(folders: dict[str, Path], tmp_path: Path) -> None:
    pytest.importorskip("fusesoc", reason="the core file is tried with fusesoc: pip install tritforge[test]")
    folder = folders["wishbone"]
    (core,) = folder.glob("*.core")
    line = f"{sys.executable} -m fusesoc.main --cores-root {folder} run --target sim {core.stem}"
    done = shell(line, tmp_path)
    assert "PASS: " in done.stdout + done.stderr


def test_the_core_names_every_file_that_a_simulation_reads(folders: dict[str, Path]) -> None:
    need = "the core file is read with pyyaml, which comes with fusesoc: pip install tritforge[test]"
    yaml: Any = pytest.importorskip("yaml", reason=need)
    for folder in folders.values():
        (path,) = folder.glob("*.core")
        text = path.read_text()
        assert text.startswith("CAPI=2:\n")
        core = yaml.safe_load(text.partition("\n")[2])
        assert {"default", "sim", "lint"} <= set(core["targets"])
        options = core["targets"]["sim"]["flow_options"]
        assert (options["tool"], options["iverilog_options"]) == ("icarus", ["-g2012"])
        files = {
            name if isinstance(name, str) else next(iter(name))
            for fileset in core["filesets"].values()
            for name in fileset["files"]
        }
        (bench,) = folder.glob("*_tb.v")
        read = set(re.findall(r'\$readmemh\("([\w.]+)"', bench.read_text()))
        assert files == read | {bench.name, bench.name.replace("_tb.v", ".v")}


def test_an_earlier_export_is_replaced_and_json_tells_the_files(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    shutil.copytree(folders["axi"], folder)
    (folder / "notes.txt").write_text("mine")
    work = folders["axi"].parent
    done = run("--accel", work / "two.toml", "--model", work / "model", "-o", folder, "--json")
    assert done.exit_code == 0
    told = json.loads(done.stdout)
    assert (told["accelerator"], told["bus"], told["top"]) == ("two", "stream", "tritforge_two")
    assert sorted(path.name for path in folder.iterdir()) == sorted([*told["files"], "notes.txt"])
    assert (folder / "notes.txt").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_with_other_files_is_left_alone(folders: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    work = folders["axi"].parent
    arguments = ("--accel", work / "two.toml", "--model", work / "model", "-o")
    done = run(*arguments, tmp_path)
    assert done.exit_code == 1
    assert f"{tmp_path} holds other files, thesis.tex among them: name a new folder" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    done = run(*arguments, tmp_path / "thesis.tex")
    assert done.exit_code == 1
    assert "thesis.tex is a file: name a folder" in done.stderr


def test_a_file_of_one_s_own_is_not_overwritten_beside_an_earlier_export(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    shutil.copytree(folders["stream"], folder)
    (folder / "registers.md").write_text("mine")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    work = folders["axi"].parent
    done = run("--accel", work / "padded.toml", "--model", work / "model", "--bus", "axi", "-o", folder)
    assert done.exit_code == 1
    assert "registers.md is of no earlier export" in done.stderr
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_model_that_does_not_fit_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    done = run("--accel", folders["axi"].parent / "two.toml", "--model", "micro", "-o", tmp_path / "out")
    assert done.exit_code == 1
    assert "does not fit the accelerator two" in done.stderr
    assert not (tmp_path / "out").exists()
