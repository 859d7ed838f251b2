"""From a checkpoint's float weights to the integers that the accelerator holds.

A BitLinear behind an RMSNorm needs neither norm's scale for its int8 inputs, since a positive factor cancels
there; it needs two gains and one number. With x the block's input, w the RMSNorm's weights and v the
BitLinear's own:

    S = mean((x w)^2),  M = max|x w v|,  q = round(127 x w v / M)
    out = (t @ q) mean|W| M / (127 sqrt(S + epsilon))

`Norm` holds w, `BitLinear` holds the ternary t, the gain w v, and the constants of the last factor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .checkpoint import Checkpoint, ternarise
from .config import ModelConfig
from .errors import TritforgeError
from .numerics import ACT, EMBEDDING_BITS, GATE, VECTOR, WEIGHT, Ints, quantise_vector, to_scale
from .tokenizer import Tokenizer, find_tokenizer

__all__ = [
    "BITLINEAR_EPSILON",
    "BitLinear",
    "Block",
    "Head",
    "IntegerModel",
    "Norm",
    "QuantisedCheckpoint",
    "quantise",
    "trit_count",
]

BITLINEAR_EPSILON = 1e-6
"""Epsilon of a BitLinear's own RMSNorm, as upstream's fused kernel uses it."""

_Scale = tuple[int, int]


@dataclass(frozen=True)
class Norm:
    """Weights of an RMSNorm: WEIGHT integers (n,), value = weights / 2**exponent."""

    weights: Ints
    exponent: int


@dataclass(frozen=True)
class BitLinear:
    """A ternary matrix with everything that turns its integer sums into outputs.

    Attributes
    ----------
    weights
        (rows, columns) int8 in {-1, 0, +1}.
    gain
        (columns,) WEIGHT integers: what the vector is multiplied by before it is quantised.
    constant
        SCALE: output = sum * constant * peak / sqrt(energy).
    epsilon
        SCALE: epsilon in the energy's units at shift 0 (`numerics.epsilon_term`).
    """

    weights: NDArray[np.int8]
    gain: Ints
    constant: _Scale
    epsilon: _Scale

    @property
    def rows(self) -> int:
        """Number of outputs."""
        return int(self.weights.shape[0])

    @property
    def columns(self) -> int:
        """Number of inputs."""
        return int(self.weights.shape[1])


@dataclass(frozen=True)
class Block:
    """One layer: token mixer (i, f, g, o) and channel mixer (gate_up, down).

    `bound` is the lower bound of the forget gate in GATE (zeros in layer 0 and where the model uses none);
    `gate_up` holds gate and up interleaved, row 2j gate_j and row 2j+1 up_j.
    """

    bound: Ints
    attn_norm: Norm
    i: BitLinear
    f: BitLinear
    g: BitLinear
    g_norm: Norm
    o: BitLinear
    mlp_norm: Norm
    gate_up: BitLinear
    down: BitLinear


@dataclass(frozen=True)
class Head:
    """Final norm and LM head."""

    norm: Norm
    linear: BitLinear


class IntegerModel(Protocol):
    """What the golden model and the image writer read; a checkpoint being quantised or an image."""

    @property
    def config(self) -> ModelConfig:
        """The model's shape."""

    @property
    def tokenizer(self) -> Tokenizer | None:
        """Its tokenizer, if it brings one."""

    def embedding(self, tokens: NDArray[Any]) -> tuple[NDArray[np.int8], Ints, Ints]:
        """Rows (T, d) int8 with their SCALEs: mantissas (T,), exponents (T,)."""

    def block(self, layer: int) -> Block:
        """One layer's integers."""

    def head(self) -> Head:
        """Final norm and LM head."""


def _bit_linear(
    name: str, weights: NDArray[np.int8], gain: Ints, constant: float, epsilon: float
) -> BitLinear:
    try:
        return BitLinear(weights, gain, to_scale(constant), to_scale(epsilon))
    except ValueError as error:
        raise TritforgeError(
            f"{name}: its norm weights, or rms_norm_eps, are beyond the accelerator's number formats: {error}"
        ) from None


def _chained(
    name: str,
    weight: NDArray[np.float32],
    own: NDArray[Any],
    norm: NDArray[Any],
    before: Norm,
    floor: float,
) -> BitLinear:
    """A BitLinear behind the RMSNorm `norm`; `floor` is its epsilon times what it is measured against."""
    ternary, mean = ternarise(weight)
    n = norm.size
    gain, exponent = quantise_vector(norm.astype(np.float64) * own)
    # The RMSNorm's own epsilon stands beside mean(x^2), which is not measured: mean((x w)^2) / mean(w^2)
    # stands for it.
    mean_square = float(np.mean(norm.astype(np.float64) ** 2))
    fold = math.sqrt(1 + BITLINEAR_EPSILON / mean_square) if mean_square else 1.0
    constant = _scale_constant(mean, n, before.exponent - exponent) / fold
    bits = VECTOR.fraction - (WEIGHT.bits - 1) + before.exponent
    return _bit_linear(name, ternary, gain, constant, floor * 4.0**bits)


def _scale_constant(mean: float, n: int, exponent: int) -> float:
    # An all-zero matrix has mean 0, which no SCALE holds; any constant serves, its sums are all 0.
    return float(mean or 1e-5) / 127 * math.sqrt(n) * 2.0**exponent


class QuantisedCheckpoint:
    """`IntegerModel` made from a float checkpoint, a layer at a time.

    Parameters
    ----------
    checkpoint
        The open checkpoint.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self.config = checkpoint.config

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The checkpoint's tokenizer, None if it brings none."""
        return find_tokenizer(self._checkpoint.directory)

    @lru_cache(maxsize=1)  # noqa: B019 - one entry, as long-lived as the model
    def _rows(self) -> tuple[NDArray[np.int8], Ints, Ints]:
        table = self._checkpoint.tensor("model.embeddings.weight")
        peak = np.max(np.abs(table), axis=1).astype(np.float64)
        high = (1 << (EMBEDDING_BITS - 1)) - 1
        if (loud := np.flatnonzero(peak >= 2 * high)).size:
            raise TritforgeError(
                f"row {loud[0]} of model.embeddings.weight reaches {peak[loud[0]]:g};"
                f" the accelerator holds less than {2 * high}"
            )
        scales = [to_scale(p / high) if p > 2.0**-100 else (1 << 14, -22) for p in peak]
        mantissa, exponent = (np.array(column, dtype=np.int64) for column in zip(*scales, strict=True))
        rows = np.rint(table / (np.ldexp(mantissa.astype(np.float64), exponent))[:, None])
        return np.clip(rows, -high, high).astype(np.int8), mantissa, exponent

    def embedding(self, tokens: NDArray[Any]) -> tuple[NDArray[np.int8], Ints, Ints]:
        """See `IntegerModel`."""
        rows, mantissa, exponent = self._rows()
        return rows[tokens], mantissa[tokens], exponent[tokens]

    @lru_cache(maxsize=1)  # noqa: B019
    def _bounds(self) -> Ints:
        shape = (self.config.num_hidden_layers, self.config.hidden_size)
        if not self.config.use_lower_bound:
            return np.zeros(shape, dtype=np.int64)
        logits = self._checkpoint.tensor("model.lower_bounds").astype(np.float64)
        share = np.exp(logits - logits.max(axis=0))
        share /= share.sum(axis=0)
        bounds = np.cumsum(share, axis=0) - share[0]
        bounds[0] = 0.0
        integers: Ints = np.clip(np.rint(bounds * (1 << GATE.fraction)), 0, GATE.high).astype(np.int64)
        return integers

    def block(self, layer: int) -> Block:
        """See `IntegerModel`."""
        read = self._checkpoint.tensor
        prefix = f"model.layers.{layer}."
        eps = self.config.rms_norm_eps
        d, wide = self.config.hidden_size, self.config.intermediate_size

        def norm(name: str) -> tuple[NDArray[np.float32], Norm]:
            weights = read(prefix + name)
            return weights, Norm(*quantise_vector(weights))

        def chained(
            name: str, weight: NDArray[np.float32], weights: NDArray[Any], before: Norm, floor: float
        ) -> BitLinear:
            own = read(f"{prefix}{name}.norm.weight").astype(np.float64)
            return _chained(prefix + name, weight, own, weights, before, floor)

        attn, attn_norm = norm("attn_norm.weight")
        i, f, g = (
            chained(
                f"attn.{n}_proj",
                read(f"{prefix}attn.{n}_proj.weight"),
                attn,
                attn_norm,
                BITLINEAR_EPSILON * eps * d,
            )
            for n in "ifg"
        )
        gate_weights, g_norm = norm("attn.g_norm.weight")
        # Measured against the sum of g^2 in ACT^2 units; g_norm's epsilon is below its last bit
        # (docs/numerics.md).
        o = chained(
            "attn.o_proj",
            read(prefix + "attn.o_proj.weight"),
            gate_weights,
            g_norm,
            BITLINEAR_EPSILON * ACT.step**2,
        )
        mlp, mlp_norm = norm("mlp_norm.weight")
        gate_up = chained(
            "mlp.gate_proj", read(prefix + "mlp.gate_proj.weight"), mlp, mlp_norm, BITLINEAR_EPSILON * eps * d
        )
        interleaved = np.empty_like(gate_up.weights)
        interleaved[0::2], interleaved[1::2] = gate_up.weights[:wide], gate_up.weights[wide:]
        gate_up = BitLinear(interleaved, gate_up.gain, gate_up.constant, gate_up.epsilon)
        ternary, mean = ternarise(read(prefix + "mlp.down_proj.weight"))
        gain, exponent = quantise_vector(read(prefix + "mlp.down_proj.norm.weight"))
        down = _bit_linear(
            f"{prefix}mlp.down_proj",
            ternary,
            gain,
            _scale_constant(mean, wide, WEIGHT.bits - 1 - exponent),
            BITLINEAR_EPSILON * wide / VECTOR.step**2,
        )
        return Block(self._bounds()[layer], attn_norm, i, f, g, g_norm, o, mlp_norm, gate_up, down)

    def head(self) -> Head:
        """See `IntegerModel`."""
        weights = self._checkpoint.tensor("model.norm.weight")
        norm = Norm(*quantise_vector(weights))
        own = self._checkpoint.tensor("lm_head.norm.weight").astype(np.float64)
        floor = BITLINEAR_EPSILON * self.config.rms_norm_eps * self.config.hidden_size
        weight = self._checkpoint.tensor("lm_head.weight")
        return Head(norm, _chained("lm_head", weight, own, weights, norm, floor))


def trit_count(config: ModelConfig) -> int:
    """Ternary weights of a model, LM head included: each is used once a token."""
    d, wide = config.hidden_size, config.intermediate_size
    return config.num_hidden_layers * (4 * d * d + 3 * d * wide) + d * config.vocab_size


def quantise(checkpoint: Checkpoint) -> QuantisedCheckpoint:
    """The integers of a float checkpoint, computed a layer at a time when asked for."""
    return QuantisedCheckpoint(checkpoint)
