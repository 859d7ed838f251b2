"""Five ternary weights in a byte, in the code that the lookup dot product reads without a decoder.

Bit 7 is a sign, bits 6..0 an index from 0 to 121: the place in the reflected ternary Gray sequence, counted
from its centre, where all five trits are 0. Neighbours in the sequence differ in one trit by one, so a table
of the sums for all indices is filled by adding or subtracting one activation a step; the sign negates all
five trits. 243 of the 256 bytes are codes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import TritforgeError

__all__ = ["ENTRIES", "TRITS_PER_BYTE", "decode_trits", "encode_trits", "gray_steps", "trit_table"]

TRITS_PER_BYTE = 5
ENTRIES = 122
"""Entries of a lookup table: the centre and 121 steps to one side."""


@lru_cache(maxsize=1)
def gray_steps() -> tuple[tuple[int, int], ...]:
    """The 121 steps (trit, +1 or -1) that walk from all zero through the second half of the Gray sequence.

    A base-3 counter starts at its centre 11111; each step increments it, and the trit that moves is the digit
    that is incremented, up if the digits above it have an even sum, else down.
    """
    digits = [1] * TRITS_PER_BYTE
    steps = []
    for _ in range(ENTRIES - 1):
        place = 0
        while digits[place] == 2:
            digits[place] = 0
            place += 1
        digits[place] += 1
        steps.append((place, 1 if sum(digits[place + 1 :]) % 2 == 0 else -1))
    return tuple(steps)


@lru_cache(maxsize=1)
def trit_table() -> NDArray[np.int8]:
    """(122, 5): the five trits of each index."""
    table = np.zeros((ENTRIES, TRITS_PER_BYTE), dtype=np.int8)
    for entry, (place, direction) in enumerate(gray_steps(), start=1):
        table[entry] = table[entry - 1]
        table[entry, place] += direction
    return table


@lru_cache(maxsize=1)
def _code_of_value() -> NDArray[np.uint8]:
    """(243,): byte for the trits t, indexed by sum((t[j] + 1) * 3**j)."""
    powers = 3 ** np.arange(TRITS_PER_BYTE)
    codes = np.zeros(3**TRITS_PER_BYTE, dtype=np.uint8)
    for entry, trits in enumerate(trit_table().astype(np.int64)):
        codes[int(((1 - trits) * powers).sum())] = entry | 0x80
        codes[int(((1 + trits) * powers).sum())] = entry  # all zero: no sign
    return codes


def encode_trits(trits: NDArray[Any]) -> NDArray[np.uint8]:
    """(..., 5) values in {-1, 0, +1} to (...,) bytes."""
    powers = 3 ** np.arange(TRITS_PER_BYTE)
    codes: NDArray[np.uint8] = _code_of_value()[((trits.astype(np.int16) + 1) * powers).sum(axis=-1)]
    return codes


def decode_trits(codes: NDArray[np.uint8]) -> NDArray[np.int8]:
    """(...,) bytes to (..., 5) trits.

    Raises
    ------
    TritforgeError
        For a byte that is no code (an index above 121, or a sign on all zero).
    """
    index = codes & 0x7F
    bad = (index >= ENTRIES) | (codes == 0x80)
    if bad.any():
        raise TritforgeError(f"byte 0x{int(codes[bad].flat[0]):02x} is no code of five trits")
    trits = trit_table()[index]
    return np.where((codes & 0x80).astype(bool)[..., None], -trits, trits)
