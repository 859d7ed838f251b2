"""Programs for a model's shape."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritforge.hdl.compiler import Program, compile_program
from tritforge.hdl.config import AcceleratorConfig
from tritforge.hdl.isa import WORDS, Epilogue, Instruction, Opcode
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
def test_a_token_reads_every_beat_behind_the_embedding_once(model: ModelConfig, layout: Layout) -> None:
    places = MemoryMap(model, layout)
    reads: Counter[int] = Counter()
    for instruction, base in executed(compile_program(model, replace(ACCELERATOR, layout=layout))):
        if instruction.opcode != Opcode.EMBED:
            start = base + instruction.address
            reads.update(range(start, start + instruction.beats))
    assert reads == Counter(range(places.layer_base, places.total))


def units(program: Program) -> list[Instruction]:
    """What a token with logits runs through, in order."""
    return [instruction for instruction, _ in executed(program)]


@given(model=models, streams=st.integers(1, 4))
def test_every_product_has_inputs_made_for_it_and_one_scale(model: ModelConfig, streams: int) -> None:
    inputs: Instruction | None = None
    scales = products = 0
    for each in units(compile_program(model, replace(ACCELERATOR, streams=streams))):
        if each.opcode == Opcode.PROJECT:
            # Peak, energy and header of the projection before have been used.
            assert scales == products
            assert inputs is None or inputs.slot != each.slot
            inputs = each
        if each.opcode == Opcode.MATMUL:
            assert inputs is not None
            assert inputs.slot == each.slot
            assert each.blocks == ACCELERATOR.layout.column_blocks(inputs.count)
            products += 1
        scales += each.scale or each.opcode in (Opcode.ENERGY, Opcode.SCALE)
    assert scales == products == 6 * model.num_hidden_layers + 1


def test_elements_that_a_product_makes_are_taken_by_the_next_projection() -> None:
    program = units(compile_program(MODEL, ACCELERATOR))
    makes = (Epilogue.MLGRU, Epilogue.GLU, Epilogue.RESIDUAL)
    behind = {
        index: next((each for each in program[index + 1 :] if each.opcode == Opcode.PROJECT), None)
        for index, each in enumerate(program)
        if each.opcode == Opcode.MATMUL and each.epilogue in makes
    }
    assert len(behind) == 4 * MODEL.num_hidden_layers
    for index, projection in behind.items():
        assert projection is not None
        assert projection.running
        # Gate and up make one element of two rows.
        halves = 2 if program[index].epilogue == Epilogue.GLU else 1
        assert projection.count * halves == program[index].count
    running = [each for each in program if each.opcode == Opcode.PROJECT and each.running]
    assert len(running) == len(behind) + 1  # and the first, which takes the embedding


def test_one_text_s_embedding_is_taken_as_it_comes_and_those_of_several_from_memory() -> None:
    project, embed = units(compile_program(MODEL, ACCELERATOR))[:2]
    assert (project.opcode, embed.opcode) == (Opcode.PROJECT, Opcode.EMBED)
    assert project.running
    assert not project.embedded
    embed, project = units(compile_program(MODEL, replace(ACCELERATOR, streams=2)))[:2]
    assert (project.opcode, embed.opcode) == (Opcode.PROJECT, Opcode.EMBED)
    assert project.running
    assert project.embedded


def test_norms_are_measured_where_the_model_has_them() -> None:
    program = units(compile_program(MODEL, ACCELERATOR))[: -3]  # without the head
    layers = MODEL.num_hidden_layers
    energies = [each for each in program if each.opcode == Opcode.ENERGY]
    assert [(each.product, each.against_g) for each in energies] == [
        (False, False), (True, True), (False, False),
    ] * layers  # fmt: skip
    own = [each for each in program if each.own_energy]
    assert [(each.opcode, each.count) for each in own] == [(Opcode.PROJECT, 26)] * layers
    bounds = [index for index, each in enumerate(program) if each.opcode == Opcode.BOUND]
    gates = [index for index, each in enumerate(program) if each.epilogue == Epilogue.GATE]
    assert len(bounds) == len(gates) == layers
    # Bounds lie in the buffer of f before its rows come, and after those of the layer before have been used.
    recurrences = [-1, *(index for index, each in enumerate(program) if each.epilogue == Epilogue.MLGRU)]
    assert all(a < b < c for a, b, c in zip(recurrences[:-1], bounds, gates, strict=True))


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
    program = compile_program(MODEL, ACCELERATOR).instructions
    (embed,) = [each for each in program if each.opcode == Opcode.EMBED]
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
