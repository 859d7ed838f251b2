"""A host and the frames of docs/link.md, written for tests of the device's end from that page alone."""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Answer", "Host", "answers", "frame", "request"]

READ, WRITE, CHECK, OPEN = 0x00, 0x10, 0x20, 0x40
(SETTINGS, WEIGHTS, PROGRAM, STATE, RING, TABLE, TOKENS, CONTROL, CHOOSE, POSITION) = (*range(8), 14, 15)
IDLE, TEXT, BOOT_FAILED, REFUSED, OPENED = 0x01, 0x02, 0x04, 0x40, 0x80
HALT, AS_TEXT, RESET = 0x01, 0x02, 0x04
_PATIENCE = 40
_TRIES = 3


def frame(body: bytes) -> bytes:
    """A body between flags, escaped, with its CRC."""
    whole = body + crc_hqx(body, 0xFFFF).to_bytes(2, "big")
    inside = b"".join(bytes([0x7D, each ^ 0x20]) if each in (0x7D, 0x7E) else bytes([each]) for each in whole)
    return b"\x7e" + inside + b"\x7e"


def request(
    number: int, command: int, address: int = 0, data: bytes = b"", count: int | None = None
) -> bytes:
    """A request's frame."""
    head = bytes([command, *address.to_bytes(2, "little"), len(data) if count is None else count, number])
    return frame(head + data)


@dataclass(frozen=True)
class Answer:
    """A response; its fields are those of the page."""

    number: int
    status: int
    produced: int
    data: bytes


def answers(sent: bytes, covered: bytes = b"") -> list[Answer]:
    """The responses among bytes that a device sent; `covered` is what a CHECK's CRC covers, too."""
    found = []
    for part in sent.split(b"\x7e"):
        body = bytearray()
        escaped = False
        for each in part:
            if each == 0x7D and not escaped:
                escaped = True
            else:
                body.append(each ^ 0x20 if escaped else each)
                escaped = False
        if len(body) >= 5 and crc_hqx(bytes(body[:-2]) + covered + bytes(body[-2:]), 0xFFFF) == 0:
            found.append(Answer(body[0], body[1], body[2], bytes(body[3:-2])))
    return found


class Host:
    """Asks a device, one request after another.

    Parameters
    ----------
    exchange
        Takes bytes to the device, lets it work, and returns what it sent.
    """

    def __init__(self, exchange: Callable[[bytes], bytes]) -> None:
        self.exchange = exchange
        self.number = 0

    def ask(
        self,
        command: int,
        address: int = 0,
        data: bytes = b"",
        count: int | None = None,
        *,
        again: bool = False,
        covered: bytes = b"",
    ) -> Answer:
        """One request's answer, under a new number, or `again` under the last; asked again if none comes."""
        self.number = (self.number + (not again)) % 256
        asked = request(self.number, command, address, data, count)
        for _ in range(_TRIES):
            for answer in answers(self.send(asked), covered):
                if answer.number == self.number:
                    return answer
        raise AssertionError(f"no answer to {asked.hex()}")

    def send(self, data: bytes) -> bytes:
        """Give the device bytes; return its answer, up to the flag behind it."""
        sent = self.exchange(data)
        for _ in range(_PATIENCE):
            if len(sent) > 1 and sent.endswith(b"\x7e"):
                break
            sent += self.exchange(b"")
        return sent

    def open(self) -> bytes:
        """Open a session with a reset; return the identity."""
        identity = self.ask(OPEN | TABLE, 55, count=18).data
        self.ask(WRITE | CONTROL, RESET)
        return identity

    def write(self, space: int, data: bytes, address: int = 0, size: int = 120) -> None:
        """Write words, in as many requests as it takes."""
        for start in range(0, len(data), size):
            answer = self.ask(WRITE | space, address + start // 2, data[start : start + size])
            assert not answer.status & REFUSED

    def read(self, space: int, count: int, address: int = 0, size: int = 120) -> bytes:
        """Read words, in as many requests as it takes."""
        parts = []
        for start in range(0, count, size):
            part = min(size, count - start)
            parts.append(self.ask(READ | space, address + start // 2, count=part).data)
        return b"".join(parts)
