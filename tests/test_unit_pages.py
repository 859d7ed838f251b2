"""The units' pages say what the code and the committed costs say."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tritforge.hdl.config import AcceleratorConfig
from tritforge.host.unitpages import PICTURE, further_parts, page_name, pages, waveforms
from tritforge.sim.benches.library import LIBRARY
from tritforge.sim.diagram import draw
from tritforge.sim.units import parts, wide_parts
from tritforge.sim.waveform import waveform

UNITS = Path(__file__).parent.parent / "docs" / "units"
CORE: dict[str, Any] = json.loads((UNITS.parent / "core.json").read_text())
COSTS, WIDE = (CORE[part]["found"] for part in ("units", "widths"))
CONFIG = AcceleratorConfig.load(COSTS["accel"])
FURTHER = further_parts(CONFIG) | wide_parts(CONFIG)
DIAGRAMS = sorted({name for part in (*parts(CONFIG).values(), *FURTHER.values()) for name in waveforms(part)})
ADVICE = "run `python -m tritforge.host.unitpages docs/core.json docs/units`"


def test_the_committed_pages_are_those_that_the_costs_give() -> None:
    made = pages(COSTS, WIDE)
    assert {file.name for file in UNITS.glob("*.md")} == set(made), ADVICE
    for name, text in made.items():
        assert (UNITS / name).read_text(encoding="utf-8") == text, f"{name}: {ADVICE}"


def test_every_unit_of_the_design_has_a_page_and_no_other() -> None:
    assert {unit["name"] for unit in COSTS["units"]} == set(parts(CONFIG))
    wide = ["WordStore", "Gatherer", "WideMeasure", "WideInputQuantiser", "ParallelScale"]
    assert {unit["name"] for unit in WIDE["units"]} == set(wide) == set(wide_parts(CONFIG))
    units = [*parts(CONFIG), "ActivationLoader", "TreeDot", "DotUnit", *wide]
    assert set(pages(COSTS, WIDE)) == {"index.md", *(f"{page_name(name)}.md" for name in units)}


def test_units_of_other_configurations_have_a_diagram_each() -> None:
    assert {name: waveforms(part) for name, part in FURTHER.items()} == {
        "ActivationLoader": ["activation_loader"],
        "TreeDot": ["tree_dot"],
        "DotUnit": ["dot_lookup", "dot_lutram", "dot_tree"],
        "WordStore": ["word_store"],
        "Gatherer": ["gatherer"],
        "WideMeasure": ["wide_measure"],
        "WideInputQuantiser": ["wide_input_quantiser"],
        "ParallelScale": ["parallel_scale"],
    }
    assert set(DIAGRAMS) == set(LIBRARY)


def test_the_committed_picture_is_the_one_that_the_design_gives() -> None:
    assert (UNITS / PICTURE).read_text(encoding="utf-8") == draw(CONFIG), ADVICE


@pytest.mark.parametrize("name", DIAGRAMS)
def test_the_committed_timing_diagram_is_what_the_unit_s_bench_draws(name: str) -> None:
    assert (UNITS / f"{name}.svg").read_text(encoding="utf-8") == waveform(name), f"{name}: {ADVICE}"


def test_there_are_no_other_pictures_and_each_is_shown() -> None:
    shown = re.findall(r"\]\((\w+\.svg)\)|image\} (\w+\.svg)", "\n".join(pages(COSTS, WIDE).values()))
    names = [one or other for one, other in shown]
    assert sorted(names) == sorted({PICTURE, *(f"{name}.svg" for name in DIAGRAMS)})
    assert {file.name for file in UNITS.glob("*.svg")} == set(names)


def test_a_page_is_named_as_modules_are() -> None:
    assert page_name("InverseRootScale") == "inverse_root_scale"
    assert page_name("Head") == "head"
