"""Runs a model's program once for each token."""

from amaranth.hdl import Array, Module, Mux, Signal, unsigned
from amaranth.lib import memory, stream, wiring
from amaranth.lib.data import ArrayLayout, StructLayout
from amaranth.lib.wiring import In, Out

from .config import AcceleratorConfig
from .isa import LAYOUT, WORD_BITS, WORDS, Opcode

__all__ = ["REQUEST", "Sequencer"]

REQUEST = StructLayout({"address": unsigned(32), "count": unsigned(32)})
"""A run of weight beats: its first one's address and their number."""


class Sequencer(wiring.Component):
    """Fetches instructions, asks for their weight beats, and starts their unit as soon as it can take one.

    Units run on while the next instructions are fetched. At the program's end it begins again, and waits
    for the next token where it is needed first. Latency: `latency` cycles from an instruction's start to the
    next one's, whose unit is ready; one more for each bit of the token, and 3, for EMBED's product of token
    and row size. Cost: the program memory, an instruction register, two adders of the width of an address.

    Parameters
    ----------
    config
        The accelerator.

    Attributes
    ----------
    program_write, program_address, program_word : In
        Write port of the program memory.
    start : In(1)
        A token is there; not before `done` of the one before. The first start begins the program.
    token, active, logits : In
        Tokens of the streams that are active, and whether the head is to run; held until `done`.
    done : Out(1)
        A pulse at the program's end.
    matrix_request, vector_request : Out(stream)
        Weight beats wanted, of matrices and of vectors.
    instruction : Out
        The instruction to be started.
    embed, vector, matrix : Out(1)
        Pulses: its unit begins; EMBED for one active stream after the other, `embed_stream`.
    embed_ready, vector_ready, matrix_ready : In(1)
        The unit can take `instruction`.
    drained : In(1)
        Nothing is in work.
    state_base, layer : Out
        First state element of the layer; the layer.
    running : Out(1)
        Between `start` and `done`.
    """

    latency = WORDS + 3

    def __init__(self, config: AcceleratorConfig) -> None:
        self._config = config
        super().__init__(
            {
                "program_write": In(1),
                "program_address": In(range(config.program_words)),
                "program_word": In(WORD_BITS),
                "start": In(1),
                "token": In(ArrayLayout(unsigned(config.vocabulary.bit_length()), config.streams)),
                "active": In(config.streams),
                "logits": In(1),
                "done": Out(1),
                "matrix_request": Out(stream.Signature(REQUEST)),
                "vector_request": Out(stream.Signature(REQUEST)),
                "instruction": Out(LAYOUT),
                "embed": Out(1),
                "embed_stream": Out(range(config.streams)),
                "vector": Out(1),
                "matrix": Out(1),
                "embed_ready": In(1),
                "vector_ready": In(1),
                "matrix_ready": In(1),
                "drained": In(1),
                "state_base": Out(range(config.states)),
                "layer": Out(config.states.bit_length()),
                "running": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self._config
        m.submodules.program = program = memory.Memory(
            shape=unsigned(WORD_BITS), depth=config.program_words, init=[]
        )
        write, read = program.write_port(), program.read_port()
        at = Signal(range(config.program_words))
        word = Signal(range(WORDS + 1))
        words = Signal(LAYOUT, reset_less=True)
        base = Signal(config.address_bits)
        address, stride = (
            Signal(config.address_bits, name=name, reset_less=True) for name in ("address", "stride")
        )
        factor = Signal(config.vocabulary.bit_length(), reset_less=True)
        added = Signal()  # no bit of `factor` is left, a cycle late
        instruction = self.instruction
        opcode = instruction.opcode
        m.d.comb += [
            write.en.eq(self.program_write),
            write.addr.eq(self.program_address),
            write.data.eq(self.program_word),
            read.addr.eq(at),
            instruction.eq(words),
        ]
        for request in (self.matrix_request, self.vector_request):
            m.d.comb += [
                request.payload.address.eq(address),
                request.payload.count.eq(instruction.beats[: config.address_bits]),
            ]
        for k in range(WORDS):  # a word comes a cycle after its address
            with m.If(word == k + 1):
                m.d.sync += words.as_value()[WORD_BITS * k : WORD_BITS * (k + 1)].eq(read.data)

        is_matrix, is_embed, more_layers = Signal(), Signal(), Signal()
        m.d.sync += [
            added.eq(factor == 0),
            is_matrix.eq(opcode == Opcode.MATMUL),
            is_embed.eq(opcode == Opcode.EMBED),
            more_layers.eq(self.layer != instruction.address[: len(self.layer)]),
        ]
        # Whether to start is decided a cycle before.
        asks, ready, starts = Signal(), Signal(), Signal()
        with m.Switch(opcode):
            with m.Case(Opcode.MATMUL):
                m.d.comb += asks.eq(self.matrix_ready)
            with m.Case(Opcode.EMBED):
                m.d.comb += asks.eq(self.embed_ready)
            with m.Case(Opcode.PROJECT, Opcode.SCALE, Opcode.ENERGY, Opcode.BOUND):
                m.d.comb += asks.eq(self.vector_ready)
        m.d.comb += [
            self.matrix_request.valid.eq(ready & is_matrix),
            self.vector_request.valid.eq(ready & ~is_matrix),
            starts.eq(ready & Mux(is_matrix, self.matrix_request.ready, self.vector_request.ready)),
            self.matrix.eq(starts & is_matrix),
            self.embed.eq(starts & is_embed),
            self.vector.eq(starts & ~is_matrix & ~is_embed),
        ]
        going = Signal()
        with m.If(self.start):
            m.d.sync += going.eq(1)
        m.d.comb += self.running.eq(going)

        with m.FSM() as fsm:
            is_found = Mux(opcode == Opcode.EMBED, fsm.ongoing("ROW") & added, fsm.ongoing("DECODE"))
            m.d.sync += ready.eq((is_found | fsm.ongoing("START")) & asks & ~starts)
            with m.State("IDLE"):
                with m.If(going):
                    m.next = "FETCH"
            with m.State("FETCH"):
                m.d.sync += [at.eq(at + 1), word.eq(word + 1)]
                with m.If(word == WORDS):
                    m.d.sync += [word.eq(0), at.eq(at)]
                    m.next = "DECODE"
            with m.State("DECODE"):
                m.d.sync += [stride.eq(instruction.beats), address.eq(instruction.address)]
                with m.If(instruction.layered):
                    m.d.sync += address.eq(instruction.address + base)
                m.next = "START"
                with m.Switch(opcode):
                    with m.Case(Opcode.EMBED):
                        m.next = "TOKEN"
                        with m.If(self.layer != 0):
                            m.next = "FETCH"
                    with m.Case(Opcode.LAYER):
                        m.d.sync += [
                            base.eq(base + instruction.beats),
                            self.state_base.eq(self.state_base + instruction.count),
                            self.layer.eq(self.layer + 1),
                        ]
                        m.next = "LAYER"
                    with m.Case(Opcode.HEAD):
                        m.next = "FETCH"
                        with m.If(~self.logits):
                            m.next = "END"
                    with m.Case(Opcode.END):
                        m.next = "END"
            with m.State("LAYER"):
                m.next = "BRANCH"
            with m.State("BRANCH"):
                with m.If(more_layers):
                    m.d.sync += at.eq(instruction.blocks * WORDS)
                m.next = "FETCH"
            with m.State("TOKEN"):
                m.d.sync += [factor.eq(Array(self.token)[self.embed_stream]), added.eq(0)]
                with m.If(going):
                    m.next = "ROW"
                    with m.If(~self.active.bit_select(self.embed_stream, 1)):
                        m.next = "NEXT_TOKEN"
            with m.State("ROW"):  # address += token * beats, shift and add
                with m.If(factor[0]):
                    m.d.sync += address.eq(address + stride)
                m.d.sync += [factor.eq(factor >> 1), stride.eq(stride << 1)]
                with m.If(added):
                    m.next = "START"
            with m.State("START"):
                with m.If(starts):
                    m.next = "FETCH"
                    with m.If(is_embed):
                        m.next = "NEXT_TOKEN"
            with m.State("NEXT_TOKEN"):
                m.d.sync += self.embed_stream.eq(self.embed_stream + 1)
                m.next = "DECODE"
                with m.If(self.embed_stream == config.streams - 1):
                    m.d.sync += self.embed_stream.eq(0)
                    m.next = "FETCH"
            with m.State("END"):
                with m.If(self.drained):
                    m.next = "RESTART"
            with m.State("RESTART"):
                m.d.comb += self.done.eq(1)
                m.d.sync += [going.eq(0), at.eq(0), base.eq(0), self.layer.eq(0), self.state_base.eq(0)]
                m.next = "FETCH"
        return m
