"""Picture of where a design's units lie on an iCE40 UP5K."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from html import escape

from ..sim.placement import Cell

__all__ = ["OTHERS", "colours", "floor_plan"]

OTHERS = "others"
"""What the small units are called together."""

_COLUMNS, _ROWS = 26, 32
_TILE = 22
_MARGIN = 12
_LEGEND = 330
_LINE = 22
_CELLS = 8
# Kind of cell -> tiles that it is high, to be drawn as a block.
_BLOCKS = {"ICESTORM_RAM": 2, "ICESTORM_DSP": 4, "ICESTORM_PLL": 1, "ICESTORM_HFOSC": 1}
# Tol's "muted" colours and three more: they can be told apart by colour-blind people, too.
_COLOURS = (
    "#332288", "#88ccee", "#44aa99", "#117733", "#999933", "#ddcc77", "#cc6677", "#882255", "#aa4499",
    "#ee7733", "#0077bb",
)  # fmt: skip
_GREY, _EMPTY, _LINES = "#aaaaaa", "#f4f4f4", "#d8d8d8"


def colours(cells: Iterable[Cell], unit_of: Callable[[str], str]) -> dict[str, str]:
    """Give the units with most cells a colour each, the largest first, and the others one together."""
    sizes = Counter(unit_of(cell.name) for cell in cells)
    largest = [unit for unit, _ in sizes.most_common(len(_COLOURS))]
    return {**dict(zip(largest, _COLOURS, strict=False)), OTHERS: _GREY}


def floor_plan(cells: Iterable[Cell], unit_of: Callable[[str], str], title: str) -> str:
    """Draw a placed design, coloured by unit, as SVG.

    Parameters
    ----------
    cells
        What `sim.placement.placed_cells` returned.
    unit_of
        Unit of a cell's name.
    title
        Stands above the legend.
    """
    cells = list(cells)
    by_unit = colours(cells, unit_of)
    width, height = _COLUMNS * _TILE, _ROWS * _TILE
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width + _LEGEND + 3 * _MARGIN}'
        f' {height + 2 * _MARGIN}" font-family="sans-serif" font-size="13">',
        f"<title>{escape(title)}</title>",
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for x in range(_COLUMNS):
        parts += [_rectangle(x, y, 0, 1, _EMPTY, _LINES) for y in range(_ROWS)]
    counts: Counter[str] = Counter()
    for cell in cells:
        unit = unit_of(cell.name)
        unit = unit if unit in by_unit else OTHERS
        counts[unit] += 1
        parts.append(_drawn(cell, by_unit[unit]))
    left = width + 2 * _MARGIN
    parts.append(f'<text x="{left}" y="{_MARGIN + 13}" font-weight="bold">{escape(title)}</text>')
    shown = [(unit, colour) for unit, colour in by_unit.items() if counts[unit]]
    for line, (unit, colour) in enumerate(shown, 2):
        y = _MARGIN + line * _LINE
        parts += [
            f'<rect x="{left}" y="{y - 11}" width="14" height="14" fill="{colour}"/>',
            f'<text x="{left + 22}" y="{y}">{escape(unit)}: {counts[unit]:,}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])


def _drawn(cell: Cell, colour: str) -> str:
    tip = cell.name
    if cell.kind == "ICESTORM_SPRAM":    # two share a tile
        second = int(cell.bel.removeprefix("spram_")) % 2
        return _rectangle(cell.x, cell.y, 2.0 * (1 - second), 2, colour, "#000000", tip)
    if cell.kind in _BLOCKS:
        return _rectangle(cell.x, cell.y, 0, _BLOCKS[cell.kind], colour, "#000000", tip)
    if cell.kind == "ICESTORM_LC":
        number = int(cell.bel.removeprefix("lc"))
        return _rectangle(cell.x, cell.y, number / _CELLS, 1 / _CELLS, colour, "", tip)
    return _rectangle(cell.x, cell.y, 0.25, 0.5, colour, "", tip)


def _rectangle(x: int, y: int, up: float, high: float, fill: str, stroke: str, tip: str = "") -> str:
    """A rectangle as wide as a tile, `up` tiles above its lower edge; row 0 is at the bottom."""
    top = _MARGIN + (_ROWS - y - up - high) * _TILE
    line = f' stroke="{stroke}"' if stroke else ""
    shape = (
        f'<rect x="{_MARGIN + x * _TILE + 1}" y="{top + 0.2:.4g}" width="{_TILE - 2}"'
        f' height="{high * _TILE - 0.4:.3g}" fill="{fill}"{line}'
    )
    return f"{shape}><title>{escape(tip)}</title></rect>" if tip else f"{shape}/>"
