"""Programs for a model's shape."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritforge.hdl.compiler import Program, compile_program
from tritforge.hdl.config import AcceleratorConfig
from tritforge.hdl.isa import WORDS, Instruction, Opcode
from tritforge.models.config import ModelConfig
from tritforge.models.errors import TritforgeError
from tritforge.models.image import Layout, MemoryMap

ACCELERATOR = AcceleratorConfig(
    name="mine",
    layout=Layout(tables=8, row_block=128),
    hidden=512,
    intermediate=1024,
    states=4096,
    program_words=256,
)
MODEL = ModelConfig(hidden_size=21, num_hidden_layers=3, vocab_size=37, intermediate_size=26)

models = st.builds(
    ModelConfig,
    hidden_size=st.integers(1, 200),
    num_hidden_layers=st.integers(1, 4),
    vocab_size=st.integers(1, 300),
    intermediate_size=st.integers(1, 400),
    num_heads=st.just(1),
)
layouts = st.builds(Layout, tables=st.sampled_from([8, 16, 24]), row_block=st.sampled_from([122, 256]))


def executed(program: Program) -> list[tuple[Instruction, int]]:
    """The instructions that a token with logits runs through, each with what its address counts from."""
    at, base, layer = 0, 0, 0
    trace = []
    while True:
        instruction = program.instructions[at]
        at += 1
        if instruction.opcode == Opcode.END:
            return trace
        if instruction.opcode == Opcode.LAYER:
            base += instruction.beats
            layer += 1
            if layer != instruction.address:
                at = instruction.blocks
        elif instruction.opcode != Opcode.HEAD:
            trace.append((instruction, base if instruction.layered else 0))


@given(model=models, layout=layouts)
def test_a_token_reads_every_beat_behind_the_embedding_and_gains_twice(
    model: ModelConfig, layout: Layout
) -> None:
    places = MemoryMap(model, layout)
    reads: Counter[int] = Counter()
    for instruction, base in executed(compile_program(model, replace(ACCELERATOR, layout=layout))):
        start = base + instruction.address
        if instruction.opcode == Opcode.PROJECT:
            reads.update(range(start, start + 1 + instruction.beats))
            reads.update(range(start + 1, start + 1 + instruction.beats))
        elif instruction.opcode != Opcode.EMBED:
            reads.update(range(start, start + instruction.beats))
    expected: Counter[int] = Counter(range(places.layer_base, places.total))
    for spans, bases in (
        (places.layer, [places.layer_span(n).offset for n in range(model.num_hidden_layers)]),
        (places.head, [places.head_base]),
    ):
        for name, span in spans.items():
            if name.endswith(".gain"):
                for base in bases:
                    expected.update(range(base + span.offset, base + span.end))
    assert reads == expected


@given(model=models, layout=layouts)
def test_a_matrix_has_as_many_beats_as_rows_times_column_blocks(model: ModelConfig, layout: Layout) -> None:
    program = compile_program(model, replace(ACCELERATOR, layout=layout))
    matrices = [each for each in program.instructions if each.opcode == Opcode.MATMUL]
    assert [each.count for each in matrices[:-1]] == [
        *[model.hidden_size] * 4,
        2 * model.intermediate_size,
        model.hidden_size,
    ]
    assert matrices[-1].count == model.vocab_size
    assert all(each.beats == each.count * each.blocks for each in matrices)


def test_a_row_of_the_embedding_is_as_long_as_the_stride() -> None:
    embed = compile_program(MODEL, ACCELERATOR).instructions[0]
    assert (embed.opcode, embed.address, embed.count) == (Opcode.EMBED, 0, 21)
    assert embed.beats == MemoryMap(MODEL, ACCELERATOR.layout).embedding_stride


def test_words_are_those_of_the_instructions_and_the_program_knows_its_accelerator() -> None:
    program = compile_program(MODEL, ACCELERATOR)
    assert program.words() == [word for each in program.instructions for word in each.words()]
    assert program.accelerator == ACCELERATOR.digest()


def test_one_body_serves_any_number_of_layers() -> None:
    deep = replace(MODEL, num_hidden_layers=100)
    few, many = (compile_program(model, ACCELERATOR).instructions for model in (MODEL, deep))
    assert len(few) == len(many)


def test_a_model_that_does_not_fit_is_refused() -> None:
    with pytest.raises(
        TritforgeError, match=r"^the model does not fit the accelerator mine: hidden size 21 of at most 20$"
    ):
        compile_program(MODEL, replace(ACCELERATOR, hidden=20))


def test_a_program_that_does_not_fit_is_refused_with_the_numbers() -> None:
    words = WORDS * len(compile_program(MODEL, ACCELERATOR).instructions)
    compile_program(MODEL, replace(ACCELERATOR, program_words=words))
    sentence = f"^the program has {words} words; the accelerator mine holds {words - 1}$"
    with pytest.raises(TritforgeError, match=sentence):
        compile_program(MODEL, replace(ACCELERATOR, program_words=words - 1))
