"""The sequencer's instructions: what a program is made of."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from amaranth.hdl import unsigned
from amaranth.lib import data

__all__ = ["COUNT_BITS", "LAYOUT", "WORDS", "WORD_BITS", "Epilogue", "Instruction", "Opcode"]

COUNT_BITS = 16
"""Bits of a number of elements, rows or column blocks."""
WORD_BITS = 16
WORDS = 8
"""16-bit words of an instruction."""


class Opcode(enum.IntEnum):
    """What an instruction does. Addresses are weight beats, relative to the layer where `layered` is set.

    Instructions start in order and overlap: a matrix product streams while the vector unit, whose part is
    PROJECT, ENERGY, BOUND and SCALE, prepares the next ones.
    """

    EMBED = 0
    """In layer 0 only: x = row of the token, once there is a token; `beats` a row, the first its scale."""
    PROJECT = 1
    """Int8 inputs of a BitLinear, from `count` elements times its gain, after its header."""
    SCALE = 2
    """A BitLinear's header alone: its inputs and their energy are those of the projection before."""
    ENERGY = 3
    """Energy of a vector times norm weights; then the output scale."""
    BOUND = 4
    """Lower bounds of the forget gate into the buffer of f."""
    MATMUL = 5
    """`count` rows, `blocks` column blocks, into an epilogue."""
    LAYER = 6
    """Next layer, `beats` and `count` states on; jump to `blocks` unless it was the last of `address`."""
    HEAD = 7
    """Ends the program unless logits are wanted."""
    END = 8
    """Waits until everything has ended; then the program begins again."""


class Epilogue(enum.IntEnum):
    """Where a matrix product's rows go; from MLGRU on their consequences are elements of the next vector."""

    SILU = 0
    """i: silu, buffered."""
    GATE = 1
    """f: sigmoid, lower bound, buffered."""
    HEAD = 2
    """Largest logit, or raw logits."""
    EMBED = 3
    """x = row (used by the embedding alone)."""
    MLGRU = 4
    """g: new state h, and u = g * silu(h)."""
    GLU = 5
    """gate, up: z = silu(gate) * up."""
    RESIDUAL = 6
    """x += row."""


LAYOUT = data.StructLayout(
    {
        "opcode": unsigned(4),
        "epilogue": unsigned(3),
        "layered": unsigned(1),
        "running": unsigned(1),
        "scale": unsigned(1),
        "product": unsigned(1),
        "own_energy": unsigned(1),
        "against_g": unsigned(1),
        "slot": unsigned(1),
        "embedded": unsigned(1),
        "spare": unsigned(1),
        "address": unsigned(32),
        "count": unsigned(COUNT_BITS),
        "spare2": unsigned(16),
        "blocks": unsigned(COUNT_BITS),
        "beats": unsigned(32),
    }
)
"""An instruction's bits; no field but the 32-bit ones crosses a word's border."""


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
        Weight beats that it reads (EMBED: of a row; LAYER: of a layer).
    layered
        The address counts from the layer's first beat.
    running
        PROJECT takes the elements while they are produced, rather than x from its memory.
    scale
        PROJECT is the last thing that the output scale needs.
    product
        ENERGY reads u rather than x.
    own_energy
        PROJECT gathers the energy of the elements themselves: no RMSNorm stands before the BitLinear.
    against_g
        ENERGY: the output scale's epsilon is measured against the sum of squares of g.
    slot
        Half of the activation memory that PROJECT writes and MATMUL reads.
    embedded
        PROJECT runs with x's elements, but in layer 0 finds them in the memory: the embedding came before.
    """

    opcode: Opcode
    address: int = 0
    count: int = 0
    blocks: int = 0
    beats: int = 0
    epilogue: Epilogue = Epilogue.SILU
    layered: bool = False
    running: bool = False
    scale: bool = False
    product: bool = False
    own_energy: bool = False
    against_g: bool = False
    slot: int = 0
    embedded: bool = False

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
