"""What benches are made of: ends of streams, pipelines, units that start and are done, corner values."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np
from amaranth.lib.wiring import Component

from ...models.numerics import INT8
from .driver import Case, Driver, Ints, MismatchError, Random, expect

__all__ = [
    "FILLER_PORTS",
    "Agent",
    "Bench",
    "Columns",
    "Group",
    "Picture",
    "Sink",
    "Source",
    "activations_of",
    "corners_and_random",
    "named",
    "one_of_each",
    "pass_group",
    "pipeline_cases",
    "run_until",
    "serial_cases",
    "step",
]

Columns = Mapping[str, Any]
"""A value of every port for each of n elements, (n,)."""


@dataclass(frozen=True)
class Picture:
    """What a unit's timing diagram shows.

    Parameters
    ----------
    case
        A few cycles that show how the unit works.
    ports
        The ports shown, each with the port that tells when it means something ("" if it always does).
    """

    case: Case
    ports: Mapping[str, str]


FILLER_PORTS: Mapping[str, str] = {
    "start": "",
    "word_address": "",
    "word": "",
    "write": "",
    "entry": "write",
    "values": "write",
    "done": "",
}
"""What the pictures of units show that put activations, or tables of them, where a dot product reads them."""


@dataclass(frozen=True)
class Bench:
    """A unit, how to make one, and the cases that it must pass.

    Parameters
    ----------
    name
        Of the bench and of the unit's page.
    unit
        The component's class.
    cases
        By name.
    picture
        For the unit's page.
    arguments
        The class's arguments.
    long
        Further cases, too long for Amaranth's simulator.
    unread
        Outputs that no case looks at.
    """

    name: str
    unit: Callable[..., Component]
    cases: Mapping[str, Case]
    picture: Picture
    arguments: tuple[Any, ...] = ()
    long: Mapping[str, Case] = field(default_factory=dict)
    unread: tuple[str, ...] = ()

    def make(self) -> Component:
        """A unit."""
        return self.unit(*self.arguments)


def corners_and_random(random: Random, low: int, high: int, count: int) -> Ints:
    """`count` numbers from `low` to `high`; both ends, their neighbours and those around 0 are among them."""
    corners = [low, low + 1, high - 1, high, *(value for value in (-2, -1, 0, 1, 2) if low <= value <= high)]
    values = random.integers(low, high + 1, count)
    small = values >> random.integers(0, int(high).bit_length(), count)
    values = np.where(random.random(count) < 0.5, values, np.clip(small, low, high))
    places = random.choice(count, min(count, 4 * len(corners)), replace=False)
    values[places] = np.resize(corners, len(places))
    return values


def activations_of(random: Random, *shape: int) -> Ints:
    """Int8 activations of a shape, corner values among them."""
    return corners_and_random(random, INT8.low, INT8.high, int(np.prod(shape))).reshape(shape)


def one_of_each(**values: Iterable[int]) -> dict[str, Ints]:
    """All combinations of values."""
    grid = np.meshgrid(*(np.fromiter(each, np.int64) for each in values.values()), indexing="ij")
    return {name: column.reshape(-1) for name, column in zip(values, grid, strict=True)}


def named(*cases: Case) -> dict[str, Case]:
    """Cases by their functions' names."""
    return {getattr(case, "__name__", "").strip("_"): case for case in cases}


# Streams


class Agent(Protocol):
    """Something at a unit's ports: gives inputs for a cycle, then sees its outputs."""

    def inputs(self, driver: Driver) -> dict[str, Any]:
        """Inputs for the coming cycle."""

    def see(self, outputs: SimpleNamespace) -> None:
        """Outputs in that cycle."""


class Source:
    """Gives a stream's elements; one that has been offered stays until it is taken.

    Parameters
    ----------
    stream
        Name of the port.
    items
        Payloads.
    random, bubbles
        How likely a cycle has no new element.

    Attributes
    ----------
    left
        Payloads that have not been taken.
    """

    def __init__(self, stream: str, items: Iterable[Any], random: Random, bubbles: float = 0.0) -> None:
        self._stream = stream
        self._random = random
        self._bubbles = bubbles
        self._offered = False
        self.left = list(items)

    def inputs(self, driver: Driver) -> dict[str, Any]:
        """See `Agent`. Without a valid element the payload is noise."""
        if not self._offered:
            self._offered = bool(self.left) and self._random.random() >= self._bubbles
        payload = f"{self._stream}__payload"
        given = {payload: self.left[0]} if self._offered else driver.noise(self._random, payload)
        return {f"{self._stream}__valid": int(self._offered), **given}

    def see(self, outputs: SimpleNamespace) -> None:
        """See `Agent`."""
        if self._offered and getattr(outputs, f"{self._stream}__ready"):
            self._offered = False
            del self.left[0]


class Sink:
    """Takes a stream's elements; one that waits must stay as it is.

    Attributes
    ----------
    taken
        Payloads, in order.
    """

    def __init__(self, stream: str, random: Random, stalls: float = 0.0) -> None:
        self._stream = stream
        self._random = random
        self._stalls = stalls
        self._ready = False
        self._waiting: Any = None
        self.taken: list[Any] = []

    def inputs(self, driver: Driver) -> dict[str, Any]:
        """See `Agent`."""
        self._ready = bool(self._random.random() >= self._stalls)
        return {f"{self._stream}__ready": int(self._ready)}

    def see(self, outputs: SimpleNamespace) -> None:
        """See `Agent`."""
        valid = getattr(outputs, f"{self._stream}__valid")
        payload = getattr(outputs, f"{self._stream}__payload")
        if self._waiting is not None and (not valid or payload != self._waiting):
            raise MismatchError(f"{self._stream} has withdrawn or changed an element that waited")
        self._waiting = None
        if valid and self._ready:
            self.taken.append(payload)
        elif valid:
            self._waiting = payload


async def step(driver: Driver, agents: Iterable[Agent], **inputs: Any) -> SimpleNamespace:
    """One cycle with agents and other inputs; returns its outputs."""
    for agent in agents:
        inputs |= agent.inputs(driver)
    outputs = await driver.cycle(**inputs)
    for agent in agents:
        agent.see(outputs)
    return outputs


async def run_until(
    driver: Driver, agents: Sequence[Agent], ended: Callable[[], bool], patience: int = 5000
) -> int:
    """Let agents drive a unit until `ended`, and return how many cycles that took.

    Raises
    ------
    MismatchError
        If it takes more than `patience` cycles.
    """
    for cycle in range(patience):
        if ended():
            return cycle
        await step(driver, agents)
    raise MismatchError(f"not ended after {patience} cycles")


# Pipelines


@dataclass(frozen=True)
class Group:
    """Elements that pass a pipeline one behind another, and the inputs that are held meanwhile.

    Inputs named in `late` come so many cycles behind the rest of their element.
    """

    columns: Columns
    held: Mapping[str, int] = field(default_factory=dict)
    late: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))


Golden = Callable[[Columns, Mapping[str, int]], Columns]
"""Outputs that columns and held inputs must give."""


async def pass_group(
    driver: Driver,
    group: Group,
    latencies: Mapping[str, int],
    golden: Golden,
    random: Random,
    bubbles: float = 0.0,
) -> None:
    """Pass a group, without a bubble or with random ones, and compare every output in its cycle.

    A port `valid` is high with elements alone; outputs named ``..._valid`` must follow it.
    """
    columns = {name: np.asarray(values, np.int64).tolist() for name, values in group.columns.items()}
    slots: list[int] = []
    for k in range(len(group)):
        while random.random() < bubbles:
            slots.append(-1)
        slots.append(k)
    slots += [-1] * max(latencies.values())
    ports = [*columns, *(["valid"] if "valid" in driver.shapes else [])]
    seen: dict[str, list[Any]] = {name: [] for name in latencies}
    for cycle, k in enumerate(slots):
        inputs = driver.noise(random, *ports)
        for name, values in columns.items():
            at = cycle - group.late.get(name, 0)
            if at >= 0 and slots[at] >= 0:
                inputs[name] = values[slots[at]]
        if "valid" in driver.shapes:
            inputs["valid"] = int(k >= 0)
        outputs = await driver.cycle(**inputs, **group.held)
        for name in latencies:
            seen[name].append(getattr(outputs, name))
    expected = golden({name: np.asarray(values) for name, values in columns.items()}, group.held)
    places = np.flatnonzero(np.array(slots) >= 0)
    for name, latency in latencies.items():
        if name.endswith("_valid"):
            expect(name, seen[name][latency:], [int(k >= 0) for k in slots[: len(slots) - latency]])
        else:
            expect(name, [seen[name][place + latency] for place in places], list(expected[name]))


def pipeline_cases(
    latencies: Callable[[Component], Mapping[str, int]],
    golden: Golden,
    corners: Callable[[Driver], Iterable[Group]],
    draw: Callable[[Driver, Random, int], Group],
) -> dict[str, Case]:
    """Cases of a pipeline that takes an element a cycle.

    Parameters
    ----------
    latencies
        Of a unit: the outputs compared, and the cycles from an element to each.
    golden
        What they must be.
    corners
        Groups of corner values.
    draw
        A random group of n elements.
    """

    async def corner_values(driver: Driver) -> None:
        random = np.random.default_rng(1)
        for group in corners(driver):
            await pass_group(driver, group, latencies(driver.unit), golden, random)

    async def long_run(driver: Driver, bubbles: float) -> None:
        random = np.random.default_rng(2)
        for count in (1, 2, 900):
            await pass_group(
                driver, draw(driver, random, count), latencies(driver.unit), golden, random, bubbles
            )

    async def without_a_bubble(driver: Driver) -> None:
        await long_run(driver, 0.0)

    async def with_random_bubbles(driver: Driver) -> None:
        await long_run(driver, 0.4)

    async def reset_in_the_middle(driver: Driver) -> None:
        random = np.random.default_rng(3)
        of = latencies(driver.unit)
        for count in (1, 2, 3, 5, 9):
            group = draw(driver, random, count)
            for k in range(count):
                now = {name: int(values[k]) for name, values in group.columns.items()}
                if "valid" in driver.shapes:
                    now["valid"] = 1
                await driver.cycle(**now, **group.held)
            await driver.reset()
            for _ in range(max(of.values())):
                outputs = await driver.cycle()
                if "out_valid" in of:
                    expect("out_valid after a reset", outputs.out_valid, 0)
            await pass_group(driver, draw(driver, random, 5), of, golden, random)

    return named(corner_values, without_a_bubble, with_random_bubbles, reset_in_the_middle)


# Units that start and are done


async def _serve(
    driver: Driver,
    columns: Columns,
    outputs: Sequence[str],
    cycles: range,
    random: Random,
    gaps: float,
    held: Sequence[str],
) -> list[list[int]]:
    """Outputs of one operation after another; each starts when the last is done, or some cycles later."""
    count = len(next(iter(columns.values())))
    found = []
    free = [name for name in columns if name not in held]
    for k in range(count):
        inputs = {name: int(values[k]) for name, values in columns.items()}
        await driver.cycle(start=1, **inputs)
        passed = 1
        while not driver.registered("done"):
            await driver.cycle(start=0)
            passed += 1
            if passed >= cycles.stop:
                raise MismatchError(f"operation {k} is not done after {passed} cycles")
        if passed not in cycles:
            raise MismatchError(f"operation {k} is done after {passed} cycles already")
        found.append([driver.registered(name) for name in outputs])
        while random.random() < gaps:
            # The inputs may change now; the results stay.
            seen = await driver.cycle(start=0, **driver.noise(random, *free))
            expect(f"results of operation {k}, kept", [getattr(seen, name) for name in outputs], found[-1])
    return found


def serial_cases(
    cycles: Callable[[Component], range],
    golden: Callable[[Columns], Columns],
    corners: Callable[[], Columns],
    draw: Callable[[Random, int], Columns],
    held: Sequence[str] = (),
) -> dict[str, Case]:
    """Cases of a unit with `start` and `done`.

    Parameters
    ----------
    cycles
        Of a unit: the numbers of cycles from `start` to `done` that are allowed.
    golden
        Outputs of operations.
    corners
        Corner values.
    draw
        n random operations.
    held
        Inputs that must stay as long as the results are used.
    """

    async def check(driver: Driver, columns: Columns, gaps: float = 0.0, seed: int = 0) -> None:
        expected = golden(columns)
        random = np.random.default_rng(seed)
        found = await _serve(driver, columns, list(expected), cycles(driver.unit), random, gaps, held)
        for name, values in zip(expected, zip(*found, strict=True), strict=True):
            expect(name, values, list(expected[name]))

    async def corner_values(driver: Driver) -> None:
        await check(driver, corners())

    async def one_behind_another(driver: Driver) -> None:
        await check(driver, draw(np.random.default_rng(1), 200))

    async def with_random_gaps(driver: Driver) -> None:
        await check(driver, draw(np.random.default_rng(2), 100), gaps=0.6)

    async def reset_in_the_middle(driver: Driver) -> None:
        random = np.random.default_rng(3)
        longest = cycles(driver.unit).stop
        for passed in (1, 2, 3, *random.integers(4, longest, 3).tolist()):
            await driver.cycle(start=1, **{name: int(values[0]) for name, values in draw(random, 1).items()})
            for _ in range(passed):
                await driver.cycle(start=0)
            await driver.reset()
            for _ in range(longest):
                expect("done after a reset", (await driver.cycle(start=0)).done, 0)
            await check(driver, draw(random, 2))

    return named(corner_values, one_behind_another, with_random_gaps, reset_in_the_middle)
