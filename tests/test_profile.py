"""Where cycles go: every one is somebody's."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tritforge.hdl.config import AcceleratorConfig
from tritforge.models.checkpoint import Checkpoint
from tritforge.models.errors import TritforgeError
from tritforge.models.image import Image, in_memory_image
from tritforge.models.quantise import quantise
from tritforge.sim.engine import RtlEngine
from tritforge.sim.profile import Step, profile
from tritforge.sim.tools import compiler

UP5K = AcceleratorConfig.load("up5k")
D, WIDE, LAYERS, V = 67, 101, 3, 33


@pytest.fixture
def image(make_model: Callable[..., Path]) -> Image:
    try:
        compiler()
    except TritforgeError as error:
        pytest.skip(f"no C++ compiler: {error}")
    directory = make_model(hidden_size=D, intermediate_size=WIDE, num_hidden_layers=LAYERS, vocab_size=V)
    return in_memory_image(quantise(Checkpoint(directory)), UP5K.layout)


def of(steps: list[Step], opcode: str, operand: str) -> Step:
    (found,) = [step for step in steps if (step.opcode, step.operand) == (opcode, operand)]
    return found


def test_the_instructions_cycles_are_the_token_s(image: Image) -> None:
    engine = RtlEngine(image, UP5K)
    list(engine.generate([1], 1))
    # The embedding's row is found a bit of the token at a time, and the second token may have more bits.
    assert sum(step.cycles for step in profile(image, UP5K, 1)) == pytest.approx(engine.cycles, abs=8)


def test_layers_run_their_body_and_head_and_embedding_run_once(image: Image) -> None:
    steps = profile(image, UP5K, 1)
    assert [step.operand for step in steps if step.opcode == "MATMUL"] == [
        "i", "f", "g", "o", "gate_up", "down", "head",
    ]  # fmt: skip
    assert {step.operand: step.runs for step in steps if step.runs != LAYERS} == {
        "embedding": 1, "norm": 1, "head": 1,
    }  # fmt: skip


def test_a_matrix_is_read_once_and_a_gain_twice(image: Image) -> None:
    steps = profile(image, UP5K, 1)
    # 67 columns are two column blocks of 40, 101 are three; eight bytes a beat.
    assert of(steps, "MATMUL", "i").beats == LAYERS * D * 2
    assert of(steps, "MATMUL", "gate_up").beats == LAYERS * 2 * WIDE * 2
    assert of(steps, "MATMUL", "down").beats == LAYERS * D * 3
    assert of(steps, "MATMUL", "head").beats == V * 2
    gain = -(-2 * WIDE // 8)
    assert of(steps, "PROJECT", "down").beats == LAYERS * (1 + 2 * gain)
    assert of(steps, "EMBED", "embedding").beats == 1 + -(-D // 8)
