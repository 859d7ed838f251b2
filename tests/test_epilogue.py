"""Epilogues alone, in Amaranth's simulator: GLU, residual, embedding, and which clamped values count."""

from typing import Any

import numpy as np
from simulate import Ints, corners_and_random, simulate
from tritforge.hdl.activation import Activation
from tritforge.hdl.epilogue import Epilogue
from tritforge.hdl.isa import Epilogue as Mode
from tritforge.models.numerics import ACT, VECTOR, Saturations, glu, silu

Writes = list[tuple[int, int, int]]
"""Cycles behind the row's number in the stream, row and value."""


def run(
    mode: Mode, values: Ints, x: Ints | None = None, clamped: Ints | None = None, gaps: float = 0.0
) -> tuple[Writes, Writes, int]:
    """Pass rows; return what was written to x and to the product memory, and the saturations."""
    random = np.random.default_rng(0)
    dut = Epilogue(64, 64)
    slots: list[int | None] = []
    for row in range(len(values)):
        while random.random() < gaps:
            slots.append(None)
        slots.append(row)
    slots += [None] * dut.latency
    written: dict[str, Writes] = {"x": [], "product": []}
    total = 0

    async def testbench(ctx: Any) -> None:
        nonlocal total
        ctx.set(dut.mode, mode)
        ctx.set(dut.busy, 1)
        ctx.set(dut.early_row, slots[0] or 0)
        await ctx.tick()
        address = slots[0] or 0
        for cycle, row in enumerate(slots):
            upcoming = slots[cycle + 1] if cycle + 1 < len(slots) else None
            early = int(random.integers(len(values))) if upcoming is None else upcoming
            ctx.set(dut.early_row, early)
            ctx.set(dut.x_element, int(x[address]) if x is not None else 0)
            address = early
            ctx.set(dut.valid, row is not None)
            ctx.set(dut.row, 0 if row is None else row)
            ctx.set(dut.value, VECTOR.high if row is None else int(values[row]))
            ctx.set(dut.clamped, 3 if row is None else int(clamped[row]) if clamped is not None else 0)
            _, _, *seen = await ctx.tick().sample(
                dut.x_write,
                dut.x_row,
                dut.x_value,
                dut.product_write,
                dut.product_row,
                dut.product,
                dut.saturations,
                dut.i_write,
                dut.f_write,
                dut.h_write,
            )
            if seen[0]:
                written["x"].append((cycle - slots.index(seen[1]), seen[1], seen[2]))
            if seen[3]:
                written["product"].append((cycle - slots.index(2 * seen[4] + 1), seen[4], seen[5]))
            total += seen[6]
            assert not any(seen[7:])

    simulate(dut, testbench)
    return written["x"], written["product"], total


def test_gate_and_up_rows_make_products() -> None:
    random = np.random.default_rng(1)
    for gaps in (0.0, 0.5):
        values = corners_and_random(random, ACT.low, ACT.high, 60)
        x, products, _ = run(Mode.GLU, values, gaps=gaps)
        assert x == []
        latencies, rows, found = zip(*products, strict=True)
        assert set(latencies) == {Activation.latency + 1}
        assert max(latencies) <= Epilogue.latency
        assert rows == tuple(range(30))
        assert list(found) == glu(silu(values[0::2]), values[1::2]).tolist()


def test_a_row_is_added_to_x_and_clamped() -> None:
    random = np.random.default_rng(2)
    values, before = (corners_and_random(random, VECTOR.low, VECTOR.high, 60) for _ in range(2))
    for gaps in (0.0, 0.5):
        saturations = Saturations()
        x, products, counted = run(Mode.RESIDUAL, values, before, gaps=gaps)
        assert products == []
        expected = saturations.clamp(before + values, VECTOR)
        assert x == [(1, row, value) for row, value in enumerate(expected.tolist())]
        assert counted == saturations.count > 0


def test_an_embedding_replaces_x() -> None:
    random = np.random.default_rng(3)
    values, before = (corners_and_random(random, VECTOR.low, VECTOR.high, 60) for _ in range(2))
    x, products, counted = run(Mode.EMBED, values, before)
    assert products == []
    assert x == [(1, row, value) for row, value in enumerate(values.tolist())]
    assert counted == 0


def test_clamps_count_but_for_logits_which_the_head_counts() -> None:
    values, clamped = np.zeros(40, np.int64), np.random.default_rng(4).integers(0, 4, 40)
    for mode, expected in ((Mode.GLU, int(np.bitwise_count(clamped).sum())), (Mode.HEAD, 0)):
        x, _, counted = run(mode, values, clamped=clamped, gaps=0.3)
        assert x == []
        assert counted == expected
    assert run(Mode.HEAD, values)[:2] == ([], [])
