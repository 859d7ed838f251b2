"""What a board reads from its flash at power-up: requests in frames, as if a host had sent them."""

from __future__ import annotations

from ...hdl.config import AcceleratorConfig
from ...hdl.link.protocol import FLAG, MOST_DATA, REVERSED, Control, Space, Verb
from ...models.errors import TritforgeError
from ...models.loading import Model
from .frames import Decoder, Request, encode, intact
from .payloads import (
    MOST_TOKENS,
    memory_bytes,
    program_bytes,
    settings_bytes,
    text_table,
    words_bytes,
)

__all__ = ["read_frames", "story_frames"]


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
    # Addresses are in words, and a request has at most MOST_DATA bytes of data.
    size = MOST_DATA // 2
    words = [(Space.WEIGHTS, memory_bytes(image)), (Space.PROGRAM, program_bytes(image, config))]
    writes = [
        *(
            (space, start // 2, data[start : start + MOST_DATA])
            for space, data in words
            for start in range(0, len(data), MOST_DATA)
        ),
        (Space.SETTINGS, 0, settings),
        (Space.TABLE, 0, text_table(model)),
        (Space.POSITION, 0, words_bytes([0])),
        *(
            (Space.TOKENS, 0, words_bytes(tokens[start : min(start + size, len(tokens) - 1)]))
            for start in range(0, len(tokens) - 1, size)
        ),
        (Space.CONTROL, Control.TEXT, b""),
        (Space.CHOOSE, new_tokens, words_bytes(tokens[-1:])),
    ]
    # The first number is none that a device might take for that of a request before.
    requests = [
        Request(number % 256, Verb.WRITE, space, address, len(data), data)
        for number, (space, address, data) in enumerate(writes, 1)
    ]
    requests.append(Request((len(requests) + 1) % 256, Verb.OPEN, Space.TABLE))
    return b"".join(encode(request.to_bytes()) for request in requests).translate(REVERSED)


def read_frames(flash: bytes) -> list[Request]:
    """Read the requests that a flash holds; the OPEN that ends them is the last.

    Raises
    ------
    TritforgeError
        If there is anything but requests that a flash may hold; says where.
    """
    requests: list[Request] = []
    data = flash.translate(REVERSED)
    start = 0
    while not requests or requests[-1].verb != Verb.OPEN:
        end = data.find(bytes([FLAG]), start)
        if end < 0:
            raise TritforgeError(
                f"the flash's frames are not complete: behind frame {len(requests)}, at byte {start}, there"
                " is none that ends them"
            )
        for content in Decoder().feed(data[start : end + 1]):
            body = intact(content)
            request = None if body is None else Request.from_bytes(body)
            if request is None or not request.suits:
                raise TritforgeError(f"frame {len(requests)} of the flash, at byte {start}, is damaged")
            if request.verb not in (Verb.WRITE, Verb.OPEN):
                raise TritforgeError(
                    f"frame {len(requests)} of the flash, at byte {start}, is neither a WRITE nor an OPEN"
                )
            requests.append(request)
        start = end + 1
    return requests
