"""The sequencer's instructions: what a program is made of."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from amaranth.hdl import unsigned
from amaranth.lib import data

__all__ = ["COUNT_BITS", "WORDS", "WORD_BITS", "Epilogue", "Instruction", "Opcode"]

COUNT_BITS = 16
"""Bits of a number of elements, rows or column blocks."""
WORD_BITS = 16
WORDS = 8
"""16-bit words of an instruction."""


class Opcode(enum.IntEnum):
    """What an instruction does. Addresses are weight beats, relative to the layer where `layered` is set."""

    EMBED = 0
    """x = row of the token; `beats` a row, the first its scale."""
    STATS = 1
    """Energy of a vector times norm weights."""
    PROJECT = 2
    """Int8 inputs and output scale of a BitLinear: header, then its gain twice."""
    BOUND = 3
    """Lower bounds of the forget gate into the buffer of f."""
    MATMUL = 4
    """`count` rows, `blocks` column blocks, into an epilogue."""
    LAYER = 5
    """Next layer, `beats` and `count` states on; jump to `blocks` unless it was the last of `address`."""
    HEAD = 6
    """Ends the program unless logits are wanted."""
    END = 7


class Epilogue(enum.IntEnum):
    """Where a matrix product's rows go."""

    SILU = 0
    """i: silu, buffered."""
    GATE = 1
    """f: sigmoid, lower bound, buffered."""
    MLGRU = 2
    """g: new state h, and g * silu(h) into the product memory."""
    GLU = 3
    """gate, up: silu(gate) * up into the product memory."""
    RESIDUAL = 4
    """x += row."""
    HEAD = 5
    """Largest logit, or raw logits."""
    EMBED = 6
    """x = row (used by the embedding alone)."""


LAYOUT = data.StructLayout(
    {
        "opcode": unsigned(4),
        "epilogue": unsigned(4),
        "layered": unsigned(1),
        "product": unsigned(1),
        "own_energy": unsigned(1),
        "against_g": unsigned(1),
        "spare": unsigned(4),
        "address": unsigned(32),
        "count": unsigned(COUNT_BITS),
        "spare2": unsigned(16),
        "blocks": unsigned(COUNT_BITS),
        "beats": unsigned(32),
    }
)


@dataclass(frozen=True)
class Instruction:
    """One instruction.

    Parameters
    ----------
    opcode, epilogue
        What, and where a MATMUL's rows go.
    address
        First weight beat (LAYER: number of layers), 32 bits.
    count
        Elements or rows.
    blocks
        Column blocks (LAYER: instruction to jump to).
    beats
        Weight beats that it reads (PROJECT: of the gain alone; LAYER: of a layer).
    layered
        The address counts from the layer's first beat.
    product
        Reads the product memory instead of x.
    own_energy
        PROJECT takes the energy from the vector itself: no RMSNorm stands before the BitLinear.
    against_g
        PROJECT measures epsilon against the sum of squares of g.
    """

    opcode: Opcode
    address: int = 0
    count: int = 0
    blocks: int = 0
    beats: int = 0
    epilogue: Epilogue = Epilogue.SILU
    layered: bool = False
    product: bool = False
    own_energy: bool = False
    against_g: bool = False

    def words(self) -> list[int]:
        """The instruction as 16-bit words.

        Raises
        ------
        ValueError
            If a field does not fit.
        """
        bits = 0
        for name, field in LAYOUT:
            value = int(getattr(self, name, 0))
            if not 0 <= value < 1 << field.width:
                raise ValueError(
                    f"{name} of {self.opcode.name} is {value}; {field.width} bits hold up to"
                    f" {(1 << field.width) - 1}"
                )
            bits |= value << field.offset
        return [(bits >> (WORD_BITS * k)) & ((1 << WORD_BITS) - 1) for k in range(WORDS)]
