"""Measures what the core is: cycles and their causes, streams, cells, clock, speed of its simulation.

Each part is a function that returns what JSON can hold. All but the simulation's speed depends on no machine.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

from ..hdl.accelerator import Accelerator
from ..hdl.boards.up5k import BOARDS
from ..hdl.config import AcceleratorConfig
from ..hdl.datapath import Datapath
from ..models import zoo
from ..models.errors import TritforgeError
from ..models.loading import load
from ..sim.boardbuild import board_design, implement
from ..sim.engine import RtlEngine
from ..sim.simspeed import simulation_speed
from ..sim.synthesis import device_of
from ..sim.tools import yosys_version
from ..sim.units import count_cells, unit_cost, unit_costs, wide_parts
from .benchmark import SHAPES, hardware, shape
from .circumstances import circumstances
from .console import note, progress

__all__ = [
    "PARTS",
    "STREAMS",
    "clock",
    "core_units",
    "cycles",
    "measure_core",
    "speed",
    "stream_cells",
    "streams",
    "widths",
]

PRESET = "up5k"
"""The accelerator that is measured, but for models that it can't hold."""

BOARD = "icebreaker"
"""The board whose clock is measured."""

SEEDS = (1, 2, 3, 4, 5)
"""Of the placement."""

STREAMS = (1, 2, 4)
"""Numbers of streams that are compared."""

WIDTHS = (1, 2, 4, 8)
"""Widths of the vector unit that are compared."""

_FAMILY = "ice40"
_WIDE = "medium"
"""The accelerator of a family with more multipliers, whose datapaths are counted by width."""
_WIDE_SHAPES = ("370m on large", "1.3b")
_MODEL = "tiny"
_PROMPT = 64
"""Tokens; all but the last are read, which is no multiple of any number of streams."""
_GENERATED = 32


def cycles() -> dict[str, Any]:
    """Cycles a token and what they went for: the zoo's models, and two layers of published shapes."""
    found = {name: hardware(load(name), AcceleratorConfig.load(PRESET), 40) for name in zoo.names()}
    return found | {f"two layers of {name}": shape(name) for name in SHAPES}


def streams() -> dict[str, Any]:
    """Cycles a token by the number of streams that share every weight beat.

    Reading a prompt, the streams are successive positions of one text; generating, each has its own text.
    """
    model = load(_MODEL)
    token = model.opening()[0]
    found = {}
    for count in STREAMS:
        config = replace(AcceleratorConfig.load(PRESET), streams=count)
        rtl = RtlEngine(model.image(config.layout), config)
        for _ in rtl.generate([token] * _PROMPT, 0):
            pass
        reading = rtl.prompt_cycles / (_PROMPT - 1)
        rtl.generate_batch([[token]] * count, [_GENERATED] * count)
        found[str(count)] = {
            "prompt_cycles_per_token": reading,
            "batch_cycles_per_token": rtl.cycles_per_token,
        }
    return {"model": _MODEL, "accelerator": PRESET, "by_streams": found}


def stream_cells() -> dict[str, Any]:
    """Cells of the accelerator by its number of streams."""
    config = AcceleratorConfig.load(PRESET)
    return {
        str(count): count_cells(Accelerator(replace(config, streams=count)), _FAMILY) for count in STREAMS
    }


def widths() -> dict[str, Any]:
    """Cells of a datapath, and cycles of published shapes, by the elements that a vector pass takes a cycle.

    And cells of the units that only a vector unit of several elements has.
    """
    # The state memory, which no width changes, as for one layer.
    config = AcceleratorConfig.load(_WIDE)
    config = replace(config, states=config.hidden)
    each = {width: replace(config, vector_width=width) for width in WIDTHS}
    wide = wide_parts(config, WIDTHS[-1])
    return {
        "family": config.family,
        "device": device_of(config.family),
        "accel": config.name,
        "yosys": yosys_version(),
        "width": WIDTHS[-1],
        "units": [unit_cost(part, config.family) for part in wide.values()],
        "datapath": {str(width): count_cells(Datapath(of), config.family) for width, of in each.items()},
        "cycles": {name: {str(width): shape(name, width) for width in WIDTHS} for name in _WIDE_SHAPES},
    }


def core_units() -> dict[str, Any]:
    """Cells of the accelerator, its units and its dot product."""
    with progress("counting cells") as report:
        return unit_costs(AcceleratorConfig.load(PRESET), _FAMILY, report)


def clock() -> dict[str, Any]:
    """Clock of a board's whole design, with weight memory and link, placed and routed: minutes a seed."""
    board = BOARDS[BOARD]
    design = board_design(board, AcceleratorConfig.load(PRESET), board.clock_hz, board.baud)
    with progress("routing") as report:
        built = implement(design, SEEDS, report)
    (net,) = design.clocks
    reached = {str(seed): built.fmax(seed)[net] for seed in built.folders}
    path = [
        {"unit": each.unit, "logic_ns": each.logic, "routing_ns": each.routing}
        for each in built.critical(net)
    ]
    return {
        "board": BOARD,
        "clock_hz": board.clock_hz,
        "fmax_hz": reached,
        "median_hz": built.median(net),
        "cells": {kind: list(counts) for kind, counts in built.used.items()},
        "path": path,
    }


def speed() -> dict[str, Any]:
    """Speed of the compiled simulation, and of the same design driven clock by clock from cocotb."""
    return simulation_speed().to_dict()


PARTS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "cycles": cycles,
    "streams": streams,
    "widths": widths,
    "units": core_units,
    "stream-cells": stream_cells,
    "clock": clock,
    "speed": speed,
}
"""What is measured, by name."""


def measure_core(only: Collection[str], before: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Measure parts of the core.

    Parameters
    ----------
    only
        Names of `PARTS`; none means all.
    before
        What was measured earlier; parts that are not measured now are kept.

    Yields
    ------
    dict
        After each part what there is by now: part -> `circumstances`, and `found`, its function's result.

    Raises
    ------
    TritforgeError
        If there is no part of a name.
    """
    if unknown := sorted(set(only) - set(PARTS)):
        raise TritforgeError(f"there is no part {unknown[0]!r} to measure; the parts are {', '.join(PARTS)}")
    results = dict(before)
    for name in PARTS:
        if not only or name in only:
            note(f"{name}:")
            facts = circumstances(f"tritforge bench-core --only {name}")
            results[name] = {**facts, "found": PARTS[name]()}
            yield {part: results[part] for part in PARTS if part in results}
