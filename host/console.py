"""What commands print: results on standard output; notes, warnings and progress on standard error."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click

__all__ = ["note", "print_json", "print_table", "progress", "terminal"]


def note(text: str) -> None:
    """Say something about a run, beside its result."""
    click.echo(text, err=True)


def print_json(value: Mapping[str, Any]) -> None:
    """Print a result for programs: one object, and nothing else on standard output."""
    click.echo(json.dumps(value, allow_nan=False))


def print_table(rows: Sequence[Sequence[str]], head: Sequence[str] = ()) -> None:
    """Print rows in columns as wide as they need; a column of numbers stands to the right."""
    lines = [head, *rows] if head else rows
    columns = list(zip(*lines, strict=True))
    widths = [max(map(len, column)) for column in columns]
    numbers = [all(cell[:1].isdigit() for cell in column[bool(head) :]) for column in columns]
    for line in lines:
        cells = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numbers, strict=True)
        ]
        click.echo("  ".join(cells).rstrip())


def terminal() -> bool:
    """Whether a person looks at standard output."""
    return sys.stdout.isatty()


@contextmanager
def progress(description: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar while the block runs, if standard error is a terminal.

    Yields
    ------
    callable
        To be called with what is done so far and in all.
    """
    from rich.console import Console
    from rich.progress import Progress

    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(description, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
