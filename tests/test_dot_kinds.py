"""Whole models on accelerators with every kind of dot product, bit for bit equal to the golden model."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tritforge.hdl.config import AcceleratorConfig
from tritforge.models.checkpoint import Checkpoint
from tritforge.models.errors import TritforgeError
from tritforge.models.image import Layout, in_memory_image
from tritforge.models.quantise import quantise
from tritforge.sim.compare import compare
from tritforge.sim.engine import RtlEngine

pytestmark = pytest.mark.usefixtures("needs_compiler")

ODD = {"hidden_size": 67, "intermediate_size": 101, "num_hidden_layers": 2, "vocab_size": 33}


@pytest.mark.parametrize(
    ("layout", "family"),
    [
        (Layout(8, 122, "lookup"), "xilinx"),
        # 24 codes of five bits are no whole words of 64.
        (Layout(24, 14, "lutram"), "ecp5"),
        (Layout(8, 6, "tree"), "ice40"),
    ],
    ids=lambda each: getattr(each, "dot", each),
)
def test_every_element_of_one_text_and_of_two_is_golden_s(
    layout: Layout, family: str, make_model: Callable[..., Path]
) -> None:
    config = AcceleratorConfig("test", layout, 80, 120, 256, 256, vocabulary=64, streams=2, family=family)
    image = in_memory_image(quantise(Checkpoint(make_model(seed=3, **ODD))), layout)
    first, second = (np.random.default_rng(1).integers(0, 33, length) for length in (10, 7))
    for texts, stall_rate in (((first,), 0.0), ((first, second), 0.0), ((second, first), 0.4)):
        found = compare(image, config, *texts, stall_rate=stall_rate)
        assert found.first_difference is None
        assert found.tokens == sum(map(len, texts))


def test_an_image_in_another_code_is_refused(make_model: Callable[..., Path]) -> None:
    up5k = AcceleratorConfig.load("up5k")
    image = in_memory_image(quantise(Checkpoint(make_model(**ODD))), replace(up5k.layout, dot="tree"))
    with pytest.raises(TritforgeError, match=r"for 40 lanes of tree codes .* has 40 lanes of lookup codes "):
        RtlEngine(image, up5k)
