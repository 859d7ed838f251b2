"""Sessions of any kind and number of streams (the unit's bench: `sim/benches/conductor.py`)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tritforge.hdl.conductor import STREAM_BITS, Conductor
from tritforge.sim.benches.conductor import converse, draw_session
from tritforge.sim.benches.driver import Driver, simulate


@settings(max_examples=40)
@given(
    streams=st.integers(1, 5),
    tokens=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    seed=st.integers(0, 1 << 20),
    bubbles=st.sampled_from([0.0, 0.3, 0.8]),
    slowest=st.integers(0, 5),
)
def test_sessions_one_behind_another_run_as_described(
    streams: int, tokens: list[int], seed: int, bubbles: float, slowest: int
) -> None:
    random = np.random.default_rng(seed)

    async def case(driver: Driver) -> None:
        positions = [0] * streams
        for count in tokens:
            session = draw_session(random, count, streams)
            await converse(driver, session, positions, random, bubbles, slowest)

    simulate(Conductor(streams), case)


@pytest.mark.parametrize("streams", [0, 1 + (1 << STREAM_BITS)])
def test_a_number_of_streams_out_of_range_is_refused(streams: int) -> None:
    with pytest.raises(ValueError, match=rf"^a conductor has from 1 to 16 streams, not {streams}$"):
        Conductor(streams)
