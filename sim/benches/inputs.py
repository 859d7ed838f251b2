"""Benches of `hdl.inputs`, `hdl.wide_inputs`: int8 inputs, begun before the peak is known, by `numerics`.

The cases are the same: what comes is a product, or a word of products with their levels.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...hdl.inputs import InputQuantiser
from ...hdl.wide_inputs import WideInputQuantiser
from ...models.numerics import INT8, NORMAL, align, quantise, reciprocal, running_peak
from ...models.trits import TRITS_PER_BYTE
from .driver import Driver, Ints, MismatchError, Random, expect
from .parts import Bench, Picture, corners_and_random, named

__all__ = ["BENCHES"]

_LAST_LEVEL = 2
_ON_THEIR_WAY = 4
"""Of the first block's inputs, those that may still come when `first_soon` tells of it."""


class _Watcher:
    """Plays `Measure`, or `WideMeasure`, for a vector of products, and the activation memory behind.

    Attributes
    ----------
    words
        Words of the vector: products, where a word has one.
    late
        Cycles by which a word is in the peak later than it comes.
    """

    def __init__(self, driver: Driver, products: Ints, levels: Ints, slot: int) -> None:
        self.driver = driver
        self.width = driver.bits("q") // INT8.bits
        self.products = products
        self.levels = levels
        self.slot = slot
        self.words = -(-len(products) // self.width)
        self.late = 1 if self.width == 1 else 3
        self._tables = len(driver.shapes["q_lane"])
        self._told: list[bool] = []
        self.memory = np.zeros(_depth(driver), np.int64)
        factor, shift = reciprocal(running_peak(products, levels))
        self.expected = quantise(align(products, levels), factor, shift)

    def peak(self, words: int) -> tuple[int, int]:
        """Peak and level behind so many words."""
        end = min(words * self.width, len(self.products))
        return int(running_peak(self.products[:end], self.levels[:end])), int(self.levels[end - 1])

    def comes(self, k: int) -> dict[str, Any]:
        """A word as it comes; 0 behind the vector's end, where the level stays."""
        if self.width == 1:
            return {"product": int(self.products[k])}
        place = np.arange(k * self.width, (k + 1) * self.width)
        inside = place < len(self.products)
        place = place.clip(max=len(self.products) - 1)
        return {
            "products": np.where(inside, self.products[place], 0).tolist(),
            "levels": self.levels[place].tolist(),
        }

    def settles(self, k: int) -> dict[str, int]:
        """What is told of a word that is in the peak from now on."""
        before = self.peak(k) if k else None
        told = {"changed": int(self.peak(k + 1) != before)}
        if self.width == 1:
            told["rise"] = int(self.levels[k] - (self.levels[k - 1] if k else 0))
        return told

    async def cycle(self, known: int, **inputs: Any) -> bool:
        """One cycle in which `known` words are in the peak; returns whether all is done."""
        peak, level = self.peak(known) if known else (0, 0)
        seen = await self.driver.cycle(clear=0, peak=peak, level=level, **inputs)
        # What was told to be there, before this cycle's write, is there and right.
        count, block = len(self.products), TRITS_PER_BYTE * self._tables
        if seen.certain:
            ready = count if seen.complete else min(seen.blocks * block, count)
            expect("inputs that are certain", self.memory[:ready], self.expected[:ready])
        if seen.q_write:
            expect("slot", seen.current_slot, self.slot)
            first = seen.q_word * self._tables + seen.q_lane
            made = [seen.q] if self.width == 1 else [int(each) for each in seen.q]
            self.memory[first : first + self.width] = made
            if seen.certain and first + self.width > count:
                beyond = self.memory[count : first + self.width]
                expect("inputs behind the vector", beyond, np.zeros_like(beyond))
        # And what was told to be there soon, behind it.
        self._told = [] if seen.void else [*self._told[1 - _ON_THEIR_WAY :], bool(seen.first_soon)]
        if seen.certain and len(self._told) == _ON_THEIR_WAY and self._told[0]:
            expect("inputs that are there soon", self.memory[:block], self.expected[:block])
        if seen.certain and seen.blocks:
            expect("whether the first block was told of", seen.first_soon, 1)
        return bool(seen.complete)


def _depth(driver: Driver) -> int:
    """Elements of the longest vector."""
    return len(driver.shapes["count"]) - 1


async def _quantise(
    driver: Driver, products: Ints, levels: Ints, random: Random, *, slot: int = 0, bubbles: float = 0.0
) -> int:
    """Pass a vector, and return how many cycles it took from the last word on."""
    await driver.cycle(clear=1, count=len(products), slot=slot, product_valid=0, settled=0, measured=0)
    watcher = _Watcher(driver, products, levels, slot)
    words = watcher.words
    noisy = [name for name in ("product", "rise", "products", "levels") if name in driver.shapes]
    given = settled = waited = 0
    late = [False] * watcher.late
    while True:
        valid = given < words and bool(random.random() >= bubbles)
        settles, late = late[0], [*late[1:], valid]
        inputs: dict[str, Any] = {
            **driver.noise(random, *noisy, "count", "slot"),
            "product_valid": int(valid),
            "settled": int(settles),
            "changed": 0,
            "measured": int(settled == words),
        }
        if valid:
            inputs |= watcher.comes(given)
        if settles:
            inputs |= watcher.settles(settled)
        done = await watcher.cycle(settled + settles, **inputs)
        given += valid
        settled += settles
        waited += settled == words
        if done:
            expect("whether a vector is complete before its end", settled, words)
            return waited
        if waited > 60 + 2 * words:
            raise MismatchError(f"not complete {waited} cycles behind the last word")


def _levels(random: Random, count: int) -> Ints:
    """Levels of `count` products: they rise twice, or not at all."""
    rises = np.sort(random.integers(0, count, _LAST_LEVEL))
    return np.searchsorted(rises, np.arange(count), side="right") * int(random.integers(2))


def _products(random: Random, count: int) -> Ints:
    """`count` products, corner values among them."""
    return corners_and_random(random, NORMAL.low + 1, NORMAL.high, count)


def _corner_vectors(depth: int) -> Sequence[tuple[Ints, Ints]]:
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
    for slot, (products, levels) in enumerate(_corner_vectors(_depth(driver))):
        await _quantise(driver, products, levels, random, slot=slot % 2)


async def _a_peak_at_the_end_takes_a_cycle_a_word(driver: Driver) -> None:
    depth = _depth(driver)
    products = np.repeat([5, NORMAL.high], [depth - 1, 1])
    taken = await _quantise(driver, products, np.zeros(depth, np.int64), np.random.default_rng(6))
    words = depth // (driver.bits("q") // INT8.bits)
    expect("whether it took longer", taken <= words + driver.unit.latency, True)


async def _vectors(driver: Driver, seed: int, vectors: int, bubbles: Sequence[float] = (0.0,)) -> None:
    random = np.random.default_rng(seed)
    for k in range(vectors):
        count = int(random.integers(1, _depth(driver) + 1))
        levels = _levels(random, count)
        share = float(random.choice(bubbles))
        await _quantise(driver, _products(random, count), levels, random, slot=k % 2, bubbles=share)


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
        await _quantise(driver, _products(random, 20), _levels(random, 20), random)


async def _picture(driver: Driver) -> None:
    random = np.random.default_rng(0)
    await _quantise(driver, np.array([50, 100, -20, 7]), np.zeros(4, np.int64), random)


async def _picture_of_words(driver: Driver) -> None:
    random = np.random.default_rng(0)
    await _quantise(driver, np.array([50, 100, -20, 7, 3, -90]), np.zeros(6, np.int64), random)


def _ports(product: str) -> dict[str, str]:
    return {
        "clear": "",
        "product_valid": "",
        product: "product_valid",
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
    }


def _sizes(tables: int, blocks: int) -> tuple[int, int, int]:
    """Depth, tables and words of vectors of up to so many column blocks."""
    words = TRITS_PER_BYTE * blocks
    return tables * words, tables, words


_CASES = named(
    _corners,
    _a_peak_at_the_end_takes_a_cycle_a_word,
    _without_a_bubble,
    _with_random_bubbles,
    _reset_in_the_middle,
)
_LONG = named(_hundreds_without_a_bubble, _hundreds_with_random_bubbles)

BENCHES = (
    Bench(
        "input_quantiser",
        InputQuantiser,
        _CASES,
        Picture(_picture, _ports("product")),
        _sizes(2, 5),
        _LONG,
    ),
    Bench(
        "wide_input_quantiser",
        WideInputQuantiser,
        _CASES,
        Picture(_picture_of_words, _ports("products")),
        (*_sizes(8, 3), TRITS_PER_BYTE, 4),
        _LONG,
    ),
)
"""With products one by one, and with words of four."""
