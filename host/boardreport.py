"""The report of a board's build: figures for programs, tables for people, and a page with the floor plan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from ..sim.boardbuild import CLOCK_LIMITS, MARGIN, Implementation
from ..sim.placement import unit_finder, units_of
from .boardspeed import Speed
from .floorplan import floor_plan, small_plan
from .report import Table
from .unitreport import KINDS

__all__ = ["UNIT_DEPTH", "figures", "page", "picture", "plan", "tables"]

UNIT_DEPTH = 4
"""Levels of units that floor plan and table tell apart: e.g. device.accelerator.datapath0.measure."""

_MHZ = 1e6
_FEWEST_SEEDS = 3
# A figure's kind -> nextpnr's cell that holds it.
_PLACED = {
    "lut4": "ICESTORM_LC", "carry": "ICESTORM_LC", "ff": "ICESTORM_LC", "bram": "ICESTORM_RAM",
    "spram": "ICESTORM_SPRAM", "dsp": "ICESTORM_DSP",
}  # fmt: skip
_CELLS = {
    "ICESTORM_LC": "logic cells", "ICESTORM_RAM": "block RAMs", "ICESTORM_SPRAM": "SPRAMs",
    "ICESTORM_DSP": "DSPs",
}  # fmt: skip

Figures = Mapping[str, Any]
"""What `figures` returns."""


def figures(
    built: Implementation, board: str, model: str, weights: int, baud: int, speed: Speed
) -> dict[str, Any]:
    """Gather the figures of a build; JSON can hold them.

    Parameters
    ----------
    built
        The design, placed and routed.
    board, model
        Their names.
    weights
        The model's ternary weights.
    baud
        Bits a second of the serial port.
    speed
        Simulated, in generation.

    Returns
    -------
    dict
        `tokens_per_second` is the clock by the cycles that the device takes, `host_tokens_per_second` what
        a host sees over a line of `baud`. `fmax_hz` in the order of `seeds`; cells after synthesis, and in
        `placed` as placed and as the device has them.
    """
    (clock, clock_hz), *_ = built.design.clocks.items()
    units = unit_finder(units_of(built.design.verilog), UNIT_DEPTH)
    by_unit: dict[str, Counter[str]] = {}
    for cell in built.cells:
        if cell.kind in _CELLS:
            by_unit.setdefault(units(cell.name), Counter())[cell.kind] += 1
    return {
        "board": board,
        "model": model,
        "weights": weights,
        "clock_hz": round(clock_hz),
        "clock_tolerance": built.design.tolerance,
        "baud": baud,
        "fmax_hz": [built.fmax(seed)[clock] for seed in built.folders],
        "seeds": list(built.folders),
        "seed": built.seed,
        "median_fmax_hz": built.median(clock),
        **speed.to_dict(clock_hz),
        **{kind: getattr(built.counts, kind) for kind in _PLACED},
        "placed": {
            kind: {"used": used, "available": available}
            for kind, (used, available) in built.used.items()
            if used
        },
        "units": {unit: dict(counts) for unit, counts in sorted(by_unit.items())},
        "critical_path": [
            {"unit": each.unit, "logic_ns": round(each.logic, 3), "routing_ns": round(each.routing, 3)}
            for each in built.critical(clock)
        ],
    }


def tables(found: Figures) -> list[Table]:
    """Return the tables of a build."""
    return [_speed(found), _cells(found), _path(found), _units(found)]


def plan(built: Implementation, title: str) -> str:
    """Return the floor plan as SVG."""
    return floor_plan(built.cells, unit_finder(units_of(built.design.verilog), UNIT_DEPTH), title)


def picture(built: Implementation) -> str:
    """Return the floor plan as a small SVG, without the cells' names."""
    return small_plan(built.cells, unit_finder(units_of(built.design.verilog), UNIT_DEPTH))


def page(found: Figures, drawing: str) -> str:
    """Return an HTML page of the tables and the floor plan."""
    title = f"{found['board']}, {found['model']}"
    parts = "\n".join(_html(table) for table in tables(found))
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        "<style>body{font-family:sans-serif;max-width:60em;margin:2em auto}"
        "td,th{padding:.2em .8em;text-align:left}td.n{text-align:right}table{border-collapse:collapse}"
        "tr{border-bottom:1px solid #ddd}</style></head>\n"
        f"<body><h1>{escape(title)}</h1>\n{parts}\n{drawing}\n</body></html>\n"
    )


def _html(table: Table) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in table.head)
    rows = "\n".join(
        "<tr>"
        + "".join(f'<td class="{"n" if cell[:1].isdigit() else "t"}">{escape(cell)}</td>' for cell in row)
        + "</tr>"
        for row in table.rows
    )
    return f"<p>{escape(table.caption)}</p>\n<table><tr>{head}</tr>\n{rows}</table>"


def _speed(found: Figures) -> Table:
    seeds = ", ".join(
        f"{seed}: {hz / _MHZ:.2f}" for seed, hz in zip(found["seeds"], found["fmax_hz"], strict=True)
    )
    clock, tolerance = found["clock_hz"], found["clock_tolerance"]
    fastest = clock * (1 + tolerance)
    share = fastest / found["median_fmax_hz"]
    # A median of one or two is none.
    missed = ", missed" if len(found["seeds"]) >= _FEWEST_SEEDS and share > MARGIN else ""
    within = f", which may be {fastest / _MHZ:g} MHz" if tolerance else ""
    rows = [
        ("clock used", f"{clock / _MHZ:g} MHz{within}"),
        ("routed Fmax in MHz, by seed", seeds),
        ("their median", f"{found['median_fmax_hz'] / _MHZ:.2f} MHz"),
        ("clock, at its fastest, by that", f"{share:.1%} (goal: at most {MARGIN:.0%}{missed})"),
        ("seed of the bitstream", str(found["seed"])),
        ("cycles a token", f"{found['cycles_per_token']:,.0f}"),
        ("device: tokens/s", f"{found['tokens_per_second']:,.0f}"),
        (f"host, over a line of {found['baud']:,} baud: tokens/s", f"{found['host_tokens_per_second']:,.0f}"),
    ]
    rows += [
        (f"most that a {_CELLS[kind].removesuffix('s')} stands", f"{limit / _MHZ:g} MHz")
        for kind, limit in CLOCK_LIMITS.items()
        if kind in found["placed"]
    ]
    caption = (
        "Fmax: routed. Cycles: simulated, on the board's own top level. Device: clock used by cycles a"
        " token; no link is in it. Host: simulated with the line's timing, at a host that asks without a"
        " pause; neither USB nor the host's own time is in it. Most that a cell stands: published,"
        " FPGA-DS-02008."
    )
    return Table(caption, ("what", "value"), rows)


def _cells(found: Figures) -> Table:
    placed = found["placed"]
    counts = [
        (KINDS[kind], found[kind], placed[cell]["available"])
        for kind, cell in _PLACED.items()
        if cell in placed
    ]
    logic = placed["ICESTORM_LC"]
    counts.append(("logic cells, placed", logic["used"], logic["available"]))
    rows = [(name, f"{used:,}", f"{has:,}", f"{used / has:.0%}") for name, used, has in counts]
    caption = (
        "Counted after synthesis, logic cells after placement: one holds a LUT4, a carry and a flip-flop."
        " The device has: published, FPGA-DS-02008."
    )
    return Table(caption, ("cells", "used", "the device has", "share"), rows)


def _path(found: Figures) -> Table:
    rows = [
        (each["unit"], f"{each['logic_ns']:.1f}", f"{each['routing_ns']:.1f}")
        for each in found["critical_path"]
    ]
    total = [sum(each[part] for each in found["critical_path"]) for part in ("logic_ns", "routing_ns")]
    rows.append((f"together {sum(total):.1f} ns", f"{total[0]:.1f}", f"{total[1]:.1f}"))
    caption = "The path that limits the clock, from unit to unit: routed."
    return Table(caption, ("unit", "logic, ns", "routing, ns"), rows)


def _units(found: Figures) -> Table:
    kinds = [kind for kind in _CELLS if any(kind in each for each in found["units"].values())]
    rows: list[Sequence[str]] = [
        (unit, *(f"{counts.get(kind, 0):,}" for kind in kinds)) for unit, counts in found["units"].items()
    ]
    caption = "Placed cells by unit; what synthesis has merged counts for one of those that it serves."
    return Table(caption, ("unit", *(_CELLS[kind] for kind in kinds)), rows)
