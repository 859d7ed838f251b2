"""Numbers out of weight beats."""

from typing import Any

import numpy as np
import pytest
from simulate import cycle, simulate
from tritforge.hdl.streams import Unpacker

Request = tuple[str, int]
"""What is asked for: "header", "int8" or "int16", and the number of elements."""


def run(beat_bits: int, requests: list[Request], *, seed: int, gaps: float) -> None:
    """Ask for all requests in turn and compare with what lies in the beats."""
    random = np.random.default_rng(seed)
    dut = Unpacker(beat_bits)
    size = beat_bits // 8
    beats: list[bytes] = []
    expected: list[list[int]] = []
    for kind, count in requests:
        width = {"header": 8, "int8": 1, "int16": 2}[kind]
        data = random.bytes(count * width)
        padded = data + random.bytes(-len(data) % size)
        beats += [padded[start : start + size] for start in range(0, len(padded), size)]
        expected.append(np.frombuffer(data, {8: "<u8", 1: "<i1", 2: "<i2"}[width]).tolist())

    async def testbench(ctx: Any) -> None:
        position, offered, cycles = 0, False, []
        for (kind, count), values in zip(requests, expected, strict=True):
            if kind != "header":
                ctx.set(dut.beats.valid, 0)
                offered = False
                await cycle(ctx, dut, start=1, count=count, bytes=kind == "int8", take_header=0)
            found: list[int] = []
            cycles = []
            for passed in range(100_000):
                offered = position < len(beats) and (offered or random.random() >= gaps)
                ctx.set(dut.beats.valid, offered)
                ctx.set(dut.beats.payload, int.from_bytes(beats[position], "little") if offered else 99)
                ctx.set(dut.elements.ready, ready := bool(random.random() >= gaps))
                ctx.set(dut.start, 0)
                ctx.set(dut.take_header, kind == "header")
                _, _, taken, valid, element, header_taken = await ctx.tick().sample(
                    dut.beats.ready, dut.elements.valid, dut.elements.payload, dut.header_taken
                )
                if taken and offered:
                    position, offered = position + 1, False
                if valid and ready:
                    assert kind != "header"
                    found.append(element - (element >> 15 << 16))
                    cycles.append(passed)
                if header_taken:
                    found.append(ctx.get(dut.header))
                if len(found) == count:
                    break
            assert found == values
            if kind != "header" and not gaps:
                # A beat is taken a cycle after `start`, and its first element comes in the next.
                assert cycles == list(range(1, 1 + count))
        assert position == len(beats)
        # Nothing is left: no element comes, and no beat is taken.
        _, _, valid, ready = await ctx.tick().sample(dut.elements.valid, dut.beats.ready)
        assert not valid
        assert not ready or requests[-1][0] == "header"

    simulate(dut, testbench)


REQUESTS = [
    ("int16", 4),
    ("int16", 1),
    ("int8", 8),
    ("int8", 1),
    ("header", 1),
    ("int16", 13),
    ("header", 1),
    ("header", 1),
    ("int8", 27),
    ("int16", 16),
    ("int8", 64),
    ("int8", 7),
    ("int16", 31),
]


@pytest.mark.parametrize("beat_bits", [64, 128])
def test_without_gaps_an_element_comes_every_cycle(beat_bits: int) -> None:
    run(beat_bits, REQUESTS, seed=0, gaps=0)


@pytest.mark.parametrize("beat_bits", [64, 192])
def test_gaps_on_either_side_change_no_element(beat_bits: int) -> None:
    run(beat_bits, REQUESTS * 2, seed=1, gaps=0.4)


@pytest.mark.parametrize("beat_bits", [0, -64, 96, 63])
def test_a_beat_that_is_no_multiple_of_64_bits_is_refused(beat_bits: int) -> None:
    with pytest.raises(ValueError, match=rf"^a beat must be a multiple of 64 bits wide, not {beat_bits}$"):
        Unpacker(beat_bits)
