"""The preset of about 1,000 lanes: every tensor that leaves its units is golden's."""

import tempfile
from typing import Any

import pytest
from tritforge.hdl.config import AcceleratorConfig
from tritforge.models.checkpoint import Checkpoint
from tritforge.models.config import ModelConfig
from tritforge.models.image import Image, in_memory_image
from tritforge.models.quantise import quantise
from tritforge.models.synthesis import synthesise
from tritforge.sim.compare import compare
from tritforge.sim.simspeed import benchmark_task

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("needs_compiler")]

LARGE = AcceleratorConfig.load("large")
ODD = {"hidden_size": 1051, "intermediate_size": 2083, "num_hidden_layers": 1, "vocab_size": 521}


def odd() -> Image:
    """A layer that is a little wider than the lanes, so that the last block of a row is nearly empty."""
    with tempfile.TemporaryDirectory() as folder:
        shape: dict[str, Any] = ODD
        synthesise(ModelConfig(**shape), folder, 3, "float32")
        return in_memory_image(quantise(Checkpoint(folder)), LARGE.layout)


@pytest.mark.parametrize("stall_rate", [0.0, 0.2])
def test_every_tensor_of_a_model_that_fills_the_lanes_is_golden_s(stall_rate: float) -> None:
    image = benchmark_task("large").image
    assert image.config.hidden_size % LARGE.layout.lanes == 0
    found = compare(image, LARGE, [1, 200], stall_rate=stall_rate)
    assert found.first_difference is None
    assert found.tokens == 2
    assert found.state_values == 2 * image.config.hidden_size


@pytest.mark.parametrize("stall_rate", [0.0, 0.2])
def test_every_tensor_of_a_model_of_odd_sizes_is_golden_s(stall_rate: float) -> None:
    found = compare(odd(), LARGE, [520, 3], stall_rate=stall_rate)
    assert found.first_difference is None
    assert found.tokens == 2
