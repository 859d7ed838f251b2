"""A board's top level in compiled simulation, seen from its pins."""

from __future__ import annotations

import ctypes
from functools import lru_cache
from pathlib import Path

from ..hdl.boards.up5k import BOARDS, Board, Up5kTop
from ..hdl.config import AcceleratorConfig
from .boarddevice import BoardDevice, board_library
from .verilog import to_verilog

__all__ = ["PinSim", "board_verilog"]

_RUNNER = Path(__file__).with_name("boardpins.cpp")


def board_verilog(
    config: AcceleratorConfig, build: bytes = bytes(8), board: Board = BOARDS["icebreaker"]
) -> str:
    """Verilog of a board's top level for `PinSim`; its clock and its memories are the simulation's.

    Parameters
    ----------
    config
        The accelerator.
    build
        Which build it says it is, 8 bytes.
    board
        Gives clock, baud rate and where flash is read.
    """
    return to_verilog(Up5kTop(config, board, build, simulated=True), "board")


@lru_cache(maxsize=2)
def _library(verilog: str) -> ctypes.CDLL:
    return board_library(verilog, _RUNNER, ctypes.c_uint64, ctypes.c_double)


class PinSim(BoardDevice):
    """A UP5K board by its UART's and its flash's pins.

    Parameters
    ----------
    verilog
        What `board_verilog` or `netlist.board_netlist` gives.
    board
        Gives clock, baud rate and where flash is read.
    flash
        What lies in flash from there on.
    drift
        By which share the host's bits are longer than the board's.

    Raises
    ------
    ToolError
        If there is no C++ compiler, or a tool stops with an error.
    """

    def __init__(
        self,
        verilog: str,
        *,
        board: Board = BOARDS["icebreaker"],
        flash: bytes = b"",
        drift: float = 0.0,
    ) -> None:
        bit = board.clock_hz / board.baud * (1 + drift)
        super().__init__(_library(verilog), flash, board.flash_offset, bit)
