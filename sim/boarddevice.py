"""A board's compiled top level: bytes go in, its clock runs, bytes come out."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .build import build_model, load_library

__all__ = ["BoardDevice", "board_library"]


def board_library(verilog: str, runner: Path, *line: Any, options: Sequence[str] = ()) -> ctypes.CDLL:
    """Compile a board's top level, the module ``board``, along with what drives it.

    Parameters
    ----------
    verilog
        The design's text.
    runner
        The C++ file that drives it.
    line
        Types, of `ctypes`, of what its ``board_new`` takes behind the flash.
    options
        More arguments for Verilator.

    Raises
    ------
    ToolError
        If there is no C++ compiler, or a tool stops with an error.
    """
    pointer, u64, data = ctypes.c_void_p, ctypes.c_uint64, ctypes.c_void_p
    functions = (
        ("new", pointer, [ctypes.c_char_p, u64, *line]),
        ("free", None, [pointer]),
        ("send", None, [pointer, ctypes.c_char_p, u64]),
        ("run", u64, [pointer, u64]),
        ("take", None, [pointer, data]),
        ("cycles", u64, [pointer]),
    )
    return load_library(build_model(verilog, "board", runner, options=options), "board", functions)


class BoardDevice:
    """A board in compiled simulation; it does the same every time.

    Parameters
    ----------
    library
        What `board_library` returned.
    flash
        What lies in its flash.
    line
        What ``board_new`` takes behind that.
    """

    def __init__(self, library: ctypes.CDLL, flash: bytes, *line: float) -> None:
        self._library = library
        self._handle = library.board_new(flash, len(flash), *line)

    def __del__(self) -> None:
        handle, self._handle = self.__dict__.get("_handle"), None
        if handle:
            self._library.board_free(handle)

    def exchange(self, data: bytes, cycles: int) -> bytes:
        """Give the board bytes, let it run for so many cycles at most, and return what it sent."""
        self._library.board_send(self._handle, data, len(data))
        sent = np.zeros(self._library.board_run(self._handle, cycles), np.uint8)
        self._library.board_take(self._handle, sent.ctypes.data)
        return sent.tobytes()

    @property
    def cycles(self) -> int:
        """Clock cycles since power-up."""
        return int(self._library.board_cycles(self._handle))
