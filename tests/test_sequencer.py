"""The sequencer runs a program as its instructions say."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from simulate import cycle, simulate
from tritforge.hdl.config import AcceleratorConfig
from tritforge.hdl.isa import WORDS, Epilogue, Instruction, Opcode
from tritforge.hdl.sequencer import Sequencer
from tritforge.models.image import Layout

STRIDE, STATES = 50, 7
FIRST = Instruction(Opcode.PROJECT, address=990, count=7, beats=4, layered=True, running=True)
EMBED = Instruction(Opcode.EMBED, count=21, beats=6)
BODY = [
    Instruction(
        Opcode.MATMUL, address=1008, count=20, blocks=2, beats=40, layered=True, epilogue=Epilogue.GLU
    ),
    Instruction(Opcode.ENERGY, address=1000, count=7, beats=3, layered=True, product=True),
    Instruction(Opcode.BOUND, address=1048, count=7, beats=2, layered=True),
    Instruction(Opcode.SCALE, address=1050, beats=1, layered=True),
    Instruction(Opcode.PROJECT, address=1003, count=7, beats=4, layered=True, own_energy=True, slot=1),
]
HEAD = [
    Instruction(Opcode.PROJECT, address=2**31, count=9, beats=5, against_g=True),
    Instruction(Opcode.MATMUL, address=2**31 + 6, count=11, blocks=1, beats=11, epilogue=Epilogue.HEAD),
]


def config_of(streams: int = 1) -> AcceleratorConfig:
    return AcceleratorConfig("test", Layout(8, 122), 64, 64, 64, 256, streams=streams)


def program(layers: int, embed_first: bool = False) -> list[Instruction]:
    layer = Instruction(Opcode.LAYER, address=layers, count=STATES, beats=STRIDE)
    begin = [EMBED, FIRST] if embed_first else [FIRST, EMBED]
    return [*begin, *BODY, layer, Instruction(Opcode.HEAD), *HEAD, Instruction(Opcode.END)]


@dataclass(frozen=True)
class Token:
    """A token of each stream, or None, and whether logits are wanted; `late` cycles after the one before."""

    tokens: tuple[int | None, ...]
    logits: bool = False
    late: int = 0


Event = tuple[Any, ...]


def expected(layers: int, step: Token, instructions: list[Instruction]) -> list[Event]:
    """Units started: which, instruction, its beats, and layer and first state."""
    events: list[Event] = []
    for layer in range(layers):
        for each in instructions[: instructions.index(BODY[-1]) + 1]:
            if each != EMBED:
                unit = "matrix" if each.opcode == Opcode.MATMUL else "vector"
                events.append((unit, each, layer * STRIDE + each.address, each.beats, layer, layer * STATES))
            elif layer == 0:
                for stream, token in enumerate(step.tokens):
                    if token is not None:
                        events.append(("embed", each, token * 6, 6, stream))
    if step.logits:
        for each in HEAD:
            unit = "matrix" if each.opcode == Opcode.MATMUL else "vector"
            events.append((unit, each, each.address, each.beats, layers, layers * STATES))
    return events


async def load(ctx: Any, dut: Sequencer, instructions: list[Instruction]) -> None:
    words = [word for each in instructions for word in each.words()]
    for address, word in enumerate(words):
        await cycle(ctx, dut, program_write=1, program_address=address, program_word=word)
    await cycle(ctx, dut, program_write=0)


@dataclass
class Record:
    """Units started and the cycles of it, cycles of `start` and of `done`."""

    events: list[Event]
    cycles: list[int]
    starts: list[int]
    ends: list[int]


def run(instructions: list[Instruction], steps: list[Token], gaps: float = 0.0) -> Record:
    """Run steps; with the share `gaps` units, memory and what is to be drained keep the sequencer waiting."""
    dut = Sequencer(config_of(len(steps[0].tokens)))
    record = Record([], [], [], [])
    by_words = {tuple(each.words()): each for each in instructions}
    units = ("embed", "vector", "matrix")
    names = [
        "done", "running", "layer", "state_base", "embed_stream", *units,
        "matrix_request.valid", "vector_request.valid",
    ]  # fmt: skip

    def port(path: str) -> Any:
        found: Any = dut
        for name in path.split("."):
            found = getattr(found, name)
        return found

    ports = [
        *(port(name) for name in names),
        *(getattr(port(f"{channel}_request").payload, field) for channel in ("matrix", "vector")
          for field in ("address", "count")),
        dut.instruction.as_value(),
    ]  # fmt: skip
    random = np.random.default_rng(len(steps))

    async def testbench(ctx: Any) -> None:
        await load(ctx, dut, instructions)
        left, running, ended = list(steps), False, 0
        for passed in range(60_000):
            ready = {
                name: bool(random.random() >= gaps)
                for name in (*(f"{unit}_ready" for unit in units), "drained", "matrix", "vector")
            }
            for name in ("embed_ready", "vector_ready", "matrix_ready", "drained"):
                ctx.set(getattr(dut, name), ready[name])
            ctx.set(dut.matrix_request.ready, ready["matrix"])
            ctx.set(dut.vector_request.ready, ready["vector"])
            start = bool(left) and not running and passed >= ended + left[0].late
            ctx.set(dut.start, start)
            if start:
                step = left.pop(0)
                record.starts.append(passed)
                ctx.set(dut.logits, step.logits)
                ctx.set(dut.active, sum(1 << k for k, token in enumerate(step.tokens) if token is not None))
                for k, token in enumerate(step.tokens):
                    ctx.set(dut.token[k], 0x5A5A if token is None else token)
            _, _, *values = await ctx.tick().sample(*ports)
            out = dict(zip(names, (int(value) for value in values), strict=False))
            requests = dict(zip(("matrix", "vector"), (values[-5:-3], values[-3:-1]), strict=True))
            assert out["running"] == running
            begun = [unit for unit in units if out[unit]]
            for channel in ("matrix", "vector"):
                asked = out[f"{channel}_request.valid"] and ready[channel]
                assert asked == any((unit == "matrix") == (channel == "matrix") for unit in begun)
            for unit in begun:
                assert ready[f"{unit}_ready"]
                bits = int(values[-1])
                executed = by_words[tuple(bits >> (16 * k) & 0xFFFF for k in range(WORDS))]
                asked = [int(value) for value in requests["matrix" if unit == "matrix" else "vector"]]
                of = (out["embed_stream"],) if unit == "embed" else (out["layer"], out["state_base"])
                record.events.append((unit, executed, *asked, *of))
                record.cycles.append(passed)
                assert unit != "embed" or running
            running = running or start
            if out["done"]:
                assert ready["drained"]
                record.ends.append(passed)
                running, ended = False, passed + 1
                if not left:
                    return
        raise AssertionError("not done")

    simulate(dut, testbench)
    return record


@pytest.mark.parametrize("layers", [1, 2, 5])
@pytest.mark.parametrize("gaps", [0.0, 0.5])
def test_units_start_with_their_beats_as_the_program_says(layers: int, gaps: float) -> None:
    instructions = program(layers)
    steps = [
        Token((token,), logits, late)
        for token, logits, late in (
            (0, True, 0), (1, False, 0), (0x9A3C, True, 300), (0xFFFF, False, 1), (2, True, 40)
        )
    ]  # fmt: skip
    record = run(instructions, steps, gaps)
    assert record.events == [event for step in steps for event in expected(layers, step, instructions)]


def test_many_tokens_pass_one_after_another() -> None:
    instructions = program(2)
    steps = [Token((37 * k,), k % 3 == 0) for k in range(100)]
    record = run(instructions, steps)
    assert record.events == [event for step in steps for event in expected(2, step, instructions)]


@pytest.mark.parametrize("streams", [2, 3])
def test_the_embeddings_of_all_active_streams_come_one_after_another(streams: int) -> None:
    instructions = program(2, embed_first=True)
    random = np.random.default_rng(streams)
    steps = [Token(tuple(range(1, streams + 1)))]
    for _ in range(8):
        tokens = random.integers(0, 1 << 16, streams).tolist()
        active = random.random(streams) < 0.6
        active[random.integers(streams)] = True
        steps.append(Token(tuple(t if a else None for t, a in zip(tokens, active, strict=True))))
    record = run(instructions, steps, 0.3)
    assert record.events == [event for step in steps for event in expected(2, step, instructions)]


def test_what_comes_before_the_embedding_starts_without_waiting_for_the_token() -> None:
    instructions = program(1)
    record = run(instructions, [Token((3,)), Token((4,), late=200)])
    begun = zip(record.events, record.cycles, strict=True)
    first = [passed for (_, each, *_), passed in begun if each == FIRST]
    assert first[0] > record.starts[0]  # the program begins with the first token
    assert record.ends[0] < first[1] < record.ends[0] + 20 < record.starts[1]


def test_an_instruction_costs_11_cycles_and_an_embedding_its_tokens_bits() -> None:
    for token in (0, 1, 0xFFFF):
        record = run(program(1), [Token((token,))])
        project, embed, *body = record.cycles
        # 9 to fetch, one to decode, one to start; then the token, and its product with the row's beats.
        assert embed - project == 11 + 1 + token.bit_length() + 1
        # A cycle to look for the next stream's token.
        assert [b - a for a, b in zip([embed + 1, *body], body, strict=False)] == [11] * len(BODY)
