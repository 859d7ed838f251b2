"""Bench of `hdl.dot_sums`: dot products of column blocks, added in memory, against numpy's sums."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...hdl.dot_sums import PartialSums
from .driver import Driver, Ints, Random, expect
from .parts import Bench, Picture, named

__all__ = ["BENCHES"]

_ROWS, _TOTAL_BITS, _BITS, _DOT_LATENCY, _STREAMS = 9, 12, 15, 4, 2
_LOW, _HIGH = -(1 << (_TOTAL_BITS - 1)), (1 << (_TOTAL_BITS - 1)) - 1
_BLOCKS = 7
"""Column blocks whose sums `_BITS` hold."""


async def _add(driver: Driver, products: Sequence[Ints], random: Random, bubbles: float = 0.0) -> None:
    """Add dot products, (rows, blocks, streams) for each row block; compare every sum and its cycle."""
    unit = driver.unit
    flags = ("valid", "first", "final", "ends")
    silent = dict.fromkeys(flags, 0)
    due: dict[int, Ints | None] = {}
    totals: dict[int, Ints] = {}
    cycle = 0

    async def beat(**inputs: int) -> None:
        nonlocal cycle
        given: dict[str, Any] = driver.noise(random, *flags, "totals", "carries") | inputs
        if (found := totals.pop(cycle, None)) is not None:
            carries = random.integers(0, 2, _STREAMS) & (found > _LOW)  # either way to write a number
            given["totals"] = (found - carries).tolist()
            given["carries"] = int(carries @ (1 << np.arange(_STREAMS)))
        seen = await driver.cycle(**given)
        expected = due.pop(cycle, None)
        expect("valid_sums", seen.valid_sums, int(expected is not None))
        if expected is not None:
            expect("sums", [int(seen.sums[k]) for k in range(_STREAMS)], expected.tolist())
        cycle += 1

    for product in products:
        rows, blocks, _ = product.shape
        for block in range(blocks):
            for row in range(rows):
                while random.random() < bubbles:
                    await beat(valid=0)
                totals[cycle + _DOT_LATENCY] = product[row, block]
                if block == blocks - 1:
                    due[cycle + unit.latency] = product[row].sum(axis=0)
                await beat(
                    valid=1, first=int(block == 0), final=int(block == blocks - 1), ends=int(row == rows - 1)
                )
            for _ in range(unit.write_back - rows):
                await beat(valid=0)
    for _ in range(unit.latency + 1):
        await beat(**silent)


def _draw(random: Random, count: int) -> list[Ints]:
    """Row blocks of random shapes."""
    shapes = random.integers(1, (_ROWS + 1, _BLOCKS + 1), (count, 2)).tolist()
    return [random.integers(_LOW, _HIGH + 1, (*shape, _STREAMS)) for shape in shapes]


async def _shapes(driver: Driver) -> None:
    random = np.random.default_rng(0)
    shapes = [(rows, blocks, _STREAMS) for rows in (1, 2, 3, 4, 5, _ROWS) for blocks in (1, 2, 3, _BLOCKS)]
    await _add(driver, [random.integers(_LOW, _HIGH + 1, shape) for shape in shapes], random)


async def _extremes(driver: Driver) -> None:
    random = np.random.default_rng(1)
    shape = (_ROWS, _BLOCKS, _STREAMS)
    signs = np.where(np.arange(_BLOCKS) % 2, _LOW, _HIGH)[:, None]
    await _add(driver, [np.full(shape, end) for end in (_LOW, _HIGH, 0, -1)], random)
    await _add(driver, [np.broadcast_to(signs, shape)], random)


async def _without_a_bubble(driver: Driver) -> None:
    random = np.random.default_rng(2)
    await _add(driver, _draw(random, 60), random)


async def _with_bubbles(driver: Driver) -> None:
    random = np.random.default_rng(3)
    for bubbles in (0.2, 0.6):
        await _add(driver, _draw(random, 25), random, bubbles)


async def _reset_in_the_middle(driver: Driver) -> None:
    random = np.random.default_rng(4)
    for cycles in range(1, driver.unit.latency + 4):
        for _ in range(cycles):
            await driver.cycle(valid=1, first=1, final=1, ends=0)
        await driver.reset()
        for _ in range(driver.unit.latency):
            expect("valid_sums after a reset", (await driver.cycle()).valid_sums, 0)
        await _add(driver, _draw(random, 2), random)


async def _picture(driver: Driver) -> None:
    random = np.random.default_rng(0)
    product = np.array([[[1, 5], [10, 50]], [[2, 6], [20, 60]], [[3, 7], [30, 70]], [[4, 8], [40, 80]]])
    await _add(driver, [product], random)


BENCHES = (
    Bench(
        "partial_sums",
        PartialSums,
        named(_shapes, _extremes, _without_a_bubble, _with_bubbles, _reset_in_the_middle),
        Picture(
            _picture,
            {
                "valid": "",
                "first": "valid",
                "final": "valid",
                "ends": "valid",
                "valid_sums": "",
                "sums": "valid_sums",
            },
        ),
        (_ROWS, _TOTAL_BITS, _BITS, _DOT_LATENCY, _STREAMS),
    ),
)
"""One bench."""
