"""The link's protocol: frames, commands, address spaces and registers, written down once for both ends.

docs/link.md explains it. A host asks, the device answers each request with one response; everything a host
reads stays where it is until the host says that it has it, so any request may be repeated.
"""

from __future__ import annotations

import enum
from binascii import crc_hqx

__all__ = [
    "BUFFER_BYTES",
    "CHECK_BYTES",
    "CRC_BYTES",
    "CRC_INIT",
    "ESCAPE",
    "ESCAPE_XOR",
    "FLAG",
    "HEADER_BYTES",
    "LAST",
    "MOST_DATA",
    "PROTOCOL",
    "RING_BYTES",
    "Control",
    "Register",
    "Space",
    "Status",
    "Verb",
    "crc",
]

PROTOCOL = 1
"""Version; a device that answers another one is refused."""

FLAG, ESCAPE, ESCAPE_XOR = 0x7E, 0x7D, 0x20
"""Framing as in RFC 1662: a FLAG on both sides; inside, FLAG and ESCAPE become ESCAPE and the byte ^ 0x20."""

CRC_INIT = 0xFFFF
CRC_BYTES = 2
"""CRC-16/CCITT-FALSE, the high byte first: over body and CRC it is 0."""

HEADER_BYTES = 6
"""Of a request: number, verb and space, address (3 bytes, the lowest first), count."""
MOST_DATA = 128
"""Most data bytes of a request or response."""
CHECK_BYTES = 256
"""Unit of a CHECK's count."""
RING_BYTES = 256
"""Bytes of results that the device keeps until the host has taken them."""
BUFFER_BYTES = 512
"""The device's buffer, one block RAM: a request's data, the text table, the ring."""
LAST = 0x8000
"""Set in a token's record when the accelerator now waits for the host."""


class Verb(enum.IntEnum):
    """High half of a request's second byte."""

    READ = 0x00
    """Answer with `count` bytes."""
    WRITE = 0x10
    """Obey the `count` data bytes in their order."""
    CHECK = 0x20
    """Answer with the CRC of `count` times CHECK_BYTES bytes, the high byte first."""
    OPEN = 0x30
    """As READ; the request's number is the first of a new series, and text mode ends."""


class Space(enum.IntEnum):
    """Low half of a request's second byte: what the address means."""

    REGISTERS = 0
    """See `Register`; bytes."""
    WEIGHTS = 1
    """The weight memory; 16-bit words: address and count are even."""
    PROGRAM = 2
    """The program memory, to be written; 16-bit words."""
    STATE = 3
    """h of all layers; 16-bit words; while the accelerator is idle."""
    RING = 4
    """Results, to be read; the address is the position modulo RING_BYTES."""
    TABLE = 5
    """The text of each token, a byte, to be written; 128 of them."""
    PROMPT = 6
    """Written: tokens of 16 bits to consume, one after another; answered when the last one was accepted."""


class Status(enum.IntEnum):
    """A response's second byte."""

    OK = 0
    REFUSED = 1
    """No such verb or space, or a count that does not fit; nothing was done."""
    STALE = 2
    """The number is of a request before the last one; nothing was done."""


class Register(enum.IntEnum):
    """Byte addresses of registers, the lowest byte first; with their number of bytes in `size`."""

    # Read
    BUILD = 0x00
    CONFIG = 0x08
    STATUS = 0x10
    PROTOCOL = 0x11
    PRODUCED = 0x12
    CYCLES = 0x14
    SATURATIONS = 0x18
    POSITION = 0x1C
    COUNTED = 0x20
    # Written
    SETTINGS = 0x40
    TOKEN = 0x50
    NEW_POSITION = 0x58
    TAKEN = 0x5C
    WATCH = 0x5E
    CONTROL = 0x5F

    @property
    def size(self) -> int:
        """Number of bytes."""
        return _SIZES[self]


_SIZES = {
    Register.BUILD: 8,
    Register.CONFIG: 8,
    Register.STATUS: 1,
    Register.PROTOCOL: 1,
    Register.PRODUCED: 2,
    Register.CYCLES: 4,
    Register.SATURATIONS: 4,
    Register.POSITION: 4,
    Register.COUNTED: 4,
    Register.SETTINGS: 16,
    Register.TOKEN: 5,
    Register.NEW_POSITION: 4,
    Register.TAKEN: 2,
    Register.WATCH: 1,
    Register.CONTROL: 1,
}


class Control(enum.IntFlag):
    """Bits of CONTROL when written, and of STATUS when read."""

    IDLE = 0x01
    """Read: the accelerator waits for a token, and none is on its way to it."""
    HALT = 0x02
    """Written: a generation ends at its next token, until HALT is cleared."""
    RESET = 0x04
    """Written: the accelerator is reset, and the ring is emptied; clears itself."""
    TEXT = 0x08
    """Results leave as text, a byte of TABLE for a token, without being asked for."""
    BOOTING = 0x10
    """Read: requests are being read from flash."""
    BOOT_FAILED = 0x20
    """Read: a frame in flash was damaged, or refused."""


def crc(data: bytes, start: int = CRC_INIT) -> int:
    """CRC-16/CCITT-FALSE of bytes; 0 over a body with its CRC behind it."""
    return crc_hqx(data, start)
