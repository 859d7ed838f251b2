"""Where a token's cycles go, instruction by instruction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from ..hdl.accelerator import PROBES
from ..hdl.compiler import Program, compile_program
from ..hdl.config import AcceleratorConfig
from ..hdl.isa import Instruction, Opcode
from ..models.image import Image, MemoryMap
from .engine import RtlEngine

__all__ = ["Step", "profile"]

_REQUEST = np.dtype(
    [("cycle", "<u8"), ("address", "<u4"), ("beats", "<u4"), ("lane", "<u4"), ("layer", "<u4")]
)
"""An event of the lane behind all probes: an instruction asked for weight beats."""
_CONTROL = (Opcode.LAYER, Opcode.HEAD, Opcode.END)


@dataclass(frozen=True)
class Step:
    """What an instruction of the program took for one token, in all layers together.

    Parameters
    ----------
    opcode, operand
        The instruction, and the part of the model that it works on, as `MemoryMap` names it.
    runs
        How often it ran: once, or once a layer.
    beats
        Weight beats that it read.
    cycles
        Simulated cycles from its request for beats to the next instruction's.
    """

    opcode: str
    operand: str
    runs: int
    beats: int
    cycles: int


def profile(image: Image, config: AcceleratorConfig, token: int) -> list[Step]:
    """Run two tokens, and divide the first one's cycles among its instructions.

    The last instruction ends where the second token's first one begins: together they are the token's cycles.

    Parameters
    ----------
    image
        The model, laid out for the accelerator.
    config
        The accelerator.
    token
        The first token.

    Returns
    -------
    list of Step
        In the order of the program.
    """
    engine = RtlEngine(image, config)
    engine.trace(True)
    list(engine.generate([token], 2))
    events = engine.take_events()
    requests = iter(events.view(_REQUEST)[events["lane"] == len(PROBES)])

    program = compile_program(image.config, config)
    starts: list[int] = []
    beats: list[int] = []
    run = list(_executed(program))
    for instruction in [*run, run[0]]:
        # A projection asks twice: for its header and gain, then for the gain again.
        asked = [next(requests) for _ in range(1 + (instruction.opcode == Opcode.PROJECT))]
        starts.append(int(asked[0]["cycle"]))
        beats.append(sum(int(request["beats"]) for request in asked))
    names = _operands(MemoryMap(image.config, config.layout))
    steps: dict[Instruction, Step] = {}
    for instruction, read, (start, end) in zip(run, beats, pairwise(starts), strict=False):
        before = steps.get(instruction) or Step(
            instruction.opcode.name, names[instruction.address], 0, 0, 0
        )
        steps[instruction] = replace(
            before, runs=before.runs + 1, beats=before.beats + read, cycles=before.cycles + end - start
        )
    return list(steps.values())


def _executed(program: Program) -> Iterator[Instruction]:
    """Walk a program as the sequencer does; yield what reads weights."""
    at = layer = 0
    while (instruction := program.instructions[at]).opcode != Opcode.END:
        at += 1
        if instruction.opcode == Opcode.LAYER:
            layer += 1
            if layer != instruction.address:
                at = instruction.blocks
        if instruction.opcode not in _CONTROL:
            yield instruction


def _operands(places: MemoryMap) -> dict[int, str]:
    """Name what starts at an address of the program."""
    names = {0: "embedding"}
    for base, parts in ((places.layer_base, places.layer), (places.head_base, places.head)):
        names |= {base + span.offset: name.partition(".")[0] for name, span in parts.items()}
    return names
