"""What a change may cost: ceilings in budgets.toml, for figures that depend on no machine."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from cell_budgets import KINDS, cell_figures
from tritforge.hdl.config import AcceleratorConfig
from tritforge.host.benchmark import SHAPES, hardware, shape
from tritforge.models.loading import load
from tritforge.sim.units import unit_costs

ROOT = Path(__file__).parent.parent
BUDGETS: dict[str, Any] = tomllib.loads((ROOT / "tests" / "budgets.toml").read_text())
RESULTS: dict[str, Any] = json.loads((ROOT / "docs" / "results.json").read_text())
CORE: dict[str, Any] = json.loads((ROOT / "docs" / "core.json").read_text())
MARGIN = 0.02
ADVICE = "if it is worth it, raise tests/budgets.toml; `make results` measures the documents' figures again"
CELL_ADVICE = "if it is worth it, run `python tests/cell_budgets.py` and `make bench-core`"


def not_fed(found: dict[str, Any]) -> float:
    """Share of a token's cycles in which the matrix unit took no weights."""
    return 1 - found["causes"]["fed"] / sum(found["causes"].values())


@pytest.mark.usefixtures("needs_compiler")
@pytest.mark.parametrize("name", BUDGETS["cycles_per_token"])
def test_a_token_takes_no_more_cycles_and_a_model_no_more_memory(name: str) -> None:
    model = load(ROOT / name if "/" in name else name)
    found = hardware(model, AcceleratorConfig.smallest_fit(model.config), 40)
    if name in BUDGETS["not_fed"]:
        assert not_fed(found) <= BUDGETS["not_fed"][name], f"not fed, {name}: {found['causes']}"
    for figure in ("cycles_per_token", "image_bytes"):
        assert found[figure] <= BUDGETS[figure][name] * (1 + MARGIN), f"{figure} of {name}: {ADVICE}"
        documented = RESULTS["models"][name]["hardware"][figure]
        assert found[figure] == pytest.approx(documented, rel=MARGIN), f"{figure} of {name}: {ADVICE}"


@pytest.mark.slow
@pytest.mark.usefixtures("needs_compiler")
@pytest.mark.parametrize("name", SHAPES)
def test_a_layer_of_a_published_shape_keeps_the_matrix_unit_fed(name: str) -> None:
    found = shape(name)
    assert not_fed(found) <= BUDGETS["not_fed"][name], f"not fed, {name}: {found['causes']}"
    assert found["cycles_per_token"] <= BUDGETS["core_cycles"][name] * (1 + MARGIN), f"{name}: {ADVICE}"
    for documented in (RESULTS["shapes"].get(name), CORE["cycles"]["found"].get(f"two layers of {name}")):
        if documented:  # a shape that was added is documented when the figures are measured again
            cycles = documented["cycles_per_token"]
            assert found["cycles_per_token"] == pytest.approx(cycles, rel=MARGIN), ADVICE


def test_the_matrix_unit_is_fed_in_95_of_100_cycles_from_hidden_size_1024_on() -> None:
    """But on about 1,000 lanes, where the vector unit's element a cycle is not enough."""
    assert BUDGETS["not_fed"]["370m"] <= 0.05
    assert BUDGETS["not_fed"]["1.3b on 80 lanes"] <= 0.05


@pytest.mark.slow
def test_no_unit_takes_more_cells() -> None:
    found = cell_figures()
    assert set(found) == set(BUDGETS["units"]), "run `python tests/cell_budgets.py`"
    for unit, cells in found.items():
        # A kind without a ceiling is not to be used.
        for kind, number in cells.items():
            ceiling = BUDGETS["units"][unit].get(kind, 0)
            assert number <= ceiling * (1 + MARGIN), f"{kind} of {unit}: {cells}; {CELL_ADVICE}"


@pytest.mark.slow
def test_the_documented_cells_are_those_of_today() -> None:
    documented = CORE["units"]["found"]
    found = unit_costs(AcceleratorConfig.load(documented["accel"]), documented["family"])
    units = {unit["name"]: unit for unit in found["units"]}
    assert [unit["name"] for unit in documented["units"]] == list(units), CELL_ADVICE
    pairs = [(unit, units[unit["name"]]) for unit in documented["units"]]
    for before, now in [*pairs, (documented["whole"], found["whole"]), (documented["dot"], found["dot"])]:
        for kind in KINDS:
            sentence = f"{kind} of {now['name']}: {CELL_ADVICE}"
            assert now[kind] == pytest.approx(before[kind], rel=MARGIN), sentence


def test_the_dot_product_keeps_its_goals() -> None:
    dot = CORE["units"]["found"]["dot"]
    assert dot["lut4_per_lane"] <= 9
    assert dot["bram"] <= 14


def test_every_documented_model_and_design_has_a_budget() -> None:
    for figure in ("cycles_per_token", "image_bytes"):
        assert set(BUDGETS[figure]) == set(RESULTS["models"])
    assert set(BUDGETS["not_fed"]) == {"tiny", "bard", *SHAPES}
    assert set(BUDGETS["core_cycles"]) == set(SHAPES)
    assert set(RESULTS["shapes"]) <= set(SHAPES)
    units = CORE["units"]["found"]["units"]
    others = {"Accelerator", "DotUnit", "second stream"}
    assert set(BUDGETS["units"]) == {unit["name"] for unit in units} | others
