"""Bench of the ternary dot product: `hdl.matmul.MatMul` with lookup tables, their filler and partial sums.

The expected sums are numpy's integer matrix product of weights and activations. In every product, each sum
must leave exactly `latency` cycles after its row's last beat was taken, in the order of rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import cocotb
import numpy as np
from numpy.typing import NDArray

from ...hdl.matmul import MatMul
from ...models.image import Layout
from ...models.trits import TRITS_PER_BYTE, encode_trits
from .clocking import begin, next_cycle, reset, settled

__all__ = ["design"]

_LAYOUT = Layout(tables=8, row_block=128)
_LANES = _LAYOUT.lanes
_BLOCKS = 3
_COLUMNS = _BLOCKS * _LANES
_INPUTS = ("start", "rows", "blocks", "one_by_one", "taken", "hold", "beats__valid", "beats__payload", "word")
_PATIENCE = 20_000

_Ints = NDArray[np.int64]
_Random = np.random.Generator


def design() -> MatMul:
    """The unit under test: 40 lanes, 128 rows a block, up to 120 columns."""
    return MatMul(_LAYOUT, TRITS_PER_BYTE * _BLOCKS)


_LATENCY = design().latency


def _padded(columns: int) -> int:
    return -(-columns // _LANES) * _LANES


def _beats(weights: _Ints) -> Iterator[tuple[int, bool]]:
    """Beats in the order of `models.image`, and whether they belong to a last column block.

    Row block by row block, column block by column block, row by row; byte t of a beat holds the trits of the
    columns start + j * tables + t.
    """
    rows, columns = weights.shape
    for top in range(0, rows, _LAYOUT.row_block):
        for start in range(0, columns, _LANES):
            part = np.zeros((min(_LAYOUT.row_block, rows - top), _LANES), np.int64)
            piece = weights[top : top + _LAYOUT.row_block, start : start + _LANES]
            part[:, : piece.shape[1]] = piece
            codes = encode_trits(part.reshape(-1, TRITS_PER_BYTE, _LAYOUT.tables).transpose(0, 2, 1))
            for beat in codes:
                yield int.from_bytes(beat.tobytes(), "little"), start + _LANES >= columns


def _words(activations: _Ints) -> list[int]:
    """Activation memory: word 5 b + j holds the columns (5 b + j) * tables + t in its bytes t."""
    padded = np.zeros(_COLUMNS, np.int8)
    padded[: len(activations)] = activations
    return [int.from_bytes(word.tobytes(), "little") for word in padded.reshape(-1, _LAYOUT.tables)]


@dataclass
class _Trace:
    """What was seen of a product, in cycles since its start."""

    beats: list[int] = field(default_factory=list)
    last_beats: list[int] = field(default_factory=list)
    sums: list[tuple[int, int, int]] = field(default_factory=list)
    """Cycle, row, sum."""
    filling: int = 0


async def _multiply(
    dut: Any,
    weights: _Ints,
    activations: _Ints,
    random: _Random | None = None,
    *,
    bubbles: float = 0.0,
    holds: float = 0.0,
    one_by_one: bool = False,
    cycles: int = _PATIENCE,
) -> _Trace:
    """Start a product in the next cycle and drive it until it is done, or for a number of cycles.

    Parameters
    ----------
    bubbles, holds
        How likely a cycle has no new beat, and `hold` high.
    one_by_one
        Sums are acknowledged, after up to 7 cycles.
    """
    random = random or np.random.default_rng(0)
    beats, words = list(_beats(weights)), _words(activations)
    trace = _Trace()
    offered, address, owed, acknowledge = False, 0, 0, -1
    for cycle in range(cycles):
        await next_cycle(dut)
        position = len(trace.beats)
        offered = position < len(beats) and (offered or random.random() >= bubbles)
        hold = random.random() < holds
        taken = cycle == acknowledge
        dut.start.value = int(cycle == 0)
        dut.rows.value = len(weights)
        dut.blocks.value = _padded(weights.shape[1]) // _LANES
        dut.one_by_one.value = int(one_by_one)
        dut.taken.value = int(taken)
        dut.hold.value = int(hold)
        dut.beats__valid.value = int(offered)
        # Without a valid beat the payload means nothing, and must do nothing.
        dut.beats__payload.value = beats[position][0] if offered else int(random.integers(1 << 63))
        dut.word.value = words[address]
        await settled()
        address = int(dut.word_address.value)
        trace.filling += int(dut.filling.value)
        owed -= taken
        if offered and dut.beats__ready.value:
            trace.beats.append(cycle)
            offered = False
            if beats[position][1]:
                assert not hold, f"cycle {cycle}: a beat of the last column block was taken in spite of hold"
                trace.last_beats.append(cycle)
                owed += 1
                assert not one_by_one or owed == 1, f"cycle {cycle}: {owed} sums are not acknowledged"
        if dut.valid.value:
            trace.sums.append((cycle, int(dut.row.value), dut.sum.value.to_signed()))
            acknowledge = cycle + 1 + int(random.integers(7))
        if dut.done.value:
            return trace
    assert cycles < _PATIENCE, (
        f"not done after {cycles} cycles, {len(trace.beats)} of {len(beats)} beats taken"
    )
    return trace


async def _check(dut: Any, weights: _Ints, activations: _Ints, *args: Any, **options: Any) -> _Trace:
    """Multiply, and compare all rows, sums and cycles."""
    trace = await _multiply(dut, weights, activations, *args, **options)
    expected = weights @ activations
    found = np.array(trace.sums, np.int64).reshape(-1, 3)
    assert found[:, 1].tolist() == list(range(len(weights)))
    wrong = np.flatnonzero(found[:, 2] != expected)
    assert not wrong.size, f"row {wrong[0]}: expected {expected[wrong[0]]}, got {found[wrong[0], 2]}"
    assert found[:, 0].tolist() == [cycle + _LATENCY for cycle in trace.last_beats]
    return trace


def _random_product(random: _Random, rows: int, columns: int) -> tuple[_Ints, _Ints]:
    return random.integers(-1, 2, (rows, columns)), random.integers(-128, 128, columns)


@cocotb.test()
async def sums_of_odd_shapes(dut: Any) -> None:
    """One row and several row blocks, columns that are no multiple of the lanes."""
    await begin(dut, _INPUTS)
    random = np.random.default_rng(1)
    for rows, columns in ((1, 1), (1, 120), (2, 5), (3, 41), (127, 39), (128, 40), (129, 41), (300, 97)):
        await _check(dut, *_random_product(random, rows, columns))


@cocotb.test()
async def zeros(dut: Any) -> None:
    """All weights zero, then all activations zero."""
    await begin(dut, _INPUTS)
    weights, activations = _random_product(np.random.default_rng(2), 5, 77)
    await _check(dut, np.zeros_like(weights), activations)
    await _check(dut, weights, np.zeros_like(activations))


@cocotb.test()
async def extremes(dut: Any) -> None:
    """Largest activations times weights that are all +1, all -1 or alternate."""
    await begin(dut, _INPUTS)
    sign = 1 - 2 * (np.arange(_COLUMNS) % 2)
    weights = np.stack([np.ones(_COLUMNS, np.int64), -np.ones(_COLUMNS, np.int64), sign, -sign])
    for activations in (np.full(_COLUMNS, -128), np.full(_COLUMNS, 127), np.where(sign > 0, 127, -128)):
        await _check(dut, weights, activations)


@cocotb.test()
async def rows_stream_without_a_bubble(dut: Any) -> None:
    """Full row blocks: 1,152 beats in 1,152 cycles, once the first tables are filled."""
    await begin(dut, _INPUTS)
    trace = await _check(dut, *_random_product(np.random.default_rng(3), 3 * _LAYOUT.row_block, _COLUMNS))
    first = trace.beats[0]
    assert trace.beats == list(range(first, first + 3 * _LAYOUT.row_block * _BLOCKS))
    assert trace.filling == first - 1


@cocotb.test()
async def bubbles_change_nothing(dut: Any) -> None:
    """Random gaps in the stream of beats, rare and frequent."""
    await begin(dut, _INPUTS)
    random = np.random.default_rng(4)
    for bubbles in (0.1, 0.5, 0.9):
        await _check(dut, *_random_product(random, 130, 83), random, bubbles=bubbles)


@cocotb.test()
async def hundreds_of_products_back_to_back(dut: Any) -> None:
    """A product starts in the cycle behind the last one's end; every other one has bubbles."""
    await begin(dut, _INPUTS)
    random = np.random.default_rng(5)
    for product in range(200):
        rows, columns = int(random.integers(1, 9)), int(random.integers(1, _LANES + 1))
        await _check(dut, *_random_product(random, rows, columns), random, bubbles=0.5 * (product % 2))


@cocotb.test()
async def hold_stops_the_last_column_block_alone(dut: Any) -> None:
    """While hold is high every beat but those of the last column block is taken."""
    await begin(dut, _INPUTS)
    random = np.random.default_rng(6)
    product = _random_product(random, 100, _COLUMNS)
    held = await _multiply(dut, *product, holds=1.0, cycles=700)
    assert len(held.beats) == 100 * (_BLOCKS - 1)
    assert not held.sums
    await reset(dut, _INPUTS)
    await _check(dut, *product, random, bubbles=0.2, holds=0.5)


@cocotb.test()
async def one_by_one_waits_for_each_sum(dut: Any) -> None:
    """No beat of a last column block before the sum ahead of it was acknowledged."""
    await begin(dut, _INPUTS)
    random = np.random.default_rng(7)
    await _check(dut, *_random_product(random, 140, 50), random, one_by_one=True)
    await _check(dut, *_random_product(random, 20, 120), random, one_by_one=True, bubbles=0.3, holds=0.3)


@cocotb.test()
async def reset_in_the_middle_leaves_no_trace(dut: Any) -> None:
    """Reset while tables are filled, while rows stream and while the last sums leave."""
    await begin(dut, _INPUTS)
    random = np.random.default_rng(8)
    for cycles in (1, 60, 125, 140, 250, 270, 271, 272, 400):
        await _multiply(dut, *_random_product(random, 140, 70), cycles=cycles)
        await reset(dut, _INPUTS)
        await _check(dut, *_random_product(random, 3, 70))
