"""Bench of `hdl.matmul.MatMul` with tables, filler and dot products: against numpy's integer matrix product.

Two streams share the weights. What stands around the unit is played by `_Surroundings`: an activation memory
whose contents change while they are not certain, a scale that is ready late, a consumer that is not open.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from amaranth.lib.data import StructLayout

from ...hdl.config import AcceleratorConfig
from ...hdl.isa import Epilogue
from ...hdl.matmul import MatMul
from ...models.image import Layout
from ...models.trits import TRITS_PER_BYTE, encode_trits
from .driver import Driver, Ints, MismatchError, Random, expect
from .parts import Bench, Picture, Source, named, run_until, step

__all__ = ["BENCHES", "Product", "beats_of", "configuration", "multiply"]

_BEHIND = 6


def configuration(
    tables: int = 8, row_block: int = 136, blocks: int = 3, streams: int = 2
) -> AcceleratorConfig:
    """An accelerator whose matrices have up to so many column blocks."""
    columns = tables * TRITS_PER_BYTE * blocks
    return AcceleratorConfig("bench", Layout(tables, row_block), columns, columns, 64, 8, 0, 999, streams)


_CONFIG = configuration()


@dataclass(frozen=True)
class Product:
    """A matrix, (rows, columns) of -1, 0, +1, and a vector of int8 for each stream, (streams, columns)."""

    weights: Ints
    activations: Ints

    @property
    def sums(self) -> Ints:
        """(rows, streams)."""
        return self.weights @ self.activations.T


def beats_of(weights: Ints, layout: Layout) -> Iterator[int]:
    """Beats of a matrix: row block by row block, column block by column block, row by row.

    Byte t of a beat holds the trits of the columns start + j * tables + t.
    """
    rows, columns = weights.shape
    padded = np.zeros((rows, layout.column_blocks(columns) * layout.lanes), np.int64)
    padded[:, :columns] = weights
    codes = encode_trits(padded.reshape(rows, -1, TRITS_PER_BYTE, layout.tables).swapaxes(2, 3))
    for top in range(0, rows, layout.row_block):
        for block in codes[top : top + layout.row_block].swapaxes(0, 1):
            for code in block:
                yield int.from_bytes(code.tobytes(), "little")


@dataclass
class _Surroundings:
    """Starts products, keeps their inputs, and takes their sums.

    Parameters
    ----------
    doubts
        How often, at most, a product's inputs turn out to be wrong before they are certain.
    waits
        How likely the scale, or the consumer of the sums, is not ready in a cycle.
    one_by_one
        Each sum is acknowledged, after up to 7 cycles.
    """

    config: AcceleratorConfig
    latency: int
    products: Sequence[Product]
    random: Random
    doubts: int = 0
    waits: float = 0.0
    one_by_one: bool = False

    def __post_init__(self) -> None:
        self.cycle = self.started = self.entered = self.left = self.free_at = 0
        self.acknowledge = -1
        self.scale = self.open = self.was_open = False
        self.wrong: list[int] = []
        """Cycles for which wrong inputs will seem right, one after another."""
        self.slots = [[0] * self.config.activation_words] * 2
        self.word = 0
        self.owed: list[tuple[int, int, int]] = []
        """Product, row and cycle of the sums to come."""
        self.sums: list[list[int]] = []
        self.taken: list[int] = []
        """Cycles in which beats were taken."""

    def inputs(self, driver: Driver) -> dict[str, Any]:
        """See `Agent`."""
        random = self.random
        given: dict[str, Any] = {"start": 0, "fill_void": 0}
        if driver.registered("ready") and self.started < len(self.products):
            product = self.products[self.started]
            given |= {
                "start": 1,
                "rows": len(product.weights),
                "blocks": self.config.layout.column_blocks(product.weights.shape[1]),
                "slot": self.started % 2,
                "tag": self._tag(self.started),
            }
            self.started += 1
            self.wrong = random.integers(1, 400, random.integers(self.doubts + 1)).tolist()
            self._write()
        elif self.wrong:
            self.wrong[0] -= 1
            if not self.wrong[0]:
                del self.wrong[0]
                given["fill_void"] = 1
                self._write()
        self.was_open, self.open = self.open, bool(random.random() >= self.waits)
        first = driver.registered("fill_block") == 0
        self.scale = self.scale or random.random() >= self.waits
        return given | {
            "fill_certain": int(not self.wrong),
            "fill_ready": int(not given["fill_void"] and (first or not self.wrong)),
            "words": self.word,
            "may_enter": int(self.scale),
            "open": int(self.open),
            "one_by_one": int(self.one_by_one),
            "taken": int(self.cycle == self.acknowledge),
        }

    def _tag(self, product: int) -> dict[str, int]:
        return {"mode": product % len(Epilogue), "state_base": product % 64}

    def _write(self) -> None:
        """Write the newest product's inputs, or wrong ones, into their slot."""
        tables = self.config.layout.tables
        right = self.products[self.started - 1].activations
        values = self.random.integers(-128, 128, right.shape) if self.wrong else right
        padded = np.zeros((len(right), self.config.activation_words * tables), np.int8)
        padded[:, : right.shape[1]] = values
        words = padded.reshape(len(right), -1, tables).swapaxes(0, 1)
        self.slots[(self.started - 1) % 2] = [int.from_bytes(word.tobytes(), "little") for word in words]

    def see(self, outputs: SimpleNamespace) -> None:
        """See `Agent`."""
        slot, at = divmod(outputs.word_address, 1 << self.config.slot_bits)
        self.word = self.slots[slot][at] if at < self.config.activation_words else 0
        if outputs.valid:
            product, row, cycle = self.owed.pop(0) if self.owed else (-1, -1, -1)
            expect("cycle of a sum", self.cycle, cycle)
            expect("row", outputs.row, row)
            for name, value in self._tag(product).items():
                expect(f"{name} of product {product}", int(outputs.sums_tag[name]), value)
            expected = self.products[product].sums[row]
            found = [int(outputs.sums[k]) for k in range(self.config.streams)]
            expect(f"sums of row {row} of product {product}", found, expected.tolist())
            self.sums.append(found)
            self.free_at = self.cycle + _BEHIND
            self.acknowledge = self.cycle + 1 + int(self.random.integers(7))
        if outputs.enter:
            if self.cycle < self.free_at or self.owed:
                raise MismatchError(f"cycle {self.cycle}: the sums of the product before are still used")
            self.entered += 1
            self.left = 0
            self.scale = False
        if outputs.leaves:
            expect("whether there was somebody to take a row's sum", self.was_open, True)
            expect("oddness of a row", outputs.odd, self.left % 2)
            self.owed.append((self.entered - 1, self.left, self.cycle + self.latency))
            if self.one_by_one and len(self.owed) > 1:
                raise MismatchError(f"cycle {self.cycle}: the sum before has not been acknowledged")
            self.left += 1
        if outputs.beats__ready:
            self.taken.append(self.cycle)
        self.cycle += 1


async def multiply(
    driver: Driver,
    config: AcceleratorConfig,
    products: Sequence[Product],
    random: Random,
    *,
    bubbles: float = 0.0,
    **options: Any,
) -> list[int]:
    """Multiply, product after product; compare every sum and its cycle.

    Returns
    -------
    list of int
        Cycles in which a beat could be taken.
    """
    beats = [beat for product in products for beat in beats_of(product.weights, config.layout)]
    source = Source("beats", beats, random, bubbles)
    around = _Surroundings(config, driver.unit.latency, products, random, **options)
    rows = sum(len(product.weights) for product in products)
    patience = 500 * len(products) + 20 * (len(beats) + rows)
    await run_until(
        driver, [source, around], lambda: bool(driver.registered("idle")) and around.cycle > 1, patience
    )
    expect("rows that have left", len(around.sums), rows)
    expect("beats left", len(source.left), 0)
    return around.taken


def draw_product(random: Random, rows: int, columns: int, streams: int = _CONFIG.streams) -> Product:
    """A random product."""
    return Product(random.integers(-1, 2, (rows, columns)), random.integers(-128, 128, (streams, columns)))


async def _odd_shapes(driver: Driver) -> None:
    random = np.random.default_rng(1)
    shapes = ((1, 1), (1, 120), (2, 5), (3, 41), (135, 39), (136, 40), (137, 41), (280, 97))
    await multiply(driver, _CONFIG, [draw_product(random, *shape) for shape in shapes], random)


async def _extremes(driver: Driver) -> None:
    random = np.random.default_rng(2)
    sign = 1 - 2 * (np.arange(120) % 2)
    weights = np.stack([np.ones(120, np.int64), -np.ones(120, np.int64), sign, -sign, 0 * sign])
    products = [
        Product(weights, np.stack([vector, -1 - vector]))
        for vector in (
            np.full(120, -128),
            np.full(120, 127),
            np.where(sign > 0, 127, -128),
            np.zeros(120, np.int64),
        )
    ]
    await multiply(driver, _CONFIG, products, random)


async def _quick(driver: Driver) -> None:
    """Several row blocks and column blocks, a doubt, bubbles: what Amaranth's simulator can do in seconds."""
    random = np.random.default_rng(0)
    shapes = ((3, 41), (138, 5), (1, 81))
    products = [draw_product(random, *shape) for shape in shapes]
    await multiply(driver, _CONFIG, products, random, bubbles=0.1, waits=0.3, doubts=2)


async def _without_a_bubble(driver: Driver) -> None:
    random = np.random.default_rng(3)
    products = [draw_product(random, rows, 120) for rows in (272, 136)]
    taken = await multiply(driver, _CONFIG, products, random)
    expect("cycles with a beat, one behind another", np.diff(taken), np.ones(len(taken) - 1))


async def _hundreds_one_behind_another(driver: Driver) -> None:
    random = np.random.default_rng(4)
    shapes = random.integers(1, (9, 41), (200, 2)).tolist()
    await multiply(driver, _CONFIG, [draw_product(random, *shape) for shape in shapes], random)


async def _with_bubbles_waits_and_doubts(driver: Driver) -> None:
    random = np.random.default_rng(5)
    for bubbles, waits, doubts in ((0.5, 0.0, 0), (0.0, 0.6, 0), (0.0, 0.0, 3), (0.3, 0.3, 2)):
        shapes = random.integers(1, (60, 121), (8, 2)).tolist()
        products = [draw_product(random, *shape) for shape in shapes]
        await multiply(driver, _CONFIG, products, random, bubbles=bubbles, waits=waits, doubts=doubts)


async def _hundreds_with_bubbles_waits_and_doubts(driver: Driver) -> None:
    random = np.random.default_rng(8)
    shapes = random.integers(1, (9, 41), (200, 2)).tolist()
    products = [draw_product(random, *shape) for shape in shapes]
    await multiply(driver, _CONFIG, products, random, bubbles=0.3, waits=0.2, doubts=1)


async def _one_by_one(driver: Driver) -> None:
    random = np.random.default_rng(6)
    products = [draw_product(random, 140, 50), draw_product(random, 20, 120)]
    await multiply(driver, _CONFIG, products, random, one_by_one=True, bubbles=0.2, waits=0.2)


async def _reset_in_the_middle(driver: Driver) -> None:
    random = np.random.default_rng(7)
    for cycles in (1, 60, 125, 140, 260, 271, 272, 273, 400):
        products = [draw_product(random, 140, 70)]
        around = _Surroundings(_CONFIG, driver.unit.latency, products, random)
        source = Source("beats", beats_of(products[0].weights, _CONFIG.layout), random)
        for _ in range(cycles):
            await step(driver, [source, around])
        await driver.reset()
        await multiply(driver, _CONFIG, [draw_product(random, 3, 70)], random)
        await driver.reset()


async def _picture(driver: Driver) -> None:
    random = np.random.default_rng(0)
    await multiply(driver, _CONFIG, [draw_product(random, 4, 60)], random, bubbles=0.1)


BENCHES = (
    Bench(
        "matmul",
        MatMul,
        named(_quick, _extremes),
        Picture(
            _picture,
            {
                "start": "",
                "rows": "start",
                "blocks": "start",
                "beats__valid": "",
                "beats__ready": "",
                "enter": "",
                "leaves": "",
                "valid": "",
                "row": "valid",
                "sums": "valid",
                "idle": "",
            },
        ),
        (_CONFIG, StructLayout({"mode": Epilogue, "state_base": 6}), _BEHIND),
        named(
            _odd_shapes,
            _without_a_bubble,
            _hundreds_one_behind_another,
            _with_bubbles_waits_and_doubts,
            _hundreds_with_bubbles_waits_and_doubts,
            _one_by_one,
            _reset_in_the_middle,
        ),
    ),
)
"""One bench."""
