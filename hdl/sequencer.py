"""Runs a model's program once for each token."""

from amaranth.hdl import Module, Signal, unsigned
from amaranth.lib import memory, stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out

from .isa import COUNT_BITS, LAYOUT, WORD_BITS, WORDS, Opcode

__all__ = ["REQUEST", "Sequencer"]

REQUEST = StructLayout({"address": unsigned(32), "count": unsigned(32)})
"""A run of weight beats: its first one's address and their number."""


class Sequencer(wiring.Component):
    """Fetches instructions, asks for their weight beats, starts their unit and waits until it has ended.

    Latency: 11 cycles an instruction beside its unit's, 12 for PROJECT, and up to 17 more for EMBED's product
    of token and row size. Cost: the program memory, a 128-bit instruction register, two 32-bit adders.

    Parameters
    ----------
    program_words
        Size of the program memory in 16-bit words.
    states
        Elements of state.

    Attributes
    ----------
    program_write, program_address, program_word : In
        Write port of the program memory.
    start, token, logits : In
        Begins the program for a token; `logits` high runs the head.
    done : Out(1)
        A pulse at the program's end.
    request : Out(stream)
        Weight beats wanted.
    instruction : Out
        The instruction being executed.
    dispatch : Out(1)
        A pulse: its unit begins.
    finished : In(1)
        A pulse: its unit has ended.
    state_base : Out
        First state element of the layer.
    layer : Out
        Current layer.
    running : Out(1)
        Between `start` and `done`.
    """

    def __init__(self, program_words: int, states: int) -> None:
        self._program_words = program_words
        super().__init__(
            {
                "program_write": In(1),
                "program_address": In(range(program_words)),
                "program_word": In(WORD_BITS),
                "start": In(1),
                "token": In(COUNT_BITS),
                "logits": In(1),
                "done": Out(1),
                "request": Out(stream.Signature(REQUEST)),
                "instruction": Out(LAYOUT),
                "dispatch": Out(1),
                "finished": In(1),
                "state_base": Out(range(states)),
                "layer": Out(COUNT_BITS),
                "running": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.program = program = memory.Memory(
            shape=unsigned(WORD_BITS), depth=self._program_words, init=[]
        )
        write, read = program.write_port(), program.read_port()
        at = Signal(range(self._program_words))
        word = Signal(range(WORDS + 1))
        instruction = Signal(LAYOUT)
        base = Signal(32)
        address = Signal(32)
        factor = Signal(COUNT_BITS)
        stride = Signal(32)
        again = Signal()
        m.d.comb += [
            write.en.eq(self.program_write),
            write.addr.eq(self.program_address),
            write.data.eq(self.program_word),
            read.addr.eq(at),
            self.instruction.eq(instruction),
            self.request.payload.address.eq(address),
            # A projection's header stands before its gain.
            self.request.payload.count.eq(instruction.beats + again),
        ]
        opcode = instruction.opcode
        with m.FSM() as fsm:
            m.d.comb += self.running.eq(~fsm.ongoing("IDLE"))
            with m.State("IDLE"):
                m.d.sync += [at.eq(0), base.eq(0), self.layer.eq(0), self.state_base.eq(0), word.eq(0)]
                with m.If(self.start):
                    m.next = "FETCH"
            with m.State("FETCH"):  # a word comes a cycle after its address; the last one in ends up on top
                m.d.sync += [at.eq(at + 1), word.eq(word + 1)]
                with m.If(word != 0):
                    m.d.sync += instruction.eq(
                        (instruction.as_value() >> WORD_BITS) | (read.data << (WORD_BITS * (WORDS - 1)))
                    )
                with m.If(word == WORDS):
                    m.d.sync += [word.eq(0), at.eq(at)]
                    m.next = "DECODE"
            with m.State("DECODE"):
                m.d.sync += [
                    address.eq(instruction.address),
                    again.eq(opcode == Opcode.PROJECT),
                    factor.eq(self.token),
                    stride.eq(instruction.beats),
                ]
                with m.If(instruction.layered):
                    m.d.sync += address.eq(instruction.address + base)
                m.next = "REQUEST"
                with m.Switch(opcode):
                    with m.Case(Opcode.EMBED):
                        m.next = "ROW"
                    with m.Case(Opcode.LAYER):
                        m.d.sync += [
                            base.eq(base + instruction.beats),
                            self.state_base.eq(self.state_base + instruction.count),
                            self.layer.eq(self.layer + 1),
                        ]
                        with m.If(self.layer + 1 != instruction.address):
                            m.d.sync += at.eq(instruction.blocks * WORDS)
                        m.next = "FETCH"
                    with m.Case(Opcode.HEAD):
                        m.next = "FETCH"
                        with m.If(~self.logits):
                            m.d.comb += self.done.eq(1)
                            m.next = "IDLE"
                    with m.Case(Opcode.END):
                        m.d.comb += self.done.eq(1)
                        m.next = "IDLE"
            with m.State("ROW"):  # address += token * beats, shift and add
                with m.If(factor[0]):
                    m.d.sync += address.eq(address + stride)
                m.d.sync += [factor.eq(factor >> 1), stride.eq(stride << 1)]
                with m.If(factor == 0):
                    m.next = "REQUEST"
            with m.State("REQUEST"):
                m.d.comb += self.request.valid.eq(1)
                with m.If(self.request.ready):
                    m.d.sync += again.eq(0)
                    with m.If(again):
                        m.d.sync += address.eq(address + 1)
                    with m.Else():
                        m.d.comb += self.dispatch.eq(1)
                        m.next = "WAIT"
            with m.State("WAIT"):
                with m.If(self.finished):
                    m.next = "FETCH"
        return m
