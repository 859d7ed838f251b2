"""What the commands share that hold RTL against the golden model: the text to run, and what was found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import numpy as np
from numpy.typing import NDArray

from . import options

# A command's help needs neither models nor simulation.
if TYPE_CHECKING:
    from ..models.loading import Model
    from ..sim.compare import Comparison

__all__ = ["as_dict", "as_line", "read_given", "text"]

_Command = TypeVar("_Command", bound=Callable[..., Any])


def text(command: _Command) -> _Command:
    """Add ``--tokens`` and ``--prompt``, whose values go to `read_given`."""
    command = click.option("--prompt", metavar="TEXT", help="Any text.")(command)
    return click.option(
        "--tokens", type=options.file, metavar="FILE.npy", help="Token numbers, one-dimensional."
    )(command)


def read_given(model: Model, tokens: Path | None, prompt: str | None) -> NDArray[np.int64]:
    """Return the text that the user gave in one of two ways, as tokens (T,) of the model.

    Raises
    ------
    click.UsageError
        If it was given in both ways or in none.
    TritforgeError
        If it is no text of the model.
    """
    from ..models.engine import checked_tokens

    if prompt is not None and tokens is None:
        return checked_tokens(model.encode(prompt), model.config.vocab_size)
    if tokens is not None and prompt is None:
        return checked_tokens(options.read_tokens(tokens), model.config.vocab_size)
    raise click.UsageError("give either --tokens or --prompt.")


def as_dict(found: Comparison) -> dict[str, Any]:
    """Return a comparison for programs."""
    difference = found.first_difference
    return {
        "equal": found.equal,
        "tokens": found.tokens,
        "values_compared": found.values_compared,
        "saturations": found.saturations,
        "first_difference": asdict(difference) if difference else None,
    }


def as_line(found: Comparison) -> str:
    """Return a comparison for people, in one line."""
    if found.first_difference is None:
        return (
            f"bit-exact: {found.tokens} tokens, {found.values_compared:,} values compared,"
            f" {found.saturations:,} of them saturated"
        )
    facts = asdict(found.first_difference).items()
    return "different: " + ", ".join(f"{name} {value}" for name, value in facts)
