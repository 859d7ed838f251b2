"""The float reference computes what upstream computes, and what the paper's equations say."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tritforge.models.checkpoint import Checkpoint
from tritforge.models.errors import TritforgeError
from tritforge.models.reference import Reference, rms_norm, round_half_away, sigmoid, silu

Vectors = dict[str, NDArray[Any]]

TOLERANCE = 1e-4  # one flipped int8 moves logits by 1e-2 or more


@pytest.fixture(scope="module")
def reference_a(model_a: Path) -> Reference:
    return Reference(Checkpoint(model_a))


def assert_close(ours: NDArray[Any], upstream: NDArray[Any]) -> None:
    assert ours.dtype == np.float32
    assert ours.shape == upstream.shape
    assert np.abs(ours - upstream).max() <= TOLERANCE


def test_a_whole_sequence_agrees_with_upstream(reference_a: Reference, vectors_a: Vectors) -> None:
    state = reference_a.initial_state()
    trace: dict[str, NDArray[np.float32]] = {}
    logits = reference_a.forward(vectors_a["input_ids"], state, trace)
    assert_close(logits, vectors_a["logits"])
    assert_close(state, vectors_a["final_states"][:, 0])
    for name in ("embeddings", "layer_outputs", "final_norm"):
        assert_close(trace[name], vectors_a[name])


def test_token_by_token_agrees_with_upstream(reference_a: Reference, vectors_a: Vectors) -> None:
    state = reference_a.initial_state()
    for token, expected in zip(vectors_a["input_ids"], vectors_a["logits_stepwise"], strict=True):
        logits, state = reference_a.step(int(token), state)
        assert_close(logits, expected)
    assert_close(state, vectors_a["final_states_stepwise"][:, 0])


def test_greedy_continuation_equals_that_of_upstream(reference_a: Reference, vectors_a: Vectors) -> None:
    state = reference_a.initial_state()
    logits = reference_a.forward(vectors_a["input_ids"], state)[-1]
    chosen = []
    for _ in range(8):
        chosen.append(int(logits.argmax()))
        logits, state = reference_a.step(chosen[-1], state)
    assert chosen == list(vectors_a["greedy_next8"])


def test_a_state_carries_a_sequence_across_calls(reference_a: Reference, vectors_a: Vectors) -> None:
    tokens = vectors_a["input_ids"]
    state = reference_a.initial_state()
    parts = [reference_a.forward(part, state) for part in np.split(tokens, [5, 5, 6])]
    assert [len(part) for part in parts] == [5, 0, 1, 18]
    assert_close(np.concatenate(parts), vectors_a["logits"])
    assert_close(state, vectors_a["final_states"][:, 0])


def test_a_step_leaves_the_state_that_it_was_given(reference_a: Reference) -> None:
    before = reference_a.initial_state()
    _, after = reference_a.step(3, before)
    assert not before.any()
    assert after.any()


# The equations again, with Python's own numbers and nothing shared with the code under test.


def plainly(checkpoint: Checkpoint, tokens: list[int]) -> list[list[float]]:
    def vector(name: str) -> list[float]:
        return [float(value) for value in checkpoint.tensor(name + ".weight").ravel()]

    def rms(x: list[float], w: list[float], eps: float) -> list[float]:
        root = math.sqrt(sum(value * value for value in x) / len(x) + eps)
        return [value / root * weight for value, weight in zip(x, w, strict=True)]

    def bit_linear(name: str, x: list[float]) -> list[float]:
        y = rms(x, vector(name + ".norm"), 1e-6)
        s = 127 / max(max(abs(value) for value in y), 1e-5)
        q = [math.copysign(math.floor(abs(value * s) + 0.5), value) for value in y]
        w = [[float(value) for value in row] for row in checkpoint.tensor(name + ".weight")]
        mean = math.fsum(abs(value) for row in w for value in row) / (len(w) * len(w[0]))
        t = [[max(-1, min(1, round(value / mean))) for value in row] for row in w]
        return [sum(a * b for a, b in zip(row, q, strict=True)) * mean / s for row in t]

    def sigma(value: float) -> float:
        return 1 / (1 + math.exp(-value))

    config = checkpoint.config
    d, n, eps = config.hidden_size, config.num_hidden_layers, config.rms_norm_eps
    bounds = [[0.0] * d for _ in range(n)]
    if config.use_lower_bound:
        powers = np.exp(checkpoint.tensor("model.lower_bounds").astype(np.float64))
        shares = powers / powers.sum(axis=0)
        bounds = [[float(shares[1 : layer + 1, j].sum()) for j in range(d)] for layer in range(n)]
    h = [[0.0] * d for _ in range(n)]
    all_logits = []
    for token in tokens:
        x = [float(value) for value in checkpoint.tensor("model.embeddings.weight")[token]]
        for layer in range(n):
            block = f"model.layers.{layer}"
            a = rms(x, vector(block + ".attn_norm"), eps)
            i, f, g = (bit_linear(f"{block}.attn.{name}_proj", a) for name in "ifg")
            for j in range(d):
                forget = bounds[layer][j] + (1 - bounds[layer][j]) * sigma(f[j])
                h[layer][j] = forget * h[layer][j] + i[j] * sigma(i[j]) * (1 - forget)
            g = rms(g, vector(block + ".attn.g_norm"), eps)
            o = bit_linear(
                f"{block}.attn.o_proj", [g[j] * h[layer][j] * sigma(h[layer][j]) for j in range(d)]
            )
            x = [x[j] + o[j] for j in range(d)]
            b = bit_linear(block + ".mlp.gate_proj", rms(x, vector(block + ".mlp_norm"), eps))
            gate, up = b[: len(b) // 2], b[len(b) // 2 :]
            z = [gate[j] * sigma(gate[j]) * up[j] for j in range(len(up))]
            x = [x[j] + y for j, y in enumerate(bit_linear(block + ".mlp.down_proj", z))]
        all_logits.append(bit_linear("lm_head", rms(x, vector("model.norm"), eps)))
    return all_logits


@pytest.mark.parametrize("fields", [
    {},
    {"use_lower_bound": False, "dtype": "bfloat16"},
    {"hidden_size": 1, "intermediate_size": 1, "num_hidden_layers": 1, "vocab_size": 3},
    {"hidden_size": 12, "num_heads": 4, "rms_norm_eps": 0.25, "dtype": "float16"},
])  # fmt: skip
def test_models_of_any_shape_follow_the_equations(
    make_model: Callable[..., Path], fields: dict[str, Any]
) -> None:
    checkpoint = Checkpoint(make_model(**fields))
    tokens = [1, 0, 2, 2, 1, 0]
    np.testing.assert_allclose(
        Reference(checkpoint).forward(tokens), plainly(checkpoint, tokens), atol=TOLERANCE, rtol=0
    )


def test_the_number_of_heads_changes_nothing(make_model: Callable[..., Path]) -> None:
    one, three = (Reference(Checkpoint(make_model(num_heads=heads))) for heads in (1, 3))
    np.testing.assert_array_equal(one.forward([1, 2, 3]), three.forward([1, 2, 3]))


@pytest.mark.parametrize("tokens, message", [
    ([1, 256], "token 256 at position 1 is not below vocab_size 256"),
    ([-1], "token -1 at position 0"),
    ([1.5], "tokens must be a list of integers, not float64 of shape [1]"),
    ([[1, 2]], "tokens must be a list of integers, not int64 of shape [1, 2]"),
])  # fmt: skip
def test_what_is_no_list_of_tokens_is_refused(reference_a: Reference, tokens: Any, message: str) -> None:
    with pytest.raises(TritforgeError, match=re.escape(message)):
        reference_a.forward(tokens)


@pytest.mark.parametrize("x, rounded", [
    (0.0, 0), (0.5, 1), (-0.5, -1), (1.5, 2), (2.5, 3), (-2.5, -3), (126.5, 127), (-127.5, -128),
    (0.49999997, 0), (-0.49999997, 0), (1.4999999, 1), (8388607.5, 8388608), (16777215.0, 16777215),
])  # fmt: skip
def test_halves_are_rounded_away_from_zero(x: float, rounded: int) -> None:
    result = round_half_away(np.array([x], np.float32))
    assert result.dtype == np.float32
    assert result[0] == rounded


@given(st.floats(-(2.0**127), 2.0**127, width=32))
def test_sigmoid_and_silu_are_accurate_and_never_overflow(x: float) -> None:
    exact = 1 / (1 + math.exp(-x)) if x > -700 else 0.0
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        argument = np.array([x], np.float32)
        assert sigmoid(argument)[0] == pytest.approx(exact, rel=1e-6, abs=1e-37)
        assert silu(argument)[0] == pytest.approx(x * exact, rel=1e-6, abs=1e-35)


def test_rms_norm_divides_by_the_root_mean_square() -> None:
    x = np.array([[3, -4], [0, 0]], np.float32)
    weight = np.array([1, 10], np.float32)
    root = math.sqrt(12.5)
    expected = [[3 / root, -40 / root], [0, 0]]
    np.testing.assert_allclose(rms_norm(x, weight, 1e-12), expected, rtol=1e-6)
    expected = [[3 / math.sqrt(16), -40 / math.sqrt(16)], [0, 0]]
    np.testing.assert_allclose(rms_norm(x, weight, 3.5), expected, rtol=1e-6)


def test_ties_of_activations_are_rounded_away_from_zero(make_model: Callable[..., Path]) -> None:
    """Ties, which upstream's vectors lack: the root mean square is 64, so q = round(x / 2)."""
    linear = Reference(Checkpoint(make_model(hidden_size=16, intermediate_size=16))).lm_head
    linear.norm = np.ones(16, np.float32)
    linear.t = np.eye(16, dtype=np.int8)
    linear.mean = 1.0
    x = [254, 1, -1, 1, -1, 1, 1, 1, 5, 7, -17, 17, 19, 0, 0, 0]
    q = [127, 1, -1, 1, -1, 1, 1, 1, 3, 4, -9, 9, 10, 0, 0, 0]
    np.testing.assert_array_equal(linear(np.array([x], np.float32)) * 32, [q])


def test_a_vector_of_zeros_stays_zero(make_model: Callable[..., Path]) -> None:
    linear = Reference(Checkpoint(make_model())).lm_head
    assert not linear(np.zeros((1, 21), np.float32)).any()
