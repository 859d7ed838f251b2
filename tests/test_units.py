"""The units that a design is made of, and what `tritforge units` says of their cells."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from amaranth.lib.wiring import Component
from click.testing import CliRunner, Result
from tritforge.hdl.accelerator import Accelerator
from tritforge.hdl.config import AcceleratorConfig
from tritforge.hdl.mlgru import ForgetGate, Mlgru
from tritforge.hdl.scalars import Reciprocal
from tritforge.host.cli import cli
from tritforge.sim import units
from tritforge.sim.synthesis import FAMILIES
from tritforge.sim.units import Part, count_cells, parts, unit_costs

UP5K = AcceleratorConfig.load("up5k")
KINDS = {"lut4", "carry", "ff", "bram", "lutram", "dsp", "spram"}


class Counter:
    """Counts a unit's cells by the letters of its name, and remembers whose it counted."""

    def __init__(self) -> None:
        self.counted: list[str] = []

    def __call__(self, component: Component, family: str) -> dict[str, int]:
        self.counted.append(type(component).__name__)
        return dict.fromkeys(KINDS, 100) | {"lut4": len(self.counted[-1])}


@pytest.fixture
def counter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter]:
    monkeypatch.setenv("TRITFORGE_CACHE", str(tmp_path / "cache"))
    counter = Counter()
    monkeypatch.setattr(units, "count_cells", counter)
    return counter


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(cli, ["units", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_each_unit_stands_below_the_one_that_contains_it() -> None:
    found = parts(UP5K)
    before: dict[str, int] = {"Accelerator": 0}
    for name, part in found.items():
        assert part.level == before[part.inside] + 1, name
        before[name] = part.level
    for unit, inside in (("MatMul", "Accelerator"), ("Mlgru", "Epilogue"), ("Quantiser", "InputQuantiser")):
        assert found[unit].inside == inside


def test_units_are_counted_as_often_as_the_design_has_them() -> None:
    one, four = parts(UP5K), parts(replace(UP5K, streams=4))
    shared = {"Conductor", "Sequencer", "Unpacker", "WeightBuffer", "VectorControl"}
    shared |= {"MatMul", "TableFiller", "PartialSums"}
    for name, part in one.items():
        assert four[name].instances == part.instances * (1 if name in shared else 4), name
    assert one["VectorStore"].instances == 1  # x and u together


def test_a_unit_has_the_arguments_that_the_design_gives_it() -> None:
    addresses = parts(UP5K)["VectorStore"].component.signature.members["read_address"]
    assert addresses.shape.stop == 2 * UP5K.hidden  # x, and u above it


def test_a_latency_is_the_unit_s_own() -> None:
    found = parts(UP5K)
    assert found["Mlgru"].latency == Mlgru.latency
    assert found["MatMul"].latency == found["MatMul"].component.latency
    assert found["Reciprocal"].latency == (Reciprocal.fastest, Reciprocal.slowest)
    assert parts(replace(UP5K, streams=4))["Conductor"].latency != found["Conductor"].latency


def test_every_unit_has_a_latency_and_says_what_it_is() -> None:
    for part in parts(UP5K).values():
        assert part.latency is not None, part.name
        assert "cycle" in part.latency_note, part.name
    # A token's cycles are no property of the hardware alone.
    whole = Part(Accelerator(UP5K), "", 0, 1)
    assert whole.latency is None
    assert "model" in whole.latency_note


def test_costs_have_the_documented_keys(counter: Counter) -> None:
    costs = unit_costs(UP5K, "ecp5")
    assert (costs["family"], costs["device"], costs["accel"]) == ("ecp5", "85f", "up5k")
    assert (costs["lanes"], costs["streams"]) == (40, 1)
    assert [unit["name"] for unit in costs["units"]] == list(parts(UP5K))
    for unit in [*costs["units"], costs["whole"], costs["dot"]]:
        assert {"name", "latency", "latency_note", "inside", "level", "instances"} | KINDS <= set(unit)
        assert unit["lut4"] == len(unit["name"])
    assert costs["whole"]["name"] == "Accelerator"
    # LUTs used as memory count too, as in the study of dot products.
    assert costs["dot"]["lut4_per_lane"] == (costs["dot"]["lut4"] + costs["dot"]["lutram"]) / 40
    assert json.loads(json.dumps(costs)) == costs


def test_a_design_is_counted_once_a_family_and_number_of_streams(counter: Counter) -> None:
    first = unit_costs(UP5K, "ice40")
    designs = len(first["units"]) + 2
    assert len(counter.counted) == designs
    assert unit_costs(UP5K, "ice40") == first
    assert len(counter.counted) == designs
    unit_costs(UP5K, "gowin")
    unit_costs(replace(UP5K, streams=2), "gowin")
    assert len(counter.counted) == 3 * designs


def test_the_name_of_an_accelerator_is_not_kept_with_its_cells(counter: Counter) -> None:
    unit_costs(UP5K, "ice40")
    assert unit_costs(replace(UP5K, name="other"), "ice40")["accel"] == "other"
    assert len(counter.counted) == len(parts(UP5K)) + 2


def test_progress_is_told_for_every_design(counter: Counter) -> None:
    told: list[tuple[int, int]] = []
    unit_costs(UP5K, "ice40", lambda done, total: told.append((done, total)))
    assert told == [(k, len(counter.counted)) for k in range(len(counter.counted))]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_unit_s_cells_are_counted_for_every_family(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITFORGE_CACHE", str(tmp_path))
    cells = count_cells(ForgetGate(), family)
    assert cells["dsp"] == 1  # a 15 x 15 bit product
    assert cells["bram"] == cells["lutram"] == 0
    assert cells["lut4"] > 0


def test_the_command_prints_one_object(counter: Counter) -> None:
    printed: dict[str, Any] = json.loads(run("--json", "--family", "xilinx", "--streams", "2").stdout)
    assert (printed["family"], printed["accel"], printed["streams"]) == ("xilinx", "up5k", 2)


def test_the_command_shows_a_row_for_each_unit_and_says_how_cells_were_counted(counter: Counter) -> None:
    shown = run().stdout
    assert f"{Reciprocal.fastest} to {Reciprocal.slowest}" in shown
    for name in [*parts(UP5K), Accelerator.__name__]:
        assert any(name in line.split() for line in shown.splitlines()), name
    assert "after synthesis for iCE40" in shown
    assert "nothing here is placed or routed" in shown
    assert f"{(len('DotUnit') + 100) / 40:.2f}" in shown  # LUT4s a lane, with those used as memory


def test_the_command_writes_what_it_prints(counter: Counter, tmp_path: Path) -> None:
    file = tmp_path / "units.json"
    result = run("--json", "--out", str(file))
    assert json.loads(file.read_text()) == json.loads(result.stdout)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--family", "vax"], "cells can't be counted for family 'vax': choose ice40, ecp5, gowin or xilinx"),
        (["--accel", "none"], "no accelerator none: name one of up5k, medium, large, or a .toml file"),
        (["--streams", "0"], "accelerator up5k: streams must be from 1 to 16, not 0"),
    ],
)
def test_a_mistake_is_one_sentence(arguments: list[str], sentence: str, counter: Counter) -> None:
    result = run(*arguments)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == f"error: {sentence}\n"
    assert counter.counted == []
