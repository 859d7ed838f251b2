"""RMS statistics and the int8 quantiser of a BitLinear's input."""

from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..models.numerics import INT8, NORMAL, SQUARES_BITS, VECTOR, WEIGHT
from .arith import bit_length, delay
from .isa import COUNT_BITS
from .scalars import PEAK_BITS, Reciprocal

__all__ = ["NormUnit", "Quantiser"]


class Quantiser(wiring.Component):
    """`numerics.quantise`: product * factor / 2**shift to nearest, ties away from zero, in -128 .. 127.

    Latency: 2 cycles. Cost: a 16 x 16 bit multiplier and a 31-bit shifter.

    Attributes
    ----------
    product : In
        NORMAL, -2**15 + 1 to 2**15 - 1.
    factor, shift : In
        From `Reciprocal`; held.
    q : Out
        INT8.
    """

    latency = 2

    def __init__(self) -> None:
        super().__init__(
            {
                "product": In(signed(NORMAL.bits)),
                "factor": In(15),
                "shift": In(5),
                "q": Out(signed(INT8.bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        sign = self.product[-1]
        size = Signal(PEAK_BITS)
        m.d.comb += size.eq(Mux(sign, -self.product, self.product))
        wide = Signal(2 * PEAK_BITS)
        negative = Signal()
        m.d.sync += [wide.eq(size * self.factor), negative.eq(sign)]
        shifted = Signal(len(wide))
        magnitude = Signal(len(wide))
        limit = Signal(INT8.bits)
        m.d.comb += [
            shifted.eq(wide >> (self.shift - 1)[:5]),
            magnitude.eq((shifted + 1) >> 1),
            limit.eq(INT8.high + negative),
        ]
        clipped = Signal(INT8.bits)
        m.d.comb += clipped.eq(Mux(magnitude > limit, limit, magnitude))
        m.d.sync += self.q.eq(Mux(negative, -clipped, clipped))
        return m


class NormUnit(wiring.Component):
    """Passes over a vector, an element a cycle, beside its weights.

    With `project` low, one pass: the energy, the sum of squares of vector times weights. With `project` high,
    two passes over the same gain: the first finds the largest |product| (with `own_energy` also the sum of
    the vector's squares), the second writes the int8 inputs. Latency from `start` to `done`: `count` + 8
    cycles, or 2 `count` + 34 with `project`. Cost: three 16 x 16 bit multipliers, a 32-bit shifter, a 46-bit
    adder.

    Attributes
    ----------
    start : In(1)
        Begins with the settings below, which are held until `done`.
    project, own_energy, count :
        See above; elements of the vector.
    magnitude : In
        `numerics.magnitude_or` of the vector.
    weights : In(stream)
        WEIGHT elements, `count` for each pass.
    unpack : Out(1)
        A pass begins: its `count` weights are wanted.
    address, vector :
        Read port of the vector memory.
    q_write, q, q_address, q_lane : Out
        Int8 input `q` for byte `q_lane` of activation word `q_address`.
    peak, energy, norm_shift : Out
        Largest |product|, sum of squares, the shift that both were taken at; valid until the next start.
    measured : Out(1)
        Peak and energy of a projection are valid from this cycle on; a pulse.
    done : Out(1)
        A pulse at the end.
    side_clear, side_valid, side : In; side_energy : Out
        Sum of the squares of other values (g) since `side_clear`; they come while the unit is idle and share
        its multiplier. `side_energy` follows 2 cycles behind.
    """

    latency = 6

    def __init__(self, tables: int, words: int) -> None:
        self._tables = tables
        super().__init__(
            {
                "start": In(1),
                "project": In(1),
                "own_energy": In(1),
                "count": In(COUNT_BITS),
                "magnitude": In(VECTOR.bits - 1),
                "weights": In(stream.Signature(unsigned(WEIGHT.bits))),
                "unpack": Out(1),
                "address": Out(COUNT_BITS),
                "vector": In(signed(VECTOR.bits)),
                "q_write": Out(1),
                "q": Out(signed(INT8.bits)),
                "q_address": Out(range(words)),
                "q_lane": Out(range(tables)),
                "peak": Out(PEAK_BITS),
                "energy": Out(SQUARES_BITS),
                "norm_shift": Out(5),
                "measured": Out(1),
                "done": Out(1),
                "side_clear": In(1),
                "side_valid": In(1),
                "side": In(signed(NORMAL.bits)),
                "side_energy": Out(SQUARES_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.reciprocal = reciprocal = Reciprocal()
        m.submodules.quantiser = quantiser = Quantiser()
        element = Signal(COUNT_BITS)
        drain = Signal(range(self.latency + 1))
        running, second = Signal(), Signal()
        taken = Signal()

        length = bit_length(m, self.magnitude, "length")
        m.d.comb += [
            self.weights.ready.eq(running),
            taken.eq(self.weights.valid & running),
            self.address.eq(element),
            reciprocal.peak.eq(self.peak),
        ]
        with m.If(taken):
            m.d.sync += element.eq(element + 1)
        with m.FSM():
            with m.State("IDLE"):
                with m.If(self.start):
                    m.d.sync += [
                        self.norm_shift.eq(Mux(length > NORMAL.bits - 1, length - (NORMAL.bits - 1), 0)),
                        self.peak.eq(0),
                        second.eq(0),
                    ]
                    with m.If(~self.project | self.own_energy):
                        m.d.sync += self.energy.eq(0)
                    m.next = "BEGIN"
            with m.State("BEGIN"):
                m.d.comb += self.unpack.eq(1)
                m.d.sync += [
                    element.eq(0),
                    running.eq(1),
                    drain.eq(self.latency),
                    self.q_address.eq(0),
                    self.q_lane.eq(0),
                ]
                m.next = "PASS"
            with m.State("PASS"):
                with m.If(taken & (element + 1 == self.count)):
                    m.d.sync += running.eq(0)
                    m.next = "DRAIN"
            with m.State("DRAIN"):
                m.d.sync += drain.eq(drain - 1)
                with m.If(drain == 0):
                    with m.If(self.project & ~second):
                        m.d.comb += [reciprocal.start.eq(1), self.measured.eq(1)]
                        m.next = "RECIPROCAL"
                    with m.Else():
                        m.d.comb += self.done.eq(1)
                        m.next = "IDLE"
            with m.State("RECIPROCAL"):
                m.d.sync += second.eq(1)
                with m.If(reciprocal.done):
                    m.next = "BEGIN"

        valid = delay(m, taken, 5, "valid")
        weight = Signal(signed(WEIGHT.bits))
        weight2 = Signal(signed(WEIGHT.bits))
        normal = Signal(signed(NORMAL.bits))
        normal3 = Signal(signed(NORMAL.bits))
        product = Signal(signed(NORMAL.bits))
        m.d.sync += [
            weight.eq(self.weights.payload),
            weight2.eq(weight),
            normal.eq(self.vector >> self.norm_shift),
            normal3.eq(normal),
            product.eq((normal * weight2) >> 15),
        ]
        # valid[3]: product and normal3 are here.
        size = Signal(PEAK_BITS)
        m.d.comb += size.eq(Mux(product[-1], -product, product))
        with m.If(valid[3] & ~second & (size > self.peak)):
            m.d.sync += self.peak.eq(size)

        operand = Signal(signed(NORMAL.bits))
        square = Signal(2 * NORMAL.bits)
        measuring = Signal()
        side_square = delay(m, self.side_valid, 1, "side_square")[-1]
        with m.If(self.side_clear):
            m.d.sync += self.side_energy.eq(0)
        with m.Elif(side_square):
            m.d.sync += self.side_energy.eq(self.side_energy + square)
        m.d.comb += [
            operand.eq(Mux(self.side_valid, self.side, Mux(self.project, normal3, product))),
            measuring.eq(~second & (~self.project | self.own_energy)),
        ]
        m.d.sync += square.eq(operand * operand)
        with m.If(valid[4] & measuring):
            m.d.sync += self.energy.eq(self.energy + square)

        m.d.comb += [
            quantiser.product.eq(product),
            quantiser.factor.eq(reciprocal.factor),
            quantiser.shift.eq(reciprocal.shift),
            self.q.eq(quantiser.q),
            self.q_write.eq(valid[5] & second),
        ]
        with m.If(self.q_write):
            m.d.sync += self.q_lane.eq(self.q_lane + 1)
            with m.If(self.q_lane == self._tables - 1):
                m.d.sync += [self.q_lane.eq(0), self.q_address.eq(self.q_address + 1)]
        return m
