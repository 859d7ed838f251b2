"""Bench of `hdl.vectors`: passes over vectors, one behind another, against what their instructions say.

Headers, weights and elements come late. What must come in which cycle is told by when they came.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from ...hdl.config import AcceleratorConfig
from ...hdl.isa import Instruction, Opcode
from ...hdl.vectors import VectorControl
from ...models.image import Layout
from .driver import Driver, MismatchError, Random, expect
from .parts import Bench, Picture, named

__all__ = ["BENCHES"]

_CONFIG = AcceleratorConfig("bench", Layout(8, 122), 64, 64, 64, 256, streams=2)
_OF_WORDS = replace(_CONFIG, vector_width=4)
_LONGEST = 64
_PULSES = ("take_header", "unpack", "clear", "reserve", "pop", "valid", "bound_write", "scale")
_BEGIN = 1
"""Cycles from a pass's start to its header, or to its beginning."""


@dataclass(frozen=True)
class Pass:
    """An instruction; whether a running one finds its elements in the memory."""

    instruction: Instruction
    scanning: bool = False

    @property
    def produced(self) -> bool:
        """Whether elements are taken as they are produced."""
        return self.instruction.running and not self.scanning


@dataclass
class _Seen:
    """Cycles behind its start in which a pass has shown or taken something."""

    pulses: dict[str, list[int]] = field(default_factory=lambda: {name: [] for name in _PULSES})
    header: int = 0
    taken: list[int] = field(default_factory=list)
    addresses: list[int] = field(default_factory=list)
    present: list[int] = field(default_factory=list)
    bound_rows: list[int] = field(default_factory=list)
    count: int = -1
    end: int = 0


class _Surroundings:
    """Unpacker, weight buffer and producer of elements, each late at the `rate` at which they are not.

    `against_g` and `measured` outlive a pass.
    """

    def __init__(self, driver: Driver, random: Random, rate: float = 1.0) -> None:
        self.driver = driver
        self.width = driver.bits("present") if "present" in driver.shapes else 1
        self.random = random
        self.rate = rate
        self.against_g = 0
        self.measured = 1

    def _here(self) -> bool:
        return bool(self.random.random() < self.rate)

    async def start(self, now: Pass) -> None:
        """The cycle in which a pass begins."""
        expect("idle before a pass", self.driver.registered("idle"), 1)
        bits = sum(word << 16 * k for k, word in enumerate(now.instruction.words()))
        seen = await self.driver.cycle(start=1, instruction=bits, scanning=int(now.scanning), produced=0)
        expect("measured before a pass", seen.measured, self.measured)
        self.driver.set(start=0)

    async def cycle(self, left: int) -> tuple[SimpleNamespace, bool]:
        """A cycle of a pass; `left` of its elements are still to be produced. Returns whether one was."""
        driver, random = self.driver, self.random
        produced = bool(driver.registered("running") and left and self._here())
        seen = await driver.cycle(
            # What holds at the start alone.
            **driver.noise(random, "instruction", "scanning"),
            header_taken=int(driver.registered("take_header") and self._here()),
            available=int(self._here()),
            produced=int(produced),
        )
        return seen, produced

    async def run(self, now: Pass) -> int:
        """Run a pass, compare all that it shows, and return its cycles."""
        await self.start(now)
        seen = _Seen()
        left = now.instruction.count if now.produced else 0
        for cycle in range(1, 4000):
            outputs, produced = await self.cycle(left)
            if outputs.idle:
                seen.end = cycle
                break
            self._note(seen, cycle, outputs, produced)
            self._held(now, cycle, outputs)
            left -= produced
        expect("elements not taken", left, 0)
        self._compare(now, seen)
        return seen.end

    def _note(self, seen: _Seen, cycle: int, outputs: SimpleNamespace, produced: bool) -> None:
        for name, cycles in seen.pulses.items():
            if getattr(outputs, name):
                cycles.append(cycle)
        if outputs.take_header and self.driver.given("header_taken"):
            seen.header = cycle
        if outputs.unpack:
            seen.count = outputs.count
        if outputs.reserve:
            expect("available, with a weight that is reserved", self.driver.given("available"), 1)
            expect("reading, with an address", outputs.reading, 1)
            seen.addresses.append(outputs.address)
        if outputs.valid and self.width > 1:
            seen.present.append(outputs.present)
        if outputs.bound_write:
            seen.bound_rows.append(outputs.bound_row)
        if produced:
            seen.taken.append(cycle)

    def _held(self, now: Pass, cycle: int, outputs: SimpleNamespace) -> None:
        """Compare what holds in a cycle of a pass."""
        instruction = now.instruction
        projecting = instruction.opcode == Opcode.PROJECT
        if instruction.opcode != Opcode.BOUND:
            self.against_g = int(instruction.against_g)
        if projecting:
            self.measured = 0
        if cycle > 1:  # a register behind the instruction's own
            expect("projecting", outputs.projecting, int(projecting))
        for name in ("own_energy", "product"):
            expect(name, getattr(outputs, name), int(getattr(instruction, name)))
        # A bound overtakes the scale, for which this is held.
        expect("against_g", outputs.against_g, self.against_g)
        expect("measured", outputs.measured, self.measured)
        if outputs.reading if now.produced else outputs.running:
            raise MismatchError("elements are sought where they are not")

    def _compare(self, now: Pass, seen: _Seen) -> None:
        opcode, count = now.instruction.opcode, now.instruction.count
        pulses = seen.pulses
        headed = opcode in (Opcode.PROJECT, Opcode.SCALE)
        expect("cycles that take a header", pulses["take_header"], list(range(_BEGIN, seen.header + 1)))
        expect("whether a header was taken", bool(seen.header), headed)
        begin = (seen.header if headed else 0) + 1
        if opcode == Opcode.SCALE:
            for name in ("unpack", "clear", "reserve", "pop", "valid", "bound_write"):
                expect(name, pulses[name], [])
            expect("scale", pulses["scale"], [begin + 1])
            expect("end", seen.end, begin + 2)
            return
        bound = opcode == Opcode.BOUND
        expect("unpack", pulses["unpack"], [begin])
        expect("weights wanted", seen.count, count)
        expect("clear", pulses["clear"], [] if bound else [begin + 1])
        words = range(0, count, self.width)
        if now.produced:
            # Its weight comes a cycle behind an element; behind a word, which is gathered for a cycle.
            ends = [min(first + self.width, count) - 1 for first in words]
            expect("addresses", seen.addresses, [])
            expect("pop", pulses["pop"], [seen.taken[end] + int(self.width > 1) for end in ends])
            last = seen.taken[-1]
            lag = _CONFIG.lag - int(self.width == 1)
        else:
            expect("addresses", seen.addresses, list(words))
            read = [cycle + 1 for cycle in pulses["reserve"]]
            expect("pop", pulses["pop"], read)
            expect("valid", pulses["valid"], [] if bound else read)
            if self.width > 1 and not bound:
                masks = [(1 << min(self.width, count - first)) - 1 for first in words]
                expect("elements of words that are the vector's", seen.present, masks)
            expect("bound_write", pulses["bound_write"], [cycle + 1 for cycle in read] if bound else [])
            last = pulses["reserve"][-1]
            lag = 0
            if self.rate == 1.0:
                cycles = range(begin + 1, begin + 1 + len(words))
                expect("cycles of addresses", pulses["reserve"], list(cycles))
        expect("rows of bounds", seen.bound_rows, list(words) if bound else [])
        # By then the last element, which comes a cycle behind its address or in the cycle in which it is
        # produced, has been measured.
        end = last + self.driver.unit.latency + lag
        scaled = now.instruction.scale if opcode == Opcode.PROJECT else not bound
        expect("scale", pulses["scale"], [end] if scaled else [])
        expect("end", seen.end, end + 1)
        if opcode == Opcode.PROJECT:
            self.measured = 1


async def _pass(
    driver: Driver, passes: Iterable[Pass], random: Random, rate: float = 1.0, pauses: float = 0.0
) -> None:
    """Run passes, each as soon as the one before has ended, or some cycles later."""
    around = _Surroundings(driver, random, rate)
    for now in passes:
        while random.random() < pauses:
            seen = await driver.cycle(**driver.noise(random, "instruction", "scanning"))
            expect("idle", seen.idle, 1)
            expect("measured", seen.measured, around.measured)
            expect("pulses while idle", [getattr(seen, name) for name in _PULSES], [0] * len(_PULSES))
        await around.run(now)


def _project(count: int, **flags: Any) -> Pass:
    scanning = flags.pop("scanning", False)
    return Pass(Instruction(Opcode.PROJECT, count=count, **flags), scanning)


def _draw(random: Random, count: int, longest: int = 12) -> list[Pass]:
    passes = []
    for _ in range(count):
        opcode = Opcode(random.choice([Opcode.PROJECT, Opcode.SCALE, Opcode.ENERGY, Opcode.BOUND]))
        own = {
            Opcode.PROJECT: ("running", "scale", "own_energy"),
            Opcode.ENERGY: ("product", "against_g"),
        }.get(opcode, ())
        flags: dict[str, Any] = {name: bool(random.integers(2)) for name in own}
        length = int(random.integers(1, longest + 1))
        passes.append(Pass(Instruction(opcode, count=length, **flags), bool(random.integers(2))))
    return passes


_EACH: Sequence[Pass] = [
    _project(_LONGEST, scale=True),
    _project(_LONGEST, running=True, own_energy=True),
    _project(3, running=True, scanning=True),
    _project(1),
    _project(1, running=True, scale=True),
    Pass(Instruction(Opcode.ENERGY, count=_LONGEST, product=True, against_g=True)),
    Pass(Instruction(Opcode.BOUND, count=_LONGEST)),
    Pass(Instruction(Opcode.SCALE)),
    Pass(Instruction(Opcode.ENERGY, count=1)),
    Pass(Instruction(Opcode.BOUND, count=1)),
    Pass(Instruction(Opcode.SCALE)),
    Pass(Instruction(Opcode.SCALE)),
]


async def _each_pass(driver: Driver) -> None:
    random = np.random.default_rng(0)
    for rate in (1.0, 0.3):
        await _pass(driver, _EACH, random, rate)
        await _pass(driver, [*_EACH[::-1]], random, rate)


async def _without_a_bubble(driver: Driver) -> None:
    random = np.random.default_rng(1)
    await _pass(driver, _draw(random, 300), random)


async def _with_bubbles_and_pauses(driver: Driver) -> None:
    random = np.random.default_rng(2)
    for rate, pauses in ((1.0, 0.7), (0.6, 0.0), (0.2, 0.4)):
        await driver.reset()  # what is held from the passes before
        await _pass(driver, _draw(random, 60), random, rate, pauses)


async def _reset_in_the_middle(driver: Driver) -> None:
    random = np.random.default_rng(3)
    for now in _EACH[:7]:
        for cycles in (0, 1, 2, 3, 7, 12):
            around = _Surroundings(driver, random)
            await around.start(now)
            left = now.instruction.count if now.produced else 0
            for _ in range(cycles):
                _, produced = await around.cycle(left)
                left -= produced
            await driver.reset()
            for _ in range(_LONGEST):
                seen = await driver.cycle(available=1, header_taken=1)
                expect("idle and measured after a reset", [seen.idle, seen.measured], [1, 1])
                expect("pulses after a reset", [getattr(seen, name) for name in _PULSES], [0] * len(_PULSES))
            await driver.reset()
            await _pass(driver, _draw(random, 3), random)
            await driver.reset()


async def _picture_of_words(driver: Driver) -> None:
    random = np.random.default_rng(2)
    await _pass(driver, [_project(6, running=True, scale=True), _project(7)], random, 0.9)


async def _picture(driver: Driver) -> None:
    random = np.random.default_rng(2)
    await _pass(driver, [_project(4, running=True, scale=True), _project(3)], random, 0.7)


_CASES = named(_each_pass, _without_a_bubble, _with_bubbles_and_pauses, _reset_in_the_middle)
_PORTS = {
    "start": "",
    "idle": "",
    "take_header": "",
    "header_taken": "take_header",
    "unpack": "",
    "count": "unpack",
    "clear": "",
    "running": "",
    "produced": "",
    "available": "",
    "reserve": "",
    "address": "reserve",
    "valid": "",
    "pop": "",
    "measured": "",
    "scale": "",
}

BENCHES = (
    Bench("vector_control", VectorControl, _CASES, Picture(_picture, _PORTS), (_CONFIG,)),
    Bench(
        "vector_control_of_words",
        VectorControl,
        _CASES,
        Picture(_picture_of_words, {**_PORTS, "present": "valid"}),
        (_OF_WORDS,),
    ),
)
"""With elements one by one, and with words of four."""
