"""Lookup tables, their filler, and the trees that add what they read."""

from typing import Any

import numpy as np
import pytest
from amaranth.hdl import C, Module, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from numpy.typing import NDArray
from simulate import Ints, simulate
from tritforge.hdl.dot import LookupDot, TableFiller, entry_bits
from tritforge.hdl.dot_adders import Term, add_terms, levels
from tritforge.models.trits import code_bits, encode_trits, entries, trit_table

BLOCKS = 3


def packed(values: Ints, bits: int = 8) -> int:
    return sum((int(value) & ((1 << bits) - 1)) << (bits * k) for k, value in enumerate(values))


def meaning(word: int, bits: int) -> int:
    """What a table's word stands for: a number, and a bit below it that is added to it."""
    value = word >> 1
    return value - (value >> (bits - 2) << (bits - 1)) + (word & 1)


async def fill(
    ctx: Any, filler: TableFiller, memory: Ints, block: int, stop: int = 200
) -> list[tuple[int, int, list[int]]]:
    """Cycle since `start`, entry and values of every write; `memory` is (words, tables)."""
    words = [packed(word) for word in memory]
    ctx.set(filler.block, block)
    word, writes = 0, []
    for cycle in range(stop):
        ctx.set(filler.start, cycle == 0)
        ctx.set(filler.word.as_value(), word)
        _, _, address, entry, values, write, done = await ctx.tick().sample(
            filler.word_address, filler.entry, filler.values, filler.write, filler.done
        )
        word = words[address]
        if write:
            writes.append((cycle, entry, [values[t] for t in range(memory.shape[1])]))
        if done:
            return writes
    assert stop < 200, "not done"
    return writes


@pytest.mark.parametrize("tables", [1, 3, 8])
@pytest.mark.parametrize(
    ("trits", "stride", "staged"), [(5, 5, False), (5, 8, False), (5, 8, True), (3, 4, False), (3, 3, True)]
)
def test_tables_are_filled_with_the_sums_of_all_codes(
    tables: int, trits: int, stride: int, staged: bool
) -> None:
    random = np.random.default_rng(tables)
    memory = random.integers(-128, 128, (BLOCKS, stride, tables))
    memory[0, :, 0] = -128
    memory[1, :, 0] = 127
    dut = TableFiller(tables, BLOCKS * stride, trits, stride, staged=staged)
    fills = {}

    async def testbench(ctx: Any) -> None:
        for block in (0, 2, 1):
            fills[block] = await fill(ctx, dut, memory.reshape(-1, tables), block)

    simulate(dut, testbench)
    assert dut.steps == entries(trits) == {5: 122, 3: 14}[trits]
    bits = entry_bits(trits)
    for block, writes in fills.items():
        cycles, numbers, values = zip(*writes, strict=True)
        assert numbers == tuple(range(dut.steps))
        assert cycles == tuple(range(3 + staged, 3 + staged + dut.steps))
        found = [[meaning(word, bits) for word in row] for row in values]
        assert np.array_equal(found, trit_table(trits).astype(np.int64) @ memory[block, :trits])


@pytest.mark.parametrize("staged", [False, True])
def test_a_fill_that_begins_again_is_whole_and_done_once(staged: bool) -> None:
    random = np.random.default_rng(0)
    memory = random.integers(-128, 128, (10, 2))
    dut = TableFiller(2, 10, staged=staged)
    fills = []

    async def testbench(ctx: Any) -> None:
        for cycles in (1, 2, 3, 4, 5, 60, 120, 121, 122, 123):
            await fill(ctx, dut, memory, 0, stop=cycles)
            fills.append(await fill(ctx, dut, memory, 1))

    simulate(dut, testbench)
    expected = trit_table().astype(np.int64) @ memory[5:]
    for writes in fills:
        # The words of the fill that was cut off may still come before; entry 0 begins the new one.
        begin = max(k for k, (_, entry, _) in enumerate(writes) if entry == 0)
        cycles, numbers, values = zip(*writes[begin:], strict=True)
        assert cycles == tuple(range(3 + staged, 125 + staged))
        assert numbers == tuple(range(122))
        found = [[meaning(word, entry_bits(5)) for word in row] for row in values]
        assert np.array_equal(found, expected)


@pytest.mark.parametrize("tables", [1, 2, 3, 5, 8, 13])
@pytest.mark.parametrize("trits", [5, 3])
@pytest.mark.parametrize("options", [{}, {"fold_sums": False}, {"staged": True}], ids=str)
def test_sums_of_random_and_extreme_codes_and_activations(
    tables: int, trits: int, options: dict[str, bool]
) -> None:
    random = np.random.default_rng(tables)
    unit = LookupDot(tables, trits, **options)
    activations = random.integers(-128, 128, (2, trits, tables))
    activations[1] = np.where(np.arange(tables) % 2, 127, -128)
    weights: NDArray[np.int64] = random.integers(-1, 2, (300, tables, trits))
    weights[:4] = np.array([1, -1, 0, 1])[:, None, None]
    weights[4] = np.where(np.arange(tables) % 2, 1, -1)[:, None]
    banks = random.integers(0, 2, 300)
    banks[:5] = 1
    found = []

    async def testbench(ctx: Any) -> None:
        ctx.set(unit.write, 1)
        for bank in (0, 1):
            ctx.set(unit.fill_bank, bank)
            for entry, row in enumerate(trit_table(trits).astype(np.int64) @ activations[bank]):
                ctx.set(unit.entry, entry)
                for t, value in enumerate(row.tolist()):
                    # Either way to write a number must do.
                    lower = int(random.integers(2))
                    ctx.set(unit.values[t], ((value - lower) << 1 | lower) & ((1 << entry_bits(trits)) - 1))
                await ctx.tick()
        ctx.set(unit.write, 0)
        codes = encode_trits(weights)
        for k in range(300 + unit.latency):
            if k < 300:
                ctx.set(unit.codes.as_value(), packed(codes[k], code_bits(trits)))
                ctx.set(unit.bank, int(banks[k]))
            _, _, total, carry = await ctx.tick().sample(unit.total, unit.carry)
            found.append(total + carry)

    simulate(unit, testbench)
    expected = np.einsum("ktj,kjt->k", weights, activations[banks])
    assert np.array_equal(found[unit.latency :], expected)


def test_latency_and_width_grow_with_the_tables() -> None:
    assert [LookupDot(n).latency for n in (1, 2, 3, 4, 5, 8, 208)] == [1, 2, 3, 3, 4, 4, 9]
    assert [LookupDot(n, staged=True).latency for n in (1, 8)] == [2, 5]
    assert [LookupDot(n, 3).latency for n in (1, 14)] == [1, 5]
    # 5 x 128 = 640 takes 11 bits with its sign, 3 x 128 = 384 takes 10; a bit more for each doubling.
    assert [LookupDot(n).total_bits for n in (1, 2, 8, 208)] == [11, 12, 14, 19]
    assert [LookupDot(n, 3).total_bits for n in (1, 2, 8)] == [10, 11, 13]


def test_no_table_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^a lookup dot product needs at least one table, not 0$"):
        LookupDot(0)


class Tree(wiring.Component):
    """Sum of int8 numbers, each negated or not."""

    def __init__(self, count: int) -> None:
        super().__init__({"numbers": In(8).array(count), "negative": In(count), "total": Out(signed(16))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        terms = [
            Term(number.as_signed(), C(0, 1)).negated(negative)
            for number, negative in zip(self.numbers, self.negative, strict=True)
        ]
        total = add_terms(m, terms)
        m.d.comb += self.total.eq(total.value + total.carry)
        return m


@pytest.mark.parametrize("count", [2, 3, 7, 8])
def test_a_tree_adds_extreme_terms_and_their_negatives_exactly(count: int) -> None:
    random = np.random.default_rng(count)
    numbers = random.integers(-128, 128, (60, count))
    numbers[:20] = random.choice([-128, 127, 0, -1], (20, count))
    numbers[20:22] = [[-128], [127]]
    signs = random.integers(0, 2, (60, count))
    signs[20:22] = 1
    dut, found = Tree(count), []

    async def testbench(ctx: Any) -> None:
        for row, sign in zip(numbers.tolist(), signs, strict=True):
            for k, number in enumerate(row):
                ctx.set(dut.numbers[k], number & 0xFF)
            ctx.set(dut.negative, packed(sign, 1))
            await ctx.tick().repeat(levels(count) + 1)
            found.append(ctx.get(dut.total))

    simulate(dut, testbench)
    assert np.array_equal(found, (numbers * (1 - 2 * signs)).sum(axis=1))
