"""Peak, energy and products of vectors, element by element."""

from typing import Any

import numpy as np
import pytest
from simulate import corners_and_random, cycle, simulate
from tritforge.hdl.measure import Measure
from tritforge.models.numerics import (
    LEVEL_MAX,
    VECTOR,
    WEIGHT,
    Ints,
    normalise,
    product,
    running_levels,
    running_peak,
    running_squares,
    squares,
)


def vectors(random: np.random.Generator) -> list[Ints]:
    """Vectors of all sizes, many with levels that rise; corners among them."""
    found = [np.zeros(5, np.int64), np.array([VECTOR.low]), np.array([0, VECTOR.high, VECTOR.low, -1, 1])]
    for bits in range(2, VECTOR.bits + 1):
        limit = (1 << (bits - 1)) - 1
        found.append(corners_and_random(random, -limit - 1, limit, 40))
    for _ in range(20):  # each element of another size, the small ones first: all rises
        sizes = np.sort(random.integers(0, VECTOR.bits - 1, 30))
        found.append(random.choice([-1, 1], 30) * (random.integers(0, 2 << 31, 30) >> (32 - sizes)))
    return found


@pytest.mark.parametrize("bubbles", [0.0, 0.4])
def test_a_projection_and_the_energy_after_it_are_those_of_numerics(bubbles: float) -> None:
    random = np.random.default_rng(5)
    unit = Measure()
    rises = set()

    async def feed(ctx: Any, elements: Ints, weights: Ints) -> list[int]:
        """Pass elements; return the products that left."""
        products = []
        weight = 0
        slots = [k for k in range(len(elements)) for _ in range(1 + int(random.random() < bubbles))]
        for place, k in enumerate([*slots, *([None] * Measure.latency)]):
            valid = k is not None and (place == 0 or slots[place - 1] != k)
            element = int(elements[k]) if valid else int(random.integers(VECTOR.low, VECTOR.high))
            found = await cycle(
                ctx, unit, ("product_valid", "product"), clear=0, valid=valid, element=element, weight=weight
            )
            weight = int(weights[k]) if valid else int(random.integers(WEIGHT.low, WEIGHT.high))
            if found[0]:
                products.append(found[1])
        return products

    async def testbench(ctx: Any) -> None:
        for vector in vectors(random):
            own = int(random.integers(2))
            gain, weights = (corners_and_random(random, -32767, 32767, len(vector)) for _ in range(2))
            levels = running_levels(vector)
            rises.update(np.diff(levels).tolist())
            expected = product(normalise(vector, levels), gain)
            await cycle(ctx, unit, clear=1, valid=0, projecting=1, own_energy=own)
            assert await feed(ctx, vector, gain) == expected.tolist()
            await cycle(ctx, unit, valid=0)
            assert ctx.get(unit.level) == levels[-1]
            assert ctx.get(unit.peak) == running_peak(expected, levels)
            if own:
                assert ctx.get(unit.energy) == running_squares(normalise(vector, levels), levels)
            peak = ctx.get(unit.peak)
            await cycle(ctx, unit, clear=1, valid=0, projecting=0)
            assert await feed(ctx, vector, weights) == []
            await cycle(ctx, unit, valid=0)
            assert ctx.get(unit.energy) == squares(product(normalise(vector, levels[-1]), weights))
            assert (ctx.get(unit.peak), ctx.get(unit.level)) == (peak, levels[-1])

    simulate(unit, testbench)
    assert rises == set(range(LEVEL_MAX + 1))


def test_the_energy_of_g_is_gathered_during_a_projection() -> None:
    random = np.random.default_rng(6)
    unit = Measure()
    values = corners_and_random(random, -32768, 32767, 60)

    async def testbench(ctx: Any) -> None:
        await cycle(ctx, unit, side_clear=1)
        await cycle(ctx, unit, side_clear=0, clear=1, projecting=1, own_energy=0)
        for value in values:
            await cycle(ctx, unit, clear=0, valid=1, element=int(value) << 9, side_valid=1, side=int(value))
        await cycle(ctx, unit, valid=0, side_valid=0)
        await cycle(ctx, unit)
        assert ctx.get(unit.side_energy) == squares(values)

    simulate(unit, testbench)
