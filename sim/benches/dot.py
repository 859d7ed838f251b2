"""Benches of `hdl.dots.DotUnit`: each kind of dot product as a matrix unit uses it, against numpy's product.

`_Control` plays the matrix unit: it fills one bank while rows stream past the other one, and writes the next
product's activations meanwhile. Nothing may be read in the cycle that writes it, since block RAM is built
without a bypass.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...hdl.dots import DOTS, DotUnit
from .driver import Driver, Ints, Random, expect
from .parts import Bench, Picture, named, run_until, step

__all__ = ["BENCHES", "Product", "WatchedDotUnit", "draw_product", "multiply"]

_BLOCKS = 3
"""Column blocks of a product, at most."""


class WatchedDotUnit(wiring.Component):
    """A `DotUnit` for two vectors of at most `_BLOCKS` column blocks, whose collisions are seen.

    Parameters
    ----------
    kind, tables, family, rows
        As of `DotUnit`.
    """

    def __init__(self, kind: str, tables: int, family: str = "ice40", rows: int = 9) -> None:
        self.code, self.tables, self.rows = DOTS[kind].code, tables, rows
        self.inner = DotUnit(kind, tables, family, rows, _BLOCKS, slots=2)
        super().__init__({**dict(self.inner.signature.members.items()), "collision": Out(1)})

    @property
    def lanes(self) -> int:
        """Weights of a beat."""
        return self.code.trits * self.tables

    def elaborate(self, platform: object) -> Module:
        """Amaranth's."""
        m = Module()
        m.submodules.inner = self.inner
        for name, member in self.inner.signature.members.items():
            one, other = getattr(self.inner, name), getattr(self, name)
            m.d.comb += one.eq(other) if member.flow == In else other.eq(one)
        m.d.comb += self.collision.eq(self.inner.collision)
        return m


@dataclass(frozen=True)
class Product:
    """A matrix, (rows, columns) of -1, 0, +1, and a vector of int8, (columns,)."""

    weights: Ints
    activations: Ints


@dataclass(frozen=True)
class _Block:
    """A column block of some rows: its place in the activation memory, and the codes of each row."""

    product: int
    place: int
    codes: list[list[int]]
    expected: list[int]
    """Sums of the rows if the block is a product's last one, else none."""
    first: bool


def _blocks(unit: WatchedDotUnit, products: Sequence[Product]) -> Iterator[_Block]:
    """All column blocks in order: row block by row block, column block by column block."""
    for number, product in enumerate(products):
        rows, columns = product.weights.shape
        count = -(-columns // unit.lanes)
        padded = np.zeros((rows, count * unit.lanes), np.int64)
        padded[:, :columns] = product.weights
        codes = unit.code.encode(padded.reshape(rows, count, unit.code.trits, -1).swapaxes(2, 3))
        sums = product.weights @ product.activations
        for top in range(0, rows, unit.rows):
            for block in range(count):
                yield _Block(
                    number,
                    number % 2 * _BLOCKS + block,
                    codes[top : top + unit.rows, block].tolist(),
                    sums[top : top + unit.rows].tolist() if block == count - 1 else [],
                    block == 0,
                )


def _words(unit: WatchedDotUnit, product: Product, half: int) -> list[tuple[int, list[int]]]:
    """Address and contents of the words of a product's activations, in a half of the memory."""
    padded = np.zeros(_BLOCKS * unit.lanes, np.int64)
    padded[: len(product.activations)] = product.activations
    words = padded.reshape(_BLOCKS, unit.code.trits, unit.tables).tolist()
    return [
        ((half * _BLOCKS + block) * unit.inner.stride + digit, word)
        for block, digits in enumerate(words)
        for digit, word in enumerate(digits)
    ]


class _Control:
    """Writes activations, starts fills and gives beats as early as it may, and compares all sums.

    Attributes
    ----------
    left
        Sums that have not come.
    beats
        Cycles in which a beat was given.
    """

    def __init__(
        self, unit: WatchedDotUnit, products: Sequence[Product], random: Random, bubbles: float
    ) -> None:
        self._unit, self._products, self._random, self._bubbles = unit, products, random, bubbles
        self._blocks = list(_blocks(unit, products))
        self._cycle = self._written = self._fill = self._block = self._row = 0
        self._writes: list[tuple[int, list[int]]] = []
        self._filling = False
        self._filled = [False, False]
        self._row_beats = [-99] * unit.rows
        self._owed: list[tuple[int, int]] = []
        self.left = sum(len(block.expected) for block in self._blocks)
        self.beats: list[int] = []

    def inputs(self, driver: Driver) -> dict[str, Any]:
        """See `Agent`."""
        return self._write() | self._start() | self._beat(driver)

    def _write(self) -> dict[str, Any]:
        filled = self._blocks[self._fill].product if self._fill < len(self._blocks) else len(self._products)
        if not self._writes and self._written < min(filled + 2, len(self._products)):
            self._writes = _words(self._unit, self._products[self._written], self._written % 2)
        if not self._writes:
            return {"write": 0}
        address, word = self._writes.pop(0)
        self._written += not self._writes
        return {"write": 1, "address": address, "word": word}

    def _start(self) -> dict[str, Any]:
        start = (
            self._fill < len(self._blocks)
            and not self._filling
            and not self._filled[self._fill % 2]
            and self._blocks[self._fill].product < self._written
        )
        if not start:
            return {"start": 0}
        self._filling = True
        return {"start": 1, "block": self._blocks[self._fill].place, "fill_bank": self._fill % 2}

    def _beat(self, driver: Driver) -> dict[str, Any]:
        bank = self._block % 2
        settled = self._cycle - self._row_beats[self._row] >= self._unit.inner.write_back
        if not self._filled[bank] or not settled or self._random.random() < self._bubbles:
            return {"valid": 0, "bank": bank, **driver.noise(self._random, "codes", "first", "final", "ends")}
        block = self._blocks[self._block]
        ends = self._row + 1 == len(block.codes)
        beat = {
            "valid": 1,
            "bank": bank,
            "codes": block.codes[self._row],
            "first": int(block.first),
            "final": int(bool(block.expected)),
            "ends": int(ends),
        }
        if block.expected:
            self._owed.append((self._cycle + self._unit.inner.latency, block.expected[self._row]))
        self.beats.append(self._cycle)
        self._row_beats[self._row] = self._cycle
        self._row += 1
        if ends:
            self._filled[bank] = False
            self._row = 0
            self._block += 1
        return beat

    def see(self, outputs: SimpleNamespace) -> None:
        """See `Agent`."""
        expect(f"collisions in cycle {self._cycle}", outputs.collision, 0)
        due = bool(self._owed) and self._owed[0][0] == self._cycle
        expect(f"sum_valid in cycle {self._cycle}", outputs.sum_valid, int(due))
        if due:
            expect(f"sum in cycle {self._cycle}", outputs.sum, self._owed.pop(0)[1])
            self.left -= 1
        if outputs.done:
            self._filling = False
            self._filled[self._fill % 2] = True
            self._fill += 1
        self._cycle += 1


async def multiply(
    driver: Driver, products: Sequence[Product], random: Random, bubbles: float = 0.0
) -> list[int]:
    """Multiply product after product, compare all sums and their cycles, and return the beats' cycles."""
    control = _Control(driver.unit, products, random, bubbles)
    patience = 200 * len(control._blocks) + 100
    await run_until(driver, [control], lambda: not control.left, patience)
    return control.beats


def draw_product(unit: WatchedDotUnit, random: Random, rows: int, columns: int) -> Product:
    """A random product of at most so many columns as the unit takes."""
    columns = min(columns, _BLOCKS * unit.lanes)
    return Product(random.integers(-1, 2, (rows, columns)), random.integers(-128, 128, columns))


async def _odd_shapes(driver: Driver) -> None:
    random = np.random.default_rng(1)
    lanes, rows = driver.unit.lanes, driver.unit.rows
    shapes = (
        (1, 1),
        (1, 3 * lanes),
        (2, lanes),
        (rows, lanes + 1),
        (rows + 1, 2 * lanes),
        (9, 3 * lanes - 1),
    )
    await multiply(driver, [draw_product(driver.unit, random, *shape) for shape in shapes], random)


async def _extremes(driver: Driver) -> None:
    random = np.random.default_rng(2)
    columns = _BLOCKS * driver.unit.lanes
    sign = 1 - 2 * (np.arange(columns) % 2)
    weights = np.stack([0 * sign + 1, 0 * sign - 1, sign, -sign, 0 * sign])
    vectors = (0 * sign - 128, 0 * sign + 127, np.where(sign > 0, 127, -128), 0 * sign)
    await multiply(driver, [Product(weights, vector) for vector in vectors], random)


async def _without_a_bubble(driver: Driver) -> None:
    random = np.random.default_rng(3)
    unit = driver.unit
    count = -(-300 // unit.rows)
    products = [draw_product(unit, random, unit.rows, _BLOCKS * unit.lanes) for _ in range(count)]
    beats = await multiply(driver, products, random)
    expect("cycles with a beat, one behind another", np.diff(beats), np.ones(count * _BLOCKS * unit.rows - 1))


async def _with_bubbles(driver: Driver) -> None:
    random = np.random.default_rng(4)
    for bubbles in (0.2, 0.8):
        shapes = random.integers(1, (20, _BLOCKS * driver.unit.lanes + 1), (6, 2)).tolist()
        products = [draw_product(driver.unit, random, *shape) for shape in shapes]
        await multiply(driver, products, random, bubbles)


async def _reset_in_the_middle(driver: Driver) -> None:
    random = np.random.default_rng(5)
    for cycles in (1, 7, 20, 60, 150):
        products = [draw_product(driver.unit, random, 12, 99)]
        control = _Control(driver.unit, products, random, 0.0)
        for _ in range(cycles):
            await step(driver, [control])
        await driver.reset()
        await multiply(driver, [draw_product(driver.unit, random, 3, 99)], random)
        await driver.reset()


async def _hundreds_one_behind_another(driver: Driver) -> None:
    random = np.random.default_rng(6)
    shapes = random.integers(1, (9, driver.unit.lanes + 1), (200, 2)).tolist()
    for bubbles in (0.0, 0.5):
        products = [draw_product(driver.unit, random, *shape) for shape in shapes]
        await multiply(driver, products, random, bubbles)


async def _picture(driver: Driver) -> None:
    random = np.random.default_rng(0)
    await multiply(driver, [draw_product(driver.unit, random, 4, 99)], random, 0.2)


def _bench(kind: str, tables: int, family: str, rows: int) -> Bench:
    """Return a bench; `rows` are as many as hide a fill."""
    return Bench(
        f"dot_{kind}",
        WatchedDotUnit,
        named(_odd_shapes, _extremes, _without_a_bubble, _with_bubbles, _reset_in_the_middle),
        Picture(
            _picture,
            {
                "start": "",
                "done": "",
                "bank": "",
                "valid": "",
                "codes": "valid",
                "first": "valid",
                "final": "valid",
                "ends": "valid",
                "sum_valid": "",
                "sum": "sum_valid",
            },
        ),
        (kind, tables, family, rows),
        named(_hundreds_one_behind_another),
    )


BENCHES = (
    _bench("lookup", 8, "ice40", 126),
    _bench("lutram", 3, "ecp5", 18),
    _bench("tree", 2, "ice40", 9),
)
"""A bench for each kind."""
