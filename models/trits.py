"""Ternary weights packed for each kind of dot product, in a code that its hardware reads cheaply.

*Table codes* (`encode_trits`) are addresses of tables of sums: the highest bit is a sign, the others an
index. Five trits take 8 bits, three take 5. The entries follow the ternary reflected Gray sequence from its
centre, where all trits are 0: neighbours differ in one trit by one, so each entry is the one before plus or
minus one activation. A table holds each sum with the sign that lets the next step always add: an entry is the
one before plus an activation, and negated where the sequence turns (`fill_steps`). The sign bit negates all
trits.

*Prefix codes* (`encode_prefix`) are decoded into trits by three four-input tables a trit, a quarter of what a
number in base 3 takes. They are those of ASTC's integer sequences (Khronos Data Format Specification): two
bits a trit, where 11 is no trit, so it can tell that a trit is 2 and that its bits stand for another one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import TritforgeError

__all__ = [
    "CODES",
    "ENTRIES",
    "TRITS_PER_BYTE",
    "Code",
    "code_bits",
    "decode_prefix",
    "decode_trits",
    "encode_prefix",
    "encode_trits",
    "entries",
    "fill_steps",
    "trit_table",
]

TRITS_PER_BYTE = 5


def entries(trits: int) -> int:
    """Return the entries of a table: the centre, and the steps to one side."""
    return (int(3**trits) + 1) // 2


ENTRIES = entries(TRITS_PER_BYTE)
"""Entries of a table for five trits: 122."""


def code_bits(trits: int) -> int:
    """Return the bits of a table code: 8 for 5 trits, 5 for 3."""
    return 1 + (entries(trits) - 1).bit_length()


@lru_cache
def fill_steps(trits: int = TRITS_PER_BYTE) -> tuple[tuple[int, bool], ...]:
    """Return the steps (trit, whether to negate) that fill a table from entry 0, which is 0.

    A base-3 counter starts at its centre 11...1; each step increments it, and the trit that moves is the
    digit that is incremented, up if the digits above it have an even sum, else down. Up adds an activation to
    the sum, and down to its negative: the sum is negated behind a step if the next one goes the other way.
    Behind the last step the counter is all 2, and goes up.
    """
    digits = [1] * trits
    places, ups = [], []
    for _ in range(entries(trits) - 1):
        place = next(j for j in range(trits) if digits[j] != 2)
        places.append(place)
        ups.append(sum(digits[place + 1 :]) % 2 == 0)
        digits[: place + 1] = [0] * place + [digits[place] + 1]
    turns = [up != following for up, following in zip(ups, [*ups[1:], True], strict=True)]
    return tuple(zip(places, turns, strict=True))


@lru_cache
def trit_table(trits: int = TRITS_PER_BYTE) -> NDArray[np.int8]:
    """(entries, trits): the trits of each index."""
    table = np.zeros((entries(trits), trits), dtype=np.int8)
    for entry, (place, negate) in enumerate(fill_steps(trits), start=1):
        table[entry] = table[entry - 1]
        table[entry, place] += 1
        if negate:
            table[entry] = -table[entry]
    return table


def _numbers(trits: NDArray[Any]) -> NDArray[np.int64]:
    """(..., n) trits to (...,) numbers: the sum of (t[j] + 1) * 3**j."""
    powers = 3 ** np.arange(trits.shape[-1])
    numbers: NDArray[np.int64] = ((trits.astype(np.int64) + 1) * powers).sum(axis=-1)
    return numbers


@lru_cache
def _code_of_number(trits: int) -> NDArray[np.uint8]:
    table = trit_table(trits)
    codes = np.zeros(3**trits, dtype=np.uint8)
    index = np.arange(len(table), dtype=np.uint8)
    codes[_numbers(-table)] = index | 1 << (code_bits(trits) - 1)
    codes[_numbers(table)] = index    # all zero: no sign
    return codes


def encode_trits(trits: NDArray[Any]) -> NDArray[np.uint8]:
    """(..., n) values in {-1, 0, +1} to (...,) table codes, for n = 5 or 3."""
    codes: NDArray[np.uint8] = _code_of_number(trits.shape[-1])[_numbers(trits)]
    return codes


def decode_trits(codes: NDArray[np.uint8], trits: int = TRITS_PER_BYTE) -> NDArray[np.int8]:
    """(...,) table codes to (..., trits) values.

    Raises
    ------
    TritforgeError
        For a number that is no code: its index is too high, or there is a sign on all zero.
    """
    sign = 1 << (code_bits(trits) - 1)
    index = codes & (sign - 1)
    _refuse((index >= entries(trits)) | (codes == sign) | (codes >= 2 * sign), codes, trits)
    found = trit_table(trits)[index]
    return np.where((codes & sign).astype(bool)[..., None], -found, found)


def _prefix_digits(code: int) -> list[int]:
    """Return the five digits 0, 1, 2 that a byte holds."""
    high, low = code >> 5 & 3, code & 0b11111
    if code >> 2 & 7 == 7:
        last, low = [2, 2], code >> 3 & 0b11100 | code & 3
    elif high == 3:
        last = [code >> 7, 2]
    else:
        last = [high, code >> 7]
    if low & 3 == 3:
        first = [low >> 2 & 2 | (low >> 2 & ~low >> 3 & 1), low >> 4, 2]
    elif low >> 2 & 3 == 3:
        first = [low & 3, 2, 2]
    else:
        first = [low & 2 | (low & ~low >> 1 & 1), low >> 2 & 3, low >> 4]
    return first + last


@lru_cache(maxsize=1)
def _prefix_table() -> NDArray[np.int8]:
    """(256, 5): the trits of each byte; digit 2 is -1."""
    digits = np.array([_prefix_digits(code) for code in range(256)], np.int8)
    return np.where(digits == 2, -1, digits).astype(np.int8)


@lru_cache(maxsize=1)
def _prefix_of_number() -> NDArray[np.uint8]:
    codes = np.zeros(3**TRITS_PER_BYTE, np.uint8)
    codes[_numbers(_prefix_table())[::-1]] = np.arange(256, dtype=np.uint8)[::-1]    # the lowest of several
    return codes


def encode_prefix(trits: NDArray[Any]) -> NDArray[np.uint8]:
    """(..., 5) values in {-1, 0, +1} to (...,) prefix codes."""
    codes: NDArray[np.uint8] = _prefix_of_number()[_numbers(trits)]
    return codes


def decode_prefix(codes: NDArray[np.uint8]) -> NDArray[np.int8]:
    """(...,) prefix codes to (..., 5) values.

    Raises
    ------
    TritforgeError
        For one of the 13 bytes that mean the same as a lower one.
    """
    trits: NDArray[np.int8] = _prefix_table()[codes]
    _refuse(encode_prefix(trits) != codes, codes, TRITS_PER_BYTE)
    return trits


def _refuse(bad: NDArray[np.bool_], codes: NDArray[np.uint8], trits: int) -> None:
    if bad.any():
        count = {5: "five", 3: "three"}.get(trits, trits)
        raise TritforgeError(f"byte 0x{int(codes[bad].flat[0]):02x} is no code of {count} trits")


@dataclass(frozen=True)
class Code:
    """How weights are written for a kind of dot product.

    Parameters
    ----------
    trits
        Weights of a code.
    steps
        Cycles in which the dot product takes in a column block's activations; so many rows hide them.
    encode, decode
        (..., trits) weights to (...,) codes, and back; a number that is no code raises `TritforgeError`.
    """

    trits: int
    steps: int
    encode: Callable[[NDArray[Any]], NDArray[np.uint8]]
    decode: Callable[[NDArray[np.uint8]], NDArray[np.int8]]

    @property
    def bits(self) -> int:
        """Bits of a code."""
        return code_bits(self.trits)

    def pack(self, codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(..., n) codes to (..., bytes) of them one behind another, the first in the lowest bits."""
        if self.bits == 8:
            return codes
        bits = np.unpackbits(codes[..., None], axis=-1, count=self.bits, bitorder="little")
        return np.packbits(bits.reshape(*codes.shape[:-1], -1), axis=-1, bitorder="little")

    def unpack(self, data: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
        """(..., bytes) to the (..., count) codes that `pack` has put there."""
        if self.bits == 8:
            return data[..., :count]
        bits = np.unpackbits(data, axis=-1, count=count * self.bits, bitorder="little")
        codes = np.packbits(bits.reshape(*data.shape[:-1], count, self.bits), axis=-1, bitorder="little")
        return codes[..., 0]


CODES: Mapping[str, Code] = {
    "lookup": Code(TRITS_PER_BYTE, ENTRIES, encode_trits, decode_trits),
    "lutram": Code(3, entries(3), encode_trits, partial(decode_trits, trits=3)),
    "tree": Code(TRITS_PER_BYTE, TRITS_PER_BYTE, encode_prefix, decode_prefix),
}
"""By kind of dot product: by lookup in block RAM, in lookup tables used as memory, or by a tree of adders."""
