"""Benches of `hdl.dot_tree`: activations as they are loaded, and sums of chosen ones, against plain sums."""

from typing import Any

import numpy as np

from ...hdl.dot_tree import ActivationLoader, TreeDot
from ...models.numerics import INT8
from ...models.trits import TRITS_PER_BYTE, encode_prefix
from .driver import Driver, Ints, Random, expect
from .parts import FILLER_PORTS, Bench, Picture, activations_of, named

__all__ = ["BENCHES"]

_TABLES = 3
_BLOCKS = 4
_STRIDE = 8
_FIRST = 2
"""Cycles from `start` to the first word that is written."""


# Loading


class _Memory:
    """Plays the activation memory: a word in the cycle behind its address."""

    def __init__(self, driver: Driver, random: Random) -> None:
        self.driver = driver
        self.random = random
        self.words = activations_of(random, _BLOCKS * _STRIDE, _TABLES).tolist()
        self.word = [0] * _TABLES

    async def cycle(self, block: int, start: int) -> Any:
        """Let a cycle pass."""
        seen = await self.driver.cycle(start=start, block=block, word=self.word)
        self.word = self.words[seen.word_address]
        return seen

    async def load(self, block: int) -> None:
        """Load a block; compare its words and their cycles."""
        last = _FIRST + TRITS_PER_BYTE - 1
        cycles, entries, words = [], [], []
        for cycle in range(last + 1):
            seen = await self.cycle(block, int(cycle == 0))
            if cycle > 0:
                expect(f"done in cycle {cycle}", seen.done, int(cycle == last))
            if cycle > 0 and seen.write:
                cycles.append(cycle)
                entries.append(int(seen.entry))
                words.append([int(seen.values[t]) for t in range(_TABLES)])
        expect("cycles", cycles, list(range(_FIRST, last + 1)))
        expect("entries", entries, list(range(TRITS_PER_BYTE)))
        first = _STRIDE * block
        expect(f"words of block {block}", words, np.array(self.words[first : first + TRITS_PER_BYTE]))

    async def pause(self, cycles: int) -> None:
        """Nothing is written while nothing has been started, whatever block is named."""
        for _ in range(cycles):
            seen = await self.cycle(int(self.random.integers(_BLOCKS)), 0)
            expect("write and done behind a load", [seen.write, seen.done], [0, 0])


async def _loads(driver: Driver, seed: int, count: int, longest: int = 0) -> None:
    random = np.random.default_rng(seed)
    memory = _Memory(driver, random)
    for block in random.integers(0, _BLOCKS, count).tolist():
        await memory.load(block)
        await memory.pause(int(random.integers(longest + 1)))


async def _every_block(driver: Driver) -> None:
    memory = _Memory(driver, np.random.default_rng(0))
    for block in range(_BLOCKS):
        await memory.load(block)


async def _hundreds_one_behind_another(driver: Driver) -> None:
    await _loads(driver, 1, 300)


async def _hundreds_with_pauses(driver: Driver) -> None:
    await _loads(driver, 2, 300, 4)


async def _begun_again(driver: Driver) -> None:
    """A load that is cut off by another one, in any cycle."""
    memory = _Memory(driver, np.random.default_rng(3))
    for cycles in range(1, _FIRST + TRITS_PER_BYTE):
        for cycle in range(cycles):
            await memory.cycle(0, int(cycle == 0))
        await memory.load(1)


async def _loader_reset(driver: Driver) -> None:
    memory = _Memory(driver, np.random.default_rng(4))
    for cycles in range(1, _FIRST + TRITS_PER_BYTE):
        for cycle in range(cycles):
            await memory.cycle(0, int(cycle == 0))
        await driver.reset()
        await memory.pause(_FIRST + TRITS_PER_BYTE)
        await memory.load(2)


async def _loader_picture(driver: Driver) -> None:
    memory = _Memory(driver, np.random.default_rng(0))
    memory.words = (np.arange(_BLOCKS * _STRIDE * _TABLES).reshape(-1, _TABLES) + 1).tolist()
    await memory.load(0)


# Sums


class _Sets:
    """Loads one set of activations, and reads sums of random weights from the other one meanwhile.

    Attributes
    ----------
    bank
        The set in use.
    used
        Its activations, (trits, tables).
    """

    def __init__(self, driver: Driver, random: Random, bubbles: float = 0.0) -> None:
        self.driver = driver
        self.random = random
        self.bubbles = bubbles
        self.bank = 0
        self.used = np.zeros((TRITS_PER_BYTE, _TABLES), np.int64)
        self.owed: list[int | None] = [None] * driver.unit.latency

    async def cycle(self, weights: Ints | None, **inputs: Any) -> None:
        """A cycle with weights, (tables, trits), or none: noise; compare the sum that is due."""
        given: dict[str, Any] = self.driver.noise(self.random, "codes")
        if weights is not None:
            given["codes"] = encode_prefix(weights).tolist()
        self.owed.append(None if weights is None else int(np.sum(weights * self.used.T)))
        seen = await self.driver.cycle(bank=self.bank, **given, **inputs)
        if (expected := self.owed.pop(0)) is not None:
            expect("sum", seen.total + seen.carry, expected)

    async def some(self, count: int, **inputs: Any) -> None:
        """So many cycles of random weights, or bubbles."""
        for _ in range(count):
            bubble = self.random.random() < self.bubbles
            drawn = None if bubble else self.random.integers(-1, 2, (_TABLES, TRITS_PER_BYTE))
            await self.cycle(drawn, **inputs)

    async def load(self, activations: Ints, words: int = TRITS_PER_BYTE) -> None:
        """Load the other set; words come late with bubbles."""
        for entry, word in enumerate(activations[:words].tolist()):
            while self.random.random() < self.bubbles:
                await self.some(1, write=0)
            await self.some(1, write=1, fill_bank=1 - self.bank, entry=entry, values=word)
        self.driver.set(write=0)

    def switch(self, activations: Ints) -> None:
        """Use what has been loaded from the next cycle on."""
        self.bank, self.used = 1 - self.bank, activations

    async def end(self) -> None:
        """Wait for the sums that are owed."""
        for _ in range(self.driver.unit.latency):
            await self.cycle(None)


async def _extremes(driver: Driver) -> None:
    sets = _Sets(driver, np.random.default_rng(0))
    sign = 1 - 2 * (np.arange(_TABLES) % 2)
    ones = np.ones((_TABLES, TRITS_PER_BYTE), np.int64)
    weights = [ones, -ones, 0 * ones, ones * sign[:, None], -ones * sign[:, None]]
    for row in (0 * sign + INT8.low, 0 * sign + INT8.high, np.where(sign > 0, INT8.high, INT8.low)):
        activations = np.tile(row, (TRITS_PER_BYTE, 1))
        await sets.load(activations)
        sets.switch(activations)
        for each in weights:
            await sets.cycle(each)
    await sets.end()


async def _every_code(driver: Driver) -> None:
    """All 243 codes of five weights, in each byte."""
    sets = _Sets(driver, np.random.default_rng(1))
    activations = activations_of(sets.random, TRITS_PER_BYTE, _TABLES)
    await sets.load(activations)
    sets.switch(activations)
    digits = np.stack(np.unravel_index(np.arange(3**TRITS_PER_BYTE), (3,) * TRITS_PER_BYTE), 1) - 1
    for k in range(len(digits)):
        await sets.cycle(np.stack([digits[(k + 81 * t) % len(digits)] for t in range(_TABLES)]))
    await sets.end()


async def _sums(driver: Driver, seed: int, loads: int, bubbles: float = 0.0) -> None:
    """Eight cycles or more a load."""
    sets = _Sets(driver, np.random.default_rng(seed), bubbles)
    for _ in range(loads):
        activations = activations_of(sets.random, TRITS_PER_BYTE, _TABLES)
        await sets.load(activations)
        sets.switch(activations)
        await sets.some(3)
    await sets.end()


async def _without_a_bubble(driver: Driver) -> None:
    await _sums(driver, 2, 100)


async def _with_bubbles(driver: Driver) -> None:
    await _sums(driver, 3, 100, 0.4)


async def _cut_off(driver: Driver) -> None:
    """A load that begins again after any number of words changes nothing that is in use."""
    sets = _Sets(driver, np.random.default_rng(4))
    for words in range(TRITS_PER_BYTE):
        activations = activations_of(sets.random, 2, TRITS_PER_BYTE, _TABLES)
        await sets.load(activations[0], words)
        await sets.load(activations[1])
        sets.switch(activations[1])
        await sets.some(3)
    await sets.end()


async def _tree_reset(driver: Driver) -> None:
    """Behind a reset, in any cycle, activations are loaded anew, and sums are right."""
    random = np.random.default_rng(5)
    for cycles in range(1, driver.unit.latency + 2):
        sets = _Sets(driver, random)
        await sets.load(activations_of(random, TRITS_PER_BYTE, _TABLES), cycles % TRITS_PER_BYTE)
        await sets.some(cycles)
        await driver.reset()
        await _sums(driver, cycles, 2)
        await driver.reset()


async def _tree_picture(driver: Driver) -> None:
    sets = _Sets(driver, np.random.default_rng(0))
    activations = np.arange(TRITS_PER_BYTE * _TABLES).reshape(-1, _TABLES) + 1
    await sets.load(activations)
    sets.switch(activations)
    await sets.some(4)


BENCHES = (
    Bench(
        "activation_loader",
        ActivationLoader,
        named(_every_block, _begun_again, _loader_reset),
        Picture(_loader_picture, FILLER_PORTS),
        (_TABLES, _BLOCKS * _STRIDE, _STRIDE),
        named(_hundreds_one_behind_another, _hundreds_with_pauses),
    ),
    Bench(
        "tree_dot",
        TreeDot,
        named(_extremes, _every_code, _without_a_bubble, _with_bubbles, _cut_off, _tree_reset),
        Picture(
            _tree_picture,
            {
                "write": "",
                "entry": "write",
                "values": "write",
                "bank": "",
                "codes": "",
                "total": "",
                "carry": "",
            },
        ),
        (_TABLES,),
    ),
)
"""Loader, and sets of activations with their sum."""
