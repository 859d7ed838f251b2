"""Text to tokens and back, through the libraries that define the two file formats in use.

``tokenizer.json`` is read by Hugging Face's tokenizers, ``tokenizer.model`` by SentencePiece.  What these
leave open is settled here: which token opens every text, what happens to characters that a vocabulary
lacks, how text is printed while it is generated, and how a tokenizer travels inside a weight image.
"""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar

import sentencepiece
import tokenizers

from .config import read_json
from .errors import TritforgeError

__all__ = ["TextStream", "Tokenizer", "find_tokenizer", "load_tokenizer"]

JSON_FILE = "tokenizer.json"
SENTENCEPIECE_FILE = "tokenizer.model"
SETTINGS_FILE = "tokenizer_config.json"


class Tokenizer(ABC):
    """What both kinds of tokenizer do.

    Attributes
    ----------
    prefix : tuple of int
        The tokens that open every encoded text: BOS, or none.
    """

    kind: ClassVar[str]
    prefix: tuple[int, ...]
    _unknown: int | None  # what the library puts in place of characters that the vocabulary lacks
    _names: str = "(?!)"  # pattern of the special tokens that a text may call by their names; here none

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """Number of tokens."""

    @abstractmethod
    def decode(self, tokens: Iterable[int]) -> str:
        """Return the text of tokens: special ones by their names, ones beyond the vocabulary by nothing."""

    @abstractmethod
    def token_id(self, name: str) -> int | None:
        """Return the number of a token given as the vocabulary writes it, e.g. ``</s>``."""

    @abstractmethod
    def _tokens(self, text: str) -> list[int]:
        """Return the tokens of a text alone; LookupError where the library gives up on a character."""

    @property
    @abstractmethod
    def _payload(self) -> bytes:
        """The file's contents."""

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text, opened by :attr:`prefix`.

        Raises
        ------
        TritforgeError
            If the vocabulary lacks a character, and the tokenizer's own normalizer does not map it to others;
            positions count from 0.
        """
        tokens = self._checked(text)
        if tokens is None:
            lacking = {each for each in set(text) if self._checked(each) is None}
            for match in re.finditer(f"({self._names})|.", text, re.DOTALL):
                character = match[0]
                if match[1] is None and character in lacking:
                    raise TritforgeError(
                        f"character {character!r} (U+{ord(character):04X}) at position {match.start()}"
                        " is not in the model's vocabulary"
                    )
            try:
                tokens = self._tokens(text)  # the token for the unknown was called by its name
            except LookupError:
                raise TritforgeError("the text cannot be written in the model's vocabulary") from None
        return [*self.prefix, *tokens]

    def _checked(self, text: str) -> list[int] | None:
        """Return the tokens of a text alone, None if one of them may stand for something unknown."""
        try:
            text.encode()  # half of a surrogate pair fails here; the libraries report it in several ways
            tokens = self._tokens(text)
        except (UnicodeEncodeError, LookupError):
            return None
        return None if self._unknown in tokens else tokens

    def stream(self) -> "TextStream":
        """Return a decoder that takes one token at a time."""
        return TextStream(self)

    def to_bytes(self) -> bytes:
        """Return all that :meth:`from_bytes` needs to build this tokenizer again."""
        head = json.dumps({"kind": self.kind, "prefix": self.prefix})
        return head.encode() + b"\n" + self._payload

    @staticmethod
    def from_bytes(data: bytes) -> "Tokenizer":
        """Build the tokenizer that :meth:`to_bytes` stored.

        Raises
        ------
        TritforgeError
            If the bytes hold no tokenizer.
        """
        head, _, payload = data.partition(b"\n")
        try:
            fields = json.loads(head)
            build, prefix = _KINDS[fields["kind"]], tuple(int(token) for token in fields["prefix"])
        except (KeyError, TypeError, ValueError, RecursionError):
            raise TritforgeError("the stored tokenizer is damaged: its head is not valid") from None
        tokenizer = build(payload, "the stored tokenizer")
        tokenizer.prefix = prefix
        return tokenizer


class TextStream:
    """Text of a growing sequence of tokens, given out as soon as it is settled.

    A token may be part of a character, and a leading blank depends on what stands before it; so the
    tokens given out last are decoded again together with the new ones.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._tokens: list[int] = []  # the tokens given out last, then those held back
        self._given = 0  # how many of them are given out

    def push(self, token: int) -> str:
        """Take the next token; return the text that it settles, empty if a character is still incomplete."""
        self._tokens.append(token)
        return self._settle(final=False)

    def finish(self) -> str:
        """Return the text held back, an incomplete character as U+FFFD."""
        return self._settle(final=True)

    def _settle(self, final: bool) -> str:
        before = self._tokenizer.decode(self._tokens[: self._given])
        text = self._tokenizer.decode(self._tokens)
        if not final and (len(text) <= len(before) or text.endswith("\ufffd")):
            return ""
        self._tokens = self._tokens[self._given :]
        self._given = len(self._tokens)
        return text[len(before) :]


class _JsonTokenizer(Tokenizer):
    kind = JSON_FILE

    def __init__(self, payload: bytes, source: str) -> None:
        try:
            self.library = tokenizers.Tokenizer.from_buffer(payload)
        except ValueError as error:
            raise TritforgeError(f"{source} is not a {JSON_FILE}: {error}") from None
        self.library.no_truncation()
        self.library.no_padding()
        model = json.loads(self.library.to_str())["model"]
        name = model.get("unk_token")
        self._unknown = model.get("unk_id") if name is None else self.library.token_to_id(name)
        added = self.library.get_added_tokens_decoder().values()
        self._names = "|".join(re.escape(token.content) for token in added) or "(?!)"
        self.prefix = self._opening()

    def _opening(self) -> tuple[int, ...]:
        """Find the tokens that the file's post-processor puts before a text."""
        for text in self.library.get_vocab():
            if self._checked(text):
                encoding = self.library.encode(text)
                return tuple(encoding.ids[: encoding.sequence_ids.index(0)])
        return ()

    @property
    def vocab_size(self) -> int:
        return self.library.get_vocab_size()

    def decode(self, tokens: Iterable[int]) -> str:
        return self.library.decode(list(tokens), skip_special_tokens=False)

    def token_id(self, name: str) -> int | None:
        return self.library.token_to_id(name)

    def _tokens(self, text: str) -> list[int]:
        try:
            return self.library.encode(text, add_special_tokens=False).ids
        except Exception as error:  # nothing narrower is raised by a model without a token for the unknown
            raise LookupError from error

    @property
    def _payload(self) -> bytes:
        return self.library.to_str().encode()


class _SentencePiece(Tokenizer):
    kind = SENTENCEPIECE_FILE

    def __init__(self, payload: bytes, source: str) -> None:
        self.library = sentencepiece.SentencePieceProcessor()
        try:
            self.library.LoadFromSerializedProto(payload)
        except RuntimeError as error:
            raise TritforgeError(f"{source} is not a SentencePiece model: {error}") from None
        self._unknown = self.library.unk_id()
        bos = self.library.bos_id()
        self.prefix = () if bos < 0 else (bos,)

    @property
    def vocab_size(self) -> int:
        return int(self.library.vocab_size())

    def decode(self, tokens: Iterable[int]) -> str:
        # The library gives control tokens no text, but a reader wants to see where a generated text ended.
        known = [token for token in tokens if 0 <= token < self.vocab_size]
        runs = groupby(known, self.library.is_control)
        return "".join(
            "".join(map(self.library.id_to_piece, run)) if control else self.library.decode(list(run))
            for control, run in runs
        )

    def token_id(self, name: str) -> int | None:
        token = int(self.library.piece_to_id(name))
        return token if self.library.id_to_piece(token) == name else None  # the library says unknown instead

    def _tokens(self, text: str) -> list[int]:
        return list(self.library.encode(text))

    @property
    def _payload(self) -> bytes:
        return bytes(self.library.serialized_model_proto())


_KINDS: dict[str, Callable[[bytes, str], Tokenizer]] = {
    kind.kind: kind for kind in (_JsonTokenizer, _SentencePiece)
}


def find_tokenizer(directory: Path | str) -> Tokenizer | None:
    """Read a checkpoint's tokenizer, if it has one.

    Parameters
    ----------
    directory : Path or str
        Holds ``tokenizer.json``, which goes first, or ``tokenizer.model``; and perhaps
        ``tokenizer_config.json``.

    Returns
    -------
    Tokenizer or None
        ``add_bos_token`` in ``tokenizer_config.json`` decides whether its prefix is BOS or nothing.
        Without it the post-processor of ``tokenizer.json`` decides, and a ``tokenizer.model`` adds BOS,
        as upstream's tokenizer class does.

    Raises
    ------
    TritforgeError
        If a file is damaged, or asks for a BOS that the vocabulary does not have.
    """
    directory = Path(directory)
    path = next((directory / name for name in _KINDS if (directory / name).exists()), None)
    if path is None:
        return None
    try:
        tokenizer = _KINDS[path.name](path.read_bytes(), str(path))
    except OSError as error:
        raise TritforgeError(f"{path} cannot be read: {error.strerror or error}") from None
    settings = directory / SETTINGS_FILE
    if settings.exists():
        _apply(tokenizer, read_json(settings), settings)
    return tokenizer


def load_tokenizer(directory: Path | str) -> Tokenizer:
    """Read a checkpoint's tokenizer as :func:`find_tokenizer` does; it is an error if there is none."""
    tokenizer = find_tokenizer(directory)
    if tokenizer is None:
        raise TritforgeError(
            f"{directory} holds neither {JSON_FILE} nor {SENTENCEPIECE_FILE}, so only --tokens works with it"
        )
    return tokenizer


def _apply(tokenizer: Tokenizer, settings: dict[str, Any], path: Path) -> None:
    """Set the prefix as tokenizer_config.json asks."""
    wanted = settings.get("add_bos_token")
    if wanted is None:
        return
    if not isinstance(wanted, bool):
        raise TritforgeError(f"{path}: add_bos_token must be true or false, not {wanted!r}")
    if not wanted:
        tokenizer.prefix = ()
        return
    name = settings.get("bos_token")
    if name is None and tokenizer.prefix:  # the file's own BOS
        return
    if isinstance(name, dict):  # with the details of an added token
        name = name.get("content")
    token = tokenizer.token_id(name) if isinstance(name, str) else None
    if token is None:
        raise TritforgeError(
            f"{path}: add_bos_token is true, but bos_token {name!r} is not in the vocabulary"
        )
    tokenizer.prefix = (token,)
