"""Several streams in one accelerator: each text, or each position of one, as golden computes it alone."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from tritforge.hdl.config import AcceleratorConfig
from tritforge.host.cli import cli
from tritforge.models import zoo
from tritforge.models.checkpoint import Checkpoint
from tritforge.models.engine import State
from tritforge.models.errors import TritforgeError
from tritforge.models.image import Image, in_memory_image
from tritforge.models.quantise import quantise
from tritforge.models.software import GoldenEngine
from tritforge.sim.engine import RtlEngine

pytestmark = pytest.mark.usefixtures("needs_compiler")

UP5K = AcceleratorConfig.load("up5k")
CONFIGS = {streams: replace(UP5K, streams=streams) for streams in (1, 2, 4)}
V = 33
ODD = {"hidden_size": 67, "intermediate_size": 101, "num_hidden_layers": 3, "vocab_size": V}
Random = np.random.Generator


@pytest.fixture
def image(make_model: Callable[..., Path]) -> Image:
    return in_memory_image(quantise(Checkpoint(make_model(seed=21, **ODD))), UP5K.layout)


def text(random: Random, longest: int) -> list[int]:
    return random.integers(0, V, random.integers(1, longest + 1)).tolist()


def check_batch(
    image: Image, engine: RtlEngine, prompts: list[list[int]], new: list[int], **how: Any
) -> None:
    """Compare a batch with texts that golden continues one by one."""
    seeds = how.pop("seeds", [0] * len(prompts))
    found = engine.generate_batch(prompts, new, seeds=seeds, **how)
    assert len(found) == len(prompts)
    for (tokens, state), prompt, count, seed in zip(found, prompts, new, seeds, strict=True):
        golden = GoldenEngine(image)
        assert tokens == list(golden.generate(prompt, count, seed=seed, **how))
        expected = golden.state()
        assert (state.position, state.next_token) == (expected.position, expected.next_token)
        assert np.array_equal(state.h, expected.h)


@pytest.mark.parametrize("streams", CONFIGS)
@pytest.mark.parametrize("stall_rate", [0.0, 0.3])
def test_texts_of_different_lengths_are_those_of_golden(
    image: Image, streams: int, stall_rate: float
) -> None:
    random = np.random.default_rng(streams)
    engine = RtlEngine(image, CONFIGS[streams], stall_rate=stall_rate)
    for temperature in (None, 1.5):
        prompts = [text(random, 7) for _ in range(streams)]
        new = random.integers(1, 15, streams).tolist()
        seeds = random.integers(0, 1 << 32, streams).tolist()
        check_batch(image, engine, prompts, new, seeds=seeds, temperature=temperature)


@pytest.mark.parametrize("streams", [2, 4])
def test_streams_without_a_text_disturb_none(image: Image, streams: int) -> None:
    engine = RtlEngine(image, CONFIGS[streams])
    random = np.random.default_rng(5)
    for texts in [*range(1, streams + 1), 1]:
        prompts = [text(random, 4) for _ in range(texts)]
        check_batch(image, engine, prompts, [6] * texts, seeds=[7] * texts, temperature=1.0)


@pytest.mark.parametrize("streams", [2, 4])
def test_texts_end_at_stop_tokens_each_in_its_turn(image: Image, streams: int) -> None:
    prompts = [[k + 1] for k in range(streams)]
    how: dict[str, Any] = {"temperature": 2.0, "seeds": list(range(streams))}
    engine = RtlEngine(image, CONFIGS[streams])
    free = [tokens for tokens, _ in engine.generate_batch(prompts, [30] * streams, **how)]
    stops = frozenset({free[0][3], free[1][11]})
    check_batch(image, engine, prompts, [30] * streams, stop=stops, **how)
    ended = [len(tokens) for tokens, _ in engine.generate_batch(prompts, [30] * streams, stop=stops, **how)]
    assert len(set(ended)) > 1


@pytest.mark.parametrize("streams", CONFIGS)
def test_positions_that_pass_together_give_golden_s_logits_and_state(image: Image, streams: int) -> None:
    engine, golden = RtlEngine(image, CONFIGS[streams]), GoldenEngine(image)
    random = np.random.default_rng(6)
    for length in (*range(1, 2 * streams + 2), 4 * streams + 3):
        tokens = random.integers(0, V, length)
        ours, theirs = engine.logits(tokens), golden.logits(tokens)
        assert np.array_equal(ours[0], theirs[0])
        assert np.array_equal(ours[1], theirs[1])
        assert np.array_equal(engine.state().h, golden.state().h)
        assert engine.state().position == golden.state().position
        assert engine.saturations == golden.saturations


@pytest.mark.parametrize("streams", CONFIGS)
def test_a_prompt_read_together_is_continued_as_by_golden(image: Image, streams: int) -> None:
    engine, golden = RtlEngine(image, CONFIGS[streams]), GoldenEngine(image)
    random = np.random.default_rng(7)
    for length in (*range(1, 2 * streams + 2), 3 * streams + 2):
        prompt = random.integers(0, V, length).tolist()
        how: dict[str, Any] = {"temperature": 1.0, "seed": length}
        assert list(engine.generate(prompt, 9, **how)) == list(golden.generate(prompt, 9, **how))
        assert np.array_equal(engine.state().h, golden.state().h)
    # And from a state that was saved.
    engine.reset(golden.state())
    assert list(engine.generate([3] * 9, 5)) == list(golden.generate([3] * 9, 5))


def test_a_batch_leaves_nothing_to_the_next(image: Image) -> None:
    engine = RtlEngine(image, CONFIGS[2])
    random = np.random.default_rng(8)
    for _ in range(6):
        check_batch(image, engine, [text(random, 3) for _ in range(2)], random.integers(1, 6, 2).tolist())
        tokens = random.integers(0, V, 5)
        engine.reset()
        assert np.array_equal(engine.logits(tokens)[0], GoldenEngine(image).logits(tokens)[0])


@pytest.mark.parametrize("streams", [2, 4])
def test_streams_share_the_beats(streams: int) -> None:
    image = in_memory_image(quantise(Checkpoint(zoo.path("tiny"))), UP5K.layout)
    alone, together = (RtlEngine(image, CONFIGS[each]) for each in (1, streams))
    for read in (1, streams - 1, streams, streams + 1, 4 * streams - 1):
        for engine in (alone, together):
            engine.reset()
            list(engine.generate([5] * (read + 1), 0))
        # Vectors are made, and embeddings read, by each for itself: some of the gain is lost, not much.
        passes = -(-read // streams)
        assert together.prompt_cycles < 1.3 * passes / read * alone.prompt_cycles


def test_what_is_no_batch_is_refused(image: Image) -> None:
    engine = RtlEngine(image, CONFIGS[2])
    with pytest.raises(TritforgeError, match="the accelerator has 2 streams, not one for each of 3 texts"):
        engine.generate_batch([[1]] * 3, [1] * 3)
    with pytest.raises(TritforgeError, match="each text needs its number of new tokens, 1 to 65,535, not"):
        engine.generate_batch([[1]] * 2, [1, 0])
    with pytest.raises(TritforgeError, match="the prompt is empty"):
        engine.generate_batch([[1], []], [1, 1])


# The command


def generate(*arguments: Any) -> Result:
    return CliRunner().invoke(cli, ["generate", *map(str, arguments)])


def test_streams_read_a_prompt_in_fewer_cycles_and_change_no_token(
    make_model: Callable[..., Path], tmp_path: Path
) -> None:
    model, tokens = make_model(seed=21, **ODD), tmp_path / "prompt.npy"
    np.save(tokens, np.random.default_rng(9).integers(0, V, 8))
    common = (model, "--tokens", tokens, "--max-new", 5, "--engine", "rtl", "--json")
    alone, together = (
        json.loads(generate(*common, "--streams", streams, "--state", tmp_path / f"{streams}.npz").stdout)
        for streams in (1, 4)
    )
    assert together["tokens"] == alone["tokens"]
    states = [State.load(tmp_path / f"{streams}.npz") for streams in (1, 4)]
    assert np.array_equal(states[0].h, states[1].h)
    # 7 tokens before the last one: two passes instead of seven.
    assert together["prompt_cycles"] < 0.5 * alone["prompt_cycles"]


@pytest.mark.parametrize("engine", ["golden", "float"])
def test_streams_of_an_engine_without_any_are_refused(make_model: Callable[..., Path], engine: str) -> None:
    result = generate(make_model(), "--prompt", "a", "--max-new", 1, "--engine", engine, "--streams", 2)
    assert result.exit_code == 2
    assert "--streams belongs to the accelerator: choose --engine rtl." in result.stderr
