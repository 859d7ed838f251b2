"""The page on the core says what its committed figures say; parts of them can be measured alone."""

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from document_checks import check_document, check_table
from tritforge.host import corebench
from tritforge.host.cli import cli
from tritforge.host.corebench import PARTS, STREAMS, measure_core
from tritforge.host.coretables import MARK, TABLES, core_document
from tritforge.models.errors import TritforgeError

DOCS = Path(__file__).parent.parent / "docs"
CORE: dict[str, Any] = json.loads((DOCS / "core.json").read_text())


@pytest.fixture
def two_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corebench, "PARTS", {"one": lambda: {"a": 1}, "two": lambda: {"b": 2}})


def test_the_page_s_tables_are_what_the_figures_give() -> None:
    new = partial(core_document, results=CORE)
    check_document(DOCS / "core.md", new, [*TABLES, "run"], MARK, "`make bench-core`, or its last commands")


@pytest.mark.parametrize("name", [name for name, (part, _) in TABLES.items() if part in CORE])
def test_a_table_is_whole_and_says_how_its_figures_were_obtained(name: str) -> None:
    part, make = TABLES[name]
    check_table(make(CORE[part]))


def test_every_part_was_measured_and_says_how() -> None:
    assert {"cycles", "streams", "units", "stream-cells"} <= set(CORE) <= set(PARTS)
    for name, part in CORE.items():
        assert part["command"] == f"tritforge bench-core --only {name}"
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", part["date"])
        assert {"python", "tritforge", "verilator", "pyosys"} <= set(part["versions"])
        assert {"processor", "cores", "system"} <= set(part["machine"])


def test_causes_are_all_of_a_token_s_cycles() -> None:
    for each in CORE["cycles"]["found"].values():
        assert sum(each["causes"].values()) == pytest.approx(each["cycles_per_token"], rel=1e-4)


def test_more_streams_take_fewer_cycles_a_token() -> None:
    each = CORE["streams"]["found"]["by_streams"]
    assert list(each) == [str(count) for count in STREAMS]
    for figure in ("prompt_cycles_per_token", "batch_cycles_per_token"):
        found = [here[figure] for here in each.values()]
        assert found == sorted(found, reverse=True)


def test_every_further_stream_costs_about_as_much_as_the_second() -> None:
    found = CORE["stream-cells"]["found"]
    assert list(found) == [str(count) for count in STREAMS]
    one, two, four = (found[str(count)] for count in (1, 2, 4))
    for kind in ("lut4", "ff", "bram", "dsp"):
        assert four[kind] - one[kind] == pytest.approx(3 * (two[kind] - one[kind]), rel=0.05)


def test_each_part_is_handed_on_and_those_that_are_not_measured_are_kept(two_parts: None) -> None:
    half, first = measure_core([], {})
    assert list(half) == ["one"]
    assert [part["found"] for part in first.values()] == [{"a": 1}, {"b": 2}]
    (again,) = measure_core(["two"], {"one": "kept", "two": "old", "gone": "dropped"})
    assert list(again) == ["one", "two"]
    assert again["one"] == "kept"
    assert again["two"]["found"] == {"b": 2}


def test_a_part_that_there_is_not_is_refused(two_parts: None) -> None:
    with pytest.raises(TritforgeError, match="there is no part 'three' to measure; the parts are one, two"):
        list(measure_core(["three"], {}))


def test_the_command_adds_to_the_file_that_it_writes(two_parts: None, tmp_path: Path) -> None:
    file = tmp_path / "core.json"
    for part in ("two", "one"):
        result = CliRunner().invoke(cli, ["bench-core", "--only", part, "--out", str(file)])
        assert result.exit_code == 0, result.output
    written = json.loads(file.read_text())
    assert {name: part["found"] for name, part in written.items()} == {"one": {"a": 1}, "two": {"b": 2}}
