"""Training: the model that is differentiated, the schedule, resuming, and what is published."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tritforge.models import zoo
from tritforge.models.checkpoint import Checkpoint, ternarise
from tritforge.models.config import ModelConfig
from tritforge.models.corpus import END, END_TOKEN, Corpus, split, symbols_of
from tritforge.models.errors import TritforgeError
from tritforge.models.loading import load
from tritforge.models.reference import Reference
from tritforge.models.tokenizer import load_tokenizer

pytest.importorskip("matplotlib", reason="needs the extra train: matplotlib")
torch = pytest.importorskip("torch", reason="needs the extra train: torch")

from tritforge.models import cards, training  # noqa: E402
from tritforge.models.torch_model import ACTIVATION_LIMIT, TorchModel, _Recurrence, ternary  # noqa: E402
from tritforge.models.training import CHECKPOINT, Progress, TrainConfig, Trainer  # noqa: E402

TEXT = ("the cat sat on the mat. " * 12 + END) * 12
SMALL = TrainConfig(
    hidden_size=12, intermediate_size=16, num_hidden_layers=2, steps=8, batch_size=4, span=16, warm_up=2
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiling takes longer than all that is tested here."""
    monkeypatch.setattr(training.shutil, "which", lambda _: None)


def corpus(text: str = TEXT) -> Corpus:
    return Corpus(text, "cat.txt", "0" * 64, "Nothing was done.", {}, None)


def loaded(directory: Path) -> TorchModel:
    checkpoint = Checkpoint(directory)
    model = TorchModel(checkpoint.config)
    model.load({name: torch.tensor(checkpoint.tensor(name)) for name in checkpoint.names})
    return model


# The model


def test_logits_and_states_are_upstreams(model_a: Path, vectors_a: dict[str, Any]) -> None:
    model = loaded(model_a)
    ids = torch.tensor(vectors_a["input_ids"])[:, None]
    logits, state, _ = model.forward(ids, model.zero_state(1))
    np.testing.assert_allclose(logits.detach(), vectors_a["logits"], atol=1e-4)
    np.testing.assert_allclose(state, vectors_a["final_states"], atol=1e-4)


def test_streams_do_not_mix_and_a_text_may_be_read_in_pieces(
    model_a: Path, vectors_a: dict[str, Any]
) -> None:
    model = loaded(model_a)
    ids = torch.tensor(vectors_a["input_ids"])
    both = torch.stack([ids, ids.flip(0)], 1)
    first, state, _ = model.forward(both[:10], model.zero_state(2))
    second, _, _ = model.forward(both[10:], state)
    logits = torch.cat([first, second]).view(len(ids), 2, -1)
    np.testing.assert_allclose(logits[:, 0].detach(), vectors_a["logits"], atol=1e-4)


def test_the_recurrence_has_the_gradient_of_its_definition() -> None:
    generator = torch.Generator().manual_seed(0)
    f, i, before = (torch.rand(shape, generator=generator, dtype=torch.float64) for shape in [(5, 2, 3)] * 3)
    before = before[0]
    f.requires_grad_()
    i.requires_grad_()
    assert torch.autograd.gradcheck(lambda f, i: _Recurrence.apply(f, i, before), (f, i))
    h, rows = before, []
    for t in range(5):
        h = f[t] * h + i[t]
        rows.append(h)
    torch.testing.assert_close(_Recurrence.apply(f, i, before), torch.stack(rows))


def test_rounding_lets_gradients_straight_through() -> None:
    # With lm_head alone trained, loss = sum(logits * G) has dL/dW = G^T (rounded input): were the rounding of
    # weights differentiated, it would be 0 everywhere.
    model = TorchModel(ModelConfig(hidden_size=8, intermediate_size=8, num_hidden_layers=1, vocab_size=5))
    ids = torch.arange(5)[:, None]
    logits, _, _ = model.forward(ids, model.zero_state(1))
    logits.sum().backward()
    gradient = model.weights["lm_head.weight"].grad
    assert torch.equal(gradient, gradient[:1].expand_as(gradient))
    assert (gradient != 0).any()
    moved = [name for name, weight in model.weights.items() if weight.grad is not None and weight.grad.any()]
    # Of one layer's bound nothing depends; all else learns.
    assert set(model.weights) - set(moved) == {"model.lower_bounds"}


def test_excess_is_what_activations_have_above_the_limit() -> None:
    model = TorchModel(ModelConfig(hidden_size=8, intermediate_size=8, num_hidden_layers=1, vocab_size=5))
    ids = torch.arange(5)[:, None]
    seen: dict[str, Any] = {}
    assert model.forward(ids, model.zero_state(1)).excess == 0
    with torch.no_grad():
        model.weights["model.layers.0.attn.g_proj.weight"].mul_(2000)
    excess = model.forward(ids, model.zero_state(1), seen.__setitem__).excess
    above = np.maximum(np.abs(seen["g"].numpy()) - ACTIVATION_LIMIT, 0)
    assert above.max() > 0
    assert excess.item() == pytest.approx(float(np.square(above).sum()) / 5, rel=1e-5)


# The schedule


def test_the_rate_rises_stays_and_falls_to_zero() -> None:
    config = TrainConfig(steps=100, warm_up=10, decay=0.3, learning_rate=1.0)
    assert config.decay_starts == 70
    assert [config.rate(step) for step in (0, 4, 9, 10, 69, 70)] == pytest.approx([0.1, 0.5, 1, 1, 1, 1])
    assert [config.rate(step) for step in (85, 99)] == pytest.approx([0.5, 1 / 30])


@pytest.mark.parametrize(
    ("field", "value"),
    [("steps", 0), ("span", -1), ("learning_rate", 0.0), ("decay", 1.5), ("reset", -0.1), ("penalty", -1.0)],
)
def test_settings_out_of_range_are_refused(field: str, value: Any) -> None:
    with pytest.raises(TritforgeError, match=field):
        TrainConfig(**{field: value})


# Runs


def test_a_run_learns(tmp_path: Path) -> None:
    seen: list[Progress] = []
    training.train(corpus(), replace(SMALL, steps=150, learning_rate=0.01), tmp_path, report=seen.append)
    assert [at.step for at in seen] == [50, 100, 150]
    assert seen[0].bits_per_char < np.log2(len(symbols_of(TEXT)))
    assert seen[-1].validation is not None
    assert seen[-1].validation < 1.0 < seen[0].bits_per_char


def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(at: Progress) -> None:
        if at.step == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(training, "REPORT_EVERY", 1)
    whole = training.train(corpus(), SMALL, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        training.train(corpus(), SMALL, tmp_path / "parts", report=stop)
    resumed = training.train(corpus(), SMALL, tmp_path / "parts")
    assert resumed.step == whole.step == 8
    assert resumed.losses == whole.losses
    assert torch.equal(resumed.state, whole.state)
    for name, weight in whole.model.weights.items():
        assert torch.equal(weight, resumed.model.weights[name]), name


def test_a_run_may_be_prolonged_before_its_decay_only(tmp_path: Path) -> None:
    longer = training.train(corpus(), replace(SMALL, steps=12), tmp_path / "at_once")
    trainer = Trainer(SMALL, training.training_parts(TEXT)[0], symbols_of(TEXT))
    for _ in range(SMALL.decay_starts):
        trainer.advance()
    (tmp_path / "prolonged").mkdir()
    trainer.save(tmp_path / "prolonged" / CHECKPOINT)
    prolonged = training.train(corpus(), replace(SMALL, steps=12), tmp_path / "prolonged")
    assert prolonged.losses == longer.losses
    with pytest.raises(TritforgeError, match="can no longer change"):
        training.train(corpus(), replace(SMALL, steps=20), tmp_path / "prolonged")


def test_another_runs_checkpoint_is_refused(tmp_path: Path) -> None:
    training.train(corpus(), SMALL, tmp_path)
    with pytest.raises(TritforgeError, match="other settings"):
        training.train(corpus(), replace(SMALL, seed=2), tmp_path)
    with pytest.raises(TritforgeError, match="another text"):
        training.train(corpus(TEXT[::-1]), SMALL, tmp_path)
    (tmp_path / CHECKPOINT).write_bytes(b"no checkpoint")
    with pytest.raises(TritforgeError, match="not a training checkpoint"):
        training.train(corpus(), SMALL, tmp_path)


def test_a_run_starts_from_another_model_and_its_symbols(published: tuple[Path, dict[str, Any]]) -> None:
    # Of the two texts' symbols, "!" is new here and those of "cat" but not of this text are left out.
    text = "oh! the mat! " * 40
    trainer = Trainer(replace(SMALL, start=str(published[0])), text, symbols_of(text))
    fresh = {name: weight.detach().clone() for name, weight in trainer.model.weights.items()}
    trainer.begin_with(load(published[0]))
    first = Checkpoint(published[0])
    for name, weight in trainer.model.weights.items():
        before = torch.tensor(first.tensor(name))
        if name in ("model.embeddings.weight", "lm_head.weight"):
            new, old = (symbols_of(each) for each in (text, TEXT))
            for row, symbol in enumerate(new):
                expected = before[old.index(symbol)] if symbol in old else fresh[name][row]
                assert torch.equal(weight[row], expected), symbol
        else:
            assert torch.equal(weight, before), name


def test_a_start_of_another_shape_is_refused(published: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    config = replace(SMALL, start=str(published[0]), hidden_size=20)
    with pytest.raises(TritforgeError, match=r"has hidden_size 12, so a run .* needs the same, not 20"):
        training.train(corpus(), config, tmp_path)


def test_too_short_a_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TritforgeError, match="a step of 4 x 16 needs 68"):
        training.train(corpus("too short"), SMALL, tmp_path)


def test_held_out_text_never_reaches_the_training(tmp_path: Path) -> None:
    held_out = split(TEXT)[1]
    other = TEXT[: -len(held_out)] + held_out[::-1]
    runs = [training.train(corpus(text), SMALL, tmp_path / str(n)) for n, text in enumerate([TEXT, other])]
    assert runs[0].losses == runs[1].losses


# Publishing


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    directory = tmp_path_factory.mktemp("published")
    trainer = Trainer(SMALL, training.training_parts(TEXT)[0], symbols_of(TEXT))
    trainer.advance()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cards, "WRITTEN", 40)
        card = cards.publish(trainer, corpus(), directory, name="cat", command="tritforge train ...")
    return directory, card


def test_the_published_checkpoint_scores_in_the_reference_what_its_card_says(
    published: tuple[Path, dict[str, Any]],
) -> None:
    directory, card = published
    checkpoint = Checkpoint(directory)
    tokens = load_tokenizer(directory).encode(split(TEXT)[1].replace(END, END_TOKEN))
    logits = Reference(checkpoint).forward(tokens[:-1]).astype(np.float64)
    chances = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    nats = -chances[np.arange(len(tokens) - 1), tokens[1:]].mean()
    assert card["quality"]["bits_per_char"] == pytest.approx(nats / np.log(2), abs=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_weights_keep_their_trits_in_float16(seed: int) -> None:
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(40, 50)).astype(np.float32)
    beside = rng.choice([-1, 1], (20, 50)) * (1 + rng.normal(size=(20, 50)) * 1e-4)
    for _ in range(20):  # half of all weights so near to the boundary that float16 puts some beyond it
        weight[:20] = np.abs(weight).mean() / 2 * beside
    before = np.sign(ternary(torch.tensor(weight)).numpy())  # what training computed with
    kept = cards.halved("lm_head.weight", torch.tensor(weight))
    after, shipped_scale = ternarise(kept.float().numpy())
    assert kept.dtype == torch.float16
    assert (ternarise(weight.astype(np.float16).astype(np.float32))[0] != before).any()
    np.testing.assert_array_equal(after, before)
    assert shipped_scale == pytest.approx(np.abs(weight).mean(), rel=2e-3)


def test_other_tensors_are_rounded_to_the_nearest_float16() -> None:
    weight = torch.tensor([1.0001, -0.33333, 0.0])
    assert torch.equal(cards.halved("model.norm.weight", weight), weight.half())


def test_the_tokenizer_maps_prompts_as_the_text_was(published: tuple[Path, dict[str, Any]]) -> None:
    tokenizer = load_tokenizer(published[0])
    assert tokenizer.decode(tokenizer.encode("th\u00e9 c\u00e0t.")) == "the cat."
    assert tokenizer.encode(END_TOKEN) == [0]
    with pytest.raises(TritforgeError, match="character 'z'"):
        tokenizer.encode("the zoo")


def test_the_tokenizer_knows_typographic_characters() -> None:
    tokenizer = cards.character_tokenizer(symbols_of("'\".-\n"))
    encoded = tokenizer.encode("\u2018\u2019\u201c\u201d\u00ab\u00bb\u2013\u2014\u2026\r\n").ids
    assert tokenizer.decode(encoded) == '\'\'""""--...\n'


def test_the_card_and_the_loss_curve_are_written(published: tuple[Path, dict[str, Any]]) -> None:
    directory, card = published
    assert json.loads((directory / "card.json").read_text()) == card
    assert (directory / "README.md").read_text() == cards.readme(card)
    assert (directory / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert not list(directory.glob(".*"))


@pytest.mark.parametrize("name", zoo.names())
def test_shipped_cards_say_what_their_numbers_say(name: str) -> None:
    assert (zoo.path(name) / "README.md").read_text(encoding="utf-8") == cards.readme(zoo.card(name))
