"""Sigmoid and SiLU: what anyone expects of them (the rest: `sim/benches/activation.py`)."""

import numpy as np
from simulate import Outputs, pipeline
from tritforge.hdl.activation import Activation
from tritforge.models.numerics import ACT, GATE

ONE = 1 << ACT.fraction


def both(x: np.ndarray) -> Outputs:
    gate = pipeline(Activation(), Activation.gate_latency, ("gate",), x=x)
    return gate | pipeline(Activation(), Activation.latency, ("silu",), x=x)


def test_sigmoid_and_silu_are_near_the_functions_of_real_numbers() -> None:
    acts = np.arange(ACT.low, ACT.high + 1, 97)
    found = both(acts)
    real = acts / ONE
    sigmoid = 1 / (1 + np.exp(-real))
    assert np.abs(found["gate"] * GATE.step - sigmoid).max() < 6 * GATE.step
    assert np.abs(found["silu"] * ACT.step - real * sigmoid).max() < 2 * ACT.step


def test_values_far_from_zero_and_zero_itself() -> None:
    found = both(np.array([ACT.low, 0, ACT.high]))
    assert found["gate"].tolist() == [0, GATE.high // 2 + 1, GATE.high]
    assert found["silu"].tolist() == [0, 0, ACT.high - 1]  # times a gate just below 1
