"""Writes the tables of the documents from a result of ``tritforge bench``.

A table stands between ``<!-- table: NAME -->`` and ``<!-- end -->``; NAME is one of `report.TABLES`. Run as
``python -m tritforge.host.documents RESULTS.json FILE.md ...``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..models.config import read_json
from ..models.errors import TritforgeError
from ..models.files import replacing
from .report import TABLES, Table

__all__ = ["main", "rewrite", "rewritten", "table_names"]

Tables = Mapping[str, Callable[[Mapping[str, Any]], Table]]
"""Tables by the name that a document's mark gives."""


def table_names(text: str, mark: str = "table") -> list[str]:
    """Return the names of a document's tables, in order."""
    return [match[1] for match in _marked(mark).finditer(text)]


def _marked(mark: str) -> re.Pattern[str]:
    return re.compile(rf"<!-- {mark}: (.*?) -->\n(.*?)<!-- end{_of(mark)} -->", re.DOTALL)


def _of(mark: str) -> str:
    return "" if mark == "table" else f" of {mark}"


def rewritten(
    text: str, results: Mapping[str, Any], tables: Tables = TABLES, mark: str = "table"
) -> str:
    """Return a document with its tables made anew.

    Parameters
    ----------
    text
        The document.
    results
        What `benchmark.measure` returned, or whatever else `tables` are made of.
    tables
        The tables by name.
    mark
        Word with which their marks begin.

    Raises
    ------
    TritforgeError
        If a mark names no table.
    """

    def table(match: re.Match[str]) -> str:
        name = match[1]
        if name not in tables:
            raise TritforgeError(f"there is no table {name!r}; the tables are {', '.join(tables)}")
        return f"<!-- {mark}: {name} -->\n\n{tables[name](results).markdown()}\n\n<!-- end{_of(mark)} -->"

    return _marked(mark).sub(table, text)


def rewrite(path: Path, new: Callable[[str], str]) -> None:
    """Replace a document by what `new` makes of its text."""
    text = new(path.read_text(encoding="utf-8"))
    with replacing(path) as stream:
        stream.write(text.encode())


def main(arguments: Sequence[str]) -> None:
    """Rewrite the tables of all documents named after the result's file."""
    results = read_json(Path(arguments[0]))
    for path in map(Path, arguments[1:]):
        rewrite(path, partial(rewritten, results=results))


if __name__ == "__main__":
    main(sys.argv[1:])
