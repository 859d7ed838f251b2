"""Bench of the int8 quantiser (`hdl.quantiser`), against `numerics.quantise`."""

from collections.abc import Iterator, Mapping

import numpy as np
from amaranth.lib.wiring import Component

from ...hdl.quantiser import Quantiser
from ...hdl.scalars import PEAK_BITS
from ...models.numerics import quantise, reciprocal
from .driver import Driver, Ints, Random
from .parts import Bench, Columns, Group, Picture, pass_group, pipeline_cases

__all__ = ["BENCHES"]

_LARGEST = (1 << PEAK_BITS) - 1


def _latencies(unit: Component) -> dict[str, int]:
    return {"q": unit.latency}


def _golden(columns: Columns, held: Mapping[str, int]) -> Columns:
    return {"q": quantise(columns["product"], held["factor"], held["shift"])}


def _group(products: Ints, peak: int) -> Group:
    factor, shift = (int(each) for each in reciprocal(peak))
    return Group({"product": products}, {"factor": factor, "shift": shift})


def _corners(driver: Driver) -> Iterator[Group]:
    # A factor of 1/2: every odd product is a tie, and only the lower end reaches 128.
    products = np.array([0, 1, -1, 3, -3, 253, -253, 254, -254, 255, -255, 256, -256, 257, -257])
    yield Group({"product": [*products, _LARGEST, -_LARGEST]}, {"factor": 1 << 14, "shift": 15})
    for peak in (1, 2, 3, 127, 128, 254, 1000, 16_383, 16_384, _LARGEST):
        yield _group(np.unique(np.linspace(-peak, peak, 41).astype(np.int64)), peak)


def _draw(driver: Driver, random: Random, count: int) -> Group:
    peak = int(random.integers(1, _LARGEST + 1)) >> int(random.integers(0, PEAK_BITS))
    return _group(random.integers(-max(peak, 1), max(peak, 1) + 1, count), max(peak, 1))


async def _picture(driver: Driver) -> None:
    group = Group({"product": [1, -1, 100, 255, -255]}, {"factor": 1 << 14, "shift": 15})
    await pass_group(driver, group, _latencies(driver.unit), _golden, np.random.default_rng(0))


BENCHES = (
    Bench(
        "quantiser",
        Quantiser,
        pipeline_cases(_latencies, _golden, _corners, _draw),
        Picture(_picture, {"product": "", "factor": "", "shift": "", "q": ""}),
    ),
)
"""One bench."""
