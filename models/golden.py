"""Integer golden model: exactly what the accelerator computes, in numpy.

Reads like `reference`, with the formats of `numerics`. Whole token sequences at once; only the recurrence
loops.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .numerics import (
    ACT,
    LEVEL_SHIFT,
    NOISE,
    VECTOR,
    Ints,
    Saturations,
    align,
    epsilon_term,
    glu,
    gumbel_noise,
    inverse_root_scale,
    lower_bound_gate,
    mlgru,
    multiply_scale,
    normalise,
    product,
    quantise,
    reciprocal,
    rescale,
    running_levels,
    running_peak,
    running_squares,
    sigmoid,
    silu,
    squares,
)
from .quantise import BitLinear, IntegerModel, Norm, trit_count

__all__ = ["STEPS", "GoldenModel", "Logits", "Trace"]

Trace = Callable[[int | None, str, Ints], None]
"""Called with (layer or None, name, values (T, n)) for every tensor that leaves a unit.

A name is a unit's, for what becomes of its rows, or that of a BitLinear, a dot, and one of `STEPS`.
"""

STEPS = ("q", "sum", "peak", "energy", "scale")
"""Tensors of a BitLinear: int8 inputs, raw sums, largest product, sum of squares, SCALE of the sums."""

_Steps = Callable[[str, Ints], None]

_CACHED_TRITS = 64_000_000


@dataclass(frozen=True)
class Logits:
    """Raw sums of the LM head, (T, V) int32, and the SCALE that makes each position's sums logits."""

    sums: NDArray[np.int32]
    mantissa: Ints
    exponent: Ints

    @property
    def scales(self) -> NDArray[np.float64]:
        """(T,) factors that make `sums` logits, exact."""
        return np.ldexp(self.mantissa.astype(np.float64), self.exponent.astype(np.int32))


def _no_trace(layer: int | None, name: str, values: Ints) -> None:
    pass


def _steps(trace: Trace, layer: int | None, product: str) -> _Steps:
    return lambda tensor, values: trace(layer, f"{product}.{tensor}", values)


class GoldenModel:
    """The accelerator's arithmetic for one model.

    Parameters
    ----------
    model
        A quantised checkpoint or an image.

    Attributes
    ----------
    saturations
        Counts the values clamped since the model was made.
    """

    def __init__(self, model: IntegerModel) -> None:
        self.model = model
        self.config = model.config
        self.saturations = Saturations()
        self._keep = trit_count(self.config) <= _CACHED_TRITS
        self._blocks: dict[int, Any] = {}
        self._floats: dict[int, NDArray[np.float32]] = {}

    def initial_state(self) -> Ints:
        """Zero state: (layers, d) ACT."""
        return np.zeros((self.config.num_hidden_layers, self.config.hidden_size), dtype=np.int64)

    def forward(self, tokens: NDArray[Any], state: Ints, trace: Trace = _no_trace) -> tuple[Logits, Ints]:
        """Logits for every position of `tokens`, and the state after the last.

        Parameters
        ----------
        tokens
            (T,) ids, 0 <= id < V.
        state
            (layers, d) ACT; not changed.
        trace
            Sees every tensor that leaves a unit.
        """
        sat = self.saturations
        rows, mantissa, exponent = self.model.embedding(np.asarray(tokens))
        x = rescale(rows, mantissa[:, None], exponent[:, None], VECTOR, sat)
        trace(None, "embedding", x)
        state = state.copy()
        for layer in range(self.config.num_hidden_layers):
            x = self._block(layer, x, state, trace)
        head = self._block_of(-1)
        levels = running_levels(x)
        energy = self._energy(head.norm, x, levels)
        seen = _steps(trace, None, "head")
        sums, mantissa, exponent = self._bitlinear(head.linear, x, levels, energy, seen)
        trace(None, "head", sums)
        return Logits(sums.astype(np.int32), mantissa, exponent), state

    def _block(self, layer: int, x: Ints, state: Ints, trace: Trace) -> Ints:
        block, sat = self._block_of(layer), self.saturations
        seen = partial(_steps, trace, layer)
        levels = running_levels(x)
        energy = self._energy(block.attn_norm, x, levels)
        i = silu(self._linear(block.i, x, levels, energy, ACT, seen("i")))
        f = lower_bound_gate(sigmoid(self._linear(block.f, x, levels, energy, ACT, seen("f"))), block.bound)
        g = self._linear(block.g, x, levels, energy, ACT, seen("g"))
        h = np.empty_like(i)
        for t in range(len(h)):
            state[layer] = h[t] = mlgru(i[t], f[t], state[layer], sat)
        u = glu(silu(h), g)
        for unit, values in (("i", i), ("f", f), ("g", g), ("h", h), ("u", u)):
            trace(layer, unit, values)

        levels = running_levels(u)
        energy = self._energy(block.g_norm, u, levels)
        o = self._linear(block.o, u, levels, energy, VECTOR, seen("o"), squares(g))
        x = sat.clamp(x + o, VECTOR)
        trace(layer, "o", x)

        levels = running_levels(x)
        energy = self._energy(block.mlp_norm, x, levels)
        gate_up = self._linear(block.gate_up, x, levels, energy, ACT, seen("gate_up"))
        z = glu(silu(gate_up[:, 0::2]), gate_up[:, 1::2])
        trace(layer, "z", z)

        levels = running_levels(z)
        energy = running_squares(normalise(z, levels), levels)
        x = sat.clamp(x + self._linear(block.down, z, levels, energy, VECTOR, seen("down")), VECTOR)
        trace(layer, "down", x)
        return x

    @staticmethod
    def _energy(norm: Norm, x: Ints, levels: Ints) -> Ints:
        return squares(product(normalise(x, levels[:, -1:]), norm.weights))

    def _linear(
        self, linear: BitLinear, x: Ints, levels: Ints, energy: Ints, fmt: Any, seen: _Steps, against: Any = 1
    ) -> Ints:
        sums, mantissa, exponent = self._bitlinear(linear, x, levels, energy, seen, against)
        return rescale(sums, mantissa[:, None], exponent[:, None], fmt, self.saturations)

    def _bitlinear(
        self, linear: BitLinear, x: Ints, levels: Ints, energy: Ints, seen: _Steps, against: Any = 1
    ) -> tuple[Ints, Ints, Ints]:
        products = product(normalise(x, levels), linear.gain)
        peak = running_peak(products, levels)
        factor, move = reciprocal(peak)
        q = quantise(align(products, levels), factor[:, None], move[:, None])
        # float32 is exact here: |sum| <= 128 * columns < 2**24.
        sums = (q.astype(np.float32) @ self._float(linear).T).astype(np.int64)
        epsilon = epsilon_term(*linear.epsilon, LEVEL_SHIFT * levels[:, -1], against)
        mantissa, exponent = inverse_root_scale(linear.constant, peak, energy, epsilon)
        scale = np.stack([mantissa, exponent], axis=-1)
        for tensor, values in zip(STEPS, (q, sums, peak[:, None], energy[:, None], scale), strict=True):
            seen(tensor, values)
        return sums, mantissa, exponent

    def _block_of(self, layer: int) -> Any:
        if layer not in self._blocks:
            if not self._keep:
                self._blocks.clear()
                self._floats.clear()
            self._blocks[layer] = self.model.head() if layer < 0 else self.model.block(layer)
        return self._blocks[layer]

    def _float(self, linear: BitLinear) -> NDArray[np.float32]:
        key = id(linear)
        if key not in self._floats:
            self._floats[key] = linear.weights.astype(np.float32)
        return self._floats[key]

    def choose(self, logits: Logits, position: int, temperature: tuple[int, int] | None, seed: int) -> int:
        """The next token from the last position of `logits`.

        Without a temperature its largest sum, the first of equals; with one (SCALE of 1/T) its largest
        logit/T plus noise.

        `position` is that of the token whose logits these are, counted from the start of the text.
        """
        sums = logits.sums[-1].astype(np.int64)
        if temperature is None:
            return int(np.argmax(sums))
        mantissa, exponent = multiply_scale(logits.mantissa[-1], logits.exponent[-1], temperature)
        scaled = rescale(sums, mantissa, exponent, VECTOR, self.saturations)
        noise = gumbel_noise(seed, position, len(sums)) << (VECTOR.fraction - NOISE.fraction)
        return int(np.argmax(scaled + noise))
