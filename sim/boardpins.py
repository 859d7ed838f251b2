"""A board's top level in compiled simulation, seen from its pins."""

from __future__ import annotations

import ctypes
from functools import lru_cache
from pathlib import Path

import numpy as np

from ..hdl.boards.up5k import BOARDS, Board, Up5kTop
from ..hdl.config import AcceleratorConfig
from .build import build_model, load_library
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
    pointer, u64, data, real = ctypes.c_void_p, ctypes.c_uint64, ctypes.c_void_p, ctypes.c_double
    functions = (
        ("new", pointer, [ctypes.c_char_p, u64, u64, real]),
        ("free", None, [pointer]),
        ("send", None, [pointer, ctypes.c_char_p, u64]),
        ("run", u64, [pointer, u64]),
        ("take", None, [pointer, data]),
    )
    return load_library(build_model(verilog, "board", _RUNNER), "pins", functions)


class PinSim:
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
        self._library = _library(verilog)
        bit = board.clock_hz / board.baud * (1 + drift)
        self._handle = self._library.pins_new(flash, len(flash), board.flash_offset, bit)

    def __del__(self) -> None:
        handle, self._handle = self.__dict__.get("_handle"), None
        if handle:
            self._library.pins_free(handle)

    def exchange(self, data: bytes, cycles: int) -> bytes:
        """Send bytes to the board, let it run, and return what it sent."""
        self._library.pins_send(self._handle, data, len(data))
        sent = np.zeros(self._library.pins_run(self._handle, cycles), np.uint8)
        self._library.pins_take(self._handle, sent.ctypes.data)
        return sent.tobytes()
