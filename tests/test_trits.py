import itertools

import numpy as np
import pytest
from tritforge.models.errors import TritforgeError
from tritforge.models.trits import ENTRIES, decode_trits, encode_trits, gray_steps, trit_table


def reflected_gray(digits: int) -> list[tuple[int, ...]]:
    """The ternary reflected Gray sequence by its definition; the first digit changes most often."""
    if digits == 0:
        return [()]
    shorter = reflected_gray(digits - 1)
    return [
        (*word, top) for top, words in ((-1, shorter), (0, shorter[::-1]), (1, shorter)) for word in words
    ]


ALL_TRITS = np.array(list(itertools.product((-1, 0, 1), repeat=5)))
CODES = np.array([*range(122), *range(0x81, 0x80 + 122)], np.uint8)


def test_a_table_has_the_centre_and_one_half_of_the_gray_sequence() -> None:
    assert ENTRIES == 122
    centre = 3**5 // 2
    assert trit_table().tolist() == [list(word) for word in reflected_gray(5)[centre:]]


def test_the_first_entries_are_these() -> None:
    assert trit_table()[:6].tolist() == [
        [0, 0, 0, 0, 0],
        [1, 0, 0, 0, 0],
        [1, -1, 0, 0, 0],
        [0, -1, 0, 0, 0],
        [-1, -1, 0, 0, 0],
        [-1, -1, 1, 0, 0],
    ]
    assert gray_steps()[:5] == ((0, 1), (1, -1), (0, -1), (0, -1), (2, 1))


def test_neighbours_differ_in_one_trit_by_one_across_the_sign_too() -> None:
    half = trit_table().astype(int)
    sequence = np.concatenate([-half[:0:-1], half])
    assert len(sequence) == 243
    steps = np.diff(sequence, axis=0)
    assert (np.abs(steps).sum(axis=1) == 1).all()


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
