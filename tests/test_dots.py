"""Whole dot products of every kind, and how the units below behave at their ports."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from simulate import simulate as run
from tritforge.hdl.dot_sums import PartialSums
from tritforge.hdl.dot_tree import TreeDot
from tritforge.hdl.dots import DOTS, FAMILIES, DotUnit, best_dot
from tritforge.models.trits import encode_prefix
from tritforge.sim import synthesis
from tritforge.sim.benches.dot import BENCHES, WatchedDotUnit
from tritforge.sim.benches.driver import simulate


@pytest.mark.parametrize("kind", ["lutram", "tree"])
def test_hundreds_of_products_one_behind_another(kind: str) -> None:
    (bench,) = [bench for bench in BENCHES if bench.name == f"dot_{kind}"]
    simulate(bench.make(), bench.long["hundreds_one_behind_another"])


@pytest.mark.parametrize("family", ["ice40", "ecp5", "xilinx"])
@pytest.mark.parametrize(
    ("kind", "tables", "case"),
    [
        ("lookup", 1, "odd_shapes"),
        ("lookup", 3, "extremes"),
        ("lutram", 5, "with_bubbles"),
        ("tree", 3, "odd_shapes"),
    ],
)
def test_units_for_every_family_give_the_same_sums(kind: str, tables: int, family: str, case: str) -> None:
    (bench,) = [bench for bench in BENCHES if bench.name == f"dot_{kind}"]
    simulate(replace(bench, arguments=(kind, tables, family)).make(), bench.cases[case])


def test_kinds_say_what_a_weight_costs_in_memory() -> None:
    bits = {name: (kind.code.bits, kind.code.trits) for name, kind in DOTS.items()}
    assert bits == {"lookup": (8, 5), "lutram": (5, 3), "tree": (8, 5)}


def test_a_fill_takes_as_many_cycles_as_a_table_has_entries() -> None:
    steps = {"lookup": 122, "lutram": 14, "tree": 5}
    assert {kind: DotUnit(kind, 2, "ice40", 9, 3).steps for kind in DOTS} == steps
    assert {kind: dot.code.steps for kind, dot in DOTS.items()} == steps


def test_lookup_in_block_ram_is_the_best_where_tables_take_at_most_half_of_it() -> None:
    for family, blocks in FAMILIES.items():
        assert best_dot(family, blocks // 2) == "lookup"
        assert best_dot(family, blocks // 2 + 1) == ("lutram" if family == "xilinx" else "tree")
    assert best_dot("ice40", 8) == best_dot("ecp5", 16) == best_dot("xilinx", 208) == "lookup"
    assert best_dot("ecp5", 208) == "tree"


def test_families_are_those_that_can_be_synthesised() -> None:
    assert tuple(FAMILIES) == synthesis.FAMILIES


def test_a_sum_is_as_wide_as_the_largest_vector_needs() -> None:
    # 8 blocks of 40 columns, times 128, are 40,960: 17 bits with the sign.
    assert len(DotUnit("lookup", 8, "ice40", 256, 8).sum) == 17
    assert len(DotUnit("tree", 8, "ice40", 256, 7).sum) == 17
    assert len(DotUnit("lookup", 8, "ice40", 256, 6).sum) == 16


def test_a_collision_is_seen() -> None:
    """What the benches watch can show one: a beat while its own bank is filled, a row too early."""
    unit = WatchedDotUnit("lookup", 1)
    seen = []

    async def testbench(ctx: Any) -> None:
        async def cycle(**inputs: int) -> int:
            for name, value in inputs.items():
                ctx.set(getattr(unit, name), value)
            _, _, collision = await ctx.tick().sample(unit.collision)
            return int(collision)

        await cycle(start=1, ends=1)
        await cycle(start=0)
        await ctx.tick().repeat(10)
        seen.append(await cycle(valid=1, bank=0))
        seen.append(await cycle(bank=1))
        await cycle(valid=0)
        await ctx.tick().repeat(200)
        for distance in (unit.inner.write_back - 1, unit.inner.write_back):
            found = await cycle(valid=1)
            found |= await cycle(valid=0)
            for _ in range(distance - 2):
                found |= await cycle()
            found |= await cycle(valid=1)
            await cycle(valid=0)
            for _ in range(9):
                found |= await cycle()
            seen.append(found)

    run(unit, testbench)
    assert seen == [1, 0, 1, 0]


def test_partial_sums_wait_for_late_and_early_dot_products() -> None:
    for dot_latency in (1, 2, 6):
        sums = PartialSums(4, 12, 14, dot_latency)
        assert sums.latency == max(2, dot_latency) + 1
        found: list[int] = []

        async def testbench(ctx: Any, sums: PartialSums = sums, found: list[int] = found) -> None:
            totals: list[int] = []
            for cycle in range(40):
                beat = cycle if cycle < 8 else None
                for name, value in (
                    ("valid", beat is not None),
                    ("first", beat is not None and beat < 4),
                    ("final", beat is not None and beat >= 4),
                    ("ends", beat in (3, 7)),
                ):
                    ctx.set(getattr(sums, name), int(value))
                late = cycle - sums._dot_latency
                total = [100, -200, 300, -2048, 1, 2, 3, -2048][late] if 0 <= late < 8 else 999
                ctx.set(sums.totals[0], total)
                ctx.set(sums.carries, late % 2 if 0 <= late < 8 else 0)
                _, _, valid, total = await ctx.tick().sample(sums.valid_sums, sums.sums[0])
                if valid:
                    totals.append(cycle)
                    found.append(total)
            assert totals == [4 + k + sums.latency for k in range(4)]

        run(sums, testbench)
        assert found == [101, -196, 303, -4094]


def test_activations_come_into_use_when_they_are_whole_and_their_bank_s_turn_has_come() -> None:
    dut = TreeDot(1)
    found = []

    async def testbench(ctx: Any) -> None:
        async def cycle(**inputs: int) -> None:
            for name, value in inputs.items():
                ctx.set(getattr(dut, name), value)
            _, _, total, carry = await ctx.tick().sample(dut.total, dut.carry)
            found.append(total + carry)

        async def load(bank: int, words: list[int]) -> None:
            for entry, word in enumerate(words):
                ctx.set(dut.values[0], word)
                await cycle(write=1, entry=entry, fill_bank=bank)
            await cycle(write=0)

        ctx.set(dut.codes.as_value(), int(encode_prefix(np.array([1, 1, 1, 1, -1]))))
        await load(0, [1, 2, 3, 4, 5])
        for words in ([9, 9, 9], [10, 20, 30, 40, 50]):  # the first time it is cut off
            await load(1, words)
        await ctx.tick().repeat(9)
        await cycle()
        await cycle(bank=1, fill_bank=0)
        await ctx.tick().repeat(9)
        await cycle()

    run(dut, testbench)
    assert found[-3] == found[-2] == 1 + 2 + 3 + 4 - 5
    assert found[-1] == 10 + 20 + 30 + 40 - 50


def test_no_byte_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^a dot product needs at least one byte of weights, not 0$"):
        TreeDot(0)
