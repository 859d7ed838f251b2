"""The int8 quantiser: ties and clamps, written out (the rest: `sim/benches/quantiser.py`)."""

from simulate import pipeline
from tritforge.hdl.quantiser import Quantiser

LARGEST = 2**15 - 1


def test_ties_go_away_from_zero_and_minus_128_is_reached() -> None:
    # 16,384 / 2**15 = 1/2; 128 is clamped at the upper end alone.
    products = [1, -1, 3, -3, 255, -255, 257, -257, LARGEST, -LARGEST]
    found = pipeline(
        Quantiser(), Quantiser.latency, ("q",), product=products, factor=[1 << 14] * 10, shift=[15] * 10
    )
    assert found["q"].tolist() == [1, -1, 2, -2, 127, -128, 127, -128, 127, -128]
