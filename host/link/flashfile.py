"""What a board reads from its flash at power-up: requests in frames, as if a host had sent them."""

from __future__ import annotations

from collections.abc import Iterator

from ...hdl.config import AcceleratorConfig
from ...hdl.link.protocol import FLAG, MOST_DATA, Control, Register, Space, Verb
from ...models.errors import TritforgeError
from ...models.loading import Model
from .frames import Decoder, Request, encode
from .payloads import (
    MOST_TOKENS,
    memory_bytes,
    program_bytes,
    settings_bytes,
    text_table,
    token_bytes,
    words_bytes,
)

__all__ = ["read_frames", "story_frames"]

_ERASED = 0xFF
"""Erased flash, and what no frame in flash begins with: it ends the frames."""


def story_frames(
    model: Model,
    config: AcceleratorConfig,
    prompt: str = "",
    *,
    new_tokens: int = MOST_TOKENS,
    temperature: float | None = 0.6,
    seed: int = 0,
) -> bytes:
    """Return the frames with which a board tells a story by itself, and has a host find its model loaded.

    Parameters
    ----------
    model
        What tells the story; it reads characters.
    config
        The board's accelerator.
    prompt
        What the story goes on from; the device does not write it.
    new_tokens
        Most tokens to choose, 1 to `MOST_TOKENS`; the story goes on behind the model's end token.
    temperature, seed
        Of the choices; None for the most likely ones.

    Raises
    ------
    TritforgeError
        If the model does not fit, or its tokens are not characters.
    """
    image = model.image(config.layout)
    tokens = model.encode(prompt)
    settings = settings_bytes(temperature=temperature, seed=seed)
    writes = [
        (Space.WEIGHTS, 0, memory_bytes(image)),
        (Space.PROGRAM, 0, program_bytes(image, config)),
        (Space.TABLE, 0, text_table(model)),
        (Space.REGISTERS, Register.SETTINGS, settings),
        (Space.REGISTERS, Register.NEW_POSITION, bytes(Register.NEW_POSITION.size)),
        (Space.PROMPT, 0, words_bytes(tokens[:-1])),
        (Space.REGISTERS, Register.CONTROL, bytes([Control.TEXT])),
        (Space.REGISTERS, Register.TOKEN, token_bytes(tokens[-1], new_tokens)),
    ]
    numbers = _numbers()
    requests = [Request(next(numbers), Verb.OPEN, Space.REGISTERS, Register.PROTOCOL, 1)]
    for space, address, data in writes:
        for start in range(0, len(data), MOST_DATA):
            part = data[start : start + MOST_DATA]
            requests.append(Request(next(numbers), Verb.WRITE, space, address + start, len(part), part))
    return b"".join(encode(request.to_bytes()) for request in requests)


def _numbers() -> Iterator[int]:
    while True:
        yield from range(_ERASED)


def read_frames(data: bytes) -> list[Request]:
    """Read what a flash holds, up to its erased part.

    Raises
    ------
    TritforgeError
        If a frame is damaged, or anything but a request that a flash may hold; says where.
    """
    requests: list[Request] = []
    start = 0
    while start < len(data) and data[start] != _ERASED:
        if data[start] == FLAG:
            start += 1
            continue
        end = data.find(bytes([FLAG]), start)
        if end < 0:
            raise TritforgeError(f"the flash's frames end within frame {len(requests)} at byte {start}")
        body = Decoder().feed(data[start : end + 1])
        request = Request.from_bytes(body[0]) if body else None
        if request is None:
            raise TritforgeError(f"frame {len(requests)} of the flash, at byte {start}, is damaged")
        wanted = Verb.WRITE if requests else Verb.OPEN
        if request.verb != wanted:
            raise TritforgeError(
                f"frame {len(requests)} of the flash, at byte {start}, must be of the verb {wanted.name}"
            )
        requests.append(request)
        start = end
    return requests
