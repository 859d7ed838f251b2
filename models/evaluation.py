"""How well a model predicts a text: bits a character and perplexity, for any engine."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .engine import Engine, checked_tokens

__all__ = ["Score", "evaluate", "in_chunks"]

_CHUNK_LOGITS = 2**22
"""Logits computed at once, at most."""


@dataclass(frozen=True)
class Score:
    """The likelihood of a text.

    Parameters
    ----------
    nats : float
        Negative log-likelihood of all scored tokens.
    tokens : int
        Tokens scored: all but the first.
    characters : int
        Characters that these stand for.
    """

    nats: float
    tokens: int
    characters: int

    @property
    def bits_per_char(self) -> float:
        """Bits that a character takes."""
        return self.nats / math.log(2) / self.characters

    @property
    def perplexity(self) -> float:
        """The exponential of the mean over the tokens."""
        return math.exp(self.nats / self.tokens)


def in_chunks(tokens: NDArray[np.int64], vocab_size: int, most: int = 256) -> list[NDArray[np.int64]]:
    """Split tokens into runs whose logits are computed at once."""
    size = max(1, min(most, _CHUNK_LOGITS // vocab_size))
    return [tokens[start : start + size] for start in range(0, len(tokens), size)]


def evaluate(
    engine: Engine,
    tokens: ArrayLike,
    characters: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Score:
    """Score a text as one stream from the zero state; its first token is given, not scored.

    Parameters
    ----------
    engine : Engine
        Is reset.
    tokens : array_like of int, shape (T,)
        Two or more.
    characters : int
        What the scored tokens stand for.
    progress : callable
        Called with the tokens scored so far and in all.
    """
    ids = checked_tokens(tokens, engine.config.vocab_size)
    engine.reset()
    nats, done = 0.0, 0
    for chunk in in_chunks(ids[:-1], engine.config.vocab_size, most=16 if engine.name == "rtl" else 256):
        logits, scales = engine.logits(chunk)
        nats += _nats(logits, scales, ids[done + 1 : done + 1 + len(chunk)])
        done += len(chunk)
        progress(done, len(ids) - 1)
    return Score(nats, done, characters)


def _nats(logits: NDArray[Any], scales: NDArray[np.float64] | None, targets: NDArray[np.int64]) -> float:
    """Sum -log softmax(logits)[target] over all positions, in float64."""
    values = logits.astype(np.float64)
    if scales is not None:
        values *= scales[:, None]
    values -= values.max(axis=1, keepdims=True)
    chosen = values[np.arange(len(targets)), targets]
    return float((np.log(np.exp(values).sum(axis=1)) - chosen).sum())
