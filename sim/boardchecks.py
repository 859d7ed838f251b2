"""What must hold of a design before it becomes a bitstream: each function raises if its rule is broken.

No combinational loop, no latch, no wire without a driver; every clock constrained; nothing crosses from one
clock domain to another, or comes from outside, but where the design says so.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from ..models.errors import TritforgeError
from .cache import cached
from .placement import TOP
from .tools import run_yosys, yosys_version

__all__ = ["clock_name", "require_clean", "require_clocks", "require_synchronisers"]

_SCRIPT = f"""
read_verilog -lib +/ice40/cells_sim.v
read_verilog design.v
hierarchy -check -top {TOP}
proc
flatten
opt_clean
tee -q -o latches.txt select -list t:$dlatch t:$adlatch t:$dlatchsr t:SB_DFF*LATCH*
tee -q -o check.txt check
"""


def require_clean(verilog: str) -> None:
    """Refuse a combinational loop, a latch, and a wire that nothing or more than one thing drives (cached).

    Parameters
    ----------
    verilog
        The design's text.

    Raises
    ------
    TritforgeError
        With the first thing found.
    ToolError
        If yosys can't read the design.
    """

    def build(folder: Path) -> None:
        (folder / "design.v").write_text(verilog)
        run_yosys(_SCRIPT, folder)

    folder = cached("check", [verilog, _SCRIPT, yosys_version()], build)
    if latches := (folder / "latches.txt").read_text().split():
        raise TritforgeError(f"the design has a latch, {latches[0]}: give every case of its value a register")
    found = (folder / "check.txt").read_text()
    if loop := re.search(r"found logic loop in module .*?\n((?: .*\n)+)", found):
        wires = re.findall(r"wire \\?(\S+)", loop[1])
        raise TritforgeError(f"the design has a combinational loop: {' -> '.join(dict.fromkeys(wires))}")
    if problems := re.findall(r"^Warning: (.*)$", found, re.MULTILINE):
        raise TritforgeError(f"the design is not sound: {problems[0]}")


def clock_name(net: str) -> str:
    """Return the design's name of a clock that nextpnr's report names after its buffers."""
    return re.sub(r"(\$SB_IO_IN)?(_?\$glb_clk)?$", "", net)


def require_clocks(
    report: Mapping[str, Any], clocks: Mapping[str, float], crossings: Collection[tuple[str, str]]
) -> None:
    """Refuse a clock that is not constrained, and a path between clocks that is not expected.

    Parameters
    ----------
    report
        What nextpnr wrote with ``--report``.
    clocks
        The clocks that the design says it has, by name.
    crossings
        Pairs of clocks between which the design says that signals go.

    Raises
    ------
    TritforgeError
        With the first clock or crossing that was not expected.
    """
    expected = ", ".join(clocks) or "none"
    for net in report["fmax"]:
        if (name := clock_name(net)) not in clocks:
            raise TritforgeError(f"the clock {name} is not constrained: the design's clocks are {expected}")
    for path in report["critical_paths"]:
        ends = [clock_name(path[end].partition(" ")[2]) for end in ("from", "to")]
        if all(ends) and ends[0] != ends[1] and tuple(ends) not in crossings:
            raise TritforgeError(
                f"a signal crosses from clock {ends[0]} to clock {ends[1]}, which the design does not list:"
                f" {path['path'][0]['from']['cell']} to {path['path'][-1]['to']['cell']}"
            )


_CLOCKS_AND_PINS = {
    "C", "CLK", "CLOCK", "RCLK", "WCLK", "INPUT_CLK", "OUTPUT_CLK", "USER_SIGNAL_TO_GLOBAL_BUFFER",
    "PACKAGE_PIN", "PACKAGEPIN", "REFERENCECLK",
}  # fmt: skip
_LUT_INPUTS = {"I0", "I1", "I2", "I3"}
_Users: TypeAlias = "defaultdict[int, list[tuple[str, str]]]"
# Flip-flops whose set or reset needs no clock.
_ASYNCHRONOUS = re.compile(r"SB_DFFN?E?[RS]")


def require_synchronisers(netlist: Path, sampled: Collection[str] = ()) -> None:
    """Refuse an input that the logic could see at any time.

    Each input, and a PLL's lock, must go to the data of one flip-flop that feeds only one other flip-flop, or
    to asynchronous sets and resets alone; clocks are no inputs in this sense.

    Parameters
    ----------
    netlist
        The synthesised design, ``netlist.json``.
    sampled
        Inputs that are read only while they are known to be stable.

    Raises
    ------
    TritforgeError
        With the first input that goes elsewhere.
    """
    module = json.loads(netlist.read_text())["modules"][TOP]
    cells = module["cells"]
    users: _Users = defaultdict(list)
    for name, cell in cells.items():
        for port, bits in cell["connections"].items():
            if cell["port_directions"].get(port) != "output":
                for bit in bits:
                    users[bit].append((name, port))
    sources = {
        name: port["bits"][0] for name, port in module["ports"].items() if port["direction"] == "input"
    }
    for name, cell in cells.items():
        for port in ("LOCK", "D_IN_0"):
            if bits := cell["connections"].get(port):
                sources[name] = bits[0]
    for source, bit in sources.items():
        bit = _inverted(cells, users, bit)
        if source in sampled or all(_harmless(cells[cell], port) for cell, port in users[bit]):
            continue
        first = _flip_flop(cells, users, bit)
        if first is None or _flip_flop(cells, users, _inverted(cells, users, first)) is None:
            raise TritforgeError(
                f"the input {source} reaches {', '.join(cell for cell, _ in users[bit][:3])} without a"
                " synchroniser of two flip-flops"
            )


def _inverted(cells: Mapping[str, Any], users: _Users, bit: int) -> int:
    """Return the inverted signal if nothing but an inverter uses this one, else this one."""
    if len(users[bit]) == 1:
        name, port = users[bit][0]
        cell = cells[name]
        if cell["type"] == "SB_LUT4":
            others = (cell["connections"][each][0] for each in _LUT_INPUTS - {port})
            if not any(isinstance(other, int) for other in others):    # constants are texts
                return int(cell["connections"]["O"][0])
    return bit


def _flip_flop(cells: Mapping[str, Any], users: _Users, bit: int) -> int | None:
    """Return the output of the flip-flop whose data a signal is, if it is nothing else."""
    if len(users[bit]) == 1:
        name, port = users[bit][0]
        if port == "D" and cells[name]["type"].startswith("SB_DFF"):
            return int(cells[name]["connections"]["Q"][0])
    return None


def _harmless(cell: Mapping[str, Any], port: str) -> bool:
    """Whether what arrives there may change at any time: a clock, a buffer's pin, an asynchronous reset."""
    kind = cell["type"]
    if port in ("R", "S"):
        return _ASYNCHRONOUS.fullmatch(kind) is not None
    return port in _CLOCKS_AND_PINS
