"""Where cycles go: every one has a cause."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tritforge.hdl.accelerator import CAUSES
from tritforge.hdl.config import AcceleratorConfig
from tritforge.models.checkpoint import Checkpoint
from tritforge.models.image import Image, MemoryMap, in_memory_image
from tritforge.models.quantise import quantise
from tritforge.sim.engine import RtlEngine
from tritforge.sim.profile import profile

UP5K = AcceleratorConfig.load("up5k")
LAYERS = 3


@pytest.fixture
def image(make_model: Callable[..., Path], needs_compiler: None) -> Image:
    directory = make_model(
        hidden_size=67, intermediate_size=101, num_hidden_layers=LAYERS, vocab_size=33
    )
    return in_memory_image(quantise(Checkpoint(directory)), UP5K.layout)


def matrix_beats(image: Image) -> int:
    """Weight beats of all matrices, which a token takes once."""
    places = MemoryMap(image.config, UP5K.layout)
    parts = [*[places.layer] * LAYERS, places.head]
    return sum(span.beats for part in parts for name, span in part.items() if name.endswith(".matrix"))


def test_the_causes_cycles_are_the_token_s(image: Image) -> None:
    engine = RtlEngine(image, UP5K)
    causes = profile(engine, [1], 5)
    assert tuple(causes) == CAUSES
    # The engine reads its counter when it sees a result, a cycle or two before that is taken.
    assert sum(causes.values()) == pytest.approx(engine.cycles_per_token, abs=1)


def test_a_token_is_fed_each_beat_of_the_matrices_once(image: Image) -> None:
    assert profile(RtlEngine(image, UP5K), [1], 4)["fed"] == matrix_beats(image)


def test_the_prompt_is_not_counted(image: Image) -> None:
    engine = RtlEngine(image, UP5K)
    long = profile(engine, [1, 2, 3, 4, 5, 6, 7, 8], 3)
    assert long["fed"] == matrix_beats(image)
    engine.reset()
    assert engine.state().position == 0
    short = profile(engine, [8], 3)
    assert sum(long.values()) == pytest.approx(sum(short.values()), rel=0.05)


def test_a_slow_memory_is_waited_for(image: Image) -> None:
    ready, slow = (profile(RtlEngine(image, UP5K, stall_rate=rate), [1], 3) for rate in (0.0, 0.5))
    assert ready["memory"] == 0
    # At half the beats, about one cycle without a beat for each with one.
    assert 0.5 * slow["fed"] < slow["memory"] < 1.2 * slow["fed"]
    assert slow["fed"] == ready["fed"]
