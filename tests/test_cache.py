"""What tools have built is kept whole, shared between runs, and limited in size."""

import multiprocessing
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritforge.models.errors import TritforgeError
from tritforge.sim.cache import cache_folder, cache_limit, cached, fingerprint


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRITFORGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TRITFORGE_CACHE_SIZE", raising=False)
    return tmp_path / "cache"


def write(text: str = "x"):
    def build(entry: Path) -> None:
        (entry / "file").write_text(text)

    return build


def refuse(entry: Path) -> None:
    raise AssertionError("built although it was in the cache")


def test_an_entry_is_built_once() -> None:
    first = cached("kind", ["a"], write("content"))
    assert (first / "file").read_text() == "content"
    assert cached("kind", ["a"], refuse) == first


def test_another_key_is_another_entry() -> None:
    assert cached("kind", ["a"], write()) != cached("kind", ["b"], write())


@given(st.lists(st.binary()), st.lists(st.binary()))
def test_fingerprints_are_equal_only_for_equal_parts(one: list[bytes], other: list[bytes]) -> None:
    assert (fingerprint(one) == fingerprint(other)) == (one == other)


def test_a_failed_build_leaves_nothing(folder: Path) -> None:
    def fail(entry: Path) -> None:
        (entry / "half").write_text("half")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        cached("kind", ["a"], fail)
    assert not [path for path in (folder / "kind").iterdir() if path.is_dir()]
    assert (cached("kind", ["a"], write()) / "file").exists()


def test_what_a_killed_run_left_is_not_taken_for_an_entry() -> None:
    entry = cached("kind", ["a"], write())
    entry.rename(f"{entry}.partial")
    (entry.parent / f"{entry.name}.partial" / "leftover").write_text("old")
    assert [file.name for file in cached("kind", ["a"], write()).iterdir()] == ["file"]
    assert not Path(f"{entry}.partial").exists()


def _slow_build(log: str) -> None:
    def build(entry: Path) -> None:
        time.sleep(0.3)
        with Path(log).open("a") as file:
            file.write("built\n")

    cached("kind", ["shared"], build)


def test_parallel_runs_build_an_entry_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    context = multiprocessing.get_context("fork")
    runs = [context.Process(target=_slow_build, args=(str(log),)) for _ in range(4)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert [run.exitcode for run in runs] == [0] * 4
    assert log.read_text() == "built\n"


def test_entries_unused_for_longest_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITFORGE_CACHE_SIZE", "3K")
    entries = [cached("kind", [str(i)], write("x" * 1024)) for i in range(3)]
    for age, entry in zip((3000, 2000, 1000), entries, strict=True):
        os.utime(entry, (time.time() - age,) * 2)
    cached("kind", ["0"], refuse)    # the oldest is used again
    new = cached("kind", ["new"], write("x" * 1024))
    assert [entry.exists() for entry in [*entries, new]] == [True, False, True, True]


def test_an_entry_larger_than_the_limit_is_still_handed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITFORGE_CACHE_SIZE", "1K")
    assert (cached("kind", ["a"], write("x" * 5000)) / "file").stat().st_size == 5000


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("17", 17), ("1K", 1024), ("3 MiB", 3 << 20), ("2g", 2 << 30), ("", 2 << 30)]
)
def test_the_limit_is_a_number_with_a_unit(monkeypatch: pytest.MonkeyPatch, text: str, size: int) -> None:
    monkeypatch.setenv("TRITFORGE_CACHE_SIZE", text)
    assert cache_limit() == size


@pytest.mark.parametrize("text", ["much", "-1", "1T", "1.5G", "K"])
def test_a_limit_that_is_no_size_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("TRITFORGE_CACHE_SIZE", text)
    with pytest.raises(TritforgeError, match=f"TRITFORGE_CACHE_SIZE is '{text}', which is no size: write"):
        cache_limit()


def test_a_folder_that_cannot_be_written_is_one_sentence(folder: Path) -> None:
    folder.write_text("a file in its place")
    with pytest.raises(TritforgeError, match=r"can't be written .*: set TRITFORGE_CACHE to a folder"):
        cached("kind", ["a"], write())


def test_the_folder_is_the_users_unless_chosen(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder() == folder
    monkeypatch.delenv("TRITFORGE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder().name in ("tritforge", "Caches")
