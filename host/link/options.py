"""Options of the commands that talk to a board."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .. import options

# Hardware is imported where it is used: the help runs without it.
if TYPE_CHECKING:
    from .target import Target

__all__ = ["board", "check_connection", "connection", "find_target"]

_Command = TypeVar("_Command", bound=Callable[..., Any])

_ENGINES = click.Choice(["golden", "rtl"])


def board(command: _Command) -> _Command:
    """Add ``--board``, ``--accel`` and ``--manifest``: which board."""
    command = click.option(
        "--manifest",
        type=options.file,
        metavar="FILE",
        help="The manifest.json beside the bitstream; it tells board, accelerator, clock, rate and build.",
    )(command)
    command = click.option(
        "--accel",
        metavar="NAME|FILE.toml",
        default="up5k",
        show_default=True,
        help="The accelerator in its bitstream.",
    )(command)
    return click.option(
        "--board", default="icebreaker", show_default=True, help="The board: its clock and its rate."
    )(command)


def connection(command: _Command) -> _Command:
    """Add ``--port`` and ``--sim``, and which board."""
    command = board(command)
    command = click.option(
        "--sim",
        is_flag=False,
        flag_value="rtl",
        type=_ENGINES,
        help="A simulated board instead: its own top level (rtl, if nothing is named) or the golden model.",
    )(command)
    return click.option(
        "--port",
        metavar="PORT",
        help="The board's serial port: /dev/ttyUSB1, a pseudo-terminal, socket://host:port.",
    )(command)


def find_target(board: str, accel: str, manifest: Path | None) -> Target:
    """Return which board is meant."""
    from .target import Target

    return Target.from_manifest(manifest) if manifest else Target.of_board(board, accel)


def check_connection(port: str | None, sim: str | None) -> None:
    """Make sure that one device is named.

    Raises
    ------
    click.UsageError
        If there are two or none.
    """
    if (port is None) == (sim is None):
        raise click.UsageError("Name the board's port with --port, or simulate a board with --sim.")
