"""Where nextpnr has put a design's cells, which unit each belongs to, and the path that limits the clock."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["TOP", "Cell", "Segment", "critical_path", "placed_cells", "unit_finder", "units_of"]

TOP = "top"
"""Name of the unit of what belongs to no other one, and of the top module."""

_MODULE = re.compile(rf"^module \\?{TOP}\.(\S+?) ?\(", re.MULTILINE)
_BEL = re.compile(r"X(\d+)/Y(\d+)/(\w+)")


@dataclass(frozen=True)
class Cell:
    """A placed cell.

    Parameters
    ----------
    name
        Its name in the netlist, dots between the units that it lies in.
    kind
        Its type in nextpnr's names.
    x, y
        Its tile.
    bel
        Its place in the tile, e.g. ``lc3``.
    """

    name: str
    kind: str
    x: int
    y: int
    bel: str


@dataclass(frozen=True)
class Segment:
    """A stretch of a path within one unit.

    Parameters
    ----------
    unit
        The unit, dots between the units that it lies in.
    logic, routing
        Time in ns that cells take, and that the wires to them take.
    """

    unit: str
    logic: float
    routing: float


def placed_cells(file: Path) -> list[Cell]:
    """Cells of a design that nextpnr wrote with ``--write``, in the order of their names."""
    cells: Mapping[str, Any] = json.loads(file.read_text())["modules"][TOP]["cells"]
    found = []
    for name, cell in sorted(cells.items()):
        if place := _BEL.fullmatch(cell["attributes"].get("NEXTPNR_BEL", "")):
            found.append(Cell(name, cell["type"], int(place[1]), int(place[2]), place[3]))
    return found


def units_of(verilog: str) -> list[str]:
    """Units of a design, dots between the units that one lies in, as `to_verilog` names the modules."""
    return sorted(set(_MODULE.findall(verilog)))


def unit_finder(units: Iterable[str], depth: int | None = None) -> Callable[[str], str]:
    """Return a function that finds the unit of a cell by the cell's name.

    Parameters
    ----------
    units
        What `units_of` returned.
    depth
        Units below this level count as the one above them.

    Returns
    -------
    callable
        Gives the innermost unit with whose name a cell's begins, `TOP` if there is none.
    """
    known = {".".join(unit.split(".")[:depth]) for unit in units}

    def unit_of(cell: str) -> str:
        parts = cell.split(".")
        outwards = (".".join(parts[:length]) for length in range(len(parts) - 1, 0, -1))
        return next((unit for unit in outwards if unit in known), TOP)

    return unit_of


def critical_path(path: Sequence[Mapping[str, Any]], units: Callable[[str], str]) -> list[Segment]:
    """Sum a path of nextpnr's report up by unit.

    Parameters
    ----------
    path
        Steps, as the report's ``critical_paths`` have them.
    units
        A `unit_finder`; a wire counts for the unit that it leads to.
    """
    segments: list[Segment] = []
    for step in path:
        cell = step["to"]["cell"]
        # nextpnr's own cells, into and out of carry chains, go with what is before them.
        unit = segments[-1].unit if segments and cell.startswith("$nextpnr") else units(cell)
        last = segments.pop() if segments and segments[-1].unit == unit else Segment(unit, 0.0, 0.0)
        routing = step["delay"] if step["type"] == "routing" else 0.0
        segments.append(Segment(unit, last.logic + step["delay"] - routing, last.routing + routing))
    return segments
