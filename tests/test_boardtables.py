"""A board's document says what its build's result says."""

import json
import statistics
import xml.etree.ElementTree as ElementTree
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from document_checks import check_command, check_document, check_table
from tritforge.hdl.boards.up5k import BOARDS, Board
from tritforge.hdl.config import AcceleratorConfig
from tritforge.host import boardtables
from tritforge.host.boardfolder import PLAN
from tritforge.host.boardspeed import Speed
from tritforge.host.boardtables import MARK, PEERS, TABLES
from tritforge.host.documents import rewritten
from tritforge.models import zoo
from tritforge.models.loading import Model

FOLDER = Path(__file__).parent.parent / "docs" / "boards"
RESULTS: dict[str, Any] = json.loads((FOLDER / "icebreaker.json").read_text())


def test_the_document_s_tables_are_what_the_result_gives() -> None:
    new = partial(rewritten, results=RESULTS, tables=TABLES, mark=MARK)
    check_document(FOLDER / "ice40.md", new, TABLES, MARK, "`python -m tritforge.host.boardtables`")


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_whole_and_says_how_its_figures_were_obtained(name: str) -> None:
    check_table(TABLES[name](RESULTS))


def test_a_speed_is_the_clock_by_cycles_and_a_host_sees_no_more() -> None:
    report = RESULTS["report"]
    for each in (report, *RESULTS["models"].values()):
        assert each["tokens_per_second"] == pytest.approx(report["clock_hz"] / each["cycles_per_token"])
        assert 0 < each["host_tokens_per_second"] <= 1.01 * each["tokens_per_second"]
    assert set(RESULTS["models"]) == set(zoo.names())


def test_the_board_s_clock_is_at_most_nine_tenths_of_the_median_of_five_seeds() -> None:
    report = RESULTS["report"]
    assert report["clock_hz"] == BOARDS[report["board"]].clock_hz
    assert len(set(report["seeds"])) == len(report["fmax_hz"]) == 5
    assert report["clock_hz"] <= 0.9 * statistics.median(report["fmax_hz"])


def test_weights_and_tokens_are_multiplied_and_divided_by_luts() -> None:
    (zybo,) = [row for row in TABLES["peers"](RESULTS).rows if "ZyboGPT" in row[0]]
    # 98,000 x 3,072 = 301,056,000; / 14,952 = 20,135.
    assert zybo[2:7] == ("98,000", "3,072", "3e+08", "14,952", "20,135")
    assert all(peer.address.startswith("https://") for peer in PEERS)


def test_slow_peers_keep_their_digits() -> None:
    peers = {row[0].partition("]")[0]: row for row in TABLES["peers"](RESULTS).rows}
    # 2.88 s a token; 596,000,000 / 2.88.
    assert peers["[TernaryCore"][2:5] == ("596,000,000", "0.3472", "2.1e+08")
    assert peers["[bitnet-kv260"][3] == "16.78"
    assert peers["[Ternip"][3] == "3,712"


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
    results = FOLDER / "icebreaker.json"
    check_command("boardtables", results, "board", "run", TABLES["run"](RESULTS), tmp_path)


def test_a_build_gives_figures_picture_and_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = AcceleratorConfig.load("up5k")
    asked = []

    def speed(model: Model, accelerator: AcceleratorConfig, board: Board) -> Speed:
        asked.append((accelerator, board.clock_hz, board.baud))
        return Speed(device=1000.0, host=2000.0)

    monkeypatch.setattr(boardtables, "board_speed", speed)
    build = tmp_path / "build"
    build.mkdir()
    manifest = {"board": "fomu_pvt", "accelerator": config.to_dict(), "clock_hz": 18_000_000, "baud": 500_000}
    report = {**RESULTS["report"], "clock_hz": 18_000_000, "seeds": [1, 2, 3], "fmax_hz": [3e7, 2e7, 4e7]}
    (build / "manifest.json").write_text(json.dumps(manifest))
    (build / "report.json").write_text(json.dumps(report))
    (build / "picture.svg").write_text("<svg/>")
    results, document = tmp_path / "board.json", tmp_path / "board.md"
    document.write_text("<!-- board: models -->\n<!-- end of board -->\n")
    boardtables.main([str(results), str(document), str(build)])
    assert asked == [(config, 18_000_000, 500_000)] * len(zoo.names())
    found = json.loads(results.read_text())
    assert found["command"].endswith(" --seeds 3")
    assert (found["report"], found["models"]["tiny"]["tokens_per_second"]) == (report, 18_000)
    assert (tmp_path / PLAN).read_text() == "<svg/>"
    assert "| `tiny` | 523,840 | 1,000 | 18,000 | 9,000 |" in document.read_text()
