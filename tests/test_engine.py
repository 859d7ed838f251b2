"""Engines: generation, continuation, states, and the score of a text."""

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tritforge.models.checkpoint import Checkpoint, tensor_shapes
from tritforge.models.config import ModelConfig
from tritforge.models.engine import Engine, State, Timing, checked_tokens
from tritforge.models.errors import TritforgeError
from tritforge.models.evaluation import evaluate, fidelity, in_chunks
from tritforge.models.files import replacing
from tritforge.models.image import Layout, in_memory_image
from tritforge.models.numerics import gumbel_noise
from tritforge.models.quantise import quantise
from tritforge.models.software import FloatEngine, GoldenEngine

VECTORS = Path(__file__).parent / "vectors" / "A"
LAYOUT = Layout(tables=8, row_block=256)
PROMPT = [7, 250, 3, 3, 99, 128, 0]


@pytest.fixture(scope="module")
def engines() -> dict[str, Engine]:
    checkpoint = Checkpoint(VECTORS)
    return {"float": FloatEngine(checkpoint), "golden": GoldenEngine(quantise(checkpoint))}


@pytest.fixture(params=["float", "golden"])
def engine(request: pytest.FixtureRequest, engines: dict[str, Engine]) -> Engine:
    engine = engines[request.param]
    engine.reset()
    return engine


def float_logits(engine: Engine, tokens: list[int]) -> NDArray[np.float64]:
    logits, scales = engine.logits(tokens)
    return logits.astype(np.float64) * (1 if scales is None else scales[:, None])


# Logits -----------------------------------------------------------------------------------------------------


def test_float_logits_are_upstreams(engines: dict[str, Engine], vectors_a: dict[str, NDArray[Any]]) -> None:
    engines["float"].reset()
    logits, scales = engines["float"].logits(vectors_a["input_ids"])
    assert scales is None
    assert logits.dtype == np.float32
    assert np.abs(logits - vectors_a["logits"]).max() < 1e-4


def test_golden_logits_are_integers_whose_scales_bring_them_near_upstreams(
    engines: dict[str, Engine], vectors_a: dict[str, NDArray[Any]]
) -> None:
    engines["golden"].reset()
    sums, scales = engines["golden"].logits(vectors_a["input_ids"])
    assert sums.dtype == np.int32
    assert scales is not None
    assert scales.dtype == np.float64
    ours, theirs = sums * scales[:, None], vectors_a["logits"].astype(np.float64)
    cosine = (ours * theirs).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
    assert cosine.min() >= 0.999
    assert np.linalg.norm(ours, axis=1) == pytest.approx(np.linalg.norm(theirs, axis=1), rel=0.02)


def model_like_a(directory: Path, hidden: int, wide: int, seed: int) -> Checkpoint:
    """Write a random model whose numbers are spread as those of vectors A are."""
    random = np.random.default_rng(seed)
    config = ModelConfig(hidden_size=hidden, intermediate_size=wide, num_hidden_layers=2, vocab_size=256)
    tensors = {}
    for name, shape in tensor_shapes(config).items():
        values = random.standard_normal(shape)
        if name.endswith("norm.weight"):
            values = 1 + 0.1 * values
        elif name.endswith(("o_proj.weight", "down_proj.weight")):
            values *= random.uniform(0.025, 0.055)
        elif name == "model.embeddings.weight":
            values *= 0.5
        elif name != "model.lower_bounds":
            values *= random.uniform(0.03, 0.19)
        tensors[name] = values.astype(np.float32)
    directory.mkdir()
    save_file(tensors, directory / "model.safetensors")
    (directory / "config.json").write_text(json.dumps(config.to_dict()))
    return Checkpoint(directory)


@pytest.mark.parametrize(("hidden", "wide"), [(64, 192), (80, 200), (97, 250)])
def test_golden_is_near_float_on_random_models_like_a(hidden: int, wide: int, tmp_path: Path) -> None:
    found = []
    for seed in range(4):
        checkpoint = model_like_a(tmp_path / str(seed), hidden, wide, seed)
        tokens = np.random.default_rng(seed).integers(0, 256, 25)
        found.append(fidelity(GoldenEngine(quantise(checkpoint)), FloatEngine(checkpoint), tokens))
    assert min(each.cosine_lowest for each in found) >= 0.998
    assert np.mean([each.cosine_mean for each in found]) >= 0.999


def test_logits_go_on_from_where_the_engine_stands(engine: Engine) -> None:
    whole = float_logits(engine, PROMPT)
    engine.reset()
    parts = np.concatenate([float_logits(engine, PROMPT[:3]), float_logits(engine, PROMPT[3:])])
    assert np.abs(whole - parts).max() < 1e-5
    assert engine.state().position == len(PROMPT)


def test_no_tokens_have_no_logits(engine: Engine) -> None:
    logits, scales = engine.logits([])
    assert logits.shape == (0, 256)
    assert scales is None or scales.shape == (0,)
    assert engine.state().position == 0


# Generation -------------------------------------------------------------------------------------------------


def test_greedy_float_tokens_are_upstreams(
    engines: dict[str, Engine], vectors_a: dict[str, NDArray[Any]]
) -> None:
    engines["float"].reset()
    tokens = list(engines["float"].generate(vectors_a["input_ids"].tolist(), 8))
    assert tokens == vectors_a["greedy_next8"].ravel().tolist()


def test_a_greedy_token_has_the_largest_logit(engine: Engine) -> None:
    tokens = list(engine.generate(PROMPT, 12))
    engine.reset()
    logits = float_logits(engine, PROMPT + tokens[:-1])[len(PROMPT) - 1 :]
    assert tokens == logits.argmax(axis=1).tolist()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_a_sampled_float_token_has_the_largest_logit_over_temperature_plus_noise(
    engines: dict[str, Engine], temperature: float
) -> None:
    engine = engines["float"]
    engine.reset()
    tokens = list(engine.generate(PROMPT, 12, temperature=temperature, seed=5))
    engine.reset()
    logits = float_logits(engine, PROMPT + tokens[:-1])
    for place, token in enumerate(tokens):
        position = len(PROMPT) - 1 + place  # of the token just consumed, from 0
        noise = gumbel_noise(5, position, 256) / 128
        assert token == np.argmax(logits[position] / temperature + noise)


def test_float_and_golden_draw_the_same_noise(engines: dict[str, Engine]) -> None:
    texts = []
    for engine in engines.values():
        engine.reset()
        # Logits that hardly count leave the choice to the noise.
        texts.append(list(engine.generate(PROMPT, 20, temperature=100.0, seed=3)))
    agreed = sum(a == b for a, b in zip(*texts, strict=True))
    assert agreed >= 18


def test_seeds_and_positions_change_sampled_tokens(engine: Engine) -> None:
    texts = []
    for seed in (0, 1):
        engine.reset()
        texts.append(list(engine.generate(PROMPT, 20, temperature=5.0, seed=seed)))
    assert texts[0] != texts[1]
    assert len(set(texts[0])) > 1


@pytest.mark.parametrize("temperature", [None, 1.5])
def test_how_the_prompt_is_split_does_not_change_the_text(engine: Engine, temperature: float | None) -> None:
    whole = list(engine.generate(PROMPT, 10, temperature=temperature, seed=9))
    engine.reset()
    engine.logits(PROMPT[:4])
    assert list(engine.generate(PROMPT[4:], 10, temperature=temperature, seed=9)) == whole


def test_a_stop_token_is_the_last_of_the_text(engine: Engine) -> None:
    tokens = list(engine.generate(PROMPT, 12, temperature=2.0))
    stop = tokens[5]
    engine.reset()
    stopped = list(engine.generate(PROMPT, 12, temperature=2.0, stop=frozenset({stop, 255})))
    assert stopped == tokens[: tokens.index(stop) + 1]
    assert engine.state().next_token == stop


def test_long_prompts_are_consumed_whole(engine: Engine) -> None:
    prompt = np.random.default_rng(0).integers(0, 256, 600).tolist()
    (token,) = engine.generate(prompt, 1)
    assert engine.state().position == 600
    engine.reset()
    assert token == float_logits(engine, prompt)[-1].argmax()


def test_an_empty_prompt_is_refused_at_the_call(engine: Engine) -> None:
    with pytest.raises(TritforgeError, match="the prompt is empty"):
        engine.generate([], 3)


def test_a_token_outside_the_vocabulary_is_refused_with_its_position(engine: Engine) -> None:
    with pytest.raises(TritforgeError, match=r"token 256 at position 1 .*0 to 255"):
        engine.generate([0, 256], 3)
    with pytest.raises(TritforgeError, match=r"token -1 at position 0"):
        engine.logits([-1])


@pytest.mark.parametrize("tokens", [[[1, 2]], [1.5], "ab", np.zeros((2, 2), np.int64), np.array(3)])
def test_tokens_that_are_no_list_of_integers_are_refused(tokens: Any) -> None:
    with pytest.raises(TritforgeError, match="tokens must be a list of integers"):
        checked_tokens(tokens, 256)


def test_time_is_split_into_prompt_and_generation(engine: Engine) -> None:
    assert engine.timing.tokens_per_second == 0
    list(engine.generate(PROMPT, 6))
    timing = engine.timing
    assert (timing.prompt_tokens, timing.generated_tokens) == (len(PROMPT), 6)
    assert timing.prompt_seconds > 0
    assert timing.generate_seconds > 0


def test_rates_are_passes_by_seconds() -> None:
    timing = Timing(prompt_tokens=10, prompt_seconds=2.0, generated_tokens=6, generate_seconds=3.0)
    assert (timing.prompt_tokens_per_second, timing.tokens_per_second) == (5.0, 2.0)


# States -----------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=15)
@given(
    first=st.integers(0, 12),
    name=st.sampled_from(["float", "golden"]),
    temperature=st.sampled_from([None, 1.0]),
)
def test_a_continuation_equals_an_uninterrupted_run(first: int, name: str, temperature: float | None) -> None:
    checkpoint = Checkpoint(VECTORS)
    make: Callable[[], Engine] = {
        "float": lambda: FloatEngine(checkpoint),
        "golden": lambda: GoldenEngine(quantise(checkpoint)),
    }[name]
    whole = list(make().generate(PROMPT, 12, temperature=temperature, seed=1))
    before = make()
    begun = list(before.generate(PROMPT, first, temperature=temperature, seed=1))
    after = make()
    after.reset(before.state())
    assert begun + list(after.generate([], 12 - first, temperature=temperature, seed=1)) == whole


def test_a_prompt_after_a_state_follows_the_pending_token(engine: Engine) -> None:
    (token,) = engine.generate(PROMPT, 1)
    state = engine.state()
    continued = list(engine.generate([4, 5], 3))
    engine.reset()
    assert list(engine.generate([*PROMPT, token, 4, 5], 3)) == continued
    engine.reset(state)
    assert list(engine.generate([4, 5], 3)) == continued


def test_a_state_does_not_change_after_it_was_given_out(engine: Engine) -> None:
    list(engine.generate(PROMPT, 2))
    state = engine.state()
    copy = state.h.copy()
    list(engine.generate([], 3))
    assert np.array_equal(state.h, copy)


def test_states_have_the_numbers_of_their_engine(engines: dict[str, Engine]) -> None:
    assert engines["float"].state().h.dtype == np.float32
    assert engines["golden"].state().h.dtype == np.int16


def test_a_saved_state_is_read_back_as_it_was(engine: Engine, tmp_path: Path) -> None:
    list(engine.generate(PROMPT, 2))
    state = engine.state()
    state.save(tmp_path / "state")
    assert [file.name for file in tmp_path.iterdir()] == ["state"]
    loaded = State.load(tmp_path / "state")
    assert np.array_equal(loaded.h, state.h)
    assert loaded.h.dtype == state.h.dtype
    assert dataclasses.replace(loaded, h=state.h) == state


def test_checkpoint_and_image_exchange_states(engines: dict[str, Engine]) -> None:
    golden = engines["golden"]
    golden.reset()
    list(golden.generate(PROMPT, 3))
    packed = GoldenEngine(in_memory_image(quantise(Checkpoint(VECTORS)), LAYOUT))
    packed.reset(golden.state())
    assert list(packed.generate([], 5)) == list(golden.generate([], 5))


def test_a_state_of_other_numbers_is_refused(engines: dict[str, Engine]) -> None:
    with pytest.raises(TritforgeError, match="saved by the float engine; the golden or rtl engine cannot"):
        engines["golden"].reset(engines["float"].state())
    with pytest.raises(TritforgeError, match="saved by the golden or rtl engine; the float engine cannot"):
        engines["float"].reset(engines["golden"].state())


def test_a_state_of_another_model_is_refused(engine: Engine, make_model: Callable[..., Path]) -> None:
    fields = {"hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 256, "intermediate_size": 192}
    other = Checkpoint(make_model(**fields))
    state = (FloatEngine(other) if engine.name == "float" else GoldenEngine(quantise(other))).state()
    assert state.h.shape == engine.state().h.shape
    with pytest.raises(TritforgeError, match="saved with another model"):
        engine.reset(state)


def test_a_state_with_a_token_beyond_the_vocabulary_is_refused(engine: Engine) -> None:
    with pytest.raises(TritforgeError, match="token 256"):
        engine.reset(dataclasses.replace(engine.state(), next_token=256))


def test_a_state_of_another_shape_is_refused(engine: Engine) -> None:
    state = engine.state()
    with pytest.raises(TritforgeError, match=r"shape \[1, 64\]"):
        engine.reset(dataclasses.replace(state, h=state.h[:1]))


def test_a_state_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(TritforgeError, match=r"absent\.npz cannot be read: No such file"):
        State.load(tmp_path / "absent.npz")


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_a_damaged_state_is_refused_in_one_sentence(data: st.DataObject, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.mktemp("state") / "state.npz"
    State(np.ones((2, 3), np.float32), 4, 5, "abc", "float").save(path)
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans(), "truncated"):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        for _ in range(data.draw(st.integers(1, 8))):
            content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        State.load(path)
    except TritforgeError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    "change",
    [
        {"position": -1},
        {"position": "0"},
        {"numbers": "complex"},
        {"numbers": "integer"},
        {"next_token": 1.5},
        {"h": np.full((2, 3), np.nan, np.float32)},
        {"h": np.zeros(3, np.float32)},
    ],
)
def test_a_state_with_wrong_fields_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    fields = {
        "h": np.zeros((2, 3), np.float32),
        "position": 0,
        "next_token": None,
        "model": "",
        "numbers": "float",
    }
    State(**(fields | change)).save(tmp_path / "state.npz")
    with pytest.raises(TritforgeError, match="is not a state"):
        State.load(tmp_path / "state.npz")


def test_reset_forgets_text_and_saturations(engine: Engine) -> None:
    first = list(engine.generate(PROMPT, 3))
    engine.reset()
    assert engine.saturations == 0
    assert engine.state().position == 0
    assert not engine.state().h.any()
    assert list(engine.generate(PROMPT, 3)) == first


# Scores -----------------------------------------------------------------------------------------------------


def test_the_score_is_upstreams_log_likelihood(
    engines: dict[str, Engine], vectors_a: dict[str, NDArray[Any]]
) -> None:
    ids = vectors_a["input_ids"].ravel()
    logits = vectors_a["logits"].astype(np.float64)[:-1]
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    nats = -np.log(chances[np.arange(len(ids) - 1), ids[1:]]).sum()
    score = evaluate(engines["float"], ids, characters=2 * (len(ids) - 1))
    assert score.tokens == len(ids) - 1
    assert score.nats == pytest.approx(nats, abs=1e-3)
    assert score.perplexity == pytest.approx(math.exp(nats / (len(ids) - 1)), rel=1e-4)
    assert score.bits_per_char == pytest.approx(nats / math.log(2) / (2 * (len(ids) - 1)), rel=1e-4)


class Certain:
    """An engine whose sums times scales are logits of 0, but 40 for the token that comes next in turn."""

    name = "golden"
    saturations = 0

    def __init__(self, config: Any) -> None:
        self.config = config

    def reset(self) -> None:
        pass

    def logits(self, tokens: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        sums = np.zeros((len(tokens), 256), np.int32)
        sums[np.arange(len(tokens)), (tokens + 1) % 256] = 80
        return sums, np.full(len(tokens), 0.5)


def test_scales_turn_sums_into_logits(engines: dict[str, Engine]) -> None:
    engine: Any = Certain(engines["float"].config)
    right = evaluate(engine, [1, 2, 3], 2)
    assert right.bits_per_char == pytest.approx(0, abs=1e-9)
    assert right.perplexity == pytest.approx(1)
    # A wrong guess costs 40 nats, and log(1 + 255 exp(-40)) more.
    assert evaluate(engine, [1, 5], 1).nats == pytest.approx(40, abs=1e-9)


def test_a_text_is_one_stream_however_it_is_cut(engines: dict[str, Engine]) -> None:
    ids = np.random.default_rng(1).integers(0, 256, 700)
    golden = engines["golden"]
    nats = evaluate(golden, ids, 699).nats
    golden.reset()
    logits = float_logits(golden, ids[:-1].tolist())
    logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
    assert nats == pytest.approx(-logits[np.arange(699), ids[1:]].sum(), rel=1e-12)


@given(length=st.integers(0, 2000), vocabulary=st.integers(1, 10**6), most=st.integers(1, 300))
def test_chunks_are_the_tokens_in_order_with_a_bounded_number_of_logits(
    length: int, vocabulary: int, most: int
) -> None:
    chunks = in_chunks(np.arange(length), vocabulary, most)
    assert [token for chunk in chunks for token in chunk] == list(range(length))
    assert all(
        1 <= len(chunk) <= most and (len(chunk) == 1 or len(chunk) * vocabulary <= 2**22) for chunk in chunks
    )


def test_evaluation_reports_progress(engines: dict[str, Engine]) -> None:
    reports: list[tuple[int, int]] = []
    evaluate(
        engines["golden"], np.zeros(600, np.int64), 599, lambda done, total: reports.append((done, total))
    )
    assert reports[-1] == (599, 599)
    assert len(reports) > 1


# Files ------------------------------------------------------------------------------------------------------


def test_a_file_is_replaced_when_all_is_written(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")
    with replacing(path) as stream:
        stream.write(b"after")
        stream.flush()
        assert path.read_bytes() == b"before"
    assert path.read_bytes() == b"after"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")
    with pytest.raises(ValueError, match="half-way"), replacing(path) as stream:
        stream.write(b"half")
        raise ValueError("half-way")
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_in_no_folder_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(TritforgeError, match=r"file cannot be written: No such file"),
        replacing(tmp_path / "absent" / "file"),
    ):
        pass


def test_a_state_at_position_0_that_is_not_zero_is_refused(make_model: Callable[..., Path]) -> None:
    engine = GoldenEngine(quantise(Checkpoint(make_model())))
    forged = dataclasses.replace(engine.state(), h=np.ones_like(engine.state().h))
    with pytest.raises(TritforgeError, match="position 0, where a text begins, but is not zero"):
        engine.reset(forged)
