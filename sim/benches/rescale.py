"""Bench of `hdl.rescale`, against `numerics.rescale`: every shift, both formats, clamps told apart."""

from collections.abc import Iterator, Mapping

import numpy as np
from amaranth.lib.wiring import Component

from ...hdl.rescale import SHIFT_BITS, Rescaler
from ...models.numerics import ACT, NORMAL, RESCALE_LEFT, SCALE, SUM, VECTOR, Saturations, rescale
from .driver import Driver, Ints, Random
from .parts import Bench, Columns, Group, Picture, pass_group, pipeline_cases

__all__ = ["BENCHES"]

_MANTISSAS = (1 << (SCALE.bits - 1), SCALE.high)


def _latencies(unit: Component) -> dict[str, int]:
    latency: int = unit.latency
    return dict.fromkeys(("out_valid", "value", "clamped"), latency)


def _golden(columns: Columns, held: Mapping[str, int]) -> Columns:
    fmt = VECTOR if held["wide"] else ACT
    exponent = RESCALE_LEFT - held["shift"] - fmt.fraction
    values, flags = [], []
    for each in columns["sum"]:
        saturations = Saturations()
        values.append(int(rescale(each, held["mantissa"], exponent, fmt, saturations)))
        sum_clamped = int(not NORMAL.low <= each <= NORMAL.high)
        flags.append(sum_clamped | (saturations.count - sum_clamped) << 1)
    return {"value": values, "clamped": flags}


def _group(driver: Driver, random: Random, sums: Ints, wide: int, shift: int, mantissa: int) -> Group:
    return Group({"sum": sums}, {"wide": wide, "shift": shift, "mantissa": mantissa})


def _corners(driver: Driver) -> Iterator[Group]:
    random = np.random.default_rng(0)
    powers = 1 << np.arange(NORMAL.bits - 1)
    ends = np.array([0, NORMAL.high, NORMAL.low, NORMAL.high + 1, NORMAL.low - 1, SUM.high, SUM.low])
    sums = np.concatenate([ends, powers, -powers, powers - 1, 3 * powers[:-2], -3 * powers[:-2]])
    for wide in (0, 1):
        for shift in range(1 << SHIFT_BITS):
            yield _group(driver, random, sums, wide, shift, _MANTISSAS[shift % 2])


def _draw(driver: Driver, random: Random, count: int) -> Group:
    sums = random.integers(SUM.low, SUM.high + 1, count) >> random.integers(0, SUM.bits - 1, count)
    mantissa = int(random.integers(_MANTISSAS[0], _MANTISSAS[1] + 1))
    return _group(driver, random, sums, int(random.integers(2)), int(random.integers(10, 40)), mantissa)


async def _picture(driver: Driver) -> None:
    random = np.random.default_rng(0)
    group = Group(
        {"sum": [1000, -1000, 40_000, 3]},
        {"wide": 0, "shift": 23, "mantissa": 1 << 14},
    )
    await pass_group(driver, group, _latencies(driver.unit), _golden, random, 0.3)


BENCHES = (
    Bench(
        "rescaler",
        Rescaler,
        pipeline_cases(_latencies, _golden, _corners, _draw),
        Picture(
            _picture,
            {
                "valid": "",
                "sum": "valid",
                "out_valid": "",
                "value": "out_valid",
                "clamped": "out_valid",
            },
        ),
    ),
)
"""One bench."""
