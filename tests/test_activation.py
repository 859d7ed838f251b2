"""Sigmoid and SiLU against the golden model."""

import numpy as np
from simulate import pipeline
from tritforge.hdl.activation import Activation
from tritforge.models.numerics import ACT, sigmoid, silu


def test_sigmoid_and_silu_are_those_of_the_golden_model_for_all_arguments() -> None:
    acts = np.random.default_rng(0).permutation(np.arange(ACT.low, ACT.high + 1))
    found = pipeline(Activation(), Activation.latency, ("gate", "silu"), x=acts)
    assert np.array_equal(found["gate"], sigmoid(acts))
    assert np.array_equal(found["silu"], silu(acts))


def test_companion_row_and_valid_pass_beside() -> None:
    random = np.random.default_rng(1)
    inputs = {
        "valid": random.integers(0, 2, 200),
        "y": random.integers(ACT.low, ACT.high + 1, 200),
        "row": random.integers(0, 1 << 16, 200),
    }
    found = pipeline(Activation(), Activation.latency, ("out_valid", "out_y", "out_row"), **inputs)
    for name, values in inputs.items():
        assert np.array_equal(found[f"out_{name}"], values)
    early = pipeline(Activation(), Activation.latency - 1, ("early_row",), **inputs)
    assert np.array_equal(early["early_row"], inputs["row"])
