"""The dot product study's document says what its result says."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tritforge.host.documents import rewritten, table_names
from tritforge.host.dottables import MARK, TABLES

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "dot.md"
RESULTS: dict[str, Any] = json.loads((ROOT / "docs" / "dot.json").read_text())


def test_the_document_s_tables_are_what_the_result_gives() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert rewritten(text, RESULTS, TABLES, MARK) == text, "run `python -m tritforge.host.dottables`"
    assert sorted(table_names(text, MARK)) == sorted(TABLES)


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_whole_and_says_how_its_figures_were_obtained(name: str) -> None:
    table = TABLES[name](RESULTS)
    assert table.rows
    assert {len(row) for row in table.rows} == {len(table.head)}
    assert re.match("Counted|Routed|How the figures", table.caption)


def test_each_design_has_a_line_of_cells_and_each_routed_one_a_line_of_clocks() -> None:
    designs = RESULTS["designs"]
    assert len(TABLES["cells"](RESULTS).rows) == len(designs)
    assert len(TABLES["clocks"](RESULTS).rows) == sum(len(each["routed"]) for each in designs)


def test_the_command_writes_the_tables(tmp_path: Path) -> None:
    document = tmp_path / "document.md"
    document.write_text("A\n<!-- study: run -->\nold\n<!-- end of study -->\nB\n")
    command = [sys.executable, "-P", "-m", "tritforge.host.dottables", ROOT / "docs" / "dot.json", document]
    subprocess.run(command, check=True)
    run = TABLES["run"](RESULTS).markdown()
    assert document.read_text() == f"A\n<!-- study: run -->\n\n{run}\n\n<!-- end of study -->\nB\n"
