"""Bench of `hdl.wide_inputs`: as that of `hdl.inputs`, with words of products and their levels."""

from collections.abc import Sequence

import numpy as np

from ...hdl.wide_inputs import WideInputQuantiser
from ...models.numerics import NORMAL, align, quantise, reciprocal, running_peak
from ...models.trits import TRITS_PER_BYTE
from .driver import Driver, Ints, MismatchError, Random, expect
from .inputs import corner_vectors, draw_levels, draw_products
from .parts import Bench, Picture, named

__all__ = ["BENCHES"]

_WIDTH = 4
_TABLES = 8
_BLOCKS = 3
_DEPTH = _TABLES * TRITS_PER_BYTE * _BLOCKS
_SETTLING = 4
"""Cycles by which a word is in the peak later than it comes."""


class _Watcher:
    """Plays `WideMeasure` for a vector of products, and the activation memory behind."""

    def __init__(self, driver: Driver, products: Ints, levels: Ints, slot: int) -> None:
        self.driver = driver
        self.width = len(driver.registered("q"))
        self.products = products
        self.levels = levels
        self.slot = slot
        self.memory = np.zeros(_DEPTH, np.int64)
        factor, shift = reciprocal(running_peak(products, levels))
        self.expected = quantise(align(products, levels), factor, shift)

    def peak(self, words: int) -> tuple[int, int]:
        """Peak and level behind so many words."""
        end = min(words * self.width, len(self.products))
        return int(running_peak(self.products[:end], self.levels[:end])), int(self.levels[end - 1])

    def word(self, k: int) -> dict[str, list[int]]:
        """The products of a word, and their levels; 0 behind the vector's end, where the level stays."""
        place = np.arange(k * self.width, (k + 1) * self.width)
        inside = place < len(self.products)
        place = place.clip(max=len(self.products) - 1)
        return {
            "products": np.where(inside, self.products[place], 0).tolist(),
            "levels": self.levels[place].tolist(),
        }

    async def cycle(self, known: int, **inputs: object) -> bool:
        """One cycle in which `known` words are in the peak; returns whether all is done."""
        peak, level = self.peak(known) if known else (0, 0)
        seen = await self.driver.cycle(clear=0, peak=peak, level=level, **inputs)
        # What was told to be there, before this cycle's write, is there and right.
        if seen.certain:
            ready = min(seen.blocks * TRITS_PER_BYTE * _TABLES, len(self.products))
            ready = len(self.products) if seen.complete else ready
            expect("inputs that are certain", self.memory[:ready], self.expected[:ready])
        if seen.q_write:
            expect("slot", seen.current_slot, self.slot)
            first = seen.q_word * _TABLES + seen.q_lane
            self.memory[first : first + self.width] = [int(each) for each in seen.q]
            if seen.certain and first + self.width > len(self.products):
                beyond = self.memory[len(self.products) : first + self.width]
                expect("inputs behind the vector", beyond, np.zeros_like(beyond))
        return bool(seen.complete)


async def _quantise(
    driver: Driver, products: Ints, levels: Ints, random: Random, *, slot: int = 0, bubbles: float = 0.0
) -> int:
    """Pass a vector, and return how many cycles it took from the last word on."""
    count = len(products)
    await driver.cycle(clear=1, count=count, slot=slot, product_valid=0, settled=0, measured=0)
    watcher = _Watcher(driver, products, levels, slot)
    words = -(-count // watcher.width)
    given = settled = waited = 0
    late = [False] * _SETTLING
    while True:
        valid = given < words and bool(random.random() >= bubbles)
        late = [*late[1:], valid]
        settles = late[0]
        inputs: dict[str, object] = {
            **driver.noise(random, "products", "levels", "count", "slot"),
            "product_valid": int(valid),
            "settled": int(settles),
            "measured": int(settled == words),
        }
        if valid:
            inputs |= watcher.word(given)
        before = watcher.peak(settled) if settled else None
        inputs["changed"] = int(settles and watcher.peak(settled + 1) != before)
        done = await watcher.cycle(settled + settles, **inputs)
        given += valid
        settled += settles
        waited += settled == words
        if done:
            expect("whether a vector is complete before its end", settled, words)
            return waited
        if waited > 60 + 2 * words:
            raise MismatchError(f"not complete {waited} cycles behind the last word")


async def _corners(driver: Driver) -> None:
    random = np.random.default_rng(0)
    for slot, (products, levels) in enumerate(corner_vectors(_DEPTH)):
        await _quantise(driver, products, levels, random, slot=slot % 2)


async def _a_peak_at_the_end_takes_a_cycle_a_word(driver: Driver) -> None:
    random = np.random.default_rng(6)
    products = np.repeat([5, NORMAL.high], [_DEPTH - 1, 1])
    taken = await _quantise(driver, products, np.zeros(_DEPTH, np.int64), random)
    expect("whether it took longer", taken <= _DEPTH // _WIDTH + driver.unit.latency, True)


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
    products = np.array([50, 100, -20, 7, 3, -90])
    await _quantise(driver, products, np.zeros(6, np.int64), random)


BENCHES = (
    Bench(
        "wide_input_quantiser",
        WideInputQuantiser,
        named(
            _corners,
            _a_peak_at_the_end_takes_a_cycle_a_word,
            _without_a_bubble,
            _with_random_bubbles,
            _reset_in_the_middle,
        ),
        Picture(
            _picture,
            {
                "clear": "",
                "product_valid": "",
                "products": "product_valid",
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
        (_DEPTH, _TABLES, TRITS_PER_BYTE * _BLOCKS, TRITS_PER_BYTE, _WIDTH),
        named(_hundreds_without_a_bubble, _hundreds_with_random_bubbles),
    ),
)
"""One bench, with words of four."""
