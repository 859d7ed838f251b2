"""The rescaler: rounding and clamps, written out (the rest: `sim/benches/rescale.py`)."""

from simulate import pipeline
from tritforge.hdl.rescale import Rescaler
from tritforge.models.numerics import ACT, RESCALE_LEFT, VECTOR

HALF = RESCALE_LEFT + 15  # a shift at which 2**14 is half a step


def held(count: int, **values: int) -> dict[str, list[int]]:
    return {name: [value] * count for name, value in values.items()}


def test_ties_go_up() -> None:
    found = pipeline(
        Rescaler(),
        Rescaler.latency,
        ("value", "clamped"),
        sum=[1, -1, 3, -3, 5, -5],
        **held(6, mantissa=1 << 14, shift=HALF, wide=0),
    )
    assert found["value"].tolist() == [1, 0, 2, -1, 3, -2]
    assert not found["clamped"].any()


def test_the_clamp_of_the_sum_and_that_of_the_output_are_told_apart() -> None:
    flags, values = [], []
    for each, shift in ((40_000, 60), (30_000, 0), (-40_000, 0), (1, 30)):
        inputs = held(1, sum=each, shift=shift, mantissa=1 << 14, wide=0)
        found = pipeline(Rescaler(), Rescaler.latency, ("clamped", "value"), **inputs)
        flags.append(int(found["clamped"][0]))
        values.append(int(found["value"][0]))
    assert flags == [0b01, 0b10, 0b11, 0]
    assert values == [0, ACT.high, ACT.low, 0]


def test_the_wide_format_holds_more() -> None:
    inputs = held(1, sum=100, mantissa=1 << 14, shift=RESCALE_LEFT)
    for wide, value in ((0, ACT.high), (1, 100 << 14)):
        found = pipeline(Rescaler(), Rescaler.latency, ("value",), **inputs, wide=[wide])
        assert found["value"].tolist() == [value]
    assert ACT.high < 100 << 14 <= VECTOR.high
