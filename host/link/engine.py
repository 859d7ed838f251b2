"""The ``board`` engine: a model on a board, with the golden model's numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from time import perf_counter

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...hdl.config import AcceleratorConfig
from ...models.engine import Numbers, State, Timing, checked_tokens, whole_prompt
from ...models.errors import TritforgeError
from ...models.image import Image
from .driver import Board, Loaded, Progress
from .payloads import MOST_TOKENS, memory_bytes, program_bytes, settings_bytes

__all__ = ["BoardEngine"]


class BoardEngine:
    """A model on an opened board; an `Engine`.

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
        Device cycles of the latest generation, from the prompt's last token on.

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
        self.board.set_position(0 if state is None else state.position)
        self._next = None if state is None else state.next_token
        self.timing = Timing()
        self.cycles = 0

    @property
    def saturations(self) -> int:
        """See `Engine`."""
        return self.board.counters().saturations

    def state(self) -> State:
        """See `Engine`.

        Raises
        ------
        TritforgeError
            While a generation is under way.
        """
        shape = (self.config.num_hidden_layers, self.config.hidden_size)
        memory = self.board.read_state(shape[0] * shape[1])
        position = self.board.counters().position
        # At position 0 the memory still holds the text before.
        h = np.frombuffer(memory, "<i2").astype(np.int16).reshape(shape) * (position > 0)
        return State(h, position, self._next, self._digest, self._numbers)

    def logits(self, tokens: ArrayLike) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """See `Engine`."""
        ids = checked_tokens(tokens, self.config.vocab_size)
        self._next = None
        found = list(self.board.logits(ids.tolist(), settings_bytes(emit_raw=True), self.config.vocab_size))
        sums = np.array([each.sums for each in found], np.int32).reshape(len(ids), self.config.vocab_size)
        return sums, np.array([np.ldexp(float(each.mantissa), each.exponent) for each in found])

    def generate(
        self,
        prompt: Sequence[int],
        max_new: int,
        *,
        temperature: float | None = None,
        seed: int = 0,
        stop: frozenset[int] = frozenset(),
    ) -> Iterator[int]:
        """See `Engine`.

        The device goes on while the reader does something else: if the reader goes away, the state is that
        behind what the device had chosen until it could be halted.
        """
        tokens = whole_prompt(self._next, prompt, self.config.vocab_size).tolist()
        settings = settings_bytes(temperature=temperature, seed=seed, stop=stop)
        return self._tokens(tokens, max_new, settings, stop)

    def _tokens(
        self, prompt: list[int], max_new: int, settings: bytes, stop: frozenset[int]
    ) -> Iterator[int]:
        timing = self.timing = Timing(prompt_tokens=len(prompt) - 1)
        self.cycles = 0
        start = perf_counter()
        self._next = None
        self.board.consume(prompt[:-1])
        self._next = prompt[-1]
        timing.prompt_seconds = perf_counter() - start
        # A generation longer than the accelerator's counter is asked for in several parts.
        while timing.generated_tokens < max_new:
            wanted = min(max_new - timing.generated_tokens, MOST_TOKENS)
            end, cycles = timing.generated_tokens + wanted, self.cycles
            run = self.board.run(self._next, wanted, settings)
            try:
                start = perf_counter()
                for token in run:
                    if token >= self.config.vocab_size:
                        raise TritforgeError(
                            f"the device chose token {token} of {self.config.vocab_size}: it is at fault"
                        )
                    seconds = perf_counter() - start
                    if not timing.generated_tokens:
                        timing.prompt_tokens += 1
                        timing.prompt_seconds += seconds
                    timing.generated_tokens += 1
                    timing.generate_seconds += seconds
                    self._next = token
                    self.cycles = cycles + self.board.run_cycles
                    yield token
                    start = perf_counter()
            except GeneratorExit:
                self.board.halt()
                for token in run:
                    self._next = token
                raise
            if self._next in stop or timing.generated_tokens < end:
                return
