"""A checkpoint's integers, against the float weights they stand for."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tritforge.models.checkpoint import Checkpoint, ternarise
from tritforge.models.errors import TritforgeError
from tritforge.models.numerics import GATE, WEIGHT, scale_value
from tritforge.models.quantise import quantise, trit_count

Maker = Callable[..., Path]


def changed(directory: Path, **tensors: np.ndarray) -> Path:
    path = directory / "model.safetensors"
    save_file(
        {**load_file(path), **{name.replace("__", "."): value for name, value in tensors.items()}}, path
    )
    return directory


def test_embedding_rows_are_within_half_a_step_of_the_floats(make_model: Maker) -> None:
    checkpoint = Checkpoint(make_model(seed=1))
    table = checkpoint.tensor("model.embeddings.weight")
    rows, mantissa, exponent = quantise(checkpoint).embedding(np.arange(len(table)))
    step = scale_value(mantissa, exponent)[:, None]
    # A SCALE's own rounding moves the largest entry by up to 127 * 2**-15 steps more.
    assert (np.abs(rows * step - table) <= step * (0.5 + 127 * 2.0**-15)).all()
    assert (np.abs(rows).max(axis=1) == 127).all()


def test_a_row_of_zeros_is_zero(make_model: Maker) -> None:
    directory = make_model(seed=1)
    table = load_file(directory / "model.safetensors")["model.embeddings.weight"].copy()
    table[3] = 0
    rows, _, _ = quantise(Checkpoint(changed(directory, model__embeddings__weight=table))).embedding(
        np.array([3])
    )
    assert not rows.any()


def test_an_embedding_that_no_scale_holds_is_refused_by_its_row(make_model: Maker) -> None:
    directory = make_model(seed=1)
    table = load_file(directory / "model.safetensors")["model.embeddings.weight"].copy()
    table[5, 2] = -300.0
    model = quantise(Checkpoint(changed(directory, model__embeddings__weight=table)))
    with pytest.raises(
        TritforgeError, match=r"row 5 of model.embeddings.weight reaches 300; .* less than 254"
    ):
        model.embedding(np.array([0]))


@pytest.mark.parametrize("factor", [1e30, 1e-30])
@pytest.mark.parametrize(
    ("norm", "refused"),
    [
        ("model.layers.1.attn_norm.weight", "model.layers.1.attn.i_proj"),
        ("model.layers.1.attn.g_norm.weight", "model.layers.1.attn.o_proj"),
        ("model.norm.weight", "lm_head"),
    ],
)
def test_norm_weights_beyond_the_formats_are_refused_by_name(
    factor: float, norm: str, refused: str, make_model: Maker
) -> None:
    directory = make_model(seed=1)
    weights = load_file(directory / "model.safetensors")[norm] * np.float32(factor)
    model = quantise(Checkpoint(changed(directory, **{norm.replace(".", "__"): weights})))
    with pytest.raises(TritforgeError, match=f"^{refused}: its norm weights, or rms_norm_eps, are beyond"):
        _ = model.head() if refused == "lm_head" else model.block(1)


def test_down_proj_s_norm_weights_beyond_the_formats_are_refused_by_name(make_model: Maker) -> None:
    directory = make_model(seed=1)
    tiny = np.full(26, 1e-38, np.float32)
    model = quantise(Checkpoint(changed(directory, model__layers__0__mlp__down_proj__norm__weight=tiny)))
    with pytest.raises(TritforgeError, match=r"^model.layers.0.mlp.down_proj: its norm weights"):
        model.block(0)


def test_gate_and_up_rows_alternate(make_model: Maker) -> None:
    checkpoint = Checkpoint(make_model(seed=2))
    ternary, _ = ternarise(checkpoint.tensor("model.layers.1.mlp.gate_proj.weight"))
    wide = checkpoint.config.intermediate_size
    block = quantise(checkpoint).block(1)
    assert np.array_equal(block.gate_up.weights[0::2], ternary[:wide])
    assert np.array_equal(block.gate_up.weights[1::2], ternary[wide:])


def test_norm_weights_use_all_bits_of_their_format(make_model: Maker) -> None:
    checkpoint = Checkpoint(make_model(seed=3))
    norm = quantise(checkpoint).block(0).attn_norm
    assert (WEIGHT.high + 1) // 2 <= np.abs(norm.weights).max() <= WEIGHT.high
    floats = checkpoint.tensor("model.layers.0.attn_norm.weight")
    assert np.abs(norm.weights / 2.0**norm.exponent - floats).max() <= 0.5 / 2.0**norm.exponent


def test_layer_0_has_no_lower_bound_and_the_others_follow_the_softmax(make_model: Maker) -> None:
    checkpoint = Checkpoint(make_model(seed=4, num_hidden_layers=4))
    logits = checkpoint.tensor("model.lower_bounds").astype(np.float64)
    share = np.exp(logits) / np.exp(logits).sum(axis=0)
    model = quantise(checkpoint)
    assert not model.block(0).bound.any()
    for layer in range(1, 4):
        expected = share[1 : layer + 1].sum(axis=0)
        assert np.abs(model.block(layer).bound * GATE.step - expected).max() <= GATE.step


def test_a_model_without_lower_bounds_has_zeros(make_model: Maker) -> None:
    model = quantise(Checkpoint(make_model(seed=4, use_lower_bound=False)))
    assert not any(model.block(layer).bound.any() for layer in range(3))


def test_an_all_zero_matrix_is_quantised(make_model: Maker) -> None:
    directory = make_model(seed=5)
    changed(directory, model__layers__0__attn__o_proj__weight=np.zeros((21, 21), np.float32))
    assert not quantise(Checkpoint(directory)).block(0).o.weights.any()


def test_trits_are_counted_as_the_matrices_have_them(make_model: Maker) -> None:
    checkpoint = Checkpoint(make_model())
    matrices = [name for name in checkpoint.names if name.endswith("proj.weight") or name == "lm_head.weight"]
    assert trit_count(checkpoint.config) == sum(checkpoint.tensor(name).size for name in matrices)
