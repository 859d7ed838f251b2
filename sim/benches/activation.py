"""Bench of `hdl.activation`: all arguments, against `numerics.sigmoid` and `numerics.silu`."""

from collections.abc import Iterator, Mapping

import numpy as np
from amaranth.lib.wiring import Component

from ...hdl.activation import Activation
from ...models.numerics import ACT, sigmoid, silu
from .driver import Driver, Random
from .parts import Bench, Columns, Group, Picture, pass_group, pipeline_cases

__all__ = ["BENCHES"]


def _latencies(unit: Component) -> dict[str, int]:
    assert isinstance(unit, Activation)
    silu = dict.fromkeys(("out_valid", "silu"), unit.latency)
    return silu | dict.fromkeys(("gate_valid", "gate"), unit.gate_latency)


def _golden(columns: Columns, held: Mapping[str, int]) -> Columns:
    x = columns["x"]
    return {"gate": sigmoid(x), "silu": silu(x)}


def _corners(driver: Driver) -> Iterator[Group]:
    ends = np.array([ACT.low, ACT.low + 1, -129, -128, -1, 0, 1, 127, 128, ACT.high - 1, ACT.high])
    yield Group({"x": ends})


def _draw(driver: Driver, random: Random, count: int) -> Group:
    return Group({"x": random.integers(ACT.low, ACT.high + 1, count)})


async def _all_arguments(driver: Driver) -> None:
    random = np.random.default_rng(4)
    group = Group({"x": random.permutation(np.arange(ACT.low, ACT.high + 1))})
    await pass_group(driver, group, _latencies(driver.unit), _golden, random)


async def _picture(driver: Driver) -> None:
    random = np.random.default_rng(0)
    one = 1 << ACT.fraction
    group = Group({"x": [-2 * one, one, 0, 3 * one]})
    await pass_group(driver, group, _latencies(driver.unit), _golden, random, 0.3)


BENCHES = (
    Bench(
        "activation",
        Activation,
        pipeline_cases(_latencies, _golden, _corners, _draw),
        Picture(
            _picture,
            {
                "valid": "",
                "x": "valid",
                "gate_valid": "",
                "gate": "gate_valid",
                "out_valid": "",
                "silu": "out_valid",
            },
        ),
        long={"all_arguments": _all_arguments},
    ),
)
"""One bench."""
