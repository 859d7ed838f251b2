"""The simulation benchmark: both ways to drive the accelerator do the same, and rates follow from times."""

import json
from pathlib import Path

import pytest
from tritforge.models.errors import TritforgeError
from tritforge.models.quantise import trit_count
from tritforge.sim import simspeed
from tritforge.sim.bench import missing_tools
from tritforge.sim.simspeed import SimulationSpeed, benchmark_task, simulation_speed

needs_tools = pytest.mark.skipif(bool(missing_tools()), reason=f"needs {', '.join(missing_tools())}")


def test_rates_are_numbers_by_seconds() -> None:
    found = SimulationSpeed("large", 1040, macs=6_000, cycles=12, compiled_seconds=0.5, clocked_seconds=20.0)
    values = found.to_dict()
    assert values["compiled_macs_per_second"] == 12_000
    assert values["compiled_cycles_per_second"] == 24
    assert values["clocked_macs_per_second"] == 300
    assert values["clocked_cycles_per_second"] == 0.6
    assert values["ratio"] == 40


def test_what_was_not_measured_is_none() -> None:
    values = SimulationSpeed("large", 1040, 6_000, 12, 0.5, None).to_dict()
    assert values["compiled_macs_per_second"] == 12_000
    assert values["clocked_macs_per_second"] is values["clocked_cycles_per_second"] is values["ratio"] is None


def test_the_documented_speed_is_a_hundred_million_macs_a_second_on_a_thousand_lanes() -> None:
    core = json.loads((Path(__file__).parent.parent / "docs" / "core.json").read_text())
    found = core["speed"]["found"]
    assert 1_000 <= found["lanes"] <= 1_100
    assert found["compiled_macs_per_second"] >= 1e8
    assert found["ratio"] > 1


def test_the_model_fills_the_lanes_of_its_accelerator() -> None:
    task = benchmark_task("up5k")
    model, lanes = task.image.config, task.config.layout.lanes
    assert model.hidden_size % lanes == model.intermediate_size % lanes == 0


@pytest.mark.slow
@needs_tools
def test_driven_from_cocotb_the_accelerator_takes_the_same_cycles_to_the_same_token() -> None:
    found = simulation_speed("up5k")
    task = benchmark_task("up5k")
    assert found.macs == trit_count(task.image.config)
    assert (found.lanes, found.accelerator) == (40, "up5k")
    # A matrix beat a cycle at most.
    assert found.cycles > found.macs / 40
    assert found.clocked_seconds is not None
    assert 0 < found.compiled_seconds < found.clocked_seconds


@needs_tools
def test_if_they_disagree_nothing_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simspeed, "_clocked", lambda _: {"cycles": 1, "token": 0, "seconds": 1.0})
    with pytest.raises(TritforgeError, match="driven from cocotb the accelerator does otherwise"):
        simulation_speed("up5k")
