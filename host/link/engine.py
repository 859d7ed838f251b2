"""The ``board`` engine: a model on a board, with the golden model's numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from time import perf_counter

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...hdl.config import AcceleratorConfig
from ...hdl.link.protocol import EVERY_CAUSE
from ...models.engine import Numbers, State, Timing, checked_tokens, whole_prompt
from ...models.errors import TritforgeError
from ...models.image import Image
from .driver import Board, Loaded, Progress
from .payloads import MOST_TOKENS, memory_bytes, program_bytes, settings_bytes

__all__ = ["BoardEngine"]

_MOST_RAW_COLUMNS = 258
"""Columns whose sum of INT8 fits the 16 bits that a board sends."""


class BoardEngine:
    """A model on an opened board; an `Engine`, but that saturations are not counted.

    Parameters
    ----------
    board
        The board.
    image
        The model, laid out for the board's accelerator.
    config
        That accelerator.
    progress
        Told how much of the image is loaded.

    Attributes
    ----------
    board : Board
        The board.
    loaded : Loaded
        How much of the image had to be written.
    cycles : int
        Counted by the device in the latest generation, from the prompt's last token on; known when it has
        ended.

    Raises
    ------
    TritforgeError
        If the model does not fit, or the image has another layout, or the board does not take it.
    """

    name = "board"
    _numbers: Numbers = "integer"

    def __init__(
        self, board: Board, image: Image, config: AcceleratorConfig, progress: Progress | None = None
    ) -> None:
        program = program_bytes(image, config)
        if image.layout != config.layout:
            raise TritforgeError(
                f"the image is laid out for {image.layout.lanes} lanes and row blocks of"
                f" {image.layout.row_block}; the board's accelerator {config.name} has {config.layout.lanes}"
                f" and {config.layout.row_block}"
            )
        self.board, self.config = board, image.config
        self._digest = image.digest
        self.loaded: Loaded = board.load(memory_bytes(image), progress)
        board.write_program(program)
        self.reset()

    def reset(self, state: State | None = None) -> None:
        """See `Engine`."""
        if state is not None:
            state.check(self.config, self._digest, self._numbers)
            if state.position >= 1 << 32:
                raise TritforgeError(
                    f"the state stands at position {state.position}; a board counts to {(1 << 32) - 1}"
                )
        self.board.reset()
        if state is not None:
            self.board.write_state(state.h.astype("<i2").tobytes())
        self._position, self._next = (0, None) if state is None else (state.position, state.next_token)
        self.board.set_position(self._position)
        self.timing = Timing()
        self.cycles = 0

    def state(self) -> State:
        """See `Engine`; not while a generation is under way."""
        shape = (self.config.num_hidden_layers, self.config.hidden_size)
        h = np.zeros(shape, np.int16)
        if self._position:  # before that, the memory still holds the text before
            h[:] = np.frombuffer(self.board.read_state(h.size), "<i2").reshape(shape)
        return State(h, self._position, self._next, self._digest, self._numbers)

    def logits(self, tokens: ArrayLike) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """See `Engine`.

        Raises
        ------
        TritforgeError
            If the sums of so wide a model may not fit what a board sends of them.
        """
        ids = checked_tokens(tokens, self.config.vocab_size)
        if self.config.hidden_size > _MOST_RAW_COLUMNS:
            raise TritforgeError(
                f"a board sends raw logits of models with a hidden size of at most {_MOST_RAW_COLUMNS}, not"
                f" {self.config.hidden_size}"
            )
        self._next = None
        self.board.write_settings(settings_bytes(emit_raw=True))
        sums = np.zeros((len(ids), self.config.vocab_size), np.int32)
        scales = np.zeros(len(ids))
        for t, raw in enumerate(self.board.logits(ids.tolist(), self.config.vocab_size)):
            sums[t] = raw.sums
            scales[t] = np.ldexp(float(raw.mantissa), raw.exponent)
            self._position += 1
        return sums, scales

    def generate(
        self,
        prompt: Sequence[int],
        max_new: int,
        *,
        temperature: float | None = None,
        seed: int = 0,
        stop: frozenset[int] = frozenset(),
        cause: int = EVERY_CAUSE,
    ) -> Iterator[int]:
        """See `Engine`; `cause` is the one whose cycles are counted.

        `Board.halt` ends it at any moment from this call on, in the prompt, too: the text can go on behind
        what was consumed by then. The device goes on while the reader does something else: if the reader goes
        away, the state is that behind what the device had chosen until it could be halted.
        """
        tokens = whole_prompt(self._next, prompt, self.config.vocab_size).tolist()
        settings = settings_bytes(temperature=temperature, seed=seed, stop=stop, cause=cause)
        self.board.halted = False
        return self._tokens(tokens, max_new, settings, stop)

    def _tokens(
        self, prompt: list[int], max_new: int, settings: bytes, stop: frozenset[int]
    ) -> Iterator[int]:
        timing = self.timing = Timing()
        self.cycles = 0
        board = self.board
        start = perf_counter()
        self._next = None
        board.write_settings(settings)
        consumed = timing.prompt_tokens = board.consume(prompt[:-1])
        self._position += consumed
        self._next = prompt[consumed]
        timing.prompt_seconds = perf_counter() - start
        first = board.counter()
        # A generation longer than the accelerator's counter is asked for in several parts.
        while timing.generated_tokens < max_new:
            wanted = min(max_new - timing.generated_tokens, MOST_TOKENS)
            end = timing.generated_tokens + wanted
            run = board.run(self._next, wanted)
            try:
                start = perf_counter()
                for token in run:
                    timing.passed(perf_counter() - start)
                    self._chosen(token)
                    yield token
                    start = perf_counter()
            except GeneratorExit:
                board.halt()
                for token in run:
                    self._chosen(token)
                raise
            self.cycles = (board.counter() - first) % (1 << 32)
            if self._next in stop or timing.generated_tokens < end:
                return

    def _chosen(self, token: int) -> None:
        if token >= self.config.vocab_size:
            raise TritforgeError(
                f"the device chose token {token} of {self.config.vocab_size}: it is at fault"
            )
        self._position += 1
        self._next = token
