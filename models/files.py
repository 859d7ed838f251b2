"""Files that are either complete or not there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from .errors import TritforgeError

__all__ = ["replacing"]


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path` for writing; it replaces `path` when the block ends well.

    Raises
    ------
    TritforgeError
        If the file cannot be written.
    """
    if not path.name or path.is_dir():
        raise TritforgeError(f"{path} cannot be written: it is a directory")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            stream = temporary.open("w+b")
        except OSError as error:
            raise TritforgeError(f"{path} cannot be written: {error.strerror}") from None
        with stream:
            yield stream
        try:
            temporary.replace(path)
        except OSError as error:
            raise TritforgeError(f"{path} cannot be written: {error.strerror}") from None
    finally:
        temporary.unlink(missing_ok=True)
