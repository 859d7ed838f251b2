"""The whole core for an iCE40 UP5K, with its memory; a shift register stands for the link to a host."""

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect

from ..accelerator import Accelerator
from ..config import AcceleratorConfig
from .spram import SpramMemory

__all__ = ["SpramCore"]


class SpramCore(wiring.Component):
    """Accelerator and SPRAM memory with four pins, to be placed and routed before there is a board's link.

    Everything that a link would write is in a shift register, everything that it would read goes to one pin.
    Latency: none of its own. Cost: a flip-flop for each bit that a link would write; the probe is left out.

    Parameters
    ----------
    config
        The accelerator; its beats have 64 bits.

    Attributes
    ----------
    serial, shift, act : In(1)
        The next bit; whether it is taken; whether the strobes among the bits are obeyed in this cycle.
    answer : Out(1)
        Parity of what the accelerator says.
    """

    def __init__(self, config: AcceleratorConfig) -> None:
        self._config = config
        super().__init__({"serial": In(1), "shift": In(1), "act": In(1), "answer": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.accelerator = core = Accelerator(self._config)
        most = 1 + self._config.layout.beats(2 * self._config.vector_depth)
        m.submodules.memory = store = SpramMemory(most)
        connect(m, core.request, store.request)
        connect(m, store.beats, core.beats)
        connect(m, core.vector_request, store.vector_request)
        connect(m, store.vector_beats, core.vector_beats)

        # Addresses and data share bits, as they would in a link.
        data = Signal(32)
        address = Signal(16)
        strobes = Signal(7)
        settings = Signal(core.settings.shape())
        held = Cat(settings, data, address, strobes)
        with m.If(self.shift):
            m.d.sync += held.eq(Cat(self.serial, held[:-1]))
        obeyed = strobes & self.act.replicate(len(strobes))
        m.d.comb += [
            core.settings.eq(settings),
            core.program_address.eq(address),
            core.program_word.eq(data),
            core.program_write.eq(obeyed[0]),
            core.tokens.payload.eq(Cat(data, address)),
            core.tokens.valid.eq(obeyed[1]),
            core.state_address.eq(address),
            core.state_write_value.eq(data),
            core.state_write.eq(obeyed[2]),
            core.new_position.eq(data),
            core.set_position.eq(obeyed[3]),
            store.write_address.eq(address),
            store.write_word.eq(data),
            store.write.eq(obeyed[4]),
            core.results.ready.eq(obeyed[5]),
            core.raw.ready.eq(obeyed[6]),
        ]
        said = Cat(
            core.results.payload, core.results.valid, core.raw.payload, core.raw.valid, core.tokens.ready,
            core.idle, core.cycles, core.saturations, core.state_value, core.status, core.positions,
        )  # fmt: skip
        word = Signal(32)
        parts = [said[k : k + 32] for k in range(0, len(said), 32)]
        total = Const(0, 32)
        for part in parts:
            total = total ^ part
        m.d.sync += [word.eq(total), self.answer.eq(word.xor())]
        return m
