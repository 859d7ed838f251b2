"""`Measure` for several elements a cycle."""

from collections.abc import Callable

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.data import ArrayLayout
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from ..models.numerics import LEVEL_MAX, LEVEL_SHIFT, NORMAL, SQUARES_BITS, VECTOR, WEIGHT
from .arith import delay, one_of
from .measure import LEVEL_BITS, levels_of, shift_levels
from .scalars import PEAK_BITS

__all__ = ["WideMeasure"]

_SQUARE_BITS = 2 * NORMAL.bits - 1


class WideMeasure(wiring.Component):
    """`Measure`, a word of elements a cycle: the same numbers as if they came one by one.

    The level that an element meets is that of those before it and its own, also within a word. Squares are
    summed level by level, and what a sum loses by the levels after it is taken off at the end. Latency:
    `latency` cycles from a word to peak and energy, one more for each time that `width` can be halved; 3 to
    its products. Cost: two 16 x 16 bit multipliers an element, one for g, and for each level a tree of
    adders, an adder of `energy_bits` behind it and another for the end.

    Parameters
    ----------
    width
        Elements of a word, a power of two, at least 2; what is less than a word is filled up with 0.
    energy_bits
        Bits of the sums of squares; each square is at most 2**30.

    Attributes
    ----------
    clear : In(1)
        Begins a pass with the settings below, which are held while it lasts.
    projecting, own_energy : In
        See `Measure`.
    valid, elements : In
        A word.
    weights : In
        Its weights, in the cycle after it.
    product_valid, products, levels : Out
        Products of a projection's word, 3 cycles behind it, and the level at which each was taken.
    settled : Out(1)
        One more word is in the peak since this cycle.
    changed : Out(1)
        With `settled`: the peak, or its level, is another since this cycle; always at the first.
    level, peak, energy : Out
        Level of peak and energy; largest `|product|`; sum of squares.
    side_clear, side_valid, side : In; side_energy : Out
        Sum of the squares of other values (g). Follows 2 cycles behind.
    """

    def __init__(self, width: int, energy_bits: int = SQUARES_BITS) -> None:
        self._width = width
        super().__init__(
            {
                "clear": In(1),
                "projecting": In(1),
                "own_energy": In(1),
                "valid": In(1),
                "elements": In(ArrayLayout(signed(VECTOR.bits), width)),
                "weights": In(ArrayLayout(signed(WEIGHT.bits), width)),
                "product_valid": Out(1),
                "products": Out(ArrayLayout(signed(NORMAL.bits), width)),
                "levels": Out(ArrayLayout(LEVEL_BITS, width)),
                "settled": Out(1),
                "changed": Out(1),
                "level": Out(LEVEL_BITS),
                "peak": Out(PEAK_BITS),
                "energy": Out(energy_bits),
                "side_clear": In(1),
                "side_valid": In(1),
                "side": In(signed(NORMAL.bits)),
                "side_energy": Out(energy_bits),
            }
        )

    @staticmethod
    def latency_of(width: int) -> int:
        """See above."""
        return 6 + (width - 1).bit_length()

    @property
    def latency(self) -> int:
        """See above."""
        return self.latency_of(self._width)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        halvings = exact_log2(self._width)
        meet = 4 + halvings  # the cycle in which a word's largest product and sums of squares are here
        valid = delay(m, self.valid, meet, "valid")

        # Cycle 0: the elements raise the level, each for itself and for those behind it; 1: they are shifted,
        # the weights are here; 2: they are multiplied.
        passed = Signal(LEVEL_MAX)  # as `levels_of`
        levels: list[Value] = []
        rising: Value = passed
        for element in self.elements:
            rising = rising | (levels_of(element) & self.projecting.replicate(LEVEL_MAX))
            levels.append(rising)
        with m.If(self.clear):
            with m.If(self.projecting):
                m.d.sync += passed.eq(0)
        with m.Elif(self.valid):
            m.d.sync += passed.eq(rising)
        # Level of the word's last element, and of each.
        word_levels = delay(m, sum(rising), meet, "word_level", data=True)
        element_levels = [
            delay(m, sum(each), 3, f"level_of_{k}_", data=True) for k, each in enumerate(levels)
        ]
        sizes, squares = [], []
        for k, (element, weight, level) in enumerate(
            zip(self.elements, self.weights, element_levels, strict=True)
        ):
            held, whole = (
                Signal.like(element, name=f"element{k}", reset_less=True),
                Signal(signed(NORMAL.bits + WEIGHT.bits - 1), name=f"whole{k}", reset_less=True),
            )
            by = Signal.like(weight, name=f"weight{k}", reset_less=True)
            normal, normal3 = (
                Signal(signed(NORMAL.bits), name=f"{name}{k}", reset_less=True)
                for name in ("normal", "normal3")
            )
            product = whole[WEIGHT.bits - 1 :].as_signed()
            m.d.sync += [
                held.eq(element),
                normal.eq(shift_levels(held, level[1])),
                by.eq(weight),
                normal3.eq(normal),
                whole.eq(normal * by),
            ]
            m.d.comb += [self.products[k].eq(product), self.levels[k].eq(level[3])]
            # Cycle 3: the product's size at the word's level, and the square.
            size = Signal(PEAK_BITS, name=f"size{k}", reset_less=True)
            magnitude = Mux(product[-1], -product, product)[:PEAK_BITS]
            operand, square = (
                Signal(signed(NORMAL.bits), name=f"operand{k}"),
                Signal(_SQUARE_BITS, name=f"square{k}", reset_less=True),
            )
            m.d.comb += operand.eq(Mux(self.projecting, normal3, product))
            m.d.sync += [
                size.eq(shift_levels(magnitude, (word_levels[3] - level[3])[:LEVEL_BITS])),
                square.eq(operand * operand),
            ]
            sizes.append(size)
            squares.append(square)
        m.d.comb += self.product_valid.eq(valid[3] & self.projecting)

        # From cycle 4 on: the largest of two, and of two of those, ...; and the sums of the same level.
        largest = _halve(m, sizes, lambda a, b: Mux(a < b, b, a), "size")
        square_levels = [
            delay(m, each[3], 1, f"square_level{k}_")[1] for k, each in enumerate(element_levels)
        ]
        sums = [
            _halve(
                m,
                [
                    square & (level == at).replicate(_SQUARE_BITS)
                    for square, level in zip(squares, square_levels, strict=True)
                ],
                lambda a, b: a + b,
                f"sum{at}_",
            )
            for at in range(LEVEL_MAX + 1)
        ]

        first, meets = Signal(), Signal()
        level = word_levels[meet]
        before = shift_levels(self.peak, (level - self.level)[:LEVEL_BITS])
        larger = before < largest
        m.d.comb += meets.eq(valid[meet] & self.projecting)
        m.d.sync += [
            self.settled.eq(meets),
            self.changed.eq(meets & (larger | first | (level != self.level))),
        ]
        with m.If(self.clear):
            with m.If(self.projecting):
                m.d.sync += [self.peak.eq(0), self.level.eq(0), first.eq(1)]
        with m.Elif(meets):
            m.d.sync += [self.peak.eq(Mux(larger, largest, before)), self.level.eq(level), first.eq(0)]

        bits = len(self.energy)
        energies = [Signal(bits, name=f"energy{at}", reset_less=True) for at in range(LEVEL_MAX + 1)]
        gathering = ~self.projecting | self.own_energy
        for energy, added in zip(energies, sums, strict=True):
            with m.If(self.clear):
                with m.If(gathering):
                    m.d.sync += energy.eq(0)
            with m.Elif(valid[meet] & gathering):
                m.d.sync += energy.eq(energy + added)
        # Of the levels above this one nothing has come.
        total: Value = energies[0]
        totals = [total]
        for energy in energies[1:]:
            total = ((total >> 2 * LEVEL_SHIFT) + energy)[:bits]
            totals.append(total)
        m.d.sync += self.energy.eq(one_of((self.level == at, each) for at, each in enumerate(totals)))

        square, squared = Signal(_SQUARE_BITS, reset_less=True), Signal()
        m.d.sync += [square.eq(self.side * self.side), squared.eq(self.side_valid)]
        with m.If(self.side_clear):
            m.d.sync += self.side_energy.eq(0)
        with m.Elif(squared):
            m.d.sync += self.side_energy.eq(self.side_energy + square)
        return m


def _halve(m: Module, values: list[Value], two: Callable[[Value, Value], Value], name: str) -> Value:
    """What `two` makes of pairs of values, of pairs of those, and so on; a cycle for each time."""
    at = 0
    while len(values) > 1:
        results = []
        for k, (a, b) in enumerate(zip(values[::2], values[1::2], strict=True)):
            result = two(a, b)
            held = Signal(result.shape(), name=f"{name}{at}_{k}", reset_less=True)
            m.d.sync += held.eq(result)
            results.append(held)
        values, at = results, at + 1
    return values[0]
