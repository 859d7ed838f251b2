"""RTL against golden, every element that leaves a unit."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..hdl.config import AcceleratorConfig
from ..models.engine import checked_tokens
from ..models.image import Image
from ..models.numerics import SCALE as SCALE_FORMAT
from .engine import RtlEngine
from .tensors import HEAD, SCALE, GoldenTensors, Key, RtlTensors, values

__all__ = ["Comparer", "Comparison", "Difference", "compare"]


@dataclass(frozen=True)
class Difference:
    """Where RTL and golden part.

    Parameters
    ----------
    token
        Position of the token, counted from 0.
    layer
        Layer, None outside of all.
    unit
        Unit that the element left.
    element
        Its number.
    cycle
        Clock cycle in which RTL wrote it, None if it never came.
    expected, got
        Golden's number and RTL's; None where there is none.
    """

    token: int
    layer: int | None
    unit: str
    element: int
    cycle: int | None
    expected: int | None
    got: int | None


@dataclass(frozen=True)
class Comparison:
    """What a comparison found.

    Parameters
    ----------
    tokens, values_compared
        Tokens that passed, and numbers compared on the way.
    state_values
        Those of them that were states h.
    saturations
        Values that RTL clamped.
    first_difference
        None if all is equal.
    """

    tokens: int
    values_compared: int
    state_values: int
    saturations: int
    first_difference: Difference | None

    @property
    def equal(self) -> bool:
        """Whether everything is equal."""
        return self.first_difference is None

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, and `equal`."""
        return {"equal": self.equal, **asdict(self)}


def compare(
    image: Image,
    config: AcceleratorConfig,
    tokens: ArrayLike,
    progress: Callable[[int, int], None] | None = None,
    *,
    stall_rate: float = 0.0,
) -> Comparison:
    """Run a text on the simulated accelerator and on the golden model until they differ.

    Compared is every element that leaves a unit: embedding, i, f, g, h, gated outputs, residuals, raw logits,
    and each token's scale and saturations.

    Parameters
    ----------
    image
        The model.
    config
        The accelerator.
    tokens
        (T,) the text.
    progress
        Called with the tokens done and in all.
    stall_rate
        See `RtlEngine`.
    """
    ids = checked_tokens(tokens, image.config.vocab_size)
    comparer = Comparer(image, RtlEngine(image, config, stall_rate=stall_rate))
    for t, token in enumerate(ids):
        comparer.step(int(token))
        if not comparer.result.equal:
            break
        if progress:
            progress(t + 1, len(ids))
    return comparer.result


class Comparer:
    """A text on the simulated accelerator and on the golden model, token by token.

    Parameters
    ----------
    image
        The model.
    engine
        The accelerator with this image, at the text's start.

    Attributes
    ----------
    result
        What was found up to the first difference.
    """

    def __init__(self, image: Image, engine: RtlEngine) -> None:
        self._states = image.config.num_hidden_layers * image.config.hidden_size
        self._golden = GoldenTensors(image)
        self._rtl = RtlTensors(engine)
        self._tokens = 0
        self.result = Comparison(0, 0, 0, 0, None)

    def step(self, token: int) -> tuple[dict[Key, NDArray[Any]], dict[Key, NDArray[Any]]]:
        """Consume the next token; return what left golden's units, and what left RTL's."""
        golden = self._golden.step(token)
        written, read = self._rtl.step(token)
        if self.result.equal:
            found = self._difference(golden, written, read)
            self.result = Comparison(
                tokens=self._tokens + (found is None),
                values_compared=self.result.values_compared + sum(each.size for each in golden.values()) + 1,
                state_values=self.result.state_values + self._states,
                saturations=self._rtl.saturations,
                first_difference=found,
            )
        self._tokens += 1
        return golden, values(written, read)

    def _difference(
        self,
        golden: dict[Key, NDArray[Any]],
        written: dict[Key, NDArray[Any]],
        read: dict[Key, NDArray[Any]],
    ) -> Difference | None:
        t = self._tokens
        found = [each for key in written if (each := _elements(t, key, golden[key], written[key]))]
        if found:
            return min(found, key=lambda each: math.inf if each.cycle is None else each.cycle)
        sums, got = golden[HEAD], read[HEAD]
        wrong = np.flatnonzero(sums != got)
        if wrong.size:
            k = int(wrong[0])
            return Difference(t, *HEAD, k, None, int(sums[k]), int(got[k]))
        if golden[SCALE] != read[SCALE]:
            # As integers, in units of the smaller one's last bit.
            scales = float(golden[SCALE]), float(read[SCALE])
            bits = SCALE_FORMAT.bits - min(math.frexp(each)[1] for each in scales)
            return Difference(t, *SCALE, 0, None, *(int(math.ldexp(each, bits)) for each in scales))
        clamped = self._golden.saturations, self._rtl.saturations
        if clamped[0] != clamped[1]:
            return Difference(t, None, "saturations", 0, None, *clamped)
        return None


def _elements(token: int, key: Key, expected: NDArray[Any], events: NDArray[Any]) -> Difference | None:
    """Return the first difference of a tensor from what RTL wrote, `EVENT`s in order."""
    seen = events[: len(expected)]
    wrong = np.flatnonzero((seen["row"] != np.arange(len(seen))) | (seen["value"] != expected[: len(seen)]))
    if wrong.size:
        k = int(wrong[0])
        return Difference(token, *key, k, int(seen["cycle"][k]), int(expected[k]), int(seen["value"][k]))
    if len(seen) < len(expected):
        return Difference(token, *key, len(seen), None, int(expected[len(seen)]), None)
    if len(events) > len(expected):
        extra = events[len(expected)]
        return Difference(token, *key, int(extra["row"]), int(extra["cycle"]), None, int(extra["value"]))
    return None
