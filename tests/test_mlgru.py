"""Forget gate and recurrence against the golden model."""

from itertools import product

import numpy as np
from simulate import pipeline
from tritforge.hdl.mlgru import ForgetGate, Mlgru
from tritforge.models.numerics import ACT, GATE, Saturations, lower_bound_gate, mlgru

GATES = (0, 1, GATE.high // 2, GATE.high - 1, GATE.high)
ACTS = (ACT.low, ACT.low + 1, -1, 0, 1, ACT.high - 1, ACT.high)


def test_the_forget_gate_is_that_of_the_golden_model() -> None:
    corners = np.array(list(product(GATES, GATES)))
    both = np.concatenate([corners, np.random.default_rng(0).integers(0, GATE.high + 1, (3000, 2))])
    found = pipeline(ForgetGate(), ForgetGate.latency, ("f",), bound=both[:, 0], gate=both[:, 1])
    assert np.array_equal(found["f"], lower_bound_gate(both[:, 1], both[:, 0]))


def test_the_state_is_that_of_the_golden_model() -> None:
    random = np.random.default_rng(1)
    corners = np.array(list(product(ACTS, GATES, ACTS)))
    i, before = random.integers(ACT.low, ACT.high + 1, (2, 3000)) >> random.integers(0, 6, (2, 3000))
    cases = np.concatenate([corners, np.stack([i, random.integers(0, GATE.high + 1, 3000), before], axis=1)])
    i, f, before = cases.T
    found = pipeline(Mlgru(), Mlgru.latency, ("h",), i=i, f=f, before=before)
    assert np.array_equal(found["h"], mlgru(i, f, before, Saturations()))


def test_a_clamped_difference_is_told_a_cycle_later() -> None:
    pairs = np.array(list(product(ACTS, ACTS)))
    found = pipeline(Mlgru(), 1, ("clamped",), i=pairs[:, 0], before=pairs[:, 1])
    difference = pairs[:, 1] - pairs[:, 0]
    assert np.array_equal(found["clamped"], (difference < ACT.low) | (difference > ACT.high))


def test_the_golden_state_written_out() -> None:
    # h - i = 65,535 is clamped to 32,767; f = 1/2 keeps half of it, and -32,768 + 16,383.5 rounds up.
    found = pipeline(Mlgru(), Mlgru.latency, ("h",), i=[ACT.low], f=[1 << 14], before=[ACT.high])
    assert found["h"].tolist() == [-16_384]
