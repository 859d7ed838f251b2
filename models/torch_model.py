"""The MatMul-free model in PyTorch, with straight-through estimators: what training differentiates.

The forward pass is upstream's (design in :mod:`.reference`, which reads like the paper's equations); the
backward pass takes the rounding of weights and activations for the identity (paper, section 3.1). It is
written as a few element-by-element pieces between matrix products, so that a compiler may fuse each piece.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from .checkpoint import tensor_shapes
from .config import ModelConfig

__all__ = ["ACTIVATION_LIMIT", "Output", "TorchModel", "ternary"]

ACTIVATION_LIMIT = 12.0
"""What the hardware's format for pre-activations, up to 16, holds with room to spare."""

BITLINEAR_EPS = 1e-6
INITIAL_DEVIATION = 0.02


class Output(NamedTuple):
    """What a pass over T tokens of B streams gives.

    Parameters
    ----------
    logits : Tensor, shape (T * B, V)
        Token by token, in each the streams in order.
    state : Tensor, shape (layers, B, d)
        h after the last token, cut off from the gradient.
    excess : Tensor, scalar
        Squares of what pre-activations (i, f, g, gate, up) have above `ACTIVATION_LIMIT` in magnitude, summed
        over a token's, averaged over tokens.
    """

    logits: Tensor
    state: Tensor
    excess: Tensor


class _Recurrence(torch.autograd.Function):  # type: ignore[misc]  # torch is not seen by the type checker
    """h_t = f_t * h_(t-1) + i_t along the first axis of f, i and h, (T, B, d); h before them is (B, d)."""

    @staticmethod
    def forward(ctx: Any, f: Tensor, i: Tensor, before: Tensor) -> Tensor:
        h = torch.empty_like(i)
        previous = before
        for forget, entered, row in zip(f.unbind(), i.unbind(), h.unbind(), strict=True):
            previous = torch.addcmul(entered, forget, previous, out=row)
        ctx.save_for_backward(f, h, before)
        return h

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        f, h, before = ctx.saved_tensors
        # What reaches h_t through h_(t+1) is added; the state before is cut off (truncated backpropagation).
        dh = gradients[0].clone(memory_format=torch.contiguous_format)
        rows, forget = dh.unbind(), f.unbind()
        for t in range(len(rows) - 2, -1, -1):
            rows[t].addcmul_(forget[t + 1], rows[t + 1])
        df = torch.empty_like(dh)
        torch.mul(dh[0], before, out=df[0])
        torch.mul(dh[1:], h[:-1], out=df[1:])
        return df, dh, None


def _rms(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * weight


def _quantised(x: Tensor, norm: Tensor) -> Tensor:
    """Normalise, and round to int8 a token; the scale is divided out again."""
    y = _rms(x, norm, BITLINEAR_EPS)
    constant = y.detach()
    scale = 127.0 / constant.abs().amax(-1, keepdim=True).clamp(min=1e-5)
    scaled = constant * scale
    # Half away from zero, as upstream's kernel rounds.
    half = torch.copysign(torch.full_like(scaled, 0.5), scaled)
    return y + ((scaled + half).trunc().clamp(-128, 127) / scale - constant)


def ternary(weight: Tensor) -> Tensor:
    """Round to -m, 0, +m with m = mean|W|; the gradient passes as if nothing had been rounded."""
    constant = weight.detach()
    mean = constant.abs().mean().clamp(min=1e-5)
    return weight + ((constant / mean).round().clamp(-1, 1) * mean - constant)


def _mixer_inputs(
    x: Tensor, norm: Tensor, i_norm: Tensor, f_norm: Tensor, g_norm: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    a = _rms(x, norm, eps)
    return _quantised(a, i_norm), _quantised(a, f_norm), _quantised(a, g_norm)


def _excess(x: Tensor) -> Tensor:
    return functional.relu(x.abs() - ACTIVATION_LIMIT).square().sum()


def _gates(i: Tensor, f: Tensor, bound: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    forget = bound + (1 - bound) * torch.sigmoid(f)
    return functional.silu(i) * (1 - forget), forget, _excess(i) + _excess(f)


def _mixed(h: Tensor, g: Tensor, g_norm: Tensor, o_norm: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    return _quantised(_rms(g, g_norm, eps) * functional.silu(h), o_norm), _excess(g)


def _glu_input(x: Tensor, norm: Tensor, gate_norm: Tensor, eps: float) -> Tensor:
    return _quantised(_rms(x, norm, eps), gate_norm)


def _glu(gate_up: Tensor, down_norm: Tensor) -> tuple[Tensor, Tensor]:
    gate, up = gate_up.chunk(2, -1)
    return _quantised(functional.silu(gate) * up, down_norm), _excess(gate_up)


_PIECES: tuple[Callable[..., Any], ...] = (_mixer_inputs, _gates, _mixed, _glu_input, _glu)

Observer = Callable[[str, Tensor], None]


class TorchModel:
    """A model's float32 master weights and its differentiable forward pass.

    Parameters
    ----------
    config : ModelConfig
        What the model computes.
    device : str
        Where torch keeps it.
    seed : int
        For the initial weights: norms 1, bounds 0, the rest normal with deviation 0.02, as upstream.
    compiled : bool
        Fuse the pieces with torch.compile, which needs a C++ compiler on a CPU.

    Attributes
    ----------
    weights : dict of str to Tensor
        By the names of upstream's state dict, each a leaf that gathers a gradient.
    """

    def __init__(
        self, config: ModelConfig, *, device: str = "cpu", seed: int = 0, compiled: bool = False
    ) -> None:
        self.config, self.device = config, device
        generator = torch.Generator().manual_seed(seed)
        self.weights: dict[str, Tensor] = {}
        for name, shape in tensor_shapes(config).items():
            if name.endswith("lower_bounds"):
                weight = torch.zeros(shape)
            elif len(shape) == 1:
                weight = torch.ones(shape)
            else:
                weight = torch.randn(shape, generator=generator) * INITIAL_DEVIATION
            self.weights[name] = weight.to(device).requires_grad_()
        self._eager = {piece.__name__: piece for piece in _PIECES}
        self._fused = {name: torch.compile(p, dynamic=False) for name, p in self._eager.items()}
        self._compiled = compiled

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Copy weights of any float format into the model's own."""
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(weights[name])

    def zero_state(self, streams: int) -> Tensor:
        """Return the state (layers, streams, d) from which every text starts."""
        return torch.zeros(
            self.config.num_hidden_layers, streams, self.config.hidden_size, device=self.device
        )

    def forward(self, ids: Tensor, state: Tensor, observe: Observer | None = None) -> Output:
        """Read tokens of several streams.

        Parameters
        ----------
        ids : Tensor of int64, shape (T, B)
            B streams of T tokens.
        state : Tensor, shape (layers, B, d)
            h before the first of them.
        observe : callable, optional
            Called with the name and the values of what flows between the pieces: x, i, f, g, h, gate, up.

        Returns
        -------
        Output
            Logits, the state for the next tokens, and by how much activations were too large.
        """
        config, w, eps = self.config, self.weights, self.config.rms_norm_eps
        # Only training repeats one shape often enough to pay for compiling it.
        run = self._fused if self._compiled and torch.is_grad_enabled() else self._eager
        shape = (*ids.shape, config.hidden_size)

        def see(**values: Tensor) -> None:
            if observe is not None:
                for name, value in values.items():
                    observe(name, value.detach())

        def project(x: Tensor, name: str) -> Tensor:
            return x @ ternary(w[f"{name}.weight"]).t()

        x = w["model.embeddings.weight"][ids.reshape(-1)]
        see(x=x)
        states = []
        excess = torch.zeros((), device=self.device)
        for layer in range(config.num_hidden_layers):
            block = f"model.layers.{layer}"
            attn, mlp = f"{block}.attn", f"{block}.mlp"
            i, f, g = run["_mixer_inputs"](
                x,
                w[f"{block}.attn_norm.weight"],
                *(w[f"{attn}.{name}_proj.norm.weight"] for name in "ifg"),
                eps,
            )
            i, f, g = project(i, f"{attn}.i_proj"), project(f, f"{attn}.f_proj"), project(g, f"{attn}.g_proj")
            see(i=i, f=f, g=g)
            i, f, above = run["_gates"](i, f, self._bound(layer))
            excess = excess + above
            h = _Recurrence.apply(f.view(shape), i.view(shape), state[layer])
            states.append(h[-1].detach())
            h = h.view(-1, config.hidden_size)
            o, above = run["_mixed"](h, g, w[f"{attn}.g_norm.weight"], w[f"{attn}.o_proj.norm.weight"], eps)
            excess = excess + above
            x = x + project(o, f"{attn}.o_proj")
            see(h=h, x=x)
            b = run["_glu_input"](x, w[f"{block}.mlp_norm.weight"], w[f"{mlp}.gate_proj.norm.weight"], eps)
            gate_up = project(b, f"{mlp}.gate_proj")
            y, above = run["_glu"](gate_up, w[f"{mlp}.down_proj.norm.weight"])
            excess = excess + above
            x = x + project(y, f"{mlp}.down_proj")
            gate, up = gate_up.chunk(2, -1)
            see(gate=gate, up=up, x=x)
        y = run["_glu_input"](x, w["model.norm.weight"], w["lm_head.norm.weight"], eps)
        return Output(project(y, "lm_head"), torch.stack(states), excess / ids.numel())

    def _bound(self, layer: int) -> Tensor:
        """Return the forget gate's lower bound in a layer, shape (d)."""
        if not layer or not self.config.use_lower_bound:
            return torch.zeros(self.config.hidden_size, device=self.device)
        shares = torch.softmax(self.weights["model.lower_bounds"], 0)
        return torch.cumsum(shares, 0)[layer] - shares[0]
