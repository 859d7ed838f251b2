"""A design after synthesis for iCE40, as Verilog that simulates: its netlist and the vendor's cells."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from .synthesis import Synthesis, synthesise
from .tools import run_yosys, yosys_share

__all__ = ["BOARD_SYNTHESIS", "board_netlist", "cell_models", "netlist_verilog"]


BOARD_SYNTHESIS: Synthesis = {"options": ("-no-rw-check",), "sharing": 3}
"""What boards are built with; `verilog.with_collisions` shows that they may."""

# Verilator takes the default of an unconnected port for an assignment, even to what is connected. Synthesis
# connects all inputs.
_HEAD = "`define NO_ICE40_DEFAULT_ASSIGNMENTS"

_SCRIPT = """
read_json netlist.json
write_verilog -noattr netlist.v
"""

# The PLL gives the clock that it is given, and locks after some cycles.
_PLL = """module SB_PLL40_PAD (
\tinput PACKAGEPIN, EXTFEEDBACK, BYPASS, RESETB, LATCHINPUTVALUE, SDI, SCLK,
\tinput [7:0] DYNAMICDELAY,
\toutput PLLOUTCORE, PLLOUTGLOBAL, LOCK, SDO
);
\tparameter FEEDBACK_PATH = "SIMPLE";
\tparameter DIVR = 0, DIVF = 0, DIVQ = 0, FILTER_RANGE = 0;
\tassign PLLOUTGLOBAL = PACKAGEPIN;
\treg [3:0] cycles = 0;
\talways @(posedge PACKAGEPIN) if (!LOCK) cycles <= cycles + 1;
\tassign LOCK = &cycles;
endmodule
"""
_BOARD = """
module board(
\tinput clk, rst, rx, flash_cipo,
\toutput tx, flash_cs_n, flash_clk, flash_copi
);
\ttop top(
\t\t.clk_in(clk), .rx(rx), .tx(tx),
\t\t.flash_cs_n(flash_cs_n), .flash_clk(flash_clk), .flash_copi(flash_copi), .flash_cipo(flash_cipo)
\t);
endmodule
"""


def netlist_verilog(verilog: str, top: str = "top") -> str:
    """Verilog of a design's netlist as boards are synthesised, with models of the cells that yosys ships.

    The top module has the ports that it had. Where no cell is left that only a vendor knows, any simulator
    runs it in the place of the design.

    Parameters
    ----------
    verilog
        The design's text.
    top
        Name of its top module.

    Raises
    ------
    ToolError
        If yosys stops with an error.
    """
    netlist = synthesise(verilog, top, **BOARD_SYNTHESIS) / "netlist.json"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        shutil.copy(netlist, folder)
        run_yosys(_SCRIPT, folder)
        return (folder / "netlist.v").read_text() + cell_models()


def cell_models() -> str:
    """Verilog of iCE40's cells, as yosys ships it; all of a cell's inputs must be connected."""
    return f"{_HEAD}\n{(yosys_share() / 'ice40' / 'cells_sim.v').read_text()}"


def board_netlist(verilog: str) -> str:
    """Verilog of a board's netlist, the one that is placed and routed, to be simulated by its pins.

    The top module ``board`` is what `boardpins.PinSim` takes. `clk` is the crystal and, since the PLL is a
    model that hands on what it gets, every clock; `rst` does nothing: the PLL's lock resets the board.

    Parameters
    ----------
    verilog
        The text of a board's design, with a crystal on the PLL's own pin.

    Raises
    ------
    ToolError
        If yosys stops with an error.
    """
    without = r"\(\* blackbox \*\)\nmodule SB_PLL40_PAD \(.*?endmodule\n"
    return re.sub(without, lambda _: _PLL, netlist_verilog(verilog), flags=re.DOTALL) + _BOARD
