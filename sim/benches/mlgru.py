"""Benches of `hdl.mlgru`, against `numerics.lower_bound_gate` and `numerics.mlgru`."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from amaranth.lib.wiring import Component

from ...hdl.mlgru import ForgetGate, Mlgru
from ...models.numerics import ACT, GATE, Saturations, lower_bound_gate, mlgru
from .driver import Driver, Random
from .parts import Bench, Columns, Group, Picture, one_of_each, pass_group, pipeline_cases

__all__ = ["BENCHES"]

_GATES = (0, 1, GATE.high // 2, GATE.high // 2 + 1, GATE.high - 1, GATE.high)
_ACTS = (ACT.low, ACT.low + 1, -1, 0, 1, ACT.high - 1, ACT.high)


def _forget_latencies(unit: Component) -> dict[str, int]:
    return {"f": unit.latency}


def _forget(columns: Columns, held: Mapping[str, int]) -> Columns:
    return {"f": lower_bound_gate(columns["gate"], columns["bound"])}


def _forget_corners(driver: Driver) -> Iterator[Group]:
    yield Group(one_of_each(bound=_GATES, gate=_GATES))


def _draw_forget(driver: Driver, random: Random, count: int) -> Group:
    bound, gate = random.integers(0, GATE.high + 1, (2, count))
    return Group({"bound": bound, "gate": gate})


async def _forget_picture(driver: Driver) -> None:
    half = 1 << (GATE.fraction - 1)
    group = Group({"bound": [0, half, half], "gate": [half, half, GATE.high]})
    await pass_group(driver, group, _forget_latencies(driver.unit), _forget, np.random.default_rng(0))


def _latencies(unit: Component) -> dict[str, int]:
    return {"h": unit.latency, "clamped": 2}


def _golden(columns: Columns, held: Mapping[str, int]) -> Columns:
    difference = columns["before"] - columns["i"]
    outside = (difference < ACT.low) | (difference > ACT.high)
    h = mlgru(columns["i"], columns["f"], columns["before"], Saturations())
    return {"h": h, "clamped": outside.astype(np.int64)}


def _group(**columns: Any) -> Group:
    return Group(columns, late={"f": 1})


def _corners(driver: Driver) -> Iterator[Group]:
    yield _group(**one_of_each(i=_ACTS, f=_GATES, before=_ACTS))


def _draw(driver: Driver, random: Random, count: int) -> Group:
    i, before = random.integers(ACT.low, ACT.high + 1, (2, count)) >> random.integers(0, 6, (2, count))
    return _group(i=i, f=random.integers(0, GATE.high + 1, count), before=before)


async def _picture(driver: Driver) -> None:
    half, one = 1 << (GATE.fraction - 1), 1 << ACT.fraction
    group = _group(i=[one, 0, ACT.low], f=[half, GATE.high, half], before=[0, one, ACT.high])
    await pass_group(driver, group, _latencies(driver.unit), _golden, np.random.default_rng(0))


BENCHES = (
    Bench(
        "forget_gate",
        ForgetGate,
        pipeline_cases(_forget_latencies, _forget, _forget_corners, _draw_forget),
        Picture(_forget_picture, {"bound": "", "gate": "", "f": ""}),
    ),
    Bench(
        "mlgru",
        Mlgru,
        pipeline_cases(_latencies, _golden, _corners, _draw),
        Picture(_picture, {"i": "", "f": "", "before": "", "clamped": "", "h": ""}),
    ),
)
"""Forget gate and recurrence."""
