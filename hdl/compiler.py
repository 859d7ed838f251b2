"""From a model's shape to the sequencer's program."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle
from typing import Any

from ..models.config import ModelConfig
from ..models.errors import TritforgeError
from ..models.image import MemoryMap, Span
from .config import AcceleratorConfig
from .isa import WORDS, Epilogue, Instruction, Opcode

__all__ = ["Program", "compile_program"]


@dataclass(frozen=True)
class Program:
    """What the sequencer runs for each token.

    Attributes
    ----------
    instructions
        In order; the sequencer starts with the first.
    accelerator
        Hash of the configuration that it was made for.
    """

    instructions: tuple[Instruction, ...]
    accelerator: str

    def words(self) -> list[int]:
        """16-bit words as they lie in the program memory."""
        return [word for instruction in self.instructions for word in instruction.words()]


def compile_program(
    model: ModelConfig, accelerator: AcceleratorConfig, *, shared_inputs: bool = False
) -> Program:
    """The program that runs one token of a model.

    All layers share one body: addresses in it count from the layer's first beat.

    Parameters
    ----------
    model, accelerator
        What runs where.
    shared_inputs
        i, f and g of each layer have the same gain (`Image.shared_inputs`): f and g then take the int8 inputs
        of i, and need their headers alone. The numbers are the same either way.

    Raises
    ------
    TritforgeError
        If the model, or its program, does not fit the accelerator.
    """
    accelerator.check_fit(model)
    layout = accelerator.layout
    places = MemoryMap(model, layout)
    d, wide = model.hidden_size, model.intermediate_size

    slots = cycle((0, 1))

    def energy(at: Span, base: int, **flags: Any) -> Instruction:
        """Energy of a vector times the norm weights before a BitLinear."""
        return Instruction(Opcode.ENERGY, address=base + at.offset, count=d, beats=at.beats, **flags)

    def linear(
        parts: dict[str, Span],
        base: int,
        name: str,
        rows: int,
        columns: int,
        epilogue: Epilogue,
        inputs_of: Instruction | None = None,
        **flags: Any,
    ) -> list[Instruction]:
        """A BitLinear: its inputs, or the scale alone if they are those of a product before; its product."""
        header, gain, matrix = (parts[f"{name}.{part}"] for part in ("header", "gain", "matrix"))
        layered = parts is layer
        if inputs_of is None:
            slot = next(slots)
            first = Instruction(
                Opcode.PROJECT,
                address=base + header.offset,
                count=columns,
                beats=gain.end - header.offset,
                layered=layered,
                slot=slot,
                **flags,
            )
        else:
            slot = inputs_of.slot
            first = Instruction(
                Opcode.SCALE, address=base + header.offset, beats=header.beats, layered=layered
            )
        return [
            first,
            Instruction(
                Opcode.MATMUL,
                address=base + matrix.offset,
                count=rows,
                blocks=layout.column_blocks(columns),
                beats=matrix.beats,
                epilogue=epilogue,
                layered=layered,
                slot=slot,
            ),
        ]

    # Inputs that are made while the product before streams come before what that product's scale waits for.
    layer, base = places.layer, places.layer_base
    bound = layer["bound"]
    embed = Instruction(Opcode.EMBED, count=d, beats=places.embedding_stride)
    several = accelerator.streams > 1
    project_i, multiply_i = linear(layer, base, "i", d, d, Epilogue.SILU, running=True, embedded=several)
    # One text's embedding is taken as it comes, and its weights are there before its token; several texts'
    # come one after another.
    begin = [embed, project_i] if several else [project_i, embed]
    # Both f and g or neither: an even number of projections a layer keeps the slots apart.
    inputs = multiply_i if shared_inputs else None
    body = [
        *begin,
        multiply_i,
        energy(layer["attn_norm"], base, layered=True),
        Instruction(Opcode.BOUND, address=base + bound.offset, count=d, beats=bound.beats, layered=True),
        *linear(layer, base, "f", d, d, Epilogue.GATE, inputs, scale=True),
        *linear(layer, base, "g", d, d, Epilogue.MLGRU, inputs, scale=True),
        *linear(layer, base, "o", d, d, Epilogue.RESIDUAL, running=True),
        energy(layer["g_norm"], base, layered=True, product=True, against_g=True),
        *linear(layer, base, "gate_up", 2 * wide, d, Epilogue.GLU, running=True),
        energy(layer["mlp_norm"], base, layered=True),
        *linear(layer, base, "down", d, wide, Epilogue.RESIDUAL, running=True, own_energy=True, scale=True),
        Instruction(Opcode.LAYER, address=model.num_hidden_layers, count=d, beats=places.layer_stride),
    ]
    head_base = places.head_base
    project_head, multiply_head = linear(
        places.head, head_base, "head", model.vocab_size, d, Epilogue.HEAD, running=True
    )
    head = [
        project_head,
        Instruction(Opcode.HEAD),
        multiply_head,
        energy(places.head["norm"], head_base),
        Instruction(Opcode.END),
    ]
    program = Program((*body, *head), accelerator.digest())
    if len(program.instructions) * WORDS > accelerator.program_words:
        raise TritforgeError(
            f"the program has {len(program.instructions) * WORDS} words; the accelerator {accelerator.name}"
            f" holds {accelerator.program_words}"
        )
    return program
