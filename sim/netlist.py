"""A design after synthesis for iCE40, as Verilog that simulates: its netlist and the vendor's cells."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .synthesis import synthesise
from .tools import run_yosys, yosys_share

__all__ = ["NO_COLLISIONS", "cell_models", "netlist_verilog"]

NO_COLLISIONS = ("-no-rw-check",)
"""Options of the synthesis that boards are built with: see `verilog.with_collisions`."""

# Verilator takes the default of an unconnected port for an assignment, even to what is connected. Synthesis
# connects all inputs.
_HEAD = "`define NO_ICE40_DEFAULT_ASSIGNMENTS"

_SCRIPT = """
read_json netlist.json
write_verilog -noattr netlist.v
"""


def netlist_verilog(verilog: str, top: str = "top", options: Sequence[str] = NO_COLLISIONS) -> str:
    """Verilog of a design's synthesised netlist, with models of the cells that yosys ships.

    The top module has the ports that it had. Where no cell is left that only a vendor knows, any simulator
    runs it in the place of the design.

    Parameters
    ----------
    verilog
        The design's text.
    top
        Name of its top module.
    options
        More arguments for yosys' synthesis command.

    Raises
    ------
    ToolError
        If yosys stops with an error.
    """
    netlist = synthesise(verilog, top, options=options) / "netlist.json"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        shutil.copy(netlist, folder)
        run_yosys(_SCRIPT, folder)
        return (folder / "netlist.v").read_text() + cell_models()


def cell_models() -> str:
    """Verilog of iCE40's cells, as yosys ships it; all of a cell's inputs must be connected."""
    return f"{_HEAD}\n{(yosys_share() / 'ice40' / 'cells_sim.v').read_text()}"
