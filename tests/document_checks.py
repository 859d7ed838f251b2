"""What must hold of every document whose tables a command writes from a result."""

import re
import subprocess
import sys
from collections.abc import Callable, Collection
from pathlib import Path

from tritforge.host.documents import table_names
from tritforge.host.report import Table

__all__ = ["check_command", "check_document", "check_table"]


def check_document(
    path: Path, new: Callable[[str], str], names: Collection[str], mark: str, advice: str
) -> None:
    """Its tables are what the result gives, and it has each of `names` once."""
    text = path.read_text(encoding="utf-8")
    assert new(text) == text, f"run {advice}"
    assert sorted(table_names(text, mark)) == sorted(names)
    assert text.count(f"<!-- {mark}: ") == text.count(f"<!-- end of {mark} -->") == len(names)


def check_table(table: Table) -> None:
    """It is whole, and says how its figures were obtained."""
    assert table.rows
    assert {len(row) for row in table.rows} == {len(table.head)}
    assert not any("|" in cell or "\n" in cell for row in table.rows for cell in row)
    ways = "counted|measured|simulated|routed|estimated|published|how the figures"
    assert re.search(rf"\b({ways})\b", table.caption, re.IGNORECASE)


def check_command(module: str, results: Path, mark: str, name: str, table: Table, folder: Path) -> None:
    """Run so, it writes a table in the place of the old one, and leaves what stands around it."""
    document = folder / "document.md"
    begin, end = f"<!-- {mark}: {name} -->", "<!-- end -->" if mark == "table" else f"<!-- end of {mark} -->"
    document.write_text(f"A\n{begin}\nold\n{end}\nB\n")
    subprocess.run([sys.executable, "-P", "-m", f"tritforge.host.{module}", results, document], check=True)
    assert document.read_text() == f"A\n{begin}\n\n{table.markdown()}\n\n{end}\nB\n"
