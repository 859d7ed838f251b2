"""The preset of about 1,000 lanes: every tensor that leaves its units is golden's."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tritforge.hdl.config import AcceleratorConfig
from tritforge.models.loading import load
from tritforge.sim.compare import compare
from tritforge.sim.simspeed import benchmark_task

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("needs_compiler")]

LARGE = AcceleratorConfig.load("large")
ODD = {"hidden_size": 1051, "intermediate_size": 2083, "num_hidden_layers": 1, "vocab_size": 521}
"""A layer that is a little wider than the lanes, so that the last block of a row is nearly empty."""


@pytest.mark.parametrize("stall_rate", [0.0, 0.2])
def test_every_tensor_of_a_model_that_fills_the_lanes_is_golden_s(stall_rate: float) -> None:
    image = benchmark_task("large").image
    assert image.config.hidden_size % LARGE.layout.lanes == 0
    found = compare(image, LARGE, [1, 200], stall_rate=stall_rate)
    assert found.first_difference is None
    assert found.tokens == 2
    assert found.state_values == 2 * image.config.hidden_size


@pytest.mark.parametrize("stall_rate", [0.0, 0.2])
def test_every_tensor_of_a_model_of_odd_sizes_is_golden_s(
    make_model: Callable[..., Path], stall_rate: float
) -> None:
    image = load(make_model(seed=3, **ODD)).image(LARGE.layout)
    found = compare(image, LARGE, [520, 3], stall_rate=stall_rate)
    assert found.first_difference is None
    assert found.tokens == 2
