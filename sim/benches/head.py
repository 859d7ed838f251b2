"""Benches of `hdl.head`: noise against `numerics.gumbel_noise`, the head against numpy's argmax."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ...hdl.head import GumbelNoise, Head
from ...hdl.rescale import Rescaler
from ...models.numerics import NOISE, SUM, VECTOR, gumbel_noise
from .driver import Driver, Ints, Random, expect
from .parts import Bench, Picture, Sink, named, step

__all__ = ["BENCHES"]

_SETTLING = 8
"""Cycles between `start` and the first row or step."""
_PLACES = ((0, 0), (0, 1), (1, 0), (12345, 77), (2**32 - 1, 2**32 - 1), (7, 2**16), (2**31, 2**20 + 3))
"""Seeds and positions."""


def _place(random: Random) -> tuple[int, int]:
    seed, position = random.integers(0, 1 << 32, 2).tolist()
    return seed, position


# Noise


async def _noise(
    driver: Driver, place: tuple[int, int], count: int, random: Random, bubbles: float = 0.0
) -> None:
    latency = GumbelNoise.latency
    await driver.cycle(start=1, step=0, seed=place[0], position=place[1])
    for _ in range(_SETTLING + 1):
        await driver.cycle(start=0, **driver.noise(random, "seed", "position"))
    steps: list[int] = []
    seen: list[int] = []
    while sum(steps) < count or any(steps[-latency:]):
        steps.append(int(sum(steps) < count and random.random() >= bubbles))
        seen.append((await driver.cycle(step=steps[-1])).noise)
    places = np.flatnonzero(steps)
    expect("noise", [seen[k + latency] for k in places], gumbel_noise(*place, count).tolist())


async def _places(driver: Driver) -> None:
    random = np.random.default_rng(0)
    for place in _PLACES:
        await _noise(driver, place, 60, random, 0.2)


async def _noise_without_a_bubble(driver: Driver) -> None:
    random = np.random.default_rng(1)
    for count in (1, 2, 800):
        await _noise(driver, _place(random), count, random)


async def _noise_with_bubbles(driver: Driver) -> None:
    random = np.random.default_rng(2)
    await _noise(driver, _place(random), 800, random, 0.4)


async def _noise_reset(driver: Driver) -> None:
    random = np.random.default_rng(3)
    for cycles in (1, 5, 9, 14):
        await driver.cycle(start=1, seed=1, position=2)
        for _ in range(cycles):
            await driver.cycle(start=0, step=1)
        await driver.reset()
        await _noise(driver, (5, 6), 20, random)


async def _noise_picture(driver: Driver) -> None:
    await _noise(driver, (1, 0), 3, np.random.default_rng(0), 0.3)


# Head


@dataclass
class Vocabulary:
    """Rows of logits as they come from the matrix product and the rescaler.

    Attributes
    ----------
    sums, values, clamped
        (V,) SUM, VECTOR, and the rescaler's two flags.
    place
        Seed and position.
    """

    sums: Ints
    values: Ints
    clamped: Ints
    place: tuple[int, int] = (0, 0)

    def token(self, sample: bool) -> int:
        """The row that must be chosen."""
        noise = gumbel_noise(*self.place, len(self.sums)) << (VECTOR.fraction - NOISE.fraction)
        return int(np.argmax(self.values + noise if sample else self.sums))


def _draw(random: Random, count: int) -> Vocabulary:
    return Vocabulary(
        random.integers(-40, 40, count),
        random.integers(-2 << VECTOR.fraction, 2 << VECTOR.fraction, count),
        random.integers(0, 4, count),
        _place(random),
    )


@dataclass
class _Rows:
    """Gives rows: the sum now, the value as much later as the rescaler takes."""

    vocabulary: Vocabulary
    random: Random
    bubbles: float
    one_by_one: bool
    row: int = 0
    owed: bool = False
    behind: list[int] = field(default_factory=lambda: [-1] * Rescaler.latency)

    def inputs(self, driver: Driver) -> dict[str, int]:
        of = self.vocabulary
        here = self.row < len(of.sums) and not self.owed and self.random.random() >= self.bubbles
        self.behind = [*self.behind[-Rescaler.latency :], self.row if here else -1]
        late = self.behind[0]
        # Without a row the ports hold what would win, or count.
        given = {"sum_valid": int(here), "sum_row": 3, "sum": SUM.high}
        given |= {"valid": int(late >= 0), "row": 5, "value": VECTOR.high, "clamped": 3}
        if here:
            given |= {"sum_row": self.row, "sum": int(of.sums[self.row])}
            self.row += 1
            self.owed = self.one_by_one
        if late >= 0:
            given |= {"row": late, "value": int(of.values[late]), "clamped": int(of.clamped[late])}
        return given

    @property
    def ended(self) -> bool:
        return self.row == len(self.vocabulary.sums) and not self.owed and max(self.behind[1:]) < 0


async def _choose(
    driver: Driver,
    vocabulary: Vocabulary,
    random: Random,
    *,
    sample: bool,
    bubbles: float = 0.0,
    stalls: float = 0.0,
    emit_raw: bool = False,
    active: bool = True,
) -> None:
    """Pass a vocabulary; compare the token, the raw logits and the number of clamps."""
    seed, position = vocabulary.place
    await driver.cycle(
        start=1,
        sum_valid=0,
        valid=0,
        active=int(active),
        sample=int(sample),
        emit_raw=int(emit_raw),
        seed=seed,
        position=position,
    )
    for _ in range(_SETTLING):
        await driver.cycle(start=0)
    rows = _Rows(vocabulary, random, bubbles, emit_raw and active)
    raw = Sink("raw", random, stalls)
    saturations = cycles = 0
    while not rows.ended:
        inputs = rows.inputs(driver)
        outputs = await step(driver, [raw], **inputs)
        expect("taken", outputs.taken, int(outputs.raw__valid and driver.given("raw__ready")))
        if outputs.taken:
            rows.owed = False
        saturations += outputs.saturations
        cycles += 1
    logits = [(int(each.row), int(each.sum)) for each in raw.taken]
    expect("raw logits", logits, list(enumerate(vocabulary.sums.tolist())) if emit_raw and active else [])
    await driver.cycle(sum_valid=0, valid=0)
    if active:
        expect("token", driver.registered("token"), vocabulary.token(sample))
    clamps = int(np.bitwise_count(vocabulary.clamped).sum()) if sample and active else 0
    expect("saturations", saturations, clamps)


def _of_sums(sums: Sequence[int]) -> Vocabulary:
    # Values that would choose the last row.
    return Vocabulary(np.array(sums), np.arange(len(sums)), np.zeros(len(sums), np.int64))


async def _first_of_the_largest_sums(driver: Driver) -> None:
    random = np.random.default_rng(0)
    for sums in (
        [5],
        [3, 7, 7, 1],
        [-9, -9, -9],
        [SUM.low, SUM.low, SUM.low + 1],
        [0, SUM.high, SUM.high],
        [-1, 0, -1, 0],
        [1, 2, 3, 4],
        [4, 3, 2, 1],
    ):
        await _choose(driver, _of_sums(sums), random, sample=False)
        await _choose(driver, _of_sums(sums), random, sample=False, emit_raw=True)


async def _corners_of_samples(driver: Driver) -> None:
    random = np.random.default_rng(1)
    for place in _PLACES:
        for winner in (0, 17, 39):
            # The largest value with noise does not overflow; equal values are decided by noise alone.
            values = np.full(40, VECTOR.low)
            values[winner] = VECTOR.high
            await _choose(
                driver,
                Vocabulary(np.zeros(40, np.int64), values, np.zeros(40, np.int64), place),
                random,
                sample=True,
            )
        zeros = np.zeros(40, np.int64)
        await _choose(driver, Vocabulary(zeros, zeros, zeros, place), random, sample=True, bubbles=0.3)


async def _without_a_bubble(driver: Driver) -> None:
    random = np.random.default_rng(2)
    for count in (1, 2, 75, 600):
        for sample in (False, True):
            await _choose(driver, _draw(random, count), random, sample=sample)


async def _with_random_bubbles(driver: Driver) -> None:
    random = np.random.default_rng(3)
    for sample in (False, True):
        for _ in range(10):
            count = int(random.integers(1, 60))
            await _choose(driver, _draw(random, count), random, sample=sample, bubbles=0.4)


async def _raw_logits(driver: Driver) -> None:
    random = np.random.default_rng(4)
    for stalls in (0.0, 0.5, 0.9):
        for sample in (False, True):
            vocabulary = _draw(random, 60)
            vocabulary.sums = random.integers(SUM.low, SUM.high + 1, 60)
            await _choose(driver, vocabulary, random, sample=sample, emit_raw=True, stalls=stalls)


async def _rows_that_are_no_logits(driver: Driver) -> None:
    random = np.random.default_rng(5)
    await _choose(driver, _of_sums([1, 9, 2]), random, sample=False)
    for sample in (False, True):
        await _choose(driver, _draw(random, 30), random, sample=sample, emit_raw=True, active=False)


async def _reset_in_the_middle(driver: Driver) -> None:
    random = np.random.default_rng(6)
    for cycles in (1, 4, 9):
        await driver.cycle(start=1, active=1, emit_raw=1, sample=0)
        await driver.cycle(start=0)
        for _ in range(cycles):
            await driver.cycle(sum_valid=1, sum=SUM.high, sum_row=7)
        await driver.reset()
        expect("raw logit after a reset", driver.registered("raw__valid"), 0)
        await _choose(driver, _of_sums([-3, -2, -2]), random, sample=False, emit_raw=True)


async def _picture(driver: Driver) -> None:
    random = np.random.default_rng(5)
    await _choose(driver, _of_sums([3, 9, 7, 9, 12]), random, sample=False, emit_raw=True, stalls=0.3)


BENCHES = (
    Bench(
        "gumbel_noise",
        GumbelNoise,
        named(_places, _noise_without_a_bubble, _noise_with_bubbles, _noise_reset),
        Picture(_noise_picture, {"start": "", "seed": "start", "position": "start", "step": "", "noise": ""}),
    ),
    Bench(
        "head",
        Head,
        named(
            _first_of_the_largest_sums,
            _corners_of_samples,
            _without_a_bubble,
            _with_random_bubbles,
            _raw_logits,
            _rows_that_are_no_logits,
            _reset_in_the_middle,
        ),
        Picture(
            _picture,
            {
                "start": "",
                "sum_valid": "",
                "sum_row": "sum_valid",
                "sum": "sum_valid",
                "raw__valid": "",
                "raw__ready": "",
                "raw__payload": "raw__valid",
                "taken": "",
                "token": "",
            },
        ),
    ),
)
"""Noise and head."""
