"""Cells that have a ceiling in budgets.toml, and the command that makes today's figures the ceilings.

Run as ``python tests/cell_budgets.py``; it counts cells first, which takes minutes.
"""

from dataclasses import replace
from pathlib import Path

from tritforge.hdl.accelerator import Accelerator
from tritforge.hdl.config import AcceleratorConfig
from tritforge.sim.units import count_cells, unit_costs

BUDGETS = Path(__file__).parent / "budgets.toml"
KINDS = ("lut4", "carry", "ff", "bram", "lutram", "dsp", "spram")
MARK = "# Cells of each unit alone, on iCE40; `python tests/cell_budgets.py` writes from here to the end.\n"


def cell_figures() -> dict[str, dict[str, int]]:
    """Cells by kind of each unit, of the dot product alone, and of what a second stream adds to the whole."""
    config = AcceleratorConfig.load("up5k")
    costs = unit_costs(config, "ice40")
    named = {unit["name"]: unit for unit in [*costs["units"], costs["whole"], costs["dot"]]}
    two = count_cells(Accelerator(replace(config, streams=2)), "ice40")
    named["second stream"] = {kind: two[kind] - costs["whole"][kind] for kind in KINDS}
    return {name: {kind: cost[kind] for kind in KINDS if cost[kind]} for name, cost in named.items()}


def main() -> None:
    """Rewrite the ceilings."""
    lines = ["[units]"]
    for name, cells in cell_figures().items():
        key = name if name.isidentifier() else f'"{name}"'
        lines.append(f"{key} = {{ {', '.join(f'{kind} = {number}' for kind, number in cells.items())} }}")
    kept = BUDGETS.read_text().partition(MARK)[0]
    BUDGETS.write_text(f"{kept}{MARK}" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
