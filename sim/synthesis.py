"""What a design costs on an FPGA, counted by yosys before placement."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ..models.errors import TritforgeError
from .cache import cached
from .tools import run_yosys, yosys_version

__all__ = ["Counts", "synthesise_counts"]


@dataclass(frozen=True)
class Counts:
    """Cells of a synthesised design, by kind.

    Parameters
    ----------
    lut4
        Four-input lookup tables.
    carry
        Carry cells.
    ff
        Flip-flops.
    bram
        Block RAMs of 4 kbit.
    spram
        Single-port RAMs of 256 kbit.
    dsp
        Multiply-accumulate blocks.
    """

    lut4: int
    carry: int
    ff: int
    bram: int
    spram: int
    dsp: int

    def as_dict(self) -> dict[str, int]:
        """Counts by name."""
        return asdict(self)


_DEVICES = {"up5k": "-device u -dsp", "hx8k": "-device hx"}


def synthesise_counts(
    verilog: str, top: str = "top", *, device: str = "up5k", options: Sequence[str] = ("-abc9",)
) -> Counts:
    """Count the cells of a design after synthesis (cached).

    Parameters
    ----------
    verilog
        The design's text.
    top
        Name of its top module.
    device
        ``up5k`` or ``hx8k``.
    options
        More arguments for yosys' ``synth_ice40``, e.g. ``-no-rw-check``.

    Raises
    ------
    TritforgeError
        If the device is not known.
    ToolError
        If yosys stops with an error.
    """
    if device not in _DEVICES:
        raise TritforgeError(f"there is no device {device!r} to count cells for: choose one of {', '.join(_DEVICES)}")
    arguments = " ".join([_DEVICES[device], *options])

    def build(folder: Path) -> None:
        (folder / "design.v").write_text(verilog)
        run_yosys(
            f"read_verilog design.v\nsynth_ice40 -top {top} {arguments}\ntee -q -o stat.json stat -json\n", folder
        )

    entry = cached("counts", [verilog, top, arguments, yosys_version()], build)
    cells: dict[str, int] = json.loads((entry / "stat.json").read_text())["design"]["num_cells_by_type"]
    return _count(cells)


def _count(cells: dict[str, int]) -> Counts:
    kinds = {"SB_LUT4": "lut4", "SB_CARRY": "carry", "SB_SPRAM256KA": "spram", "SB_MAC16": "dsp"}
    counts = Counter({name: 0 for name in Counts.__dataclass_fields__})
    for cell, number in cells.items():
        if cell.startswith("SB_DFF"):
            counts["ff"] += number
        elif cell.startswith("SB_RAM40"):
            counts["bram"] += number
        elif cell in kinds:
            counts[kinds[cell]] += number
    return Counts(**counts)
