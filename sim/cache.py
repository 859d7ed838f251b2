"""The user's cache: what tools have built, kept under a hash of everything that went into it.

An entry is a folder. It is filled under a temporary name and renamed when it is complete, so a reader never
meets half an entry; a lock for each entry lets parallel runs build it once. When the cache outgrows its
limit, the entries that were not used for the longest time go first.
"""

import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import filelock
import platformdirs

from ..models.errors import TritforgeError

__all__ = ["cache_folder", "cache_limit", "cached", "fingerprint"]

# An entry that was handed out this recently may be about to be opened: it is not removed.
_GRACE_SECONDS = 60
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def cache_folder() -> Path:
    """Folder of the cache: ``$TRITFORGE_CACHE``, else the platform's cache folder for this user."""
    chosen = os.environ.get("TRITFORGE_CACHE")
    return Path(chosen).absolute() if chosen else platformdirs.user_cache_path("tritforge", appauthor=False)


def cache_limit() -> int:
    """Size in bytes beyond which old entries are removed: ``$TRITFORGE_CACHE_SIZE``, else 2 GiB.

    Raises
    ------
    TritforgeError
        If the variable holds anything but a whole number with an optional unit of K, M or G (powers of 1024).
    """
    text = os.environ.get("TRITFORGE_CACHE_SIZE") or "2G"
    match = re.fullmatch(r"([0-9]+)\s*([KMG]?)(i?B)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise TritforgeError(
            f"TRITFORGE_CACHE_SIZE is {text!r}, which is no size: write a number with K, M or G, as in 2G"
        )
    return int(match[1]) * _UNITS[match[2].upper()]


def fingerprint(parts: Iterable[str | bytes]) -> str:
    """Hash of a sequence of parts, in hexadecimal; where one part ends and the next begins counts."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()[:32]


def cached(kind: str, key: Iterable[str | bytes], build: Callable[[Path], None]) -> Path:
    """Folder that `build` filled for this key, now or in an earlier run.

    Parameters
    ----------
    kind
        What the entry is, for people who look into the cache: the name of the folder it lies in.
    key
        Everything that the result depends on: sources, options, versions of the tools.
    build
        Fills the empty folder that it is given. If it raises, nothing is kept.

    Raises
    ------
    TritforgeError
        If the cache folder can't be written.
    """
    entry = cache_folder() / kind / fingerprint(key)
    if _touch(entry):
        return entry
    lock = _lock(entry)
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise TritforgeError(
            f"the cache folder {cache_folder()} can't be written ({error.strerror}): "
            "set TRITFORGE_CACHE to a folder that can"
        ) from error
    try:
        if not _touch(entry):
            _fill(entry, build)
    finally:
        lock.release()
    _prune(keep=entry)
    return entry


def _fill(entry: Path, build: Callable[[Path], None]) -> None:
    partial = entry.with_name(f"{entry.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)    # what a run that was killed has left
    partial.mkdir()
    try:
        build(partial)
        partial.rename(entry)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _lock(entry: Path) -> filelock.BaseFileLock:
    return filelock.FileLock(entry.with_name(f"{entry.name.removesuffix('.partial')}.lock"))


def _touch(entry: Path) -> bool:
    """Mark the entry as used now; false where there is none."""
    if not entry.is_dir():
        return False
    with suppress(OSError):    # a cache that belongs to somebody else serves, too
        os.utime(entry)
    return True


def _prune(keep: Path) -> None:
    """Remove the entries that were unused for the longest time until the rest is within the limit."""
    found = []
    for entry in cache_folder().glob("*/*/"):
        with suppress(FileNotFoundError):    # another run may be removing it
            size = sum(file.stat().st_size for file in entry.rglob("*"))
            found.append((entry.stat().st_mtime, size, entry))
    excess = sum(size for _, size, _ in found) - cache_limit()
    recent = time.time() - _GRACE_SECONDS
    for used, size, entry in sorted(found):
        if excess <= 0 or used > recent:
            break
        if entry != keep and _remove(entry):
            excess -= size


def _remove(entry: Path) -> bool:
    """Remove an entry, or what a run that was killed has left of one; false if it is being built."""
    try:
        with _lock(entry).acquire(timeout=0):
            shutil.rmtree(entry, ignore_errors=True)
    except filelock.Timeout:
        return False
    return True
