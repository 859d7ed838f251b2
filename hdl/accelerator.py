"""The whole accelerator: weight beats and tokens in, tokens out."""

from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import memory, stream, wiring
from amaranth.lib.data import ArrayLayout, StructLayout
from amaranth.lib.wiring import In, Out, connect, flipped

from ..models.numerics import ACT, EXPONENT_BITS, INT8, RESCALE_LEFT, SCALE, VECTOR
from .conductor import RESULT, STOPS, TOKEN, Conductor
from .config import AcceleratorConfig
from .epilogue import Epilogue
from .head import RAW, Head
from .isa import COUNT_BITS, WORD_BITS, Opcode
from .isa import Epilogue as Mode
from .matmul import MatMul
from .norm import NormUnit
from .rescale import SHIFT_BITS, Rescaler
from .scalars import InverseRootScale, ScaleProduct
from .sequencer import REQUEST, Sequencer
from .store import VectorStore
from .streams import Unpacker

__all__ = ["PROBE", "PROBES", "SETTINGS", "STATUS", "Accelerator"]

SETTINGS = StructLayout(
    {
        "new_tokens": unsigned(COUNT_BITS),
        "stops": ArrayLayout(unsigned(COUNT_BITS), STOPS),
        "stops_enabled": unsigned(STOPS),
        "sample": unsigned(1),
        "emit_raw": unsigned(1),
        "halt": unsigned(1),
        "temperature_mantissa": unsigned(SCALE.bits),
        "temperature_exponent": signed(EXPONENT_BITS),
        "seed": unsigned(32),
    }
)
"""Run settings. `temperature` is the SCALE of 1 / temperature, used if `sample` is set; `halt` ends a
generation at its next token."""

STATUS = StructLayout(
    {
        "running": unsigned(1),
        "opcode": unsigned(4),
        "waits_for_request": unsigned(1),
        "waits_for_beats": unsigned(1),
        "waits_for_tables": unsigned(1),
        "waits_for_scale": unsigned(1),
        "waits_for_raw": unsigned(1),
        "waits_for_result": unsigned(1),
    }
)
"""What the accelerator does and what it waits for."""

PROBES = ("x", "product", "h", "i", "f", "g")
"""Units whose elements `PROBE` shows: new x, new products, new states, buffered i and f, g."""

PROBE = ArrayLayout(
    StructLayout({"valid": 1, "mode": 15, "row": unsigned(COUNT_BITS), "value": signed(VECTOR.bits)}),
    len(PROBES),
)
"""Every element that leaves a unit, for comparison with the golden model; unused, it costs nothing."""


class Accelerator(wiring.Component):
    """A MatMul-free language model's accelerator.

    Attributes
    ----------
    request : Out(stream), beats : In(stream)
        Weight memory: runs of beats wanted, and the beats in that order.
    program_write, program_address, program_word : In
        Write port of the program memory.
    tokens : In(stream), results : Out(stream), raw : Out(stream)
        Tokens to consume, tokens chosen, raw logits.
    settings : In
        `SETTINGS`, held while the accelerator runs.
    set_position, new_position : In; position : Out
        See `Conductor`.
    state_address, state_write, state_write_value : In; state_value : Out
        The state memory, while `idle`.
    idle : Out(1)
        Waits for a token.
    cycles, saturations : Out
        Cycles not idle, and values clamped, since reset.
    layer, status, probe : Out
        Current layer, `STATUS` and `PROBE`.
    """

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        super().__init__(
            {
                "request": Out(stream.Signature(REQUEST)),
                "beats": In(stream.Signature(unsigned(config.beat_bits))),
                "program_write": In(1),
                "program_address": In(range(config.program_words)),
                "program_word": In(WORD_BITS),
                "tokens": In(stream.Signature(TOKEN)),
                "results": Out(stream.Signature(RESULT)),
                "raw": Out(stream.Signature(RAW)),
                "settings": In(SETTINGS),
                "set_position": In(1),
                "new_position": In(32),
                "position": Out(32),
                "state_address": In(range(config.states)),
                "state_write": In(1),
                "state_write_value": In(signed(ACT.bits)),
                "state_value": Out(signed(ACT.bits)),
                "idle": Out(1),
                "cycles": Out(48),
                "saturations": Out(32),
                "layer": Out(COUNT_BITS),
                "status": Out(STATUS),
                "probe": Out(PROBE),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        words = config.activation_words
        m.submodules.conductor = conductor = Conductor()
        m.submodules.sequencer = sequencer = Sequencer(config.program_words, config.states)
        m.submodules.unpacker = unpacker = Unpacker(config.beat_bits)
        m.submodules.norm = norm = NormUnit(config.layout.tables, words)
        m.submodules.scale = scale = InverseRootScale()
        m.submodules.tempered = tempered = ScaleProduct()
        m.submodules.matmul = matmul = MatMul(config.layout, words)
        m.submodules.rescaler = rescaler = Rescaler()
        m.submodules.epilogue = epilogue = Epilogue(config.hidden, config.states)
        m.submodules.head = head = Head()
        m.submodules.x = x = VectorStore(config.hidden)
        m.submodules.product = product = VectorStore(config.vector_depth)
        m.submodules.activations = activations = memory.Memory(
            shape=unsigned(INT8.bits * config.layout.tables), depth=words, init=[]
        )
        q_read, q_write = activations.read_port(), activations.write_port(granularity=INT8.bits)

        connect(m, flipped(self.request), sequencer.request)
        connect(m, flipped(self.tokens), conductor.tokens)
        connect(m, flipped(self.results), conductor.results)
        connect(m, flipped(self.raw), head.raw)
        settings = self.settings
        instruction = sequencer.instruction
        opcode = instruction.opcode
        mode = Signal(Mode)
        m.d.comb += [
            mode.eq(instruction.epilogue),
            sequencer.program_write.eq(self.program_write),
            sequencer.program_address.eq(self.program_address),
            sequencer.program_word.eq(self.program_word),
            conductor.new_tokens.eq(settings.new_tokens),
            conductor.stops.eq(settings.stops),
            conductor.stops_enabled.eq(settings.stops_enabled),
            conductor.halt.eq(settings.halt),
            conductor.set_position.eq(self.set_position),
            conductor.new_position.eq(self.new_position),
            self.position.eq(conductor.position),
            sequencer.start.eq(conductor.start),
            sequencer.token.eq(conductor.token),
            sequencer.logits.eq(conductor.logits),
            conductor.done.eq(sequencer.done),
            conductor.chosen.eq(head.token),
            conductor.mantissa.eq(scale.mantissa),
            conductor.exponent.eq(scale.exponent),
            self.idle.eq(conductor.idle),
        ]

        # Weight beats go to the matrix unit or to the unpacker.
        multiplying = Signal()
        m.d.comb += [
            multiplying.eq(opcode == Opcode.MATMUL),
            matmul.beats.payload.eq(self.beats.payload),
            unpacker.beats.payload.eq(self.beats.payload),
            matmul.beats.valid.eq(self.beats.valid & multiplying),
            unpacker.beats.valid.eq(self.beats.valid & ~multiplying),
            self.beats.ready.eq(Mux(multiplying, matmul.beats.ready, unpacker.beats.ready)),
        ]

        # Control: one instruction at a time.
        element = Signal(COUNT_BITS)
        drain = Signal(range(Rescaler.latency + Epilogue.latency + 2))
        norm_op = (opcode == Opcode.STATS) | (opcode == Opcode.PROJECT)
        m.d.comb += [
            unpacker.count.eq(instruction.count),
            unpacker.bytes.eq(opcode == Opcode.EMBED),
            norm.project.eq(opcode == Opcode.PROJECT),
            norm.own_energy.eq(instruction.own_energy),
            norm.count.eq(instruction.count),
            matmul.rows.eq(instruction.count),
            matmul.blocks.eq(instruction.blocks),
        ]
        with m.FSM():
            with m.State("IDLE"):
                with m.If(sequencer.dispatch):
                    m.d.sync += element.eq(0)
                    with m.Switch(opcode):
                        with m.Case(Opcode.EMBED, Opcode.PROJECT):
                            m.next = "HEADER"
                        with m.Case(Opcode.STATS):
                            m.next = "NORM"
                            m.d.comb += norm.start.eq(1)
                        with m.Case(Opcode.BOUND):
                            m.next = "ELEMENTS"
                            m.d.comb += unpacker.start.eq(1)
                        with m.Case(Opcode.MATMUL):
                            m.next = "MATMUL"
                            m.d.comb += [
                                matmul.start.eq(1),
                                x.clear.eq(mode == Mode.RESIDUAL),
                                product.clear.eq((mode == Mode.MLGRU) | (mode == Mode.GLU)),
                                norm.side_clear.eq(mode == Mode.MLGRU),
                                head.start.eq(mode == Mode.HEAD),
                            ]
            with m.State("HEADER"):
                m.d.comb += unpacker.take_header.eq(1)
                with m.If(unpacker.header_taken):
                    m.next = "BEGIN"
            with m.State("BEGIN"):
                with m.If(opcode == Opcode.PROJECT):
                    m.d.comb += norm.start.eq(1)
                    m.next = "NORM"
                with m.Else():
                    m.d.comb += [unpacker.start.eq(1), x.clear.eq(1)]
                    m.next = "ELEMENTS"
            with m.State("NORM"):
                m.d.comb += unpacker.start.eq(norm.unpack)
                with m.If(norm.done):
                    m.d.comb += sequencer.finished.eq(1)
                    m.next = "IDLE"
            with m.State("ELEMENTS"):
                m.d.sync += drain.eq(Rescaler.latency + 2)
                with m.If(unpacker.elements.valid):
                    m.d.sync += element.eq(element + 1)
                    with m.If(element + 1 == instruction.count):
                        m.next = "DRAIN"
            with m.State("MATMUL"):
                m.d.sync += drain.eq(Rescaler.latency + Epilogue.latency + 1)
                with m.If(matmul.done):
                    m.next = "DRAIN"
            with m.State("DRAIN"):
                m.d.sync += drain.eq(drain - 1)
                with m.If(drain == 0):
                    m.d.comb += sequencer.finished.eq(1)
                    m.next = "IDLE"

        # Vectors: weights meet elements in the norm unit, embeddings and bounds pass it by.
        m.d.comb += [
            norm.weights.payload.eq(unpacker.elements.payload),
            norm.weights.valid.eq(unpacker.elements.valid & norm_op),
            unpacker.elements.ready.eq(Mux(norm_op, norm.weights.ready, 1)),
            norm.magnitude.eq(Mux(instruction.product, product.magnitude, x.magnitude)),
            norm.vector.eq(Mux(instruction.product, product.element, x.element)),
            x.read_address.eq(Mux(norm_op, norm.address, rescaler.early_row)),
            product.read_address.eq(norm.address),
            q_write.addr.eq(norm.q_address),
            q_write.data.eq(norm.q.replicate(config.layout.tables)),
            q_write.en.eq(norm.q_write << norm.q_lane),
            q_read.addr.eq(matmul.word_address),
            matmul.word.eq(q_read.data),
        ]

        # The output scale, computed beside the matrix product whose last column block waits for it.
        header = unpacker.header
        scale_ready = Signal()
        m.d.comb += [
            scale.start.eq(norm.measured),
            scale.energy.eq(norm.energy),
            scale.peak.eq(norm.peak),
            scale.against.eq(Mux(instruction.against_g, norm.side_energy, 1)),
            scale.norm_shift.eq(norm.norm_shift),
            scale.constant.eq(header[0:15]),
            scale.constant_exponent.eq(header[16:24].as_signed()),
            scale.epsilon_exponent.eq(header[24:32].as_signed()),
            scale.epsilon.eq(header[32:47]),
            tempered.start.eq(scale.done),
            tempered.a_mantissa.eq(scale.mantissa),
            tempered.a_exponent.eq(scale.exponent),
            tempered.b_mantissa.eq(settings.temperature_mantissa),
            tempered.b_exponent.eq(settings.temperature_exponent),
            matmul.hold.eq(~scale_ready),
        ]
        with m.If(norm.measured):
            m.d.sync += scale_ready.eq(0)
        with m.Elif(tempered.done):
            m.d.sync += scale_ready.eq(1)

        # Sums and embeddings are rescaled.
        embedding = opcode == Opcode.EMBED
        wide = embedding | (mode == Mode.RESIDUAL) | (mode == Mode.HEAD)
        sampled = settings.sample & (mode == Mode.HEAD)
        exponent = Signal(signed(EXPONENT_BITS + 2))
        shift = Signal(signed(EXPONENT_BITS + 3))
        m.d.comb += [
            exponent.eq(
                Mux(embedding, header[16:24].as_signed(), Mux(sampled, tempered.exponent, scale.exponent))
            ),
            rescaler.valid.eq(Mux(embedding, unpacker.elements.valid, matmul.valid)),
            rescaler.sum.eq(Mux(embedding, unpacker.elements.payload.as_signed(), matmul.sum)),
            rescaler.row.eq(Mux(embedding, element, matmul.row)),
        ]
        # Held values: registered, so that the multiplexers stay off the multiplier's path.
        m.d.sync += [
            shift.eq(RESCALE_LEFT - exponent - Mux(wide, VECTOR.fraction, ACT.fraction)),
            rescaler.mantissa.eq(
                Mux(embedding, header[0:15], Mux(sampled, tempered.mantissa, scale.mantissa))
            ),
            rescaler.wide.eq(wide),
        ]
        limit = (1 << SHIFT_BITS) - 1
        m.d.comb += rescaler.shift.eq(Mux(shift < 0, 0, Mux(shift > limit, limit, shift[:SHIFT_BITS])))

        m.d.comb += [
            epilogue.mode.eq(mode),
            epilogue.first.eq(conductor.position == 0),
            epilogue.state_base.eq(sequencer.state_base),
            epilogue.early_row.eq(rescaler.early_row),
            epilogue.valid.eq(rescaler.out_valid),
            epilogue.row.eq(rescaler.out_row),
            epilogue.value.eq(rescaler.value),
            epilogue.clamped.eq(rescaler.clamped),
            epilogue.bound_write.eq(unpacker.elements.valid & (opcode == Opcode.BOUND)),
            epilogue.bound_row.eq(element),
            epilogue.bound.eq(unpacker.elements.payload[:15]),
            epilogue.x_element.eq(x.element),
            norm.side_valid.eq(epilogue.g_write),
            norm.side.eq(epilogue.g_value),
            x.write.eq(epilogue.x_write),
            x.write_address.eq(epilogue.x_row),
            x.write_element.eq(epilogue.x_value),
            product.write.eq(epilogue.product_write),
            product.write_address.eq(epilogue.product_row),
            product.write_element.eq(epilogue.product),
            epilogue.busy.eq(~conductor.idle),
            epilogue.state_address.eq(self.state_address),
            epilogue.state_write.eq(self.state_write),
            epilogue.state_write_value.eq(self.state_write_value),
            self.state_value.eq(epilogue.state_value),
        ]
        in_head = multiplying & (mode == Mode.HEAD)
        m.d.comb += [
            head.active.eq(in_head),
            head.sample.eq(settings.sample),
            head.emit_raw.eq(settings.emit_raw),
            head.seed.eq(settings.seed),
            head.position.eq(conductor.position),
            head.sum_valid.eq(matmul.valid),
            head.sum_row.eq(matmul.row),
            head.sum.eq(matmul.sum),
            head.valid.eq(rescaler.out_valid),
            head.row.eq(rescaler.out_row),
            head.value.eq(rescaler.value),
            head.clamped.eq(rescaler.clamped),
            matmul.one_by_one.eq(in_head & settings.emit_raw),
            matmul.taken.eq(head.taken),
        ]

        with m.If(~conductor.idle):
            m.d.sync += self.cycles.eq(self.cycles + 1)
        m.d.sync += self.saturations.eq(self.saturations + epilogue.saturations + head.saturations)
        m.d.comb += [
            self.status.running.eq(sequencer.running),
            self.status.opcode.eq(opcode),
            self.layer.eq(sequencer.layer),
            self.status.waits_for_request.eq(self.request.valid & ~self.request.ready),
            self.status.waits_for_beats.eq(self.beats.ready & ~self.beats.valid),
            self.status.waits_for_tables.eq(matmul.filling),
            self.status.waits_for_scale.eq(multiplying & ~scale_ready),
            self.status.waits_for_raw.eq(self.raw.valid & ~self.raw.ready),
            self.status.waits_for_result.eq(self.results.valid & ~self.results.ready),
        ]
        leaving = {
            "x": (x.write, epilogue.x_row, epilogue.x_value),
            "product": (product.write, epilogue.product_row, epilogue.product),
            "h": (epilogue.h_write, epilogue.h_row, epilogue.h_value),
            "i": (epilogue.i_write, epilogue.i_row, epilogue.i_value),
            "f": (epilogue.f_write, epilogue.f_row, epilogue.f_value),
            "g": (epilogue.g_write, epilogue.g_row, epilogue.g_value),
        }
        for probe, unit in zip(self.probe, PROBES, strict=True):
            valid, row, value = leaving[unit]
            m.d.comb += [probe.valid.eq(valid), probe.mode.eq(mode), probe.row.eq(row), probe.value.eq(value)]
        return m
