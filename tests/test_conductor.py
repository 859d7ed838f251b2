"""Sessions of any kind (the unit's bench: `sim/benches/conductor.py`)."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tritforge.hdl.conductor import Conductor
from tritforge.sim.benches.conductor import Session, converse, draw_session
from tritforge.sim.benches.driver import Driver, simulate


@settings(max_examples=40)
@given(
    tokens=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    seed=st.integers(0, 1 << 20),
    bubbles=st.sampled_from([0.0, 0.3, 0.8]),
    slowest=st.integers(0, 5),
)
def test_sessions_one_behind_another_run_as_described(
    tokens: list[int], seed: int, bubbles: float, slowest: int
) -> None:
    random = np.random.default_rng(seed)

    async def case(driver: Driver) -> None:
        position = 0
        for count in tokens:
            position = await converse(driver, draw_session(random, count), position, random, bubbles, slowest)

    simulate(Conductor(), case)


def test_the_position_of_a_token_that_was_generated_is_one_more() -> None:
    async def case(driver: Driver) -> None:
        session = Session([(5, 0, 0), (6, 1, 1)], [(70, 16_384, 0), (71, 16_384, 0)], new_tokens=2)
        assert await converse(driver, session, 0, np.random.default_rng(0)) == 3

    simulate(Conductor(), case)
