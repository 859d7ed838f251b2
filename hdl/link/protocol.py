"""The link's protocol: frames, commands and address spaces, written down once for both ends.

docs/link.md explains it. A host asks, the device answers each request with one response; everything a host
reads stays where it is until the host says that it has it, so any request may be repeated.
"""

from __future__ import annotations

import enum
from binascii import crc_hqx

__all__ = [
    "BUFFER_BYTES",
    "CHECK_BYTES",
    "COUNTER_BYTES",
    "CRC_BYTES",
    "CRC_INIT",
    "ESCAPE",
    "ESCAPE_XOR",
    "EVERY_CAUSE",
    "FLAG",
    "HEADER_BYTES",
    "IDENTITY_ADDRESS",
    "IDENTITY_BYTES",
    "LAST",
    "MOST_COUNT",
    "MOST_DATA",
    "PROTOCOL",
    "REVERSED",
    "RING_WORDS",
    "SETTINGS_BYTES",
    "TABLE_ENTRIES",
    "Control",
    "Space",
    "Status",
    "Verb",
    "crc",
]

PROTOCOL = 1
"""Version; a device that answers another one is refused."""

FLAG, ESCAPE, ESCAPE_XOR = 0x7E, 0x7D, 0x20
"""Framing as in RFC 1662: a FLAG on both sides; inside, FLAG and ESCAPE become ESCAPE and the byte ^ 0x20."""

REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
"""Byte -> how it stands in flash: a UART's first bit is a byte's lowest, an SPI flash's the highest."""

CRC_INIT = 0xFFFF
CRC_BYTES = 2
"""CRC-16/CCITT-FALSE, the high byte first: over body and CRC it is 0."""

HEADER_BYTES = 5
"""Of a request: verb and space, address in words (2 bytes, the low one first), count, number."""
MOST_DATA = 120
"""Most data bytes of a request or response."""
MOST_COUNT = 127
"""Greatest count that is not refused."""
CHECK_BYTES = 256
"""A CHECK's block."""
RING_WORDS = 128
"""Words of results that the device keeps until the host has taken them."""
BUFFER_BYTES = 512
"""The device's buffer, one block RAM: a request, text table and identity, the ring."""
TABLE_ENTRIES = 110
"""Tokens whose text the device knows."""
IDENTITY_ADDRESS, IDENTITY_BYTES = TABLE_ENTRIES // 2, 18
"""Behind the text table: PROTOCOL, 0, BUILD (8 bytes), CONFIG (the configuration's hash, 8 bytes of it)."""
SETTINGS_BYTES = 12
"""Of `settings.SETTINGS`."""
EVERY_CAUSE = 0x1F
"""As the settings' cause: all cycles in which the accelerator is not idle are counted."""
COUNTER_BYTES = 4
"""Of the counter, read as one."""
LAST = 0x8000
"""Set in a token's word when the accelerator now waits for the host."""


class Verb(enum.IntEnum):
    """High half of a request's command, one bit for each."""

    READ = 0x00
    """Answer with `count` bytes."""
    WRITE = 0x10
    """Obey the `count` data bytes in their order."""
    CHECK = 0x20
    """As READ, but the data are only counted into the CRC; up to the end of `count` blocks."""
    OPEN = 0x40
    """As READ; opens a session, and ends text mode."""


class Space(enum.IntEnum):
    """Low half of a request's command: what the address means."""

    SETTINGS = 0x0
    """WRITE: SETTINGS_BYTES of settings. READ: the counter, COUNTER_BYTES."""
    WEIGHTS = 0x1
    """The weight memory."""
    PROGRAM = 0x2
    """The program memory, to be written."""
    STATE = 0x3
    """h of all layers."""
    RING = 0x4
    """Results, to be read; the address is the position, modulo 256, and what was before it has been taken."""
    TABLE = 0x5
    """The text of each token, a byte; behind it the identity."""
    TOKENS = 0x6
    """Written: tokens to consume, one after another."""
    CONTROL = 0x7
    """Written without data: the address is `Control`."""
    CHOOSE = 0xE
    """Written: a token to consume, after which `address` tokens are chosen."""
    POSITION = 0xF
    """Written, one word: a new position, with the address as its upper half."""


class Status(enum.IntFlag):
    """A response's second byte."""

    IDLE = 0x01
    """The accelerator waits for a token; as it was before the request was obeyed."""
    TEXT = 0x02
    """Results leave as text."""
    BOOT_FAILED = 0x04
    """No whole set of frames was in flash."""
    REFUSED = 0x40
    """Nothing was done: not while the accelerator runs, or too great a count."""
    OPEN = 0x80
    """A session is open; if not, nothing was done."""


class Control(enum.IntFlag):
    """Address of a WRITE to CONTROL."""

    HALT = 0x01
    """A generation ends at its next token, until HALT is cleared."""
    TEXT = 0x02
    """Results leave as text, a byte of TABLE for a token, without being asked for."""
    RESET = 0x04
    """The accelerator, the counter and the ring are reset; clears itself."""


def crc(data: bytes, start: int = CRC_INIT) -> int:
    """CRC-16/CCITT-FALSE of bytes; 0 over a body with its CRC behind it."""
    return crc_hqx(data, start)
