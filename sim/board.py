"""A board's top level in compiled simulation, from its link's bytes inward."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from ..hdl.boards.up5k import BOARDS, Board, Up5k
from ..hdl.config import AcceleratorConfig
from ..hdl.link.protocol import REVERSED
from .boarddevice import BoardDevice, board_library
from .verilog import to_verilog

__all__ = ["BoardSim", "compiled_board", "link_verilog"]

_RUNNER = Path(__file__).with_name("board.cpp")
_CYCLES = 50_000
"""Of an `exchange`: some 50 ms on a slow computer."""
_BITS = 10
"""Of a byte on the line."""


@lru_cache(maxsize=4)
def link_verilog(config: AcceleratorConfig, build: bytes = bytes(8)) -> str:
    """Verilog of a board from its link's bytes inward; its memories are the simulation's.

    Parameters
    ----------
    config
        The accelerator.
    build
        Which build it says it is, 8 bytes.
    """
    return to_verilog(Up5k(config, build, simulated=True), "board")


def compiled_board(verilog: str, options: Sequence[str] = ()) -> ctypes.CDLL:
    """Compile what `link_verilog` returned; `options` are more arguments for Verilator."""
    library = board_library(verilog, _RUNNER, ctypes.c_uint32, options=options)
    library.board_busy.argtypes = [ctypes.c_void_p]
    return library


@lru_cache(maxsize=4)
def _library(config: AcceleratorConfig, build: bytes) -> ctypes.CDLL:
    return compiled_board(link_verilog(config, build))


class BoardSim(BoardDevice):
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
        pace = _BITS * round(board.clock_hz / self.baud) if paced else 1
        super().__init__(_library(config, build), flash.translate(REVERSED), pace)

    def exchange(self, data: bytes, cycles: int = _CYCLES) -> bytes:
        """Give the board bytes, let it run, and return what it sent.

        It runs until it has sent something and nothing is left to receive or to send, but at most for
        `cycles`: what it has not received by then waits for the next call.
        """
        return super().exchange(data, cycles)

    @property
    def busy(self) -> bool:
        """Whether something is to be done: bytes to receive, flash to read, a token to compute, an answer."""
        return bool(self._library.board_busy(self._handle))
