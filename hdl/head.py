"""LM head: the next token from the rows' sums, greedy or sampled, and raw logits."""

from amaranth.hdl import C, Cat, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import memory, stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out

from ..models.numerics import MIX_ROUNDS, MIX_SHIFTS, MIX_STEP, NOISE, SUM, VECTOR, gumbel_table
from .arith import bit_length, delay, shift_add
from .isa import COUNT_BITS
from .rescale import Rescaler

__all__ = ["RAW", "GumbelNoise", "Head"]

RAW = StructLayout({"sum": signed(SUM.bits), "row": unsigned(COUNT_BITS)})
"""One raw logit."""


def _mix(state: Value) -> Value:
    """`numerics.mix`, combinational."""
    x = state
    left, right, again = MIX_SHIFTS
    x = x ^ Cat(C(0, left), x)[:32]
    x = x ^ x[right:]
    x = x ^ Cat(C(0, again), x)[:32]
    return (x + MIX_STEP)[:32]


class GumbelNoise(wiring.Component):
    """`numerics.gumbel_noise`: an entry's noise a cycle.

    Latency: 10 cycles from `start` until steps may come, `latency` cycles from a step to its noise. Cost: a
    256 x 16 bit table, six 7-bit adders, a 32-bit adder.

    Attributes
    ----------
    start : In(1)
        Restarts the stream from `seed` and `position`.
    step : In(1)
        Next vocabulary entry.
    noise : Out
        NOISE.
    """

    latency = 4

    def __init__(self) -> None:
        super().__init__(
            {
                "start": In(1),
                "seed": In(32),
                "position": In(32),
                "step": In(1),
                "noise": Out(NOISE.bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        rise_bits = max(rise for _, rise in gumbel_table()).bit_length()
        m.submodules.table = rom = memory.Memory(
            shape=unsigned(NOISE.bits + rise_bits),
            depth=256,
            init=[start | rise << NOISE.bits for start, rise in gumbel_table()],
        )
        read = rom.read_port()
        state = Signal(32, reset_less=True)
        # The first state comes in behind the adder, which then has 0 to mix, and shares its lookup tables.
        first = Signal(32)
        rounds = Signal(range(MIX_ROUNDS + 2))
        m.d.sync += first.eq(0)
        with m.If(self.start):
            m.d.sync += [
                first.eq(self.seed ^ Cat(self.position[16:], self.position[:16]) ^ MIX_STEP),
                state.eq(0),
                rounds.eq(MIX_ROUNDS + 1),
            ]
        with m.Elif((rounds != 0) | self.step):
            m.d.sync += state.eq(_mix(state) ^ first)
            with m.If(rounds != 0):
                m.d.sync += rounds.eq(rounds - 1)
        octave = Signal(4)
        place = Signal(7, reset_less=True)
        m.d.comb += [
            octave.eq(15 - bit_length(m, state[17:], "length")),
            read.addr.eq(Cat(state[13:17], octave)),
        ]
        m.d.sync += place.eq(state[6:13])
        # place * rise, three bits of the rise in a cycle, and start and the others in the next.
        start, rise = read.data[: NOISE.bits], read.data[NOISE.bits :]
        half = Signal(len(place) + 3, reset_less=True)
        m.d.sync += half.eq(shift_add(C(0, len(place)), place, rise[:3]))
        start, rise, place = (
            delay(m, value, 1, name, data=True)[1]
            for name, value in (("start", start), ("rise", rise[3:]), ("place", place))
        )
        product = Cat(half[:3], shift_add(half[3:], place, rise))
        noise = Signal(NOISE.bits, reset_less=True)
        m.d.sync += noise.eq(start + (product >> len(place)))
        m.d.comb += self.noise.eq(noise)
        return m


class Head(wiring.Component):
    """Keeps the first row with the largest value.

    Greedy compares the raw sums; sampling the rescaled logits (scale already divided by the temperature) plus
    noise. Latency: `latency` cycles from a row's sum, or its output if sampled, to `token`. Cost:
    `GumbelNoise` and a 25-bit comparator.

    Attributes
    ----------
    start : In(1)
        A vocabulary begins; at least 9 cycles before the first row.
    active : In(1)
        The rows that pass are logits.
    sample, emit_raw : In(1)
        Sample instead of greedy; send every sum to `raw`.
    seed, position : In
        Of the random stream.
    sum_valid, sum_row, sum : In
        From `MatMul`.
    valid, row, value, clamped : In
        From `Rescaler`.
    raw : Out(stream)
        Raw logits; `MatMul` waits for `taken` before the next.
    taken : Out(1)
        A raw logit left.
    token : Out
        Best row so far.
    saturations : Out(2)
        Values clamped, to be counted in this cycle.
    """

    latency = 2

    def __init__(self) -> None:
        super().__init__(
            {
                "start": In(1),
                "active": In(1),
                "sample": In(1),
                "emit_raw": In(1),
                "seed": In(32),
                "position": In(32),
                "sum_valid": In(1),
                "sum_row": In(COUNT_BITS),
                "sum": In(signed(SUM.bits)),
                "valid": In(1),
                "row": In(COUNT_BITS),
                "value": In(signed(VECTOR.bits)),
                "clamped": In(2),
                "raw": Out(stream.Signature(RAW)),
                "taken": Out(1),
                "token": Out(COUNT_BITS),
                "saturations": Out(2),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.noise = noise = GumbelNoise()
        m.d.comb += [
            noise.start.eq(self.start),
            noise.seed.eq(self.seed),
            noise.position.eq(self.position),
            # The noise is to be there when the row comes out of the rescaler.
            noise.step.eq(
                delay(m, self.active & self.sum_valid, Rescaler.latency - GumbelNoise.latency, "step")[-1]
            ),
        ]
        # In the place of a candidate that has not come stands one that can't win: so nothing but the
        # comparison decides.
        least = -(1 << VECTOR.bits)
        candidate = Signal(signed(VECTOR.bits + 1), reset_less=True)
        row = Signal(COUNT_BITS, reset_less=True)
        with m.If(~(self.active & Mux(self.sample, self.valid, self.sum_valid))):
            m.d.sync += candidate.eq(least)
        with m.Elif(self.sample):
            scaled_noise = Cat(C(0, VECTOR.fraction - NOISE.fraction), noise.noise)
            m.d.sync += candidate.eq(self.value + scaled_noise)
        with m.Else():
            m.d.sync += candidate.eq(self.sum)
        m.d.sync += row.eq(Mux(self.sample, self.row, self.sum_row))
        # The best one is kept inverted, which makes the comparison an addition; it begins below all others.
        inverted = Signal.like(candidate)
        with m.If(self.start):
            m.d.sync += inverted.eq(~least)
        with m.Elif(~(candidate + inverted)[-1]):
            m.d.sync += [inverted.eq(~candidate), self.token.eq(row)]
        counted = self.active & self.valid & self.sample
        m.d.comb += self.saturations.eq(Mux(counted, self.clamped[0] + self.clamped[1], 0))

        with m.If(self.active & self.emit_raw & self.sum_valid):
            m.d.sync += [
                self.raw.valid.eq(1),
                self.raw.payload.sum.eq(self.sum),
                self.raw.payload.row.eq(self.sum_row),
            ]
        with m.Elif(self.raw.ready):
            m.d.sync += self.raw.valid.eq(0)
        m.d.comb += self.taken.eq(self.raw.valid & self.raw.ready)
        return m
