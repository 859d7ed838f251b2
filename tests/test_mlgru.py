"""Forget gate and recurrence: what a reader of the paper expects (the rest: `sim/benches/mlgru.py`)."""

from simulate import pipeline
from tritforge.hdl.mlgru import ForgetGate, Mlgru
from tritforge.models.numerics import ACT, GATE

HALF = 1 << 14


def h(i: list[int], f: list[int], before: list[int]) -> list[int]:
    """New states; each f comes a cycle after the rest."""
    inputs = {"i": [*i, 0], "f": [0, *f], "before": [*before, 0]}
    found = pipeline(Mlgru(), Mlgru.latency, ("h",), **inputs)
    return list(found["h"][:-1])


def test_without_a_lower_bound_the_gate_stays_as_it_is() -> None:
    gates = [0, 1, 5, HALF, GATE.high - 1, GATE.high]
    found = pipeline(ForgetGate(), ForgetGate.latency, ("f",), bound=[0] * len(gates), gate=gates)
    assert found["f"].tolist() == gates


def test_a_closed_gate_forgets_down_to_its_lower_bound() -> None:
    bounds = [0, 7, HALF, GATE.high]
    found = pipeline(ForgetGate(), ForgetGate.latency, ("f",), bound=bounds, gate=[0] * len(bounds))
    assert found["f"].tolist() == bounds


def test_a_gate_of_zero_takes_the_input_and_one_of_a_half_the_mean() -> None:
    assert h(i=[300, 300, -7], f=[0, HALF, HALF], before=[-4, 100, 8]) == [300, 200, 1]
    # (8 - 7) / 2 is a tie, and goes up.


def test_a_difference_that_does_not_fit_is_clamped() -> None:
    # h - i = 65,535 is clamped to 32,767; f = 1/2 keeps half of it, and -32,768 + 16,383.5 rounds up.
    assert h(i=[ACT.low], f=[HALF], before=[ACT.high]) == [-16_384]
