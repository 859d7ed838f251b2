"""The whole accelerator: weight beats and tokens in, tokens out."""

from collections.abc import Collection
from typing import Any

from amaranth.hdl import Array, C, Cat, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.data import ArrayLayout, StructLayout
from amaranth.lib.wiring import In, Out, connect, flipped

from ..models.errors import TritforgeError
from ..models.numerics import ACT, EXPONENT_BITS, SCALE, to_scale
from .arith import delay
from .conductor import RESULT, STOPS, STREAM_BITS, TOKEN, Conductor
from .config import AcceleratorConfig
from .datapath import HEADER, PROBES, TRACED, Datapath, probe_layout, traced_units, vector_pass
from .head import RAW
from .isa import COUNT_BITS, WORD_BITS, Opcode
from .isa import Epilogue as Mode
from .matmul import MatMul
from .mlgru import Mlgru
from .sequencer import REQUEST, Sequencer
from .streams import Unpacker
from .vectors import VectorControl
from .weights import WeightBuffer

__all__ = [
    "CAUSES",
    "PROBES",
    "RAW_LOGIT",
    "STATUS",
    "TRACED",
    "Accelerator",
    "probe_layout",
    "sampling",
    "settings_layout",
    "traced_units",
]


def settings_layout(streams: int) -> StructLayout:
    """Run settings of an accelerator.

    `temperature` is the SCALE of 1 / temperature, used if `sample` is set; `halt` ends a generation at its
    next token; `chain` makes so many streams, the first ones, successive positions of one text.
    """
    return StructLayout(
        {
            "stops": ArrayLayout(unsigned(COUNT_BITS), STOPS),
            "stops_enabled": unsigned(STOPS),
            "sample": unsigned(1),
            "emit_raw": unsigned(1),
            "halt": unsigned(1),
            "chain": range(streams + 1),
            "temperature_mantissa": unsigned(SCALE.bits),
            "temperature_exponent": signed(EXPONENT_BITS),
            "seeds": ArrayLayout(unsigned(32), streams),
        }
    )


def sampling(temperature: float | None, stop: Collection[int]) -> dict[str, Any]:
    """Settings, by their names in `settings_layout`, that say how tokens are chosen and which of them end it.

    Parameters
    ----------
    temperature
        Divides the logits before noise is added; None for the most likely token.
    stop
        Tokens that end a generation.

    Raises
    ------
    TritforgeError
        If there are more of them than the accelerator compares with.
    """
    if len(stop) > STOPS:
        raise TritforgeError(
            f"{len(stop)} stop tokens are more than the {STOPS} that the accelerator compares with"
        )
    mantissa, exponent = (0, 0) if temperature is None else to_scale(1 / temperature)
    return {
        "stops": sorted(stop) + [0] * (STOPS - len(stop)),
        "stops_enabled": (1 << len(stop)) - 1,
        "sample": temperature is not None,
        "temperature_mantissa": mantissa,
        "temperature_exponent": exponent,
    }


RAW_LOGIT = StructLayout({**{name: field.shape for name, field in RAW}, "stream": unsigned(STREAM_BITS)})
"""One raw logit, and whose it is."""

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
"""What a cycle of a token went for: a matrix beat that was taken, or why none was.

The memory had none, or gave vector weights; the next product's inputs wait for their maximum, are being
quantised, its tables are filled; its sums wait for their scale, or for their consumer, which takes them
one by one (raw logits) or needs a vector weight for each; the embedding; the head; else.
"""

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

    Latency: of a token, as its model, its program and the weight memory let it be, so none is given. Cost: a
    `Datapath` for each stream, and what all streams share.

    Parameters
    ----------
    config
        The configuration.
    traced
        See `Datapath`.

    Attributes
    ----------
    request : Out(stream), beats : In(stream)
        Weight memory: runs of matrix beats wanted, and the beats in that order.
    vector_request : Out(stream), vector_beats : In(stream)
        The same for norm weights, headers and embeddings. Where the memory has one port, these go first:
        matrices wait for them. Their `ready` depends on no input.
    vector_soon : Out(1)
        For a memory that is slow to answer: a beat of `vector_beats` that comes two cycles later is likely to
        be taken at once.
    program_write, program_address, program_word : In
        Write port of the program memory.
    tokens : In(stream), results : Out(stream), raw : Out(stream)
        Tokens to consume, tokens chosen, raw logits.
    settings : In
        `settings_layout`, held while the accelerator runs.
    set_position, new_position : In; positions : Out
        See `Conductor`; of the stream `state_stream`.
    state_stream, state_address, state_write, state_write_value : In; state_value : Out
        A stream's state memory, while `idle`.
    idle : Out(1)
        Waits for a token.
    cycles, saturations : Out
        Cycles not idle, and values clamped, since reset.
    layer, status, probe : Out
        Layer of the first stream's rows that pass, `STATUS`, and each stream's probe (`probe_layout`).
    """

    def __init__(self, config: AcceleratorConfig, *, traced: bool = False) -> None:
        self.config = config
        self._traced = traced
        beats = stream.Signature(unsigned(config.beat_bits))
        super().__init__(
            {
                "request": Out(stream.Signature(REQUEST)),
                "beats": In(beats),
                "vector_request": Out(stream.Signature(REQUEST)),
                "vector_beats": In(beats),
                "vector_soon": Out(1),
                "program_write": In(1),
                "program_address": In(range(config.program_words)),
                "program_word": In(WORD_BITS),
                "tokens": In(stream.Signature(TOKEN)),
                "results": Out(stream.Signature(RESULT)),
                "raw": Out(stream.Signature(RAW_LOGIT)),
                "settings": In(settings_layout(config.streams)),
                "set_position": In(1),
                "new_position": In(32),
                "positions": Out(ArrayLayout(unsigned(32), config.streams)),
                "state_stream": In(STREAM_BITS),
                "state_address": In(range(config.states)),
                "state_write": In(1),
                "state_write_value": In(signed(ACT.bits)),
                "state_value": Out(signed(ACT.bits)),
                "idle": Out(1),
                "cycles": Out(48),
                "saturations": Out(32),
                "layer": Out(COUNT_BITS),
                "status": Out(STATUS),
                "probe": Out(ArrayLayout(probe_layout(traced, config.vector_width), config.streams)),
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
        m.submodules.conductor = conductor = Conductor(config.streams)
        m.submodules.sequencer = sequencer = Sequencer(config)
        m.submodules.unpacker = unpacker = Unpacker(
            config.beat_bits, config.element_bits, config.vector_width
        )
        m.submodules.weights = weights = WeightBuffer(config.hidden, config.vector_width)
        m.submodules.vectors = vectors = VectorControl(config)
        m.submodules.matmul = matmul = MatMul(config, tag, Datapath.latency + config.lag)
        datapaths = [Datapath(config, traced=self._traced) for _ in range(config.streams)]
        for k, datapath in enumerate(datapaths):
            m.submodules[f"datapath{k}"] = datapath
        embedding = self._embedding(m, sequencer, unpacker, weights, vectors, datapaths)
        self._tokens(m, conductor, sequencer, datapaths)
        self._raw(m, conductor, matmul, datapaths)
        self._vectors(m, sequencer, unpacker, weights, vectors, datapaths)
        busy = self._scales(m, vectors, matmul, datapaths)
        self._products(m, conductor, sequencer, weights, vectors, matmul, datapaths, embedding)

        quantising = ~Cat(datapath.complete for datapath in datapaths).all()
        opcode = sequencer.instruction.opcode
        # What a new pass would overwrite must have been used.
        m.d.comb += sequencer.vector_ready.eq(
            vectors.idle
            & ~((opcode == Opcode.PROJECT) & (quantising | (embedding & sequencer.instruction.embedded)))
            & ((opcode == Opcode.BOUND) | ~busy)
        )
        # A cycle late, which nobody can notice: the sequencer has fetched for several.
        m.d.sync += sequencer.drained.eq(vectors.idle & ~quantising & matmul.idle & ~busy)
        self._watch(m, conductor, sequencer, matmul, datapaths, embedding)
        return m

    def _tokens(
        self, m: Module, conductor: Conductor, sequencer: Sequencer, datapaths: list[Datapath]
    ) -> None:
        """Tokens in and out, settings, states."""
        settings = self.settings
        connect(m, flipped(self.tokens), conductor.tokens)
        connect(m, flipped(self.results), conductor.results)
        m.d.comb += [
            *(
                getattr(conductor, name).eq(settings[name])
                for name in ("stops", "stops_enabled", "halt", "chain")
            ),
            conductor.set_position.eq(self.set_position),
            conductor.position_stream.eq(self.state_stream),
            conductor.new_position.eq(self.new_position),
            self.positions.eq(conductor.positions),
            sequencer.start.eq(conductor.start),
            sequencer.active.eq(conductor.active),
            sequencer.logits.eq((conductor.active & conductor.logits).any()),
            conductor.done.eq(sequencer.done),
            self.idle.eq(conductor.idle),
            self.state_value.eq(Array(datapath.state_value for datapath in datapaths)[self.state_stream]),
            sequencer.program_write.eq(self.program_write),
            sequencer.program_address.eq(self.program_address),
            sequencer.program_word.eq(self.program_word),
        ]
        # Positions of one text: each goes on from the state of the one before, and the last one's is kept, in
        # the first stream's memory.
        several = len(datapaths) > 1
        chained, keep = (settings.chain != 0, settings.chain < 2) if several else (0, ~settings.chain)
        first = Signal(len(datapaths))
        m.d.sync += first.eq(Cat(position == 0 for position in conductor.positions))
        for k, datapath in enumerate(datapaths):
            m.d.comb += [
                sequencer.token[k].eq(conductor.token[k]),
                conductor.chosen[k].eq(datapath.token),
                conductor.mantissa[k].eq(datapath.mantissa),
                conductor.exponent[k].eq(datapath.exponent),
                datapath.active.eq(conductor.active[k]),
                datapath.position.eq(conductor.positions[k]),
                datapath.first.eq(first[k]),
                datapath.sampling.seed.eq(settings.seeds[k]),
                datapath.sampling.sample.eq(settings.sample),
                datapath.sampling.emit_raw.eq(settings.emit_raw & conductor.active[k] & conductor.logits[k]),
                datapath.sampling.temperature_mantissa.eq(settings.temperature_mantissa),
                datapath.sampling.temperature_exponent.eq(settings.temperature_exponent),
                datapath.busy.eq(~conductor.idle),
                datapath.state_address.eq(self.state_address),
                datapath.state_write.eq(self.state_write & (self.state_stream == k)),
                datapath.state_write_value.eq(self.state_write_value),
                datapath.chained.eq(chained if k else 0),
                datapath.keep.eq(conductor.active[k] & keep),
            ]
            if k:
                m.d.comb += datapath.chain.eq(datapaths[k - 1].h)
                with m.If(settings.chain == k + 1):
                    m.d.comb += [
                        datapaths[0].other_write.eq(datapath.h_write),
                        datapaths[0].other_row.eq(datapath.h_row),
                        datapaths[0].other_h.eq(datapath.h),
                    ]

    def _raw(self, m: Module, conductor: Conductor, matmul: MatMul, datapaths: list[Datapath]) -> None:
        """Raw logits of all streams in turn; a row's last one lets the next row come."""
        waits: Value = C(0, 1)
        for k, datapath in enumerate(datapaths):
            with m.If(~waits & datapath.raw.valid):
                m.d.comb += [
                    self.raw.valid.eq(1),
                    self.raw.payload.sum.eq(datapath.raw.payload.sum),
                    self.raw.payload.row.eq(datapath.raw.payload.row),
                    self.raw.payload.stream.eq(k),
                    datapath.raw.ready.eq(self.raw.ready),
                ]
            waits = waits | datapath.raw.valid
            # A stream's rows come after those of the streams before it.
            with m.If(datapath.sampling.emit_raw):
                m.d.comb += matmul.taken.eq(datapath.taken)

    def _embedding(
        self,
        m: Module,
        sequencer: Sequencer,
        unpacker: Unpacker,
        weights: WeightBuffer,
        vectors: VectorControl,
        datapaths: list[Datapath],
    ) -> Signal:
        """Take a token's row past the weight buffer into x; return whether that is going on."""
        config = self.config
        active = Signal()
        left = Signal(config.element_bits, reset_less=True)
        begins = Signal()  # until the unpacker has begun
        asked = Signal()  # a cycle late: the instruction stays for that
        m.d.sync += asked.eq(sequencer.embed)
        drain = Signal(range(Datapath.latency + 1))
        ended, drained = Signal(), Signal()  # one and two cycles late
        m.d.sync += [ended.eq(left == 0), drained.eq(ended & (drain == 0))]
        take, header, begin = Signal(), Signal(), Signal()
        whose = Signal(range(config.streams))
        # One stream's elements are measured as they come, those of several when all have come.
        alone = config.streams == 1
        m.d.comb += sequencer.embed_ready.eq(
            ~active & unpacker.idle & (vectors.running if alone else vectors.idle)
        )
        m.d.comb += [
            unpacker.take_header.eq(vectors.take_header | header),
            unpacker.start.eq(vectors.unpack | begin),
            unpacker.bytes.eq(begin),
            unpacker.count.eq(Mux(begins, left, vectors.count)),
            unpacker.elements.ready.eq(Mux(active, weights.available if alone else 1, weights.weights.ready)),
            weights.weights.payload.eq(unpacker.elements.payload),
            weights.weights.valid.eq(unpacker.elements.valid & ~active),
            take.eq(active & unpacker.elements.valid & unpacker.elements.ready),
            weights.reserve.eq(vectors.reserve | (take if alone else 0)),
            vectors.header_taken.eq(unpacker.header_taken),
        ]
        for k, datapath in enumerate(datapaths):
            m.d.comb += [
                datapath.embed.eq(header & unpacker.header_taken),
                datapath.embedding_header.eq(unpacker.header),
                datapath.embedding_valid.eq(take & (whose == k)),
                datapath.embedding.eq(unpacker.elements.payload),
            ]
        with m.FSM():
            with m.State("IDLE"):
                with m.If(asked):
                    m.d.sync += [
                        active.eq(1), begins.eq(1),
                        left.eq(sequencer.instruction.count), whose.eq(sequencer.embed_stream),
                    ]  # fmt: skip
                    m.next = "HEADER"
            with m.State("HEADER"):
                m.d.comb += header.eq(1)
                with m.If(unpacker.header_taken):
                    m.next = "BEGIN"
            with m.State("BEGIN"):
                m.d.comb += begin.eq(1)
                m.d.sync += [begins.eq(0), drain.eq(Datapath.latency)]
                m.next = "ELEMENTS"
            with m.State("ELEMENTS"):
                with m.If(take):
                    m.d.sync += left.eq(left - 1)
                with m.If(ended):
                    m.d.sync += drain.eq(drain - 1)
                with m.If(drained):
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
        datapaths: list[Datapath],
    ) -> None:
        """Vector weights meet elements."""
        instruction = sequencer.instruction
        connect(m, flipped(self.vector_request), sequencer.vector_request)
        connect(m, flipped(self.vector_beats), unpacker.beats)
        m.d.comb += [
            self.vector_soon.eq(unpacker.soon),
            vectors.start.eq(sequencer.vector),
            vectors.instruction.eq(instruction),
            vectors.scanning.eq(instruction.embedded & (sequencer.layer == 0)),
            vectors.available.eq(weights.available),
            vectors.produced.eq(datapaths[0].produced),
            weights.pop.eq(vectors.pop),
        ]
        # The instruction stays for a cycle.
        header, project = Signal(HEADER), Signal()
        m.d.sync += project.eq(sequencer.vector & (instruction.opcode == Opcode.PROJECT))
        with m.If(vectors.take_header & unpacker.header_taken):
            m.d.sync += header.eq(unpacker.header)
        if self.config.vector_width > 1:
            m.d.comb += [weights.clear.eq(vectors.unpack), weights.by_word.eq(vectors.reading)]
        lagging = delay(m, weights.weight, self.config.lag, "weight")
        for k, datapath in enumerate(datapaths):
            late = lagging[Mlgru.latency * k]
            m.d.comb += [
                *(
                    datapath.vector_pass[name].eq(getattr(vectors, name))
                    for name, _ in vector_pass(self.config.vector_width)
                ),
                datapath.address.eq(vectors.address),
                datapath.weight.eq(Mux(vectors.running, late, weights.weight) if k else weights.weight),
                datapath.bound_row.eq(vectors.bound_row),
                datapath.project.eq(project),
                datapath.project_count.eq(instruction.count),
                datapath.project_slot.eq(instruction.slot),
                datapath.header.eq(header),
            ]

    def _scales(self, m: Module, vectors: VectorControl, matmul: MatMul, datapaths: list[Datapath]) -> Signal:
        """Start a product's output scales when they can be known; return whether some are owed."""
        wanted, ready = Signal(), Signal()
        working = Signal(len(datapaths))
        start, started, entered, passed_on, busy = (Signal() for _ in range(5))
        m.d.sync += [entered.eq(matmul.enter), passed_on.eq(entered), started.eq(start)]
        m.d.comb += [
            # The scales before stay until their product's sums have entered.
            start.eq(wanted & ~working.any() & ~ready & ~entered),
            matmul.may_enter.eq(ready & ~working.any()),
            busy.eq(vectors.scale | wanted | working.any()),
        ]
        with m.If(vectors.scale):
            m.d.sync += wanted.eq(1)
        for k, datapath in enumerate(datapaths):
            m.d.comb += [datapath.scale_start.eq(started), datapath.enter.eq(passed_on)]
            with m.If(datapath.scale_done):
                m.d.sync += working[k].eq(0)
        with m.If(start):
            m.d.sync += [wanted.eq(0), working.eq(~0), ready.eq(1)]
        with m.If(matmul.enter):
            m.d.sync += ready.eq(0)
        return busy

    def _products(
        self,
        m: Module,
        conductor: Conductor,
        sequencer: Sequencer,
        weights: WeightBuffer,
        vectors: VectorControl,
        matmul: MatMul,
        datapaths: list[Datapath],
        embedding: Signal,
    ) -> None:
        """Matrix products: from int8 inputs to the epilogues."""
        instruction = sequencer.instruction
        connect(m, flipped(self.request), sequencer.matrix_request)
        connect(m, flipped(self.beats), matmul.beats)
        mode = matmul.sums_tag.mode
        feeds = Value.cast(mode)[-1]  # from MLGRU on
        same = datapaths[0].current_slot == matmul.fill_slot
        certain = Cat(datapath.certain for datapath in datapaths).all()
        complete = Cat(datapath.complete for datapath in datapaths).all()
        void = Cat(datapath.void for datapath in datapaths).any()
        first_soon = Cat(datapath.first_soon for datapath in datapaths).all()
        block_there = Cat(matmul.fill_block < datapath.blocks for datapath in datapaths).all()
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
            matmul.fill_certain.eq(~same | certain),
            matmul.fill_void.eq(same & void),
            # Only the first block is filled while its inputs are not certain; its last word is read later
            # than its last inputs come.
            matmul.fill_ready.eq(
                ~same | complete | (certain & block_there) | (~void & first_soon & (matmul.fill_block == 0))
            ),
            matmul.words.eq(Cat(datapath.word for datapath in datapaths)),
            # Whoever takes the elements that a row makes must be there, with a weight for each.
            matmul.open.eq(~feeds | (vectors.running & weights.soon)),
            matmul.one_by_one.eq(
                (mode == Mode.HEAD) & self.settings.emit_raw & (conductor.active & conductor.logits).any()
            ),
            self.layer.eq(Mux(embedding, 0, matmul.sums_tag.layer)),
        ]
        # A cycle late: the rows come later.
        head_start, passing = Signal(), Signal(Mode)
        m.d.sync += [
            passing.eq(Mux(embedding, Mode.EMBED, mode)),
            head_start.eq(matmul.start & (instruction.epilogue == Mode.HEAD)),
        ]
        m.d.comb += weights.may_reserve.eq(self.beats.valid & self.beats.ready)
        wants, by_pairs = Signal(), Signal()  # as late
        m.d.sync += [wants.eq(feeds), by_pairs.eq(mode == Mode.GLU)]
        with m.If(matmul.leaves & wants & (~by_pairs | matmul.odd)):
            m.d.comb += weights.reserve.eq(1)
        # States go from one stream to the next, so each has its rows when the one before has its states.
        lagging = delay(m, Cat(matmul.valid, matmul.row), self.config.lag, "sum")
        for k, datapath in enumerate(datapaths):
            behind = Mlgru.latency * k
            m.d.comb += [
                datapath.word_address.eq(matmul.word_address),
                datapath.sum_valid.eq(lagging[behind][0]),
                datapath.row.eq(lagging[behind][1:]),
                datapath.sum.eq(delay(m, matmul.sums[k], behind, f"sum_of_{k}_")[-1]),
                datapath.mode.eq(passing),
                datapath.state_base.eq(matmul.sums_tag.state_base),
                datapath.head_start.eq(head_start),
            ]

    def _watch(
        self,
        m: Module,
        conductor: Conductor,
        sequencer: Sequencer,
        matmul: MatMul,
        datapaths: list[Datapath],
        embedding: Signal,
    ) -> None:
        """Counters, status and probes."""
        status = self.status
        cause = Signal(4)
        certain = Cat(datapath.certain for datapath in datapaths).all()
        m.d.comb += cause.eq(CAUSES.index("other"))
        with m.If(self.beats.valid & self.beats.ready):
            m.d.comb += cause.eq(CAUSES.index("fed"))
        with m.Elif(self.beats.ready):
            m.d.comb += cause.eq(CAUSES.index("memory"))
            with m.If(self.vector_beats.valid & self.vector_beats.ready):
                m.d.comb += cause.eq(CAUSES.index("vectors"))
        with m.Elif(matmul.waits_for_inputs):
            m.d.comb += cause.eq(Mux(certain, CAUSES.index("quantising"), CAUSES.index("maximum")))
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
        # A cycle late, all three.
        m.d.sync += [status.running.eq(~conductor.idle), status.cause.eq(cause)]
        with m.If(status.running):
            m.d.sync += self.cycles.eq(self.cycles + 1)
        saturated = Signal(range(4 * len(datapaths) + 1))
        m.d.sync += [
            saturated.eq(sum(datapath.saturations for datapath in datapaths)),
            self.saturations.eq(self.saturations + saturated),
        ]
        m.d.comb += [
            status.opcode.eq(sequencer.instruction.opcode),
            status.waits_for_request.eq(
                (self.request.valid & ~self.request.ready)
                | (self.vector_request.valid & ~self.vector_request.ready)
            ),
            status.waits_for_beats.eq(self.beats.ready & ~self.beats.valid),
            status.waits_for_vector_beats.eq(self.vector_beats.ready & ~self.vector_beats.valid),
            status.waits_for_raw.eq(self.raw.valid & ~self.raw.ready),
            status.waits_for_result.eq(self.results.valid & ~self.results.ready),
            *(self.probe[k].eq(datapath.probe) for k, datapath in enumerate(datapaths)),
        ]
