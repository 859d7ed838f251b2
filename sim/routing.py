"""How fast a design runs on an FPGA: placed and routed by nextpnr, seed by seed.

No pin is given: ports go where nextpnr puts them. A unit with more ports than the package has pins, or one
whose own paths alone shall be timed, is put into a `Harness` first.
"""

import json
import shutil
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..models.errors import TritforgeError
from .cache import cached
from .synthesis import synthesise
from .tools import nextpnr_version, run_nextpnr

__all__ = ["ROUTED_DEVICES", "SEEDS", "Routing", "route"]

SEEDS = (1, 2, 3, 4, 5)
"""Seeds whose median is a routed design's clock."""


@dataclass(frozen=True)
class _Target:
    """A device as nextpnr knows it; it aims at `clock` MHz, which is more than a design reaches."""

    family: str
    arguments: str
    clock: int


_TARGETS = {
    "up5k": _Target("ice40", "--up5k --package sg48 --pcf-allow-unconstrained", 100),
    "hx8k": _Target("ice40", "--hx8k --package ct256 --pcf-allow-unconstrained", 300),
    "85f": _Target("ecp5", "--85k --package CABGA381 --speed 6 --lpf-allow-unconstrained", 400),
}

ROUTED_DEVICES = {device: target.family for device, target in _TARGETS.items()}
"""Device -> its family, as `sim.synthesis` has them."""


@dataclass(frozen=True)
class Routing:
    """A routed design.

    Parameters
    ----------
    fmax
        Seed -> highest clock in MHz of the slowest clock domain. Paths from and to pins do not count.
    used, available
        Kind of cell, in nextpnr's names -> number that the design takes, and that the device has.
    """

    fmax: Mapping[int, float]
    used: Mapping[str, int]
    available: Mapping[str, int]

    @property
    def median(self) -> float:
        """Median of `fmax` over the seeds, in MHz."""
        return statistics.median(self.fmax.values())


def route(
    verilog: str,
    top: str = "top",
    device: str = "up5k",
    seeds: Sequence[int] = SEEDS,
    *,
    options: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Routing:
    """Synthesise, place and route a design (cached, seed by seed).

    Parameters
    ----------
    verilog
        The design's text.
    top
        Name of its top module.
    device
        One of `ROUTED_DEVICES`.
    seeds
        Seeds of the placement, at least one.
    options
        More arguments for yosys' synthesis command, e.g. ``-no-rw-check``.
    progress
        Told how many seeds are done, of how many.

    Raises
    ------
    TritforgeError
        If the device is not known, there is no seed, or the design has no clock.
    ToolError
        If there is no nextpnr for the device, or the design does not fit.
    """
    if device not in _TARGETS:
        raise TritforgeError(f"nothing can be routed for device {device!r}: choose {', '.join(_TARGETS)}")
    if not seeds:
        raise TritforgeError("no seed to route with: give at least one")
    target = _TARGETS[device]
    netlist = synthesise(verilog, top, family=target.family, device=device, options=options) / "netlist.json"
    reports = []
    for done, seed in enumerate(seeds):
        if progress is not None:
            progress(done, len(seeds))
        reports.append(_routed(netlist, target, seed))
    if progress is not None:
        progress(len(seeds), len(seeds))
    clocks = [min(clock["achieved"] for clock in report["fmax"].values()) for report in reports]
    cells = {kind: each for kind, each in reports[0]["utilization"].items() if each["used"]}
    return Routing(
        dict(zip(seeds, clocks, strict=True)),
        {kind: each["used"] for kind, each in cells.items()},
        {kind: each["available"] for kind, each in cells.items()},
    )


def _routed(netlist: Path, target: _Target, seed: int) -> dict[str, Any]:
    arguments = [
        *target.arguments.split(), "--freq", str(target.clock), "--timing-allow-fail", "--seed", str(seed),
        "--json", "netlist.json", "--report", "report.json",
    ]

    def build(folder: Path) -> None:
        shutil.copy(netlist, folder)
        run_nextpnr(target.family, arguments, folder)
        (folder / "netlist.json").unlink()

    key = [netlist.read_text(), *arguments, nextpnr_version(target.family)]
    report: dict[str, Any] = json.loads((cached("route", key, build) / "report.json").read_text())
    if not report["fmax"]:
        raise TritforgeError("a design without a clock has no routed clock: give one with flip-flops")
    return report
