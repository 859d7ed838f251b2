import itertools

import numpy as np
import pytest
from numpy.typing import NDArray
from tritforge.models.errors import TritforgeError
from tritforge.models.trits import (
    ENTRIES,
    code_bits,
    decode_prefix,
    decode_trits,
    encode_prefix,
    encode_trits,
    entries,
    fill_steps,
    trit_table,
)


def reflected_gray(digits: int) -> list[tuple[int, ...]]:
    """The ternary reflected Gray sequence by its definition; the first digit changes most often."""
    if digits == 0:
        return [()]
    shorter = reflected_gray(digits - 1)
    return [
        (*word, top) for top, words in ((-1, shorter), (0, shorter[::-1]), (1, shorter)) for word in words
    ]


def all_trits(count: int) -> NDArray[np.int64]:
    return np.array(list(itertools.product((-1, 0, 1), repeat=count)))


ALL_TRITS = all_trits(5)
CODES = np.array([*range(122), *range(0x81, 0x80 + 122)], np.uint8)


@pytest.mark.parametrize("trits", [3, 5])
def test_a_table_has_the_centre_and_one_half_of_the_gray_sequence_but_for_signs(trits: int) -> None:
    assert (entries(trits), code_bits(trits)) == {3: (14, 5), 5: (122, 8)}[trits]
    assert entries(5) == ENTRIES
    half = reflected_gray(trits)[3**trits // 2 :]
    for entry, word in zip(trit_table(trits).tolist(), half, strict=True):
        assert tuple(entry) in (word, tuple(-trit for trit in word))


def test_the_first_entries_are_these() -> None:
    # Of the Gray sequence 00, +0, +-, 0-, --: the next step is down from entry 1, up from 4.
    assert trit_table()[:6].tolist() == [
        [0, 0, 0, 0, 0],
        [-1, 0, 0, 0, 0],
        [-1, 1, 0, 0, 0],
        [0, 1, 0, 0, 0],
        [-1, -1, 0, 0, 0],
        [-1, -1, 1, 0, 0],
    ]
    assert fill_steps()[:5] == ((0, True), (1, False), (0, False), (0, True), (2, False))


@pytest.mark.parametrize("trits", [3, 5])
def test_each_entry_is_the_one_before_plus_one_activation_negated_or_not(trits: int) -> None:
    table = trit_table(trits).astype(int)
    assert len(fill_steps(trits)) == len(table) - 1
    for before, after, (place, negate) in zip(table[:-1], table[1:], fill_steps(trits), strict=True):
        step = (-after if negate else after) - before
        assert step.tolist() == [int(j == place) for j in range(trits)]


def test_every_five_trits_have_one_code_and_come_back() -> None:
    codes = encode_trits(ALL_TRITS)
    assert codes.dtype == np.uint8
    assert sorted(codes.tolist()) == sorted(CODES.tolist())
    assert (decode_trits(codes) == ALL_TRITS).all()


def test_every_code_comes_back() -> None:
    assert (encode_trits(decode_trits(CODES)) == CODES).all()


def test_the_sign_negates_all_five() -> None:
    index = np.arange(1, 122, dtype=np.uint8)
    assert (decode_trits(index | np.uint8(0x80)) == -decode_trits(index)).all()
    assert decode_trits(np.zeros(1, np.uint8)).tolist() == [[0, 0, 0, 0, 0]]


def test_shapes_are_kept() -> None:
    trits = np.ones((2, 3, 5), np.int8)
    assert encode_trits(trits).shape == (2, 3)
    assert decode_trits(np.zeros((4, 2), np.uint8)).shape == (4, 2, 5)


@pytest.mark.parametrize("byte", sorted(set(range(256)) - set(CODES.tolist())))
def test_the_13_other_bytes_are_refused(byte: int) -> None:
    with pytest.raises(TritforgeError, match=f"^byte 0x{byte:02x} is no code of five trits$"):
        decode_trits(np.array([0, byte, 1], np.uint8))


def test_there_are_13_other_bytes() -> None:
    assert 256 - len(CODES) == 13


def test_three_trits_take_27_of_32_codes() -> None:
    three = all_trits(3)
    codes = encode_trits(three)
    assert sorted(codes.tolist()) == [*range(14), *range(17, 30)]
    assert (decode_trits(codes, 3) == three).all()
    for code in sorted(set(range(256)) - set(codes.tolist())):
        with pytest.raises(TritforgeError, match=f"^byte 0x{code:02x} is no code of three trits$"):
            decode_trits(np.array([code], np.uint8), 3)


def test_every_five_trits_have_one_prefix_code_and_come_back() -> None:
    codes = encode_prefix(ALL_TRITS)
    assert len(set(codes.tolist())) == 243
    assert (decode_prefix(codes) == ALL_TRITS).all()
    others = sorted(set(range(256)) - set(codes.tolist()))
    assert len(others) == 13
    for code in others:
        with pytest.raises(TritforgeError, match=f"^byte 0x{code:02x} is no code of five trits$"):
            decode_prefix(np.array([code], np.uint8))


@pytest.mark.parametrize(
    ("code", "digits"),
    [
        # Two bits each for the trits 0, 1 and 3, one for 2 and 4, where no pair of bits is 11.
        (0b0_00_0_00_00, [0, 0, 0, 0, 0]),
        (0b1_10_1_01_01, [1, 1, 1, 2, 1]),
        (0b0_01_0_10_10, [2, 2, 0, 1, 0]),
        # A pair that is 11 says that a trit above it is 2.
        (0b1_11_0_00_01, [1, 0, 0, 1, 2]),
        (0b0_00_1_00_11, [0, 1, 2, 0, 0]),
        (0b0_00_0_11_10, [2, 2, 2, 0, 0]),
        (0b010_111_01, [1, 2, 0, 2, 2]),
    ],
)
def test_prefix_codes_are_those_of_astc(code: int, digits: list[int]) -> None:
    trits = [-1 if digit == 2 else digit for digit in digits]
    assert decode_prefix(np.array([code], np.uint8)).tolist() == [trits]
