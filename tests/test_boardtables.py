"""A board's document says what its build's result says."""

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from tritforge.host.boardtables import MARK, PEERS, PLAN, TABLES
from tritforge.host.documents import rewritten, table_names
from tritforge.models import zoo

FOLDER = Path(__file__).parent.parent / "docs" / "boards"
DOCUMENT = FOLDER / "ice40.md"
RESULTS: dict[str, Any] = json.loads((FOLDER / "icebreaker.json").read_text())


def test_the_document_s_tables_are_what_the_result_gives() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert rewritten(text, RESULTS, TABLES, MARK) == text, "run `python -m tritforge.host.boardtables`"
    assert sorted(table_names(text, MARK)) == sorted(TABLES)


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_whole_and_says_how_its_figures_were_obtained(name: str) -> None:
    table = TABLES[name](RESULTS)
    assert table.rows
    assert {len(row) for row in table.rows} == {len(table.head)}
    assert re.search("[Cc]ounted|[Rr]outed|[Ss]imulated|How the figures", table.caption)


def test_a_speed_is_the_clock_by_cycles_and_a_host_sees_no_more() -> None:
    report = RESULTS["report"]
    for each in (report, *RESULTS["models"].values()):
        assert each["tokens_per_second"] == pytest.approx(report["clock_hz"] / each["cycles_per_token"])
        assert 0 < each["host_tokens_per_second"] <= 1.01 * each["tokens_per_second"]
    assert set(RESULTS["models"]) == set(zoo.names())


def test_weights_and_tokens_are_multiplied_and_divided_by_luts() -> None:
    (zybo,) = [row for row in TABLES["peers"](RESULTS).rows if "ZyboGPT" in row[0]]
    # 98,000 x 3,072 = 301,056,000; / 14,952 = 20,135.
    assert zybo[2:7] == ("98,000", "3,072", "3e+08", "14,952", "20,135")
    assert all(peer.address.startswith("https://") for peer in PEERS)


def test_the_floor_plan_is_a_picture_of_every_kind_of_block() -> None:
    file = FOLDER / PLAN
    assert file.stat().st_size < 100_000
    root = ElementTree.fromstring(file.read_text())
    outlines = [each.attrib["d"] for each in root.iter("{http://www.w3.org/2000/svg}path")]
    placed = RESULTS["report"]["placed"]
    blocks = sum(placed[f"ICESTORM_{kind}"]["used"] for kind in ("RAM", "SPRAM", "DSP", "PLL"))
    framed = [
        each.attrib["d"] for each in root.iter("{http://www.w3.org/2000/svg}path") if "stroke" in each.attrib
    ]
    assert sum(outline.count("M") for outline in framed) == blocks
    assert len(outlines) > len(framed)


def test_the_command_writes_the_tables(tmp_path: Path) -> None:
    document = tmp_path / "document.md"
    document.write_text("A\n<!-- board: run -->\nold\n<!-- end of board -->\nB\n")
    command = [sys.executable, "-P", "-m", "tritforge.host.boardtables", FOLDER / "icebreaker.json", document]
    subprocess.run(command, check=True)
    run = TABLES["run"](RESULTS).markdown()
    assert document.read_text() == f"A\n<!-- board: run -->\n\n{run}\n\n<!-- end of board -->\nB\n"
