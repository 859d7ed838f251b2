"""The tensors that leave the accelerator's units, token by token: golden's, and what RTL wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..hdl.accelerator import PROBES
from ..models.config import ModelConfig
from ..models.golden import GoldenModel
from ..models.numerics import ACT, GATE, VECTOR, Fixed, Ints
from ..models.quantise import IntegerModel
from .engine import RtlEngine

__all__ = ["FORMATS", "HEAD", "SCALE", "GoldenTensors", "Key", "RtlTensors", "values"]

Key = tuple[int | None, str]
"""Layer, None outside of all; and unit."""

HEAD: Key = (None, "head")
"""Raw logits, (V,) int32."""
SCALE: Key = (None, "scale")
"""The factor that makes raw logits logits, () float64."""

FORMATS: Mapping[str, Fixed] = {
    "embedding": VECTOR,
    "i": ACT,
    "f": GATE,
    "g": ACT,
    "h": ACT,
    "u": VECTOR,
    "o": VECTOR,
    "z": VECTOR,
    "down": VECTOR,
}
"""Format of each unit's elements, in the order in which a layer's leave: silu(i), forget gate, g, new state,
g * silu(h), the residual stream x behind o_proj, silu(gate) * up, x behind down_proj."""

_SHOWN = {
    "x": ("embedding", "o", "down"),
    "product": ("u", "z"),
    "h": ("h",),
    "i": ("i",),
    "f": ("f",),
    "g": ("g",),
}
"""Units whose elements each probe shows, in the order in which they come."""


class GoldenTensors:
    """A text on the golden model, from zero state.

    Parameters
    ----------
    model
        A quantised checkpoint or an image.
    """

    def __init__(self, model: IntegerModel) -> None:
        self._golden = GoldenModel(model)
        self._state = self._golden.initial_state()

    @property
    def saturations(self) -> int:
        """Values clamped so far."""
        return self._golden.saturations.count

    def step(self, token: int) -> dict[Key, NDArray[Any]]:
        """Consume the next token; return all that left a unit: (n,) integers, and `SCALE`."""
        tensors: dict[Key, NDArray[Any]] = {}

        def keep(layer: int | None, unit: str, values: Ints) -> None:
            tensors[layer, unit] = values[0]

        logits, self._state = self._golden.forward(np.array([token]), self._state, keep)
        return tensors | {HEAD: logits.sums[0], SCALE: logits.scales[0]}


class RtlTensors:
    """A text on the simulated accelerator.

    Parameters
    ----------
    engine
        Stands at the text's start.
    """

    def __init__(self, engine: RtlEngine) -> None:
        self._engine = engine
        self._order = {probe: _order(engine.config, probe) for probe in PROBES}
        engine.trace(True)

    @property
    def saturations(self) -> int:
        """Values clamped so far."""
        return self._engine.saturations

    def step(self, token: int) -> tuple[dict[Key, NDArray[Any]], dict[Key, NDArray[Any]]]:
        """Consume the next token.

        Returns
        -------
        written
            Of each unit with a probe what it wrote, (n,) of `EVENT` in order. An element too few or too many
            shows as a tensor that is too short or too long.
        read
            `HEAD` and `SCALE`, as the host reads them.
        """
        sums, scales = self._engine.logits([token])
        events = self._engine.take_events()
        written: dict[Key, NDArray[Any]] = {}
        for number, probe in enumerate(PROBES):
            rest = events[events["lane"] == number]
            for key, size in self._order[probe]:
                written[key], rest = rest[:size], rest[size:]
            if rest.size:  # more than there should be: the last unit's
                written[key] = np.concatenate([written[key], rest])
        return written, {HEAD: sums[0], SCALE: scales[0]}


def values(written: Mapping[Key, NDArray[Any]], read: Mapping[Key, NDArray[Any]]) -> dict[Key, NDArray[Any]]:
    """Return the tensors alone of what `RtlTensors.step` gives."""
    return {key: events["value"] for key, events in written.items()} | dict(read)


def _order(config: ModelConfig, probe: str) -> list[tuple[Key, int]]:
    """What a probe shows of a token, and how many elements each has."""
    sizes = dict.fromkeys(FORMATS, config.hidden_size) | {"z": config.intermediate_size}
    keys: list[Key] = [(None, "embedding")] if "embedding" in _SHOWN[probe] else []
    for layer in range(config.num_hidden_layers):
        keys += [(layer, unit) for unit in _SHOWN[probe] if unit != "embedding"]
    return [(key, sizes[key[1]]) for key in keys]
