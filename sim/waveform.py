"""Timing diagrams of units, drawn from a few cycles of their own benches."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from amaranth.lib.data import Const
from yowasp_wavedrom import render

from .benches.driver import Driver, simulate
from .benches.library import LIBRARY

__all__ = ["WAVEFORMS", "waveform"]

WAVEFORMS = tuple(sorted(LIBRARY))
"""Units that have a timing diagram."""

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
    columns = list(_columns(driver.history, ports))
    clock = {"name": "clk", "wave": "p" + "." * (len(columns) - 1)}
    signals = [clock, *(_signal(driver, port, qualifier, columns) for port, qualifier in ports.items())]
    return str(render({"signal": signals, "config": {"hscale": 2}}))


def _columns(
    history: Sequence[Mapping[str, Any]], ports: Mapping[str, str]
) -> Iterator[Mapping[str, Any] | None]:
    """Cycles to be drawn; None for a gap where nothing changes for long."""
    shown = [{port: cycle[port] for port in ports} for cycle in history]
    for _, cycles in groupby(zip(shown, history, strict=True), key=lambda pair: pair[0]):
        rest = [cycle for _, cycle in cycles]
        yield from rest if len(rest) <= _LONGEST_REST else [rest[0], None, rest[-1]]


def _signal(
    driver: Driver, port: str, qualifier: str, columns: Sequence[Mapping[str, Any] | None]
) -> dict[str, Any]:
    wave, data, before = "", [], None
    for cycle in columns:
        if cycle is None:
            wave += "|"
            continue
        known = not qualifier or cycle[qualifier]
        text = _text(cycle[port]) if known else "x"
        if text == before:
            wave += "."
        elif driver.bits(port) == 1 or text == "x":
            wave += text
        else:
            wave += "="
            data.append(text)
        before = text
    return {"name": port.replace("__", "."), "wave": wave, "data": data}


def _text(value: Any) -> str:
    if isinstance(value, Const):
        value = {name: value[name] for name, _ in value.shape()}
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        return " ".join(map(_text, value))
    return str(int(value))
