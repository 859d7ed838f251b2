"""What can be found out about a board over its link, next to the golden model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from ...hdl.accelerator import CAUSES
from ...hdl.config import AcceleratorConfig
from ...hdl.link.protocol import EVERY_CAUSE, MOST_DATA, Space
from ...models.errors import TritforgeError
from ...models.loading import Model
from ...models.software import GoldenEngine
from .driver import Board, Progress
from .engine import BoardEngine
from .payloads import MOST_TOKENS, settings_bytes

__all__ = ["Finding", "examine"]

_REQUESTS = 100
_TOKENS = 64
_POSITIONS = _COUNTED_TOKENS = 8
_TEMPERATURE, _SEED = 0.8, 1


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Parameters
    ----------
    name
        What was checked.
    ok
        Whether it is as it should be.
    found
        What was found, in a few words.
    values
        The same for programs.
    """

    name: str
    ok: bool
    found: str
    values: dict[str, Any] = field(default_factory=dict)


def examine(
    board: Board,
    model: Model,
    config: AcceleratorConfig,
    clock_hz: float | None = None,
    progress: Progress | None = None,
) -> Iterator[Finding]:
    """Check an opened board, from its link to its tokens; what follows a failed load is left out.

    Parameters
    ----------
    board
        The board.
    model
        What is loaded and compared with the golden model.
    config
        The board's accelerator.
    clock_hz
        Its clock, if known.
    progress
        Told how much of the model is loaded.
    """
    yield _finding("link", lambda: _link(board))
    engines: list[BoardEngine] = []

    def load() -> Finding:
        start = perf_counter()
        image = model.image(config.layout)
        engine = BoardEngine(board, image, config, progress)
        engines.append(engine)
        seconds, loaded = perf_counter() - start, engine.loaded
        return Finding(
            "weight memory",
            True,
            f"{loaded.written:,} bytes written and {loaded.kept:,} there already, in {seconds:.1f} s",
            {"written": loaded.written, "kept": loaded.kept, "seconds": seconds},
        )

    yield _finding("weight memory", load)
    if not engines:
        return
    checks = _Checks(engines[0], model, clock_hz)
    for name in ("state memory", "greedy tokens", "sampled tokens", "states", "logits", "stop", "halt"):
        yield _finding(name, getattr(checks, name.replace(" ", "_")))
    yield _finding("cycles", checks.cycles)
    yield _finding("speed", checks.speed)


def _finding(name: str, check: Callable[[], Finding]) -> Finding:
    """A check's finding; an error is one, too."""
    try:
        return check()
    except TritforgeError as error:
        return Finding(name, False, str(error))


def _link(board: Board) -> Finding:
    """Ask many times for little and for much."""
    statistics = board.link.statistics
    before = statistics.repetitions, statistics.damaged
    seconds: dict[int, list[float]] = {0: [], MOST_DATA: []}
    for _ in range(_REQUESTS):
        for size, times in seconds.items():
            start = perf_counter()
            board.link.ask(Space.WEIGHTS, 0, size)
            times.append(perf_counter() - start)
    repeated, damaged = statistics.repetitions - before[0], statistics.damaged - before[1]
    least, most = (1000 * median(times) for times in seconds.values())
    return Finding(
        "link",
        not (repeated or damaged),
        f"{2 * _REQUESTS} requests: answered in {least:.2f} ms, with {MOST_DATA} bytes in {most:.2f} ms"
        f" (medians); {repeated} repeated, {damaged} answers damaged",
        {
            "requests": 2 * _REQUESTS,
            "median_ms": least,
            f"median_ms_of_{MOST_DATA}_bytes": most,
            "repeated": repeated,
            "damaged": damaged,
        },
    )


class _Checks:
    """Checks of a board with a model, next to the golden model; each begins a text of its own."""

    def __init__(self, engine: BoardEngine, model: Model, clock_hz: float | None) -> None:
        self._engine, self._model, self._clock_hz = engine, model, clock_hz
        self._golden = GoldenEngine(model.integers)
        self._opening = model.opening() if model.tokenizer is not None else [0]

    def state_memory(self) -> Finding:
        """Write and read the state memory."""
        elements = self._engine.config.num_hidden_layers * self._engine.config.hidden_size
        pattern = np.random.default_rng(0).bytes(2 * elements)
        self._engine.reset()
        self._engine.board.write_state(pattern)
        back = self._engine.board.read_state(elements)
        return _equal("state memory", pattern, back, f"{elements} elements written and read back")

    def greedy_tokens(self) -> Finding:
        """The most likely tokens."""
        return self._tokens("greedy tokens", None)

    def sampled_tokens(self) -> Finding:
        """Tokens with noise."""
        return self._tokens("sampled tokens", _TEMPERATURE)

    def _tokens(self, name: str, temperature: float | None) -> Finding:
        ours, theirs = (
            [*self._begun(engine).generate(self._opening, _TOKENS, temperature=temperature, seed=_SEED)]
            for engine in (self._engine, self._golden)
        )
        return _equal(name, theirs, ours, f"{_TOKENS} equal to the golden model's")

    def states(self) -> Finding:
        """The states behind the sampled tokens."""
        ours, theirs = self._engine.state(), self._golden.state()
        return _equal("states", theirs.h.ravel().tolist(), ours.h.ravel().tolist(), f"{ours.h.size} equal")

    def logits(self) -> Finding:
        """Raw sums and scales of a few positions."""
        tokens = [*self._opening, *range(_POSITIONS)][:_POSITIONS]
        tokens = [token % self._engine.config.vocab_size for token in tokens]
        (sums, scales), (golden_sums, golden_scales) = (
            self._begun(engine).logits(tokens) for engine in (self._engine, self._golden)
        )
        return _equal(
            "logits",
            [*golden_sums.ravel().tolist(), *golden_scales],
            [*sums.ravel().tolist(), *scales],
            f"{sums.size} and {len(scales)} scales equal",
        )

    def stop(self) -> Finding:
        """A generation ends with a stop token."""
        whole = [*self._begun(self._golden).generate(self._opening, _TOKENS)]
        stop = whole[len(whole) // 2]
        expected = whole[: whole.index(stop) + 1]
        found = [*self._begun(self._engine).generate(self._opening, _TOKENS, stop=frozenset([stop]))]
        return _equal("stop", expected, found, f"after {len(expected)} tokens, at the stop token")

    def halt(self) -> Finding:
        """A generation ends when it is halted, and the text can go on."""
        engine = self._engine
        run = self._begun(engine).generate(self._opening, MOST_TOKENS)
        before = [*islice(run, 2)]
        engine.board.halt()
        count = len(before) + len([*run])
        after = [*engine.generate([], 2)]
        golden = [*self._begun(self._golden).generate(self._opening, count + 2)][-2:]
        return _equal("halt", golden, after, f"after {count} tokens; the text goes on")

    def cycles(self) -> Finding:
        """Cycles a token, and what they go for."""
        each = self._cycles_per_token(EVERY_CAUSE)
        if not each:
            return Finding("cycles", True, "none counted")
        causes = {name: self._cycles_per_token(number) for number, name in enumerate(CAUSES)}
        # A result waits now and then until the link has answered, so not all runs have the same cycles.
        ok = abs(sum(causes.values()) - each) < 0.01 * each
        shares = ", ".join(f"{name} {cycles / each:.1%}" for name, cycles in causes.items() if cycles)
        return Finding(
            "cycles",
            ok,
            f"{each:,.0f} a token: {shares}" + ("" if ok else "; which is not all"),
            {"cycles_per_token": each, "causes": causes},
        )

    def _cycles_per_token(self, cause: int) -> float:
        """Cycles of a cause in a generation, by its tokens; 0 if the device counts none."""
        self._begun(self._engine)
        board = self._engine.board
        board.write_settings(settings_bytes(cause=cause))
        board.consume(self._opening[:-1])
        return board.cycles(self._opening[-1], _COUNTED_TOKENS) / _COUNTED_TOKENS

    def speed(self) -> Finding:
        """The device's own speed, and what is seen of it here."""
        engine = self._begun(self._engine)
        _ = [*engine.generate(self._opening, _TOKENS)]
        seen = engine.timing.tokens_per_second
        values: dict[str, Any] = {"host_tokens_per_second": seen, "device_tokens_per_second": None}
        device = "unknown, since its clock or its cycles are"
        each = self._cycles_per_token(EVERY_CAUSE)
        if self._clock_hz and each:
            rate = self._clock_hz / each
            values |= {"device_tokens_per_second": rate, "clock_hz": self._clock_hz}
            device = f"{rate:,.0f} tokens/s at {self._clock_hz / 1e6:g} MHz"
        return Finding("speed", True, f"device: {device}; seen over the link: {seen:,.1f} tokens/s", values)

    @staticmethod
    def _begun(engine: Any) -> Any:
        engine.reset()
        return engine


def _equal(name: str, expected: Any, found: Any, text: str) -> Finding:
    """What a comparison found: the text if all is equal, else where the first difference is."""
    if len(expected) == len(found):
        unequal = next(
            (k for k, pair in enumerate(zip(expected, found, strict=True)) if pair[0] != pair[1]), None
        )
        if unequal is None:
            return Finding(name, True, text)
        return Finding(
            name, False, f"number {unequal} is {found[unequal]}, and should be {expected[unequal]}"
        )
    return Finding(name, False, f"there are {len(found)}, and should be {len(expected)}")
