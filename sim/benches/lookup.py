"""Benches of `hdl.dot`: tables as they are filled, and sums of what is read from them, against plain sums."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from ...hdl.dot import LookupDot, TableFiller, entry_bits
from ...models.numerics import INT8
from ...models.trits import TRITS_PER_BYTE, encode_trits, trit_table
from .driver import Driver, Ints, Random, expect
from .parts import FILLER_PORTS, Bench, Picture, activations_of, named

__all__ = ["BENCHES"]

_TABLES = 3
_BLOCKS = 3
_TABLE = trit_table().astype(np.int64)
"""(entries, trits): what each entry adds."""
_BITS = entry_bits(TRITS_PER_BYTE)


# Filling


class _Memory:
    """Plays the activation memory: (words, tables) of int8, a word in the cycle behind its address."""

    def __init__(self, driver: Driver, words: Ints) -> None:
        self.driver = driver
        self.words = words.tolist()
        self.word = [0] * _TABLES

    async def fill(self, block: int, stop: int = -1) -> list[tuple[int, int, list[int]]]:
        """Fill for `stop` cycles, or to the end; return all writes: cycle from `start`, entry, values."""
        driver, writes = self.driver, []
        for cycle in range(stop if stop >= 0 else driver.unit.latency + 1):
            seen = await driver.cycle(start=int(cycle == 0), block=block, word=self.word)
            self.word = self.words[seen.word_address]
            if seen.write:
                values = [int(seen.values[t]) for t in range(_TABLES)]
                writes.append((cycle, int(seen.entry), values))
            if stop < 0 and cycle > driver.unit.latency - driver.unit.steps:
                # Those of a fill that was cut off may come before.
                expect(f"done in cycle {cycle}", seen.done, int(cycle == driver.unit.latency))
        return writes


def _meaning(word: int) -> int:
    """What a table's word stands for: a number, and a bit below it that is added to it."""
    value = word >> 1
    return value - (value >> (_BITS - 2) << (_BITS - 1)) + (word & 1)


async def _filled(memory: _Memory, activations: Ints, blocks: Iterable[int]) -> None:
    """Fill block after block without a pause, and compare every entry and its cycle."""
    unit = memory.driver.unit
    for block in blocks:
        writes = await memory.fill(block)
        writes = writes[max(k for k, (_, entry, _) in enumerate(writes) if entry == 0) :]
        first = unit.latency - unit.steps + 1
        expect("cycles", [cycle for cycle, _, _ in writes], list(range(first, first + unit.steps)))
        expect("entries", [entry for _, entry, _ in writes], list(range(unit.steps)))
        found = [[_meaning(word) for word in words] for _, _, words in writes]
        expect(f"tables of block {block}", found, _TABLE @ activations[block])


def _begun(driver: Driver, seed: int) -> tuple[_Memory, Ints, Random]:
    random = np.random.default_rng(seed)
    activations = activations_of(random, _BLOCKS, TRITS_PER_BYTE, _TABLES)
    activations[0, :, 0], activations[0, :, 1] = INT8.low, INT8.high
    return _Memory(driver, activations.reshape(-1, _TABLES)), activations, random


async def _every_block(driver: Driver) -> None:
    memory, activations, _ = _begun(driver, 0)
    await _filled(memory, activations, range(_BLOCKS))


async def _hundreds_one_behind_another(driver: Driver) -> None:
    memory, activations, random = _begun(driver, 1)
    await _filled(memory, activations, random.integers(0, _BLOCKS, 200).tolist())


async def _pauses(driver: Driver, seed: int, fills: int) -> None:
    memory, activations, random = _begun(driver, seed)
    for block in random.integers(0, _BLOCKS, fills).tolist():
        await _filled(memory, activations, [block])
        for _ in range(random.integers(1, 9)):
            seen = await driver.cycle(start=0, **driver.noise(random, "block", "word"))
            expect("write and done behind a fill", [seen.write, seen.done], [0, 0])


async def _with_pauses(driver: Driver) -> None:
    await _pauses(driver, 2, 20)


async def _hundreds_with_pauses(driver: Driver) -> None:
    await _pauses(driver, 5, 200)


async def _begun_again(driver: Driver) -> None:
    """A fill that is cut off by another one, in any cycle."""
    memory, activations, _ = _begun(driver, 3)
    for cycles in (1, 2, 3, 4, 5, 60, *range(driver.unit.latency - 5, driver.unit.latency + 2)):
        await memory.fill(0, cycles)
        await _filled(memory, activations, [1])


async def _filler_reset(driver: Driver) -> None:
    memory, activations, _ = _begun(driver, 4)
    for cycles in (1, 3, 4, 50, driver.unit.latency):
        await memory.fill(0, cycles)
        await driver.reset()
        for _ in range(driver.unit.latency + 1):
            seen = await driver.cycle()
            expect("write and done after a reset", [seen.write, seen.done], [0, 0])
        await _filled(memory, activations, [2])


async def _filler_picture(driver: Driver) -> None:
    words = np.arange(_TABLES * TRITS_PER_BYTE).reshape(-1, _TABLES) + 1
    await _Memory(driver, words).fill(0, 9)


# Sums


class _Tables:
    """Writes banks, and reads sums of random codes from the other one meanwhile."""

    def __init__(self, driver: Driver, random: Random) -> None:
        self.driver = driver
        self.random = random
        self.banks = np.zeros((2, TRITS_PER_BYTE, _TABLES), np.int64)
        self.owed: list[int | None] = [None] * driver.unit.latency

    def _codes(self, weights: Ints | None, bank: int) -> dict[str, Any]:
        """Weights, (tables, trits), or none: noise."""
        if weights is None:
            self.owed.append(None)
            return self.driver.noise(self.random, "codes", "bank")
        self.owed.append(int(np.sum(weights * self.banks[bank].T)))
        return {"codes": encode_trits(weights).tolist(), "bank": bank}

    async def cycle(self, weights: Ints | None, bank: int, **inputs: Any) -> None:
        """A cycle with weights to be added, or none; compare the sum that is due."""
        seen = await self.driver.cycle(**self._codes(weights, bank), **inputs)
        if (expected := self.owed.pop(0)) is not None:
            expect("sum", seen.total + seen.carry, expected)

    async def fill(self, bank: int, activations: Ints, reads: float) -> None:
        """Write a bank, and read the other one with a share of cycles."""
        for entry, row in enumerate(_TABLE @ activations):
            # Either way to write a number must do.
            lower = self.random.integers(0, 2, _TABLES)
            values = (((row - lower) << 1 | lower) & ((1 << _BITS) - 1)).tolist()
            reading = self.random.random() < reads
            weights = self.random.integers(-1, 2, (_TABLES, TRITS_PER_BYTE)) if reading else None
            await self.cycle(weights, 1 - bank, write=1, fill_bank=bank, entry=entry, values=values)
        self.banks[bank] = activations
        self.driver.set(write=0)

    async def read(self, bank: int, weights: Ints) -> None:
        """Read sums one behind another, and wait for them."""
        for each in weights:
            await self.cycle(each, bank)
        for _ in range(self.driver.unit.latency):
            await self.cycle(None, bank)


async def _extremes(driver: Driver) -> None:
    random = np.random.default_rng(0)
    tables = _Tables(driver, random)
    sign = 1 - 2 * (np.arange(_TABLES) % 2)
    ends = [np.full(_TABLES, INT8.low), np.full(_TABLES, INT8.high), np.where(sign > 0, INT8.high, INT8.low)]
    ones = np.ones((_TABLES, TRITS_PER_BYTE), np.int64)
    weights = np.stack([ones, -ones, 0 * ones, ones * sign[:, None], -ones * sign[:, None]])
    for k, row in enumerate(ends):
        await tables.fill(k % 2, np.tile(row, (TRITS_PER_BYTE, 1)), 0.0)
        await tables.read(k % 2, weights)


async def _fills(driver: Driver, seed: int, count: int, reads: float) -> None:
    random = np.random.default_rng(seed)
    tables = _Tables(driver, random)
    for k in range(count):
        await tables.fill(k % 2, activations_of(random, TRITS_PER_BYTE, _TABLES), reads if k else 0.0)
    await tables.read(1 - count % 2, random.integers(-1, 2, (99, _TABLES, TRITS_PER_BYTE)))


async def _without_a_bubble(driver: Driver) -> None:
    await _fills(driver, 1, 8, 1.0)


async def _with_bubbles(driver: Driver) -> None:
    await _fills(driver, 2, 8, 0.5)


async def _dot_reset(driver: Driver) -> None:
    """Tables stay; sums behind a reset are right."""
    random = np.random.default_rng(3)
    tables = _Tables(driver, random)
    await tables.fill(0, activations_of(random, TRITS_PER_BYTE, _TABLES), 0.0)
    for cycles in range(1, driver.unit.latency + 2):
        for _ in range(cycles):
            await driver.cycle(**driver.noise(random, "codes"))
        await driver.reset()
        tables.owed = [None] * driver.unit.latency
        await tables.read(0, random.integers(-1, 2, (5, _TABLES, TRITS_PER_BYTE)))


async def _dot_picture(driver: Driver) -> None:
    random = np.random.default_rng(0)
    tables = _Tables(driver, random)
    await tables.fill(0, activations_of(random, TRITS_PER_BYTE, _TABLES), 0.0)
    await driver.reset()
    for weights in random.integers(-1, 2, (6, _TABLES, TRITS_PER_BYTE)):
        await tables.cycle(weights, 0)


BENCHES = (
    Bench(
        "table_filler",
        TableFiller,
        named(_every_block, _with_pauses, _begun_again, _filler_reset),
        Picture(_filler_picture, FILLER_PORTS),
        (_TABLES, TRITS_PER_BYTE * _BLOCKS),
        named(_hundreds_one_behind_another, _hundreds_with_pauses),
    ),
    Bench(
        "lookup_dot",
        LookupDot,
        named(_extremes, _without_a_bubble, _with_bubbles, _dot_reset),
        Picture(_dot_picture, {"codes": "", "bank": "", "total": "", "carry": ""}),
        (_TABLES,),
    ),
)
"""Filler, and tables with their sum."""
