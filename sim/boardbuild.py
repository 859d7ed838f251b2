"""From a board's top level to its bitstream: yosys, nextpnr and icepack, for the iCE40 UP5K (cached)."""

from __future__ import annotations

import json
import shutil
import statistics
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count, islice
from pathlib import Path
from typing import Any

from ..hdl.boards.up5k import BUILD_BYTES, SAMPLED, Board, Up5kTop
from ..hdl.config import AcceleratorConfig
from ..models.errors import TritforgeError
from .boardchecks import clock_name, require_clean, require_clocks, require_synchronisers
from .cache import cached, fingerprint
from .netlist import BOARD_SYNTHESIS
from .placement import TOP, Cell, Segment, critical_path, placed_cells, unit_finder, units_of
from .synthesis import Counts, synthesis_script, synthesise, synthesise_counts
from .tools import SeedError, nextpnr_version, run_icepack, run_nextpnr, yosys_version
from .verilog import to_verilog

__all__ = ["CLOCK_LIMITS", "MARGIN", "Design", "Implementation", "board_design", "implement"]

MARGIN = 0.9
"""A clock, at its fastest, is at most this share of the median routed one."""

CLOCK_LIMITS = {"ICESTORM_DSP": 50e6, "ICESTORM_SPRAM": 70e6}
"""Kind of cell -> clock in Hz that it stands, whatever nextpnr says: it has no timing of these two.

Published: Lattice FPGA-DS-02008 (iCE40 UltraPlus data sheet), the tables "sysDSP Timing" (a 16 x 16
multiplier without its pipeline register) and "Single Port RAM Timing".
"""

_BITSTREAM = "top.bin"
# In a device that is nearly full the default placer, heap, has to spread what it has found: wires get long,
# and the router takes minutes.
_NEXTPNR = (
    "--up5k", "--placer", "static", "--pcf", "top.pcf", "--timing-allow-fail",
    "--json", "netlist.json", "--asc", "top.asc", "--write", "placed.json", "--report", "report.json",
    "--log", "nextpnr.log",
)  # fmt: skip
# The flash stays awake when the device has read its bitstream: the model lies behind it.
_ICEPACK = ("-s", "top.asc", _BITSTREAM)
_CLOCK = "clk"
_MHZ = 1e6
_SPARE = 5
"""Seeds that are tried in the place of those that lead nowhere."""


@dataclass(frozen=True)
class Design:
    """A top level with its pins and clocks.

    Parameters
    ----------
    verilog
        Its text; the top module is called `placement.TOP`.
    package
        The UP5K's package, as nextpnr names it.
    pins
        Port -> pin.
    clocks
        Clock net of the top module -> Hz.
    pulled_up
        Ports whose pin is pulled up by the device.
    crossings
        Pairs of clocks, from and to, between which signals go.
    sampled
        Inputs that are read only while they are known to be stable, and need no synchroniser.
    build
        What the device tells a host that asks which build it is.
    tolerance
        By which share the clocks may be faster than they are said to be.
    """

    verilog: str
    package: str
    pins: Mapping[str, str]
    clocks: Mapping[str, float]
    pulled_up: Collection[str] = ()
    crossings: Collection[tuple[str, str]] = ()
    sampled: Collection[str] = ()
    build: bytes = b""
    tolerance: float = 0.0

    @property
    def fastest(self) -> dict[str, float]:
        """Clock -> Hz that it may have."""
        return {net: clock * (1 + self.tolerance) for net, clock in self.clocks.items()}

    @property
    def constraints(self) -> str:
        """Pins and clocks as nextpnr reads them (.pcf); it aims at clocks faster by `MARGIN`."""
        lines = [
            f"set_io {'-pullup yes ' if port in self.pulled_up else ''}{port} {pin}"
            for port, pin in sorted(self.pins.items())
        ]
        lines += [
            f"set_frequency {net} {clock / MARGIN / _MHZ:.3f}" for net, clock in sorted(self.fastest.items())
        ]
        return "\n".join([*lines, ""])

    @property
    def nextpnr(self) -> tuple[str, ...]:
        """Arguments of nextpnr, but for the seed."""
        return (*_NEXTPNR, "--package", self.package)

    @property
    def recipe(self) -> list[str]:
        """All that makes the bitstream, but for the seed."""
        synthesis = synthesis_script(TOP, **BOARD_SYNTHESIS), yosys_version()
        rest = *self.nextpnr, *_ICEPACK, nextpnr_version("ice40")
        return [self.verilog, *synthesis, self.constraints, *rest]

    def speed(self, clock: str) -> str:
        """Say how fast a clock is to run, and how fast it may run instead."""
        said, most = self.clocks[clock] / _MHZ, self.fastest[clock] / _MHZ
        return f"{said:g} MHz" if most == said else f"{said:g} MHz, which may be {most:g} MHz,"


@dataclass(frozen=True)
class Implementation:
    """A design, placed and routed with each of some seeds.

    Parameters
    ----------
    design
        The design.
    folders
        Seed -> folder with ``top.bin``, ``report.json``, ``placed.json`` and ``nextpnr.log``.
    counts
        Cells after synthesis.
    """

    design: Design
    folders: Mapping[int, Path]
    counts: Counts
    _reports: Mapping[int, Mapping[str, Any]] = field(repr=False)

    @cached_property
    def seed(self) -> int:
        """The seed whose bitstream is taken: where the clock that lacks most has most to spare."""
        clocks = self.design.clocks
        return max(
            self.folders,
            key=lambda seed: min(hz / clocks[name] for name, hz in self.fmax(seed).items()),
        )

    def fmax(self, seed: int) -> dict[str, float]:
        """Routed Fmax in Hz of each clock, with a seed. Paths from and to pins do not count."""
        report = self._reports[seed]["fmax"]
        return {clock_name(net): each["achieved"] * _MHZ for net, each in report.items()}

    def median(self, clock: str) -> float:
        """Median over the seeds of a clock's routed Fmax in Hz."""
        return statistics.median(self.fmax(seed)[clock] for seed in self.folders)

    @property
    def bitstream(self) -> Path:
        """The bitstream of `seed`."""
        return self.folders[self.seed] / _BITSTREAM

    @property
    def log(self) -> Path:
        """What nextpnr said with `seed`."""
        return self.folders[self.seed] / "nextpnr.log"

    @property
    def cells(self) -> list[Cell]:
        """Where the cells are, with `seed`."""
        return placed_cells(self.folders[self.seed] / "placed.json")

    @property
    def used(self) -> dict[str, tuple[int, int]]:
        """Kind of cell, in nextpnr's names -> how many the design takes, and the device has."""
        found = self._reports[self.seed]["utilization"]
        return {kind: (each["used"], each["available"]) for kind, each in found.items()}

    def critical(self, clock: str) -> list[Segment]:
        """The path that limits a clock, with `seed`, by unit."""
        units = unit_finder(units_of(self.design.verilog))
        for path in self._reports[self.seed]["critical_paths"]:
            if all(clock_name(path[end].partition(" ")[2]) == clock for end in ("from", "to")):
                return critical_path(path["path"], units)
        return []

    def require_clock(self) -> None:
        """Refuse a design that is slower than its clocks may be, or has cells that are.

        Raises
        ------
        TritforgeError
            That says by how much, and on which path.
        """
        design = self.design
        for name, hz in self.fmax(self.seed).items():
            wanted = design.fastest[name]
            if hz < wanted:
                path = " -> ".join(
                    f"{each.unit} ({each.logic + each.routing:.1f} ns)" for each in self.critical(name)
                )
                raise TritforgeError(
                    f"the design misses its clock: {name} is to run at {design.speed(name)} and reaches"
                    f" {hz / _MHZ:.2f} MHz (seed {self.seed}; median {self.median(name) / _MHZ:.2f}),"
                    f" {1e9 / hz - 1e9 / wanted:.2f} ns too slow, on the path {path}"
                )
        fastest = max(self.fmax(self.seed), key=lambda name: design.clocks[name])
        for kind, limit in CLOCK_LIMITS.items():
            if self.used[kind][0] and design.fastest[fastest] > limit:
                raise TritforgeError(
                    f"{design.speed(fastest)} are too fast for {kind.removeprefix('ICESTORM_')} cells:"
                    f" the data sheet (FPGA-DS-02008) allows {limit / _MHZ:g} MHz"
                )


def board_design(board: Board, config: AcceleratorConfig, clock_hz: int, baud: int) -> Design:
    """A board's top level, pins and clock.

    Its build is a hash of all that makes the bitstream, but for the seed: `Design.recipe`.

    Parameters
    ----------
    board
        One of `BOARDS`.
    config
        The accelerator.
    clock_hz, baud
        Its clock and its serial port's rate.

    Raises
    ------
    TritforgeError
        If the clock or the baud rate can't be made, or the accelerator does not suit the chip.
    """

    def design(build: bytes) -> Design:
        top = Up5kTop(config, board, build, clock_hz=clock_hz, baud=baud)
        return Design(
            to_verilog(top, TOP), board.package, board.pins, {_CLOCK: float(clock_hz)}, board.pull_ups,
            sampled=SAMPLED, build=build, tolerance=board.clock_tolerance,
        )  # fmt: skip

    build = bytes.fromhex(fingerprint(design(bytes(BUILD_BYTES)).recipe))
    return design(build[:BUILD_BYTES])


def implement(
    design: Design,
    seeds: Sequence[int],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Implementation:
    """Check, synthesise, place, route and pack a design (cached, seed by seed).

    Parameters
    ----------
    design
        The design.
    seeds
        Seeds of the placement, at least one. In the place of one that leads nowhere (`SeedError`) comes the
        next number behind them all.
    progress
        Told how many steps are done, of how many.

    Raises
    ------
    TritforgeError
        If the design breaks a rule of `boardchecks`.
    ToolError
        If it does not fit, or a tool stops with an error.
    """
    if not seeds:
        raise TritforgeError("no seed to route with: give at least one")
    steps = 2 + len(seeds)
    progress(0, steps)
    require_clean(design.verilog)
    progress(1, steps)
    netlist = synthesise(design.verilog, TOP, **BOARD_SYNTHESIS) / "netlist.json"
    require_synchronisers(netlist, design.sampled)
    counts = synthesise_counts(design.verilog, TOP, **BOARD_SYNTHESIS)
    folders: dict[int, Path] = {}
    reports = {}
    spare = islice(count(max(seeds) + 1), _SPARE)
    for seed in seeds:
        progress(2 + len(folders), steps)
        while (folder := _routed(netlist, design, seed)) is None:
            if (seed := next(spare, 0)) == 0:
                raise TritforgeError("too many seeds lead nowhere: try others, or a smaller design")
        folders[seed] = folder
        reports[seed] = json.loads((folder / "report.json").read_text())
        require_clocks(reports[seed], design.clocks, design.crossings)
    progress(steps, steps)
    return Implementation(design, folders, counts, reports)


def _routed(netlist: Path, design: Design, seed: int) -> Path | None:
    """Return the folder of a routed design; None if this seed leads nowhere."""

    def build(folder: Path) -> None:
        shutil.copy(netlist, folder)
        (folder / "top.pcf").write_text(design.constraints)
        # That a seed leads nowhere is kept, too: it takes as long to find out.
        with suppress(SeedError):
            run_nextpnr("ice40", [*design.nextpnr, "--seed", str(seed)], folder)
            run_icepack(_ICEPACK, folder)
        (folder / "netlist.json").unlink()

    folder = cached("board", [*design.recipe, str(seed)], build)
    return folder if (folder / _BITSTREAM).exists() else None
