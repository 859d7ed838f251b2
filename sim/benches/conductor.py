"""Bench of `hdl.conductor`: whole sessions of several streams, against their plain description in Python."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from ...hdl.conductor import STOPS, Conductor
from .driver import Driver, Random, expect
from .parts import Agent, Bench, Picture, Sink, Source, named, run_until, step

__all__ = ["BENCHES", "Choice", "Session", "Token", "converse", "draw_session"]

_STREAMS = 3
_POSITIONS = 1 << 32


class Token(NamedTuple):
    """A token that the host gives: see `hdl.conductor.TOKEN`."""

    token: int
    logits: int = 0
    new_tokens: int = 0
    stream: int = 0


class Choice(NamedTuple):
    """What the head of a stream will choose: token and SCALE."""

    token: int
    mantissa: int = 1 << 14
    exponent: int = -7


@dataclass(frozen=True)
class Session:
    """What a host asks for.

    Parameters
    ----------
    tokens
        In order.
    choices
        For each stream, what its head will choose, run by run.
    stops, stops_enabled, halt, chain
        See `Conductor`.
    positions
        Positions to begin at, by stream; the others go on.
    """

    tokens: Sequence[Token]
    choices: Sequence[Sequence[Choice]]
    stops: tuple[int, ...] = (0,) * STOPS
    stops_enabled: int = 0
    halt: int = 0
    chain: int = 0
    positions: dict[int, int] = field(default_factory=dict)


@dataclass
class _Record:
    """What each stream ran, (token, logits, position), and gave, (token, mantissa, exponent, last)."""

    runs: list[list[Any]]
    results: list[list[Any]]


def _expected(session: Session, positions: list[int]) -> _Record:
    """What must happen; `positions` move on."""
    record = _Record([[] for _ in positions], [[] for _ in positions])
    choices = [iter(each) for each in session.choices]
    stops = [stop for k, stop in enumerate(session.stops) if session.stops_enabled >> k & 1]
    for token, logits, left, k in session.tokens:
        owner = 0 if session.chain else k
        last = 0
        while not last:
            record.runs[k].append((token, logits, positions[owner]))
            positions[owner] = (positions[owner] + 1) % _POSITIONS
            if not logits:
                break
            choice = next(choices[k])
            token = choice.token
            last = int(left <= 1 or session.halt or token in stops)
            record.results[k].append((*choice, last))
            left -= 1
    return record


@dataclass
class _Sequencer:
    """Ends every step some cycles later, with the heads' next choices.

    Attributes
    ----------
    runs
        What each stream ran.
    between
        Cycles from the end of each step to the start of the next.
    """

    choices: list[list[Choice]]
    random: Random
    slowest: int

    def __post_init__(self) -> None:
        self.runs: list[list[Any]] = [[] for _ in self.choices]
        self.between: list[int] = []
        self._wait = self._since = -1
        self._now: Any = None
        self._chosen = [Choice(0)] * len(self.choices)

    def inputs(self, driver: Driver) -> dict[str, Any]:
        """See `Agent`."""
        self._wait -= 1
        if self._wait == 0:
            positions = driver.registered("positions")
            for k in range(len(self.choices)):
                if self._now.active >> k & 1:
                    logits = self._now.logits >> k & 1
                    self.runs[k].append((self._now.token[k], logits, positions[k]))
                    if logits:
                        self._chosen[k] = self.choices[k].pop(0)
        token, mantissa, exponent = (list(values) for values in zip(*self._chosen, strict=True))
        return {"done": int(self._wait == 0), "chosen": token, "mantissa": mantissa, "exponent": exponent}

    def see(self, outputs: SimpleNamespace) -> None:
        """See `Agent`."""
        if self._since >= 0:
            self._since += 1
        if self._wait == 0:
            self._since = 0
        if outputs.start:
            if self._since >= 0:
                self.between.append(self._since)
            self._since = -1
            self._now = outputs
            self._wait = 1 + int(self.random.integers(self.slowest + 1))


async def converse(
    driver: Driver,
    session: Session,
    positions: list[int],
    random: Random,
    bubbles: float = 0.0,
    slowest: int = 0,
) -> list[int]:
    """Hold a session, and compare all runs and results; `positions` of the streams move on.

    Returns
    -------
    list of int
        Cycles from the end of each step to the start of the next.
    """
    streams = len(positions)
    source = Source("tokens", [token._asdict() for token in session.tokens], random, bubbles)
    sink = Sink("results", random, bubbles)
    sequencer = _Sequencer([list(each) for each in session.choices], random, slowest)
    agents: list[Agent] = [source, sink, sequencer]
    driver.set(
        stops=list(session.stops),
        stops_enabled=session.stops_enabled,
        halt=session.halt,
        chain=session.chain,
    )
    expect("idle", driver.registered("idle"), 1)
    for k, position in session.positions.items():
        positions[k] = position
        # Tokens that wait already go behind the position.
        await step(driver, agents, set_position=1, position_stream=k, new_position=position)
        expect("tokens taken with a new position", len(source.left), len(session.tokens))
    driver.set(set_position=0, **driver.noise(random, "new_position", "position_stream"))
    expected = _expected(session, positions)
    runs = sum(map(len, expected.runs))
    await run_until(
        driver,
        agents,
        lambda: not source.left and bool(driver.registered("idle")),
        patience=200 + 20 * runs * (4 + streams + slowest),
    )
    for _ in range(3):
        await step(driver, agents)
    results: list[list[Any]] = [[] for _ in positions]
    for each in sink.taken:
        results[each.stream].append((each.token, each.mantissa, each.exponent, each.last))
    found = driver.registered("positions")
    for k in range(streams):
        expect(f"runs of stream {k}", sequencer.runs[k], expected.runs[k])
        expect(f"results of stream {k}", results[k], expected.results[k])
        if k == 0 or not session.chain:
            expect(f"position of stream {k}", found[k], positions[k])
        positions[k] = int(found[k])
    return sequencer.between


def draw_session(random: Random, tokens: int, streams: int = _STREAMS) -> Session:
    """A random session; stop tokens are frequent, one in four is a chain, of some streams or all."""
    chain = int(random.integers(1, streams + 1)) if random.random() < 0.25 else 0
    if chain:
        tokens = -(-tokens // chain) * chain
    asked = []
    for k in range(tokens):
        logits = int(random.integers(2))
        new_tokens = int(random.integers(2 if chain else 9)) * logits
        stream = k % chain if chain else int(random.integers(streams))
        asked.append(Token(int(random.integers(1 << 16)), logits, new_tokens, stream))
    choices = [
        [
            Choice(
                int(random.integers(12)),
                int(random.integers(1 << 14, 1 << 15)),
                int(random.integers(-128, 128)),
            )
            for _ in range(9 * tokens)
        ]
        for _ in range(streams)
    ]
    moved = [k for k in range(1 if chain else streams) if random.random() < 0.5]
    return Session(
        asked,
        choices,
        tuple(random.integers(0, 12, STOPS).tolist()),
        int(random.integers(1 << STOPS)),
        int(random.random() < 0.1),
        chain,
        {k: int(random.integers(_POSITIONS)) for k in moved},
    )


def _choices(*tokens: int) -> list[list[Choice]]:
    return [[Choice(token, 20_000 + token) for token in tokens]] + [[]] * (_STREAMS - 1)


_SESSIONS = {
    "tokens alone": Session([Token(5), Token(6), Token(0xFFFF)], _choices()),
    "logits of every token": Session([Token(5, 1), Token(6, 1)], _choices(70, 71)),
    "three new tokens": Session([Token(5), Token(6, 1, 3)], _choices(70, 71, 72)),
    "one new token": Session([Token(6, 1, 1)], _choices(70)),
    "either stop token, then the next text": Session(
        [Token(6, 1, 50), Token(7, 1, 50)], _choices(70, 90, 71, 72, 91), (90, 91), 0b11
    ),
    "a stop token that is not enabled": Session([Token(6, 1, 50)], _choices(90, 91), (90, 91), 0b10),
    "halt": Session([Token(6, 1, 50)], _choices(70), halt=1),
    "the last position": Session([Token(5), Token(6, 1, 2)], _choices(70, 71), positions={0: _POSITIONS - 2}),
    "two texts at once": Session(
        [Token(5, 1, 3, 0), Token(6, 1, 2, 2)],
        [[Choice(70), Choice(71), Choice(72)], [], [Choice(80), Choice(81)]],
        positions={2: 9},
    ),
    "positions of one text": Session(
        [Token(token, int(token == 5), 0, token % 3) for token in range(6)],
        [[], [], [Choice(7)]],
        chain=3,
        positions={0: 40},
    ),
    "the last two positions of a text": Session(
        [Token(token, int(token == 3), 0, token % 2) for token in range(4)],
        [[], [Choice(7)], []],
        chain=2,
        positions={0: 43},
    ),
}


async def _each_session(driver: Driver) -> None:
    random = np.random.default_rng(0)
    for session in _SESSIONS.values():
        await converse(driver, session, [0] * _STREAMS, random)
        await driver.reset()


async def _cycles(driver: Driver) -> None:
    """Steps of which each consumes what the one before chose."""
    tokens = [Token(k, 1, 9, k) for k in range(_STREAMS)]
    choices = [[Choice(70)] * 9] * _STREAMS
    random = np.random.default_rng(0)
    between = await converse(driver, Session(tokens, choices), [0] * _STREAMS, random)
    expect("cycles from a step to the next", max(between), driver.unit.latency)


async def _hold(driver: Driver, sessions: int, tokens: int, bubbles: float, slowest: int) -> None:
    random = np.random.default_rng(1)
    positions = [0] * _STREAMS
    for _ in range(sessions):
        await converse(driver, draw_session(random, tokens), positions, random, bubbles, slowest)


async def _without_a_bubble(driver: Driver) -> None:
    await _hold(driver, 5, 100, 0.0, 0)


async def _with_bubbles_and_stalls(driver: Driver) -> None:
    await _hold(driver, 10, 12, 0.5, 4)


async def _reset_in_the_middle(driver: Driver) -> None:
    random = np.random.default_rng(2)
    for cycles in range(1, 12):
        source = Source("tokens", [Token(9, 1, 5, k)._asdict() for k in (0, 1, 0)], random)
        sequencer = _Sequencer([[Choice(1)] * 9 for _ in range(_STREAMS)], random, 0)
        agents: list[Agent] = [source, sequencer]
        for _ in range(cycles):
            await step(driver, agents)
        await driver.reset()
        seen = await driver.cycle()
        expect("after a reset", [seen.idle, seen.start, seen.results__valid, seen.active], [1, 0, 0, 0])
        expect("positions after a reset", list(seen.positions), [0] * _STREAMS)
        await converse(driver, draw_session(random, 3), [0] * _STREAMS, random)
        await driver.reset()


async def _picture(driver: Driver) -> None:
    session = Session([Token(5, 1, 2, 0), Token(6, 1, 1, 2)], [[Choice(70), Choice(71)], [], [Choice(80)]])
    await converse(driver, session, [0] * _STREAMS, np.random.default_rng(0), 0.1, 1)


BENCHES = (
    Bench(
        "conductor",
        Conductor,
        named(_each_session, _cycles, _without_a_bubble, _with_bubbles_and_stalls, _reset_in_the_middle),
        Picture(
            _picture,
            {
                "tokens__valid": "",
                "tokens__ready": "",
                "tokens__payload": "tokens__valid",
                "active": "",
                "start": "",
                "token": "start",
                "done": "",
                "chosen": "done",
                "results__valid": "",
                "results__ready": "",
                "results__payload": "results__valid",
                "positions": "",
                "idle": "",
            },
        ),
        (_STREAMS,),
    ),
)
"""One bench."""
