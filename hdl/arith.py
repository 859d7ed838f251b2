"""Small arithmetic that several units share."""

from collections.abc import Iterable
from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Module, Mux, Signal, Value

__all__ = ["bit_length", "clamp", "delay", "one_of", "shift_add"]


def clamp(value: Value, bits: int) -> tuple[Value, Value]:
    """A signed `value` clamped to `bits` bits, and whether it did not fit."""
    sign = value[-1]
    outside = value[bits - 1 :] != sign.replicate(len(value) - bits + 1)
    limit = Cat((~sign).replicate(bits - 1), sign)
    return Mux(outside, limit, value[:bits]).as_signed(), outside


def delay(m: Module, value: Value, cycles: int, name: str, *, data: bool = False) -> list[Value]:
    """`value` after 0, 1, ... `cycles` cycles; `data` means something only beside a valid bit: no reset."""
    stages = [value]
    for k in range(cycles):
        stage = Signal(value.shape(), name=f"{name}{k + 1}", reset_less=data)
        m.d.sync += stage.eq(stages[-1])
        stages.append(stage)
    return stages


def bit_length(m: Module, value: Value, name: str) -> Signal:
    """Number of bits that an unsigned `value` needs: 0 for 0."""
    length = Signal(range(len(value) + 1), name=name)
    for k in range(len(value)):
        with m.If(value[k]):
            m.d.comb += length.eq(k + 1)
    return length


def one_of(values: Iterable[tuple[Value, Value]]) -> Value:
    """The value whose condition is high, of which at most one is; else 0. Values: unsigned, of one width."""
    return reduce(or_, (value & chosen.replicate(len(value)) for chosen, value in values))


def shift_add(high: Value, value: Value, by: Value) -> Value:
    """`high`, as wide as `value`, plus `value` times `by`: small factors are no use of a DSP block.

    A choice behind an adder shares its lookup tables; one before it, as an AND, would not.
    """
    low: list[Value] = []
    for each in by:
        high = Mux(each, high + value, high)[: len(value) + 1]
        low.append(high[0])
        high = high[1:]
    return Cat(*low, high)
