"""Matrix products of other layouts than the cocotb bench's."""

from typing import Any

import numpy as np
import pytest
from simulate import Ints, simulate
from tritforge.hdl.matmul import MatMul
from tritforge.models.image import Layout
from tritforge.models.trits import TRITS_PER_BYTE, encode_trits


def beats(weights: Ints, layout: Layout) -> list[int]:
    """Row blocks, column blocks, rows; byte t holds the columns start + j * tables + t."""
    rows, columns = weights.shape
    padded = np.zeros((rows, layout.column_blocks(columns) * layout.lanes), np.int64)
    padded[:, :columns] = weights
    codes = encode_trits(padded.reshape(rows, -1, TRITS_PER_BYTE, layout.tables).swapaxes(2, 3))
    return [
        int.from_bytes(code.tobytes(), "little")
        for top in range(0, rows, layout.row_block)
        for block in codes[top : top + layout.row_block].swapaxes(0, 1)
        for code in block
    ]


def multiply(
    dut: MatMul, layout: Layout, words: int, weights: Ints, activations: Ints, late: int = 0
) -> tuple[list[int], list[int]]:
    """Sums, and the cycles in which beats were taken; there are none before the cycle `late`."""
    padded = np.zeros(words * layout.tables, np.int8)
    padded[: len(activations)] = activations
    memory = [int.from_bytes(word.tobytes(), "little") for word in padded.reshape(words, -1)]
    stream = beats(weights, layout)
    sums, taken = [], []

    async def testbench(ctx: Any) -> None:
        ctx.set(dut.rows, len(weights))
        ctx.set(dut.blocks, layout.column_blocks(weights.shape[1]))
        word = 0
        for cycle in range(20_000):
            ctx.set(dut.start, cycle == 0)
            ctx.set(dut.word.as_value(), word)
            offered = cycle >= late and len(taken) < len(stream)
            ctx.set(dut.beats.valid, offered)
            ctx.set(dut.beats.payload, stream[len(taken)] if len(taken) < len(stream) else 0)
            _, _, ready, address, valid, row, total, done = await ctx.tick().sample(
                dut.beats.ready, dut.word_address, dut.valid, dut.row, dut.sum, dut.done
            )
            word = memory[address]
            if ready and offered:
                taken.append(cycle)
            if valid:
                assert row == len(sums)
                if len(weights) <= layout.row_block:
                    assert cycle == taken[len(stream) - len(weights) + row] + dut.latency
                sums.append(total)
            if done:
                assert len(taken) == len(stream)
                return
        raise AssertionError("not done")

    simulate(dut, testbench)
    return sums, taken


@pytest.mark.parametrize(
    ("tables", "row_block", "rows", "columns"), [(16, 122, 123, 81), (24, 130, 5, 359), (8, 122, 245, 40)]
)
def test_sums_are_those_of_the_matrix_product(tables: int, row_block: int, rows: int, columns: int) -> None:
    random = np.random.default_rng(tables)
    layout = Layout(tables=tables, row_block=row_block)
    weights, activations = random.integers(-1, 2, (rows, columns)), random.integers(-128, 128, columns)
    words = TRITS_PER_BYTE * layout.column_blocks(columns)
    sums, _ = multiply(MatMul(layout, words), layout, words, weights, activations)
    assert sums == (weights @ activations).tolist()


def pauses(rows: int) -> int:
    """Cycles without a beat between the first one and the last, four column blocks, one row block."""
    layout = Layout(tables=8, row_block=rows + rows % 2)
    weights = np.ones((rows, 4 * layout.lanes), np.int64)
    words = 4 * TRITS_PER_BYTE
    _, taken = multiply(MatMul(layout, words), layout, words, weights, np.ones(4 * layout.lanes, np.int64))
    return taken[-1] - taken[0] + 1 - len(taken)


def test_blocks_of_125_rows_stream_without_a_pause_and_smaller_ones_wait_for_their_tables() -> None:
    assert pauses(125) == 0
    assert pauses(124) == 3 * 1
    assert pauses(122) == 3 * 3


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("tables", [8, 64])
def test_few_rows_add_up_even_if_all_tables_were_filled_before_the_first_beat(rows: int, tables: int) -> None:
    random = np.random.default_rng(rows)
    layout = Layout(tables=tables, row_block=122)
    columns = 4 * layout.lanes - 3
    weights, activations = random.integers(-1, 2, (rows, columns)), random.integers(-128, 128, columns)
    words = 4 * TRITS_PER_BYTE
    sums, _ = multiply(MatMul(layout, words), layout, words, weights, activations, late=400)
    assert sums == (weights @ activations).tolist()
