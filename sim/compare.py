"""RTL against golden, every element that leaves a unit."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..hdl.config import AcceleratorConfig
from ..models.engine import checked_tokens
from ..models.image import Image
from ..models.numerics import SCALE as SCALE_FORMAT
from .engine import RtlEngine
from .tensors import HEAD, SCALE, GoldenTensors, Key, Place, RtlTensors, steps, values

__all__ = ["Comparer", "Comparison", "Difference", "compare"]


@dataclass(frozen=True)
class Difference:
    """Where RTL and golden part.

    Parameters
    ----------
    text
        Number of the text, counted from 0.
    token
        Position of the token in it, counted from 0; of a step's last token if any of them may be meant.
    layer
        Layer, None outside of all.
    unit
        Unit that the element left, or BitLinear that it belongs to.
    tensor
        ``output``, or of a BitLinear one of `models.golden.STEPS`.
    element
        Its number.
    cycle
        Clock cycle in which RTL wrote it, None if it never came.
    expected, got
        Golden's number and RTL's; None where there is none.
    """

    text: int
    token: int
    layer: int | None
    unit: str
    tensor: str
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
    *texts: ArrayLike,
    progress: Callable[[int, int], None] | None = None,
    stall_rate: float = 0.0,
) -> Comparison:
    """Run texts on the simulated accelerator and on the golden model until they differ.

    Compared is every element that leaves a unit: int8 inputs, raw sums, peak, energy and scale of each
    BitLinear; embedding, i, f, g, h, gated outputs, residuals, raw logits, and each token's scale; and how
    many values were clamped.

    Several texts, of any lengths, run at once on a stream each; of one text as many tokens run together as
    the accelerator has streams.

    Parameters
    ----------
    image
        The model.
    config
        The accelerator.
    texts
        (T,) tokens each.
    progress
        Called with the tokens done and in all.
    stall_rate
        See `RtlEngine`.

    Raises
    ------
    TritforgeError
        If there are more texts than streams, or a token is not in the vocabulary.
    """
    ids = [checked_tokens(tokens, image.config.vocab_size) for tokens in texts]
    count = sum(map(len, ids))
    todo = list(steps(ids, config.streams))
    comparer = Comparer(image, RtlEngine(image, config, stall_rate=stall_rate))
    for places in todo:
        comparer.step(places)
        if not comparer.result.equal:
            break
        if progress:
            progress(comparer.result.tokens, count)
    return comparer.result


class Comparer:
    """Texts on the simulated accelerator and on the golden model, step by step.

    Parameters
    ----------
    image
        The model.
    engine
        The accelerator with this image, at the texts' start.

    Attributes
    ----------
    result
        What was found up to the first difference.
    """

    def __init__(self, image: Image, engine: RtlEngine) -> None:
        self._states = image.config.num_hidden_layers * image.config.hidden_size
        self._golden = GoldenTensors(image)
        self._rtl = RtlTensors(engine)
        self.result = Comparison(0, 0, 0, 0, None)

    def step(self, places: Sequence[Place]) -> list[tuple[dict[Key, NDArray[Any]], dict[Key, NDArray[Any]]]]:
        """Consume tokens that pass together; return of each what left golden's units, and what left RTL's."""
        golden = [self._golden.step(place) for place in places]
        rtl = list(self._rtl.step(places))
        if self.result.equal:
            before = self.result
            found = self._first(places, golden, rtl)
            self.result = Comparison(
                tokens=before.tokens + (0 if found else len(places)),
                values_compared=before.values_compared
                + sum(tensor.size for each in golden for tensor in each.values())
                + 1,
                state_values=before.state_values + self._states * len(places),
                saturations=self._rtl.saturations,
                first_difference=found,
            )
        return [(one, values(*other)) for one, other in zip(golden, rtl, strict=True)]

    def _first(
        self,
        places: Sequence[Place],
        golden: Sequence[dict[Key, NDArray[Any]]],
        rtl: Sequence[tuple[dict[Key, NDArray[Any]], dict[Key, Any]]],
    ) -> Difference | None:
        each = map(_difference, places, golden, *zip(*rtl, strict=True))
        if found := [difference for difference in each if difference]:
            return min(found, key=_when)
        last = places[-1]
        for stray in self._rtl.strays[:1]:
            units = self._rtl.units
            stream, unit = divmod(int(stray["lane"]), len(units))
            written = int(stray["row"]), int(stray["cycle"]), None, int(stray["value"])
            return _named((stream, last.position), (int(stray["layer"]), units[unit]), *written)
        clamped = self._golden.saturations, self._rtl.saturations
        if clamped[0] != clamped[1]:
            return _named((last.text, last.position), (None, "saturations"), 0, None, *clamped)
        return None


def _named(
    at: tuple[int, int], key: Key, element: int, cycle: int | None, expected: int | None, got: int | None
) -> Difference:
    layer, name = key
    unit, _, tensor = name.partition(".")
    return Difference(*at, layer, unit, tensor or "output", element, cycle, expected, got)


def _when(difference: Difference) -> float:
    return math.inf if difference.cycle is None else difference.cycle


def _difference(
    place: Place,
    golden: dict[Key, NDArray[Any]],
    written: dict[Key, NDArray[Any]],
    read: dict[Key, Any],
) -> Difference | None:
    """Return the first difference of a token."""
    at = place.text, place.position
    found = [each for key in written if (each := _elements(at, key, golden[key], written[key]))]
    if found:
        return min(found, key=_when)
    sums, got = golden[HEAD], read[HEAD]
    wrong = np.flatnonzero(sums != got)
    if wrong.size:
        k = int(wrong[0])
        return _named(at, HEAD, k, None, int(sums[k]), int(got[k]))
    if golden[SCALE] != read[SCALE]:
        # As integers, in units of the smaller one's last bit.
        scales = float(golden[SCALE]), float(read[SCALE])
        bits = SCALE_FORMAT.bits - min(math.frexp(each)[1] for each in scales)
        return _named(at, SCALE, 0, None, *(int(math.ldexp(each, bits)) for each in scales))
    return None


def _elements(
    at: tuple[int, int], key: Key, expected: NDArray[Any], events: NDArray[Any]
) -> Difference | None:
    """Return the first difference of a tensor from what RTL wrote, `EVENT`s in order."""
    seen = events[: len(expected)]
    wrong = np.flatnonzero((seen["row"] != np.arange(len(seen))) | (seen["value"] != expected[: len(seen)]))
    if wrong.size:
        k = int(wrong[0])
        return _named(at, key, k, int(seen["cycle"][k]), int(expected[k]), int(seen["value"][k]))
    if len(seen) < len(expected):
        return _named(at, key, len(seen), None, int(expected[len(seen)]), None)
    if len(events) > len(expected):
        extra = events[len(expected)]
        return _named(at, key, int(extra["row"]), int(extra["cycle"]), None, int(extra["value"]))
    return None
