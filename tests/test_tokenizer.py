"""Tokenizers in both formats: what opens a text, what is refused, and text as it grows."""

import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as Library
from tritforge.models.errors import TritforgeError
from tritforge.models.tokenizer import Tokenizer, find_tokenizer, load_tokenizer

END = "<|endoftext|>"
CHARACTERS = [END, *"\n !'abc"]


def characters(unknown: str | None = None) -> Library:
    """A vocabulary of characters, as small models have it: token 0 ends a text, 1 is a new line."""
    vocabulary = {text: token for token, text in enumerate(CHARACTERS)}
    model = (
        models.WordLevel(vocabulary) if unknown is None else models.WordLevel(vocabulary, unk_token=unknown)
    )
    library = Library(model)
    library.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    library.normalizer = normalizers.Replace("’", "'")
    library.decoder = decoders.Fuse()
    library.add_special_tokens([END])
    return library


def saved(library: Library, directory: Path, **settings: Any) -> Path:
    library.save(str(directory / "tokenizer.json"))
    if settings:
        (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    return directory


def pieces(directory: Path, **options: Any) -> Path:
    """A SentencePiece vocabulary of "a", "b", "ab" and the like."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["ab ba aab", "bab ab"] * 20),
        model_writer=model,
        vocab_size=options.pop("vocab_size", 8),
        hard_vocab_limit=False,
        minloglevel=9,
        **options,
    )
    (directory / "tokenizer.model").write_bytes(model.getvalue())
    return directory


@pytest.fixture(scope="module")
def mistral(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """The tokenizer of the published checkpoints."""
    package = pytest.importorskip("mistral_common", reason="needs mistral-common")
    directory = tmp_path_factory.mktemp("mistral")
    shutil.copy(Path(package.__file__).parent / "data" / "tokenizer.model.v1", directory / "tokenizer.model")
    return load_tokenizer(directory)


def refused(message: str) -> Any:
    return pytest.raises(TritforgeError, match=re.escape(message))


def test_characters_become_tokens_and_text_again(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(saved(characters(), tmp_path))
    assert tokenizer.vocab_size == 8
    assert tokenizer.encode("ab\n c!") == [5, 6, 1, 2, 7, 3]
    assert tokenizer.decode([5, 6, 1, 2, 7, 3]) == "ab\n c!"
    assert tokenizer.encode("") == []
    assert tokenizer.decode([]) == ""


def test_the_end_of_a_text_is_one_token_and_is_shown(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(saved(characters(), tmp_path))
    assert tokenizer.encode(f"a{END}b") == [5, 0, 6]
    assert tokenizer.decode([5, 0, 6]) == f"a{END}b"


def test_the_normalizer_maps_characters(tmp_path: Path) -> None:
    assert load_tokenizer(saved(characters(), tmp_path)).encode("a’b") == [5, 4, 6]


@pytest.mark.parametrize("unknown", [None, END])
@pytest.mark.parametrize("text, message", [
    ("abz", "character 'z' (U+007A) at position 2 is not in the model's vocabulary"),
    ("é", "character 'é' (U+00E9) at position 0"),
    ("’\t", "character '\\t' (U+0009) at position 1"),
    (f"a{END}\ud800", "character '\\ud800' (U+D800) at position 14"),
])  # fmt: skip
def test_a_character_outside_the_vocabulary_is_refused_with_its_position(
    tmp_path: Path, unknown: str | None, text: str, message: str
) -> None:
    tokenizer = load_tokenizer(saved(characters(unknown), tmp_path))
    assert tokenizer.encode(f"ab{END}") == [5, 6, 0]
    with refused(message):
        tokenizer.encode(text)


def test_a_character_that_only_the_normalizer_makes_is_refused_too(tmp_path: Path) -> None:
    library = characters()
    library.normalizer = normalizers.Replace("ab", "z")
    with refused("the text cannot be written in the model's vocabulary"):
        load_tokenizer(saved(library, tmp_path)).encode("ab")


def bos(library: Library) -> Library:
    library.add_special_tokens(["<s>"])
    token = library.token_to_id("<s>")
    library.post_processor = processors.TemplateProcessing(
        single=f"<s> $A {END}", special_tokens=[("<s>", token), (END, 0)]
    )
    return library


@pytest.mark.parametrize("make, settings, prefix", [
    (characters, {}, []),
    (characters, {"bos_token": END}, []),
    (characters, {"add_bos_token": True, "bos_token": END}, [0]),
    (characters, {"add_bos_token": True, "bos_token": {"content": END, "special": True}}, [0]),
    (lambda: bos(characters()), {}, [8]),
    (lambda: bos(characters()), {"add_bos_token": True}, [8]),
    (lambda: bos(characters()), {"add_bos_token": True, "bos_token": "<s>"}, [8]),
    (lambda: bos(characters()), {"add_bos_token": False, "bos_token": "<s>"}, []),
])  # fmt: skip
def test_the_first_token_follows_the_configuration(
    tmp_path: Path, make: Callable[[], Library], settings: dict[str, Any], prefix: list[int]
) -> None:
    tokenizer = load_tokenizer(saved(make(), tmp_path, **settings))
    assert tokenizer.encode("ab") == [*prefix, 5, 6]
    assert tokenizer.encode("") == prefix


@pytest.mark.parametrize("settings, message", [
    ({"add_bos_token": 1}, "add_bos_token must be true or false, not 1"),
    ({"add_bos_token": True}, "add_bos_token is true, but bos_token None is not in the vocabulary"),
    ({"add_bos_token": True, "bos_token": "<s>"}, "bos_token '<s>' is not in the vocabulary"),
    ({"add_bos_token": True, "bos_token": []}, "bos_token [] is not in the vocabulary"),
])  # fmt: skip
def test_a_wrong_configuration_is_refused(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    saved(characters(), tmp_path, **settings)
    with refused(message):
        load_tokenizer(tmp_path)


def test_truncation_and_padding_of_the_file_are_switched_off(tmp_path: Path) -> None:
    library = characters()
    library.enable_truncation(2)
    library.enable_padding(length=9)
    assert load_tokenizer(saved(library, tmp_path)).encode("abc") == [5, 6, 7]


@pytest.mark.parametrize("settings, prefix", [
    ({}, [1]), ({"add_bos_token": True}, [1]), ({"add_bos_token": True, "bos_token": "</s>"}, [2]),
    ({"add_bos_token": False}, []),
])  # fmt: skip
def test_sentencepiece_adds_bos_unless_told_otherwise(
    tmp_path: Path, settings: dict[str, Any], prefix: list[int]
) -> None:
    pieces(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.encode("")[:1] == prefix
    assert tokenizer.encode("ab")[: len(prefix)] == prefix
    assert tokenizer.decode(tokenizer.encode("ab")[len(prefix) :]) == "ab"


def test_sentencepiece_without_bos_adds_none(tmp_path: Path) -> None:
    assert load_tokenizer(pieces(tmp_path, bos_id=-1)).encode("") == []


def test_sentencepiece_refuses_a_bos_that_it_lacks(tmp_path: Path) -> None:
    pieces(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"add_bos_token": true, "bos_token": "<bos>"}')
    with refused("bos_token '<bos>' is not in the vocabulary"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("text, message", [
    ("ab z", "character 'z' (U+007A) at position 3 is not in the model's vocabulary"),
    ("\udc00", "character '\\udc00' (U+DC00) at position 0"),
])  # fmt: skip
def test_sentencepiece_refuses_characters_too(tmp_path: Path, text: str, message: str) -> None:
    with refused(message):
        load_tokenizer(pieces(tmp_path)).encode(text)


def test_tokens_beyond_the_vocabulary_have_no_text(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(pieces(tmp_path))
    assert tokenizer.decode([*tokenizer.encode("ab"), tokenizer.vocab_size, 10**6]) == "<s>ab"
    tokenizer = load_tokenizer(saved(characters(), tmp_path))  # tokenizer.json goes first
    assert tokenizer.decode([5, 8, 6]) == "ab"


def test_the_published_tokenizer_reads_and_writes_any_text(mistral: Tokenizer) -> None:
    assert mistral.vocab_size == 32000
    assert mistral.prefix == (1,)
    assert mistral.encode("Hello world") == [1, 22557, 1526]
    assert mistral.decode([22557, 1526, 2]) == "Hello world</s>"
    text = "Größe: 日本 🦀\n\n  two  blanks\ttab"
    assert mistral.decode(mistral.encode(text)[1:]) == text


@given(
    st.lists(st.integers(0, 31999) | st.integers(0, 258) | st.sampled_from([1, 2, 28705, 13]), max_size=12)
)
def test_streamed_text_is_the_whole_text(mistral: Tokenizer, tokens: list[int]) -> None:
    stream = mistral.stream()
    text = "".join(stream.push(token) for token in tokens) + stream.finish()
    assert text == mistral.decode(tokens)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=8))
def test_streaming_never_shows_part_of_a_character(mistral: Tokenizer, text: str) -> None:
    stream = mistral.stream()
    tokens = mistral.encode(text)[1:]
    shown = [stream.push(token) for token in tokens]
    if "\ufffd" not in text:
        assert not any("\ufffd" in piece for piece in shown)
    assert "".join(shown) + stream.finish() == mistral.decode(tokens)


def test_text_is_streamed_as_soon_as_it_is_settled(mistral: Tokenizer, tmp_path: Path) -> None:
    stream = mistral.stream()
    crab = [243, 162, 169, 131]
    assert [stream.push(token) for token in [22557, 1526, 28705, *crab]] == [
        "Hello", " world", " ", "", "", "", "🦀"
    ]  # fmt: skip
    assert stream.push(243) == ""
    assert stream.finish() == "\ufffd"
    stream = load_tokenizer(saved(characters(), tmp_path)).stream()
    assert [stream.push(token) for token in [5, 2, 2, 1, 0, 6]] == ["a", " ", " ", "\n", END, "b"]
    assert stream.finish() == ""


@pytest.mark.parametrize("make", [
    lambda directory: saved(characters(), directory, add_bos_token=True, bos_token=END),
    lambda directory: saved(bos(characters()), directory, add_bos_token=False),
    pieces,
])  # fmt: skip
def test_a_tokenizer_travels_as_bytes(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    tokenizer = load_tokenizer(make(tmp_path))
    again = Tokenizer.from_bytes(tokenizer.to_bytes())
    assert again.encode("ab ba") == tokenizer.encode("ab ba")
    assert again.decode(range(again.vocab_size)) == tokenizer.decode(range(tokenizer.vocab_size))
    assert again.to_bytes() == tokenizer.to_bytes()


@given(data=st.binary(max_size=40) | st.builds(
    lambda kind, tail: b'{"kind": "%s", "prefix": []}\n%s' % (kind, tail),
    st.sampled_from([b"tokenizer.json", b"tokenizer.model", b"other"]), st.binary(max_size=40),
))  # fmt: skip
def test_bytes_that_hold_no_tokenizer_are_refused(data: bytes) -> None:
    with refused("the stored tokenizer is"):
        Tokenizer.from_bytes(data)


def test_a_directory_without_a_tokenizer_takes_tokens_only(tmp_path: Path) -> None:
    assert find_tokenizer(tmp_path) is None
    with refused(f"{tmp_path} holds neither tokenizer.json nor tokenizer.model, so only --tokens works"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("name, content, message", [
    ("tokenizer.json", b"", "is not a tokenizer.json"),
    ("tokenizer.json", b'{"model": 1}', "is not a tokenizer.json"),
    ("tokenizer.model", b"", "is not a SentencePiece model"),
    ("tokenizer.model", b"\x0a\xff" * 9, "is not a SentencePiece model"),
])  # fmt: skip
def test_a_damaged_file_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with refused(f"{tmp_path / name} {message}"):
        load_tokenizer(tmp_path)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").mkdir()
    with refused(f"{tmp_path / 'tokenizer.json'} cannot be read"):
        load_tokenizer(tmp_path)
