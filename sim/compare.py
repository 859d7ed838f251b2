"""RTL against golden, every element that leaves a unit."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..hdl.accelerator import PROBES
from ..hdl.config import AcceleratorConfig
from ..models.engine import checked_tokens
from ..models.golden import GoldenModel
from ..models.image import Image
from ..models.numerics import SCALE, Ints
from .engine import RtlEngine

__all__ = ["Comparison", "Difference", "compare"]

_LANES = {
    "x": ("embedding", "o", "down"),
    "product": ("u", "z"),
    "h": ("h",),
    "i": ("i",),
    "f": ("f",),
    "g": ("g",),
}
"""Units of the golden model whose elements each probe shows, in the order in which they come."""


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
    """Run a text on the simulated accelerator and on the golden model, and compare.

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
    rtl = RtlEngine(image, config, stall_rate=stall_rate)
    rtl.trace(True)
    golden = GoldenModel(image)
    state = golden.initial_state()
    compared = states = 0
    for t, token in enumerate(ids):
        expected: dict[str, list[tuple[int | None, str, Ints]]] = {
            unit: [] for units in _LANES.values() for unit in units
        }

        def keep(layer: int | None, unit: str, values: Ints, into: Any = expected) -> None:
            if unit in into:
                into[unit].append((layer, unit, values[0]))

        logits, state = golden.forward(np.array([token]), state, keep)
        sums, scales = rtl.logits([int(token)])
        events = rtl.take_events()
        differences = [
            found
            for number, lane in enumerate(PROBES)
            if (found := _lane(t, _ordered(expected, lane), events[events["lane"] == number]))
        ]
        differences.sort(key=lambda found: (found.cycle is None, found.cycle))
        if not differences:
            differences = _after(t, logits.sums[0], sums[0], logits.scales[0], scales[0], rtl, golden)
        compared += sum(values.size for parts in expected.values() for _, _, values in parts) + sums.size + 2
        states += image.config.num_hidden_layers * image.config.hidden_size
        if differences:
            return Comparison(t, compared, states, rtl.saturations, differences[0])
        if progress:
            progress(t + 1, len(ids))
    return Comparison(len(ids), compared, states, rtl.saturations, None)


def _ordered(
    expected: dict[str, list[tuple[int | None, str, Ints]]], lane: str
) -> list[tuple[int | None, str, Ints]]:
    """What a probe must show, in order: by layer, then as the units follow one another."""
    parts = [part for unit in _LANES[lane] for part in expected[unit]]
    return sorted(parts, key=lambda part: -1 if part[0] is None else part[0])


def _lane(
    token: int, expected: list[tuple[int | None, str, Ints]], events: NDArray[Any]
) -> Difference | None:
    at = 0
    for layer, unit, values in expected:
        seen = events[at : at + len(values)]
        rows, got = seen["row"], seen["value"]
        wrong = np.flatnonzero((rows != np.arange(len(seen))) | (got != values[: len(seen)]))
        if wrong.size:
            k = int(wrong[0])
            return Difference(token, layer, unit, k, int(seen["cycle"][k]), int(values[k]), int(got[k]))
        if len(seen) < len(values):
            return Difference(token, layer, unit, len(seen), None, int(values[len(seen)]), None)
        at += len(values)
    if at < len(events):
        extra = events[at]
        layer, unit, _ = expected[-1]
        return Difference(
            token, layer, unit, int(extra["row"]), int(extra["cycle"]), None, int(extra["value"])
        )
    return None


def _after(
    token: int,
    sums: NDArray[np.int32],
    got: NDArray[np.int32],
    scale: float,
    got_scale: float,
    rtl: RtlEngine,
    golden: GoldenModel,
) -> list[Difference]:
    wrong = np.flatnonzero(sums != got)
    if wrong.size:
        k = int(wrong[0])
        return [Difference(token, None, "head", k, None, int(sums[k]), int(got[k]))]
    if scale != got_scale:
        # As integers, in units of the smaller one's last bit.
        bits = SCALE.bits - min(math.frexp(each)[1] for each in (scale, got_scale))
        expected, got_integer = (int(math.ldexp(each, bits)) for each in (scale, got_scale))
        return [Difference(token, None, "scale", 0, None, expected, got_integer)]
    if rtl.saturations != golden.saturations.count:
        return [Difference(token, None, "saturations", 0, None, golden.saturations.count, rtl.saturations)]
    return []
