"""Products of a vector's elements and norm weights, with their peak or their energy."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..models.numerics import LEVEL_MAX, LEVEL_SHIFT, NORMAL, SQUARES_BITS, VECTOR, WEIGHT
from .arith import delay, one_of
from .scalars import PEAK_BITS

__all__ = ["LEVEL_BITS", "Measure", "levels_of", "shift_levels"]

LEVEL_BITS = 2


def levels_of(element: Value) -> Value:
    """Bit k: at level k a VECTOR `element` does not fit NORMAL."""
    size = element[:-1] ^ element[-1].replicate(VECTOR.bits - 1)
    return Cat(size[NORMAL.bits - 1 + LEVEL_SHIFT * k :].any() for k in range(LEVEL_MAX))


def shift_levels(value: Value, levels: Value, bits: int = LEVEL_SHIFT) -> Value:
    """`value` shifted right by `bits` a level."""
    choices = [value >> bits * k for k in range(LEVEL_MAX + 1)]
    return Array(choices)[levels]


class Measure(wiring.Component):
    """Normalises elements as they come, multiplies them by weights, and keeps peak and energy.

    With `projecting` high: products for the quantiser (`numerics.running_levels`, `product`), their
    `running_peak`, and with `own_energy` the elements' `running_squares`. Low: the energy alone, `squares` of
    the products, at the level that the last projection has reached. An element a cycle. Latency: `latency`
    cycles from an element to peak and energy, 3 to its product. Cost: two 16 x 16 bit multipliers, an adder
    of `energy_bits`, one of a square's bits, and a short one for its carries.

    Parameters
    ----------
    energy_bits
        Bits of the sums of squares; each square is at most 2**30.

    Attributes
    ----------
    clear : In(1)
        Begins a pass with the settings below, which are held while it lasts.
    projecting, own_energy : In
        See above.
    valid, element : In
        An element.
    weight : In
        Its weight, in the cycle after it.
    product_valid, product : Out
        A product of a projection, 3 cycles behind its element.
    settled : Out(1)
        One more product is in the peak since this cycle, the second after `product_valid`.
    changed : Out(1)
        With `settled`: the peak, or its level, is another since this cycle; always at the first.
    rise : Out
        With `settled`: levels gained at this element.
    level, peak, energy : Out
        Level of peak and energy; largest `|product|`, which is shifted a cycle before a level is gained; sum
        of squares.
    side_clear, side_valid, side : In; side_energy : Out
        Sum of the squares of other values (g), which share the multiplier: they must not come during a pass
        that needs it. Follows 2 cycles behind.
    """

    latency = 5

    def __init__(self, energy_bits: int = SQUARES_BITS) -> None:
        super().__init__(
            {
                "clear": In(1),
                "projecting": In(1),
                "own_energy": In(1),
                "valid": In(1),
                "element": In(signed(VECTOR.bits)),
                "weight": In(signed(WEIGHT.bits)),
                "product_valid": Out(1),
                "product": Out(signed(NORMAL.bits)),
                "settled": Out(1),
                "changed": Out(1),
                "rise": Out(LEVEL_BITS),
                "level": Out(LEVEL_BITS),
                "peak": Out(PEAK_BITS),
                "energy": Out(energy_bits),
                "side_clear": In(1),
                "side_valid": In(1),
                "side": In(signed(NORMAL.bits)),
                "side_energy": Out(energy_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        valid = delay(m, self.valid, 4, "valid")

        # Cycle 0: the element raises the level; 1: it is shifted, the weight is here; 2: they are multiplied.
        passed, gained = Signal(LEVEL_MAX), Signal(LEVEL_MAX)  # as `levels_of`
        rise = Signal(LEVEL_BITS, reset_less=True)
        m.d.comb += gained.eq(
            levels_of(self.element) & ~passed & (self.valid & self.projecting).replicate(LEVEL_MAX)
        )
        with m.If(self.clear):
            with m.If(self.projecting):
                m.d.sync += passed.eq(0)
        with m.Elif(self.valid):
            m.d.sync += passed.eq(passed | gained)
        newest = Signal(LEVEL_BITS)
        m.d.comb += newest.eq(sum(passed))
        m.d.sync += rise.eq(sum(gained))
        rises = delay(m, rise, 3, "rise", data=True)

        element = Signal(signed(VECTOR.bits), reset_less=True)
        weight = Signal(signed(WEIGHT.bits), reset_less=True)
        normal, normal3 = (
            Signal(signed(NORMAL.bits), name=name, reset_less=True) for name in ("normal", "normal3")
        )
        # Whole, as a multiplier block's own register holds it, but for its highest bit: it is the sign twice.
        whole = Signal(signed(NORMAL.bits + WEIGHT.bits - 1), reset_less=True)
        product = whole[WEIGHT.bits - 1 :].as_signed()
        m.d.sync += [
            element.eq(self.element),
            normal.eq(shift_levels(element, newest)),
            weight.eq(self.weight),
            normal3.eq(normal),
            whole.eq(normal * weight),
        ]
        m.d.comb += [self.product.eq(product), self.product_valid.eq(valid[3] & self.projecting)]

        # Cycle 3: the product's size; 4: it meets the peak. A level that the next element gains shifts the
        # larger of the two; both are shifted while they are compared.
        # In the place of a size that does not count stands 0, so that nothing but the comparison decides.
        size = Signal(PEAK_BITS, reset_less=True)
        with m.If(self.product_valid):
            m.d.sync += size.eq(Mux(product[-1], -product, product))
        with m.Else():
            m.d.sync += size.eq(0)
        first = Signal()
        meets, larger = Signal(), Signal()
        m.d.comb += [
            larger.eq(self.peak < size),
            meets.eq(valid[4] & self.projecting),
        ]
        grew, other = Signal(), Signal()
        m.d.sync += [
            self.rise.eq(rises[3]),
            self.settled.eq(meets),
            grew.eq(larger),
            other.eq((rises[3] != 0) | first),
        ]
        m.d.comb += self.changed.eq(self.settled & (grew | other))
        with m.If(self.clear):
            with m.If(self.projecting):
                m.d.sync += [self.peak.eq(0), self.level.eq(0), first.eq(1)]
        with m.Else():
            # No choice of which the peak itself is one: that would become an enable, which takes longer.
            kept = one_of((rises[2] == k, self.peak >> LEVEL_SHIFT * k) for k in range(LEVEL_MAX + 1))
            m.d.sync += self.peak.eq(Mux(larger, shift_levels(size, rises[2]), kept))
            with m.If(meets):
                m.d.sync += [self.level.eq(self.level + rises[3]), first.eq(0)]

        operand = Signal(signed(NORMAL.bits))
        # Its highest bit, 0, keeps the carry of the sum below in a lookup table of the chain.
        square = Signal(2 * NORMAL.bits, reset_less=True)
        side_square = delay(m, self.side_valid, 1, "side_square")[-1]
        m.d.comb += operand.eq(Mux(self.side_valid, self.side, Mux(self.projecting, normal3, product)))
        m.d.sync += square.eq(operand * operand)
        # Both sums are cleared by their flip-flops' reset, which nothing else may take: as one more input of
        # an adder's cells it would make nextpnr break the carry chain.
        side_energy = Signal(len(self.energy), reset_less=True)
        m.d.comb += self.side_energy.eq(side_energy)
        with m.If(self.side_clear):
            m.d.sync += side_energy.eq(0)
        with m.Elif(side_square):
            m.d.sync += side_energy.eq(side_energy + square)
        # Above a square's bits only carries are added, each a cycle late: so the carry chain is shorter.
        low = Signal(len(square) - 1, reset_less=True)
        carry = Signal(reset_less=True)
        high = Signal(len(self.energy) - len(low), reset_less=True)
        m.d.comb += self.energy.eq(Cat(low, (high + carry)[: len(high)]))
        # The lower half, from which carries go furthest, has a register of its own near by; inverted, since
        # synthesis makes one of two that are equal.
        unrisen = Signal(LEVEL_BITS, init=-1, reset_less=True)
        m.d.sync += unrisen.eq(~rises[2])
        lower, upper = (shift_levels(self.energy, by, 2 * LEVEL_SHIFT) for by in (~unrisen, rises[3]))
        half = len(low) // 2
        shifted = Cat(lower[:half], upper[half:])
        gathering = ~self.projecting | self.own_energy
        with m.If(self.clear):
            with m.If(gathering):
                m.d.sync += Cat(low, carry, high).eq(0)
        with m.Elif(valid[4] & gathering):
            m.d.sync += [Cat(low, carry).eq(shifted[: len(low)] + square), high.eq(shifted[len(low) :])]
        return m
