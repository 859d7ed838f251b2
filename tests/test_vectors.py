"""The vector unit's control: elements meet their weights, and its ends come when all has been measured."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulate import cycle, simulate
from tritforge.hdl.config import AcceleratorConfig
from tritforge.hdl.isa import Instruction, Opcode
from tritforge.hdl.measure import Measure
from tritforge.hdl.vectors import VectorControl
from tritforge.models.image import Layout

HEADERS = (Opcode.PROJECT, Opcode.SCALE)


def config_of(streams: int = 1) -> AcceleratorConfig:
    return AcceleratorConfig("test", Layout(8, 122), 64, 64, 64, 256, streams=streams)


@dataclass
class Seen:
    """What one instruction has shown: cycles behind its start, or what was there then."""

    headers: list[int] = field(default_factory=list)
    unpacks: list[tuple[int, int]] = field(default_factory=list)
    clears: list[tuple[int, bool, bool]] = field(default_factory=list)
    read: list[tuple[int, int]] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)
    valid: list[int] = field(default_factory=list)
    popped: list[int] = field(default_factory=list)
    bounds: list[tuple[int, int]] = field(default_factory=list)
    measured: list[int] = field(default_factory=list)
    scales: list[int] = field(default_factory=list)
    held: set[tuple[bool, bool]] = field(default_factory=set)
    end: int = 0


def run(
    instructions: list[Instruction],
    seed: int = 0,
    rate: float = 1.0,
    scanning: bool = False,
    streams: int = 1,
) -> list[Seen]:
    """Run instructions one behind another; headers, weights and elements come at the `rate`."""
    random = np.random.default_rng(seed)
    dut = VectorControl(config_of(streams))
    names = (
        "idle", "take_header", "unpack", "count", "reserve", "pop", "running", "reading", "address", "valid",
        "clear", "projecting", "own_energy", "product", "against_g", "bound_write", "bound_row", "measured",
        "scale",
    )  # fmt: skip
    found = []

    async def testbench(ctx: Any) -> None:
        for instruction in instructions:
            seen = Seen()
            bits = sum(word << (16 * k) for k, word in enumerate(instruction.words()))
            noise = int(random.integers(1 << 62))
            left = instruction.count if instruction.running and not scanning else 0
            assert ctx.get(dut.idle)
            for passed in range(5000):
                ctx.set(dut.instruction.as_value(), noise if passed else bits)
                ctx.set(dut.scanning, scanning if passed == 0 else int(random.integers(2)))
                available = random.random() < rate
                ctx.set(dut.available, available)
                ctx.set(dut.header_taken, bool(ctx.get(dut.take_header)) and random.random() < rate)
                produced = bool(ctx.get(dut.running)) and left > 0 and random.random() < rate
                values = await cycle(ctx, dut, names, start=passed == 0, produced=produced)
                out = dict(zip(names, values, strict=True))
                if passed and out["idle"]:
                    seen.end = passed
                    break
                note(seen, passed, out, produced, available)
                left -= produced
                if passed == 0:
                    ctx.set(dut.start, 0)
            assert left == 0
            found.append(seen)

    def note(seen: Seen, passed: int, out: dict[str, int], produced: bool, available: bool) -> None:
        if out["take_header"]:
            seen.headers.append(passed)
        if out["unpack"]:
            seen.unpacks.append((passed, out["count"]))
        if out["clear"]:
            seen.clears.append((passed, bool(out["projecting"]), bool(out["own_energy"])))
        if out["reserve"]:
            assert available
            assert out["reading"]
            seen.read.append((passed, out["address"]))
        if produced:
            seen.taken.append(passed)
        for name, cycles in (("valid", seen.valid), ("pop", seen.popped), ("measured", seen.measured)):
            if out[name]:
                cycles.append(passed)
        if out["bound_write"]:
            seen.bounds.append((passed, out["bound_row"]))
        if out["scale"]:
            seen.scales.append(passed)
        if passed and not out["idle"]:
            seen.held.add((bool(out["product"]), bool(out["against_g"])))
        assert not (out["running"] and out["reading"])

    simulate(dut, testbench)
    return found


def check(instruction: Instruction, seen: Seen, scanned: bool, lag: int = 0) -> None:
    """Compare what an instruction has shown with what it says."""
    opcode, count = instruction.opcode, instruction.count
    produced = opcode == Opcode.PROJECT and instruction.running and not scanned
    assert bool(seen.headers) == (opcode in HEADERS)
    assert len(seen.scales) == (opcode in (Opcode.ENERGY, Opcode.SCALE) or instruction.scale)
    if opcode == Opcode.SCALE:
        assert seen.unpacks == seen.clears == seen.popped == []
        return
    ((unpacked, wanted),) = seen.unpacks
    assert wanted == count
    if seen.headers:
        assert unpacked == seen.headers[-1] + 1
    if opcode == Opcode.BOUND:
        assert seen.clears == []
    else:
        ((cleared, projecting, own),) = seen.clears
        assert cleared == unpacked
        assert projecting == (opcode == Opcode.PROJECT)
        assert own == instruction.own_energy
    # An element and its weight: popped with the element, so that the weight comes a cycle later.
    if produced:
        assert seen.read == []
        assert seen.popped == seen.taken
        last = seen.taken[-1]
    else:
        assert [address for _, address in seen.read] == list(range(count))
        assert seen.popped == [passed + 1 for passed, _ in seen.read]
        assert seen.valid == (seen.popped if opcode != Opcode.BOUND else [])
        last = seen.popped[-1]
    assert len(seen.popped) == count
    expected = [(passed + 1, row) for row, passed in enumerate(seen.popped)] if opcode == Opcode.BOUND else []
    assert seen.bounds == expected
    assert seen.end - last > Measure.latency + lag
    if opcode == Opcode.PROJECT:
        # Low from the cycle behind the start until the last product has settled.
        assert [passed for passed in seen.measured if passed] == []
    if seen.scales:
        assert seen.scales[0] - last >= Measure.latency + lag


instructions = st.builds(
    Instruction,
    opcode=st.sampled_from([Opcode.PROJECT, Opcode.PROJECT, Opcode.SCALE, Opcode.ENERGY, Opcode.BOUND]),
    count=st.integers(1, 40),
    running=st.booleans(),
    scale=st.booleans(),
    product=st.booleans(),
    own_energy=st.booleans(),
    against_g=st.booleans(),
)


def sound(instruction: Instruction) -> Instruction:
    """Flags only where they mean something."""
    fields = vars(instruction)
    project, energy = instruction.opcode == Opcode.PROJECT, instruction.opcode == Opcode.ENERGY
    return Instruction(
        **{
            **fields,
            "running": fields["running"] and project,
            "scale": fields["scale"] and project,
            "own_energy": fields["own_energy"] and project,
            "product": fields["product"] and energy,
            "against_g": fields["against_g"] and energy,
        }
    )


@settings(max_examples=40)
@given(
    program=st.lists(instructions.map(sound), min_size=1, max_size=6),
    seed=st.integers(0, 2**32 - 1),
    rate=st.sampled_from([1.0, 0.7, 0.2]),
    scanning=st.booleans(),
)
def test_elements_and_weights_meet_whatever_is_late(
    program: list[Instruction], seed: int, rate: float, scanning: bool
) -> None:
    found = run(program, seed, rate, scanning)
    against = False
    for instruction, seen in zip(program, found, strict=True):
        check(instruction, seen, scanning)
        if instruction.opcode != Opcode.BOUND:
            against = instruction.against_g
        # Held for the scale, whose computation a BOUND may overtake.
        assert seen.held == {(instruction.product, against)}


@pytest.mark.parametrize("rate", [1.0, 0.6])
def test_hundreds_of_passes_follow_each_other(rate: float) -> None:
    random = np.random.default_rng(1)
    kinds = random.choice([Opcode.PROJECT, Opcode.ENERGY, Opcode.BOUND, Opcode.SCALE], 300).tolist()
    program = [
        sound(Instruction(Opcode(kind), count=int(random.integers(1, 9)), running=bool(random.integers(2))))
        for kind in kinds
    ]
    for instruction, seen in zip(program, run(program, 2, rate), strict=True):
        check(instruction, seen, False)


def test_a_pass_takes_an_element_a_cycle() -> None:
    project, energy = run([Instruction(Opcode.PROJECT, count=64), Instruction(Opcode.ENERGY, count=64)])
    for seen, header in ((project, 1), (energy, 0)):
        first = 2 + header  # a cycle to begin, one for a header
        assert [passed for passed, _ in seen.read] == list(range(first, first + 64))
        # The last element is here a cycle after its address.
        assert seen.end == first + 64 + Measure.latency + 2


def test_a_projection_of_streams_that_lag_waits_for_the_last_of_them() -> None:
    running = Instruction(Opcode.PROJECT, count=5, running=True, scale=True)
    for streams in (1, 2, 4):
        (seen,) = run([running], streams=streams)
        check(running, seen, False, config_of(streams).lag)


def test_a_projection_is_measured_until_the_next_begins() -> None:
    dut = VectorControl(config_of())
    measured = []

    async def testbench(ctx: Any) -> None:
        for opcode in (Opcode.PROJECT, Opcode.ENERGY, Opcode.BOUND):
            for name in ("available", "header_taken"):
                ctx.set(getattr(dut, name), 1)
            bits = Instruction(opcode, count=3).words()
            ctx.set(dut.instruction.as_value(), sum(word << (16 * k) for k, word in enumerate(bits)))
            seen = await cycle(ctx, dut, ("measured",), start=1)
            for _ in range(40):
                seen += await cycle(ctx, dut, ("measured",), start=0)
            measured.append(seen)

    simulate(dut, testbench)
    project, energy, bound = measured
    assert (project[0], project[1], project[-1]) == (1, 0, 1)
    assert sum(a != b for a, b in pairwise(project)) == 2
    assert set(energy) == set(bound) == {1}
