"""Counters of causes, as a host reads them from registers and from the board: those of the runner's loop."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Array, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In
from tritforge.hdl.accelerator import CAUSES, Accelerator
from tritforge.hdl.bus.host import HostRegisters
from tritforge.hdl.config import AcceleratorConfig
from tritforge.hdl.link.counter import Counter
from tritforge.hdl.link.protocol import COUNTER_BYTES
from tritforge.hdl.link.settings import CAUSE_BITS
from tritforge.hdl.registers import WORD_BITS, Role, host_members, register_map
from tritforge.models.checkpoint import Checkpoint
from tritforge.models.image import Layout, in_memory_image
from tritforge.models.quantise import quantise
from tritforge.sim import engine
from tritforge.sim.build import build_model
from tritforge.sim.engine import RtlEngine
from tritforge.sim.verilog import to_verilog

pytestmark = pytest.mark.usefixtures("needs_compiler")

CONFIG = AcceleratorConfig("test", Layout(8, 6, "tree"), 40, 60, 120, 256)
MODEL = {"hidden_size": 40, "intermediate_size": 41, "num_hidden_layers": 3, "vocab_size": 30}
EVERY_CAUSE = 1 << CAUSE_BITS
_HALVES = 2
"""Of a register: a state's element has 16 bits."""
_REST = 4
"""Elements of the state that tell nothing: the board's counter is read 3 cycles behind what it counts."""


class Counted(wiring.Component):
    """An accelerator beside both kinds of counters; its state's elements show what they hold.

    First the registers, halves from the low end; then, behind `_REST`, a counter of the board's for each
    cause, and one for all, bytes from the low end, which can be read once.
    """

    def __init__(self, config: AcceleratorConfig) -> None:
        self.inner = Accelerator(config)
        super().__init__(dict(self.inner.signature.members.items()))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.inner = inner = self.inner
        for path, member, value in self.signature.flatten(self):
            if path != ("state_value",):
                theirs: Any = inner
                for name in path:
                    theirs = getattr(theirs, name)
                m.d.comb += theirs.eq(value) if member.flow == In else value.eq(theirs)
        members = host_members(inner.signature)
        registers = register_map(inner.signature, inner.config.digest(), {}, CAUSES)
        m.submodules.registers = host = HostRegisters(registers, members)
        m.d.comb += [host.idle.eq(inner.idle), host.status.eq(inner.status), host.port.read.eq(1)]
        words = [register.offset // 4 for register in registers.of(Role.COUNT)]
        at, before = self.state_address, Signal.like(self.state_address)
        place = Array(words)[at // _HALVES]
        m.d.comb += host.port.address.eq(place)
        first = _HALVES * len(words) + _REST
        shown = Array([Signal(8, name=f"byte{k}") for k in range(len(CAUSES) + 1)])
        for k, watched in enumerate((*range(len(CAUSES)), EVERY_CAUSE)):
            m.submodules[f"counter{k}"] = counter = Counter()
            m.d.comb += [
                counter.idle.eq(inner.idle),
                counter.cause.eq(inner.status.cause),
                counter.watched.eq(watched),
                counter.rotate.eq((at >= first) & ((at - first) // COUNTER_BYTES == k)),
                shown[k].eq(counter.byte),
            ]
        byte = Signal(8)
        m.d.sync += [before.eq(at), byte.eq(shown[(at - first) // COUNTER_BYTES])]
        with m.If(before < first):
            m.d.comb += self.state_value.eq(host.port.read_data.word_select(before % _HALVES, 16))
        with m.Else():
            m.d.comb += self.state_value.eq(byte)
        return m


def test_registers_and_the_board_s_counter_tell_the_causes_that_the_runner_counts(
    make_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    library = build_model(to_verilog(Counted(CONFIG), "accelerator"), "accelerator", engine._RUNNER)
    monkeypatch.setattr(engine, "compiled_accelerator", lambda config, **_: library)
    image = in_memory_image(quantise(Checkpoint(make_model(seed=2, **MODEL))), CONFIG.layout)
    for stall_rate in (0.0, 0.3):
        rtl = RtlEngine(image, CONFIG, stall_rate=stall_rate)
        # The prompt's tokens but the last, then chosen ones that are fed back.
        assert len(list(rtl.generate([1, 2, 3], 3))) == 3
        shown = rtl.state().h.reshape(-1).astype(np.uint16).tolist()
        causes = rtl.causes
        halves, rest = shown[: _HALVES * len(CAUSES)], shown[_HALVES * len(CAUSES) + _REST :]
        registers = [low | high << 16 for low, high in zip(halves[0::2], halves[1::2], strict=True)]
        size = COUNTER_BYTES
        board = [
            int.from_bytes(bytes(rest[size * k : size * (k + 1)]), "little") for k in range(len(CAUSES) + 1)
        ]
        assert dict(zip(CAUSES, registers, strict=True)) == causes
        assert dict(zip(CAUSES, board, strict=False)) == causes
        assert board[-1] == sum(causes.values()) == rtl._cycles()
        assert causes["fed"] > 1000
        assert (causes["memory"] > 100) == (stall_rate > 0)
    assert WORD_BITS == 16 * _HALVES
