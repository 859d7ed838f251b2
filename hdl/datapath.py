"""Everything that one stream has for itself: its vectors, its state, its part of each row."""

from amaranth.hdl import C, Cat, Module, Mux, Signal, Value, ValueLike, signed, unsigned
from amaranth.lib import memory, stream, wiring
from amaranth.lib.data import ArrayLayout, StructLayout
from amaranth.lib.wiring import In, Out, connect, flipped

from ..models.numerics import (
    ACT,
    EXPONENT_BITS,
    GATE,
    INT8,
    LEVEL_SHIFT,
    RESCALE_LEFT,
    SCALE,
    SUM,
    VECTOR,
    WEIGHT,
)
from .arith import delay
from .config import AcceleratorConfig
from .epilogue import Epilogue
from .gatherer import Gatherer
from .head import RAW, Head
from .inputs import InputQuantiser
from .isa import COUNT_BITS
from .isa import Epilogue as Mode
from .measure import Measure
from .parallel_scale import ParallelScale
from .rescale import SHIFT_BITS, Rescaler
from .scalars import InverseRootScale
from .store import VectorStore, WordStore
from .streams import HEADER_BITS
from .wide_inputs import WideInputQuantiser
from .wide_measure import WideMeasure

__all__ = [
    "HEADER",
    "PROBES",
    "SAMPLING",
    "TRACED",
    "Datapath",
    "probe_layout",
    "traced_units",
    "vector_pass",
]

PROBES = ("x", "product", "h", "i", "f", "g")
"""Units whose elements a probe shows: new x, new products, new states, buffered i and f, g."""

TRACED = (*PROBES, "q", "sum", "scale")
"""What the probe of a traced accelerator shows: besides, the three steps of each product.

q: int8 inputs, a vector as often as its peak changes while it is being quantised; `mode` numbers the vectors.
sum: raw sums. scale: row 0 is the peak, 1 and 2 are the energy's low and high 32 bits, 3 is the output scale,
its exponent above 16 bits for its mantissa.
"""


def traced_units(width: int) -> tuple[str, ...]:
    """`TRACED`, with a q for each element of a word of `width`."""
    return tuple(unit for unit in TRACED for _ in range(width if unit == "q" else 1))


def probe_layout(traced: bool = False, width: int = 1) -> ArrayLayout:
    """Layout of a stream's probe: an element of each of `PROBES`, or of each of `traced_units`.

    It is for comparison with the golden model; unused, it costs nothing.
    """
    return ArrayLayout(
        StructLayout({"valid": 1, "mode": 15, "row": unsigned(COUNT_BITS), "value": signed(32)}),
        len(traced_units(width) if traced else PROBES),
    )


HEADER = StructLayout(
    {
        "mantissa": unsigned(SCALE.bits),
        "spare": 1,
        "exponent": signed(EXPONENT_BITS),
        "epsilon_exponent": signed(EXPONENT_BITS),
        "epsilon": unsigned(SCALE.bits),
        "spare2": HEADER_BITS - 2 * SCALE.bits - 2 * EXPONENT_BITS - 1,
    }
)
"""What stands before a BitLinear's gain, and, with its first two numbers alone, before an embedding's row."""

SAMPLING = StructLayout(
    {
        "sample": unsigned(1),
        "emit_raw": unsigned(1),
        "temperature_mantissa": unsigned(SCALE.bits),
        "temperature_exponent": signed(EXPONENT_BITS),
        "seed": unsigned(32),
    }
)
"""How the head chooses."""


def vector_pass(width: int) -> StructLayout:
    """What `VectorControl` says to all streams."""
    flags = (
        "clear",
        "projecting",
        "own_energy",
        "product",
        "against_g",
        "running",
        "reading",
        "valid",
        "measured",
        "bound_write",
    )
    return StructLayout({**dict.fromkeys(flags, 1), **({"present": width} if width > 1 else {})})


class Datapath(wiring.Component):
    """One stream: vector unit, output scale, epilogues, head, and all their memories.

    What is common to all streams (which row, which element, which weight) comes from outside; what depends on
    the stream's numbers is here. Latency: `latency` cycles from a sum to the last thing that it causes.
    Cost: that of its parts, and multiplexers between them.

    Parameters
    ----------
    config
        The accelerator.
    traced
        Whether `probe` shows all of `TRACED`, or `PROBES` alone. Either costs nothing if it is unused, but
        with other names a board's cells would be placed otherwise.

    Attributes
    ----------
    vector_pass, address, weight, bound_row : In
        From `VectorControl` and `WeightBuffer`.
    project, project_count, project_slot : In
        A projection begins (`InputQuantiser`).
    blocks, first_soon, complete, certain, void, current_slot : Out
        See `InputQuantiser`.
    produced : Out(1)
        A new element of x, u or z, which a running projection takes.
    word_address, word : In, Out
        Read port of the activation memory.
    header, embedding_header : In
        Of the projection before the scale; of the embedding's row, with `embed`.
    scale_start : In(1), scale_done : Out(1)
        Computes the output scale of the BitLinear whose header, peak and energy are here.
    mantissa, exponent : Out
        The latest output scale.
    enter, embed : In(1)
        From the next cycle on a product's sums, or an embedding's elements, use the scale of now.
    mode, first, state_base : In
        Of the rows that pass (`Epilogue`).
    active : In(1)
        The stream has a token; else nothing that leaves it counts.
    chained, chain, keep, other_write, other_row, other_h : In
        See `Epilogue`.
    sum_valid, row, sum : In
        From `MatMul`.
    embedding_valid, embedding : In
        Elements of an embedding's row, while `mode` is EMBED.
    sampling, position, head_start : In
        For the head.
    raw : Out(stream), taken : Out(1), token : Out
        See `Head`.
    busy, state_address, state_write, state_write_value : In; state_value : Out
        The state memory, see `Epilogue`.
    h_write, h_row, h : Out
        New states as they are made.
    saturations : Out
        Values clamped, to be counted in this cycle.
    probe : Out
        See `probe_layout`.
    """

    latency = Rescaler.latency + Epilogue.latency + 2

    def __init__(self, config: AcceleratorConfig, *, traced: bool = False) -> None:
        self._config = config
        self._traced = traced
        width = config.vector_width
        weight_shape = signed(WEIGHT.bits) if width == 1 else ArrayLayout(signed(WEIGHT.bits), width)
        super().__init__(
            {
                "vector_pass": In(vector_pass(width)),
                "address": In(config.element_bits),
                "weight": In(weight_shape),
                "bound_row": In(config.element_bits),
                "project": In(1),
                "project_count": In(config.element_bits),
                "project_slot": In(1),
                "blocks": Out(config.block_bits),
                "first_soon": Out(1),
                "complete": Out(1),
                "certain": Out(1),
                "void": Out(1),
                "current_slot": Out(1),
                "produced": Out(1),
                "word_address": In(range(config.activation_depth)),
                "word": Out(unsigned(INT8.bits * config.layout.tables)),
                "header": In(HEADER),
                "embedding_header": In(HEADER),
                "scale_start": In(1),
                "scale_done": Out(1),
                "mantissa": Out(SCALE.bits),
                "exponent": Out(signed(EXPONENT_BITS)),
                "enter": In(1),
                "embed": In(1),
                "mode": In(Mode),
                "first": In(1),
                "state_base": In(range(config.states)),
                "active": In(1),
                "chained": In(1),
                "chain": In(signed(ACT.bits)),
                "keep": In(1),
                "other_write": In(1),
                "other_row": In(COUNT_BITS),
                "other_h": In(signed(ACT.bits)),
                "sum_valid": In(1),
                "row": In(config.row_bits),
                "sum": In(signed(SUM.bits)),
                "embedding_valid": In(1),
                "embedding": In(signed(INT8.bits)),
                "sampling": In(SAMPLING),
                "position": In(32),
                "head_start": In(1),
                "raw": Out(stream.Signature(RAW)),
                "taken": Out(1),
                "token": Out(COUNT_BITS),
                "busy": In(1),
                "state_address": In(range(config.states)),
                "state_write": In(1),
                "state_write_value": In(signed(ACT.bits)),
                "state_value": Out(signed(ACT.bits)),
                "h_write": Out(1),
                "h_row": Out(COUNT_BITS),
                "h": Out(signed(ACT.bits)),
                "saturations": Out(3),
                "probe": Out(probe_layout(traced, width)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self._config
        # x, and above it u: never written, nor read, at the same time.
        above = max(config.vector_width, 1 << (config.hidden - 1).bit_length())
        width, layout = config.vector_width, config.layout
        quantised = (config.vector_depth, layout.tables, config.activation_words, layout.code.trits)
        vectors: VectorStore | WordStore
        measure: Measure | WideMeasure
        inputs: InputQuantiser | WideInputQuantiser
        scale: InverseRootScale | ParallelScale
        if width == 1:
            m.submodules.vectors = vectors = VectorStore(2 * above)
            m.submodules.measure = measure = Measure(config.energy_bits)
            m.submodules.inputs = inputs = InputQuantiser(*quantised)
            m.submodules.scale = scale = InverseRootScale(config.energy_bits)
        else:
            m.submodules.vectors = vectors = WordStore(signed(VECTOR.bits), 2 * above, width)
            m.submodules.measure = measure = WideMeasure(width, config.energy_bits)
            m.submodules.inputs = inputs = WideInputQuantiser(*quantised, width)
            m.submodules.scale = scale = ParallelScale(config.energy_bits)
        m.submodules.rescaler = rescaler = Rescaler()
        m.submodules.epilogue = epilogue = Epilogue(config.hidden, config.states, width)
        m.submodules.head = head = Head()
        self._vector_unit(m, vectors, measure, inputs, epilogue)
        self._output_scale(m, measure, scale, rescaler)
        self._rows(m, rescaler, epilogue, head)

        # While a pass reads vectors, no epilogue adds to x.
        now = self.vector_pass
        m.d.comb += [
            vectors.read_address.eq(
                Mux(now.reading, self.address | Mux(now.product, above, 0), epilogue.early_row)
            ),
            epilogue.x_element.eq(vectors.element),
            vectors.write.eq(epilogue.x_write | (epilogue.product_write & (self.mode == Mode.MLGRU))),
            vectors.write_address.eq(
                Mux(epilogue.product_write, epilogue.product_row | above, epilogue.x_row)
            ),
            vectors.write_element.eq(Mux(epilogue.product_write, epilogue.product, epilogue.x_value)),
            self.saturations.eq(Mux(self.active, epilogue.saturations + head.saturations, 0)),
        ]
        # As `PROBES` and `traced_units` name them.
        leaving: list[tuple[ValueLike, ...]] = [
            (epilogue.x_write, epilogue.x_row, epilogue.x_value),
            (epilogue.product_write, epilogue.product_row, epilogue.product),
            (epilogue.h_write, epilogue.h_row, epilogue.h_value),
            (epilogue.i_write, epilogue.i_row, epilogue.i_value),
            (epilogue.f_write, epilogue.f_row, epilogue.f_value),
            (epilogue.g_write, epilogue.g_row, epilogue.g_value),
        ]
        if self._traced:
            leaving += self._steps(m, measure, inputs)
        for probe, (valid, row, value, *mode) in zip(self.probe, leaving, strict=True):
            m.d.comb += [
                probe.valid.eq(valid & self.active),
                probe.mode.eq(mode[0] if mode else self.mode),
                probe.row.eq(row),
                probe.value.eq(value),
            ]
        return m

    def _steps(
        self, m: Module, measure: Measure | WideMeasure, inputs: InputQuantiser | WideInputQuantiser
    ) -> list[tuple[ValueLike, ...]]:
        """What a traced accelerator shows of its products: valid, row, value, and for q the mode."""
        vector = Signal(15)
        with m.If(self.project):
            m.d.sync += vector.eq(vector + 1)
        # One after the other: peak and energy stay until the scale is made of them.
        low, high = delay(m, self.scale_start, 2, "energy_shown")[1:]
        energy = Mux(high, measure.energy >> 32, measure.energy)
        scale = Cat(self.mantissa, C(0, 16 - SCALE.bits), self.exponent)
        made: list[tuple[ValueLike, ...]]
        q_valid, q_row = (
            inputs.q_write & ~inputs.void,
            inputs.q_word * self._config.layout.tables + inputs.q_lane,
        )
        if isinstance(inputs, InputQuantiser):
            made = [(q_valid, q_row, inputs.q, vector)]
        else:
            count = Signal.like(self.project_count)
            with m.If(self.project):
                m.d.sync += count.eq(self.project_count)
            made = [
                (q_valid & (q_row + k < count), q_row + k, each, vector) for k, each in enumerate(inputs.q)
            ]
        return [
            *made,
            (self.sum_valid, self.row, self.sum),
            (
                self.scale_start | low | high | self.scale_done,
                Mux(self.scale_done, 3, Cat(low, high)),
                Mux(self.scale_done, scale.as_signed(), Mux(low | high, energy, measure.peak)),
            ),
        ]

    def _vector_unit(
        self,
        m: Module,
        vectors: VectorStore | WordStore,
        measure: Measure | WideMeasure,
        inputs: InputQuantiser | WideInputQuantiser,
        epilogue: Epilogue,
    ) -> None:
        """Elements meet their weights, and become int8."""
        config, now = self._config, self.vector_pass
        m.submodules.activations = activations = memory.Memory(
            shape=unsigned(INT8.bits * config.layout.tables), depth=config.activation_depth, init=[]
        )
        read, write = activations.read_port(), activations.write_port(granularity=INT8.bits)
        m.d.comb += [
            self.produced.eq(epilogue.x_write | epilogue.product_write),
            measure.clear.eq(now.clear),
            measure.projecting.eq(now.projecting),
            measure.own_energy.eq(now.own_energy),
        ]
        if isinstance(measure, Measure):
            m.d.comb += [
                measure.valid.eq(Mux(now.running, self.produced, now.valid)),
                measure.element.eq(Mux(now.running, vectors.write_element, vectors.element)),
                measure.weight.eq(self.weight),
            ]
        else:
            self._words(m, vectors, measure)
        m.d.comb += [
            measure.side_clear.eq(self.enter),
            measure.side_valid.eq(epilogue.g_write),
            measure.side.eq(epilogue.g_value),
            inputs.clear.eq(self.project),
            inputs.count.eq(self.project_count),
            inputs.slot.eq(self.project_slot),
            inputs.measured.eq(now.measured),
            write.addr.eq(inputs.q_word | (inputs.current_slot << config.slot_bits)),
            write.data.eq(Value.cast(inputs.q).replicate(config.layout.tables // config.vector_width)),
            write.en.eq(inputs.q_write.replicate(config.vector_width) << inputs.q_lane),
            read.addr.eq(self.word_address),
            self.word.eq(read.data),
        ]
        for name, port in inputs.signature.members.items():
            if port.flow is In and name in measure.signature.members and name != "clear":
                m.d.comb += getattr(inputs, name).eq(getattr(measure, name))
        for name in ("blocks", "first_soon", "complete", "certain", "void", "current_slot"):
            m.d.comb += getattr(self, name).eq(getattr(inputs, name))

    def _words(self, m: Module, vectors: WordStore, measure: WideMeasure) -> None:
        """Words of elements: read from the vector memory, or gathered while they are produced."""
        now, width = self.vector_pass, self._config.vector_width
        m.submodules.gatherer = gatherer = Gatherer(width, self._config.element_bits)
        m.d.comb += [
            gatherer.clear.eq(self.project),
            gatherer.count.eq(self.project_count),
            gatherer.valid.eq(self.produced & now.running),
            gatherer.element.eq(vectors.write_element),
            measure.valid.eq(Mux(now.running, gatherer.word_valid, now.valid)),
            measure.weights.eq(self.weight),
        ]
        for k, element in enumerate(measure.elements):
            read = vectors.word[k] & now.present[k].replicate(VECTOR.bits)
            m.d.comb += element.eq(Mux(now.running, gatherer.word[k], read))

    def _output_scale(
        self,
        m: Module,
        measure: Measure | WideMeasure,
        scale: InverseRootScale | ParallelScale,
        rescaler: Rescaler,
    ) -> None:
        """One number a product, computed beside it; held for the rows that have entered."""
        header, sampling = self.header, self.sampling
        m.d.comb += [
            scale.start.eq(self.scale_start),
            scale.energy.eq(measure.energy),
            scale.peak.eq(measure.peak),
            scale.nested.eq(self.vector_pass.against_g),
            scale.against.eq(measure.side_energy),
            scale.norm_shift.eq(measure.level * LEVEL_SHIFT),
            scale.constant.eq(header.mantissa),
            scale.constant_exponent.eq(header.exponent),
            scale.epsilon_exponent.eq(header.epsilon_exponent),
            scale.epsilon.eq(header.epsilon),
            scale.temper.eq(sampling.sample),
            scale.temperature.eq(sampling.temperature_mantissa),
            scale.temperature_exponent.eq(sampling.temperature_exponent),
            self.scale_done.eq(scale.done),
            self.mantissa.eq(scale.mantissa),
            self.exponent.eq(scale.exponent),
        ]
        sampled = sampling.sample & (self.mode == Mode.HEAD)
        wide = (self.mode == Mode.RESIDUAL) | (self.mode == Mode.HEAD) | self.embed
        exponent = Signal(signed(EXPONENT_BITS + 2), reset_less=True)
        shift = Signal(signed(EXPONENT_BITS + 3))
        with m.If(self.enter | self.embed):
            m.d.sync += [
                exponent.eq(
                    Mux(
                        self.embed,
                        self.embedding_header.exponent,
                        Mux(sampled, scale.tempered_exponent, scale.exponent),
                    )
                ),
                rescaler.mantissa.eq(
                    Mux(
                        self.embed,
                        self.embedding_header.mantissa,
                        Mux(sampled, scale.tempered_mantissa, scale.mantissa),
                    )
                ),
                rescaler.wide.eq(wide),
            ]
        # The first row is on its way for longer than this takes.
        limit = (1 << SHIFT_BITS) - 1
        m.d.sync += [
            shift.eq(RESCALE_LEFT - Mux(rescaler.wide, VECTOR.fraction, ACT.fraction) - exponent),
            rescaler.shift.eq(Mux(shift < 0, 0, Mux(limit < shift, limit, shift[:SHIFT_BITS]))),
        ]

    def _rows(self, m: Module, rescaler: Rescaler, epilogue: Epilogue, head: Head) -> None:
        """Sums and embeddings become outputs, and go where the mode says."""
        config = self._config
        embedding = Signal()  # a cycle late: the elements come later
        m.d.sync += embedding.eq(self.mode == Mode.EMBED)
        in_head = self.mode == Mode.HEAD
        now = self.vector_pass
        bounds: ValueLike = self.weight
        if config.vector_width > 1:
            bounds = Cat(each[: GATE.bits] for each in self.weight)
        # Rows leave the rescaler in order.
        early, row = (Signal(config.row_bits, name=name, reset_less=True) for name in ("early", "row"))
        for counted, comes in ((early, rescaler.early_valid), (row, rescaler.out_valid)):
            with m.If(self.enter | self.embed):
                m.d.sync += counted.eq(0)
            with m.Elif(comes):
                m.d.sync += counted.eq(counted + 1)
        connect(m, flipped(self.raw), head.raw)
        m.d.comb += [
            rescaler.valid.eq(Mux(embedding, self.embedding_valid, self.sum_valid)),
            rescaler.sum.eq(Mux(embedding, self.embedding, self.sum)),
            epilogue.mode.eq(self.mode),
            epilogue.first.eq(self.first),
            epilogue.state_base.eq(self.state_base),
            *(
                getattr(epilogue, name).eq(getattr(self, name))
                for name in ("chained", "chain", "keep", "other_write", "other_row", "other_h")
            ),
            epilogue.early_row.eq(early),
            epilogue.valid.eq(rescaler.out_valid),
            epilogue.row.eq(row),
            epilogue.value.eq(rescaler.value),
            epilogue.clamped.eq(rescaler.clamped),
            epilogue.bound_write.eq(now.bound_write),
            epilogue.bound_row.eq(self.bound_row),
            epilogue.bound.eq(bounds),
            epilogue.busy.eq(self.busy),
            epilogue.state_address.eq(self.state_address),
            epilogue.state_write.eq(self.state_write),
            epilogue.state_write_value.eq(self.state_write_value),
            self.state_value.eq(epilogue.state_value),
            self.h_write.eq(epilogue.h_write),
            self.h_row.eq(epilogue.h_row),
            self.h.eq(epilogue.h_value),
            head.start.eq(self.head_start),
            head.active.eq(in_head),
            head.sample.eq(self.sampling.sample),
            head.emit_raw.eq(self.sampling.emit_raw & self.active),
            head.seed.eq(self.sampling.seed),
            head.position.eq(self.position),
            head.sum_valid.eq(self.sum_valid),
            head.sum_row.eq(self.row),
            head.sum.eq(self.sum),
            head.valid.eq(rescaler.out_valid),
            head.row.eq(row),
            head.value.eq(rescaler.value),
            head.clamped.eq(rescaler.clamped),
            self.taken.eq(head.taken),
            self.token.eq(head.token),
        ]
