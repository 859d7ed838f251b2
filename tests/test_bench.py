"""``tritforge bench``: what it refuses, and the corpora that it accepts."""

from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import CliRunner
from tritforge.host.benchmark import held_out_tokens
from tritforge.host.cli import cli
from tritforge.models import zoo
from tritforge.models.corpus import split
from tritforge.models.errors import TritforgeError
from tritforge.models.loading import load


@pytest.mark.parametrize("value", ["stories.txt", "tiny=", "=stories.txt"])
def test_a_corpus_without_model_or_file_is_wrong_usage(value: str) -> None:
    done = CliRunner().invoke(cli, ["bench", "tiny", "--corpus", value])
    assert done.exit_code == 2
    assert f"{value} must be MODEL=FILE" in done.output


def test_a_corpus_of_a_model_that_is_not_measured_is_refused() -> None:
    done = CliRunner().invoke(cli, ["bench", "micro", "--corpus", "tiny=stories.txt"])
    assert done.exit_code == 1
    assert "--corpus names tiny, which is none of the models: micro" in done.output


def test_another_text_than_the_card_names_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "stories.txt"
    file.write_text("Once upon a time there was another text.\n")
    with pytest.raises(TritforgeError, match=r"stories.txt is not the text that tiny was trained on"):
        held_out_tokens(load("tiny"), file)


def test_without_a_file_the_text_of_tiny_is_not_to_be_had(capsys: pytest.CaptureFixture[str]) -> None:
    assert held_out_tokens(load("tiny"), None) is None
    assert "give it as --corpus tiny=" in capsys.readouterr().err


def test_the_held_out_end_of_the_right_text_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "".join(f"There was a dog, {first}{second}.\n" for first in "abcde" for second in "fghijklmno")
    file = tmp_path / "stories.txt"
    file.write_text(text)
    card = {"corpus": {"sha256": sha256(text.encode()).hexdigest(), "file": file.name}}
    monkeypatch.setattr(zoo, "card", lambda name: card)
    model = load("tiny")
    tokens = held_out_tokens(model, file)
    assert tokens is not None
    assert model.tokenizer is not None
    assert model.tokenizer.decode(tokens.tolist()) == split(text)[1]
