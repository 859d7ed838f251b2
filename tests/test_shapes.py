"""Models of random shapes on accelerators that are compiled once, bit for bit equal to the golden model."""

import tempfile
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from tritforge.hdl.config import AcceleratorConfig
from tritforge.models.checkpoint import Checkpoint
from tritforge.models.config import ModelConfig
from tritforge.models.image import Image, Layout, in_memory_image
from tritforge.models.quantise import quantise
from tritforge.models.software import GoldenEngine
from tritforge.models.synthesis import synthesise
from tritforge.sim.compare import compare
from tritforge.sim.engine import RtlEngine

pytestmark = pytest.mark.usefixtures("needs_compiler")

_HIDDEN, _INTERMEDIATE, _LAYERS, _VOCABULARY = 85, 125, 3, 700


def _accelerator(
    tables: int, row_block: int, dot: str, streams: int, family: str, vector_width: int
) -> AcceleratorConfig:
    layout, states = Layout(tables, row_block, dot), _HIDDEN * _LAYERS
    return AcceleratorConfig(
        "test", layout, _HIDDEN, _INTERMEDIATE, states, 256, 0, _VOCABULARY, streams, family, vector_width
    )


ACCELERATORS = [
    AcceleratorConfig.load("up5k"),
    # Row blocks of a few rows; vectors of several elements a cycle, also of a whole beat.
    _accelerator(8, 6, "tree", 2, "ice40", 4),
    _accelerator(8, 14, "lutram", 1, "ecp5", 2),
]

SHAPES = st.fixed_dictionaries(
    {
        "hidden_size": st.integers(1, _HIDDEN),
        "intermediate_size": st.integers(1, _INTERMEDIATE),
        "num_hidden_layers": st.integers(1, _LAYERS),
        "vocab_size": st.integers(1, _VOCABULARY),
        "use_lower_bound": st.booleans(),
    }
)
LARGEST = {
    "hidden_size": _HIDDEN,
    "intermediate_size": _INTERMEDIATE,
    "num_hidden_layers": _LAYERS,
    "vocab_size": _VOCABULARY,
}
SMALLEST = dict.fromkeys(LARGEST, 1)


@lru_cache(maxsize=8)
def _packed(shape: tuple[tuple[str, Any], ...], layout: Layout, seed: int) -> Image:
    with tempfile.TemporaryDirectory() as folder:
        synthesise(ModelConfig(**dict(shape)), folder, seed, "float32")
        return in_memory_image(quantise(Checkpoint(folder)), layout)


def packed(shape: dict[str, Any], config: AcceleratorConfig, seed: int) -> Image:
    # The board's memory does not hold the largest.
    assume(not config.misfits(ModelConfig(**shape)))
    return _packed(tuple(shape.items()), config.layout, seed)


def text(seed: int, length: int, vocabulary: int) -> list[int]:
    return [int(token) for token in np.random.default_rng(seed).integers(0, vocabulary, length)]


@pytest.mark.parametrize("config", ACCELERATORS, ids=lambda config: config.layout.dot)
@settings(max_examples=15)
@given(shape=SHAPES, seed=st.integers(0, 1000), stall_rate=st.sampled_from([0.0, 0.3]))
@example(shape=LARGEST, seed=0, stall_rate=0.0)
@example(shape=SMALLEST, seed=0, stall_rate=0.3)
def test_every_tensor_of_a_model_of_any_shape_is_golden_s(
    config: AcceleratorConfig, shape: dict[str, Any], seed: int, stall_rate: float
) -> None:
    image = packed(shape, config, seed)
    texts = [text(seed + k, 2 + k, shape["vocab_size"]) for k in range(config.streams)]
    found = compare(image, config, *texts, stall_rate=stall_rate)
    assert found.first_difference is None
    assert found.tokens == sum(map(len, texts))


@pytest.mark.parametrize("config", ACCELERATORS, ids=lambda config: config.layout.dot)
@settings(max_examples=10)
@given(shape=SHAPES, seed=st.integers(0, 1000))
def test_tokens_and_the_state_behind_them_are_golden_s_in_any_shape(
    config: AcceleratorConfig, shape: dict[str, Any], seed: int
) -> None:
    image = packed(shape, config, seed)
    engine, golden = RtlEngine(image, config), GoldenEngine(image)
    prompt = text(seed, 3, shape["vocab_size"])
    ours, theirs = (list(each.generate(prompt, 4, temperature=1.0, seed=seed)) for each in (engine, golden))
    assert ours == theirs
    assert np.array_equal(engine.state().h, golden.state().h)
    assert engine.saturations == golden.saturations
