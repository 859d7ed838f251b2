"""The dot product study's document says what its result says."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from document_checks import check_command, check_document, check_table
from tritforge.host.documents import rewritten
from tritforge.host.dottables import MARK, TABLES

DOCS = Path(__file__).parent.parent / "docs"
RESULTS: dict[str, Any] = json.loads((DOCS / "dot.json").read_text())


def test_the_document_s_tables_are_what_the_result_gives() -> None:
    new = partial(rewritten, results=RESULTS, tables=TABLES, mark=MARK)
    check_document(DOCS / "dot.md", new, TABLES, MARK, "`python -m tritforge.host.dottables`")


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_whole_and_says_how_its_figures_were_obtained(name: str) -> None:
    check_table(TABLES[name](RESULTS))


def test_each_design_has_a_line_of_cells_and_each_routed_one_a_line_of_clocks() -> None:
    designs = RESULTS["designs"]
    assert len(TABLES["cells"](RESULTS).rows) == len(designs)
    assert len(TABLES["clocks"](RESULTS).rows) == sum(len(each["routed"]) for each in designs)


def test_the_command_writes_the_tables(tmp_path: Path) -> None:
    check_command("dottables", DOCS / "dot.json", "study", "run", TABLES["run"](RESULTS), tmp_path)
