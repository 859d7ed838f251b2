"""Which device a host expects at the other end, and how it is reached."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ...hdl.boards.up5k import BOARDS
from ...hdl.boards.up5k import Board as Up5kBoard
from ...hdl.config import AcceleratorConfig
from ...models.config import read_json
from ...models.errors import TritforgeError
from .device import GoldenDevice
from .driver import Board, Identity
from .transport import InProcess, Port, SimulatedDevice

__all__ = ["Target", "opened_board", "simulated_device"]

_SLOW = 20.0
"""Seconds in which a simulated board answers on a busy computer."""


@dataclass(frozen=True)
class Target:
    """What is known of a board before it is asked.

    Parameters
    ----------
    board
        Name of the board.
    config
        Its accelerator.
    clock_hz
        The clock that its cycles are counted in, None if that is not known.
    baud
        Bits a second of its serial port.
    build
        Its build, hexadecimal; None for any.
    """

    board: str
    config: AcceleratorConfig
    clock_hz: float | None = None
    baud: int = 1_000_000
    build: str | None = None

    @classmethod
    def from_manifest(cls, path: Path) -> Self:
        """Read the manifest that was written beside a bitstream.

        Raises
        ------
        TritforgeError
            If the file is no manifest.
        """
        values = read_json(path)

        def value(key: str, kind: type | tuple[type, ...]) -> Any:
            found = values.get(key)
            if not isinstance(found, kind) or isinstance(found, bool):
                raise TritforgeError(f"{path} is no board's manifest: its {key} is {found!r}")
            return found

        try:
            config = AcceleratorConfig.from_dict(value("accelerator", dict))
        except (TritforgeError, KeyError, TypeError) as error:
            raise TritforgeError(f"{path} is no board's manifest: {error}") from None
        build = value("build", str)
        if not re.fullmatch("[0-9a-f]{16}", build):
            raise TritforgeError(f"{path} is no board's manifest: its build is {build!r}")
        clock_hz = float(value("clock_hz", (int, float)))
        return cls(value("board", str), config, clock_hz, value("baud", int), build)

    @classmethod
    def of_board(cls, name: str, accel: str) -> Self:
        """Return what a board is if it was built as usual, with a preset or a TOML file.

        Raises
        ------
        TritforgeError
            If there is no such board or accelerator.
        """
        board = _board(name)
        return cls(name, AcceleratorConfig.load(accel), board.clock_hz, board.baud)


def _board(name: str) -> Up5kBoard:
    if name not in BOARDS:
        raise TritforgeError(f"there is no board {name}: name one of {', '.join(BOARDS)}")
    return BOARDS[name]


def simulated_device(engine: str, target: Target, flash: bytes = b"") -> SimulatedDevice:
    """Return a board in simulation.

    Parameters
    ----------
    engine
        ``golden``: the model in Python; ``rtl``: the board's own top level, compiled.
    target
        Which board.
    flash
        What it reads at power-up.

    Raises
    ------
    TritforgeError
        If there is no C++ compiler, or no such board.
    """
    board, build = _board(target.board), target.build or "0" * 16
    if engine == "golden":
        return GoldenDevice(target.config, build, flash)
    # Simulation is imported where it is used: everything else runs without its tools.
    from ...sim.board import BoardSim

    return BoardSim(target.config, bytes.fromhex(build), board=board, flash=flash)


@contextmanager
def opened_board(target: Target, port: str | None, engine: str) -> Iterator[tuple[Board, Identity]]:
    """Open a board, on a port or simulated, and close it in the end.

    Parameters
    ----------
    target
        What it must be.
    port
        Where it is; None for a simulated one.
    engine
        Of the simulated one, see `simulated_device`.

    Raises
    ------
    TritforgeError
        If it does not answer, or is another one.
    """
    if port is not None:
        board = Board(Port(port, target.baud))
    else:
        device = simulated_device(engine, target)
        # It loses nothing, but it is slow: to ask again would only be more work.
        board = Board(InProcess(device, f"the simulated board ({engine})"), timeout=_SLOW)
    try:
        yield board, board.open(target.config, target.build)
    finally:
        board.link.close()
