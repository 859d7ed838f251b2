"""The cocotb benches, each of their tests by name."""

import shutil
from pathlib import Path

import cocotb_tools.config
import pytest
from tritforge.sim.bench import BENCHES, _without_spaces, bench_cases, missing_tools, run_bench

Results = dict[str, dict[str, str | None]]


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
