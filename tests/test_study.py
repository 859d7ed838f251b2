"""The dot product study: its result says what the tree gives."""

import json
import statistics
from pathlib import Path
from typing import Any

import pytest
from tritforge.hdl.dots import DOTS
from tritforge.sim.routing import ROUTED_DEVICES, SEEDS
from tritforge.sim.study import LANES, decoders, study
from tritforge.sim.synthesis import FAMILIES

RESULTS: dict[str, Any] = json.loads((Path(__file__).parent.parent / "docs" / "dot.json").read_text())
ADVICE = "if it is worth it, measure again: `python -m tritforge.sim.study docs/dot.json`"


def found(kind: str, family: str, lanes: int) -> dict[str, Any]:
    (design,) = (
        each
        for each in RESULTS["designs"]
        if (each["kind"], each["family"]) == (kind, family) and lanes <= each["lanes"] < lanes + 3
    )
    return dict(design)


def test_every_kind_is_measured_on_every_family_that_has_it() -> None:
    measured = {(each["kind"], each["family"]) for each in RESULTS["designs"]}
    assert measured == {(kind, family) for kind in DOTS for family in FAMILIES} - {("lutram", "ice40")}
    for kind, family in measured:
        for lanes in LANES[:-1] if family == "ice40" else LANES:
            design = found(kind, family, lanes)
            assert set(design["routed"]) == (
                {device for device, of in ROUTED_DEVICES.items() if of == family} if lanes < 1000 else set()
            )
            for routed in design["routed"].values():
                assert routed["fmax"].keys() == {str(seed) for seed in SEEDS}
                assert routed["median"] == statistics.median(routed["fmax"].values())


def test_the_goal_on_ice40_is_met() -> None:
    counts = found("lookup", "ice40", 40)["counts"]
    assert counts["lut4"] <= 9 * 40
    assert counts["bram"] <= 14
    assert (counts["lutram"], counts["dsp"], counts["spram"]) == (0, 0, 0)


def test_a_small_design_is_what_the_result_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tritforge.sim.study._ROUTED_LANES", 0)
    for kind in ("lookup", "tree"):
        assert study(kind, 5, "ice40") == found(kind, "ice40", 5) | {"routed": {}}, ADVICE


def test_a_prefix_code_is_decoded_by_three_tables_a_weight() -> None:
    assert decoders() == RESULTS["decoders"], ADVICE
    assert RESULTS["decoders"]["a prefix code"] <= 3 * 5


# iCE40's lookup tables are no memory.
STUDIED = [(kind, family) for kind in DOTS for family in FAMILIES if (kind, family) != ("lutram", "ice40")]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "family"), STUDIED)
def test_a_design_of_40_lanes_is_what_the_result_says(
    kind: str, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tritforge.sim.study._ROUTED_LANES", 0)
    assert study(kind, 40, family) == found(kind, family, 40) | {"routed": {}}, ADVICE
