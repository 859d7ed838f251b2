"""Tables of the dot product study, from a result of ``python -m tritforge.sim.study``.

Run as ``python -m tritforge.host.dottables RESULTS.json FILE.md``: writes the tables of a document.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..models.config import read_json
from ..models.trits import TRITS_PER_BYTE
from ..sim.routing import SEEDS
from ..sim.synthesis import FAMILIES
from .documents import rewrite, rewritten
from .report import Table

__all__ = ["MARK", "TABLES", "main"]

MARK = "study"
"""What stands in the marks of these tables."""

Results = Mapping[str, Any]
"""What `sim.study.measure` returns."""

_KINDS = {"lookup": "lookup, block RAM", "lutram": "lookup, LUT RAM", "tree": "adder tree"}
_FAMILY_NAMES = {"ice40": "iCE40", "ecp5": "ECP5", "gowin": "Gowin GW2A", "xilinx": "Xilinx 7"}
_DEVICE_NAMES = {"up5k": "iCE40 UP5K", "hx8k": "iCE40 HX8K", "85f": "ECP5 85F, speed grade 6"}


def _run(results: Results) -> Table:
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    rows = [
        ("command", f"`{results['command']}`"),
        ("date", results["date"]),
        ("versions", versions),
        ("machine", results["machine"]),
    ]
    return Table("How the figures of this page were obtained.", ("what", "value"), rows)


def _cells(results: Results) -> Table:
    rows = [
        (
            _FAMILY_NAMES[each["family"]],
            _KINDS[each["kind"]],
            f"{each['lanes']:,}",
            *(f"{each['counts'][kind]:,}" for kind in ("lut4", "lutram", "carry", "ff", "bram")),
            f"{each['lut4_per_lane']:.1f}",
            f"{each['luts'] / each['lanes']:.1f}",
        )
        for each in sorted(results["designs"], key=lambda each: FAMILIES.index(each["family"]))
    ]
    head = (
        *("family", "kind", "lanes", "LUT4", "LUT RAM", "carry", "flip-flops", "block RAM"),
        *("LUT4 and LUT RAM a lane", "the device's tables a lane"),
    )
    caption = (
        f"Counted: cells after synthesis by yosys {results['versions']['pyosys']}, as LUT4s, not placed"
        " (`sim.synthesis.Counts` says how cells count). The device's tables have six inputs on Xilinx, four"
        " elsewhere."
    )
    return Table(caption, head, rows)


def _clocks(results: Results) -> Table:
    rows = []
    for device, name in _DEVICE_NAMES.items():
        for each in results["designs"]:
            if (routed := each["routed"].get(device)) is None:
                continue
            used = routed["used"]
            clocks = routed["fmax"].values()
            rows.append(
                (
                    name,
                    _KINDS[each["kind"]],
                    f"{each['lanes']:,}",
                    f"{routed['median']:.1f}",
                    f"{min(clocks):.1f} to {max(clocks):.1f}",
                    f"{each['lanes'] * routed['median'] / 1000:.2f}",
                    f"{used.get('ICESTORM_LC', used.get('TRELLIS_COMB')):,}",
                )
            )
    head = (
        "device", "kind", "lanes", "MHz, median", "MHz, all seeds", "10⁹ weights a second", "cells in all"
    )  # fmt: skip
    numbers = {name: number for name, number in results["versions"].items() if "nextpnr" in name}
    caption = (
        f"Routed: nextpnr {next(iter(numbers.values()))}, {len(SEEDS)} seeds, in a harness of flip-flops at"
        " every port; cells are logic cells on iCE40, LUT4s on ECP5."
    )
    return Table(caption, head, rows)


def _decoders(results: Results) -> Table:
    rows = [(name, str(lut4), f"{lut4 / TRITS_PER_BYTE:.1f}") for name, lut4 in results["decoders"].items()]
    caption = f"Counted: yosys {results['versions']['pyosys']}, iCE40; two bits a weight come out."
    return Table(caption, ("a byte of five weights is", "LUT4", "LUT4 a weight"), rows)


TABLES: Mapping[str, Callable[[Results], Table]] = {
    "run": _run, "decoders": _decoders, "cells": _cells, "clocks": _clocks
}  # fmt: skip
"""The document's tables by name."""


def main(arguments: Sequence[str]) -> None:
    """Rewrite the tables of the document named after the result's file."""
    results = read_json(Path(arguments[0]))
    rewrite(Path(arguments[1]), partial(rewritten, results=results, tables=TABLES, mark=MARK))


if __name__ == "__main__":
    main(sys.argv[1:])
