"""The UP5K's weight memory: two readers get their beats in order, whatever the other does."""

from typing import Any

import numpy as np
import pytest
from simulate import cycle, simulate
from tritforge.hdl.boards.spram import SpramMemory


@pytest.mark.parametrize("rate", [0.2, 0.7, 1.0])
def test_both_readers_get_the_beats_that_they_asked_for(rate: float) -> None:
    random = np.random.default_rng(int(10 * rate))
    words = random.integers(0, 1 << 16, (64, 4))
    beats = [sum(int(word) << (16 * k) for k, word in enumerate(row)) for row in words]
    dut = SpramMemory(20, simulated=True)
    channels = {"": (dut.request, dut.beats), "vector_": (dut.vector_request, dut.vector_beats)}
    runs = {}
    for name in channels:
        starts = random.integers(0, 63, 40).tolist()
        runs[name] = [(start, int(random.integers(1, min(20, 64 - start) + 1))) for start in starts]
    wanted = {
        name: [beats[start + k] for start, count in each for k in range(count)] for name, each in runs.items()
    }
    found: dict[str, list[int]] = {name: [] for name in channels}
    passed = 0

    async def testbench(ctx: Any) -> None:
        nonlocal passed
        for address, word in enumerate(words.ravel().tolist()):
            await cycle(ctx, dut, write=1, write_address=address, write_word=word)
        await cycle(ctx, dut, write=0)
        left = {name: list(each) for name, each in runs.items()}
        while any(len(found[name]) < len(wanted[name]) for name in channels):
            for name, (request, taken) in channels.items():
                ctx.set(request.valid, bool(left[name]))
                if left[name]:
                    ctx.set(request.payload.address, left[name][0][0])
                    ctx.set(request.payload.count, left[name][0][1])
                ctx.set(taken.ready, bool(random.random() < rate))
            # No more than a hint, and here often a wrong one.
            ctx.set(dut.vector_soon, bool(random.random() < rate))
            ports = [
                port
                for request, taken in channels.values()
                for port in (request.ready, taken.valid, taken.ready, taken.payload)
            ]
            _, _, *values = await ctx.tick().sample(*ports)
            for k, name in enumerate(channels):
                asked, valid, taking, payload = (int(value) for value in values[4 * k : 4 * k + 4])
                if asked and left[name]:
                    left[name].pop(0)
                if valid and taking:
                    found[name].append(payload)
            passed += 1
            assert passed < 20_000, "a reader waits for ever"

    simulate(dut, testbench)
    assert found == wanted
    if rate == 1.0:  # a vector's beat in every fourth cycle, matrices' in the others
        assert passed < 4 * len(wanted["vector_"]) + 100
