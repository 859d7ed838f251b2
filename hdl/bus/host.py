"""The registers' hardware: decodes accesses, and holds settings."""

from collections.abc import Mapping
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Member

from ..registers import WORD_BITS, Field, Register, RegisterMap, Role
from .port import RegisterPort

__all__ = ["HostRegisters"]


class HostRegisters(wiring.Component):
    """Registers in front of an accelerator's host side.

    Refused are: reads and writes that a register does not have, offsets without a register, a token while
    the one before has not been taken, a result or raw logit that is not there, and PROGRAM, STATE and
    POSITION while the accelerator is not idle. Latency: 1 cycle, as `RegisterPort` says. Cost: a flip-flop a
    bit of settings, 32 a counted cause, 32 for higher words, and the multiplexer of what is read.

    Parameters
    ----------
    registers
        The map.
    members
        The members that the map's fields belong to, seen from the accelerator.

    Attributes
    ----------
    port : In(RegisterPort)
        The bus.
    ... :
        `members`, seen from here.
    """

    def __init__(self, registers: RegisterMap, members: Mapping[str, Member]) -> None:
        self._registers = registers
        inner = {name: member.flip() for name, member in members.items()}
        super().__init__({"port": In(RegisterPort()), **inner})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        port: Any = self.port
        for register in self._registers.of(Role.PUSH):
            pushed = getattr(self, register.fields[0].member)
            with m.If(pushed.ready):
                m.d.sync += pushed.valid.eq(0)
        counters: dict[str, Signal] = {}
        for register in self._registers.of(Role.COUNT):
            counters[register.name] = counter = Signal(WORD_BITS, name=register.name.lower())
            with m.If(~self.idle & (self.status.cause == register.fields[0].at)):
                m.d.sync += counter.eq(counter + 1)
        higher = Signal(WORD_BITS)
        m.d.comb += [
            self.program_word.eq(port.write_data),
            self.state_write_value.eq(port.write_data),
            self.new_position.eq(port.write_data),
        ]
        with m.If(port.read | port.write):
            m.d.sync += [port.read_data.eq(0), port.error.eq(1)]
            with m.Switch(port.address):
                for register in self._registers:
                    with m.Case(register.offset >> 2):
                        shown = counters.get(register.name, higher)
                        if register.role not in (Role.COUNT, Role.HIGHER):
                            shown = self._shown(register)
                        self._access(m, register, shown, higher)
        return m

    def _access(self, m: Module, register: Register, shown: Value | int, higher: Signal) -> None:
        """Do what an access to one register does."""
        port: Any = self.port
        member = getattr(self, register.fields[0].member, None)
        reads = port.read if "r" in register.access else 0
        writes = port.write if "w" in register.access else 0
        done = Signal(name=f"{register.name.lower()}_done")
        m.d.comb += done.eq(self._allowed(register, member) & (reads | writes))
        m.d.sync += [port.error.eq(~done), port.read_data.eq(Mux(done & port.read, shown, 0))]
        match register.role:
            case Role.WATCH if self._registers.of(Role.HIGHER, member=register.fields[0].member):
                field = register.fields[0]
                m.d.sync += higher.eq(self._bits(field)[field.at + WORD_BITS :])
            case Role.TAKE if member is not None:
                m.d.comb += member.ready.eq(done)
            case Role.PUSH if member is not None:
                with m.If(done):
                    m.d.sync += member.valid.eq(1)
            case Role.POSITION:
                m.d.comb += self.set_position.eq(done)
            case Role.PROGRAM:
                m.d.comb += self.program_write.eq(done)
                m.d.sync += self.program_address.eq(self.program_address + done)
            case Role.STATE:
                m.d.comb += self.state_write.eq(done & port.write)
                m.d.sync += self.state_address.eq(self.state_address + done)
        if register.role in (Role.SETTING, Role.ADDRESS, Role.HOLD, Role.PUSH):
            with m.If(done & port.write):
                for field in register.fields:
                    m.d.sync += self._bits(field)[field.at :][: field.bits].eq(port.write_data[field.low :])

    def _allowed(self, register: Register, member: Any) -> Value | int:
        """Whether an access is possible now."""
        match register.role:
            case Role.HOLD | Role.PUSH:
                return ~member.valid
            case Role.SHOW | Role.TAKE:
                return member.valid
            case Role.PROGRAM | Role.STATE | Role.POSITION:
                return self.idle
        return 1

    def _shown(self, register: Register) -> Value | int:
        """What a read sees of members."""
        match register.role:
            case Role.CONSTANT:
                return register.value
            case Role.FLAGS:
                pushed = [each.fields[0].member for each in self._registers.of(Role.PUSH)]
                return Cat(
                    getattr(self, field.member).valid ^ (field.member in pushed) for field in register.fields
                )
        parts = [self._bits(field)[field.at :][: field.bits] for field in register.fields]
        return parts[0].as_signed() if len(parts) == 1 and register.fields[0].signed else Cat(parts)

    def _bits(self, field: Field) -> Value:
        """Flat value of a field's member, or of its payload."""
        member = getattr(self, field.member)
        return Value.cast(getattr(member, "payload", member))
