"""Arguments and options that several commands share, and what becomes of their values."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import numpy as np
from numpy.typing import NDArray

from ..models.errors import TritforgeError

__all__ = [
    "accel",
    "as_json",
    "engine",
    "examples",
    "file",
    "model",
    "read_text",
    "read_tokens",
    "streams",
    "temperature_and_seed",
]

_Command = TypeVar("_Command", bound=Callable[..., Any])

file = click.Path(path_type=Path)
"""A path; that it can be read or written is found out by whoever does it."""

model = click.argument("model")

accel = click.option(
    "--accel",
    metavar="NAME|FILE.toml",
    help="The accelerator: a preset or a TOML file; without it the smallest preset that holds the model.",
)

streams = click.option(
    "--streams",
    type=int,
    metavar="N",
    help="Streams of the accelerator, instead of its own number: so many texts, or tokens of one prompt,"
    " share every weight beat.",
)

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")

engine = click.option(
    "--engine",
    type=click.Choice(["float", "golden", "rtl"]),
    required=True,
    help="float: the reference; golden: the integer model; rtl: the accelerator in simulation.",
)


def examples(*lines: str) -> str:
    """Return the end of a command's help: lines to be typed."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def temperature_and_seed(command: _Command) -> _Command:
    """Add ``--temperature`` and ``--seed``."""
    command = click.option(
        "--seed",
        type=click.IntRange(0, 2**32 - 1),
        default=0,
        show_default=True,
        help="Of the random choices.",
    )(command)
    return click.option(
        "--temperature",
        type=float,
        callback=_check_temperature,
        help="Sample at this temperature, 0.01 to 100; without it, or at 0, the most likely token is taken.",
    )(command)


def _check_temperature(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    if value is None or value == 0:
        return None
    if not (math.isfinite(value) and 0.01 <= value <= 100):
        raise click.BadParameter(f"{value:g} is neither 0 nor from 0.01 to 100")
    return value


def read_tokens(path: Path) -> NDArray[Any]:
    """Read a list of tokens from an .npy file.

    Raises
    ------
    TritforgeError
        If the file cannot be read, or holds anything but a one-dimensional array of integers.
    """
    try:
        tokens = np.load(path, allow_pickle=False)
    except OSError as error:
        raise TritforgeError(f"{path} cannot be read: {error.strerror or error}") from None
    except Exception:  # numpy fails in many ways on files that are not its own
        tokens = None
    if not isinstance(tokens, np.ndarray):
        raise TritforgeError(f"{path} is not an .npy file, as numpy.save writes it")
    if tokens.ndim != 1 or not np.issubdtype(tokens.dtype, np.integer):
        raise TritforgeError(
            f"{path} must hold a one-dimensional array of integers,"
            f" not {tokens.dtype} of shape {list(tokens.shape)}"
        )
    return tokens


def read_text(path: Path) -> str:
    """Read a UTF-8 file.

    Raises
    ------
    TritforgeError
        If the file cannot be read or is not UTF-8.
    """
    try:
        return path.read_bytes().decode()
    except OSError as error:
        raise TritforgeError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise TritforgeError(f"{path} is not UTF-8: byte {error.start} fits no character") from None
