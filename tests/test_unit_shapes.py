"""Units on models of random shapes, in Amaranth's simulator: programs, states, rows, beats of any number."""

from dataclasses import replace

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tritforge.hdl.config import AcceleratorConfig
from tritforge.hdl.datapath import Datapath
from tritforge.hdl.dots import FAMILIES
from tritforge.hdl.epilogue import Epilogue
from tritforge.hdl.sequencer import Sequencer
from tritforge.models.image import Layout
from tritforge.sim.benches.datapath import Shape, token_of
from tritforge.sim.benches.dot import WatchedDotUnit, draw_product, multiply
from tritforge.sim.benches.driver import Driver, simulate
from tritforge.sim.benches.epilogue import texts
from tritforge.sim.benches.library import LIBRARY
from tritforge.sim.benches.sequencer import run_drawn_program

SEEDS = st.integers(0, 1000)
WIDTHS = st.sampled_from([1, 2, 4])
BUBBLES = st.sampled_from([0.0, 0.4])


@settings(max_examples=15)
@given(
    layers=st.integers(1, 9),
    body=st.integers(1, 12),
    head=st.integers(1, 6),
    streams=st.integers(1, 4),
    seed=SEEDS,
)
def test_the_sequencer_walks_programs_of_any_length(
    layers: int, body: int, head: int, streams: int, seed: int
) -> None:
    async def case(driver: Driver) -> None:
        await run_drawn_program(driver, np.random.default_rng(seed), layers, body, head, streams)

    simulate(Sequencer(AcceleratorConfig("test", Layout(8, 122), 64, 64, 4096, 256, streams=streams)), case)


@settings(max_examples=15)
@given(hidden=st.integers(1, 30), layers=st.integers(1, 3), width=WIDTHS, bubbles=BUBBLES, seed=SEEDS)
@example(hidden=1, layers=1, width=1, bubbles=0.0, seed=0)
@example(hidden=1, layers=1, width=4, bubbles=0.0, seed=0)
def test_epilogues_of_states_of_any_shape_are_golden_s(
    hidden: int, layers: int, width: int, bubbles: float, seed: int
) -> None:
    async def case(driver: Driver) -> None:
        await texts(driver, seed, bubbles, 2, hidden=hidden, layers=layers)

    simulate(Epilogue(hidden, hidden * layers, width), case)


@settings(max_examples=5)
@given(
    width=WIDTHS,
    hidden=st.integers(1, 24),
    intermediate=st.integers(1, 31),
    vocabulary=st.integers(1, 40),
    seed=SEEDS,
)
@example(width=1, hidden=1, intermediate=1, vocabulary=1, seed=0)
@example(width=4, hidden=1, intermediate=1, vocabulary=1, seed=0)
@example(width=2, hidden=23, intermediate=31, vocabulary=5, seed=1)
def test_a_stream_s_token_of_a_model_of_any_shape_is_golden_s(
    width: int, hidden: int, intermediate: int, vocabulary: int, seed: int
) -> None:
    async def case(driver: Driver) -> None:
        await token_of(driver, Shape(hidden, intermediate, vocabulary), seed)

    (config,) = LIBRARY["datapath"].arguments
    simulate(Datapath(replace(config, vector_width=width)), case)


@settings(max_examples=20)
@given(
    kind=st.sampled_from(["lookup", "lutram", "tree"]),
    tables=st.integers(1, 4),
    family=st.sampled_from(sorted(FAMILIES)),
    rows=st.integers(6, 20),
    shapes=st.lists(st.tuples(st.integers(1, 25), st.integers(1, 60)), min_size=1, max_size=3),
    bubbles=BUBBLES,
    seed=SEEDS,
)
def test_products_of_any_shape_are_plain_sums(
    kind: str,
    tables: int,
    family: str,
    rows: int,
    shapes: list[tuple[int, int]],
    bubbles: float,
    seed: int,
) -> None:
    async def case(driver: Driver) -> None:
        random = np.random.default_rng(seed)
        products = [draw_product(driver.unit, random, *shape) for shape in shapes]
        await multiply(driver, products, random, bubbles)

    simulate(WatchedDotUnit(kind, tables, family, rows), case)
