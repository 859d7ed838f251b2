"""Verilator models compiled into shared libraries.

The C++ compiler is called from here, not through Verilator's makefile: that needs make, perl and a program
called `python`, can't stand spaces in paths, and builds Verilator's run-time library anew for every model.
Finished libraries lie in the cache (`sim/cache.py`), so a model is compiled once on a machine.
"""

import ctypes
import os
import platform
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from .cache import cached
from .tools import compiler_version, run_compiler, run_verilator, verilator_root, verilator_version

__all__ = ["PREFIX", "build_model", "load_library"]

PREFIX = "Vmodel"
"""Name of the model's class; its header is ``Vmodel.h``."""

_VERILATOR = ("--cc", "-O3", "--x-assign", "fast", "--x-initial", "fast", "--no-assert", "--prefix", PREFIX)
# Models of the same class in one process must not see each other's symbols: nothing is visible but what the
# C++ code marks with __attribute__((visibility("default"))).
_COMMON = ("-std=c++17", "-fPIC", "-fvisibility=hidden", "-DVERILATOR=1", "-DVL_TIME_CONTEXT")
_FAST = "-O3"
# Set-up code is large and runs once.
_SLOW = "-O0"
# zlib and LZ4, which Verilator's FST writer needs, by the names that Linux systems have without the packages
# for developers; zlib.h and lz4.h beside this file stand in for their headers.
_COMPRESSION = ("-lz", "-llz4") if sys.platform == "darwin" else ("-l:libz.so.1", "-l:liblz4.so.1")
# A memory's write port with an enable a byte, as yosys writes it: every byte is a statement of its own.
_BYTE = r"    if \((\\?\S+ ?)\[(\d+)\]\)\n      (.+)\[(\d+):(\d+)\] <= (.+);\n"
_BYTES = re.compile(rf"(  always @\(posedge \w+\) begin)\n((?:{_BYTE}){{2,}})  end\n")


def build_model(verilog: str, top: str, cpp: Path | Sequence[Path], *, options: Sequence[str] = ()) -> Path:
    """Shared library of a Verilog design and the C++ code that drives it.

    Progress is shown on standard error if that is a terminal.

    Parameters
    ----------
    verilog
        The design's text.
    top
        Name of its top module.
    cpp
        C++ files to compile along with the model. They may include ``Vmodel.h`` and headers of their own
        folders, and mark what they export: ``extern "C" __attribute__((visibility("default")))``.
    options
        More arguments for Verilator, e.g. ``--trace-fst``.

    Returns
    -------
    Path
        The library, in the cache; load it with `ctypes.CDLL`.

    Raises
    ------
    ToolError
        If there is no C++ compiler, or a tool stops with an error.
    """
    verilog = _with_loops(verilog)
    sources = [source.resolve() for source in ([cpp] if isinstance(cpp, Path) else cpp)]
    headers = sorted({header for source in sources for header in source.parent.glob("*.h")})
    key = [
        verilog, top, *_VERILATOR, *options, *_COMMON, _FAST, _SLOW, verilator_version(), *_compiler_key(),
        *(part for file in [*sources, *headers] for part in (file.name, file.read_bytes())),
    ]

    def build(folder: Path) -> None:
        (folder / "design.v").write_text(verilog)
        _build(folder, top, sources, options)
        for file in folder.iterdir():
            if file.name != _library_name():
                file.unlink()

    return cached("models", key, build) / _library_name()


def _build(folder: Path, top: str, sources: Sequence[Path], options: Sequence[str]) -> None:
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("Verilator", total=None)
        run_verilator([*_VERILATOR, *options, "--Mdir", ".", "--top-module", top, "design.v"], folder)

        make = _read_makefile((folder / f"{PREFIX}_classes.mk").read_text())
        switches = [f"-D{name}={value[0]}" for name, value in make.items() if value in (["0"], ["1"])]
        include = verilator_root() / "include"
        flags = [*_COMMON, *switches, "-isystem", str(include), "-isystem", str(include / "vltstd")]
        flags += [f"-I{parent}" for parent in (".", *dict.fromkeys(source.parent for source in sources))]

        jobs = [(str(source), f"user{number}.o", _FAST) for number, source in enumerate(sources)]
        for speed, level in (("FAST", _FAST), ("SLOW", _SLOW)):
            names = make[f"VM_CLASSES_{speed}"] + make[f"VM_SUPPORT_{speed}"]
            jobs += [(f"{name}.cpp", f"{name}.o", level) for name in names]
        progress.update(task, description="C++ compiler", total=len(jobs) + 1)

        def compile_one(job: tuple[str, str, str]) -> str:
            source, target, level = job
            run_compiler([*flags, level, "-c", source, "-o", target], folder)
            progress.advance(task)
            return target

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            runtime = pool.submit(_runtime, make["VM_GLOBAL_FAST"] + make["VM_GLOBAL_SLOW"], switches)
            objects = [*pool.map(compile_one, jobs), *runtime.result()]
        libraries = _COMPRESSION if make["VM_TRACE_FST"] == ["1"] else ()
        run_compiler(["-shared", *objects, *libraries, "-pthread", "-o", _library_name()], folder)


def _runtime(names: Sequence[str], switches: Sequence[str]) -> list[str]:
    """Object files of Verilator's run-time library, which all models share."""
    include = verilator_root() / "include"
    flags = [*_COMMON, *switches, _FAST]
    places = ["-isystem", str(include), "-isystem", str(Path(__file__).parent)]

    def build(folder: Path) -> None:
        for name in names:
            source = str(include / f"{name}.cpp")
            run_compiler([*flags, *places, "-c", source, "-o", f"{name}.o"], folder)

    headers = (file.read_bytes() for file in sorted(Path(__file__).parent.glob("*.h")))
    folder = cached("runtime", [*names, *flags, *headers, verilator_version(), *_compiler_key()], build)
    return [str(folder / f"{name}.o") for name in names]


def _with_loops(verilog: str) -> str:
    """Write one value to any bytes of a memory's word in a loop rather than in a statement for each byte.

    For each statement Verilator keeps a flag, an address and a value, and looks at all of them in every
    cycle; for a loop it keeps a list of what was written. At 208 bytes that was a sixth of the time.
    """

    def loop(match: re.Match[str]) -> str:
        enables, numbers, words, highs, lows, values = zip(*re.findall(_BYTE, match[2]), strict=True)
        count, width = len(numbers), int(highs[0]) + 1
        places = [(str(k), str(width * (k + 1) - 1), str(width * k)) for k in range(count)]
        one_each = all(len(set(each)) == 1 for each in (enables, words, values))
        if not one_each or list(zip(numbers, highs, lows, strict=True)) != places:
            return match[0]
        return (
            f"{match[1]} : bytes{match.start()}\n"
            "    integer k;\n"
            f"    if (|{enables[0]}) for (k = 0; k < {count}; k = k + 1)\n"
            f"      if ({enables[0]}[k]) {words[0]}[{width} * k +: {width}] <= {values[0]};\n"
            "  end\n"
        )

    return _BYTES.sub(loop, verilog)


def _compiler_key() -> tuple[str, ...]:
    return compiler_version(), platform.machine(), sys.platform


def _library_name() -> str:
    return "model.dylib" if sys.platform == "darwin" else "model.so"


def _read_makefile(text: str) -> dict[str, list[str]]:
    """Variables of the makefile in which Verilator lists what it has generated."""
    variables: defaultdict[str, list[str]] = defaultdict(list)
    for name, words in re.findall(r"^(VM_\w+) \+?= *(.*)$", text.replace("\\\n", " "), re.MULTILINE):
        variables[name] += words.split()
    return variables


def load_library(path: Path, prefix: str, functions: Iterable[tuple[str, Any, Sequence[Any]]]) -> ctypes.CDLL:
    """Load a library that `build_model` made.

    Parameters
    ----------
    path
        The library.
    prefix
        With what, and ``_``, the names of its functions begin.
    functions
        The rest of a function's name, its result's type, and its arguments' types, of `ctypes`.
    """
    library = ctypes.CDLL(str(path))
    for name, result, arguments in functions:
        function = getattr(library, f"{prefix}_{name}")
        function.restype, function.argtypes = result, arguments
    return library
