"""Writes the tables of the documents from a result of ``tritforge bench``.

A table stands between ``<!-- table: NAME -->`` and ``<!-- end -->``; NAME is one of `report.TABLES`. Run as
``python -m tritforge.host.documents RESULTS.json FILE.md ...``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from ..models.config import read_json
from ..models.errors import TritforgeError
from ..models.files import replacing
from .report import TABLES, Results

__all__ = ["main", "rewritten", "table_names"]

_MARKED = re.compile(r"<!-- table: (.*?) -->\n(.*?)<!-- end -->", re.DOTALL)


def table_names(text: str) -> list[str]:
    """Return the names of a document's tables, in order."""
    return [match[1] for match in _MARKED.finditer(text)]


def rewritten(text: str, results: Results) -> str:
    """Return a document with its tables made anew.

    Parameters
    ----------
    text
        The document.
    results
        What `benchmark.measure` returned.

    Raises
    ------
    TritforgeError
        If a mark names no table.
    """

    def table(match: re.Match[str]) -> str:
        name = match[1]
        if name not in TABLES:
            raise TritforgeError(f"there is no table {name!r}; the tables are {', '.join(TABLES)}")
        return f"<!-- table: {name} -->\n\n{TABLES[name](results).markdown()}\n\n<!-- end -->"

    return _MARKED.sub(table, text)


def main(arguments: Sequence[str]) -> None:
    """Rewrite the tables of all documents named after the result's file."""
    results = read_json(Path(arguments[0]))
    for path in map(Path, arguments[1:]):
        text = rewritten(path.read_text(encoding="utf-8"), results)
        with replacing(path) as stream:
            stream.write(text.encode())


if __name__ == "__main__":
    main(sys.argv[1:])
