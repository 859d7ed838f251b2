"""Bench of `hdl.wide_measure`: as that of `hdl.measure`, with words of elements."""

from dataclasses import dataclass, field

import numpy as np

from ...hdl.wide_measure import WideMeasure
from ...models.numerics import (
    NORMAL,
    VECTOR,
    WEIGHT,
    normalise,
    product,
    running_levels,
    running_peak,
    running_squares,
    squares,
)
from .driver import Driver, Ints, Random, expect
from .measure import rising, squares_of_other_values
from .parts import Bench, Picture, corners_and_random, named

__all__ = ["BENCHES"]

_WIDTH = 4


@dataclass
class _Seen:
    """What has left: products and their levels; behind each word peak, level, whether either has changed."""

    products: list[int] = field(default_factory=list)
    levels: list[int] = field(default_factory=list)
    peaks: list[tuple[int, int, int]] = field(default_factory=list)


async def _feed(driver: Driver, elements: Ints, weights: Ints, random: Random, bubbles: float = 0.0) -> _Seen:
    """Pass words of elements, filled up with 0, each one's weights a cycle behind."""
    width = len(driver.registered("products"))
    words = -(-len(elements) // width)
    padded = np.zeros(words * width, np.int64)
    padded[: len(elements)] = elements
    # Where no element is any weight must do.
    beside = random.integers(WEIGHT.low, WEIGHT.high + 1, words * width)
    beside[: len(weights)] = weights
    slots: list[int] = []
    for k in range(words):
        while random.random() < bubbles:
            slots.append(-1)
        slots.append(k)
    seen, before = _Seen(), -1
    for k in [*slots, *[-1] * driver.unit.latency]:
        inputs = driver.noise(random, "elements", "weights")
        if k >= 0:
            inputs["elements"] = padded[k * width :][:width].tolist()
        if before >= 0:
            inputs["weights"] = beside[before * width :][:width].tolist()
        now = await driver.cycle(clear=0, valid=int(k >= 0), **inputs)
        if now.settled:
            seen.peaks.append((now.peak, now.level, now.changed))
        if now.product_valid:
            seen.products += map(int, now.products)
            seen.levels += map(int, now.levels)
        before = k
    if driver.registered("settled"):
        seen.peaks.append(tuple(driver.registered(port) for port in ("peak", "level", "changed")))
    return seen


async def _check(driver: Driver, vector: Ints, random: Random, bubbles: float = 0.0) -> None:
    """A projection, and the energy behind it."""
    width, count = len(driver.registered("products")), len(vector)
    own = int(random.integers(2))
    gain, weights = (corners_and_random(random, -WEIGHT.high, WEIGHT.high, count) for _ in range(2))
    levels = running_levels(vector)
    expected = product(normalise(vector, levels), gain)
    await driver.cycle(clear=1, valid=0, projecting=1, own_energy=own)
    seen = await _feed(driver, vector, gain, random, bubbles)
    beyond = [0] * (-count % width)
    expect("products", seen.products, [*expected.tolist(), *beyond])
    expect("levels", seen.levels, [*levels.tolist(), *(int(levels[-1]) for _ in beyond)])
    ends = [min(k + width, count) for k in range(0, count, width)]
    running = [(int(running_peak(expected[:n], levels[:n])), int(levels[n - 1])) for n in ends]
    before = [None, *running]
    changed = [(*now, int(now != then)) for then, now in zip(before, running, strict=False)]
    expect("peak, level, and whether they have changed", seen.peaks, changed)
    if own:
        energy = int(running_squares(normalise(vector, levels), levels))
        expect("energy of the elements", driver.registered("energy"), energy)
    await driver.cycle(clear=1, valid=0, projecting=0)
    seen = await _feed(driver, vector, weights, random, bubbles)
    expect("products outside a projection", seen.products, [])
    energy = int(squares(product(normalise(vector, levels[-1]), weights)))
    expect("energy", driver.registered("energy"), energy)
    expect("peak, kept", (driver.registered("peak"), driver.registered("level")), running[-1])


async def _corners(driver: Driver) -> None:
    random = np.random.default_rng(0)
    for vector in (
        np.zeros(5, np.int64),
        np.array([VECTOR.low]),
        np.array([0, VECTOR.high, VECTOR.low, -1, 1]),
        np.array([NORMAL.high, NORMAL.high + 1, NORMAL.low, NORMAL.low - 1]),
        # All levels in one word, and a rise at each place of a word.
        np.array([1, NORMAL.high, NORMAL.high + 1, VECTOR.high]),
        *(np.where(np.arange(9) < k, NORMAL.high, VECTOR.low) for k in range(9)),
    ):
        await _check(driver, vector, random)
    for bits in range(2, VECTOR.bits + 1):
        limit = (1 << (bits - 1)) - 1
        await _check(driver, corners_and_random(random, -limit - 1, limit, 21), random)


async def _rising_levels(driver: Driver) -> None:
    random = np.random.default_rng(1)
    for bubbles in (0.0, 0.4):
        for count in (1, 2, 3, 25, 26, 27, 28):
            await _check(driver, rising(random, count), random, bubbles)


async def _long_runs(driver: Driver) -> None:
    random = np.random.default_rng(2)
    for bubbles in (0.0, 0.4):
        vector = random.integers(VECTOR.low, VECTOR.high + 1, 1201) >> random.integers(0, VECTOR.bits, 1201)
        await _check(driver, vector, random, bubbles)


async def _hundreds_of_vectors(driver: Driver) -> None:
    random = np.random.default_rng(5)
    for _ in range(200):
        await _check(driver, rising(random, int(random.integers(1, 20))), random, 0.1)


async def _reset_in_the_middle(driver: Driver) -> None:
    random = np.random.default_rng(4)
    width = len(driver.registered("products"))
    for cycles in (1, 2, 3, 4, 7):
        await driver.cycle(clear=1, projecting=1)
        for _ in range(cycles):
            await driver.cycle(
                clear=0, valid=1, elements=[VECTOR.high] * width, weights=[WEIGHT.high] * width
            )
        await driver.reset()
        for _ in range(driver.unit.latency):
            seen = await driver.cycle(projecting=1)
            expect("after a reset", [seen.product_valid, seen.settled, seen.peak, seen.level], [0, 0, 0, 0])
        await _check(driver, rising(random, 9), random)


async def _picture(driver: Driver) -> None:
    random = np.random.default_rng(0)
    await driver.cycle(clear=1, projecting=1)
    vector = np.array([9, -30, 1 << 16, 50, 7, 8])
    await _feed(driver, vector, np.full(6, 1 << 14), random, 0.1)


BENCHES = (
    Bench(
        "wide_measure",
        WideMeasure,
        named(_corners, _rising_levels, squares_of_other_values, _reset_in_the_middle),
        Picture(
            _picture,
            {
                "clear": "",
                "valid": "",
                "elements": "valid",
                "product_valid": "",
                "products": "product_valid",
                "levels": "product_valid",
                "settled": "",
                "changed": "settled",
                "level": "",
                "peak": "",
            },
        ),
        (_WIDTH,),
        named(_long_runs, _hundreds_of_vectors),
    ),
)
"""One bench, with words of four."""
