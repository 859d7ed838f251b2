"""How close an engine is to another: known logits, known answers."""

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tritforge.models.config import ModelConfig
from tritforge.models.evaluation import evaluate, fidelity


class Fixed:
    """An engine whose logits are given, position by position."""

    name = "fixed"
    saturations = 3

    def __init__(self, logits: list[list[float]], scales: list[float] | None = None) -> None:
        self.config = ModelConfig(
            hidden_size=1, num_hidden_layers=1, vocab_size=len(logits[0]), intermediate_size=1
        )
        self._logits, self._scales = np.array(logits), None if scales is None else np.array(scales)

    def reset(self) -> None:
        self._at = 0

    def logits(self, tokens: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.float64] | None]:
        part = slice(self._at, self._at + len(tokens))
        self._at += len(tokens)
        return self._logits[part], None if self._scales is None else self._scales[part]


def compare(ours: Fixed, theirs: Fixed, tokens: list[int]) -> Any:
    return fidelity(ours, theirs, tokens)  # type: ignore[arg-type]


def test_an_engine_is_like_itself() -> None:
    logits = [[1.0, 2.0, 0.5], [3.0, -1.0, 0.0]]
    found = compare(Fixed(logits), Fixed(logits), [0, 1, 2])
    assert (found.tokens, found.perplexity_ratio, found.argmax_equal) == (2, 1.0, 1.0)
    assert (found.cosine_mean, found.cosine_lowest) == pytest.approx((1, 1))


def test_sums_count_with_their_scales() -> None:
    found = compare(Fixed([[2, 4], [30, 10]], [0.5, 0.1]), Fixed([[1.0, 2.0], [3.0, 1.0]]), [0, 1, 0])
    assert found.perplexity_ratio == pytest.approx(1)
    assert found.cosine_lowest == pytest.approx(1)


def test_differences_show_in_every_figure() -> None:
    # First the engine knows nothing, and the reference gives the right token, 1, three of four chances.
    ours, theirs = Fixed([[0.5, 0.5], [0.0, 1.0]]), Fixed([[0.0, math.log(3)], [1.0, 0.0]])
    found = compare(ours, theirs, [0, 1, 0])
    # 1/2 against 3/4, then 1/(1+e) against e/(1+e).
    assert found.perplexity_ratio == pytest.approx(math.sqrt(1.5 * math.e))
    assert found.argmax_equal == 0.0
    assert found.cosine_lowest == pytest.approx(0)
    assert found.cosine_mean == pytest.approx(math.sqrt(0.5) / 2)
    assert found.saturations == 3


def test_a_score_does_not_depend_on_how_the_text_is_cut() -> None:
    random = np.random.default_rng(1)
    logits = random.normal(0, 3, (1000, 5)).tolist()
    tokens = random.integers(0, 5, 1001).tolist()
    whole, in_parts = Fixed(logits), Fixed(logits)
    in_parts.name = "rtl"  # read in smaller chunks, so that progress shows
    assert evaluate(whole, tokens, 1000).nats == evaluate(in_parts, tokens, 1000).nats  # type: ignore[arg-type]
