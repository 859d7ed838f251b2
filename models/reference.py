"""The float reference: upstream's model in numpy float32, written as the paper's equations.

Everything that is quantised later is measured against this file, and this file against what upstream itself
computes (tests/vectors).  References: arXiv 2406.02528, sections 3.1 (BitLinear), 3.3.1 (MLGRU), 3.3.2 (GLU);
HGRNBitForCausalLM.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .checkpoint import Checkpoint, ternarise
from .errors import TritforgeError

__all__ = ["Reference", "rms_norm", "round_half_away", "sigmoid", "silu"]

Floats = NDArray[np.float32]

BIT_LINEAR_EPS = 1e-6
"""eps inside every BitLinear: upstream's fused kernel ignores the 1e-8 that its module stores."""


def round_half_away(x: Floats) -> Floats:
    """Round to the nearest integer, halves away from zero, as the C function ``roundf`` does."""
    whole = np.trunc(x)
    # x - whole is exact, whereas x + 0.5 would already round 0.49999997 up.
    rounded: Floats = whole + np.copysign(np.abs(x - whole) >= 0.5, x).astype(x.dtype)
    return rounded


def sigmoid(x: Floats) -> Floats:
    """Return 1 / (1 + exp(-x)) without overflow for any finite x."""
    small = np.exp(-np.abs(x))
    y: Floats = np.where(x >= 0, np.float32(1), small) / (1 + small)
    return y


def silu(x: Floats) -> Floats:
    """Return x * sigmoid(x)."""
    return x * sigmoid(x)


def rms_norm(x: Floats, weight: Floats, eps: float) -> Floats:
    """Scale each vector along the last axis to a root mean square of 1, then by `weight`."""
    y: Floats = x / np.sqrt(np.square(x).mean(axis=-1, keepdims=True) + np.float32(eps)) * weight
    return y


class BitLinear:
    """A ternary matrix applied to int8 activations, with the norm that stands before it (paper, section 3.1).

    Parameters
    ----------
    checkpoint : Checkpoint
        Where the weights are.
    name : str
        Their name without ``.weight``, e.g. ``model.layers.0.attn.i_proj``.
    """

    def __init__(self, checkpoint: Checkpoint, name: str) -> None:
        self.norm = checkpoint.tensor(f"{name}.norm.weight")
        self.t, self.mean = ternarise(checkpoint.tensor(f"{name}.weight"))

    def __call__(self, x: Floats) -> Floats:
        """Map (T, inputs) to (T, outputs)."""
        y = rms_norm(x, self.norm, BIT_LINEAR_EPS)
        s = 127 / np.maximum(np.abs(y).max(axis=-1, keepdims=True), np.float32(1e-5))
        q = np.clip(round_half_away(y * s), -128, 127)
        # Integers below 2**24 (MAX_WIDTH), so this product is exact in float32.
        out: Floats = (q @ self.t.T.astype(np.float32)) * (np.float32(self.mean) / s)
        return out


class Block(NamedTuple):
    """One layer's weights."""

    attn_norm: Floats
    i_proj: BitLinear
    f_proj: BitLinear
    g_proj: BitLinear
    g_norm: Floats
    o_proj: BitLinear
    mlp_norm: Floats
    gate_proj: BitLinear
    down_proj: BitLinear


class Reference:
    """A whole model; matrices are held as int8, so memory is about one byte a parameter.

    Parameters
    ----------
    checkpoint : Checkpoint
        The model's weights; all are read here.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.config = checkpoint.config
        self.embeddings = checkpoint.tensor("model.embeddings.weight")
        self.blocks = [_read_block(checkpoint, layer) for layer in range(self.config.num_hidden_layers)]
        self.norm = checkpoint.tensor("model.norm.weight")
        self.lm_head = BitLinear(checkpoint, "lm_head")
        if self.config.use_lower_bound:
            self.lower_bounds = _lower_bounds(checkpoint.tensor("model.lower_bounds"))
        else:
            self.lower_bounds = np.zeros((self.config.num_hidden_layers, self.config.hidden_size), np.float32)

    def initial_state(self) -> Floats:
        """Return h before the first token: zeros, (layers, d)."""
        return np.zeros((self.config.num_hidden_layers, self.config.hidden_size), np.float32)

    def step(self, token: int, state: Floats) -> tuple[Floats, Floats]:
        """Compute one token.

        Parameters
        ----------
        token : int
            The token's number, below V.
        state : ndarray of float32, shape (layers, d)
            h of every layer after the token before; left as it is.

        Returns
        -------
        logits : ndarray of float32, shape (V,)
            For the token that follows.
        state : ndarray of float32, shape (layers, d)
            h of every layer after this token.
        """
        state = state.copy()
        return self.forward([token], state)[0], state

    def forward(
        self, tokens: ArrayLike, state: Floats | None = None, trace: dict[str, Floats] | None = None
    ) -> Floats:
        """Compute a sequence: T tokens at once, but for the recurrence.

        Parameters
        ----------
        tokens : array_like of int, shape (T,)
            Token numbers below V.
        state : ndarray of float32, shape (layers, d), optional
            h of every layer before the sequence; afterwards, in place, h after it. Zeros if not given.
        trace : dict, optional
            Filled with ``embeddings`` (T, d), ``layer_outputs`` (layers, T, d), the residual stream after
            each block, and ``final_norm`` (T, d).

        Returns
        -------
        ndarray of float32, shape (T, V)
            Logits.

        Raises
        ------
        TritforgeError
            If a token is not below V.
        """
        if state is None:
            state = self.initial_state()
        x = self.embeddings[self._checked(tokens)]
        outputs = [x]
        for block, bound, h in zip(self.blocks, self.lower_bounds, state, strict=True):
            x = x + self._token_mixer(block, bound, h, x)
            x = x + self._channel_mixer(block, x)
            if trace is not None:
                outputs.append(x)
        final = rms_norm(x, self.norm, self.config.rms_norm_eps)
        if trace is not None:
            trace.update(embeddings=outputs[0], layer_outputs=np.array(outputs[1:]), final_norm=final)
        return self.lm_head(final)

    def _token_mixer(self, block: Block, bound: Floats, h: Floats, x: Floats) -> Floats:
        """MLGRU (paper, section 3.3.1); h, (d,), moves on in place."""
        eps = self.config.rms_norm_eps
        a = rms_norm(x, block.attn_norm, eps)
        i, f, g = block.i_proj(a), block.f_proj(a), block.g_proj(a)
        f = sigmoid(f)
        f = bound + (1 - bound) * f
        i = silu(i) * (1 - f)
        hs = np.empty_like(i)
        for t in range(len(x)):
            h[:] = f[t] * h + i[t]
            hs[t] = h
        return block.o_proj(rms_norm(g, block.g_norm, eps) * silu(hs))

    def _channel_mixer(self, block: Block, x: Floats) -> Floats:
        """GLU (paper, section 3.3.2)."""
        b = rms_norm(x, block.mlp_norm, self.config.rms_norm_eps)
        gate, up = np.split(block.gate_proj(b), 2, axis=-1)
        return block.down_proj(silu(gate) * up)

    def _checked(self, tokens: ArrayLike) -> NDArray[np.int64]:
        ids = np.asarray(tokens)
        if ids.ndim != 1 or not (np.issubdtype(ids.dtype, np.integer) or ids.size == 0):
            raise TritforgeError(
                f"tokens must be a list of integers, not {ids.dtype} of shape {list(ids.shape)}"
            )
        outside = np.flatnonzero((ids < 0) | (ids >= self.config.vocab_size))
        if outside.size:
            place = outside[0]
            raise TritforgeError(
                f"token {ids[place]} at position {place} is not below vocab_size {self.config.vocab_size}"
            )
        return ids.astype(np.int64)


def _read_block(checkpoint: Checkpoint, layer: int) -> Block:
    name = f"model.layers.{layer}"
    return Block(
        attn_norm=checkpoint.tensor(f"{name}.attn_norm.weight"),
        i_proj=BitLinear(checkpoint, f"{name}.attn.i_proj"),
        f_proj=BitLinear(checkpoint, f"{name}.attn.f_proj"),
        g_proj=BitLinear(checkpoint, f"{name}.attn.g_proj"),
        g_norm=checkpoint.tensor(f"{name}.attn.g_norm.weight"),
        o_proj=BitLinear(checkpoint, f"{name}.attn.o_proj"),
        mlp_norm=checkpoint.tensor(f"{name}.mlp_norm.weight"),
        gate_proj=BitLinear(checkpoint, f"{name}.mlp.gate_proj"),
        down_proj=BitLinear(checkpoint, f"{name}.mlp.down_proj"),
    )


def _lower_bounds(parameters: Floats) -> Floats:
    """Return each layer's bound of the forget gate, (layers, d), from upstream's parameters of that shape.

    The first layer's is zero: softmax(0) - softmax(0).
    """
    powers = np.exp(parameters - parameters.max(axis=0))
    shares = powers / powers.sum(axis=0)
    bounds: Floats = np.cumsum(shares, axis=0) - shares[0]
    return bounds
