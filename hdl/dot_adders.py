"""Adds terms pairwise, a register a level; each may be negated, at next to no cost."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from amaranth.hdl import C, Cat, Module, Signal, Value, signed

from .arith import delay

__all__ = ["Term", "add_terms", "levels"]


@dataclass(frozen=True)
class Term:
    """A number in two parts, so that inverting every bit of both negates it.

    Parameters
    ----------
    value, carry
        The number is value + carry: a signed value and one bit.
    negative
        Whether the number shall be negated; None if never. It is early by `levels` and so on: see `add_terms`.
    """

    value: Value
    carry: Value


def levels(terms: int) -> int:
    """Return the levels of a tree that adds so many terms."""
    return (terms - 1).bit_length()


def inverted(term: Term, by: Value) -> Term:
    """Return the term, negated where `by` is 1."""
    return Term((term.value ^ by.replicate(len(term.value))).as_signed(), term.carry ^ by)
