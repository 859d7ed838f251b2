"""Bench of `hdl.streams.Unpacker`: what comes out is what lies in the beats, read by numpy."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...hdl.isa import COUNT_BITS
from ...hdl.streams import HEADER_BITS, Unpacker
from .driver import Driver, Random, expect
from .parts import Bench, Picture, Sink, Source, named, step

__all__ = ["BENCHES", "Vector", "unpack"]

_PATIENCE = 2000


@dataclass(frozen=True)
class Vector:
    """What is asked for: elements of 1 or 2 bytes, or a header (8 bytes)."""

    size: int
    count: int = 1


_VECTORS = [
    *(Vector(2, 4), Vector(2, 1), Vector(1, 8), Vector(1, 1), Vector(8), Vector(2, 13), Vector(8), Vector(8)),
    *(Vector(1, 27), Vector(2, 16), Vector(1, 64), Vector(1, 7), Vector(2, 31), Vector(1, 0), Vector(1, 9)),
]


def _signed(word: int, count: int = 1) -> list[int]:
    """16-bit elements of a word."""
    halves = [word >> 16 * k & 0xFFFF for k in range(count)]
    return [each - (each >> 15 << 16) for each in halves]


async def unpack(
    driver: Driver, vectors: list[Vector], random: Random, bubbles: float = 0.0, stalls: float = 0.0
) -> None:
    """Ask for vectors one behind another, and compare all elements; without gaps also the cycles."""
    per_word = driver.bits("elements__payload") // 16
    width = driver.bits("beats__payload") // 8
    beats: list[int] = []
    expected = []
    for vector in vectors:
        data = random.bytes(vector.count * vector.size)
        padded = data + random.bytes(-len(data) % width)
        beats += [int.from_bytes(padded[k : k + width], "little") for k in range(0, len(padded), width)]
        expected.append(np.frombuffer(data, {8: "<u8", 1: "<i1", 2: "<i2"}[vector.size]).tolist())
    too_many = int.from_bytes(random.bytes(width), "little")
    source = Source("beats", [*beats, too_many], random, bubbles)
    sink = Sink("elements", random, stalls)
    agents = (source, sink)
    for vector, values in zip(vectors, expected, strict=True):
        if vector.size * 8 == HEADER_BITS:
            for _ in range(_PATIENCE):
                seen = await step(driver, agents, take_header=1)
                if seen.header_taken:
                    break
            expect("header", [seen.header], values)
            driver.set(take_header=0)
            continue
        before = len(sink.taken)
        expect("idle", driver.registered("idle"), 1)
        await step(driver, agents, start=1, count=vector.count, bytes=int(vector.size == 1))
        cycles = 1
        while not driver.registered("idle") and cycles < _PATIENCE:
            await step(driver, agents, start=0)
            cycles += 1
        driver.set(start=0)
        per_step = 1 if vector.size == 1 else per_word
        words = sink.taken[before:]
        expect("words", len(words), -(-vector.count // per_step))
        elements = [each for word in words for each in _signed(word, per_step)]
        expect("elements", elements[: vector.count], values)
        if vector.count and not bubbles and not stalls:
            # The beat is taken a cycle after `start`, and its first element comes in the next.
            expect(f"cycles of {vector.count} elements", cycles, len(words) + 2)
    for _ in range(3):
        seen = await step(driver, agents)
        expect("an element too many", seen.elements__valid, 0)
    expect("beats left", source.left, [too_many])


def _draw(random: Random, count: int) -> list[Vector]:
    sizes = random.choice([1, 2, 8], count)
    return [Vector(int(size), 1 if size == 8 else int(random.integers(0, 30))) for size in sizes]


async def _shapes(driver: Driver) -> None:
    await unpack(driver, _VECTORS, np.random.default_rng(0))


async def _without_a_bubble(driver: Driver) -> None:
    random = np.random.default_rng(1)
    await unpack(driver, _draw(random, 250), random)


async def _with_bubbles_and_stalls(driver: Driver) -> None:
    random = np.random.default_rng(2)
    for bubbles, stalls in ((0.4, 0.0), (0.0, 0.4), (0.6, 0.6)):
        await unpack(driver, _draw(random, 80), random, bubbles, stalls)
        await driver.reset()


async def _reset_in_the_middle(driver: Driver) -> None:
    random = np.random.default_rng(3)
    for cycles in (1, 2, 3, 5, 11, 17):
        agents: list[Any] = [Source("beats", [1] * 99, random), Sink("elements", random)]
        await step(driver, agents, start=1, count=40, bytes=1)
        for _ in range(cycles):
            await step(driver, agents, start=0)
        await driver.reset()
        seen = await driver.cycle(beats__valid=1, elements__ready=1)
        expect("after a reset", [seen.idle, seen.elements__valid, seen.beats__ready], [1, 0, 0])
        await unpack(driver, [Vector(2, 9), Vector(8)], random)


async def _picture(driver: Driver) -> None:
    random = np.random.default_rng(0)
    beats = [int.from_bytes(bytes(range(first, first + 8)), "little") for first in (1, 9)]
    sink = Sink("elements", random, 0.2)
    agents = (Source("beats", beats, random, 0.0), sink)
    await step(driver, agents, start=1, count=10, bytes=1)
    while not driver.registered("idle"):
        await step(driver, agents, start=0)
    await step(driver, agents)


async def _picture_of_words(driver: Driver) -> None:
    random = np.random.default_rng(0)
    beats = [int.from_bytes(bytes(range(first, first + 16)), "little") for first in (1, 17)]
    agents = (Source("beats", beats, random, 0.0), Sink("elements", random, 0.2))
    await step(driver, agents, start=1, count=13)
    while not driver.registered("idle"):
        await step(driver, agents, start=0)
    await step(driver, agents)


_CASES = named(_shapes, _without_a_bubble, _with_bubbles_and_stalls, _reset_in_the_middle)
_PORTS = {
    "start": "",
    "count": "start",
    "beats__valid": "",
    "beats__ready": "",
    "elements__valid": "",
    "elements__payload": "elements__valid",
    "elements__ready": "",
    "idle": "",
}

BENCHES = (
    Bench("unpacker", Unpacker, _CASES, Picture(_picture, _PORTS), (HEADER_BITS,)),
    Bench(
        "unpacker_of_words",
        Unpacker,
        _CASES,
        Picture(_picture_of_words, _PORTS),
        (2 * HEADER_BITS, COUNT_BITS, 4),
    ),
)
"""With elements one by one, and with words of four."""
