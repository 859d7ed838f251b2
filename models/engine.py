"""Engines: the ways to run a model, behind one interface.

``float`` is the numpy reference in float32, ``golden`` the integer model of the accelerator's arithmetic;
``rtl``, the simulated accelerator itself, is in ``sim/engine.py``. golden and rtl give equal numbers and
exchange states.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import Any, ClassVar, Generic, Literal, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .checkpoint import Checkpoint
from .config import ModelConfig
from .errors import TritforgeError
from .files import replacing
from .golden import GoldenModel, Logits
from .image import Image, model_digest
from .numerics import NOISE, gumbel_noise, to_scale
from .quantise import IntegerModel
from .reference import Reference

__all__ = [
    "Engine",
    "FloatEngine",
    "GoldenEngine",
    "Numbers",
    "State",
    "Timing",
    "checked_tokens",
]

Numbers = Literal["float", "integer"]

_CHUNK = 256
"""Prompt tokens computed at once: enough for numpy's speed, few enough for little memory."""


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
        Which engines it belongs to: ``integer`` to golden and rtl.
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
        ``float``, ``golden`` or ``rtl``.
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


_Result = TypeVar("_Result")


class _Software(ABC, Generic[_Result]):
    """What the two engines in numpy share: the loop around a model's forward pass."""

    name: str
    _numbers: ClassVar[Numbers]
    _dtype: ClassVar[type]

    def __init__(self, config: ModelConfig) -> None:
        self.config = config
        self.reset()

    def reset(self, state: State | None = None) -> None:
        """See :class:`Engine`."""
        shape = (self.config.num_hidden_layers, self.config.hidden_size)
        if state is None:
            state = State(np.zeros(shape, self._dtype), 0, None, "", self._numbers)
        else:
            state.check(self.config, self._hash, self._numbers)
        self._h: NDArray[Any] = state.h.astype(np.float32 if self._numbers == "float" else np.int64)
        self._position, self._next = state.position, state.next_token
        self.timing = Timing()

    def state(self) -> State:
        """See :class:`Engine`."""
        return State(self._h.astype(self._dtype), self._position, self._next, self._hash, self._numbers)

    def generate(
        self,
        prompt: Sequence[int],
        max_new: int,
        *,
        temperature: float | None = None,
        seed: int = 0,
        stop: frozenset[int] = frozenset(),
    ) -> Iterator[int]:
        """See :class:`Engine`."""
        pending = [] if self._next is None else [self._next]
        tokens = checked_tokens([*pending, *prompt], self.config.vocab_size)
        if not tokens.size:
            raise TritforgeError("the prompt is empty; a text begins with at least one token")
        return self._tokens(tokens, max_new, temperature, seed, stop)

    def _tokens(
        self,
        prompt: NDArray[np.int64],
        max_new: int,
        temperature: float | None,
        seed: int,
        stop: frozenset[int],
    ) -> Iterator[int]:
        timing = self.timing = Timing(prompt_tokens=len(prompt) - 1)
        start = perf_counter()
        for begin in range(0, len(prompt) - 1, _CHUNK):
            self._advance(prompt[begin : min(begin + _CHUNK, len(prompt) - 1)])
        timing.prompt_seconds = perf_counter() - start
        token = self._next = int(prompt[-1])
        while timing.generated_tokens < max_new:
            start = perf_counter()
            position = self._position
            result = self._advance(np.array([token]))
            token = self._next = self._choose(result, position, temperature, seed)
            seconds = perf_counter() - start
            if not timing.generated_tokens:
                timing.prompt_tokens += 1
                timing.prompt_seconds += seconds
            timing.generated_tokens += 1
            timing.generate_seconds += seconds
            yield token
            if token in stop:
                return

    def _advance(self, tokens: NDArray[np.int64]) -> _Result:
        """Consume tokens; whatever was to be consumed next is forgotten."""
        result = self._forward(tokens)
        self._position += len(tokens)
        self._next = None
        return result

    @property
    @abstractmethod
    def _hash(self) -> str: ...

    @abstractmethod
    def _forward(self, tokens: NDArray[np.int64]) -> _Result:
        """Compute (T,) tokens, one or more, and move the state on."""

    @abstractmethod
    def _choose(self, result: _Result, position: int, temperature: float | None, seed: int) -> int:
        """Choose what follows the last of the tokens, which stands at `position`."""


class FloatEngine(_Software[NDArray[np.float32]]):
    """The float reference.

    Parameters
    ----------
    checkpoint : Checkpoint
        The model's weights.
    """

    name = "float"
    _numbers = "float"
    _dtype = np.float32

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._model = Reference(checkpoint)
        super().__init__(checkpoint.config)

    @property
    def saturations(self) -> int:
        """Always 0: float32 has room for everything."""
        return 0

    def logits(self, tokens: ArrayLike) -> tuple[NDArray[np.float32], None]:
        """See :class:`Engine`."""
        ids = checked_tokens(tokens, self.config.vocab_size)
        if not ids.size:
            return np.zeros((0, self.config.vocab_size), np.float32), None
        return self._advance(ids), None

    @cached_property
    def _hash(self) -> str:
        digest = hashlib.sha256(json.dumps(self.config.to_dict(), sort_keys=True).encode())
        for name in self._checkpoint.names:
            digest.update(self._checkpoint.tensor(name).astype("<f4", copy=False).tobytes())
        return digest.hexdigest()

    def _forward(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        return self._model.forward(tokens, self._h)

    def _choose(
        self, result: NDArray[np.float32], position: int, temperature: float | None, seed: int
    ) -> int:
        logits = result[-1].astype(np.float64)
        if temperature is not None:
            logits = logits / temperature + gumbel_noise(seed, position, logits.size) * NOISE.step
        return int(np.argmax(logits))


class GoldenEngine(_Software[Logits]):
    """The integer golden model.

    Parameters
    ----------
    model : IntegerModel
        A quantised checkpoint or an image.
    """

    name = "golden"
    _numbers = "integer"
    _dtype = np.int16

    def __init__(self, model: IntegerModel) -> None:
        self._source = model
        self._model = GoldenModel(model)
        super().__init__(model.config)

    def reset(self, state: State | None = None) -> None:
        """See :class:`Engine`."""
        super().reset(state)
        self._model.saturations.count = 0

    @property
    def saturations(self) -> int:
        """See :class:`Engine`."""
        return self._model.saturations.count

    def logits(self, tokens: ArrayLike) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """See :class:`Engine`."""
        ids = checked_tokens(tokens, self.config.vocab_size)
        if not ids.size:
            return np.zeros((0, self.config.vocab_size), np.int32), np.zeros(0)
        result = self._advance(ids)
        return result.sums, result.scales

    @cached_property
    def _hash(self) -> str:
        return self._source.digest if isinstance(self._source, Image) else model_digest(self._source)

    def _forward(self, tokens: NDArray[np.int64]) -> Logits:
        result, self._h = self._model.forward(tokens, self._h)
        return result

    def _choose(self, result: Logits, position: int, temperature: float | None, seed: int) -> int:
        scale = None if temperature is None else to_scale(1 / temperature)
        return self._model.choose(result, position, scale, seed)
