"""What is written to a device, as bytes: settings, tokens, programs, images, the text of tokens."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from ...hdl.accelerator import sampling
from ...hdl.compiler import compile_program
from ...hdl.config import AcceleratorConfig
from ...hdl.link.protocol import CHECK_BYTES, EVERY_CAUSE, SETTINGS_BYTES, TABLE_ENTRIES
from ...hdl.link.settings import SETTINGS
from ...models.errors import TritforgeError
from ...models.image import Image
from ...models.loading import Model

__all__ = [
    "MOST_TOKENS",
    "memory_bytes",
    "program_bytes",
    "settings_bytes",
    "text_table",
    "words_bytes",
]

MOST_TOKENS = 0xFFFF
"""Most tokens that one request lets a device choose."""
_UNKNOWN = "?"


def settings_bytes(
    *,
    temperature: float | None = None,
    seed: int = 0,
    stop: Collection[int] = (),
    emit_raw: bool = False,
    cause: int = EVERY_CAUSE,
) -> bytes:
    """Return the settings of a run.

    Parameters
    ----------
    temperature, stop
        See `sampling`.
    seed
        Of the noise, 32 bits.
    emit_raw
        Whether each token comes with its raw logits.
    cause
        Whose cycles are counted: its number in `CAUSES`, or EVERY_CAUSE.

    Raises
    ------
    TritforgeError
        If there are more stop tokens than the accelerator compares with.
    """
    values = {
        **sampling(temperature, stop),
        "emit_raw": emit_raw,
        "seed": seed & 0xFFFFFFFF,
        "cause": cause,
    }
    return int(SETTINGS.const(values).as_value().value).to_bytes(SETTINGS_BYTES, "little")


def words_bytes(words: Iterable[int]) -> bytes:
    """Return 16-bit words, the low byte first."""
    return b"".join(word.to_bytes(2, "little") for word in words)


def program_bytes(image: Image, config: AcceleratorConfig) -> bytes:
    """Return the program of an image's model.

    Raises
    ------
    TritforgeError
        If the model, or its program, does not fit the accelerator.
    """
    return words_bytes(compile_program(image.config, config, shared_inputs=image.shared_inputs).words())


def memory_bytes(image: Image) -> bytes:
    """Return the weight memory of an image, with zeros up to a whole block of a CHECK."""
    data = image.memory.tobytes()
    return data.ljust(-(-len(data) // CHECK_BYTES) * CHECK_BYTES, b"\0")


def text_table(model: Model) -> bytes:
    """Return the text of each token as a byte, and whole words of them, for a device that writes text itself.

    The token that ends a text is a line break.

    Raises
    ------
    TritforgeError
        If the model's tokens are no characters, or more than the table holds.
    """
    symbols: Sequence[str] | None = model.symbols
    if symbols is None or len(symbols) > TABLE_ENTRIES:
        raise TritforgeError(
            f"a board tells a story by itself only with a model that reads characters, of at most"
            f" {TABLE_ENTRIES}; {model.name} has {model.config.vocab_size} tokens"
            + ("" if symbols is not None else " of more than a character")
        )
    texts = ("\n" if token in model.stop else symbol for token, symbol in enumerate(symbols))
    table = b"".join((text if text.isascii() else _UNKNOWN).encode() for text in texts)
    return table + b"\0" * (len(table) % 2)
