"""From a model's shape to the sequencer's program."""

from __future__ import annotations

from dataclasses import dataclass

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


def compile_program(model: ModelConfig, accelerator: AcceleratorConfig) -> Program:
    """The program that runs one token of a model.

    All layers share one body: addresses in it count from the layer's first beat.

    Raises
    ------
    TritforgeError
        If the model, or its program, does not fit the accelerator.
    """
    accelerator.check_fit(model)
    layout = accelerator.layout
    places = MemoryMap(model, layout)
    d, wide = model.hidden_size, model.intermediate_size

    def stats(at: Span, base: int, product: bool, layered: bool) -> Instruction:
        return Instruction(
            Opcode.STATS, address=base + at.offset, count=d, beats=at.beats, product=product, layered=layered
        )

    def linear(
        parts: dict[str, Span],
        name: str,
        rows: int,
        columns: int,
        epilogue: Epilogue,
        base: int,
        *,
        product: bool = False,
        own_energy: bool = False,
        against_g: bool = False,
        layered: bool = True,
    ) -> list[Instruction]:
        gain, matrix = parts[f"{name}.gain"], parts[f"{name}.matrix"]
        return [
            Instruction(
                Opcode.PROJECT,
                address=base + parts[f"{name}.header"].offset,
                count=columns,
                beats=gain.beats,
                product=product,
                own_energy=own_energy,
                against_g=against_g,
                layered=layered,
            ),
            Instruction(
                Opcode.MATMUL,
                address=base + matrix.offset,
                count=rows,
                blocks=layout.column_blocks(columns),
                beats=matrix.beats,
                epilogue=epilogue,
                layered=layered,
            ),
        ]

    layer, base = places.layer, places.layer_base
    bound = layer["bound"]
    embed = Instruction(Opcode.EMBED, count=d, beats=places.embedding_stride, epilogue=Epilogue.EMBED)
    body = [
        stats(layer["attn_norm"], base, product=False, layered=True),
        *linear(layer, "i", d, d, Epilogue.SILU, base),
        Instruction(Opcode.BOUND, address=base + bound.offset, count=d, beats=bound.beats, layered=True),
        *linear(layer, "f", d, d, Epilogue.GATE, base),
        *linear(layer, "g", d, d, Epilogue.MLGRU, base),
        stats(layer["g_norm"], base, product=True, layered=True),
        *linear(layer, "o", d, d, Epilogue.RESIDUAL, base, product=True, against_g=True),
        stats(layer["mlp_norm"], base, product=False, layered=True),
        *linear(layer, "gate_up", 2 * wide, d, Epilogue.GLU, base),
        *linear(layer, "down", d, wide, Epilogue.RESIDUAL, base, product=True, own_energy=True),
        Instruction(
            Opcode.LAYER, address=model.num_hidden_layers, count=d, blocks=1, beats=places.layer_stride
        ),
    ]
    head = [
        Instruction(Opcode.HEAD),
        stats(places.head["norm"], places.head_base, product=False, layered=False),
        *linear(places.head, "head", model.vocab_size, d, Epilogue.HEAD, places.head_base, layered=False),
        Instruction(Opcode.END),
    ]
    program = Program((embed, *body, *head), accelerator.digest())
    if len(program.instructions) * WORDS > accelerator.program_words:
        raise TritforgeError(
            f"the program has {len(program.instructions) * WORDS} words; the accelerator {accelerator.name}"
            f" holds {accelerator.program_words}"
        )
    return program
