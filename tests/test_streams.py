"""The unpacker for beats of many widths (vectors of one width: `sim/benches/streams.py`)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tritforge.hdl.isa import COUNT_BITS
from tritforge.hdl.streams import Unpacker
from tritforge.sim.benches.driver import Driver, simulate
from tritforge.sim.benches.streams import Vector, unpack

vectors = st.one_of(st.builds(Vector, st.sampled_from([1, 2]), st.integers(0, 70)), st.just(Vector(8)))


@settings(max_examples=60)
@given(
    words=st.integers(1, 5),
    width=st.sampled_from([1, 2, 4]),
    asked=st.lists(vectors, min_size=1, max_size=6),
    seed=st.integers(0, 99),
    gaps=st.tuples(*[st.sampled_from([0.0, 0.3, 0.8])] * 2),
)
def test_what_comes_out_is_what_lies_in_the_beats(
    words: int, width: int, asked: list[Vector], seed: int, gaps: tuple[float, float]
) -> None:
    async def case(driver: Driver) -> None:
        await unpack(driver, asked, np.random.default_rng(seed), *gaps)

    simulate(Unpacker(64 * words, COUNT_BITS, width), case)


@pytest.mark.parametrize("beat_bits", [0, -64, 96, 63])
def test_a_beat_that_is_no_multiple_of_64_bits_is_refused(beat_bits: int) -> None:
    with pytest.raises(ValueError, match=rf"^a beat must be a multiple of 64 bits wide, not {beat_bits}$"):
        Unpacker(beat_bits)


def test_a_beat_that_is_no_whole_number_of_words_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^a beat of 192 bits has no whole number of words of 8 elements$"):
        Unpacker(192, width=8)
