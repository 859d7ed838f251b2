"""What a character model has to beat: a compressor, and counting characters.

Both figures are bits a character on held-out text, given the training text before it.
"""

import lzma
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import TritforgeError

__all__ = ["kneser_ney_bits", "xz_bits"]

Ids = NDArray[np.int64]


def xz_bits(train: str, held_out: str) -> float:
    """Compress held-out text behind the training text with xz at its best setting (``xz -9e``).

    Parameters
    ----------
    train, held_out : str
        Prepared text; `held_out` is not empty.

    Returns
    -------
    float
        Bits a character: size of both together minus the size of the first part.
    """
    preset = 9 | lzma.PRESET_EXTREME
    alone, both = (len(lzma.compress(text.encode(), preset=preset)) for text in (train, train + held_out))
    return (both - alone) * 8 / len(held_out)


def kneser_ney_bits(train: str, held_out: str, orders: Iterable[int] = (5, 6, 7)) -> dict[int, float]:
    """Measure interpolated Kneser-Ney models of several orders.

    Chen and Goodman, "An empirical study of smoothing techniques for language modeling", section 2.7: the
    highest order discounts counts, the lower ones discount the number of different characters seen before,
    each order by its own D = n1 / (n1 + 2 n2) (1/2 where n1 is 0), and order 1 is interpolated with a uniform
    distribution over the characters of both texts.

    Parameters
    ----------
    train, held_out : str
        Prepared text; the model is counted on `train`, and reads `held_out` as its continuation.
    orders : iterable of int
        Length of context plus one; V**(order + 1) must be below 2**63 for V different characters.

    Returns
    -------
    dict of int to float
        Order to bits a character of `held_out`.

    Raises
    ------
    TritforgeError
        If the training text is not longer than the highest order, or there are too many different characters.
    """
    orders = sorted(set(orders))
    symbols, ids = np.unique(np.array(list(train + held_out)), return_inverse=True)
    base, start, highest = len(symbols), len(train), orders[-1]
    if start <= highest:
        raise TritforgeError(f"{start} characters are too few to count sequences of {highest}")
    if base ** (highest + 1) >= 2**63:
        raise TritforgeError(f"{base} different characters are too many for Kneser-Ney of order {highest}")

    counted = [
        np.unique(_grams(ids[:start], order, base), return_counts=True) for order in range(1, highest + 2)
    ]
    # For each order, every held-out character with the characters before it as one number.
    asked = [_grams(ids[start - order + 1 :], order, base) for order in range(1, highest + 1)]
    lower = np.full(len(held_out), 1 / base)
    bits = {}
    for order in range(1, highest + 1):
        grams, counts = counted[order - 1]
        if order in orders:
            probability = _Level(grams, counts, base).interpolate(asked[order - 1], lower)
            bits[order] = float(-np.log2(probability).mean())
        continued, preceding = np.unique(counted[order][0] % base**order, return_counts=True)
        lower = _Level(continued, preceding, base).interpolate(asked[order - 1], lower)
    return bits


def _grams(ids: Ids, order: int, base: int) -> Ids:
    """Write every run of `order` ids as one number, the last id as its lowest digit."""
    length = len(ids) - order + 1
    grams = np.zeros(length, np.int64)
    for place in range(order):
        grams = grams * base + ids[place : place + length]
    return grams


@dataclass(frozen=True)
class _Level:
    """The counts of one order: sorted n-grams, each seen at least once."""

    grams: Ids
    counts: Ids
    base: int

    def interpolate(self, asked: Ids, lower: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the probability of each asked n-gram's last character, given those before it."""
        once, twice = np.count_nonzero(self.counts == 1), np.count_nonzero(self.counts == 2)
        # Where nothing was seen once, the estimate would be 0 and new characters impossible.
        discount = once / (once + 2 * twice) if once else 0.5
        contexts, first = np.unique(self.grams // self.base, return_index=True)
        totals = np.add.reduceat(self.counts, first)
        kinds = np.diff(np.append(first, len(self.grams)))

        seen = _look_up(self.grams, self.counts, asked)
        total = _look_up(contexts, totals, asked // self.base)
        kind = _look_up(contexts, kinds, asked // self.base)
        known = np.maximum(total, 1)
        own = (np.maximum(seen - discount, 0) + discount * kind * lower) / known
        return np.where(total > 0, own, lower)


def _look_up(keys: Ids, values: Ids, asked: Ids) -> Ids:
    """Return the value of each asked key, 0 where it is absent."""
    at = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
    return np.where(keys[at] == asked, values[at], 0)
