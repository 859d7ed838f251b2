"""Tables of what hardware units cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .report import Table

__all__ = ["KINDS", "cost_table", "counted", "dot_table", "unit_table", "wide_cost_table"]

KINDS = {
    "lut4": "LUT4",
    "carry": "carry",
    "ff": "flip-flops",
    "bram": "block RAM",
    "lutram": "LUT RAM",
    "spram": "SPRAM",
    "dsp": "DSP",
}
"""Kinds of cells, as `sim.synthesis.Counts` names them, and what a table calls them."""

_FAMILIES = {"ice40": "iCE40", "ecp5": "ECP5", "gowin": "Gowin", "xilinx": "Xilinx 7 series"}
_NONE = "–"

_UP5K_HAS = {"lut4": 5280, "carry": 5280, "ff": 5280, "bram": 30, "spram": 4, "dsp": 8}

Costs = Mapping[str, Any]
"""What `sim.units.unit_costs` returns."""


def _latency(unit: Mapping[str, Any]) -> str:
    """Return a unit's latency: cycles, the fewest and the most, or none."""
    latency = unit["latency"]
    if latency is None:
        return _NONE
    return f"{latency[0]} to {latency[1]}" if isinstance(latency, list) else str(latency)


def counted(costs: Costs) -> str:
    """Return how a table's figures were obtained."""
    return (
        f"Counted by yosys (pyosys {costs['yosys']}) after synthesis for {_FAMILIES[costs['family']]}"
        f" ({costs['device']}); nothing here is placed or routed."
    )


def unit_table(costs: Costs) -> Table:
    """Units in the order of the design, each below the one that contains it, and the whole."""
    whole = costs["whole"]
    kinds = [kind for kind in KINDS if whole[kind]]
    published = ""
    rows = [
        (
            "· " * (unit["level"] - 1) + unit["name"],
            str(unit["instances"]),
            *(f"{unit[kind]:,}" for kind in kinds),
            f"{unit['instances'] * unit['lut4'] / whole['lut4']:.1%}",
            _latency(unit),
        )
        for unit in [*costs["units"], whole]
    ]
    if costs["device"] == "up5k":
        rows.append(("a UP5K has", _NONE, *(f"{_UP5K_HAS.get(kind, 0):,}" for kind in kinds), _NONE, _NONE))
        published = " What a UP5K has: published, Lattice FPGA-DS-02008."
    streams = f", {costs['streams']} streams" if costs["streams"] > 1 else ""
    caption = (
        f"Accelerator {costs['accel']}, {costs['lanes']} lanes{streams}. Each unit alone, with its parts;"
        f" share: all of its kind, by the LUT4s of the whole; latency in cycles. {counted(costs)}"
        f"{published}"
    )
    return Table(caption, ("unit", "times", *(KINDS[kind] for kind in kinds), "share", "latency"), rows)


def dot_table(costs: Costs) -> Table:
    """Return the cost of the dot product alone, and of a lane of it."""
    dot = costs["dot"]
    kinds = [kind for kind in KINDS if dot[kind]]
    row = (
        str(costs["lanes"]),
        *(f"{dot[kind]:,}" for kind in kinds),
        f"{dot['lut4_per_lane']:.2f}",
        _latency(dot),
    )
    head = ("lanes", *(KINDS[kind] for kind in kinds), "LUT4 a lane", "latency")
    caption = (
        f"Dot product with decoding, tables and their filling, activations and partial sums. {counted(costs)}"
    )
    return Table(caption, head, [row])


def cost_table(unit: Mapping[str, Any], costs: Costs) -> Table:
    """Return the cost of one unit."""
    caption = f"As the `{costs['accel']}` preset has it. {counted(costs)}"
    return _one_unit(unit, [kind for kind in KINDS if costs["whole"][kind]], caption)


def wide_cost_table(unit: Mapping[str, Any], wide: Costs) -> Table:
    """Return the cost of a unit that only a wide vector unit has, from what `corebench.widths` returned."""
    caption = f"As the `{wide['accel']}` preset with a vector width of {wide['width']}. {counted(wide)}"
    return _one_unit(unit, [kind for kind in KINDS if any(each[kind] for each in wide["units"])], caption)


def _one_unit(unit: Mapping[str, Any], kinds: Sequence[str], caption: str) -> Table:
    row = (*(f"{unit[kind]:,}" for kind in kinds), _latency(unit))
    return Table(caption, (*(KINDS[kind] for kind in kinds), "latency, cycles"), [row])
