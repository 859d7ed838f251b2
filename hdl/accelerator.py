"""The whole accelerator: weight beats and tokens in, tokens out."""

from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.data import ArrayLayout, StructLayout
from amaranth.lib.wiring import In, Out, connect, flipped

from ..models.numerics import ACT, EXPONENT_BITS, SCALE
from .conductor import RESULT, STOPS, TOKEN, Conductor
from .config import AcceleratorConfig
from .datapath import PROBE, PROBES, SAMPLING, Datapath
from .head import RAW
from .isa import COUNT_BITS, WORD_BITS, Opcode
from .isa import Epilogue as Mode
from .matmul import MatMul
from .sequencer import REQUEST, Sequencer
from .streams import Unpacker
from .vectors import VectorControl
from .weights import WeightBuffer

__all__ = ["CAUSES", "PROBE", "PROBES", "SETTINGS", "STATUS", "Accelerator"]

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

CAUSES = (
    "fed",
    "memory",
    "vectors",
    "maximum",
    "quantising",
    "filling",
    "scale",
    "weights",
    "embedding",
    "head",
    "other",
)
"""What a cycle of a token went for: matrix beats that were taken; or why none was: the memory had none, or gave
vector weights; the next product's inputs wait for their maximum, are being quantised, its tables are filled;
its sums wait for their scale, or for vector weights that their consumer needs; the embedding; the head; else."""

STATUS = StructLayout(
    {
        "running": unsigned(1),
        "opcode": unsigned(4),
        "cause": unsigned(4),
        "waits_for_request": unsigned(1),
        "waits_for_beats": unsigned(1),
        "waits_for_vector_beats": unsigned(1),
        "waits_for_raw": unsigned(1),
        "waits_for_result": unsigned(1),
    }
)
"""What the accelerator does and what it waits for; `cause` counts in `CAUSES`."""


class Accelerator(wiring.Component):
    """A MatMul-free language model's accelerator.

    Attributes
    ----------
    request : Out(stream), beats : In(stream)
        Weight memory: runs of matrix beats wanted, and the beats in that order.
    vector_request : Out(stream), vector_beats : In(stream)
        The same for norm weights, headers and embeddings. Where the memory has one port, these go first:
        matrices wait for them. Their `ready` depends on no input.
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
        Layer of the rows that pass, `STATUS` and `PROBE`.
    """

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        beats = stream.Signature(unsigned(config.beat_bits))
        super().__init__(
            {
                "request": Out(stream.Signature(REQUEST)),
                "beats": In(beats),
                "vector_request": Out(stream.Signature(REQUEST)),
                "vector_beats": In(beats),
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
        tag = StructLayout(
            {
                "mode": Mode,
                "state_base": range(config.states),
                "layer": config.states.bit_length(),
            }
        )
        m.submodules.conductor = conductor = Conductor()
        m.submodules.sequencer = sequencer = Sequencer(config)
        m.submodules.unpacker = unpacker = Unpacker(config.beat_bits)
        m.submodules.weights = weights = WeightBuffer(config.hidden)
        m.submodules.vectors = vectors = VectorControl(config)
        m.submodules.matmul = matmul = MatMul(config, tag, Datapath.behind)
        m.submodules.datapath = datapath = Datapath(config)
        embedding = self._embedding(m, sequencer, unpacker, weights, vectors, datapath)
        self._tokens(m, conductor, sequencer, datapath)
        self._vectors(m, sequencer, unpacker, weights, vectors, datapath, embedding)
        busy = self._scales(m, vectors, matmul, datapath)
        self._products(m, sequencer, weights, vectors, matmul, datapath, embedding)

        quantising = ~datapath.complete
        opcode = sequencer.instruction.opcode
        m.d.comb += [
            # What a new pass would overwrite must have been used.
            sequencer.vector_ready.eq(
                vectors.idle & ~((opcode == Opcode.PROJECT) & quantising) & ((opcode == Opcode.BOUND) | ~busy)
            ),
            sequencer.drained.eq(vectors.idle & ~quantising & matmul.idle & ~busy),
        ]
        self._watch(m, conductor, sequencer, weights, vectors, matmul, datapath, embedding)
        return m

    def _tokens(self, m: Module, conductor: Conductor, sequencer: Sequencer, datapath: Datapath) -> None:
        """Tokens in and out."""
        settings = self.settings
        connect(m, flipped(self.tokens), conductor.tokens)
        connect(m, flipped(self.results), conductor.results)
        connect(m, flipped(self.raw), datapath.raw)
        m.d.comb += [
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
            conductor.chosen.eq(datapath.token),
            conductor.mantissa.eq(datapath.mantissa),
            conductor.exponent.eq(datapath.exponent),
            self.idle.eq(conductor.idle),
            datapath.position.eq(conductor.position),
            datapath.first.eq(conductor.position == 0),
            *(datapath.sampling[name].eq(settings[name]) for name, _ in SAMPLING),
            datapath.busy.eq(~conductor.idle),
            datapath.state_address.eq(self.state_address),
            datapath.state_write.eq(self.state_write),
            datapath.state_write_value.eq(self.state_write_value),
            self.state_value.eq(datapath.state_value),
            sequencer.program_write.eq(self.program_write),
            sequencer.program_address.eq(self.program_address),
            sequencer.program_word.eq(self.program_word),
        ]

    def _embedding(
        self,
        m: Module,
        sequencer: Sequencer,
        unpacker: Unpacker,
        weights: WeightBuffer,
        vectors: VectorControl,
        datapath: Datapath,
    ) -> Signal:
        """Take a token's row past the weight buffer into x; return whether that is going on."""
        config = self.config
        active = Signal()
        row, count = Signal(config.element_bits), Signal(config.element_bits)
        drain = Signal(range(Datapath.behind + 1))
        take, header, begin = Signal(), Signal(), Signal()
        m.d.comb += [
            sequencer.embed_ready.eq(~active & unpacker.idle & vectors.running),
            unpacker.take_header.eq(vectors.take_header | header),
            unpacker.start.eq(vectors.unpack | begin),
            unpacker.bytes.eq(begin),
            unpacker.count.eq(Mux(begin, count, vectors.count)),
            unpacker.elements.ready.eq(Mux(active, weights.available, weights.weights.ready)),
            weights.weights.payload.eq(unpacker.elements.payload),
            weights.weights.valid.eq(unpacker.elements.valid & ~active),
            take.eq(active & unpacker.elements.valid & unpacker.elements.ready),
            weights.reserve.eq(vectors.reserve | take),
            vectors.header_taken.eq(unpacker.header_taken),
            datapath.embed.eq(header & unpacker.header_taken),
            datapath.embedding_header.eq(unpacker.header),
            datapath.embedding_valid.eq(take),
            datapath.embedding_row.eq(row),
            datapath.embedding.eq(unpacker.elements.payload),
        ]
        with m.FSM():
            with m.State("IDLE"):
                with m.If(sequencer.embed):
                    m.d.sync += [active.eq(1), row.eq(0), count.eq(sequencer.instruction.count)]
                    m.next = "HEADER"
            with m.State("HEADER"):
                m.d.comb += header.eq(1)
                with m.If(unpacker.header_taken):
                    m.next = "BEGIN"
            with m.State("BEGIN"):
                m.d.comb += begin.eq(1)
                m.d.sync += drain.eq(Datapath.behind)
                m.next = "ELEMENTS"
            with m.State("ELEMENTS"):
                with m.If(take):
                    m.d.sync += row.eq(row + 1)
                with m.If(row == count):
                    m.d.sync += drain.eq(drain - 1)
                    with m.If(drain == 0):
                        m.d.sync += active.eq(0)
                        m.next = "IDLE"
        return active

    def _vectors(
        self,
        m: Module,
        sequencer: Sequencer,
        unpacker: Unpacker,
        weights: WeightBuffer,
        vectors: VectorControl,
        datapath: Datapath,
        embedding: Signal,
    ) -> None:
        """Vector weights meet elements."""
        instruction = sequencer.instruction
        now = datapath.vector_pass
        connect(m, flipped(self.vector_request), sequencer.vector_request)
        connect(m, flipped(self.vector_beats), unpacker.beats)
        m.d.comb += [
            vectors.start.eq(sequencer.vector),
            vectors.instruction.eq(instruction),
            vectors.available.eq(weights.available),
            vectors.produced.eq(datapath.produced),
            weights.pop.eq(vectors.pop),
            *(
                now[name].eq(getattr(vectors, name))
                for name in ("clear", "projecting", "own_energy", "product", "against_g", "running", "reading")
            ),
            *(now[name].eq(getattr(vectors, name)) for name in ("valid", "measured", "bound_write")),
            datapath.address.eq(vectors.address),
            datapath.weight.eq(weights.weight),
            datapath.bound_row.eq(vectors.bound_row),
            datapath.project.eq(sequencer.vector & (instruction.opcode == Opcode.PROJECT)),
            datapath.project_count.eq(instruction.count),
            datapath.project_slot.eq(instruction.slot),
        ]
        with m.If(vectors.take_header & unpacker.header_taken):
            m.d.sync += datapath.header.eq(unpacker.header)

    def _scales(self, m: Module, vectors: VectorControl, matmul: MatMul, datapath: Datapath) -> Signal:
        """Start a product's output scale when it can be known; return whether one is owed."""
        wanted, working, ready = Signal(), Signal(), Signal()
        entered = Signal()
        busy = Signal()
        m.d.sync += entered.eq(matmul.enter)
        m.d.comb += [
            datapath.enter.eq(entered),
            # The scale before stays until its product's sums have entered.
            datapath.scale_start.eq(wanted & ~working & ~ready & ~entered),
            matmul.may_enter.eq(ready),
            busy.eq(vectors.scale | wanted | working),
        ]
        with m.If(vectors.scale):
            m.d.sync += wanted.eq(1)
        with m.If(datapath.scale_start):
            m.d.sync += [wanted.eq(0), working.eq(1)]
        with m.If(working & datapath.scale_done):
            m.d.sync += [working.eq(0), ready.eq(1)]
        with m.If(matmul.enter):
            m.d.sync += ready.eq(0)
        return busy

    def _products(
        self,
        m: Module,
        sequencer: Sequencer,
        weights: WeightBuffer,
        vectors: VectorControl,
        matmul: MatMul,
        datapath: Datapath,
        embedding: Signal,
    ) -> None:
        """Matrix products: from int8 inputs to the epilogues."""
        instruction = sequencer.instruction
        connect(m, flipped(self.request), sequencer.matrix_request)
        connect(m, flipped(self.beats), matmul.beats)
        mode = matmul.sums_tag.mode
        feeds = (mode == Mode.MLGRU) | (mode == Mode.GLU) | (mode == Mode.RESIDUAL)
        same = datapath.current_slot == matmul.fill_slot
        in_head = mode == Mode.HEAD
        m.d.comb += [
            sequencer.matrix_ready.eq(matmul.ready),
            matmul.start.eq(sequencer.matrix),
            matmul.rows.eq(instruction.count),
            matmul.blocks.eq(instruction.blocks),
            matmul.slot.eq(instruction.slot),
            matmul.tag.mode.eq(instruction.epilogue),
            matmul.tag.state_base.eq(sequencer.state_base),
            matmul.tag.layer.eq(sequencer.layer),
            # The other slot is complete: its projection was the one before.
            matmul.fill_certain.eq(~same | datapath.certain),
            matmul.fill_void.eq(same & datapath.void),
            matmul.fill_ready.eq(
                ~same
                | datapath.complete
                | (
                    ~datapath.void
                    & (datapath.blocks > matmul.fill_block)
                    & (datapath.certain | (matmul.fill_block == 0))
                )
            ),
            datapath.word_address.eq(matmul.word_address),
            matmul.words.eq(datapath.word),
            # Whoever takes the elements that a row makes must be there, with a weight for each.
            matmul.open.eq(~feeds | (vectors.running & weights.available)),
            matmul.one_by_one.eq(in_head & self.settings.emit_raw),
            matmul.taken.eq(datapath.taken),
            datapath.sum_valid.eq(matmul.valid),
            datapath.row.eq(matmul.row),
            datapath.sum.eq(matmul.sums[0]),
            datapath.mode.eq(Mux(embedding, Mode.EMBED, mode)),
            datapath.state_base.eq(matmul.sums_tag.state_base),
            datapath.head_start.eq(matmul.start & (instruction.epilogue == Mode.HEAD)),
            self.layer.eq(Mux(embedding, 0, matmul.sums_tag.layer)),
        ]
        with m.If(matmul.leaves & feeds & ((mode != Mode.GLU) | matmul.odd)):
            m.d.comb += weights.reserve.eq(1)

    def _watch(
        self,
        m: Module,
        conductor: Conductor,
        sequencer: Sequencer,
        weights: WeightBuffer,
        vectors: VectorControl,
        matmul: MatMul,
        datapath: Datapath,
        embedding: Signal,
    ) -> None:
        """Counters, status and probe."""
        status = self.status
        cause = Signal(4)
        m.d.comb += cause.eq(CAUSES.index("other"))
        with m.If(self.beats.valid & self.beats.ready):
            m.d.comb += cause.eq(CAUSES.index("fed"))
        with m.Elif(self.beats.ready):
            m.d.comb += cause.eq(CAUSES.index("memory"))
            with m.If(self.vector_beats.valid & self.vector_beats.ready):
                m.d.comb += cause.eq(CAUSES.index("vectors"))
        with m.Elif(matmul.waits_for_inputs):
            m.d.comb += cause.eq(Mux(datapath.certain, CAUSES.index("quantising"), CAUSES.index("maximum")))
        with m.Elif(matmul.waits_for_tables):
            m.d.comb += cause.eq(CAUSES.index("filling"))
        with m.Elif(matmul.waits_for_scale):
            m.d.comb += cause.eq(CAUSES.index("scale"))
        with m.Elif(matmul.waits_to_open):
            m.d.comb += cause.eq(CAUSES.index("weights"))
        with m.Elif(embedding):
            m.d.comb += cause.eq(CAUSES.index("embedding"))
        with m.Elif(matmul.sums_tag.mode == Mode.HEAD):
            m.d.comb += cause.eq(CAUSES.index("head"))
        with m.If(~conductor.idle):
            m.d.sync += self.cycles.eq(self.cycles + 1)
        m.d.sync += self.saturations.eq(self.saturations + datapath.saturations)
        m.d.comb += [
            status.running.eq(~conductor.idle),
            status.opcode.eq(sequencer.instruction.opcode),
            status.cause.eq(cause),
            status.waits_for_request.eq(
                (self.request.valid & ~self.request.ready)
                | (self.vector_request.valid & ~self.vector_request.ready)
            ),
            status.waits_for_beats.eq(self.beats.ready & ~self.beats.valid),
            status.waits_for_vector_beats.eq(self.vector_beats.ready & ~self.vector_beats.valid),
            status.waits_for_raw.eq(self.raw.valid & ~self.raw.ready),
            status.waits_for_result.eq(self.results.valid & ~self.results.ready),
            self.probe.eq(datapath.probe),
        ]
