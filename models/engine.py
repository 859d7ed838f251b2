"""Engines: the ways to run a model, behind one interface.

``float`` is the numpy reference in float32, ``golden`` the integer model of the accelerator's arithmetic;
both are in ``models/software.py``. ``rtl``, the simulated accelerator itself, is in ``sim/engine.py``, and
``board``, one on a board, in ``host/link/engine.py``; they import neither. golden, rtl and board give equal
numbers and exchange states.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .config import ModelConfig
from .errors import TritforgeError
from .files import replacing

__all__ = [
    "Engine",
    "Numbers",
    "State",
    "Timing",
    "checked_tokens",
    "whole_prompt",
]

Numbers = Literal["float", "integer"]


@dataclass(frozen=True)
class State:
    """All that a model remembers of a text; what ``--state`` saves.

    Parameters
    ----------
    h : ndarray, shape (layers, d)
        The MLGRU's state of every layer: float32, or int16 in the format ACT.
    position : int
        Tokens consumed so far.
    next_token : int or None
        A token that was chosen but not consumed yet: the next input.
    model : str
        Which model it belongs to.
    numbers : {"float", "integer"}
        Which engines it belongs to: ``integer`` to golden, rtl and board.
    """

    h: NDArray[Any]
    position: int
    next_token: int | None
    model: str
    numbers: Numbers

    def check(self, config: ModelConfig, model: str, numbers: Numbers) -> None:
        """Make sure that an engine may continue from this state.

        Raises
        ------
        TritforgeError
            If it was saved by another kind of engine or belongs to another model.
        """
        if self.numbers != numbers:
            kinds = {"float": "the float engine", "integer": "the golden or rtl engine"}
            raise TritforgeError(
                f"the state was saved by {kinds[self.numbers]}; {kinds[numbers]} cannot continue from it"
            )
        if self.model != model:
            raise TritforgeError(
                "the state was saved with another model, whose text cannot be continued by this one"
            )
        checked_tokens([] if self.next_token is None else [self.next_token], config.vocab_size)
        if self.h.shape != (config.num_hidden_layers, config.hidden_size):
            raise TritforgeError(f"the state has shape {list(self.h.shape)}, which is not this model's")
        if self.position == 0 and self.h.any():
            raise TritforgeError("the state stands at position 0, where a text begins, but is not zero")

    def save(self, path: Path) -> None:
        """Write the state as an .npz file, which is complete or not there.

        Raises
        ------
        TritforgeError
            If the file cannot be written.
        """
        head = {
            "position": self.position,
            "next_token": self.next_token,
            "model": self.model,
            "numbers": self.numbers,
        }
        with replacing(path) as stream:
            np.savez(stream, h=self.h, head=np.frombuffer(json.dumps(head).encode(), np.uint8))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what :meth:`save` wrote.

        Raises
        ------
        TritforgeError
            If the file cannot be read or is not a state.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                h = arrays["h"]
                head = json.loads(arrays["head"].tobytes())
            state = cls(h=h, **head)
            sound = (
                state.numbers in ("float", "integer")
                and h.ndim == 2
                and h.dtype == (np.float32 if state.numbers == "float" else np.int16)
                and bool(np.isfinite(h).all())
                and type(state.position) is int
                and 0 <= state.position < 2**63
                and (state.next_token is None or type(state.next_token) is int)
            )
        except OSError as error:
            raise TritforgeError(f"{path} cannot be read: {error.strerror or error}") from None
        except Exception:  # zipfile, numpy and json fail in many ways on damaged files
            sound = False
        if not sound:
            raise TritforgeError(f"{path} is not a state that `--state` saved")
        return state


@dataclass
class Timing:
    """How long a generation took, prompt and new tokens apart.

    The pass over the prompt's last token yields the first new token; it counts on both sides, so both rates
    are passes through the whole model by the seconds that they took.
    """

    prompt_tokens: int = 0
    prompt_seconds: float = 0.0
    generated_tokens: int = 0
    generate_seconds: float = 0.0

    def passed(self, seconds: float) -> None:
        """Count a pass that yielded a new token."""
        if not self.generated_tokens:
            self.prompt_tokens += 1
            self.prompt_seconds += seconds
        self.generated_tokens += 1
        self.generate_seconds += seconds

    @property
    def prompt_tokens_per_second(self) -> float:
        """Rate of the prompt, 0 before the first pass."""
        return self.prompt_tokens / self.prompt_seconds if self.prompt_seconds else 0.0

    @property
    def tokens_per_second(self) -> float:
        """Rate of the generation, 0 before the first new token."""
        return self.generated_tokens / self.generate_seconds if self.generate_seconds else 0.0


class Engine(Protocol):
    """One way to run one model.

    Attributes
    ----------
    name : str
        ``float``, ``golden``, ``rtl`` or ``board``.
    config : ModelConfig
        The model's shape.
    timing : Timing
        Of the latest generation.
    """

    name: str
    config: ModelConfig
    timing: Timing

    @property
    def saturations(self) -> int:
        """Values that were clamped to their format since the last reset."""

    def reset(self, state: State | None = None) -> None:
        """Start a new text, or continue the one that a state belongs to.

        Raises
        ------
        TritforgeError
            If the state belongs to another model or other numbers.
        """

    def state(self) -> State:
        """Return what is needed to continue from here."""

    def logits(self, tokens: ArrayLike) -> tuple[NDArray[Any], NDArray[np.float64] | None]:
        """Consume tokens (T,), whatever the model itself would have chosen.

        Returns
        -------
        logits : ndarray, shape (T, V)
            float32 logits, or int32 sums of the LM head.
        scales : ndarray of float64, shape (T,), or None
            Factors that make the sums logits; None if they are logits.
        """

    def generate(
        self,
        prompt: Sequence[int],
        max_new: int,
        *,
        temperature: float | None = None,
        seed: int = 0,
        stop: frozenset[int] = frozenset(),
    ) -> Iterator[int]:
        """Consume the prompt, then yield up to `max_new` tokens as they appear, each consumed in its turn.

        Parameters
        ----------
        prompt
            Token numbers; after a state with a ``next_token`` they follow it and may be empty.
        max_new
            Most tokens to yield.
        temperature
            Divides the logits before Gumbel noise is added; None for the most likely token.
        seed
            Of the noise, which depends on (seed, position) alone.
        stop
            Tokens that end the text; one is yielded as the last.
        """


def checked_tokens(tokens: ArrayLike, vocab_size: int) -> NDArray[np.int64]:
    """Return a list of token numbers as an array (T,).

    Raises
    ------
    TritforgeError
        If it is not one-dimensional or not of integers, or one of them is not below `vocab_size`.
    """
    ids = np.asarray(tokens)
    if ids.ndim != 1 or not (np.issubdtype(ids.dtype, np.integer) or ids.size == 0):
        raise TritforgeError(f"tokens must be a list of integers, not {ids.dtype} of shape {list(ids.shape)}")
    outside = np.flatnonzero((ids < 0) | (ids >= vocab_size))
    if outside.size:
        place = outside[0]
        raise TritforgeError(
            f"token {ids[place]} at position {place} is not in the vocabulary, 0 to {vocab_size - 1}"
        )
    return ids.astype(np.int64)


def whole_prompt(pending: int | None, prompt: Sequence[int], vocab_size: int) -> NDArray[np.int64]:
    """Return what to consume before the first new token: a chosen one that is still pending, then the prompt.

    Raises
    ------
    TritforgeError
        If there is none, or one is not in the vocabulary.
    """
    tokens = checked_tokens([*([] if pending is None else [pending]), *prompt], vocab_size)
    if not tokens.size:
        raise TritforgeError("the prompt is empty; a text begins with at least one token")
    return tokens
