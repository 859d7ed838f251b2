"""Bench of `hdl.measure`: products, peak, level and energies, against `models.numerics`."""

import numpy as np

from ...hdl.measure import Measure
from ...models.numerics import (
    LEVEL_SHIFT,
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
from .parts import Bench, Picture, corners_and_random, named

__all__ = ["BENCHES", "rising", "squares_of_other_values"]


async def _feed(
    driver: Driver, elements: Ints, weights: Ints, random: Random, bubbles: float = 0.0
) -> tuple[list[int], dict[int, tuple[int, int]]]:
    """Pass elements, each weight a cycle behind; return the products, and peak and level by cycle."""
    slots: list[int] = []
    for k in range(len(elements)):
        while random.random() < bubbles:
            slots.append(-1)
        slots.append(k)
    slots += [-1] * driver.unit.latency
    products: list[int] = []
    peaks: dict[int, tuple[int, int]] = {}
    before = -1
    for cycle, k in enumerate(slots):
        inputs = driver.noise(random, "element", "weight")
        if k >= 0:
            inputs["element"] = int(elements[k])
        if before >= 0:
            inputs["weight"] = int(weights[before])
        seen = await driver.cycle(clear=0, valid=int(k >= 0), **inputs)
        if seen.settled:
            peaks[cycle] = seen.peak, seen.level
        if seen.product_valid:
            products.append(seen.product)
        before = k
    if driver.registered("settled"):
        peaks[len(slots)] = driver.registered("peak"), driver.registered("level")
    return products, peaks


async def _check(driver: Driver, vector: Ints, random: Random, bubbles: float = 0.0) -> None:
    """A projection, and the energy behind it."""
    own = int(random.integers(2))
    gain, weights = (corners_and_random(random, -WEIGHT.high, WEIGHT.high, len(vector)) for _ in range(2))
    levels = running_levels(vector)
    expected = product(normalise(vector, levels), gain)
    await driver.cycle(clear=1, valid=0, projecting=1, own_energy=own)
    products, peaks = await _feed(driver, vector, gain, random, bubbles)
    expect("products", products, expected.tolist())
    running = [
        (int(running_peak(expected[:n], levels[:n])), int(levels[n - 1])) for n in range(1, len(vector) + 1)
    ]
    expect("measured elements", len(peaks), len(vector))
    for n, (cycle, found) in enumerate(peaks.items(), 1):
        peak, level = running[n - 1]
        # The level that an element right behind gains shifts the peak a cycle before.
        gained = int(levels[n]) - level if cycle + 1 in peaks else 0
        expect(f"peak and level behind element {n - 1}", found, (peak >> LEVEL_SHIFT * gained, level))
    if own:
        energy = int(running_squares(normalise(vector, levels), levels))
        expect("energy of the elements", driver.registered("energy"), energy)
    await driver.cycle(clear=1, valid=0, projecting=0)
    products, _ = await _feed(driver, vector, weights, random, bubbles)
    expect("products outside a projection", products, [])
    energy = int(squares(product(normalise(vector, levels[-1]), weights)))
    expect("energy", driver.registered("energy"), energy)
    expect("peak, kept", (driver.registered("peak"), driver.registered("level")), running[-1])


def rising(random: Random, count: int) -> Ints:
    """Elements of growing size: the level rises, sometimes by two."""
    sizes = np.sort(random.integers(0, VECTOR.bits, count))
    magnitudes = random.integers(0, 1 << (VECTOR.bits - 1), count) >> (VECTOR.bits - 1 - sizes).clip(0)
    vector: Ints = random.choice([-1, 1], count) * magnitudes
    return vector


async def _corners(driver: Driver) -> None:
    random = np.random.default_rng(0)
    for vector in (
        np.zeros(5, np.int64),
        np.array([VECTOR.low]),
        np.array([0, VECTOR.high, VECTOR.low, -1, 1]),
        np.array([NORMAL.high, NORMAL.high + 1, NORMAL.low, NORMAL.low - 1]),
    ):
        await _check(driver, vector, random)
    for bits in range(2, VECTOR.bits + 1):
        limit = (1 << (bits - 1)) - 1
        await _check(driver, corners_and_random(random, -limit - 1, limit, 20), random)


async def _rising_levels(driver: Driver) -> None:
    random = np.random.default_rng(1)
    for bubbles in (0.0, 0.4):
        for _ in range(6):
            await _check(driver, rising(random, 25), random, bubbles)


async def _long_runs(driver: Driver) -> None:
    random = np.random.default_rng(2)
    for bubbles in (0.0, 0.4):
        vector = random.integers(VECTOR.low, VECTOR.high + 1, 400) >> random.integers(0, VECTOR.bits, 400)
        await _check(driver, vector, random, bubbles)


async def squares_of_other_values(driver: Driver) -> None:
    """g is measured while a projection passes, whose own energy only `WideMeasure` could gather as well."""
    random = np.random.default_rng(3)
    wide = "elements" in driver.shapes
    noisy = ("elements", "weights") if wide else ("element", "weight")
    for bubbles in (0.0, 0.5):
        values = corners_and_random(random, NORMAL.low, NORMAL.high, 60)
        await driver.cycle(side_clear=1, clear=1, projecting=1, own_energy=int(wide))
        for value in values.tolist():
            while random.random() < bubbles:
                await driver.cycle(
                    side_clear=0, clear=0, side_valid=0, valid=0, **driver.noise(random, "side", *noisy)
                )
            noise = driver.noise(random, *noisy)
            await driver.cycle(side_clear=0, clear=0, side_valid=1, side=value, valid=1, **noise)
        driver.set(side_valid=0, valid=0)
        for _ in range(2):
            await driver.cycle()
        expect("energy of other values", driver.registered("side_energy"), int(squares(values)))


async def _reset_in_the_middle(driver: Driver) -> None:
    random = np.random.default_rng(4)
    for cycles in (1, 2, 3, 4, 7):
        await driver.cycle(clear=1, projecting=1)
        for _ in range(cycles):
            await driver.cycle(clear=0, valid=1, element=VECTOR.high, weight=WEIGHT.high)
        await driver.reset()
        for _ in range(driver.unit.latency):
            seen = await driver.cycle(projecting=1)
            expect("after a reset", [seen.product_valid, seen.settled, seen.peak, seen.level], [0, 0, 0, 0])
        await _check(driver, rising(random, 9), random)


async def _picture(driver: Driver) -> None:
    random = np.random.default_rng(0)
    await driver.cycle(clear=1, projecting=1)
    vector = np.array([100, -3000, 1 << 18, 50])
    await _feed(driver, vector, np.full(4, 1 << 14), random, 0.1)


BENCHES = (
    Bench(
        "measure",
        Measure,
        named(_corners, _rising_levels, _long_runs, squares_of_other_values, _reset_in_the_middle),
        Picture(
            _picture,
            {
                "clear": "",
                "valid": "",
                "element": "valid",
                "product_valid": "",
                "product": "product_valid",
                "settled": "",
                "changed": "settled",
                "rise": "settled",
                "level": "",
                "peak": "",
            },
        ),
    ),
)
"""One bench."""
