"""Every unit's bench, its cases by name: in Amaranth's simulator, and on its Verilog under cocotb."""

import shutil
from dataclasses import replace
from pathlib import Path

import cocotb_tools.config
import numpy as np
import pytest
from tritforge.hdl.config import AcceleratorConfig
from tritforge.sim.bench import BENCHES, _without_spaces, bench_cases, missing_tools, run_bench
from tritforge.sim.benches.driver import MismatchError, expect, simulate
from tritforge.sim.benches.library import LIBRARY
from tritforge.sim.units import parts

Results = dict[str, dict[str, str | None]]


@pytest.mark.parametrize(("unit", "case"), [(name, case) for name in LIBRARY for case in LIBRARY[name].cases])
def test_unit(unit: str, case: str) -> None:
    bench = LIBRARY[unit]
    simulate(bench.make(), bench.cases[case])


@pytest.fixture(scope="module")
def results() -> Results:
    """Results of the benches that have run."""
    if missing := missing_tools():
        pytest.skip(f"cocotb benches need {', '.join(missing)}")
    return {}


@pytest.mark.parametrize(
    ("bench", "case"), [(bench, case) for bench in BENCHES for case in bench_cases(bench)]
)
def test_bench(bench: str, case: str, results: Results) -> None:
    if bench not in results:
        results[bench] = run_bench(bench)
    assert results[bench][case] is None


@pytest.mark.parametrize("vector_width", [1, 2])
def test_every_unit_of_the_accelerator_has_a_bench(vector_width: int) -> None:
    config = replace(AcceleratorConfig.load("up5k"), vector_width=vector_width)
    units = {type(part.component) for part in parts(config).values()}
    assert units <= {bench.unit for bench in LIBRARY.values()}


def test_every_case_of_every_unit_runs_on_verilog() -> None:
    cases = [f"{name}_{case}" for name, bench in LIBRARY.items() for case in {**bench.cases, **bench.long}]
    assert sorted(bench_cases("units")) == sorted(cases)


def test_a_difference_is_told_with_its_place() -> None:
    expect("sums", np.array([1, 2]), [1, 2])
    expect("level", 3, 3)
    with pytest.raises(MismatchError, match=r"^sums\[1\]: expected 3, got 2$"):
        expect("sums", [1, 2], np.array([1, 3]))
    with pytest.raises(MismatchError, match=r"^sums: expected 3 values, got 2$"):
        expect("sums", [1, 2], [1, 2, 3])
    with pytest.raises(MismatchError, match=r"^level: expected 4, got 3$"):
        expect("level", 3, 4)
    with pytest.raises(MismatchError, match=r"^rows\[1\]: expected \(1, 5\), got \(1, 4\)$"):
        expect("rows", [(0, 4), (1, 4)], [(0, 4), (1, 5)])


def test_packages_in_a_folder_with_spaces_are_reached_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = tmp_path / "with spaces"
    packages.mkdir()
    monkeypatch.setattr(cocotb_tools.config, "libs_dir", packages)
    link = _without_spaces(tmp_path, "libs_dir")
    assert " " not in str(link)
    assert link.resolve() == packages
    monkeypatch.setattr(cocotb_tools.config, "libs_dir", tmp_path)
    assert _without_spaces(tmp_path, "libs_dir") == tmp_path


def test_missing_tools_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tritforge.sim.bench.find_libpython", lambda: "libpython.so")
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "perl" else f"/usr/bin/{name}")
    assert missing_tools() == ["perl"]
    monkeypatch.setattr("tritforge.sim.bench.find_libpython", lambda: None)
    assert missing_tools() == ["perl", "Python's shared library (in Debian libpython3-dev)"]
