"""The engines in numpy: the float reference and the integer golden model."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from time import perf_counter
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .checkpoint import Checkpoint
from .config import ModelConfig
from .engine import Numbers, State, Timing, checked_tokens, whole_prompt
from .golden import GoldenModel, Logits
from .image import Image, model_digest
from .numerics import NOISE, gumbel_noise, to_scale
from .quantise import IntegerModel
from .reference import Reference

__all__ = ["FloatEngine", "GoldenEngine"]

_CHUNK = 256
"""Prompt tokens computed at once: enough for numpy's speed, few enough for little memory."""

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
        tokens = whole_prompt(self._next, prompt, self.config.vocab_size)
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
            timing.passed(perf_counter() - start)
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
