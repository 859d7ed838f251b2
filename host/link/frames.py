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
    Verb,
    crc,
)

__all__ = ["Decoder", "Request", "Response", "encode"]

_FLAG, _ESCAPE = bytes([FLAG]), bytes([ESCAPE])
_ESCAPED = re.compile(re.escape(_ESCAPE) + b"(.)", re.DOTALL)
_LONGEST = 2 * (HEADER_BYTES + MOST_DATA + CRC_BYTES)


def encode(body: bytes) -> bytes:
    """Return the frame of a body: with its CRC, escaped, between two flags."""
    checked = body + crc(body).to_bytes(CRC_BYTES, "big")
    for special in (ESCAPE, FLAG):
        checked = checked.replace(bytes([special]), bytes([ESCAPE, special ^ ESCAPE_XOR]))
    return _FLAG + checked + _FLAG


class Decoder:
    """Finds the undamaged frames in a stream of any bytes, however it is cut.

    Attributes
    ----------
    damaged : int
        What stood between two flags and was no frame: too short, too long, or with a wrong CRC.
    """

    def __init__(self) -> None:
        self.damaged = 0
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the bodies of the frames that these bytes complete."""
        *ended, rest = (self._rest + data).split(_FLAG)
        # One byte too many is enough to know that no frame will come of it.
        self._rest = rest[: _LONGEST + 1]
        bodies = []
        for escaped in filter(None, ended):
            body = _decoded(escaped)
            if body is None:
                self.damaged += 1
            else:
                bodies.append(body)
        return bodies


def _decoded(escaped: bytes) -> bytes | None:
    """Return the body of what stands between two flags, None if it is damaged."""
    checked = _ESCAPED.sub(lambda match: bytes([match[1][0] ^ ESCAPE_XOR]), escaped)
    if len(escaped) > _LONGEST or len(checked) <= CRC_BYTES or crc(checked):
        return None
    return checked[:-CRC_BYTES]


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
        In bytes, 24 bits.
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
        address = self.address.to_bytes(3, "little")
        return bytes([self.number, self.verb | self.space, *address, self.count]) + self.data

    @classmethod
    def from_bytes(cls, body: bytes) -> Self | None:
        """Return the request in a body, None if its length is not the one that it says."""
        if len(body) < HEADER_BYTES:
            return None
        number, command, count = body[0], body[1], body[5]
        verb, data = command & 0xF0, body[HEADER_BYTES:]
        if len(data) != (count if verb == Verb.WRITE else 0):
            return None
        return cls(number, verb, command & 0x0F, int.from_bytes(body[2:5], "little"), count, data)


@dataclass(frozen=True)
class Response:
    """What a device answers; `status` may be a value that the protocol does not know."""

    number: int
    status: int
    data: bytes = b""

    def to_bytes(self) -> bytes:
        """Return the body of the response's frame."""
        return bytes([self.number, self.status]) + self.data

    @classmethod
    def from_bytes(cls, body: bytes) -> Self | None:
        """Return the response in a body, None if it is too short for one."""
        return cls(body[0], body[1], body[2:]) if len(body) >= 2 else None
