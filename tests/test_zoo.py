"""The shipped models hold what is promised of them."""

import re

import numpy as np
import pytest
from tritforge.models import zoo
from tritforge.models.checkpoint import Checkpoint, ternarise
from tritforge.models.corpus import END_TOKEN, MAX_SYMBOLS
from tritforge.models.errors import TritforgeError
from tritforge.models.reference import Reference
from tritforge.models.tokenizer import load_tokenizer

FULL = ["bard", "tiny"]  # the ones that must beat xz and Kneser-Ney


def test_three_models_are_shipped() -> None:
    assert zoo.names() == ["bard", "micro", "tiny"]


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(TritforgeError, match="no zoo model 'huge'; choose one of bard, micro, tiny"):
        zoo.path("huge")


@pytest.mark.parametrize("name", ["..", "", "tiny/../tiny", "tiny/"])
def test_a_path_is_no_name(name: str) -> None:
    with pytest.raises(TritforgeError):
        zoo.path(name)


@pytest.mark.parametrize("name", zoo.names())
def test_a_directory_holds_a_checkpoint_its_card_and_no_training_text(name: str) -> None:
    assert {file.name for file in zoo.path(name).iterdir()} == {
        "README.md",
        "card.json",
        "config.json",
        "generation_config.json",
        "loss.png",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }


@pytest.mark.parametrize("name", zoo.names())
def test_weights_are_float16_masters_and_as_many_as_the_card_says(name: str) -> None:
    checkpoint = Checkpoint(zoo.path(name))
    matrices = [each for each in checkpoint.names if each.endswith(("proj.weight", "lm_head.weight"))]
    assert sum(checkpoint.tensor(each).size for each in matrices) == zoo.card(name)["model"]["trits"]
    for each in checkpoint.names:
        values = checkpoint.tensor(each)
        np.testing.assert_array_equal(values, values.astype(np.float16))
    # Not ternarised yet: that is done once, when they are read.
    assert all(len(np.unique(checkpoint.tensor(each))) > 3 for each in matrices)
    assert all({-1, 0, 1} == set(np.unique(ternarise(checkpoint.tensor(each))[0])) for each in matrices)


@pytest.mark.parametrize("name", zoo.names())
def test_it_has_at_most_96_symbols_and_the_end_is_one(name: str) -> None:
    checkpoint = Checkpoint(zoo.path(name))
    tokenizer = load_tokenizer(zoo.path(name))
    assert checkpoint.config.vocab_size == tokenizer.vocab_size <= MAX_SYMBOLS
    assert tokenizer.encode(END_TOKEN) == [checkpoint.config.eos_token_id]


def test_the_sizes_are_those_that_a_up5k_holds() -> None:
    trits = {name: zoo.card(name)["model"]["trits"] for name in zoo.names()}
    assert 30_000 <= trits["micro"] <= 60_000
    for name in FULL:
        config = Checkpoint(zoo.path(name)).config
        assert (config.hidden_size, config.intermediate_size, config.num_hidden_layers) == (160, 320, 2)


@pytest.mark.parametrize("name", FULL)
def test_it_beats_xz_and_kneser_ney(name: str) -> None:
    quality = zoo.card(name)["quality"]
    assert quality["bits_per_char"] < quality["xz_bits_per_char"]
    assert quality["bits_per_char"] < min(quality["kneser_ney_bits_per_char"].values())


@pytest.mark.parametrize("name", FULL)
def test_nine_of_ten_words_that_it_writes_occur_in_its_text(name: str) -> None:
    words = zoo.card(name)["words"]
    assert words["characters"] == 2000
    assert words["temperature"] == 0.8
    assert len(words["known_share"]) == 3
    assert min(words["known_share"]) >= 0.9


@pytest.mark.parametrize("name", zoo.names())
def test_a_card_names_text_checksum_licence_and_command(name: str) -> None:
    card = zoo.card(name)
    assert re.fullmatch("[0-9a-f]{64}", card["corpus"]["sha256"])
    assert card["corpus"]["licence"] != "not known"
    command = card["training"]["command"].split()  # of the last run, where one started from another
    assert command[:2] == ["tritforge", "train"]
    assert command[command.index("--steps") + 1] == str(card["training"]["steps"])


LINES = "KING HENRY.\nWhat is the matter?\n\n[Exeunt.]"
STORY = "Once upon a time, there was a little girl named Lily."


@pytest.mark.parametrize(("name", "text"), [("tiny", STORY), ("bard", LINES), ("micro", LINES)])
def test_it_finds_text_of_its_kind_likelier_than_the_same_shuffled(name: str, text: str) -> None:
    reference, tokenizer = Reference(Checkpoint(zoo.path(name))), load_tokenizer(zoo.path(name))

    def bits(of: str) -> float:
        tokens = tokenizer.encode(of)
        logits = reference.forward(tokens[:-1]).astype(np.float64)
        log_sum = np.log(np.exp(logits).sum(-1))
        return float((log_sum - logits[np.arange(len(tokens) - 1), tokens[1:]]).mean() / np.log(2))

    shuffled = "".join(np.random.default_rng(0).permutation(list(text)))
    assert bits(text) < 3 < bits(shuffled)


@pytest.mark.parametrize("name", zoo.names())
def test_values_fit_the_hardwares_formats_but_for_one_in_ten_thousand(name: str) -> None:
    ranges = zoo.card(name)["value_ranges"]
    assert max(ranges[each]["p99.99"] for each in ("i", "f", "g", "h", "gate", "up")) < 16
    assert ranges["x"]["max"] < 512
