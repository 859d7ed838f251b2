"""What each unit of an accelerator costs on its own: the units are those that its design is made of."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from importlib.metadata import version
from inspect import getdoc
from pathlib import Path
from typing import Any

from amaranth.hdl import Fragment
from amaranth.lib.wiring import Component

from ..hdl.accelerator import Accelerator
from ..hdl.config import AcceleratorConfig
from ..hdl.dots import DotUnit
from .cache import cached
from .synthesis import device_of, synthesise_counts
from .tools import yosys_version
from .verilog import to_verilog

__all__ = ["OPTIONS", "Part", "count_cells", "dot_unit", "parts", "unit_cost", "unit_costs", "wide_parts"]

# Nothing is read in the cycle that writes it; where yosys can't be told so, block RAM needs no bypass. Joined
# lookup tables save levels and cost twice as much.
OPTIONS: Mapping[str, tuple[str, ...]] = {
    "ice40": ("-no-rw-check",),
    "ecp5": ("-no-rw-check", "-nowidelut"),
    "gowin": ("-nowidelut",),
    "xilinx": (),
}
"""Family -> more arguments for its synthesis command."""

_PACKAGE = Path(__file__).parent.parent
_HARDWARE = f"{__package__.rpartition('.')[0]}.hdl."


@dataclass(frozen=True)
class Part:
    """A unit of a design.

    Parameters
    ----------
    component
        The unit, with the arguments that the design gives it.
    inside
        Name of the unit that contains it.
    level
        Units around it: 1 for what the accelerator itself contains.
    instances
        How often the design has it.
    """

    component: Component
    inside: str
    level: int
    instances: int

    @property
    def name(self) -> str:
        """The component's class."""
        return type(self.component).__name__

    @property
    def latency(self) -> int | tuple[int, int] | None:
        """Cycles, or the fewest and the most, of what `latency_note` says; None if no number is true."""
        latency: int | range | None = getattr(self.component, "latency", None)
        return (latency[0], latency[-1]) if isinstance(latency, range) else latency

    @property
    def latency_note(self) -> str:
        """What the unit's description says of its latency."""
        said = re.search(r"Latency:?\s+(.*?)\.?\s+Cost:", getdoc(type(self.component)) or "", re.DOTALL)
        return " ".join(said[1].split()) if said else ""


@lru_cache(maxsize=4)
def parts(config: AcceleratorConfig) -> Mapping[str, Part]:
    """Return the units that an accelerator is made of, by name: each below the one that contains it.

    They are found in the elaborated design, so the list is never longer or shorter than the design. A unit
    that it has more than once counts once, as it is made first.
    """
    found: dict[str, Part] = {}
    for component, inside, level in _walk(Fragment.get(Accelerator(config), None), "Accelerator", 1):
        name = type(component).__name__
        first = found.get(name, Part(component, inside, level, 0))
        found[name] = Part(first.component, first.inside, first.level, first.instances + 1)
    return found


def wide_parts(config: AcceleratorConfig, width: int = 2) -> dict[str, Part]:
    """Return units that an accelerator like this has only if vectors have words of several elements."""
    own, wide = (parts(replace(config, vector_width=each)) for each in (1, width))
    return {name: part for name, part in wide.items() if name not in own}


def _walk(fragment: Fragment, inside: str, level: int) -> Iterator[tuple[Component, str, int]]:
    for below, _, _ in fragment.subfragments:
        origin = below.origins[0] if below.origins else None
        if isinstance(origin, Component) and type(origin).__module__.startswith(_HARDWARE):
            yield origin, inside, level
            yield from _walk(below, type(origin).__name__, level + 1)


def dot_unit(config: AcceleratorConfig, family: str) -> DotUnit:
    """Return the dot product of an accelerator's beats alone, as it suits a family.

    It has decoding, activations, table filling and partial sums, for two of the longest vectors.
    """
    layout = config.layout
    blocks = 2 * layout.column_blocks(config.vector_depth)
    return DotUnit(layout.dot, layout.tables, family, layout.row_block, blocks)


def count_cells(component: Component, family: str) -> dict[str, int]:
    """Count a unit's cells for a family's default device (cached): kind -> number, as `Counts` has them."""
    verilog = to_verilog(component)
    return asdict(synthesise_counts(verilog, family=family, options=OPTIONS[family]))


def unit_costs(
    config: AcceleratorConfig, family: str = "ice40", progress: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Count the cells of an accelerator, of each of its units and of its dot product (cached).

    Parameters
    ----------
    config
        The accelerator.
    family
        One of `synthesis.FAMILIES`, for which the accelerator is shaped; its default device is taken.
    progress
        Told how many designs have been counted, of how many.

    Returns
    -------
    dict
        `family`, `device`, `accel`, `streams`, `lanes`, `yosys`; `units`: for each unit its `name`, cells by
        kind (`synthesis.Counts`), `latency` in cycles, a pair of them or None, `latency_note`, `inside`,
        `level` and `instances` (`Part`); `whole`: the same for the accelerator; `dot`: the same for
        `dot_unit`, and `lut4_per_lane`, in which LUTs used as memory count.

    Raises
    ------
    TritforgeError
        If the family is not known.
    ToolError
        If yosys stops with an error.
    """
    device = device_of(family)
    config = replace(config, family=family)

    def build(folder: Path) -> None:
        found = parts(config)
        whole = Part(Accelerator(config), "", 0, 1)
        dot = Part(dot_unit(config, family), "", 0, 1)
        designs = [*found.values(), whole, dot]
        costs = []
        for done, part in enumerate(designs):
            if progress is not None:
                progress(done, len(designs))
            costs.append(unit_cost(part, family))
        text = json.dumps({"units": costs[:-2], "whole": costs[-2], "dot": costs[-1]})
        (folder / "costs.json").write_text(text)

    # Making Verilog of all units takes half a minute: the key is what it is made from.
    key = [family, config.digest(), yosys_version(), version("amaranth"), *_sources()]
    entry = cached("units", key, build)
    costs: dict[str, Any] = json.loads((entry / "costs.json").read_text())
    lanes = config.layout.lanes
    dot = costs["dot"]
    dot["lut4_per_lane"] = (dot["lut4"] + dot["lutram"]) / lanes
    return {
        "family": family,
        "device": device,
        "accel": config.name,
        "streams": config.streams,
        "lanes": lanes,
        "yosys": yosys_version(),
        **costs,
    }


def unit_cost(part: Part, family: str) -> dict[str, Any]:
    """Count a unit's cells (cached): what `unit_costs` has of each."""
    place: Mapping[str, Any] = {
        "inside": part.inside, "level": part.level, "instances": part.instances
    }  # fmt: skip
    latency = {"latency": part.latency, "latency_note": part.latency_note}
    return {"name": part.name, **count_cells(part.component, family), **latency, **place}


def _sources() -> list[str]:
    """Return everything that designs are made from."""
    folders = [_PACKAGE / name for name in ("hdl", "models", "sim")]
    return [file.read_text() for folder in folders for file in sorted(folder.glob("*.py"))]
