"""Timing diagrams of units, drawn from a few cycles of their own benches."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from amaranth.lib.data import Const
from yowasp_wavedrom import render

from .benches.driver import simulate
from .benches.library import LIBRARY

__all__ = ["WAVEFORMS", "waveform"]

WAVEFORMS = tuple(sorted(LIBRARY))
"""Units that have a timing diagram."""

_DIGITS = 10
"""Characters for which a cycle has room; with more of them a cycle is drawn wider."""
_SHORT = 24
"""Most cycles of a picture whose cycles may be drawn wider: it must not be wider than two pages."""
_LONGEST_REST = 4
"""More cycles than this in which no signal shown changes are drawn as a gap."""


def waveform(name: str) -> str:
    """Run the bench that pictures a unit, and draw its signals.

    The same text on every machine: the cases draw what is random from a fixed seed.

    Parameters
    ----------
    name
        One of `WAVEFORMS`.

    Returns
    -------
    str
        SVG.
    """
    bench = LIBRARY[name]
    driver = simulate(bench.make(), bench.picture.case, record=True)
    ports = bench.picture.ports
    shown = [
        {port: _text(cycle[port]) if not known or cycle[known] else "x" for port, known in ports.items()}
        for cycle in driver.history
    ]
    columns = list(_columns(shown))
    clock = {"name": "clk", "wave": "p" + "." * (len(columns) - 1)}
    signals = [clock, *(_signal(port, columns, driver.bits(port) == 1) for port in ports)]
    wide = len(columns) <= _SHORT and max(map(_widest, signals)) > _DIGITS
    return str(render({"signal": signals, "config": {"hscale": 3 if wide else 2}}))


def _columns(cycles: Sequence[dict[str, str]]) -> Iterator[dict[str, str] | None]:
    """Cycles to be drawn; None for a gap where nothing changes for long."""
    for cycle, equal in groupby(cycles):
        count = len(list(equal))
        yield from [cycle] * count if count <= _LONGEST_REST else [cycle, None, cycle]


def _signal(port: str, columns: Sequence[Mapping[str, str] | None], is_bit: bool) -> dict[str, Any]:
    wave, data, before = "", [], None
    for cycle in columns:
        if cycle is None:
            wave += "|"
        elif cycle[port] == before:
            wave += "."
        elif is_bit or cycle[port] == "x":
            wave += cycle[port]
        else:
            wave += "="
            data.append(cycle[port])
        before = before if cycle is None else cycle[port]
    return {"name": port.replace("__", "."), "wave": wave, "data": data}


def _widest(signal: Mapping[str, Any]) -> int:
    """Characters of the longest text by the cycles in which it stands."""
    spans = zip(signal.get("data", []), re.findall(r"=[.|]*", signal["wave"]), strict=False)
    return max((-(-len(text) // len(span)) for text, span in spans), default=0)


def _text(value: Any) -> str:
    if isinstance(value, Const):
        value = {name: value[name] for name, _ in value.shape()}
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        return " ".join(map(_text, value))
    return str(int(value))
