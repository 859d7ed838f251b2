"""Frames, and the requests and responses in them, as bytes (docs/link.md)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from ...hdl.link.protocol import (
    CRC_BYTES,
    ESCAPE,
    ESCAPE_XOR,
    FLAG,
    HEADER_BYTES,
    MOST_DATA,
    Status,
    Verb,
    crc,
)

__all__ = ["Decoder", "Request", "Response", "encode", "intact"]

_FLAG, _ESCAPE = bytes([FLAG]), bytes([ESCAPE])
_ESCAPED = re.compile(re.escape(_ESCAPE) + b"(.)", re.DOTALL)
_LONGEST = 2 * (HEADER_BYTES + MOST_DATA + CRC_BYTES)
_RESPONSE_BYTES = 3


def encode(body: bytes, unsent: bytes = b"") -> bytes:
    """Return the frame of a body: with its CRC, escaped, between two flags.

    Parameters
    ----------
    body
        What is sent.
    unsent
        What the CRC covers behind the body, though it is not sent: the answer to a CHECK.
    """
    content = body + crc(body + unsent).to_bytes(CRC_BYTES, "big")
    for special in (ESCAPE, FLAG):
        content = content.replace(bytes([special]), bytes([ESCAPE, special ^ ESCAPE_XOR]))
    return _FLAG + content + _FLAG


def intact(content: bytes, unsent: bytes = b"") -> bytes | None:
    """Return the body in a frame's content, None if its CRC is wrong; `unsent` as for `encode`."""
    body = content[:-CRC_BYTES]
    return body if body and content[-CRC_BYTES:] == crc(body + unsent).to_bytes(CRC_BYTES, "big") else None


class Decoder:
    """Finds frames in a stream of any bytes, however it is cut."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the contents of the frames that these bytes complete: bodies and CRCs, perhaps damaged."""
        *ended, rest = (self._rest + data).split(_FLAG)
        # One byte too many is enough to know that no frame will come of it.
        self._rest = rest[: _LONGEST + 1]
        return [
            _ESCAPED.sub(lambda match: bytes([match[1][0] ^ ESCAPE_XOR]), escaped[: _LONGEST + 1])
            for escaped in ended
            if escaped
        ]


@dataclass(frozen=True)
class Request:
    """What a host asks; `verb` and `space` may be values that the protocol does not know.

    Parameters
    ----------
    number
        0 to 255.
    verb, space
        See `Verb` and `Space`.
    address
        In words, 16 bits; of some spaces, a value.
    count
        0 to 255.
    data
        Of a WRITE, `count` bytes.
    """

    number: int
    verb: int
    space: int
    address: int = 0
    count: int = 0
    data: bytes = b""

    def to_bytes(self) -> bytes:
        """Return the body of the request's frame."""
        address = self.address.to_bytes(2, "little")
        return bytes([self.verb | self.space, *address, self.count, self.number]) + self.data

    @classmethod
    def from_bytes(cls, body: bytes) -> Self | None:
        """Return the request in a body, None if it is shorter than a header, or too long."""
        if not HEADER_BYTES <= len(body) <= HEADER_BYTES + MOST_DATA:
            return None
        command, low, high, count, number = body[:HEADER_BYTES]
        return cls(number, command & 0xF0, command & 0x0F, low | high << 8, count, body[HEADER_BYTES:])

    @property
    def suits(self) -> bool:
        """Whether the data are as many as are counted; none, if it is no WRITE."""
        return len(self.data) == (self.count if self.verb == Verb.WRITE else 0)


@dataclass(frozen=True)
class Response:
    """What a device answers.

    Parameters
    ----------
    number
        The request's.
    status
        Of the device, before it obeyed.
    produced
        Words that have entered the ring, modulo 256.
    data
        What was read.
    """

    number: int
    status: Status
    produced: int
    data: bytes = b""

    def to_bytes(self) -> bytes:
        """Return the body of the response's frame."""
        return bytes([self.number, self.status, self.produced]) + self.data

    @classmethod
    def from_bytes(cls, body: bytes) -> Self | None:
        """Return the response in a body, None if it is too short for one."""
        if len(body) < _RESPONSE_BYTES:
            return None
        return cls(body[0], Status(body[1]), body[2], body[_RESPONSE_BYTES:])
