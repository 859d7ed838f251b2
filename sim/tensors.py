"""The tensors that leave the accelerator's units, step by step: golden's, and what RTL wrote."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..hdl.accelerator import TRACED, traced_units
from ..models.config import ModelConfig
from ..models.errors import TritforgeError
from ..models.golden import GoldenModel
from ..models.numerics import ACT, GATE, VECTOR, Fixed, Ints
from ..models.quantise import IntegerModel
from .engine import EVENT, RtlEngine

__all__ = [
    "FORMATS",
    "HEAD",
    "PRODUCTS",
    "SCALE",
    "GoldenTensors",
    "Key",
    "Place",
    "RtlTensors",
    "steps",
    "values",
]

Key = tuple[int | None, str]
"""Layer, None outside of all; and name: that of a unit, or a product's, a dot and one of `golden.STEPS`."""

Written = dict[Key, NDArray[Any]]
Read = dict[Key, Any]

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

PRODUCTS = ("i", "f", "g", "o", "gate_up", "down")
"""A layer's BitLinears in order; behind all layers comes ``head``."""

_SHOWN = {
    "x": ("embedding", "o", "down"),
    "product": ("u", "z"),
    "h": ("h",),
    "i": ("i",),
    "f": ("f",),
    "g": ("g",),
    "sum": tuple(f"{name}.sum" for name in PRODUCTS),
}
"""Units whose elements each probe shows, in the order in which they come; the others show `PRODUCTS`."""

_LOW = (1 << 32) - 1
_WIDE = np.dtype([(name, "<i8" if name == "value" else EVENT[name]) for name in EVENT.names or ()])
"""`EVENT` with room for an energy."""


@dataclass(frozen=True)
class Place:
    """Where a token stands, and who consumes it.

    Parameters
    ----------
    text
        Its text's number.
    position
        Position in the text, counted from 0.
    token
        Token number.
    stream
        The accelerator's stream.
    """

    text: int
    position: int
    token: int
    stream: int


def steps(texts: Sequence[NDArray[np.int64]], streams: int) -> Iterator[list[Place]]:
    """Tokens that pass together, in order: some of one text, or one of each text that has not ended.

    Parameters
    ----------
    texts
        (T,) tokens each.
    streams
        Of the accelerator. At the end of one text fewer may pass.

    Raises
    ------
    TritforgeError
        If there are more texts than streams.
    """
    if len(texts) > streams:
        raise TritforgeError(
            f"{len(texts)} texts need an accelerator of as many streams; this one has {streams}"
        )
    if len(texts) == 1:
        places = [Place(0, t, int(token), t % streams) for t, token in enumerate(texts[0])]
        yield from (places[t : t + streams] for t in range(0, len(places), streams))
        return
    for t in range(max(map(len, texts), default=0)):
        yield [Place(k, t, int(text[t]), k) for k, text in enumerate(texts) if t < len(text)]


class GoldenTensors:
    """Texts on the golden model, from zero state.

    Parameters
    ----------
    model
        A quantised checkpoint or an image.
    """

    def __init__(self, model: IntegerModel) -> None:
        self._golden = GoldenModel(model)
        self._states: dict[int, Ints] = {}

    @property
    def saturations(self) -> int:
        """Values clamped so far."""
        return self._golden.saturations.count

    def step(self, place: Place) -> dict[Key, NDArray[Any]]:
        """Consume a text's next token; return all that left a unit: (n,) integers, and `SCALE`."""
        tensors: dict[Key, NDArray[Any]] = {}

        def keep(layer: int | None, unit: str, values: Ints) -> None:
            tensors[layer, unit] = values[0]

        state = self._states.get(place.text, self._golden.initial_state())
        logits, self._states[place.text] = self._golden.forward(np.array([place.token]), state, keep)
        return tensors | {HEAD: logits.sums[0], SCALE: logits.scales[0]}


class RtlTensors:
    """Texts on the simulated accelerator.

    Parameters
    ----------
    engine
        Stands at all texts' start.

    Attributes
    ----------
    units
        Units by lane of a stream's events (`traced_units`).
    strays
        What streams without a token wrote in the latest step, (n,) of `EVENT`: nothing.
    """

    def __init__(self, engine: RtlEngine) -> None:
        self._engine = engine
        self._order = {probe: _order(engine.config, probe) for probe in _SHOWN}
        layers = engine.config.num_hidden_layers
        self._products: list[Key] = [(layer, name) for layer in range(layers) for name in PRODUCTS]
        self._products.append((None, "head"))
        self.units = traced_units(engine.accelerator.vector_width)
        self._probes = np.array([TRACED.index(unit) for unit in self.units])
        self.strays = np.zeros(0, EVENT)
        engine.trace(True)

    @property
    def saturations(self) -> int:
        """Values clamped so far."""
        return self._engine.saturations

    def step(self, places: Sequence[Place]) -> Iterator[tuple[Written, Read]]:
        """Consume tokens that pass together.

        Yields
        ------
        written
            Of a token, what each unit with a probe wrote, (n,) of `EVENT` in order, values with 64 bits. An
            element too few or too many shows as a tensor that is too short or too long.
        read
            `HEAD` and `SCALE`, as the host reads them.
        """
        together = len(places) > 1 and places[0].text == places[1].text
        logits = self._engine.consume({each.stream: each.token for each in places}, together=together)
        events = self._engine.take_events().astype(_WIDE)
        stream, lane = np.divmod(events["lane"], len(self.units))
        probes = self._probes[lane]
        self.strays = events[~np.isin(stream, list(logits))]
        for place in places:
            here = stream == place.stream
            shown = {probe: events[here & (probes == k)] for k, probe in enumerate(TRACED)}
            written = self._inputs(shown["q"]) | self._scales(shown["scale"])
            for probe, order in self._order.items():
                written |= _cut(list(order), np.cumsum(list(order.values())), shown[probe])
            sums, scale = logits[place.stream]
            yield written, {HEAD: sums, SCALE: np.float64(scale)}

    def _keys(self, tensor: str) -> list[Key]:
        return [(layer, f"{name}.{tensor}") for layer, name in self._products]

    def _inputs(self, shown: NDArray[Any]) -> Written:
        """Int8 inputs of each product: the last pass over its vector, which no new peak has made void."""
        shared = ("f.q", "g.q") if self._engine.shared_inputs else ()
        made = [key for key in self._keys("q") if key[1] not in shared]
        written = _cut(made, 1 + np.flatnonzero(np.diff(shown["flags"])), shown)
        for key, events in written.items():
            written[key] = events[np.flatnonzero(events["row"] == 0)[-1] :] if events.size else events
        of_i = {key: written[key[0], "i.q"] for key in self._keys("q") if key not in written}
        return written | of_i

    def _scales(self, shown: NDArray[Any]) -> Written:
        """Peak, energy and scale of each product."""
        written: Written = {}
        pieces = _cut(self._products, np.flatnonzero(shown["row"] == 0)[1:], shown)
        for (layer, name), events in pieces.items():
            peak, energy, high, scale = (events[events["row"] == row] for row in range(4))
            scale = np.repeat(scale, 2)
            scale["row"] = np.arange(len(scale))
            scale["value"][0::2] &= 0xFFFF
            scale["value"][1::2] >>= 16
            both = min(len(energy), len(high))
            energy = energy[:both]
            energy["value"] = (energy["value"] & _LOW) + (high["value"][:both] << 32)
            energy["row"] = 0
            for tensor, found in zip(("peak", "energy", "scale"), (peak, energy, scale), strict=True):
                written[layer, f"{name}.{tensor}"] = found
        return written


def _cut(keys: Sequence[Key], places: NDArray[Any], shown: NDArray[Any]) -> Written:
    """Parts of what a probe has shown, by key, from place to place; what is too much goes to the last."""
    parts = np.split(shown, places[: len(keys) - 1])
    parts += [shown[:0]] * (len(keys) - len(parts))
    return dict(zip(keys, parts, strict=True))


def values(written: Mapping[Key, NDArray[Any]], read: Mapping[Key, Any]) -> dict[Key, NDArray[Any]]:
    """Return the tensors alone of what `RtlTensors.step` gives."""
    return {key: events["value"] for key, events in written.items()} | dict(read)


def _order(config: ModelConfig, probe: str) -> dict[Key, int]:
    """What a probe shows of a token, in order, and how many elements each has."""
    wide = config.intermediate_size
    sizes = dict.fromkeys([*FORMATS, *_SHOWN["sum"]], config.hidden_size)
    sizes |= {"z": wide, "gate_up.sum": 2 * wide}
    keys: list[Key] = [(None, "embedding")] if "embedding" in _SHOWN[probe] else []
    for layer in range(config.num_hidden_layers):
        keys += [(layer, name) for name in _SHOWN[probe] if name != "embedding"]
    head: dict[Key, int] = {(None, "head.sum"): config.vocab_size} if probe == "sum" else {}
    return {key: sizes[key[1]] for key in keys} | head
