"""Writes the pages of the hardware units: what they do, a timing diagram, their cost.

Run as ``python -m tritforge.host.unitpages RESULTS.json FOLDER``, with what ``tritforge bench-core`` wrote.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any

from amaranth.hdl import Fragment

from ..hdl.config import AcceleratorConfig
from ..hdl.dots import DotUnit
from ..models.config import read_json
from ..models.files import replacing
from ..sim.benches.dot import WatchedDotUnit
from ..sim.benches.library import LIBRARY
from ..sim.diagram import draw
from ..sim.units import Part, dot_unit, parts, wide_parts
from ..sim.waveform import waveform
from .unitreport import cost_table, dot_table, unit_table, wide_cost_table

__all__ = ["PICTURE", "further_parts", "main", "page_name", "pages", "waveforms"]

PICTURE = "architecture.svg"
"""File of the picture of all units."""

_INDEX = """# Hardware units

<!-- written by `python -m tritforge.host.unitpages` -->

```{{image}} {picture}
:alt: The units of the accelerator and the data that they hand on
```

*Made from the elaborated design of the `{accel}` preset. A line shows that a value of 8 bits or more goes
from one unit's output to another one's input, perhaps through a multiplexer or an adder; a thick line is a
wide one. Lines that only control are left out. Cylinders are memories; names without a box are streams from
and to the outside.*

Each unit has a page: what it computes, its ports, its latency, a timing diagram that its own bench has drawn,
and what it costs. `tritforge units` counts cells for other families and configurations.

{units}

{dot}

The dot product alone is [DotUnit](dot_unit.md). An accelerator whose dot product is an adder tree has
{further}
in place of TableFiller and LookupDot. One whose vector unit takes several elements a cycle (`vector_width`)
has {wide}
in place of VectorStore, Measure, InputQuantiser and InverseRootScale, and for the buffer of f.

```{{toctree}}
:hidden:

{toctree}
```
"""

_PAGE = """# {name}

<!-- written by `python -m tritforge.host.unitpages` -->

```{{eval-rst}}
.. autoclass:: {module}.{name}({arguments})
```

## Timing

{timing}

## Cost

{cost}
"""


_ELSEWHERE = "[Ternary dot products](../dot.md) has what a whole dot product of this kind costs.\n"


def page_name(unit: str) -> str:
    """Return the file of a unit's page, without its ending."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", unit).lower()


def waveforms(part: Part) -> list[str]:
    """Return the names of a unit's timing diagrams."""
    # Its bench has a dot product in a wrapper that shows collisions.
    unit = WatchedDotUnit if isinstance(part.component, DotUnit) else type(part.component)
    return [name for name, bench in LIBRARY.items() if bench.unit is unit]


def further_parts(config: AcceleratorConfig) -> dict[str, Part]:
    """Return units that an accelerator like this has with an adder tree alone, and the whole dot product."""
    layout = replace(config.layout, dot="tree")
    tree = parts(replace(config, layout=layout))
    own = parts(config)
    further = {name: part for name, part in tree.items() if name not in own}
    dot = dot_unit(config, config.family)
    Fragment.get(dot, None)  # what is made and not elaborated, Amaranth warns of
    return further | {"DotUnit": Part(dot, "", 0, 1)}


def pages(costs: Mapping[str, Any], wide: Mapping[str, Any]) -> dict[str, str]:
    """Return the pages of all units, and an index: name of the file -> text.

    Parameters
    ----------
    costs
        What `sim.units.unit_costs` returned.
    wide
        What `corebench.widths` returned.
    """
    config = AcceleratorConfig.load(costs["accel"])
    found, further, of_wide = parts(config), further_parts(config), wide_parts(config)
    table = unit_table(costs)
    names = [unit["name"] for unit in costs["units"]]
    linked = [
        (f"[{row[0]}]({page_name(name)}.md)", *row[1:]) for name, row in zip(names, table.rows, strict=False)
    ]
    index = _INDEX.format(
        picture=PICTURE,
        accel=costs["accel"],
        units=replace(table, rows=[*linked, *table.rows[len(linked) :]]).markdown(),
        dot=dot_table(costs).markdown(),
        further=" and ".join(_link(name) for name in further if name != "DotUnit"),
        wide=", ".join(map(_link, of_wide)),
        toctree="\n".join(map(page_name, [*names, *further, *of_wide])),
    )
    each = {
        page_name(unit["name"]): _page(found[unit["name"]], cost_table(unit, costs).markdown())
        for unit in costs["units"]
        if unit["name"] in found
    }
    each |= {
        page_name(name): _page(
            part, cost_table(costs["dot"], costs).markdown() if name == "DotUnit" else _ELSEWHERE
        )
        for name, part in further.items()
    }
    each |= {
        page_name(unit["name"]): _page(of_wide[unit["name"]], wide_cost_table(unit, wide).markdown())
        for unit in wide["units"]
        if unit["name"] in of_wide
    }
    return {f"{name}.md": text for name, text in ({"index": index} | each).items()}


def _link(unit: str) -> str:
    return f"[{unit}]({page_name(unit)}.md)"


def _page(part: Part, cost: str) -> str:
    drawn = waveforms(part)
    timing = "\n\n".join(f"![{part.name}: signals by cycle]({name}.svg)" for name in drawn)
    return _PAGE.format(
        name=part.name,
        module=type(part.component).__module__,
        # Sphinx would show those of Amaranth's metaclass.
        arguments=", ".join(list(signature(type(part.component).__init__).parameters)[1:]),
        timing=f"{timing}\n\n*Simulated: some cycles of the unit's bench.*" if drawn else "No diagram.",
        cost=cost,
    )


def _pictures(costs: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    config = AcceleratorConfig.load(costs["accel"])
    yield PICTURE, draw(config)
    for part in [each for units in (parts, further_parts, wide_parts) for each in units(config).values()]:
        for name in waveforms(part):
            yield f"{name}.svg", waveform(name)


def main(arguments: Sequence[str]) -> None:
    """Write all pages and pictures into a folder."""
    results, folder = read_json(Path(arguments[0])), Path(arguments[1])
    costs, wide = (results[part]["found"] for part in ("units", "widths"))
    folder.mkdir(exist_ok=True)
    for name, text in [*pages(costs, wide).items(), *_pictures(costs)]:
        with replacing(folder / name) as stream:
            stream.write(text.encode())


if __name__ == "__main__":
    main(sys.argv[1:])
