"""Lookup tables and their adder tree."""

from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import memory, wiring
from amaranth.lib.data import ArrayLayout
from amaranth.lib.wiring import In, Out
from numpy.typing import NDArray
from simulate import Ints, simulate
from tritforge.hdl.dot import LookupDot, TableFiller
from tritforge.models.trits import ENTRIES, TRITS_PER_BYTE, encode_trits, trit_table

BLOCKS = 3


def packed(values: Ints) -> int:
    return int.from_bytes(values.astype(np.uint8).tobytes(), "little")


async def fill(
    ctx: Any, filler: TableFiller, activations: Ints, block: int
) -> list[tuple[int, int, list[int]]]:
    """Cycle since `start`, entry and values of every write; `activations` is (blocks, 5, tables)."""
    words = [packed(word) for word in activations.reshape(-1, activations.shape[2]).astype(np.int8)]
    ctx.set(filler.block, block)
    word, writes = 0, []
    for cycle in range(200):
        ctx.set(filler.start, cycle == 0)
        ctx.set(filler.word.as_value(), word)
        _, _, address, entry, values, write, done = await ctx.tick().sample(
            filler.word_address, filler.entry, filler.values, filler.write, filler.done
        )
        word = words[address]
        if write:
            writes.append((cycle, entry, [values[t] for t in range(activations.shape[2])]))
        if done:
            return writes
    raise AssertionError("not done")


@pytest.mark.parametrize("tables", [1, 3, 8])
def test_tables_are_filled_with_the_sums_of_all_codes_in_122_cycles(tables: int) -> None:
    random = np.random.default_rng(tables)
    activations = random.integers(-128, 128, (BLOCKS, TRITS_PER_BYTE, tables))
    activations[0, :, 0] = -128
    dut = TableFiller(tables, BLOCKS * TRITS_PER_BYTE)
    fills = {}

    async def testbench(ctx: Any) -> None:
        for block in (0, 2, 1):
            fills[block] = await fill(ctx, dut, activations, block)

    simulate(dut, testbench)
    for block, writes in fills.items():
        cycles, entries, values = zip(*writes, strict=True)
        assert entries == tuple(range(ENTRIES))
        assert cycles == tuple(range(3, 125))
        assert np.array_equal(np.array(values), trit_table().astype(np.int64) @ activations[block])


@pytest.mark.parametrize("tables", [1, 2, 3, 5, 8, 13])
def test_sums_of_random_and_extreme_codes_and_activations(tables: int) -> None:
    random = np.random.default_rng(tables)
    unit = LookupDot(tables)
    activations = random.integers(-128, 128, (2, TRITS_PER_BYTE, tables))
    activations[1] = np.where(np.arange(tables) % 2, 127, -128)
    trits: NDArray[np.int64] = random.integers(-1, 2, (300, tables, TRITS_PER_BYTE))
    trits[:4] = np.array([1, -1, 0, 1])[:, None, None]
    banks = random.integers(0, 2, 300)
    found = []

    async def testbench(ctx: Any) -> None:
        ctx.set(unit.write, 1)
        for bank in (0, 1):
            ctx.set(unit.fill_bank, bank)
            for entry, row in enumerate(trit_table().astype(np.int64) @ activations[bank]):
                ctx.set(unit.entry, entry)
                for t, value in enumerate(row.tolist()):
                    ctx.set(unit.values[t], value)
                await ctx.tick()
        ctx.set(unit.write, 0)
        codes = encode_trits(trits)
        for k in range(300 + unit.latency):
            if k < 300:
                ctx.set(unit.codes.as_value(), packed(codes[k]))
                ctx.set(unit.bank, int(banks[k]))
            _, _, total, carry = await ctx.tick().sample(unit.total, unit.carry)
            found.append(total + carry)

    simulate(unit, testbench)
    expected = np.einsum("ktj,kjt->k", trits, activations[banks])
    assert np.array_equal(found[unit.latency :], expected)


def test_no_table_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^a lookup dot product needs at least one table, not 0$"):
        LookupDot(0)


def test_one_bank_is_read_while_the_other_is_filled() -> None:
    tables = 2
    random = np.random.default_rng(0)
    activations = random.integers(-128, 128, (2, TRITS_PER_BYTE, tables))

    class Both(wiring.Component):
        """Filler and tables, with the activation memory between."""

        start: In(1)
        block: In(1)
        bank: In(1)
        codes: In(ArrayLayout(8, tables))
        sum: Out(20)
        done: Out(1)

        def elaborate(self, platform: object) -> Module:
            m = Module()
            m.submodules.filler = filler = TableFiller(tables, 2 * TRITS_PER_BYTE)
            m.submodules.dot = dot = LookupDot(tables)
            words = [packed(word) for word in activations.reshape(-1, tables).astype(np.int8)]
            m.submodules.words = words_memory = memory.Memory(shape=16, depth=len(words), init=words)
            read = words_memory.read_port()
            m.d.comb += [
                read.addr.eq(filler.word_address),
                filler.word.eq(read.data),
                filler.start.eq(self.start),
                filler.block.eq(self.block),
                self.done.eq(filler.done),
                dot.fill_bank.eq(self.block),
                dot.entry.eq(filler.entry),
                dot.values.eq(filler.values),
                dot.write.eq(filler.write),
                dot.bank.eq(self.bank),
                dot.codes.eq(self.codes),
                self.sum.eq(dot.total + dot.carry),
            ]
            return m

    dut = Both()
    latency = 2  # of two tables
    wrong = []

    async def testbench(ctx: Any) -> None:
        for block in (0, 1, 0):
            ctx.set(dut.block, block)
            ctx.set(dut.bank, 1 - block)
            expected: list[int] = []
            for cycle in range(200):
                ctx.set(dut.start, cycle == 0)
                trits = random.integers(-1, 2, (tables, TRITS_PER_BYTE))
                ctx.set(dut.codes.as_value(), packed(encode_trits(trits)))
                expected.append(int(np.einsum("tj,jt->", trits, activations[1 - block])))
                _, _, total, done = await ctx.tick().sample(dut.sum, dut.done)
                filled_before = filled[1 - block]
                if cycle >= latency and filled_before:
                    want = expected[cycle - latency]
                    wrong.append((total - want) % (1 << 20))
                if done:
                    filled[block] = True
                    break

    filled = [False, False]
    simulate(dut, testbench)
    assert len(wrong) > 200
    assert not any(wrong)
