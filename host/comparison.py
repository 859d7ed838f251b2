"""What the commands share that hold RTL against the golden model: the texts to run, and what was found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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

__all__ = ["as_dict", "as_line", "read_given", "texts"]

_Command = TypeVar("_Command", bound=Callable[..., Any])


def texts(command: _Command) -> _Command:
    """Add ``--tokens`` and ``--prompt``, whose values go to `read_given`."""
    command = click.option(
        "--prompt", "prompts", metavar="TEXT", multiple=True, help="Any text; several run on a stream each."
    )(command)
    return click.option(
        "--tokens",
        "files",
        type=options.file,
        metavar="FILE.npy",
        multiple=True,
        help="Token numbers, one-dimensional; several run on a stream each.",
    )(command)


def read_given(model: Model, files: Sequence[Path], prompts: Sequence[str]) -> list[NDArray[np.int64]]:
    """Return the texts that the user gave in one of two ways, as tokens (T,) of the model each.

    Raises
    ------
    click.UsageError
        If they were given in both ways or in none.
    TritforgeError
        If one is no text of the model.
    """
    from ..models.engine import checked_tokens

    if bool(files) == bool(prompts):
        raise click.UsageError("give either --tokens or --prompt.")
    given = map(options.read_tokens, files) if files else map(model.encode, prompts)
    return [checked_tokens(tokens, model.config.vocab_size) for tokens in given]


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
