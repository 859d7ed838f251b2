"""Matrix products, one behind another: sums, tags, tables filled ahead and again, all that may stop them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulate import Ints, simulate
from tritforge.hdl.config import AcceleratorConfig
from tritforge.hdl.matmul import MatMul
from tritforge.models.image import Layout

BEHIND = 9
TAG_BITS = 12
Random = np.random.Generator


def config_of(
    tables: int = 8,
    row_block: int = 122,
    columns: int = 120,
    streams: int = 1,
    dot: str = "lookup",
    family: str = "ice40",
) -> AcceleratorConfig:
    layout = Layout(tables, row_block, dot)
    sizes = columns, columns, columns, 256
    return AcceleratorConfig("test", layout, *sizes, vocabulary=400, streams=streams, family=family)


@dataclass(frozen=True)
class Product:
    """A matrix, (rows, columns), a vector for each stream, (streams, columns), and when that is there.

    Cycles count from the product's start. In those of `voids` the vector is found to be a wrong one; from
    `certain` on, and behind all voids, it stays. Until then the first column block alone may be filled.
    """

    weights: Ints
    vectors: Ints
    voids: range = range(0)
    there: int = 0
    certain: int = 0


@dataclass
class Record:
    """What a run has shown: by product, cycles of starts, entries, beats and sums; why no beat was taken."""

    starts: list[int] = field(default_factory=list)
    enters: list[int] = field(default_factory=list)
    beats: list[list[int]] = field(default_factory=list)
    sums: list[list[int]] = field(default_factory=list)
    waits: list[tuple[str, ...]] = field(default_factory=list)
    idle: int = 0


def draw(random: Random, config: AcceleratorConfig, rows: int, columns: int, **when: Any) -> Product:
    weights = random.integers(-1, 2, (rows, columns))
    return Product(weights, random.integers(-128, 128, (config.streams, columns)), **when)


def packed(weights: Ints, layout: Layout) -> list[int]:
    """Row blocks, column blocks, rows; code t holds the columns start + j * tables + t."""
    rows, columns = weights.shape
    padded = np.zeros((rows, layout.column_blocks(columns) * layout.lanes), np.int64)
    padded[:, :columns] = weights
    code = layout.code
    codes = code.encode(padded.reshape(rows, -1, code.trits, layout.tables).swapaxes(2, 3))
    return [
        sum(int(value) << code.bits * t for t, value in enumerate(row))
        for top in range(0, rows, layout.row_block)
        for block in codes[top : top + layout.row_block].swapaxes(0, 1)
        for row in block
    ]


def places(product: Product, layout: Layout) -> list[tuple[bool, bool]]:
    """For every beat: it is of a row block's last column block; its row is an odd one."""
    rows, columns = product.weights.shape
    blocks = layout.column_blocks(columns)
    return [
        (block == blocks - 1, row % 2 == 1)
        for top in range(0, rows, layout.row_block)
        for block in range(blocks)
        for row in range(min(layout.row_block, rows - top))
    ]


class Inputs:
    """Activation memory of all streams, and what is known about the vector that is in work."""

    def __init__(self, config: AcceleratorConfig, random: Random) -> None:
        self._config = config
        self._random = random
        self._width = config.layout.tables * config.streams
        words = random.integers(-128, 128, (2, config.activation_depth // 2, self._width))
        self._words = words.astype(np.int8)
        self._product: Product | None = None
        self._slot = 1
        self._passed = 0

    def start(self, product: Product) -> int:
        self._product, self._passed, self._slot = product, -1, 1 - self._slot
        self._write(not product.voids)
        return self._slot

    def _write(self, right: bool) -> None:
        assert self._product is not None
        vectors = self._product.vectors
        if not right:
            vectors = self._random.integers(-128, 128, vectors.shape)
        layout = self._config.layout
        padded = np.zeros((len(vectors), layout.column_blocks(vectors.shape[1]) * layout.lanes), np.int8)
        padded[:, : vectors.shape[1]] = vectors
        words = padded.reshape(len(vectors), -1, layout.tables).swapaxes(0, 1).reshape(-1, self._width)
        self._words[self._slot, : len(words)] = words

    def word(self, address: int) -> int:
        word = self._words.reshape(-1, self._width)[address]
        return int.from_bytes(word.tobytes(), "little")

    def step(self, block: int) -> tuple[bool, bool, bool]:
        """Ready, certain, void in this cycle."""
        self._passed += 1
        product = self._product
        if product is None:
            ready, certain, void = self._random.random(3) < 0.5
            return bool(ready), bool(certain), bool(void)
        void = self._passed in product.voids
        if product.voids and self._passed == product.voids[-1]:
            self._write(True)
        certain = self._passed >= max(product.certain, product.voids.stop)
        ready = self._passed >= product.there and not void and (certain or block == 0)
        return ready, certain, void


def run(
    config: AcceleratorConfig,
    products: Sequence[Product],
    seed: int = 0,
    beats: float = 1.0,
    open_: float = 1.0,
    enter: float = 1.0,
    pause: float = 0.0,
    one_by_one: bool = False,
    late: int = 0,
) -> Record:
    """Multiply, and compare every sum, its row and its tag.

    `beats`, `open_` and `enter` are the shares of cycles in which a beat is there, and in which a sum and a
    product may come; with the share `pause` the next product does not start when it could. There are no beats
    before the cycle `late`.
    """
    random = np.random.default_rng(seed)
    dut = MatMul(config, TAG_BITS, BEHIND)
    layout = config.layout
    inputs = Inputs(config, random)
    record = Record()
    queue = [
        (k, beat, leaves, odd)
        for k, product in enumerate(products)
        for beat, (leaves, odd) in zip(packed(product.weights, layout), places(product, layout), strict=True)
    ]
    expected = [
        (k, row, sums.tolist())
        for k, product in enumerate(products)
        for row, sums in enumerate(product.weights @ product.vectors.T)
    ]
    tags = random.integers(0, 1 << TAG_BITS, len(products)).tolist()
    waits = ("inputs", "tables", "scale", "open")
    names = [
        "ready", "beats.ready", "word_address", "enter", "leaves", "odd", "valid", "row", "sums_tag", "idle",
        "fill_block", *(f"waits_for_{name}" for name in waits[:3]), "waits_to_open",
    ]  # fmt: skip
    ports = [dut.beats.ready if name == "beats.ready" else getattr(dut, name) for name in names]

    async def testbench(ctx: Any) -> None:
        word, at, found, started = 0, 0, 0, 0
        offered = waiting = opens = False
        takes: dict[int, list[int]] = {}
        patience = 2000 + late + 500 * len(products) + 40 * len(queue)
        for cycle in range(patience):
            ready, certain, void = inputs.step(ctx.get(dut.fill_block))
            # `open` is asked for a cycle before.
            may_enter, may_leave, opens = random.random() < enter, opens, random.random() < open_
            start = started < len(products) and bool(ctx.get(dut.ready)) and random.random() >= pause
            offered = offered or (cycle >= late and at < len(queue) and random.random() < beats)
            taken = waiting and random.random() < 0.3
            given = {
                "start": start, "fill_ready": ready, "fill_certain": certain, "fill_void": void,
                "may_enter": may_enter, "open": opens, "one_by_one": one_by_one, "taken": taken,
            }  # fmt: skip
            if start:
                rows, columns = products[started].weights.shape
                given |= {"rows": rows, "blocks": layout.column_blocks(columns), "tag": tags[started]}
                given |= {"slot": inputs.start(products[started])}
            else:
                given |= {"rows": int(random.integers(1 << config.row_bits)), "blocks": 1, "tag": 0}
            for name, value in given.items():
                ctx.set(getattr(dut, name), int(value))
            ctx.set(dut.words.as_value(), word)
            ctx.set(dut.beats.valid, offered)
            ctx.set(dut.beats.payload, queue[at][1] if offered else 0)
            _, _, *values = await ctx.tick().sample(*ports, *(dut.sums[k] for k in range(config.streams)))
            out = dict(zip(names, (int(value) for value in values), strict=False))
            sums = [int(value) for value in values[len(names) :]]
            word = inputs.word(out["word_address"])
            record.waits.append(
                tuple(name for name, port in zip(waits, names[-4:], strict=True) if out[port])
            )
            assert not (out["beats.ready"] and record.waits[-1])
            if start:
                record.starts.append(cycle)
                started += 1
            if out["enter"]:
                assert may_enter
                record.enters.append(cycle)
            take = offered and out["beats.ready"]
            if take:
                k, _, leaves, odd = queue[at]
                assert k < started
                assert (out["leaves"], out["odd"]) == (leaves, odd)
                if leaves:
                    assert may_leave
                    assert len(record.enters) == k + 1
                    assert not (one_by_one and waiting)
                    takes.setdefault(k, []).append(cycle)
                    waiting = one_by_one
                while len(record.beats) <= k:
                    record.beats.append([])
                record.beats[k].append(cycle)
                at, offered = at + 1, False
            else:
                assert not out["leaves"]
            if taken:
                waiting = False
            if out["valid"]:
                k, row, totals = expected[found]
                assert (out["row"], sums, out["sums_tag"]) == (row, totals, tags[k])
                assert cycle == takes[k][row] + dut.latency
                while len(record.sums) <= k:
                    record.sums.append([])
                    if k:
                        assert cycle - record.sums[k - 1][-1] > BEHIND
                record.sums[k].append(cycle)
                found += 1
            if found:
                k = expected[found - 1][0]
                if cycle <= record.sums[k][-1] + BEHIND:
                    assert out["sums_tag"] == tags[k]  # while a sum has consequences
            if started == len(products) and found == len(expected):
                if out["idle"]:
                    record.idle = cycle
                    return
            elif found < sum(len(product.weights) for product in products[: started - start]):
                assert not out["idle"]
        raise AssertionError(f"{found} of {len(expected)} sums after {patience} cycles")

    simulate(dut, testbench)
    assert len(record.enters) == len(products)
    return record


@pytest.mark.parametrize(
    ("tables", "row_block", "rows", "columns", "streams"),
    [
        (16, 122, 123, 81, 1),
        (24, 130, 5, 359, 1),
        (8, 122, 245, 40, 1),
        (8, 122, 130, 90, 2),
        (8, 124, 3, 41, 4),
    ],
)
def test_sums_are_those_of_the_matrix_product(
    tables: int, row_block: int, rows: int, columns: int, streams: int
) -> None:
    config = config_of(tables, row_block, columns, streams)
    run(config, [draw(np.random.default_rng(tables), config, rows, columns)])


KINDS = pytest.mark.parametrize(
    ("dot", "family", "fill"),
    [("lookup", "xilinx", 122), ("lutram", "ecp5", 14), ("lutram", "xilinx", 14), ("tree", "ice40", 5)],
)
"""Kinds of dot products, families that they are shaped for, and cycles that a fill writes."""


@KINDS
def test_every_kind_of_dot_product_gives_these_sums(dot: str, family: str, fill: int) -> None:
    random = np.random.default_rng(fill)
    for tables, row_block, rows, columns, streams in ((8, 122, 123, 90, 2), (24, 124, 5, 359, 1)):
        config = config_of(tables, row_block, columns, streams, dot, family)
        products = [draw(random, config, rows, columns), draw(random, config, 2, columns // 2)]
        run(config, products, 1, 0.6, 0.6, 0.6, pause=0.5)
    signs = np.resize([[1, -1], [1, 1], [-1, -1]], (3, 120))
    for value in (-128, 127):
        run(config_of(dot=dot, family=family), [Product(signs, np.full((1, 120), value))])


@KINDS
def test_every_kind_of_dot_product_is_filled_again_for_a_wrong_vector(
    dot: str, family: str, fill: int
) -> None:
    config, random = config_of(dot=dot, family=family, row_block=fill + fill % 2), np.random.default_rng(0)
    for cycle in (*range(0, 8, 2), *range(fill - 2, fill + 7, 2)):
        wrong = {"voids": range(cycle, cycle + 3), "certain": cycle + fill + 30}
        products = [draw(random, config, 2, 41), draw(random, config, 2, 24, **wrong)]
        run(config, products[1:] if cycle % 4 else products, cycle)


@KINDS
def test_one_row_after_another_adds_up_whatever_the_kind(dot: str, family: str, fill: int) -> None:
    config, random = config_of(dot=dot, family=family, row_block=fill + fill % 2), np.random.default_rng(1)
    for rows in range(1, 6):
        run(config, [draw(random, config, rows, 117) for _ in range(2)], rows, beats=0.9, late=3 * fill)


@settings(max_examples=8)
@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.lists(st.tuples(st.integers(1, 130), st.integers(1, 120)), min_size=1, max_size=4),
    rates=st.tuples(*[st.sampled_from([1.0, 0.5, 0.1])] * 3),
    one_by_one=st.booleans(),
)
def test_products_follow_each_other_whatever_stops_them(
    seed: int, sizes: list[tuple[int, int]], rates: tuple[float, ...], one_by_one: bool
) -> None:
    config, random = config_of(), np.random.default_rng(seed)
    products = [draw(random, config, rows, columns) for rows, columns in sizes]
    run(config, products, seed, *rates, pause=0.5, one_by_one=one_by_one)


def test_products_of_several_blocks_stream_without_a_pause_between_them() -> None:
    config = config_of(row_block=136, columns=80)
    random = np.random.default_rng(0)
    record = run(config, [draw(random, config, 136, 80) for _ in range(4)])
    cycles = [cycle for product in record.beats for cycle in product]
    assert cycles[-1] - cycles[0] + 1 == len(cycles) == 4 * 2 * 136


def pauses(rows: int, dot: str = "lookup", family: str = "ice40") -> int:
    """Cycles without a beat between the first one and the last, three column blocks, one row block."""
    config = config_of(row_block=rows + rows % 2, dot=dot, family=family)
    columns = 3 * config.layout.lanes
    (taken,) = run(config, [draw(np.random.default_rng(0), config, rows, columns)]).beats
    return taken[-1] - taken[0] + 1 - len(taken)


def test_blocks_of_127_rows_stream_without_a_pause_and_smaller_ones_wait_for_their_tables() -> None:
    # A table takes 125 cycles, one more until it may be used, and one until the next one is begun.
    assert pauses(127) == 0
    assert pauses(126) == 2 * 1
    assert pauses(122) == 2 * 5


@pytest.mark.parametrize(
    ("dot", "family", "rows"),
    [("lookup", "ecp5", 128), ("lutram", "ecp5", 20), ("lutram", "xilinx", 20), ("tree", "ice40", 9)],
)
def test_so_many_rows_hide_what_other_kinds_take_in(dot: str, family: str, rows: int) -> None:
    assert pauses(rows, dot, family) == 0
    assert pauses(rows - 1, dot, family) == 2 * 1


@pytest.mark.parametrize(
    ("rows", "tables"), [(1, 8), (2, 8), (3, 8), (4, 8), (7, 8), (1, 64), (2, 64), (3, 64)]
)
def test_few_rows_add_up_even_if_all_tables_were_filled_before_the_first_beat(
    rows: int, tables: int
) -> None:
    config = config_of(tables=tables, columns=4 * 5 * tables)
    random = np.random.default_rng(rows)
    products = [draw(random, config, rows, 4 * 5 * tables - 3) for _ in range(2)]
    run(config, products, late=400)


@pytest.mark.parametrize("length", [1, 2, 25])
def test_tables_filled_for_a_wrong_vector_are_filled_again(length: int) -> None:
    # The vector turns out to be wrong in cycles all over the fill, and while tables wait for certainty.
    config, random = config_of(), np.random.default_rng(length)
    cycles = [*range(6), *range(9, 118, 12), *range(118, 134, length)]
    for cycle in cycles:
        wrong = {"voids": range(cycle, cycle + length), "certain": cycle + 150}
        products = [draw(random, config, 2, 41), draw(random, config, 2, 40, **wrong)]
        run(config, products[1:] if cycle % 2 else products, cycle)


def test_no_beat_is_taken_before_the_vector_is_certain_but_the_first_block_is_filled_until_then() -> None:
    config = config_of()
    product = draw(np.random.default_rng(4), config, 130, 120, certain=300)
    record = run(config, [product])
    start = record.starts[0]
    assert record.beats[0][0] - start in range(300, 305)
    early = draw(np.random.default_rng(4), config, 130, 120)
    record = run(config, [early])
    assert record.beats[0][0] - record.starts[0] in range(122, 130)


def test_sums_wait_for_their_scale_beats_of_earlier_blocks_do_not() -> None:
    config = config_of()
    record = run(config, [draw(np.random.default_rng(5), config, 130, 80)], enter=0.002, seed=1)
    first = record.beats[0][:122]
    assert first[-1] < record.enters[0]
    assert record.beats[0][122] > record.enters[0]
    assert ("scale",) in record.waits


def test_why_no_beat_is_taken_is_told() -> None:
    config = config_of()
    product = draw(np.random.default_rng(6), config, 4, 41, there=50)
    record = run(config, [product], open_=0.3)
    start = record.starts[0]
    causes = [set(waits) for waits in record.waits]
    # The product is handed to the rows a cycle behind its start.
    assert all(waits == {"inputs", "tables"} for waits in causes[start + 2 : start + 50])
    filling = causes[start + 52 : record.beats[0][0] - 1]  # told a cycle late
    assert all(waits == {"tables"} for waits in filling)
    assert len(filling) > 115
    leaving = record.beats[0][4:]
    for cycle in range(leaving[0], leaving[-1]):
        assert (cycle in leaving) != (causes[cycle] == {"open"})


def test_idle_comes_when_the_last_sum_has_had_its_consequences() -> None:
    config = config_of()
    record = run(config, [draw(np.random.default_rng(7), config, 3, 41)])
    assert record.idle - record.sums[0][-1] in range(BEHIND, BEHIND + 3)
