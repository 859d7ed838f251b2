"""Int8 inputs made while the peak is still being found: what is told to be there is right, whatever comes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import ResetInserter, Signal
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st
from simulate import Ints
from tritforge.hdl.inputs import InputQuantiser
from tritforge.models.numerics import (
    LEVEL_MAX,
    VECTOR,
    align,
    normalise,
    product,
    quantise,
    reciprocal,
    running_levels,
    running_peak,
)

DEPTH, TABLES = 100, 8
WORDS = 15  # three column blocks of 40
BLOCK = 5 * TABLES
Random = np.random.Generator


@dataclass(frozen=True)
class Vector:
    """Elements and their gains, and what is known of them only one after another.

    Parameters
    ----------
    elements, gains
        VECTOR and WEIGHT, (n,).
    gaps
        Cycles before each product.
    until_measured
        Cycles from the last product's settling to `measured`.
    """

    elements: Ints
    gains: Ints
    gaps: tuple[int, ...] = ()
    until_measured: int = 1

    def __len__(self) -> int:
        return len(self.elements)

    @property
    def levels(self) -> Ints:
        return running_levels(self.elements)

    @property
    def products(self) -> Ints:
        return product(normalise(self.elements, self.levels), self.gains)

    @property
    def inputs(self) -> list[int]:
        """The int8 inputs that it must become."""
        factor, shift = reciprocal(running_peak(self.products, self.levels))
        return list(quantise(align(self.products, self.levels), factor, shift).tolist())

    def timeline(self, random: Random) -> list[dict[str, int]]:
        """What `Measure` says in each cycle from the one behind `clear`; the last lasts."""
        levels, products = self.levels.tolist(), self.products.tolist()
        schedule: list[int | None] = [None] * int(random.integers(1, 6))
        for k in range(len(self)):
            schedule += [*[None] * (self.gaps[k] if self.gaps else 0), k]
        level = peak = 0
        rows = []
        for k, settles in zip([*schedule, None], [None, *schedule], strict=True):
            row = {
                "product_valid": k is not None,
                "product": int(random.integers(-32767, 32768)) if k is None else products[k],
                "settled": settles is not None,
                "changed": False,
                "rise": int(random.integers(LEVEL_MAX + 1)),
                "level": level,
                "peak": peak,
                "measured": 0,
            }
            if settles is not None:
                rise, size = levels[settles] - level, abs(products[settles])
                row |= {"rise": rise, "changed": settles == 0 or rise > 0 or size > peak >> 4 * rise}
                level, peak = levels[settles], max(size, peak >> 4 * rise)
                row |= {"level": level, "peak": peak}
            rows.append({name: int(value) for name, value in row.items()})
        last = {**rows[-1], "product_valid": 0, "settled": 0, "changed": 0, "level": level, "peak": peak}
        rows += [last] * (self.until_measured - 1)
        return [*rows, {**last, "measured": 1}]


@dataclass
class Seen:
    """What one vector's run has shown, in cycles behind its `clear`."""

    voids: list[int] = field(default_factory=list)
    changes: list[int] = field(default_factory=list)
    writes: list[int] = field(default_factory=list)
    certain: int = -1
    complete: int = -1


class Quantising:
    """An input quantiser, an activation memory, and a watch over what is said about it."""

    def __init__(self, ctx: Any, dut: InputQuantiser, random: Random) -> None:
        self._ctx, self._dut, self._random = ctx, dut, random
        self._memory = random.integers(-128, 128, (2, WORDS * TABLES))
        self._names = (
            "q_write", "q_word", "q_lane", "q", "blocks", "complete", "certain", "void", "current_slot",
        )  # fmt: skip

    async def cycle(self, **inputs: int) -> dict[str, int]:
        for name, value in inputs.items():
            self._ctx.set(getattr(self._dut, name), value)
        _, _, *values = await self._ctx.tick().sample(*(getattr(self._dut, name) for name in self._names))
        return dict(zip(self._names, (int(value) for value in values), strict=True))

    async def use(self, vector: Vector, slot: int) -> Seen:
        """Pass a vector; its `clear` comes in the cycle in which the one before is complete."""
        # What the one before has left, `measured` too, stays in this cycle.
        await self.cycle(clear=1, count=len(vector), slot=slot)
        self._ctx.set(self._dut.clear, 0)
        self._ctx.set(self._dut.count, int(self._random.integers(DEPTH)))
        self._ctx.set(self._dut.slot, int(self._random.integers(2)))
        seen, timeline, expected = Seen(), vector.timeline(self._random), vector.inputs
        other = self._memory[1 - slot].copy()
        mine = self._memory[slot]
        promised = 0  # elements said to be there since the last void
        changed = False
        for passed in range(1, 3000):
            row = timeline[min(passed, len(timeline)) - 1]
            out = await self.cycle(**row)
            assert out["current_slot"] == slot
            if changed or (passed == 1):
                assert out["void"], "a new peak must make all void in the next cycle"
            changed = bool(row["changed"])
            if changed:
                seen.changes.append(passed)
            if out["void"]:
                assert not out["certain"]
                assert not out["complete"]
                assert seen.certain < 0
                seen.voids.append(passed)
                promised = 0
            else:
                promised = max(promised, BLOCK * out["blocks"])
                if out["certain"] and seen.certain < 0:
                    seen.certain = passed
                assert bool(out["certain"]) == bool(row["measured"])
            if out["certain"]:
                # From here on what is there stays: it must be right.
                assert mine[:promised].tolist() == expected[:promised]
            if out["complete"]:
                assert mine[: len(vector)].tolist() == expected
                seen.complete = passed
                break
            if out["q_write"]:
                seen.writes.append(passed)
                place = out["q_word"] * TABLES + out["q_lane"]
                if seen.certain >= 0:
                    assert place >= promised
                mine[place] = out["q"]
        assert seen.complete > 0, "not complete"
        assert (self._memory[1 - slot] == other).all()
        for _ in range(int(self._random.integers(3))):
            assert (await self.cycle())["complete"]  # for as long as nothing new begins
        return seen


def quantise_all(vectors: Sequence[Vector], seed: int = 0) -> list[Seen]:
    """Pass vectors, one behind another, into slots in turn."""
    dut = InputQuantiser(DEPTH, TABLES, WORDS)
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    found = []

    async def testbench(ctx: Any) -> None:
        unit = Quantising(ctx, dut, np.random.default_rng(seed))
        for k, vector in enumerate(vectors):
            found.append(await unit.use(vector, k % 2))

    simulator.add_testbench(testbench)
    simulator.run()
    return found


def flat(*products: int, **when: Any) -> Vector:
    """A vector with these products, of up to 14 bits, all at level 0."""
    elements = np.array([2 * value for value in products], np.int64)
    return Vector(elements, np.full(len(products), 1 << 14), **when)


def draw(random: Random, count: int, bubbles: float = 0.0) -> Vector:
    """Elements of any sizes, rising, falling or mixed, so that levels and peaks change in any order."""
    bits = random.integers(1, random.integers(2, VECTOR.bits + 1), count)
    order = random.integers(3)
    bits = np.sort(bits) if order == 0 else np.sort(bits)[::-1] if order == 1 else bits
    elements = random.integers(VECTOR.low, VECTOR.high + 1, count) >> (VECTOR.bits - bits)
    gaps = tuple((random.geometric(1 - bubbles, count) - 1).tolist()) if bubbles else ()
    return Vector(elements, random.integers(-32767, 32768, count), gaps, int(random.integers(1, 12)))


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), counts=st.lists(st.integers(1, DEPTH), min_size=1, max_size=4))
def test_inputs_are_those_of_numerics(seed: int, counts: list[int]) -> None:
    random = np.random.default_rng(seed)
    quantise_all([draw(random, count, random.choice([0.0, 0.5, 0.9])) for count in counts], seed)


@pytest.mark.parametrize("bubbles", [0.0, 0.5])
def test_hundreds_of_vectors_follow_each_other(bubbles: float) -> None:
    random = np.random.default_rng(int(10 * bubbles))
    quantise_all([draw(random, int(random.integers(1, 12)), bubbles) for _ in range(300)])


@pytest.mark.parametrize(
    "products",
    [
        list(range(1, 61)),  # each a new peak
        list(range(60, 0, -1)),
        [5] * 60,
        [-5, *[5] * 40],
        [*[3] * 59, 4],
        [0] * 60,
        [*[0] * 59, -1],
        [16383, -16383, 1, -1, 0, 8191, -8192],
    ],
)
def test_peaks_in_any_order_are_right(products: list[int]) -> None:
    for gap in (0, 1, 25):
        quantise_all([flat(*products, gaps=(gap,) * len(products))])


def test_single_elements_become_their_peak() -> None:
    vectors = [flat(value) for value in (1, -1, 16383, -16383, 0, 7)]
    assert [vector.inputs for vector in vectors] == [[127], [-127], [127], [-127], [0], [127]]
    quantise_all(vectors)


def test_a_new_peak_may_come_at_any_distance_from_the_one_before() -> None:
    # So that division, first inputs and later ones are cut off in each of their cycles.
    quantise_all([flat(100, 200, 50, gaps=(0, gap, 0)) for gap in range(75)])


@pytest.mark.parametrize("rise", range(1, LEVEL_MAX + 1))
def test_levels_rise_anywhere(rise: int) -> None:
    vectors = []
    for before in range(LEVEL_MAX + 1 - rise):
        small, large = 2 ** (14 + 4 * before), 2 ** (14 + 4 * (before + rise))
        for place in (0, 1, 39, 40, 41, 59):
            elements = np.full(60, small)
            elements[place:] = -large
            elements[place + 1 :: 2] = small // 3
            vectors.append(Vector(elements, np.full(60, 32767)))
            vectors.append(Vector(elements, np.full(60, 32767), gaps=(*[0] * place, 90, *[0] * (59 - place))))
    quantise_all(vectors)


def test_all_levels_begin_one_element_after_another_and_all_at_one() -> None:
    steps = np.array([2 ** (14 + 4 * level) for level in range(LEVEL_MAX + 1)])
    for elements in (steps, -steps, np.repeat(steps, 10), np.array([1, steps[-1], 1]), steps[[0, -1, 0, -1]]):
        for gap in (0, 3, 40):
            gains = np.full(len(elements), 32767)
            quantise_all([Vector(elements, gains, gaps=(gap,) * len(elements))] * 2)


def test_a_level_may_rise_without_a_new_peak() -> None:
    # The large element's product is 0: its level alone makes all before it void.
    elements = np.array([20_000] * 50 + [VECTOR.high] + [20_000] * 9)
    gains = np.full(60, 32767)
    gains[50] = 0
    (seen,) = quantise_all([Vector(elements, gains, gaps=(*[0] * 50, 80, *[0] * 9))])
    assert len(seen.changes) == 2


def test_with_the_largest_first_nothing_is_made_twice_and_blocks_are_there_early() -> None:
    count = 80
    (seen,) = quantise_all([flat(1000, *range(count - 1), gaps=(0, *[2] * (count - 1)), until_measured=60)])
    assert len(seen.changes) == 1
    assert len(seen.writes) == count
    assert seen.writes[-1] < seen.certain


def test_the_last_product_s_inputs_are_there_a_division_and_the_vector_s_length_later() -> None:
    for count in (1, 40, 100):
        (seen,) = quantise_all([flat(*range(1, count + 1))])
        last = seen.changes[-1]
        assert seen.writes[-count] - last <= InputQuantiser.latency
        assert seen.writes[-count:] == list(range(seen.writes[-count], seen.writes[-count] + count))
        assert seen.complete - seen.writes[-1] <= 2


def test_after_a_reset_in_the_middle_the_next_vector_is_right() -> None:
    dut, reset = InputQuantiser(DEPTH, TABLES, WORDS), Signal()
    simulator = Simulator(ResetInserter(reset)(dut))
    simulator.add_clock(1e-6)
    random = np.random.default_rng(8)

    async def testbench(ctx: Any) -> None:
        for cut in (1, 2, 5, 20, 27, 45, 70):
            unit = Quantising(ctx, dut, random)
            await unit.cycle(clear=1, count=60, slot=1, measured=0)
            ctx.set(dut.clear, 0)
            for row in draw(random, 60).timeline(random)[:cut]:
                await unit.cycle(**row)
            ctx.set(reset, 1)
            await unit.cycle(product_valid=0, settled=0, changed=0)
            ctx.set(reset, 0)
            await unit.use(draw(random, 30), 0)

    simulator.add_testbench(testbench)
    simulator.run()
