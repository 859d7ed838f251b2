"""The baselines, from their definitions."""

import math
import random
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from tritforge.models.baselines import kneser_ney_bits, xz_bits
from tritforge.models.errors import TritforgeError


def test_order_1_by_hand() -> None:
    # Counts a 2, b 1: one symbol seen once, one twice, so D = 1 / (1 + 2) and
    # p(a) = (2 - 1/3) / 3 + (1/3 * 2 / 3) * 1/2 = 2/3.
    assert kneser_ney_bits("aab", "a", [1])[1] == pytest.approx(-math.log2(2 / 3))
    assert kneser_ney_bits("aab", "b", [1])[1] == pytest.approx(-math.log2(1 / 3))


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_the_probabilities_of_the_next_character_sum_to_1(order: int) -> None:
    text = "the cat sat on the mat, the hat"
    total = sum(2 ** -kneser_ney_bits(text, character, [order])[order] for character in set(text))
    assert total == pytest.approx(1)


def defined(train: str, context: str, character: str, alphabet: int) -> float:
    """Chen and Goodman's recursion, word for word, with dictionaries."""

    def grams(order: int) -> Counter[str]:
        return Counter(train[at : at + order] for at in range(len(train) - order + 1))

    def chance(context: str, top: bool) -> float:
        order = len(context) + 1
        counts = grams(order) if top else Counter(gram[1:] for gram in grams(order + 1))
        frequencies = Counter(counts.values())
        discount = frequencies[1] / (frequencies[1] + 2 * frequencies[2]) if frequencies[1] else 0.5
        lower = chance(context[1:], False) if context else 1 / alphabet
        followers = {gram[-1]: n for gram, n in counts.items() if gram[:-1] == context}
        if not followers:
            return lower
        total = sum(followers.values())
        own = max(followers.get(character, 0) - discount, 0)
        return (own + discount * len(followers) * lower) / total

    return chance(context, True)


@pytest.mark.parametrize("seed", range(3))
def test_it_equals_the_recursion_that_defines_it(seed: int) -> None:
    rng = random.Random(seed)
    text = "".join(rng.choice(["a", "b", "ab", "abc", "d "]) for _ in range(120))
    train, held_out = text[:150], text[150:]
    measured = kneser_ney_bits(train, held_out, [2, 4])
    for order in (2, 4):
        bits = [
            -math.log2(defined(train, text[at - order + 1 : at], text[at], len(set(text))))
            for at in range(len(train), len(text))
        ]
        assert measured[order] == pytest.approx(sum(bits) / len(bits))


def test_too_little_text_or_too_many_characters_are_refused() -> None:
    with pytest.raises(TritforgeError, match="7 characters are too few to count sequences of 7"):
        kneser_ney_bits("abcdefg", "a")
    with pytest.raises(TritforgeError, match="300 different characters are too many"):
        kneser_ney_bits("".join(map(chr, range(300))), "a")


@pytest.mark.skipif(shutil.which("xz") is None, reason="needs the program xz")
def test_xz_is_the_command_line_tools(tmp_path: Path) -> None:
    rng = random.Random(0)
    text = " ".join(rng.choice(["one", "two", "three", "five"]) for _ in range(3000))
    train, held_out = text[:9000], text[9000:]

    def size(part: str) -> int:
        return len(subprocess.run(["xz", "-9e"], input=part.encode(), capture_output=True, check=True).stdout)

    assert xz_bits(train, held_out) == (size(text) - size(train)) * 8 / len(held_out)
