"""Tables of what the core is, from a result of ``tritforge bench-core``.

Run as ``python -m tritforge.host.coretables RESULTS.json FILE.md``: writes the tables of a document.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..models.config import read_json
from .documents import rewrite, rewritten
from .report import Table
from .unitreport import KINDS, counted, dot_table, unit_table

__all__ = ["MARK", "TABLES", "core_document", "main"]

MARK = "core"
"""What stands in the marks of these tables."""

Measured = Mapping[str, Any]
"""One part of what `corebench.measure_core` returns."""


def _streams(part: Measured) -> Table:
    found = part["found"]
    figures = ("prompt_cycles_per_token", "batch_cycles_per_token")
    one = found["by_streams"]["1"]
    rows = []
    for count, each in found["by_streams"].items():
        pairs = [(f"{each[figure]:,.0f}", f"{one[figure] / each[figure]:.2f}") for figure in figures]
        rows.append((count, *pairs[0], *pairs[1]))
    head = ("streams", "cycles a prompt token", "times faster", "cycles a new token", "times faster")
    caption = (
        f"`{found['model']}` on the {found['accelerator']} preset with so many streams. Simulated; a new"
        " token is one of all texts together."
    )
    return Table(caption, head, rows)


def _stream_cells(part: Measured) -> Table:
    found = part["found"]
    one = found["1"]
    kinds = [kind for kind in KINDS if one[kind]]
    rows = [(streams, *(f"{cells[kind]:,}" for kind in kinds)) for streams, cells in found.items()]
    for streams, cells in found.items():
        if further := int(streams) - 1:
            added = (f"{(cells[kind] - one[kind]) / further:,.0f}" for kind in kinds)
            rows.append((f"each further one, of {streams}", *added))
    caption = "Counted by yosys after synthesis for iCE40, not placed or routed."
    return Table(caption, ("streams", *(KINDS[kind] for kind in kinds)), rows)


def _not_fed(measured: Measured) -> float:
    """Return the share of a token's cycles in which no weights are taken."""
    causes = measured["causes"]
    share: float = 1 - causes["fed"] / sum(causes.values())
    return share


def _widths(part: Measured) -> Table:
    found = part["found"]
    kinds = [kind for kind in KINDS if any(cells[kind] for cells in found["datapath"].values())]
    rows = []
    for width, cells in found["datapath"].items():
        each = [shapes[width] for shapes in found["cycles"].values()]
        cycles = (f"{one['cycles_per_token']:,.0f} ({_not_fed(one):.1%})" for one in each)
        rows.append((width, *cycles, *(f"{cells[kind]:,}" for kind in kinds)))
    names = (f"two layers of {name.removesuffix(' on large')}" for name in found["cycles"])
    caption = (
        "Width: elements that a pass of the vector unit takes a cycle. Simulated: cycles a token, and the"
        " share not fed, of published shapes on the preset `large`. Cells: of the datapath of the preset"
        f" `{found['accel']}`, with the state of one layer. {counted(found)}"
    )
    return Table(caption, ("width", *names, *(KINDS[kind] for kind in kinds)), rows)


def _causes(part: Measured) -> Table:
    found = part["found"]
    names = list(next(iter(found.values()))["causes"])
    rows = []
    for model, each in found.items():
        total = sum(each["causes"].values())
        shares = (each["causes"][name] / total for name in names)
        rows.append(
            (
                f"`{model}`" if " " not in model else model,
                each["accelerator"],
                f"{each['cycles_per_token']:,.0f}",
                f"{_not_fed(each):.1%}",
                *(f"{share:.1%}" for share in shares),
            )
        )
    head = ("model", "preset", "cycles a token", "not fed", *names)
    caption = (
        "Simulated, in generation, with a weight memory that always has a beat: cycles by what they went for"
        " (`hdl.accelerator.CAUSES`), counted by the simulation's loop from the hardware's status; a test has"
        " the hardware's own counters tell the same."
    )
    return Table(caption, head, rows)


def _run(results: Mapping[str, Measured]) -> Table:
    rows = []
    for name, part in results.items():
        machine = part["machine"]
        versions = ", ".join(f"{package} {number}" for package, number in part["versions"].items())
        system = f"{machine['processor']}, {machine['cores']} cores, {machine['system']}"
        rows.append((name, f"`{part['command']}`", part["date"], versions, system))
    caption = "How each part was measured."
    return Table(caption, ("part", "command", "date", "versions", "machine"), rows)


def _clock(part: Measured) -> Table:
    found = part["found"]
    reached = [hz / 1e6 for hz in found["fmax_hz"].values()]
    used = ", ".join(
        f"{number:,} of {has:,} {kind.removeprefix('ICESTORM_')}"
        for kind, (number, has) in found["cells"].items()
    )
    path = " → ".join(f"{each['unit']} {each['logic_ns'] + each['routing_ns']:.1f}" for each in found["path"])
    row = (
        f"`{found['board']}`", f"{found['median_hz'] / 1e6:.1f}", f"{min(reached):.1f} to {max(reached):.1f}",
        f"{found['clock_hz'] / 1e6:g}", used, path,
    )  # fmt: skip
    caption = (
        f"Routed: by nextpnr, {len(reached)} seeds; all of the board's design, with weight memory and link."
        " The path is the longest one of the fastest seed, in ns by unit. nextpnr has no timing for DSPs and"
        " SPRAMs; what their data sheet allows caps the clock besides."
    )
    head = ("board", "MHz, median", "MHz, all seeds", "clock used", "cells", "longest path")
    return Table(caption, head, [row])


def _speed(part: Measured) -> Table:
    found = part["found"]
    rows = [
        (
            name,
            f"{found[f'{way}_seconds']:.2f}",
            f"{found[f'{way}_cycles_per_second']:,.0f}",
            f"{found[f'{way}_macs_per_second']:.1e}",
        )
        for way, name in (("compiled", "compiled, with a loop in C++"), ("clocked", "driven from cocotb"))
    ]
    caption = (
        f"Measured: one token of {found['macs']:,} ternary weights in {found['cycles']:,} cycles on the"
        f" {found['accelerator']} preset, {found['lanes']:,} lanes, on one core of the machine below."
    )
    return Table(caption, ("simulation", "seconds", "cycles a second", "ternary MACs a second"), rows)


def _units(part: Measured) -> Table:
    return unit_table(part["found"])


def _dot(part: Measured) -> Table:
    return dot_table(part["found"])


TABLES: Mapping[str, tuple[str, Callable[[Measured], Table]]] = {
    "causes": ("cycles", _causes),
    "streams": ("streams", _streams),
    "stream cells": ("stream-cells", _stream_cells),
    "widths": ("widths", _widths),
    "units": ("units", _units),
    "dot": ("units", _dot),
    "clock": ("clock", _clock),
    "speed": ("speed", _speed),
}
"""By the name that a document's mark gives: the part of the results, and the table made of it."""


def core_document(text: str, results: Mapping[str, Any]) -> str:
    """Return a document with its tables made anew from what `corebench.measure_core` returned."""
    tables = {name: partial(_table, name) for name in TABLES} | {"run": _run}
    return rewritten(text, results, tables, MARK)


def _table(name: str, results: Mapping[str, Any]) -> Table:
    part, table = TABLES[name]
    if part not in results:
        return Table(f"Not measured yet: `tritforge bench-core --only {part}` does it.", ("part",), [(part,)])
    return table(results[part])


def main(arguments: Sequence[str]) -> None:
    """Rewrite the tables of the document named after the result's file."""
    rewrite(Path(arguments[1]), partial(core_document, results=read_json(Path(arguments[0]))))


if __name__ == "__main__":
    main(sys.argv[1:])
