"""Benches of `hdl.weights` and `hdl.store`: what goes in comes out, in its turn."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
from amaranth.hdl import signed

from ...hdl.store import VectorStore, WordStore
from ...hdl.weights import WeightBuffer
from ...models.numerics import VECTOR
from .driver import Driver, Random, expect
from .parts import Agent, Bench, Picture, Source, named, run_until, step

__all__ = ["BENCHES"]

_DEPTH = 24
_WIDTH = 4


@dataclass
class _Consumer:
    """Reserves weights and takes them later; how likely it does neither in a cycle is `stalls`."""

    random: Random
    stalls: float
    reserved: int = 0
    taken: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._reserve = self._may = self._pop = self._popped = False
        self._told: int | None = None

    def inputs(self, driver: Driver) -> dict[str, int]:
        """See `Agent`."""
        self._popped = self._pop
        available = bool(driver.registered("available"))
        # Where one might have been reserved and was not, there may be one though none was told of.
        if self._told or (self._told == 0 and self._may == self._reserve):
            expect("available, a cycle after `soon`", available, self._told)
        self._reserve = available and bool(self.random.random() >= self.stalls)
        self._may = self._reserve or bool(self.random.random() < self.stalls)
        self._pop = self.reserved > 0 and bool(self.random.random() >= self.stalls)
        return {"reserve": int(self._reserve), "may_reserve": int(self._may), "pop": int(self._pop)}

    def see(self, outputs: SimpleNamespace) -> None:
        """See `Agent`."""
        self._told = outputs.soon
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


@dataclass
class _OfWords:
    """Reserves a vector's weights one by one, or by the word, and takes the words later."""

    random: Random
    stalls: float
    width: int

    def __post_init__(self) -> None:
        self._reserve = self._pop = self._popped = self._told = False
        self.taken: list[int] = []
        self.begin(0, by_word=False)

    def begin(self, count: int, *, by_word: bool) -> None:
        """A vector of so many weights, behind the one before."""
        self._clear, self._by_word, self._left = True, by_word, count
        self._reserved = 0
        """Weights, of words that have not been taken."""

    def inputs(self, driver: Driver) -> dict[str, int]:
        """See `Agent`."""
        self._popped = self._pop
        available = bool(driver.registered("available"))
        if self._told:
            expect("available, a cycle after `soon`", available, True)
        if self._clear:
            self._reserve = self._pop = self._clear = False
            return {"clear": 1, "by_word": int(self._by_word), "reserve": 0, "may_reserve": 0, "pop": 0}
        wants = self._left > 0 and bool(self.random.random() >= self.stalls)
        self._reserve = wants and available
        may = self._reserve or bool(self.random.random() < self.stalls)
        whole = self._reserved >= self.width or (self._left == 0 and self._reserved > 0)
        self._pop = whole and bool(self.random.random() >= self.stalls)
        return {"clear": 0, "reserve": int(self._reserve), "may_reserve": int(may), "pop": int(self._pop)}

    def done(self) -> bool:
        """Whether all words have been taken."""
        return not (self._clear or self._left or self._reserved or self._pop)

    def see(self, outputs: SimpleNamespace) -> None:
        """See `Agent`."""
        self._told = bool(outputs.soon)
        if self._popped:
            self.taken.append(outputs.weight)
        if self._pop:
            self._reserved -= min(self.width, self._reserved)
        if self._reserve:
            many = min(self.width if self._by_word else 1, self._left)
            self._left -= many
            self._reserved += many


async def _words(
    driver: Driver, counts: Sequence[int], seed: int, bubbles: float = 0.0, stalls: float = 0.0
) -> None:
    """Pass vectors, reserved by the word and by the weight in turn, and compare their words."""
    random = np.random.default_rng(seed)
    width = driver.bits("weight") // 16
    consumer = _OfWords(random, stalls, width)
    for k, count in enumerate(counts):
        words = [int.from_bytes(random.bytes(2 * width), "little") for _ in range(-(-count // width))]
        agents: list[Agent] = [Source("weights", words, random, bubbles), consumer]
        consumer.taken = []
        consumer.begin(count, by_word=bool(k % 2))
        cycles = await run_until(driver, agents, consumer.done)
        expect("words", consumer.taken, words)
        if not bubbles and not stalls:
            # As one by one; a word's reserved ones don't wait for the next word.
            expect(f"cycles of {count} weights", cycles, (len(words) if k % 2 else count) + 4)


async def _words_without_a_bubble(driver: Driver) -> None:
    await _words(driver, [1, 1, 2, 4, 5, 5, 8, 9, 24, 23, 97, 130, *[3] * 60], 0)


async def _words_with_bubbles_and_stalls(driver: Driver) -> None:
    random = np.random.default_rng(1)
    for seed, (bubbles, stalls) in enumerate(((0.5, 0.0), (0.0, 0.5), (0.3, 0.3), (0.0, 0.9), (0.9, 0.0))):
        await _words(driver, random.integers(1, 40, 12).tolist(), seed, bubbles, stalls)


async def _words_behind_a_reset(driver: Driver) -> None:
    random = np.random.default_rng(2)
    for cycles in (1, 3, 20, 50):
        consumer = _OfWords(random, 0.6, driver.bits("weight") // 16)
        consumer.begin(90, by_word=False)
        agents: list[Agent] = [Source("weights", [7] * 99, random), consumer]
        for _ in range(cycles):
            await step(driver, agents)
        await driver.reset()
        expect("available after a reset", (await driver.cycle()).available, 0)
        await _words(driver, [5, 9], cycles)


async def _picture_of_words(driver: Driver) -> None:
    random = np.random.default_rng(1)
    consumer = _OfWords(random, 0.0, driver.bits("weight") // 16)
    agents: list[Agent] = [Source("weights", [0x10002, 0x30004, 0x50006], random, 0.2), consumer]
    consumer.begin(9, by_word=False)
    await run_until(driver, agents, lambda: len(consumer.taken) == 3)


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


async def _words_and_elements(driver: Driver) -> None:
    """Elements and words are written; what lies around an element is read also while another changes."""
    random = np.random.default_rng(1)
    elements: list[int | None] = [None] * _DEPTH
    for _ in range(900):
        word = [int(each) for each in random.integers(VECTOR.low, VECTOR.high + 1, _WIDTH)]
        read, write = random.choice(_DEPTH, 2, replace=False).tolist()
        first, other = read - read % _WIDTH, write - write % _WIDTH
        kind = str(random.choice(["none", "write", "fill", "both"]))
        if kind in ("fill", "both") and first == other:
            kind = "write"
        await driver.cycle(
            read_address=read,
            write=int(kind in ("write", "both")),
            write_address=write,
            write_element=word[0],
            fill=int(kind in ("fill", "both")),
            fill_word=word,
        )
        written = [write] if kind == "write" else []
        found = dict(enumerate((int(each) for each in driver.registered("word")), first))
        for place, value in found.items():
            if elements[place] is not None and place not in written:
                expect(f"element {place} of its word", value, elements[place])
        if elements[read] is not None:
            expect(f"element {read}", driver.registered("element"), elements[read])
        if kind in ("fill", "both"):
            elements[other : other + _WIDTH] = word
        elif kind == "write":
            elements[write] = word[0]


async def _word_store_picture(driver: Driver) -> None:
    await driver.cycle(fill=1, write_address=0, fill_word=[10, 11, 12, 13])
    await driver.cycle(fill=0, write=1, write_address=2, write_element=99, read_address=1)
    await driver.cycle(write=0, read_address=2)
    await driver.cycle()


async def _store_picture(driver: Driver) -> None:
    for address in range(3):
        await driver.cycle(write=1, write_address=address, write_element=10 * address)
    driver.set(write=0)
    for address in (1, 2, 0):
        await driver.cycle(read_address=address)
    await driver.cycle()


_BUFFER_PORTS = {
    "weights__valid": "",
    "weights__payload": "weights__valid",
    "available": "",
    "reserve": "",
    "pop": "",
    "weight": "",
}
_STORE_PORTS = {
    "write": "",
    "write_address": "write",
    "write_element": "write",
    "read_address": "",
    "element": "",
}

BENCHES = (
    Bench(
        "weight_buffer",
        WeightBuffer,
        named(_without_a_bubble, _with_bubbles_and_stalls, _a_full_buffer_waits, _reset_in_the_middle),
        Picture(_picture, _BUFFER_PORTS),
        (_DEPTH,),
    ),
    Bench(
        "weight_buffer_of_words",
        WeightBuffer,
        named(_words_without_a_bubble, _words_with_bubbles_and_stalls, _words_behind_a_reset),
        Picture(_picture_of_words, {"clear": "", **_BUFFER_PORTS}),
        (_DEPTH, _WIDTH),
    ),
    Bench(
        "vector_store",
        VectorStore,
        named(_random_access),
        Picture(_store_picture, _STORE_PORTS),
        (_DEPTH,),
    ),
    Bench(
        "word_store",
        WordStore,
        named(_random_access, _words_and_elements),
        Picture(
            _word_store_picture,
            {"fill": "", "fill_word": "fill", **_STORE_PORTS, "word": ""},
        ),
        (signed(VECTOR.bits), _DEPTH, _WIDTH),
    ),
)
"""Buffers of weights, memories of elements: one by one, and with words of four."""
