"""Bench of `hdl.conductor`: whole sessions against their plain description in Python."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from ...hdl.conductor import STOPS, Conductor
from .driver import Driver, Random, expect
from .parts import Bench, Picture, Sink, Source, named, run_until, step

__all__ = ["BENCHES", "Session", "converse"]

_POSITIONS = 1 << 32


@dataclass(frozen=True)
class Session:
    """What a host asks for.

    Parameters
    ----------
    tokens
        Token, whether its logits are wanted, whether to generate from there.
    choices
        What the head will choose, run by run: token, mantissa and exponent.
    new_tokens, stops, stops_enabled, halt
        See `Conductor`.
    position
        Position to begin at; None goes on.
    """

    tokens: Sequence[tuple[int, int, int]]
    choices: Sequence[tuple[int, int, int]]
    new_tokens: int = 1
    stops: tuple[int, ...] = (0,) * STOPS
    stops_enabled: int = 0
    halt: int = 0
    position: int | None = None


def _expected(session: Session, position: int) -> tuple[list[Any], list[Any], int]:
    """Runs (token, logits, position), results (token, mantissa, exponent, last) and the last position."""
    runs, results = [], []
    choices = iter(session.choices)
    stops = [stop for k, stop in enumerate(session.stops) if session.stops_enabled >> k & 1]
    for token, logits, generate in session.tokens:
        left = session.new_tokens if generate else 1
        last = 0
        while not last:
            runs.append((token, logits, position))
            position = (position + 1) % _POSITIONS
            if not logits:
                break
            token, mantissa, exponent = next(choices)
            last = int(left <= 1 or session.halt or token in stops)
            results.append((token, mantissa, exponent, last))
            left -= 1
    return runs, results, position


@dataclass
class _Sequencer:
    """Ends every run some cycles later, with the head's next choice."""

    choices: list[tuple[int, int, int]]
    random: Random
    slowest: int
    runs: list[tuple[int, int, int]] = field(default_factory=list)
    _wait: int = -1
    _choice: tuple[int, int, int] = (0, 0, 0)

    def inputs(self, driver: Driver) -> dict[str, int]:
        self._wait -= 1
        if self._wait == 0 and self.runs[-1][1]:
            self._choice = self.choices.pop(0)
        chosen, mantissa, exponent = self._choice
        return {"done": int(self._wait == 0), "chosen": chosen, "mantissa": mantissa, "exponent": exponent}

    def see(self, outputs: SimpleNamespace) -> None:
        if outputs.start:
            self.runs.append((outputs.token, outputs.logits, outputs.position))
            self._wait = 1 + int(self.random.integers(self.slowest + 1))


async def converse(
    driver: Driver, session: Session, position: int, random: Random, bubbles: float = 0.0, slowest: int = 0
) -> int:
    """Hold a session, compare all runs and results, and return the position behind it."""
    tokens = [
        {"token": token, "logits": logits, "generate": generate} for token, logits, generate in session.tokens
    ]
    source = Source("tokens", tokens, random, bubbles)
    sink = Sink("results", random, bubbles)
    sequencer = _Sequencer(list(session.choices), random, slowest)
    driver.set(
        new_tokens=session.new_tokens,
        stops=list(session.stops),
        stops_enabled=session.stops_enabled,
        halt=session.halt,
    )
    expect("idle", driver.registered("idle"), 1)
    if session.position is not None:
        position = session.position
        # A token that waits already goes behind the position.
        await step(driver, [source, sink, sequencer], set_position=1, new_position=position)
        expect("tokens taken with a new position", len(source.left), len(tokens))
        driver.set(set_position=0, **driver.noise(random, "new_position"))
    runs, results, position = _expected(session, position)
    await run_until(
        driver,
        [source, sink, sequencer],
        lambda: not source.left and bool(driver.registered("idle")) and len(sink.taken) >= len(results),
        patience=200 + 40 * len(runs) * (1 + slowest),
    )
    for _ in range(3):
        await step(driver, [source, sink, sequencer])
    expect("runs", sequencer.runs, runs)
    found = [(each.token, each.mantissa, each.exponent, each.last) for each in sink.taken]
    expect("results", found, results)
    expect("position", driver.registered("position"), position)
    return position


def draw_session(random: Random, tokens: int) -> Session:
    """A random session; stop tokens are frequent."""
    asked = []
    for _ in range(tokens):
        logits = int(random.integers(2))
        asked.append((int(random.integers(1 << 16)), logits, logits and int(random.integers(2))))
    new_tokens = int(random.integers(0, 9))
    choices = [
        (int(random.integers(12)), int(random.integers(1 << 14, 1 << 15)), int(random.integers(-128, 128)))
        for _ in range(9 * tokens)
    ]
    return Session(
        asked,
        choices,
        new_tokens,
        tuple(random.integers(0, 12, STOPS).tolist()),
        int(random.integers(1 << STOPS)),
        int(random.random() < 0.1),
        int(random.integers(_POSITIONS)) if random.random() < 0.5 else None,
    )


_SESSIONS = {
    "tokens alone": Session([(5, 0, 0), (6, 0, 0), (0xFFFF, 0, 0)], []),
    "logits of every token": Session(
        [(5, 1, 0), (6, 1, 0)], [(70, 20_000, -7), (71, 20_001, 3)], new_tokens=9
    ),
    "three new tokens": Session(
        [(5, 0, 0), (6, 1, 1)], [(k, 20_000, -7) for k in (70, 71, 72)], new_tokens=3
    ),
    "one new token": Session([(6, 1, 1)], [(70, 20_000, -7)], new_tokens=1),
    "no new token counts as one": Session([(6, 1, 1)], [(70, 20_000, -7)], new_tokens=0),
    "either stop token, then the next text": Session(
        [(6, 1, 1), (7, 1, 1)],
        [(k, 20_000, -7) for k in (70, 90, 71, 72, 91)],
        new_tokens=50,
        stops=(90, 91),
        stops_enabled=0b11,
    ),
    "a stop token that is not enabled": Session(
        [(6, 1, 1)], [(90, 20_000, -7), (91, 20_000, -7)], new_tokens=50, stops=(90, 91), stops_enabled=0b10
    ),
    "halt": Session([(6, 1, 1)], [(70, 20_000, -7)], new_tokens=50, halt=1),
    "the last position": Session(
        [(5, 0, 0), (6, 1, 1)], [(70, 20_000, -7), (71, 20_000, -7)], new_tokens=2, position=_POSITIONS - 2
    ),
}


async def _each_session(driver: Driver) -> None:
    random = np.random.default_rng(0)
    for session in _SESSIONS.values():
        await converse(driver, session, 0, random)
        await driver.reset()


async def _hold(driver: Driver, sessions: int, tokens: int, bubbles: float, slowest: int) -> None:
    random = np.random.default_rng(1)
    position = 0
    for _ in range(sessions):
        position = await converse(driver, draw_session(random, tokens), position, random, bubbles, slowest)


async def _without_a_bubble(driver: Driver) -> None:
    await _hold(driver, 3, 100, 0.0, 0)


async def _with_bubbles_and_stalls(driver: Driver) -> None:
    await _hold(driver, 10, 12, 0.5, 4)


async def _reset_in_the_middle(driver: Driver) -> None:
    random = np.random.default_rng(2)
    for cycles in range(1, 8):
        source = Source("tokens", [{"token": 9, "logits": 1, "generate": 1}] * 3, random)
        sequencer = _Sequencer([(1, 1 << 14, 0)] * 9, random, 0)
        driver.set(new_tokens=5)
        for _ in range(cycles):
            await step(driver, [source, sequencer])
        await driver.reset()
        seen = await driver.cycle()
        expect("after a reset", [seen.idle, seen.start, seen.results__valid, seen.position], [1, 0, 0, 0])
        await converse(driver, draw_session(random, 2), 0, random)
        await driver.reset()


async def _picture(driver: Driver) -> None:
    session = Session([(5, 0, 0), (6, 1, 1)], [(70, 20_000, -7), (71, 20_000, -7)], new_tokens=2)
    await converse(driver, session, 0, np.random.default_rng(0), 0.3, 1)


BENCHES = (
    Bench(
        "conductor",
        Conductor,
        named(_each_session, _without_a_bubble, _with_bubbles_and_stalls, _reset_in_the_middle),
        Picture(
            _picture,
            {
                "tokens__valid": "",
                "tokens__ready": "",
                "tokens__payload": "tokens__valid",
                "start": "",
                "token": "start",
                "done": "",
                "chosen": "done",
                "results__valid": "",
                "results__ready": "",
                "results__payload": "results__valid",
                "position": "",
                "idle": "",
            },
        ),
    ),
)
"""One bench."""
