"""The sequencer runs a program as its instructions say."""

from typing import Any

import numpy as np
import pytest
from simulate import cycle, simulate
from tritforge.hdl.isa import Epilogue, Instruction, Opcode
from tritforge.hdl.sequencer import Sequencer

BODY = [
    Instruction(Opcode.STATS, address=1000, count=7, beats=3, layered=True, product=True),
    Instruction(Opcode.PROJECT, address=1003, count=7, beats=4, layered=True, own_energy=True),
    Instruction(
        Opcode.MATMUL, address=1008, count=20, blocks=2, beats=40, layered=True, epilogue=Epilogue.GLU
    ),
    Instruction(Opcode.BOUND, address=1048, count=7, beats=2, layered=True),
]
TAIL = [
    Instruction(Opcode.PROJECT, address=2**31, count=9, beats=5, against_g=True),
    Instruction(Opcode.MATMUL, address=2**31 + 6, count=11, blocks=1, beats=11, epilogue=Epilogue.HEAD),
    Instruction(Opcode.END),
]
STRIDE, STATES = 50, 7


def program(layers: int) -> list[Instruction]:
    embed = Instruction(Opcode.EMBED, count=21, beats=6, epilogue=Epilogue.EMBED)
    layer = Instruction(Opcode.LAYER, address=layers, count=STATES, blocks=1, beats=STRIDE)
    return [embed, *BODY, layer, Instruction(Opcode.HEAD), *TAIL]


Event = tuple[Any, ...]


def expected(layers: int, token: int, logits: bool) -> list[Event]:
    """Requests (address, count) and dispatches (instruction, layer, first state) in order."""
    events: list[Event] = []

    def unit(instruction: Instruction, base: int, layer: int) -> None:
        start = base + instruction.address
        if instruction.opcode == Opcode.PROJECT:
            events.append(("request", start, instruction.beats + 1))
            start += 1
        events.append(("request", start, instruction.beats))
        events.append(("dispatch", instruction, layer))

    embed = program(layers)[0]
    events += [("request", token * 6, 6), ("dispatch", embed, 0)]
    for layer in range(layers):
        for instruction in BODY:
            unit(instruction, layer * STRIDE, layer)
    if logits:
        for instruction in TAIL[:-1]:
            unit(instruction, 0, layers)
    return events


async def load(ctx: Any, dut: Sequencer, instructions: list[Instruction]) -> None:
    words = [word for each in instructions for word in each.words()]
    for address, word in enumerate(words):
        await cycle(ctx, dut, program_write=1, program_address=address, program_word=word)
    await cycle(ctx, dut, program_write=0)


async def run(
    ctx: Any, dut: Sequencer, instructions: list[Instruction], token: int, logits: bool, gaps: float
) -> tuple[list[Event], list[int]]:
    """What happens from `start` to `done`, and the cycles of dispatches and of the end."""
    random = np.random.default_rng(token)
    events, cycles = [], []
    by_words = {tuple(each.words()): each for each in instructions}
    assert not ctx.get(dut.running)
    await cycle(ctx, dut, start=1, token=token, logits=logits)
    ctx.set(dut.start, 0)
    ctx.set(dut.token, 0x5555)
    working = -1
    for passed in range(1, 5000):
        ctx.set(dut.request.ready, ready := bool(random.random() >= gaps))
        ctx.set(dut.finished, working == 0)
        ctx.set(dut.token, token)
        working -= 1
        (
            _,
            _,
            valid,
            address,
            count,
            dispatch,
            done,
            running,
            instruction,
            layer,
            base,
        ) = await ctx.tick().sample(
            dut.request.valid,
            dut.request.payload.address,
            dut.request.payload.count,
            dut.dispatch,
            dut.done,
            dut.running,
            dut.instruction,
            dut.layer,
            dut.state_base,
        )
        assert running
        if valid and ready:
            events.append(("request", address, count))
        if dispatch:
            assert valid
            assert ready
            assert working < 0
            bits = instruction.as_bits()
            executed = by_words[tuple(bits >> (16 * k) & 0xFFFF for k in range(8))]
            if executed.layered:
                assert base == layer * STATES
            events.append(("dispatch", executed, layer))
            cycles.append(passed)
            working = int(random.integers(0, 5)) if gaps else 0
        if done:
            cycles.append(passed)
            break
    return events, cycles


@pytest.mark.parametrize("layers", [1, 2, 5])
def test_requests_and_dispatches_come_as_the_program_says(layers: int) -> None:
    instructions = program(layers)
    dut = Sequencer(256, 64)
    found = []
    tokens = [(0, True), (1, False), (0x9A3C, True), (0xFFFF, False), (2, True)]

    async def testbench(ctx: Any) -> None:
        await load(ctx, dut, instructions)
        for token, logits in tokens:
            found.append((await run(ctx, dut, instructions, token, logits, 0.4))[0])

    simulate(dut, testbench)
    for (token, logits), events in zip(tokens, found, strict=True):
        assert events == expected(layers, token, logits)


def test_an_instruction_costs_11_cycles_beside_its_unit_and_an_embedding_its_tokens_bits() -> None:
    instructions = program(1)
    dut = Sequencer(256, 64)
    costs = {}

    async def testbench(ctx: Any) -> None:
        await load(ctx, dut, instructions)
        for token in (0, 1, 0xFFFF):
            costs[token] = (await run(ctx, dut, instructions, token, False, 0.0))[1]

    simulate(dut, testbench)
    for token, cycles in costs.items():
        # From dispatch to dispatch: the unit ends in the cycle behind its own. A projection asks twice.
        assert cycles[0] == 11 + token.bit_length() + 1
        stats, project, matmul, bound = np.diff(cycles[:5])
        assert (stats, project, matmul, bound) == (12, 13, 12, 12)
