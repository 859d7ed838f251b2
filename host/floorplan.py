"""Picture of where a design's units lie on an iCE40 UP5K."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby

from ..sim.placement import Cell

__all__ = ["OTHERS", "colours", "floor_plan", "small_plan"]

OTHERS = "others"
"""What the small units are called together."""

_COLUMNS, _ROWS = 26, 32
_TILE = 22
_MARGIN = 12
_LEGEND = 330
_LINE = 22
_CELLS = 8
# Kind of cell -> tiles that it is high, to be drawn as a block.
_BLOCKS = {
    "ICESTORM_RAM": 2, "ICESTORM_SPRAM": 2, "ICESTORM_DSP": 4, "ICESTORM_PLL": 1, "ICESTORM_HFOSC": 1,
}  # fmt: skip
_LOGIC = "ICESTORM_LC"
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
    by_unit = _by_unit(cells, unit_of)
    tiles = [_Box(x, y, 0, 1).drawn(_EMPTY, _LINES) for x in range(_COLUMNS) for y in range(_ROWS)]
    drawn = [
        _box(cell).drawn(colour, "#000000" if cell.kind in _BLOCKS else "", cell.name)
        for colour, found in by_unit.values()
        for cell in found
    ]
    return _framed([*tiles, *drawn], by_unit, title)


def small_plan(cells: Iterable[Cell], unit_of: Callable[[str], str]) -> str:
    """Draw the same small: a path a unit, in which neighbours are one box; no names of cells, no title."""
    by_unit = _by_unit(list(cells), unit_of)
    columns = [_Box(x, 0, 0, _ROWS).drawn(_EMPTY) for x in range(_COLUMNS)]
    paths = []
    for colour, found in by_unit.values():
        blocks = [_box(cell) for cell in found if cell.kind in _BLOCKS]
        for boxes, stroke in ((blocks, ' stroke="#000"'), (_stacked(found), "")):
            if boxes:
                outline = "".join(box.outline for box in boxes)
                paths.append(f'<path fill="{colour}"{stroke} d="{outline}"/>')
    return _framed([*columns, *paths], by_unit)


_Units = dict[str, tuple[str, list[Cell]]]


def _by_unit(cells: Sequence[Cell], unit_of: Callable[[str], str]) -> _Units:
    """Return colour and cells of each unit that has a colour, the others' together."""
    found: _Units = {unit: (colour, []) for unit, colour in colours(cells, unit_of).items()}
    for cell in cells:
        unit = unit_of(cell.name)
        found[unit if unit in found else OTHERS][1].append(cell)
    return {unit: each for unit, each in found.items() if each[1]}


def _framed(parts: Sequence[str], by_unit: _Units, title: str = "") -> str:
    """Return a drawing with its legend."""
    width, height = _COLUMNS * _TILE, _ROWS * _TILE
    left = width + 2 * _MARGIN
    legend = []
    if title:
        legend.append(f'<text x="{left}" y="{_MARGIN + 13}" font-weight="bold">{escape(title)}</text>')
    for line, (unit, (colour, cells)) in enumerate(by_unit.items(), 2):
        y = _MARGIN + line * _LINE
        legend += [
            f'<rect x="{left}" y="{y - 11}" width="14" height="14" fill="{colour}"/>',
            f'<text x="{left + 22}" y="{y}">{escape(unit)}: {len(cells):,}</text>',
        ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width + _LEGEND + 3 * _MARGIN}'
            f' {height + 2 * _MARGIN}" font-family="sans-serif" font-size="13">',
            f"<title>{escape(title or 'floor plan')}</title>",
            '<rect width="100%" height="100%" fill="white"/>',
            *parts,
            *legend,
            "</svg>",
            "",
        ]
    )


@dataclass(frozen=True)
class _Box:
    """A box as wide as a tile, `high` tiles high, `up` tiles above its lower edge; row 0 is at the bottom."""

    x: int
    y: int
    up: float
    high: float

    @property
    def _place(self) -> tuple[int, float, int, float]:
        top = _MARGIN + (_ROWS - self.y - self.up - self.high) * _TILE
        return _MARGIN + self.x * _TILE + 1, top + 0.2, _TILE - 2, self.high * _TILE - 0.4

    @property
    def outline(self) -> str:
        x, y, width, height = self._place
        return f"M{x} {y:.5g}h{width}v{height:.4g}h-{width}z"

    def drawn(self, fill: str, stroke: str = "", tip: str = "") -> str:
        x, y, width, height = self._place
        line = f' stroke="{stroke}"' if stroke else ""
        shape = f'<rect x="{x}" y="{y:.4g}" width="{width}" height="{height:.3g}" fill="{fill}"{line}'
        return f"{shape}><title>{escape(tip)}</title></rect>" if tip else f"{shape}/>"


def _box(cell: Cell) -> _Box:
    if cell.kind == "ICESTORM_SPRAM":    # two share a tile
        second = int(cell.bel.removeprefix("spram_")) % 2
        return _Box(cell.x, cell.y, 2.0 * (1 - second), _BLOCKS[cell.kind])
    if cell.kind in _BLOCKS:
        return _Box(cell.x, cell.y, 0, _BLOCKS[cell.kind])
    if cell.kind == _LOGIC:
        return _Box(cell.x, cell.y, _line(cell) / _CELLS, 1 / _CELLS)
    return _Box(cell.x, cell.y, 0.25, 0.5)


def _line(cell: Cell) -> int:
    return int(cell.bel.removeprefix("lc"))


def _stacked(cells: Iterable[Cell]) -> list[_Box]:
    """Logic cells as boxes of neighbours in a tile."""
    lines = sorted((cell.x, cell.y, _line(cell)) for cell in cells if cell.kind == _LOGIC)
    boxes: list[_Box] = []
    for (x, y, _), run in groupby(enumerate(lines), lambda each: (*each[1][:2], each[1][2] - each[0])):
        low, *others = (line for _, (_, _, line) in run)
        boxes.append(_Box(x, y, low / _CELLS, (1 + len(others)) / _CELLS))
    return boxes
