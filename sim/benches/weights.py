"""Benches of `hdl.weights` and `hdl.store`: what goes in comes out, in its turn."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np

from ...hdl.store import VectorStore
from ...hdl.weights import WeightBuffer
from ...models.numerics import VECTOR
from .driver import Driver, Random, expect
from .parts import Agent, Bench, Picture, Source, named, run_until, step

__all__ = ["BENCHES"]

_DEPTH = 24


@dataclass
class _Consumer:
    """Reserves weights and takes them later; how likely it does neither in a cycle is `stalls`."""

    random: Random
    stalls: float
    reserved: int = 0
    taken: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._reserve = self._pop = self._popped = False

    def inputs(self, driver: Driver) -> dict[str, int]:
        """See `Agent`."""
        self._popped = self._pop
        available = bool(driver.registered("available"))
        self._reserve = available and bool(self.random.random() >= self.stalls)
        self._pop = self.reserved > 0 and bool(self.random.random() >= self.stalls)
        return {"reserve": int(self._reserve), "pop": int(self._pop)}

    def see(self, outputs: SimpleNamespace) -> None:
        """See `Agent`."""
        if self._popped:
            self.taken.append(outputs.weight)
        self.reserved += self._reserve - self._pop


async def _pass(driver: Driver, count: int, random: Random, bubbles: float = 0.0, stalls: float = 0.0) -> int:
    """Pass weights, compare them, and return how many cycles that took."""
    weights = random.integers(0, 1 << 16, count).tolist()
    consumer = _Consumer(random, stalls)
    agents: list[Agent] = [Source("weights", weights, random, bubbles), consumer]
    cycles = await run_until(driver, agents, lambda: len(consumer.taken) == count)
    expect("weights", consumer.taken, weights)
    expect("available, with nothing left", driver.registered("available"), 0)
    return cycles


async def _without_a_bubble(driver: Driver) -> None:
    random = np.random.default_rng(0)
    for count in (1, 2, _DEPTH, 900):
        # Reserved two cycles after it came, taken in the next, seen in the one after.
        expect(f"cycles of {count} weights", await _pass(driver, count, random), count + 4)


async def _with_bubbles_and_stalls(driver: Driver) -> None:
    random = np.random.default_rng(1)
    for bubbles, stalls in ((0.5, 0.0), (0.0, 0.5), (0.3, 0.3), (0.0, 0.9)):
        await _pass(driver, 300, random, bubbles, stalls)


async def _a_full_buffer_waits(driver: Driver) -> None:
    random = np.random.default_rng(2)
    source = Source("weights", range(200), random)
    for _ in range(200):
        await step(driver, [source])
    kept = 200 - len(source.left)
    expect("whether as many are kept as were asked for", kept >= _DEPTH, True)
    consumer = _Consumer(random, 0.0)
    agents: list[Agent] = [source, consumer]
    await run_until(driver, agents, lambda: len(consumer.taken) == 200)
    expect("weights", consumer.taken, list(range(200)))


async def _reset_in_the_middle(driver: Driver) -> None:
    random = np.random.default_rng(3)
    for cycles in (1, 3, 20, 50):
        agents: list[Agent] = [Source("weights", [7] * 99, random), _Consumer(random, 0.6)]
        for _ in range(cycles):
            await step(driver, agents)
        await driver.reset()
        expect("available after a reset", (await driver.cycle()).available, 0)
        await _pass(driver, 40, random, 0.2, 0.2)


async def _picture(driver: Driver) -> None:
    random = np.random.default_rng(1)
    consumer = _Consumer(random, 0.4)
    agents: list[Agent] = [Source("weights", range(10, 50, 10), random, 0.2), consumer]
    await run_until(driver, agents, lambda: len(consumer.taken) == 4)


async def _random_access(driver: Driver) -> None:
    """Elements are written and read at once, at different addresses."""
    random = np.random.default_rng(0)
    elements = random.integers(VECTOR.low, VECTOR.high + 1, _DEPTH).tolist()
    for address, element in enumerate(elements):
        await driver.cycle(write=1, write_address=address, write_element=element)
    for _ in range(600):
        read, write = random.choice(_DEPTH, 2, replace=False).tolist()
        writes = int(random.integers(2))
        element = int(random.choice([VECTOR.low, VECTOR.high, int(random.integers(-9, 9))]))
        await driver.cycle(read_address=read, write=writes, write_address=write, write_element=element)
        expect(f"element {read}", driver.registered("element"), elements[read])
        if writes:
            elements[write] = element


async def _store_picture(driver: Driver) -> None:
    for address in range(3):
        await driver.cycle(write=1, write_address=address, write_element=10 * address)
    driver.set(write=0)
    for address in (1, 2, 0):
        await driver.cycle(read_address=address)
    await driver.cycle()


BENCHES = (
    Bench(
        "weight_buffer",
        WeightBuffer,
        named(_without_a_bubble, _with_bubbles_and_stalls, _a_full_buffer_waits, _reset_in_the_middle),
        Picture(
            _picture,
            {
                "weights__valid": "",
                "weights__payload": "weights__valid",
                "available": "",
                "reserve": "",
                "pop": "",
                "weight": "",
            },
        ),
        (_DEPTH,),
    ),
    Bench(
        "vector_store",
        VectorStore,
        named(_random_access),
        Picture(
            _store_picture,
            {
                "write": "",
                "write_address": "write",
                "write_element": "write",
                "read_address": "",
                "element": "",
            },
        ),
        (_DEPTH,),
    ),
)
"""Buffer of weights, memory of elements."""
