"""Tables of what the core is, from a result of ``tritforge bench-core``.

Run as ``python -m tritforge.host.coretables RESULTS.json FILE.md``: writes the tables of a document.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..models.config import read_json
from ..models.files import replacing
from .documents import rewritten
from .report import Table
from .unitreport import KINDS, dot_table, unit_table

__all__ = ["MARK", "TABLES", "core_document", "main"]

MARK = "core"
"""What stands in the marks of these tables."""

Measured = Mapping[str, Any]
"""One part of what `corebench.measure_core` returns."""


def _streams(part: Measured) -> Table:
    found = part["found"]
    each = found["by_streams"]
    kinds = [kind for kind in KINDS if each["1"]["cells"][kind]]
    one = each["1"]
    rows = []
    for count, here in each.items():
        further = [here["cells"][kind] - one["cells"][kind] for kind in kinds]
        rows.append(
            (
                count,
                f"{here['prompt_cycles_per_token']:,.0f}",
                f"{one['prompt_cycles_per_token'] / here['prompt_cycles_per_token']:.2f}",
                f"{here['batch_cycles_per_token']:,.0f}",
                f"{one['batch_cycles_per_token'] / here['batch_cycles_per_token']:.2f}",
                *(f"{here['cells'][kind]:,}" for kind in kinds),
                *(f"{cells / (int(count) - 1):,.0f}" if count != "1" else "–" for cells in further[:4]),
            )
        )
    head = (
        "streams", "cycles a prompt token", "faster", "cycles a new token", "faster",
        *(KINDS[kind] for kind in kinds), *(f"{KINDS[kind]} a further stream" for kind in kinds[:4]),
    )  # fmt: skip
    caption = (
        f"`{found['model']}` on the {found['accelerator']} preset. Cycles: simulated; a new token is one of"
        " all texts together. Cells: counted by yosys after synthesis for iCE40, not placed or routed."
    )
    return Table(caption, head, rows)


def _causes(part: Measured) -> Table:
    found = part["found"]
    names = list(next(iter(found.values()))["causes"])
    rows = []
    for model, each in found.items():
        total = sum(each["causes"].values())
        shares = (each["causes"][name] / total for name in names)
        rows.append(
            (
                f"`{model}`" if " " not in model else model,
                each["accelerator"],
                f"{each['cycles_per_token']:,.0f}",
                f"{1 - each['causes']['fed'] / total:.1%}",
                *(f"{share:.1%}" for share in shares),
            )
        )
    head = ("model", "preset", "cycles a token", "not fed", *names)
    caption = (
        "Simulated, in generation: cycles by what they went for, as the hardware's counters tell"
        " (`hdl.accelerator.CAUSES`), with a weight memory that always has a beat."
    )
    return Table(caption, head, rows)


def _run(results: Mapping[str, Measured]) -> Table:
    rows = []
    for name, part in results.items():
        machine = part["machine"]
        versions = ", ".join(f"{package} {number}" for package, number in part["versions"].items())
        system = f"{machine['processor']}, {machine['cores']} cores, {machine['system']}"
        rows.append((name, f"`{part['command']}`", part["date"], versions, system))
    caption = "How each part was measured."
    return Table(caption, ("part", "command", "date", "versions", "machine"), rows)


def _units(part: Measured) -> Table:
    return unit_table(part["found"])


def _dot(part: Measured) -> Table:
    return dot_table(part["found"])


TABLES: Mapping[str, tuple[str, Callable[[Measured], Table]]] = {
    "causes": ("cycles", _causes),
    "streams": ("streams", _streams),
    "units": ("units", _units),
    "dot": ("units", _dot),
}
"""By the name that a document's mark gives: the part of the results, and the table made of it."""


def core_document(text: str, results: Mapping[str, Any]) -> str:
    """Return a document with its tables made anew from what `corebench.measure_core` returned."""
    tables = {name: partial(_table, name) for name in TABLES} | {"run": _run}
    return rewritten(text, results, tables, MARK)


def _table(name: str, results: Mapping[str, Any]) -> Table:
    part, table = TABLES[name]
    return table(results[part])


def main(arguments: Sequence[str]) -> None:
    """Rewrite the tables of the document named after the result's file."""
    path = Path(arguments[1])
    text = core_document(path.read_text(encoding="utf-8"), read_json(Path(arguments[0])))
    with replacing(path) as stream:
        stream.write(text.encode())


if __name__ == "__main__":
    main(sys.argv[1:])
