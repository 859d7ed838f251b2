"""Builds and runs the cocotb benches of `sim/benches/`.

cocotb's runner finds Verilator on the path, and compiles with make; the compiled simulation is kept in the
cache (`sim/cache.py`), and all that a run writes goes to a temporary folder.
"""

import importlib
import os
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch
from xml.etree import ElementTree

import cocotb_tools.config
from cocotb.regression import TestGenerator
from cocotb_tools.runner import get_runner
from find_libpython import find_libpython

from .cache import cached
from .tools import (
    VERILATOR_MAKE_FLAGS,
    ToolError,
    compiler_version,
    verilator_environment,
    verilator_version,
)
from .verilog import to_verilog

__all__ = ["BENCHES", "bench_cases", "missing_tools", "run_bench"]

BENCHES = ("units", "whole")
"""The benches by name."""

_TOP = "top"


def missing_tools() -> list[str]:
    """What a bench needs beside the Python packages, and that is not here."""
    missing = [name for name in ("make", "perl", "g++") if shutil.which(name) is None]
    return missing if find_libpython() else [*missing, "Python's shared library (in Debian libpython3-dev)"]


def bench_cases(name: str) -> list[str]:
    """The cocotb tests of a bench."""
    generators = [value for value in vars(_module(name)).values() if isinstance(value, TestGenerator)]
    return [case.name for generator in generators for case in generator.generate_tests()]


def run_bench(name: str) -> dict[str, str | None]:
    """Run a bench.

    Returns
    -------
    dict
        For every cocotb test None, or what failed.

    Raises
    ------
    ToolError
        If the simulation can't be built, or ends without a result.
    """
    verilog = to_verilog(_module(name).design(), _TOP)
    key = [
        verilog,
        verilator_version(),
        version("cocotb"),
        str(cocotb_tools.config.libs_dir),
        compiler_version(),
    ]
    # The runner looks for tools on this process's own path, and behaves otherwise within pytest.
    environment = verilator_environment()
    environment.pop("PYTEST_CURRENT_TEST", None)
    environment["MAKEFLAGS"] = VERILATOR_MAKE_FLAGS
    # Where the simulation looks for cocotb if it was linked by another path (`_build`).
    paths = [str(cocotb_tools.config.libs_dir), environment.get("LD_LIBRARY_PATH", "")]
    environment["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, paths))
    with patch.dict(os.environ, environment, clear=True), tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        simulation = cached("benches", key, lambda entry: _build(verilog, entry))
        return _run(name, simulation, folder)


def _module(name: str) -> ModuleType:
    return importlib.import_module(f".benches.{name}", __package__)


def _build(verilog: str, entry: Path) -> None:
    # make can't stand spaces in paths, which a cache folder and an environment's packages may have.
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "design.v").write_text(verilog)
        log = folder / "log.txt"
        cocotb: dict[str, Any] = {name: _without_spaces(folder, name) for name in ("libs_dir", "share_dir")}
        try:
            with patch.multiple(cocotb_tools.config, **cocotb):
                get_runner("verilator").build(
                    sources=[folder / "design.v"],
                    hdl_toplevel=_TOP,
                    build_dir=folder / "build",
                    log_file=log,
                    build_args=["-Wno-lint", "-Wno-fatal"],
                )
        except RuntimeError as error:
            raise ToolError(f"the bench can't be compiled: {_cause(log)}") from error
        shutil.copy2(folder / "build" / _TOP, entry / _TOP)


def _without_spaces(folder: Path, name: str) -> Path:
    """Return a folder of cocotb's, by a link where its path has spaces."""
    target = Path(getattr(cocotb_tools.config, name))
    if " " not in str(target):
        return target
    link = folder / name
    link.symlink_to(target)
    return link


def _run(name: str, simulation: Path, folder: Path) -> dict[str, str | None]:
    log = folder / "log.txt"
    runner = get_runner("verilator")
    try:
        results = runner.test(
            test_module=f"{_module(name).__name__}",
            hdl_toplevel=_TOP,
            hdl_toplevel_lang="verilog",
            build_dir=simulation,
            test_dir=folder,
            results_xml=str(folder / "results.xml"),
            log_file=log,
        )
        cases = list(ElementTree.parse(results).iter("testcase"))
    except (OSError, SystemExit, ElementTree.ParseError) as error:
        raise ToolError(f"the bench {name} ended without a result: {_cause(log)}") from error
    return {case.attrib["name"]: _failure(case) for case in cases}


def _failure(case: ElementTree.Element) -> str | None:
    for kind in ("failure", "error", "skipped"):
        if (found := case.find(kind)) is not None:
            return " ".join(found.attrib.values()) or found.text or kind
    return None


def _cause(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return ([line for line in lines if "rror" in line] or lines[-1:] or ["it said nothing"])[0]
