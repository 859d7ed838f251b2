"""How well a model predicts a text, on any engine, and how close an engine is to another."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .engine import Engine, checked_tokens
from .errors import TritforgeError

__all__ = ["Fidelity", "Score", "evaluate", "fidelity", "in_chunks"]

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
        """The exponential of the mean over the tokens; infinite beyond what float64 holds."""
        try:
            return math.exp(self.nats / self.tokens)
        except OverflowError:
            return math.inf


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

    Raises
    ------
    TritforgeError
        If the model's logits are not finite.
    """
    ids = checked_tokens(tokens, engine.config.vocab_size)
    engine.reset()
    nats: list[float] = []
    done = 0
    for chunk in in_chunks(ids[:-1], engine.config.vocab_size, most=16 if engine.name == "rtl" else 256):
        nats += _nats(_real_logits(engine, chunk), ids[done + 1 : done + 1 + len(chunk)]).tolist()
        done += len(chunk)
        progress(done, len(ids) - 1)
    # Exactly rounded, so the chunks' size does not show: golden and rtl have equal scores.
    total = math.fsum(nats)
    if not math.isfinite(total):
        raise TritforgeError("the text cannot be scored: the model's logits are not finite")
    return Score(total, done, characters)


@dataclass(frozen=True)
class Fidelity:
    """How close one engine's logits are to another's on the same tokens.

    Parameters
    ----------
    tokens : int
        Positions compared.
    perplexity_ratio : float
        The engine's perplexity by the reference's.
    argmax_equal : float
        Share of positions at which both find the same token most likely.
    cosine_mean, cosine_lowest : float
        Cosine of the angle between both logit vectors of a position.
    saturations : int
        Values that the engine clamped.
    """

    tokens: int
    perplexity_ratio: float
    argmax_equal: float
    cosine_mean: float
    cosine_lowest: float
    saturations: int


def fidelity(
    engine: Engine,
    reference: Engine,
    tokens: ArrayLike,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Fidelity:
    """Compare an engine with a reference, teacher-forced, as one stream from the zero state.

    Parameters
    ----------
    engine, reference : Engine
        Are reset.
    tokens : array_like of int, shape (T,)
        Two or more; all but the last are read, all but the first are predicted.
    progress : callable
        Called with the positions compared so far and in all.
    """
    ids = checked_tokens(tokens, engine.config.vocab_size)
    engine.reset()
    reference.reset()
    nats, equal, done = 0.0, 0, 0
    cosines = []
    for chunk in in_chunks(ids[:-1], engine.config.vocab_size):
        targets = ids[done + 1 : done + 1 + len(chunk)]
        ours, theirs = (_real_logits(each, chunk) for each in (engine, reference))
        nats += float((_nats(ours, targets) - _nats(theirs, targets)).sum())
        equal += int((ours.argmax(axis=1) == theirs.argmax(axis=1)).sum())
        lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
        cosines.append((ours * theirs).sum(axis=1) / lengths)
        done += len(chunk)
        progress(done, len(ids) - 1)
    cosine = np.concatenate(cosines)
    return Fidelity(
        tokens=done,
        perplexity_ratio=math.exp(nats / done),
        argmax_equal=equal / done,
        cosine_mean=float(cosine.mean()),
        cosine_lowest=float(cosine.min()),
        saturations=engine.saturations,
    )


def _real_logits(engine: Engine, tokens: NDArray[np.int64]) -> NDArray[np.float64]:
    logits, scales = engine.logits(tokens)
    values = logits.astype(np.float64)
    return values if scales is None else values * scales[:, None]


def _nats(values: NDArray[np.float64], targets: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return -log softmax(values)[target] of every position."""
    shifted = values - values.max(axis=1, keepdims=True)
    chosen = shifted[np.arange(len(targets)), targets]
    nats: NDArray[np.float64] = np.log(np.exp(shifted).sum(axis=1)) - chosen
    return nats
