"""Models as users name them: a model of the zoo, a checkpoint directory or an image."""

import tempfile
from functools import cached_property
from pathlib import Path

from . import zoo
from .checkpoint import Checkpoint
from .config import ModelConfig, read_json
from .corpus import END, END_TOKEN, prepare_text
from .errors import TritforgeError
from .image import Image, Layout, Progress, in_memory_image, write_image
from .quantise import IntegerModel, quantise, trit_count
from .tokenizer import Tokenizer, find_tokenizer

__all__ = ["Model", "load"]

_IN_MEMORY_TRITS = 64_000_000
GENERATION_CONFIG = "generation_config.json"


class Model:
    """A model, opened but not yet read.

    Parameters
    ----------
    name : str
        As the user wrote it.
    source : Checkpoint or Image
        Where it is.

    Attributes
    ----------
    config : ModelConfig
        Its shape.
    tokenizer : Tokenizer or None
        What turns text into its tokens.
    stop : frozenset of int
        The tokens that end a text.
    """

    def __init__(self, name: str, source: Checkpoint | Image) -> None:
        self.name = name
        self.source = source
        self.config: ModelConfig = source.config
        self.tokenizer: Tokenizer | None = (
            source.tokenizer if isinstance(source, Image) else find_tokenizer(source.directory)
        )
        self.stop = self._stop()

    @property
    def checkpoint(self) -> Checkpoint:
        """The float weights.

        Raises
        ------
        TritforgeError
            If the model is an image.
        """
        if isinstance(self.source, Image):
            raise TritforgeError(
                f"{self.name} is an image, which holds integers alone: the float engine needs the checkpoint"
                " that it was packed from"
            )
        return self.source

    @cached_property
    def integers(self) -> IntegerModel:
        """What the golden model computes with."""
        return self.source if isinstance(self.source, Image) else quantise(self.source)

    def image(self, layout: Layout, progress: Progress | None = None) -> Image:
        """Return the model laid out for an accelerator; the image of a large model is on disk while in use.

        Raises
        ------
        TritforgeError
            If the model is an image of another layout.
        """
        if isinstance(self.source, Image):
            if self.source.layout != layout:
                raise TritforgeError(
                    f"{self.name} is laid out for {self.source.layout}, but the accelerator reads"
                    f" {layout}: pack the model for this accelerator"
                )
            return self.source
        if trit_count(self.config) <= _IN_MEMORY_TRITS:
            return in_memory_image(self.integers, layout)
        with tempfile.TemporaryDirectory(prefix="tritforge-") as folder:
            file = Path(folder) / "image"
            write_image(self.integers, layout, file, progress)
            # The map stays valid when the file's name is gone.
            return Image(file, verify=False)

    @cached_property
    def symbols(self) -> str | None:
        """The characters that the model reads, where each is a token of its own; `END` for the end token."""
        if self.tokenizer is None:
            return None
        symbols = ""
        for token in range(self.tokenizer.vocab_size):
            text = self.tokenizer.decode([token])
            symbol = END if text == END_TOKEN else text
            if len(symbol) != 1:
                return None
            symbols += symbol
        return symbols

    def opening(self) -> list[int]:
        """Return the tokens before the first word of a text: BOS, or the token that ends the text before.

        Raises
        ------
        TritforgeError
            If the model has neither.
        """
        if self.tokenizer is not None and self.tokenizer.prefix:
            return list(self.tokenizer.prefix)
        end = self.config.eos_token_id
        if end is None or not 0 <= end < self.config.vocab_size:
            raise TritforgeError(
                f"{self.name} has no token that starts a text, so the prompt must not be empty"
            )
        return [end]

    def encode(self, text: str, continued: bool = False) -> list[int]:
        """Return the tokens of a prompt.

        Parameters
        ----------
        text : str
            Any text, which the tokenizer maps to its vocabulary.
        continued : bool
            Whether it follows other text, so that nothing is put before it.

        Raises
        ------
        TritforgeError
            If the model has no tokenizer, or its vocabulary lacks a character.
        """
        tokens = self._text_tokenizer().encode(text)
        if continued:
            return tokens[len(self._text_tokenizer().prefix) :]
        return tokens or self.opening()

    def encode_corpus(self, text: str) -> tuple[list[int], int, dict[str, int]]:
        """Prepare a text for evaluation, as the text that the model was trained on.

        For a model that reads characters this is :func:`prepare_text`, which maps and drops characters; other
        tokenizers take the text as it is.

        Parameters
        ----------
        text : str
            Any text.

        Returns
        -------
        tokens : list of int
            The text's tokens, not shorter than two.
        characters : int
            Prepared characters that all tokens but the first stand for.
        dropped : dict of str to int
            Characters that the vocabulary lacks, and how often each was dropped.

        Raises
        ------
        TritforgeError
            If the model has no tokenizer, or too little text is left.
        """
        tokenizer = self._text_tokenizer()
        dropped: dict[str, int] = {}
        if self.symbols is not None:
            text, dropped = prepare_text(text, self.symbols)
        tokens = tokenizer.encode(text.replace(END, END_TOKEN))
        if len(tokens) < 2:
            raise TritforgeError(
                f"{len(text)} characters are left of the text, which are too few to be scored"
            )
        if tokenizer.prefix:
            first = 0
        else:
            first = 1 if self.symbols is not None else len(tokenizer.decode(tokens[:1]))
        return tokens, len(text) - first, dropped

    def _text_tokenizer(self) -> Tokenizer:
        if self.tokenizer is None:
            raise TritforgeError(
                f"{self.name} has no tokenizer: give its tokens as numbers (--tokens FILE.npy)"
            )
        return self.tokenizer

    def _stop(self) -> frozenset[int]:
        ends: list[object] = [self.config.eos_token_id]
        if isinstance(self.source, Checkpoint):
            path = self.source.directory / GENERATION_CONFIG
            if path.is_file():
                more = read_json(path).get("eos_token_id")
                ends += more if isinstance(more, list) else [more]
                if any(end is not None and type(end) is not int for end in ends):
                    raise TritforgeError(f"{path}: eos_token_id must be a token's number or a list of them")
        return frozenset(end for end in ends if isinstance(end, int) and 0 <= end < self.config.vocab_size)


def load(name: str | Path) -> Model:
    """Open a model.

    Parameters
    ----------
    name : str or Path
        The name of a zoo model, a checkpoint directory or an image file; a zoo model comes first, and a
        directory of the same name is written ``./name``.

    Raises
    ------
    TritforgeError
        If there is no such model, or it is damaged.
    """
    path = Path(name)
    if str(name) in zoo.names():
        return Model(str(name), Checkpoint(zoo.path(str(name))))
    if path.is_dir():
        return Model(str(name), Checkpoint(path))
    if path.exists():
        return Model(str(name), Image(path))
    shipped = ", ".join(zoo.names()) or "it is empty"
    raise TritforgeError(
        f"there is no model {str(name)!r}: give a name of the zoo ({shipped}),"
        " a checkpoint directory or an image"
    )
