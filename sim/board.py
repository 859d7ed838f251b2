"""A board's top level in compiled simulation, from its link's bytes inward."""

from __future__ import annotations

import ctypes
from functools import lru_cache
from pathlib import Path

import numpy as np

from ..hdl.boards.up5k import BOARDS, Board, Up5k
from ..hdl.config import AcceleratorConfig
from ..hdl.link.protocol import REVERSED
from .build import build_model, load_library
from .verilog import to_verilog

__all__ = ["BoardSim"]

_RUNNER = Path(__file__).with_name("board.cpp")
_CYCLES = 50_000
"""Of an `exchange`: some 50 ms on a slow computer."""
_BITS = 10
"""Of a byte on the line."""


@lru_cache(maxsize=4)
def _verilog(config: AcceleratorConfig, build: bytes) -> str:
    return to_verilog(Up5k(config, build, simulated=True), "board")


@lru_cache(maxsize=4)
def _library(config: AcceleratorConfig, build: bytes) -> ctypes.CDLL:
    pointer, u32, u64, data = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint64, ctypes.c_void_p
    functions = (
        ("new", pointer, [ctypes.c_char_p, u64, u32]),
        ("free", None, [pointer]),
        ("send", None, [pointer, ctypes.c_char_p, u64]),
        ("run", u64, [pointer, u64]),
        ("take", None, [pointer, data]),
        ("cycles", u64, [pointer]),
        ("busy", ctypes.c_int, [pointer]),
    )
    return load_library(build_model(_verilog(config, build), "board", _RUNNER), "board", functions)


class BoardSim:
    """A UP5K board, simulated clock by clock; it does the same every time.

    Parameters
    ----------
    config
        The accelerator.
    build
        Which build it says it is, 8 bytes.
    board
        Gives clock and baud rate.
    flash
        What the board reads at power-up, as docs/link.md says; each byte's bits in flash's order. Behind it
        flash is erased.
    paced
        Whether bytes take the time that they take on the line, rather than none.

    Attributes
    ----------
    clock_hz, baud
        The board's.

    Raises
    ------
    ToolError
        If there is no C++ compiler, or a tool stops with an error.
    """

    def __init__(
        self,
        config: AcceleratorConfig,
        build: bytes = bytes(8),
        *,
        board: Board = BOARDS["icebreaker"],
        flash: bytes = b"",
        paced: bool = False,
    ) -> None:
        self.clock_hz: float | None = board.clock_hz
        self.baud = board.baud
        self._library = _library(config, build)
        pace = _BITS * round(board.clock_hz / self.baud) if paced else 1
        self._handle = self._library.board_new(flash.translate(REVERSED), len(flash), pace)

    def __del__(self) -> None:
        handle, self._handle = self.__dict__.get("_handle"), None
        if handle:
            self._library.board_free(handle)

    def exchange(self, data: bytes, cycles: int = _CYCLES) -> bytes:
        """Give the board bytes, let it run, and return what it sent.

        It runs until it has sent something and nothing is left to receive or to send, but at most for
        `cycles`: what it has not received by then waits for the next call.
        """
        self._library.board_send(self._handle, data, len(data))
        sent = np.zeros(self._library.board_run(self._handle, cycles), np.uint8)
        self._library.board_take(self._handle, sent.ctypes.data)
        return sent.tobytes()

    @property
    def cycles(self) -> int:
        """Clock cycles since power-up."""
        return int(self._library.board_cycles(self._handle))

    @property
    def busy(self) -> bool:
        """Whether there is something to do: bytes to receive, flash to read, a token to compute."""
        return bool(self._library.board_busy(self._handle))
