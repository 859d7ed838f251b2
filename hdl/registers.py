"""Registers through which a host on a bus runs the accelerator, defined once.

The map follows the accelerator's signature: its settings, streams and counters become registers of 32 bits.
The decoder in hardware (`bus.host`), the testbench's constants and the map's document are made from it.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from amaranth.hdl import Shape, ShapeLike
from amaranth.lib import wiring
from amaranth.lib.data import ArrayLayout, StructLayout
from amaranth.lib.wiring import In, Member

from ..models.errors import TritforgeError
from .sequencer import REQUEST

__all__ = [
    "ADDRESS_BITS",
    "IDENTITY",
    "WORD_BITS",
    "Field",
    "Register",
    "RegisterMap",
    "Role",
    "host_members",
    "register_map",
    "weight_channels",
]

WORD_BITS = 32
"""Bits of a register."""
ADDRESS_BITS = 12
"""Bits of a byte address: the registers take a page of 4 KiB."""
IDENTITY = int.from_bytes(b"TRIT", "big")
"""What the first register reads."""

_GROUP = 0x40
_HIDDEN = ("vector_soon", "probe")
_MEMORIES = (
    "program_write",
    "program_address",
    "program_word",
    "state_stream",
    "state_address",
    "state_write",
    "state_write_value",
    "state_value",
    "set_position",
    "new_position",
)

_DESCRIPTIONS = {
    "tokens": "A token to consume; refused unless its flag in FLAGS is set.",
    "results": "The oldest chosen token that was not taken, and the scale of its logits.",
    "raw": "The oldest raw logit that was not taken; there are some while EMIT_RAW is set.",
    "stops": "A token that ends a generation.",
    "stops_enabled": "Which of the stop tokens count, a bit each.",
    "sample": "1: tokens are drawn at a temperature; 0: the most likely is taken.",
    "emit_raw": "1: every raw logit leaves, and must be taken.",
    "halt": "1: a generation ends at its next token.",
    "chain": "Streams that are successive positions of one text, the first stream's; 0: each has its own.",
    "temperature_mantissa": "1 / temperature is mantissa x 2^exponent.",
    "temperature_exponent": "See TEMPERATURE_MANTISSA.",
    "seeds": "Of the random choices of a stream.",
    "weights_base": "Where the weight image lies, in bytes; a multiple of 4,096.",
    "memory_error": "The weight memory has answered with an error since reset.",
    "idle": "Waits for a token. PROGRAM, STATE and POSITION can be used only now.",
    "cycles": "Cycles not idle since reset.",
    "saturations": "Values clamped to their format since reset.",
    "layer": "Layer in work.",
    "status": "What the accelerator does and what it waits for.",
    "positions": "Tokens that a stream has consumed.",
    "state_stream": "Whose state STATE and POSITION are.",
}


class Role(enum.Enum):
    """What an access does."""

    CONSTANT = "constant"
    FLAGS = "flags"
    """Shows which streams can be written or read."""
    HOLD = "hold"
    """A write is a part of a stream's next element."""
    PUSH = "push"
    """A write is the last part of an element, and gives it."""
    SHOW = "show"
    """A read sees a part of a stream's element."""
    TAKE = "take"
    """A read sees the last part of an element, and takes it."""
    SETTING = "setting"
    WATCH = "watch"
    """Shows a member; its higher words are held until they are read."""
    HIGHER = "higher"
    """A higher word of what was read before."""
    COUNT = "count"
    """Cycles of one cause, modulo 2^32."""
    ADDRESS = "address"
    """Where a program word or a state element lies."""
    PROGRAM = "program"
    STATE = "state"
    POSITION = "position"


_ACCESS = {
    **dict.fromkeys((Role.SETTING, Role.ADDRESS, Role.STATE), "rw"),
    **dict.fromkeys((Role.HOLD, Role.PUSH, Role.PROGRAM, Role.POSITION), "w"),
}


@dataclass(frozen=True)
class Field:
    """Bits of a register.

    Parameters
    ----------
    name
        What they are called.
    low, bits
        Lowest bit in the register; number of bits.
    signed
        Two's complement.
    member
        Name of the member of the accelerator that they belong to.
    at
        Lowest bit in that member's value, or in its payload if it is a stream.
    """

    name: str
    low: int
    bits: int
    signed: bool = False
    member: str = ""
    at: int = 0

    def __str__(self) -> str:
        top = self.low + self.bits - 1
        return f"{self.name} [{top}:{self.low}]" if self.bits > 1 else f"{self.name} [{self.low}]"


@dataclass(frozen=True)
class Register:
    """One register.

    Parameters
    ----------
    name
        In capitals.
    role
        What an access does.
    description
        For the document.
    fields
        Its bits; one that is alone and signed fills the register with its sign.
    value
        Of a constant.
    offset
        Byte address, a multiple of 4.
    """

    name: str
    role: Role
    description: str
    fields: tuple[Field, ...]
    value: int = 0
    offset: int = 0

    @property
    def access(self) -> str:
        """``r``, ``w`` or ``rw``."""
        return _ACCESS.get(self.role, "r")

    @property
    def bits(self) -> int:
        """Bits in use."""
        return max(field.low + field.bits for field in self.fields)

    def word(self, values: Mapping[str, int]) -> int:
        """What the register reads when members have these values; all that it shows must be among them."""
        alone = len(self.fields) == 1
        word = 0
        for field in self.fields:
            part = values[field.member] >> field.at & (1 << field.bits) - 1
            if alone and field.signed and part >> field.bits - 1:
                part -= 1 << field.bits
            word |= part << field.low
        return word & (1 << WORD_BITS) - 1


@dataclass(frozen=True)
class RegisterMap:
    """All registers, in the order of their offsets."""

    registers: tuple[Register, ...]

    def __iter__(self) -> Iterator[Register]:
        return iter(self.registers)

    def __getitem__(self, name: str) -> Register:
        for register in self.registers:
            if register.name == name:
                return register
        raise KeyError(name)

    def of(self, *roles: Role, member: str | None = None) -> list[Register]:
        """Registers of some roles; of one member alone, if it is named."""
        return [
            register
            for register in self.registers
            if register.role in roles and member in (None, register.fields[0].member)
        ]

    def to_dict(self) -> dict[str, Any]:
        """The map for programs."""
        return {
            "word_bits": WORD_BITS,
            "address_bits": ADDRESS_BITS,
            "registers": [
                {
                    "name": register.name,
                    "offset": register.offset,
                    "access": register.access,
                    "bits": register.bits,
                    "description": register.description,
                    "fields": [
                        {"name": field.name, "low": field.low, "bits": field.bits, "signed": field.signed}
                        for field in register.fields
                    ],
                    **({"value": register.value} if register.role is Role.CONSTANT else {}),
                }
                for register in self.registers
            ],
        }

    def to_markdown(self) -> str:
        """The map as a table."""
        lines = ["| offset | name | access | bits | what |", "| ---: | --- | --- | ---: | --- |"]
        for register in self.registers:
            fields = ", ".join(map(str, register.fields)) if len(register.fields) > 1 else ""
            what = f"{register.description} {fields}".strip()
            cells = (f"`{register.offset:#05x}`", register.name, register.access, str(register.bits), what)
            lines.append(f"| {' | '.join(cells)} |")
        return "\n".join(lines) + "\n"


def weight_channels(signature: wiring.Signature) -> list[tuple[str, str]]:
    """The accelerator's read channels: names of the stream of requests and of the stream of beats."""
    return [
        (name, name.replace("request", "beats"))
        for name, member in signature.members.items()
        if member.is_signature and member.signature.members["payload"].shape == REQUEST
    ]


def host_members(signature: wiring.Signature) -> dict[str, Member]:
    """The accelerator's members that a host sees: all but what belongs to weight channels, and the probe."""
    others = {name for channel in weight_channels(signature) for name in channel}
    others.update(_HIDDEN)
    return {name: member for name, member in signature.members.items() if name not in others}


def register_map(
    signature: wiring.Signature,
    digest: str,
    memory: Mapping[str, Member] | None = None,
    causes: Sequence[str] = (),
) -> RegisterMap:
    """The registers of an accelerator.

    Parameters
    ----------
    signature
        The accelerator's.
    digest
        Hash of its configuration, in hexadecimal.
    memory
        Members of the same kind that belong to the reader of the weight memory.
    causes
        What the numbers in the status' field `cause` mean; the cycles of each are counted.

    Raises
    ------
    TritforgeError
        If they are more than the page holds.
    """
    members = {**host_members(signature), **(memory or {})}
    groups = [_identification(digest), _streams(members), _memories(members), _settings(members)]
    groups += [_watching(members), _counters(causes)]
    registers: list[Register] = []
    offset = 0
    for group in groups:
        registers += [replace(register, offset=offset + 4 * k) for k, register in enumerate(group)]
        offset += -(-4 * len(group) // _GROUP) * _GROUP
    if registers[-1].offset >> ADDRESS_BITS:
        raise TritforgeError(
            f"the registers take {registers[-1].offset + 4} bytes; a page has {1 << ADDRESS_BITS}"
        )
    return RegisterMap(tuple(registers))


def _identification(digest: str) -> list[Register]:
    identity, configuration = Field("identity", 0, WORD_BITS), Field("configuration", 0, WORD_BITS)
    text = "First 32 bits of the hash of the accelerator's configuration."
    return [
        Register("IDENTITY", Role.CONSTANT, "The letters TRIT.", (identity,), IDENTITY),
        Register("CONFIGURATION", Role.CONSTANT, text, (configuration,), int(digest[:8], 16)),
    ]


def _streams(members: Mapping[str, Member]) -> list[Register]:
    streams = {name: member for name, member in members.items() if member.is_signature}
    text = "What can be written (TOKENS) or read (all others) now."
    flags = tuple(Field(name, k, 1, member=name) for k, name in enumerate(streams))
    registers = [Register("FLAGS", Role.FLAGS, text, flags)]
    for name, member in streams.items():
        part, whole, does = (
            (Role.HOLD, Role.PUSH, " A write gives it.")
            if member.flow == In
            else (Role.SHOW, Role.TAKE, " A read takes it.")
        )
        words = _packed(_leaves(member.signature.members["payload"].shape, name))
        for k, word in enumerate(words):
            last = k == len(words) - 1
            text = "The next part of the same." if k else _describe(name)
            register = f"{name}_{k}" if k else name
            registers.append(
                Register(register.upper(), whole if last else part, text + does * last, word)
            )
    return registers


def _memories(members: Mapping[str, Member]) -> list[Register]:
    def fields(name: str) -> tuple[Field, ...]:
        return tuple(_leaves(members[name].shape, name))

    stream = _describe("state_stream")
    position = "Moves to this number of tokens consumed; 0 begins a text, with zero state."
    return [
        Register("PROGRAM_ADDRESS", Role.ADDRESS, "Of the next program word.", fields("program_address")),
        Register("PROGRAM", Role.PROGRAM, "A program word; the address moves on.", fields("program_word")),
        Register("STATE_STREAM", Role.SETTING, stream, fields("state_stream")),
        Register("STATE_ADDRESS", Role.ADDRESS, "Of the next state element.", fields("state_address")),
        Register("STATE", Role.STATE, "A state element; the address moves on.", fields("state_value")),
        Register("POSITION", Role.POSITION, position, fields("new_position")),
    ]


def _settings(members: Mapping[str, Member]) -> list[Register]:
    return [
        register
        for name, member in members.items()
        if member.is_port and member.flow == In and name not in _MEMORIES
        for register in _one_each(name, member, Role.SETTING, Role.SETTING)
    ]


def _watching(members: Mapping[str, Member]) -> list[Register]:
    registers: list[Register] = []
    for name, member in members.items():
        if not member.is_port or member.flow == In or name in _MEMORIES:
            continue
        if isinstance(member.shape, StructLayout) and member.shape.size <= WORD_BITS:
            (fields,) = _packed(_leaves(member.shape, name))
            registers.append(Register(name.upper(), Role.WATCH, _describe(name), fields))
        else:
            registers += _one_each(name, member, Role.WATCH, Role.HIGHER)
    return registers


def _counters(causes: Sequence[str]) -> list[Register]:
    return [
        Register(
            f"CYCLES_{cause.upper()}",
            Role.COUNT,
            f"Cycles not idle whose cause was {cause}, modulo 2^32.",
            (Field(f"cycles_{cause}", 0, WORD_BITS, member="status", at=k),),
        )
        for k, cause in enumerate(causes)
    ]


def _one_each(name: str, member: Member, role: Role, higher: Role) -> list[Register]:
    """A register for every number of a member, one more for what exceeds its 32 bits."""
    registers: list[Register] = []
    for leaf in _leaves(member.shape, name):
        capitals = leaf.name.upper()
        registers.append(Register(capitals, role, _describe(leaf.name), (_part(leaf, 0),)))
        if leaf.bits > WORD_BITS:
            text = f"Bits {WORD_BITS} and up of {capitals}"
            text += ", as they were when that was read." if higher is Role.HIGHER else "."
            registers.append(Register(f"{capitals}_HIGH", higher, text, (_part(leaf, WORD_BITS),)))
    return registers


def _part(leaf: Field, low: int) -> Field:
    bits = min(leaf.bits - low, WORD_BITS)
    return Field(leaf.name, 0, bits, leaf.signed and low + bits == leaf.bits, leaf.member, leaf.at + low)


def _leaves(shape: ShapeLike, path: str, name: str = "", at: int = 0) -> list[Field]:
    """All numbers in a structure, as fields that lie where the structure has them."""
    if isinstance(shape, StructLayout | ArrayLayout):
        if isinstance(shape, ArrayLayout):
            name = name or path
        fields: list[Field] = []
        for key, part in shape:
            child = f"{name}_{key}" if name else str(key)
            fields += _leaves(part.shape, path, child, at + part.offset)
        return fields
    plain = Shape.cast(shape)
    return [Field(name or path, 0, plain.width, plain.signed, path, at)]


def _packed(leaves: list[Field]) -> list[tuple[Field, ...]]:
    """Numbers packed into words; none crosses a border."""
    words: list[list[Field]] = [[]]
    low = 0
    for leaf in leaves:
        if low + leaf.bits > WORD_BITS:
            words.append([])
            low = 0
        words[-1].append(Field(leaf.name, low, leaf.bits, leaf.signed, leaf.member, leaf.at))
        low += leaf.bits
    return [tuple(word) for word in words]


def _describe(name: str) -> str:
    known = name if name in _DESCRIPTIONS else name.rstrip("0123456789").removesuffix("_")
    return _DESCRIPTIONS.get(known, f"{name.replace('_', ' ').capitalize()}.")
