"""What happens to a matrix product's rows as they stream out: MLGRU, GLU and residual, element by element."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from ..models.numerics import ACT, GATE, VECTOR
from .activation import Activation
from .arith import clamp, delay
from .isa import COUNT_BITS
from .isa import Epilogue as Mode
from .mlgru import ForgetGate, Mlgru
from .store import WordStore

__all__ = ["Epilogue"]

_LATE = 16
"""More rows than are on their way at once."""


class Epilogue(wiring.Component):
    """Element pipeline behind `Rescaler`: i, f and g of row j in; h_j and the gated output out.

    i and f wait in buffers until g_j comes. A row a cycle in every mode. Latency: at most `latency` cycles
    from a row to the last write it causes. Cost: `Activation`, `Mlgru`, `ForgetGate`, a 16 x 16 bit
    multiplier, three memories.

    Parameters
    ----------
    hidden
        Largest hidden size.
    states
        Elements of state, all layers together.
    width
        Lower bounds of a word, a power of two.

    Attributes
    ----------
    mode : In
        `isa.Epilogue`; held while rows pass.
    first : In(1)
        First token of a text: the state is 0, whatever the memory holds.
    state_base : In
        Address of the layer's state.
    chained, chain : In
        If `chained`, h goes on from `chain`, the new state of another stream's same row, instead of from the
        memory; it comes with the row.
    keep : In(1)
        New states are written.
    other_write, other_row, other_h : In
        New states of another stream are written instead.
    early_row, valid, row, value, clamped : In
        From `Rescaler`.
    bound_write, bound_row, bound : In
        Lower bounds, a word from row `bound_row` on, written into the buffer of f before f's rows come.
    x_element : In
        x at the row that was `early_row` a cycle before.
    x_write, x_row, x_value : Out
        New element of x.
    product_write, product_row, product : Out
        g * silu(h) or silu(gate) * up.
    saturations : Out(3)
        Values clamped, to be counted in this cycle.
    busy : In(1)
        Rows pass; low gives the state memory to the ports below.
    i_write, i_row, i_value, f_..., h_..., g_... : Out
        New elements of the buffers and the state, as they are written, and g as it comes.
    state_address, state_write, state_write_value, state_value :
        The state memory while no rows pass; `state_value` comes a cycle after the address.
    """

    latency = Mlgru.latency + Activation.latency + 2

    def __init__(self, hidden: int, states: int, width: int = 1) -> None:
        self._hidden = hidden
        self._states = states
        self._width = width
        super().__init__(
            {
                "mode": In(Mode),
                "first": In(1),
                "state_base": In(range(states)),
                "chained": In(1),
                "chain": In(signed(ACT.bits)),
                "keep": In(1, init=1),
                "other_write": In(1),
                "other_row": In(COUNT_BITS),
                "other_h": In(signed(ACT.bits)),
                "early_row": In(COUNT_BITS),
                "valid": In(1),
                "row": In(COUNT_BITS),
                "value": In(signed(VECTOR.bits)),
                "clamped": In(2),
                "bound_write": In(1),
                "bound_row": In(COUNT_BITS),
                "bound": In(GATE.bits * width),
                "x_element": In(signed(VECTOR.bits)),
                "x_write": Out(1),
                "x_row": Out(COUNT_BITS),
                "x_value": Out(signed(VECTOR.bits)),
                "product_write": Out(1),
                "product_row": Out(COUNT_BITS),
                "product": Out(signed(VECTOR.bits)),
                "saturations": Out(3),
                "busy": In(1),
                "state_address": In(range(states)),
                "state_write": In(1),
                "state_write_value": In(signed(ACT.bits)),
                "state_value": Out(signed(ACT.bits)),
                **{
                    f"{name}_{port}": Out(shape)
                    for name in "ifgh"
                    for port, shape in (("write", 1), ("row", COUNT_BITS), ("value", signed(ACT.bits)))
                },
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.activation = activation = Activation()
        m.submodules.mlgru = mlgru = Mlgru()
        m.submodules.forget = forget = ForgetGate()
        m.submodules.i_buffer = i_buffer = memory.Memory(shape=signed(ACT.bits), depth=self._hidden, init=[])
        f_buffer: memory.Memory | WordStore
        if self._width == 1:
            f_buffer = memory.Memory(shape=unsigned(GATE.bits), depth=self._hidden, init=[])
        else:
            f_buffer = WordStore(unsigned(GATE.bits), self._hidden, self._width)
        m.submodules.f_buffer = f_buffer
        m.submodules.state = state = memory.Memory(shape=signed(ACT.bits), depth=self._states, init=[])
        i_read, i_write = i_buffer.read_port(), i_buffer.write_port()
        if isinstance(f_buffer, memory.Memory):
            f_read, f_write = f_buffer.read_port(), f_buffer.write_port()
            f_address, f_element = f_read.addr, f_read.data
        else:
            f_address, f_element = f_buffer.read_address, f_buffer.element
        h_read, h_write = state.read_port(), state.write_port()

        act = self.value[: ACT.bits].as_signed()
        in_gru = self.mode == Mode.MLGRU
        in_glu = self.mode == Mode.GLU

        # Rows come in order, so wherever they go they are counted, from the first one on.
        first_row = self.valid & (self.row == 0)

        def count(step: Value, name: str) -> Signal:
            """Number of the row of which `step` tells."""
            at = Signal(COUNT_BITS, name=name, reset_less=True)
            with m.If(first_row):
                m.d.sync += at.eq(0)
            with m.Elif(step):
                m.d.sync += at.eq(at + 1)
            return at

        # g and up wait in a short memory for what comes out of the activation.
        m.submodules.late = late = memory.Memory(shape=signed(ACT.bits), depth=_LATE, init=[])
        late_read, late_write = late.read_port(), late.write_port()
        gating = self.mode == Mode.GATE
        activated = count(activation.out_valid, "activated")
        comes = count(Mux(gating, activation.gate_early, activation.early_valid), "comes")
        m.d.comb += [
            late_write.addr.eq(self.row),
            late_write.data.eq(act),
            late_write.en.eq(self.valid),
            late_read.addr.eq(comes),
        ]

        # g's path: the state first, then silu of it; everything else goes into the activation at once.
        gru = delay(m, self.valid & in_gru, mlgru.latency, "gru")
        h_done = gru[-1]
        h_row = count(h_done, "h_counted")
        m.d.comb += [
            i_read.addr.eq(self.early_row),
            h_read.addr.eq(Mux(self.busy, self.state_base + self.early_row, self.state_address)),
            self.state_value.eq(h_read.data),
            mlgru.i.eq(i_read.data),
            mlgru.f.eq(f_element),
            mlgru.before.eq(Mux(self.chained, self.chain, Mux(self.first, 0, h_read.data))),
            activation.valid.eq(Mux(in_gru, h_done, self.valid)),
            activation.x.eq(Mux(in_gru, mlgru.h, act)),
            h_write.en.eq(Mux(self.busy, (h_done & self.keep) | self.other_write, self.state_write)),
            h_write.addr.eq(
                Mux(
                    self.busy,
                    self.state_base + Mux(self.other_write, self.other_row, h_row),
                    self.state_address,
                )
            ),
            h_write.data.eq(
                Mux(self.busy, Mux(self.other_write, self.other_h, mlgru.h), self.state_write_value)
            ),
        ]

        # i and f are buffered.
        f_done = delay(m, activation.gate_valid & gating, forget.latency, "f")[-1]
        f_row = count(f_done, "f_counted")
        from_row = Mux(in_gru, self.row, comes)  # f is wanted a cycle after i and the state
        to_row = Mux(self.bound_write, self.bound_row, f_row)
        if isinstance(f_buffer, memory.Memory):
            f_writes = [
                f_write.en.eq(self.bound_write | f_done),
                f_write.addr.eq(to_row),
                f_write.data.eq(Mux(self.bound_write, self.bound, forget.f)),
            ]
        else:
            f_writes = [
                f_buffer.fill.eq(self.bound_write),
                f_buffer.fill_word.eq(self.bound),
                f_buffer.write.eq(f_done),
                f_buffer.write_address.eq(to_row),
                f_buffer.write_element.eq(forget.f),
            ]
        m.d.comb += [
            i_write.en.eq(activation.out_valid & (self.mode == Mode.SILU)),
            i_write.addr.eq(activated),
            i_write.data.eq(activation.silu),
            f_address.eq(from_row),
            forget.bound.eq(f_element),
            forget.gate.eq(activation.gate),
            *f_writes,
        ]

        m.d.comb += [
            self.i_write.eq(i_write.en),
            self.i_row.eq(activated),
            self.i_value.eq(activation.silu),
            self.f_write.eq(f_done),
            self.f_row.eq(f_row),
            self.f_value.eq(forget.f),
            self.h_write.eq(h_done),
            self.h_row.eq(h_row),
            self.h_value.eq(mlgru.h),
        ]

        # Products: silu(h_j) meets g_j; silu(gate_j), one row earlier, meets up_j.
        gate = Signal(signed(ACT.bits), reset_less=True)
        with m.If(activation.out_valid & ~activated[0]):
            m.d.sync += gate.eq(activation.silu)
        factor = Mux(in_gru, activation.silu, gate)
        # Whole, as a multiplier block's own register holds it.
        shift = 2 * ACT.fraction - VECTOR.fraction
        product = Signal(signed(shift + VECTOR.bits), reset_less=True)
        m.d.comb += self.product.eq(product >> shift)
        m.d.sync += [
            product.eq(factor * late_read.data),
            self.product_write.eq(activation.out_valid & (in_gru | (in_glu & activated[0]))),
        ]
        m.d.comb += self.product_row.eq(count(self.product_write, "product_counted"))

        m.d.comb += [self.g_write.eq(self.valid & in_gru), self.g_row.eq(self.row), self.g_value.eq(act)]

        # x: replaced by the embedding, else added to.
        adds, into_x = Signal(), Signal()  # registers, since the mode stands still while rows pass
        total, overflow = clamp(Mux(adds, self.x_element, 0) + self.value, VECTOR.bits)
        m.d.comb += self.x_row.eq(count(self.x_write, "x_counted"))
        m.d.sync += [
            adds.eq(self.mode != Mode.EMBED),
            into_x.eq((self.mode == Mode.EMBED) | (self.mode == Mode.RESIDUAL)),
            self.x_value.eq(total),
            self.x_write.eq(self.valid & into_x),
        ]

        counted = self.valid & (self.mode != Mode.HEAD)
        saturated = Signal(4)
        m.d.sync += saturated.eq(
            Cat(
                self.clamped & counted.replicate(2),
                overflow & self.valid & into_x,
                mlgru.clamped & gru[2],
            )
        )
        m.d.comb += self.saturations.eq(sum(saturated))
        return m
