"""Adds terms pairwise, a register a level; a term keeps the one that its negation lacks as a carry."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from amaranth.hdl import C, Cat, Module, Signal, Value, signed

__all__ = ["Term", "add_terms", "levels"]


@dataclass(frozen=True)
class Term:
    """A number in two parts: value + carry.

    Inverting every bit of both negates it: ~value + ~carry = (-value - 1) + (1 - carry).

    Parameters
    ----------
    value
        Signed.
    carry
        One bit.
    """

    value: Value
    carry: Value

    def negated(self, by: Value) -> "Term":
        """Return the term, negated where the bit `by` is 1."""
        value = self.value ^ by.replicate(len(self.value))
        return Term(value[: len(self.value)].as_signed(), self.carry ^ by)


def levels(terms: int) -> int:
    """Return the levels of a tree that adds so many terms."""
    return (terms - 1).bit_length()


def _as_it_is(level: int, place: int, term: Term) -> Term:
    return term


def add_terms(
    m: Module,
    terms: Sequence[Term],
    before: Callable[[int, int, Term], Term] = _as_it_is,
    behind: Callable[[int, int, Term], Term] = _as_it_is,
) -> Term:
    """Return the sum of terms of one width, `levels` cycles later and as many bits wider.

    Of the two carries below an adder, one is its carry-in and the other one stays.

    Parameters
    ----------
    m
        Module that the adders are added to.
    terms
        What is added.
    before, behind
        Change the sum with number `place` of a level, from 1 on, before and behind its register. It is the
        sum of the terms from place << level on.
    """
    for level in range(1, levels(len(terms)) + 1):
        sums = []
        for place in range((len(terms) + 1) // 2):
            left, *right = terms[2 * place : 2 * place + 2]
            width = len(left.value) + 1
            total = left
            if right:
                # The lowest bits make a carry-in of the left term's carry.
                added = Cat(C(1, 1), left.value).as_signed() + Cat(left.carry, right[0].value).as_signed()
                total = Term((added >> 1)[:width].as_signed(), right[0].carry)
            else:
                total = Term(Cat(left.value, left.value[-1]).as_signed(), left.carry)
            total = before(level, place, total)
            value = Signal(signed(width), name=f"sum{level}_{place}")
            carry = Signal(name=f"carry{level}_{place}")
            m.d.sync += [value.eq(total.value), carry.eq(total.carry)]
            sums.append(behind(level, place, Term(value, carry)))
        terms = sums
    return terms[0]
