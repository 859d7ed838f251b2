"""What a design costs on an FPGA, counted by yosys before placement."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..models.errors import TritforgeError
from .cache import cached
from .tools import run_yosys, yosys_version

__all__ = ["Counts", "synthesise_counts"]


@dataclass(frozen=True)
class Counts:
    """Cells of a synthesised iCE40 design, by kind (`dataclasses.asdict` makes a dictionary of it).

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


# abc9 of yosys 0.70 can't name the parts of vectors of the same name apart, so it is given single bits.
_SCRIPT = """
read_verilog design.v
{synthesis} -run begin:map_luts
splitnets
{synthesis} -run map_luts:
tee -q -o stat.json stat -json
"""

_DEVICES = {"up5k": "-device u -dsp", "hx8k": "-device hx"}


def synthesise_counts(
    verilog: str, top: str = "top", *, device: str = "up5k", options: Sequence[str] = ()
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
        raise TritforgeError(f"cells can't be counted for device {device!r}: choose {' or '.join(_DEVICES)}")
    synthesis = " ".join(["synth_ice40", "-top", top, _DEVICES[device], *options])

    def build(folder: Path) -> None:
        (folder / "design.v").write_text(verilog)
        run_yosys(_SCRIPT.format(synthesis=synthesis), folder)
        (folder / "design.v").unlink()

    entry = cached("counts", [verilog, synthesis, yosys_version()], build)
    cells: dict[str, int] = json.loads((entry / "stat.json").read_text())["design"]["num_cells_by_type"]

    def count(prefix: str) -> int:
        return sum(number for cell, number in cells.items() if cell.startswith(prefix))

    return Counts(
        lut4=count("SB_LUT4"), carry=count("SB_CARRY"), ff=count("SB_DFF"), bram=count("SB_RAM40"),
        spram=count("SB_SPRAM256KA"), dsp=count("SB_MAC16"),
    )
