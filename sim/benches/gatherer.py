"""Bench of `hdl.gatherer`: words of elements, in order, each a cycle behind its last one."""

from collections.abc import Sequence

import numpy as np

from ...hdl.gatherer import Gatherer
from ...models.numerics import VECTOR
from .driver import Driver, Random, expect
from .parts import Bench, Picture, named

__all__ = ["BENCHES"]

_WIDTH = 4
_COUNT_BITS = 6


async def _gather(driver: Driver, counts: Sequence[int], random: Random, bubbles: float = 0.0) -> None:
    width = len(driver.registered("word"))
    for count in counts:
        vector = random.choice([VECTOR.low, VECTOR.high, 0, -1, 5, -999], count).tolist()
        await driver.cycle(clear=1, count=count, valid=0, **driver.noise(random, "element"))
        left = list(vector)
        while left:
            comes = bool(random.random() >= bubbles)
            inputs = driver.noise(random, "element", "count")
            if comes:
                inputs["element"] = left.pop(0)
            await driver.cycle(clear=0, valid=int(comes), **inputs)
            done = len(vector) - len(left)
            whole = comes and (done % width == 0 or not left)
            expect(f"word behind element {done - 1}", driver.registered("word_valid"), whole)
            if whole:
                due = vector[(done - 1) // width * width : done]
                due += [0] * (width - len(due))
                expect("word", [int(each) for each in driver.registered("word")], due)


async def _without_a_bubble(driver: Driver) -> None:
    random = np.random.default_rng(0)
    await _gather(driver, [1, 2, 3, 4, 5, 8, 63, *random.integers(1, 30, 100).tolist()], random)


async def _with_bubbles(driver: Driver) -> None:
    random = np.random.default_rng(1)
    for bubbles in (0.3, 0.8):
        await _gather(driver, random.integers(1, 30, 60).tolist(), random, bubbles)


async def _reset_in_the_middle(driver: Driver) -> None:
    random = np.random.default_rng(2)
    for cycles in range(1, 6):
        await driver.cycle(clear=1, count=20)
        for _ in range(cycles):
            await driver.cycle(clear=0, valid=1, element=VECTOR.high)
        await driver.reset()
        expect("a word after a reset", (await driver.cycle()).word_valid, 0)
        await _gather(driver, [3, 6], random)


async def _picture(driver: Driver) -> None:
    await _gather(driver, [6], np.random.default_rng(0), 0.2)
    await driver.cycle(valid=0)


BENCHES = (
    Bench(
        "gatherer",
        Gatherer,
        named(_without_a_bubble, _with_bubbles, _reset_in_the_middle),
        Picture(
            _picture,
            {
                "clear": "",
                "count": "clear",
                "valid": "",
                "element": "valid",
                "word_valid": "",
                "word": "word_valid",
            },
        ),
        (_WIDTH, _COUNT_BITS),
    ),
)
"""One bench, with words of four."""
