"""What a design costs on an FPGA, counted by yosys before placement; one yosys for all families."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict, Unpack

from ..models.errors import TritforgeError
from .cache import cached
from .tools import run_yosys, yosys_version

__all__ = [
    "DEVICES",
    "FAMILIES",
    "Counts",
    "Synthesis",
    "device_of",
    "synthesis_script",
    "synthesise",
    "synthesise_counts",
    "synthesised_cells",
]


@dataclass(frozen=True)
class Counts:
    """Cells of a synthesised design, in units that device families share.

    Parameters
    ----------
    lut4
        Lookup tables as four-input ones, by the bits that they hold: LUT1 to LUT4 count 1, LUT5 2, LUT6 4.
        The multiplexers that join them to wider ones (PFUMX, L6MUX21, MUX2_LUT5 to 8, MUXF7 to 9) are wired
        beside the tables and count 0. A carry cell that takes lookup tables counts them (CCU2C 2, Gowin's
        ALU 1); on iCE40 and Xilinx the table beside a carry is a cell of its own, and counts as that.
    carry
        Bits of carry chains: SB_CARRY and ALU 1, CCU2C 2, CARRY4 4.
    ff
        Flip-flops.
    bram
        Block RAMs as the family has them: SB_RAM40 (4 kbit), DP16KD and Gowin's BSRAM (18 kbit), RAMB18
        (18 kbit; RAMB36 counts 2).
    lutram
        Lookup tables used as memory or shift register, as four-input ones, beside `lut4`: 1 for 16 bits on
        Gowin, 4 for each six-input one on Xilinx; a TRELLIS_DPR16X4 takes 6, two of them for its write port.
    dsp
        Multipliers as the family has them.
    spram
        Single-port RAMs of 256 kbit.
    """

    lut4: int
    carry: int
    ff: int
    bram: int
    lutram: int
    dsp: int
    spram: int


@dataclass(frozen=True)
class _Family:
    """How a family is synthesised, and what its cells count.

    Parameters
    ----------
    command
        The yosys command without `-top`.
    devices
        Device -> more arguments; the first one is the default.
    weights
        Kind -> beginning of a cell's name -> what one such cell counts. Of several beginnings the longest
        holds.
    settings
        Device -> yosys commands that come before.
    """

    command: str
    devices: Mapping[str, str]
    weights: Mapping[str, Mapping[str, int]]
    settings: Mapping[str, str] = field(default_factory=dict)


_LUTS = {"LUT1": 1, "LUT2": 1, "LUT3": 1, "LUT4": 1}

_FAMILIES = {
    "ice40": _Family(
        "synth_ice40",
        {"up5k": "-device u -dsp", "hx8k": "-device hx"},
        {
            "lut4": {"SB_LUT4": 1},
            "carry": {"SB_CARRY": 1},
            "ff": {"SB_DFF": 1},
            "bram": {"SB_RAM40": 1},
            "dsp": {"SB_MAC16": 1},
            "spram": {"SB_SPRAM256KA": 1},
        },
        # Picoseconds that a wire takes: what routed critical paths of a full UP5K have, rather than yosys'
        # 750, at which carry chains look longer than logic and abc9 saves cells on the paths that matter.
        {"up5k": "scratchpad -set synth_ice40.abc9.W 2300"},
    ),
    "ecp5": _Family(
        "synth_ecp5",
        {"85f": ""},
        {
            "lut4": {**_LUTS, "CCU2C": 2},
            "carry": {"CCU2C": 2},
            "ff": {"TRELLIS_FF": 1},
            "bram": {"DP16KD": 1, "PDPW16KD": 1},
            "lutram": {"TRELLIS_DPR16X4": 6},
            "dsp": {"MULT18X18D": 1},
        },
    ),
    "gowin": _Family(
        "synth_gowin -noiopads",
        {"gw2a": "-family gw2a"},
        {
            "lut4": {**_LUTS, "ALU": 1, "ALU54D": 0},
            "carry": {"ALU": 1, "ALU54D": 0},
            "ff": {"DFF": 1},
            "bram": {"SPB": 1, "SPX9B": 1, "SDPB": 1, "SDPX9B": 1, "DPB": 1, "DPX9B": 1, "pROM": 1},
            "lutram": {f"RAM16{ports}{bits}": bits for ports in ("S", "SDP") for bits in (1, 2, 4)},
            "dsp": {"MULT9X9": 1, "MULT18X18": 1, "MULT36X36": 4, "MULTADDALU": 2, "MULTALU": 1},
        },
    ),
    "xilinx": _Family(
        "synth_xilinx -flatten -noiopad -noclkbuf",
        {"xc7": "-family xc7"},
        {
            "lut4": {**_LUTS, "LUT5": 2, "LUT6": 4, "INV": 1},
            "carry": {"CARRY4": 4},
            "ff": {"FD": 1},
            "bram": {"RAMB18": 1, "RAMB36": 2},
            "lutram": {
                "RAM32M": 16, "RAM64M": 16, "RAM32X1D": 8, "RAM64X1D": 8, "RAM128X1D": 16, "RAM16X1D": 8,
                "RAM32X1S": 4, "RAM64X1S": 4, "RAM128X1S": 8, "RAM256X1S": 16, "SRL16E": 4, "SRLC32E": 4,
            },
            "dsp": {"DSP48E1": 1},
        },
    ),
}

_FAMILY = "ice40"
"""The family of a design of which nothing is said."""

FAMILIES = tuple(_FAMILIES)
"""Device families whose cells can be counted."""

DEVICES = {name: tuple(family.devices) for name, family in _FAMILIES.items()}
"""Family -> its devices; the first one is the default."""

# abc9 of yosys 0.70 can't name the parts of vectors of the same name apart, so it is given single bits.
# splitnets lists them in an order that differs between runs, and which of a net's names is kept would follow
# from it, and from the names where nextpnr puts a cell: so each net keeps one. Threads end in any order, too.
_SCRIPT = """
setenv YOSYS_MAX_THREADS 1
{settings}
read_verilog design.v
{shared}{synthesis} -run {begin}:map_luts
splitnets
opt_clean -purge
{synthesis} -run map_luts:
tee -q -o stat.json stat -json
write_json netlist.json
"""

# As synth_ice40 makes flip-flops legal, but for the last line.
_SHARING = """{synthesis} -run begin:map_ffs
dfflegalize -cell $_DFF_?_ 0 -cell $_DFFE_?P_ 0 -cell $_DFF_?P?_ 0 -cell $_DFFE_?P?P_ 0 \\
  -cell $_SDFF_?P?_ 0 -cell $_SDFFCE_?P?P_ 0 -cell $_DLATCH_?_ x \\
  -mince {least} -minsrst {least}
"""


def device_of(family: str, device: str | None = None) -> str:
    """Return the device, or a family's default one.

    Raises
    ------
    TritforgeError
        If the family or the device is not known.
    """
    if family not in DEVICES:
        raise TritforgeError(f"cells can't be counted for family {family!r}: choose {_or(FAMILIES)}")
    if device is None:
        return DEVICES[family][0]
    if device not in DEVICES[family]:
        raise TritforgeError(
            f"cells can't be counted for device {device!r} of family {family}: choose {_or(DEVICES[family])}"
        )
    return device


class Synthesis(TypedDict, total=False):
    """How a design is synthesised; `synthesis_script` explains each."""

    family: str
    device: str | None
    options: Sequence[str]
    sharing: int


def synthesis_script(
    top: str = "top",
    *,
    family: str = _FAMILY,
    device: str | None = None,
    options: Sequence[str] = (),
    sharing: int = 0,
) -> str:
    """Return the script with which yosys synthesises a design, ``design.v``.

    Parameters
    ----------
    top
        Name of the top module.
    family, device
        One of `FAMILIES` and, if not its default, one of its `DEVICES`.
    options
        More arguments for the family's yosys command, e.g. ``-no-rw-check``.
    sharing
        On iCE40: the fewest flip-flops that keep an enable or a reset of their own; that of fewer becomes
        logic. The eight of a tile share both, so that many small groups leave tiles half empty that a full
        device needs.

    Raises
    ------
    TritforgeError
        If the family or the device is not known.
    ValueError
        If `sharing` is given for a family that has none.
    """
    device = device_of(family, device)
    if sharing and family != "ice40":
        raise ValueError(f"sharing is for ice40, not for {family}")
    chosen = _FAMILIES[family]
    synthesis = " ".join([chosen.command, "-top", top, *chosen.devices[device].split(), *options])
    shared = _SHARING.format(synthesis=synthesis, least=sharing) if sharing else ""
    return _SCRIPT.format(
        settings=chosen.settings.get(device, ""),
        synthesis=synthesis,
        shared=shared,
        begin="map_ffs" if sharing else "begin",
    )


def synthesise(verilog: str, top: str = "top", **settings: Unpack[Synthesis]) -> Path:
    """Synthesise a design (cached); arguments and errors are those of `synthesis_script`, and `ToolError`.

    Returns
    -------
    pathlib.Path
        Folder that holds ``netlist.json``, as nextpnr reads it, and ``stat.json``, yosys' count of cells.
    """
    script = synthesis_script(top, **settings)

    def build(folder: Path) -> None:
        (folder / "design.v").write_text(verilog)
        run_yosys(script, folder)
        (folder / "design.v").unlink()

    return cached("netlist", [verilog, script, yosys_version()], build)


def synthesised_cells(verilog: str, top: str = "top", **settings: Unpack[Synthesis]) -> dict[str, int]:
    """Return how many cells of each type, as the family names them; arguments are those of `synthesise`."""
    entry = synthesise(verilog, top, **settings)
    cells: dict[str, int] = json.loads((entry / "stat.json").read_text())["design"]["num_cells_by_type"]
    return cells


def synthesise_counts(verilog: str, top: str = "top", **settings: Unpack[Synthesis]) -> Counts:
    """Count a design's cells after synthesis (cached); arguments and errors are those of `synthesise`."""
    cells = synthesised_cells(verilog, top, **settings)
    weights = _FAMILIES[settings.get("family", _FAMILY)].weights

    def count(kind: str) -> int:
        return sum(number * _weight(cell, weights.get(kind, {})) for cell, number in cells.items())

    return Counts(**{kind: count(kind) for kind in Counts.__dataclass_fields__})


def _weight(cell: str, weights: Mapping[str, int]) -> int:
    """Return what a cell counts: the weight of the longest beginning of its name, 0 if there is none."""
    beginnings = [beginning for beginning in weights if cell.startswith(beginning)]
    return weights[max(beginnings, key=len)] if beginnings else 0


def _or(names: Sequence[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
