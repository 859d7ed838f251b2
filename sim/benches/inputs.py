"""Bench of `hdl.inputs`: int8 inputs, begun before the peak is known, against `models.numerics`."""

from collections.abc import Sequence

import numpy as np

from ...hdl.inputs import InputQuantiser
from ...models.numerics import NORMAL, align, quantise, reciprocal, running_peak
from ...models.trits import TRITS_PER_BYTE
from .driver import Driver, Ints, MismatchError, Random, expect
from .parts import Bench, Picture, corners_and_random, named

__all__ = ["BENCHES", "corner_vectors", "draw_levels", "draw_products"]

_TABLES = 2
_BLOCKS = 5
_DEPTH = _TABLES * TRITS_PER_BYTE * _BLOCKS
_LAST_LEVEL = 2


class _Watcher:
    """Plays `Measure` for a vector of products, taken at given levels, and the activation memory behind."""

    def __init__(self, driver: Driver, products: Ints, levels: Ints, slot: int) -> None:
        self.driver = driver
        self.products = products
        self.levels = levels
        self.slot = slot
        self.memory = np.zeros(_DEPTH, np.int64)
        factor, shift = reciprocal(running_peak(products, levels))
        self.expected = quantise(align(products, levels), factor, shift)

    async def cycle(self, known: int, **inputs: int) -> bool:
        """One cycle in which `known` products are in the peak; returns whether all is done."""
        past = slice(0, max(known, 1))
        seen = await self.driver.cycle(
            clear=0,
            peak=int(running_peak(self.products[past], self.levels[past])) if known else 0,
            level=int(self.levels[known - 1]) if known else 0,
            **inputs,
        )
        # What was told to be there, before this cycle's write, is there and right.
        if seen.certain:
            ready = min(seen.blocks * TRITS_PER_BYTE * _TABLES, len(self.products))
            ready = len(self.products) if seen.complete else ready
            expect("inputs that are certain", self.memory[:ready], self.expected[:ready])
        if seen.q_write:
            expect("slot", seen.current_slot, self.slot)
            self.memory[seen.q_word * _TABLES + seen.q_lane] = seen.q
        return bool(seen.complete)


async def _quantise(
    driver: Driver, products: Ints, levels: Ints, random: Random, *, slot: int = 0, bubbles: float = 0.0
) -> int:
    """Pass a vector, and return how many cycles it took from the last product on."""
    count = len(products)
    await driver.cycle(clear=1, count=count, slot=slot, product_valid=0, settled=0, measured=0)
    watcher = _Watcher(driver, products, levels, slot)
    given = settled = 0
    valid = False
    waited = 0
    while True:
        was_valid, valid = valid, given < count and bool(random.random() >= bubbles)
        inputs = driver.noise(random, "product", "rise", "changed")
        inputs |= {"product_valid": int(valid), "settled": int(was_valid), "measured": int(settled == count)}
        if valid:
            inputs["product"] = int(products[given])
        if was_valid:
            rise = int(levels[settled] - (levels[settled - 1] if settled else 0))
            before = running_peak(products[:settled], levels[:settled]) if settled else 0
            after = running_peak(products[: settled + 1], levels[: settled + 1])
            inputs |= {"rise": rise, "changed": int(settled == 0 or rise > 0 or before != after)}
        else:
            inputs["changed"] = 0
        done = await watcher.cycle(settled + was_valid, **inputs)
        given += valid
        settled += was_valid
        waited += settled == count
        if done:
            expect("whether a vector is complete before its end", settled, count)
            return waited
        if waited > 60 + 2 * count:
            raise MismatchError(f"not complete {waited} cycles behind the last product")


def draw_levels(random: Random, count: int) -> Ints:
    """Levels of `count` products: they rise twice, or not at all."""
    rises = np.sort(random.integers(0, count, _LAST_LEVEL))
    return np.searchsorted(rises, np.arange(count), side="right") * int(random.integers(2))


def draw_products(random: Random, count: int) -> Ints:
    """`count` products, corner values among them."""
    return corners_and_random(random, NORMAL.low + 1, NORMAL.high, count)


def corner_vectors(depth: int) -> Sequence[tuple[Ints, Ints]]:
    """Products and their levels, the longest of them of `depth` elements."""
    zero = np.zeros(1, np.int64)
    return (
        (zero, zero),
        (zero + NORMAL.high, zero),
        (np.array([1, -1, 0]), np.array([0, 1, 2])),
        # Each at a level of its own.
        (np.array([30_000, -30_000, 30_000, 20_000]), np.array([0, 1, 2, 2])),
        (np.arange(1, depth + 1), np.zeros(depth, np.int64)),
        (np.arange(depth, 0, -1), np.zeros(depth, np.int64)),
        (np.full(depth, -NORMAL.high), np.repeat([0, 2], depth // 2)),
        # Blocks are complete when the largest product comes.
        (np.repeat([5, 10_000], [depth - 2, 2]), np.zeros(depth, np.int64)),
    )


async def _corners(driver: Driver) -> None:
    random = np.random.default_rng(0)
    for slot, (products, levels) in enumerate(corner_vectors(_DEPTH)):
        await _quantise(driver, products, levels, random, slot=slot % 2)


async def _vectors(driver: Driver, seed: int, vectors: int, bubbles: Sequence[float] = (0.0,)) -> None:
    random = np.random.default_rng(seed)
    for k in range(vectors):
        count = int(random.integers(1, _DEPTH + 1))
        levels = draw_levels(random, count)
        share = float(random.choice(bubbles))
        await _quantise(driver, draw_products(random, count), levels, random, slot=k % 2, bubbles=share)


async def _without_a_bubble(driver: Driver) -> None:
    await _vectors(driver, 1, 20)


async def _with_random_bubbles(driver: Driver) -> None:
    await _vectors(driver, 2, 15, (0.2, 0.9))


async def _hundreds_without_a_bubble(driver: Driver) -> None:
    await _vectors(driver, 4, 200)


async def _hundreds_with_random_bubbles(driver: Driver) -> None:
    await _vectors(driver, 5, 200, (0.2, 0.6))


async def _reset_in_the_middle(driver: Driver) -> None:
    random = np.random.default_rng(3)
    for cycles in (1, 5, 20, 40):
        await driver.cycle(clear=1, count=30)
        for k in range(cycles):
            await driver.cycle(clear=0, product_valid=1, settled=int(k > 0), changed=int(k == 1), peak=9)
        await driver.reset()
        seen = await driver.cycle()
        expect("a write after a reset", seen.q_write, 0)
        await _quantise(driver, draw_products(random, 20), draw_levels(random, 20), random)


async def _picture(driver: Driver) -> None:
    random = np.random.default_rng(0)
    await _quantise(driver, np.array([50, 100, -20, 7]), np.zeros(4, np.int64), random)


BENCHES = (
    Bench(
        "input_quantiser",
        InputQuantiser,
        named(_corners, _without_a_bubble, _with_random_bubbles, _reset_in_the_middle),
        Picture(
            _picture,
            {
                "clear": "",
                "product_valid": "",
                "product": "product_valid",
                "settled": "",
                "changed": "settled",
                "peak": "",
                "void": "",
                "certain": "",
                "q_write": "",
                "q_word": "q_write",
                "q_lane": "q_write",
                "q": "q_write",
                "complete": "",
            },
        ),
        (_DEPTH, _TABLES, TRITS_PER_BYTE * _BLOCKS),
        named(_hundreds_without_a_bubble, _hundreds_with_random_bubbles),
    ),
)
"""One bench."""
