"""A board's figures, and the tables that its document makes of them, next to other accelerators.

Run as ``python -m tritforge.host.boardtables RESULTS.json FILE.md``: writes the tables of a document. With a
build's folder as a third argument, it first writes RESULTS.json from that build, simulating the zoo's models
on its board, and copies the build's small picture beside the document, as its floor plan.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ..hdl.boards.up5k import BOARDS
from ..hdl.config import AcceleratorConfig
from ..models import zoo
from ..models.config import read_json
from ..models.files import replacing
from ..models.loading import load
from ..models.quantise import trit_count
from .boardfolder import MANIFEST, PICTURE, PLAN, REPORT
from .boardreport import tables
from .boardspeed import board_speed
from .circumstances import circumstances
from .documents import rewrite, rewritten
from .report import Table

__all__ = ["MARK", "PEERS", "TABLES", "Peer", "main", "measure"]

_ROUNDED = 1000
"""Tokens a second, from which on they are whole ones."""

MARK = "board"
"""What stands in the marks of these tables."""

Results = Mapping[str, Any]
"""What `measure` returns."""


@dataclass(frozen=True)
class Peer:
    """Another accelerator of language models, by its published figures.

    Parameters
    ----------
    name, address
        Of the project or paper.
    device
        FPGA and clock.
    weights
        The model's, as its authors count them; ternary ones if `how` does not say otherwise.
    tokens_per_second
        Published; the highest of several figures.
    how
        What its authors say of that figure.
    luts
        Lookup tables that it takes, if they were found.
    """

    name: str
    address: str
    device: str
    weights: float
    tokens_per_second: float
    how: str
    luts: int | None = None


PEERS = (
    Peer(
        "ZyboGPT", "https://github.com/mpai17/ZyboGPT", "Zybo Z7-10, 150 MHz", 98e3, 3072,
        "measured; timing missed by 0.076 ns; 67 DSPs", 14_952,
    ),
    Peer(
        "gateGPT", "https://github.com/fguzman82/gateGPT", "Virtex-5, 80 MHz", 4192, 60_600,
        "measured; 16-bit weights, not ternary ones; 62 DSPs", 16_548,
    ),
    Peer(
        "trinity", "https://doi.org/10.5281/zenodo.18947017", "XC7A100T, 50 MHz", 1.48e6, 16 / 0.467,
        "measured, 16 tokens in 467 ms; untrained weights", 7400,
    ),
    Peer(
        "bitnet-kv260", "https://github.com/MerlijnW70/bitnet-kv260", "Kria KV260, 250 MHz", 2.08e9, 16.78,
        "measured; weights in DRAM; no DSPs", 42_271,
    ),
    Peer(
        "Ternip", "https://github.com/sifferman/ternip", "Alveo U250, 300 MHz", 370e6, 3711.77,
        "measured; 48 sequences share each weight",
    ),
    Peer(
        "TerEffic, on chip", "https://arxiv.org/abs/2502.16473", "Alveo U280", 370e6, 16_300,
        "one sequence; weights on several chips",
    ),
    Peer(
        "TerEffic, HBM", "https://arxiv.org/abs/2502.16473", "Alveo U280", 2.7e9, 727,
        "weights in the card's memory",
    ),
    Peer(
        "matmulfree_KRIA", "https://github.com/aebarthyi/matmulfree_KRIA", "Kria K26, 250 MHz", 370e6, 30.60,
        "measured; norms and activations on its Arm cores",
    ),
    Peer(
        "TernaryCore", "https://github.com/Ternarycore/ternarycore", "Arty A7-100T", 596e6, 1 / 2.88,
        "measured, 2.88 to 4.66 s a token",
    ),
    Peer(
        "inference-only", "https://github.com/Berkeley-AI-Risk/inference-only", "Tang Mega 138K, 25 MHz",
        5_354_496, 8.76, "measured; 10-bit weights, not ternary ones",
    ),
    Peer(
        "tinyllm-fpga", "https://github.com/jrrk2/tinyllm-fpga", "VC707, 40 MHz", 135e6, 3,
        "measured, 2 to 3 tokens/s; 16-bit weights, not ternary ones",
    ),
)  # fmt: skip
"""Accelerators whose models' weights and tokens a second were found published, each figure at its address."""


def measure(folder: Path) -> dict[str, Any]:
    """Gather a build's figures, and simulate every model of the zoo on its board.

    Parameters
    ----------
    folder
        What ``tritforge build`` wrote.

    Raises
    ------
    TritforgeError
        If the folder holds no build, or there is no C++ compiler.
    """
    report, manifest = read_json(folder / REPORT), read_json(folder / MANIFEST)
    board = replace(BOARDS[manifest["board"]], clock_hz=manifest["clock_hz"], baud=manifest["baud"])
    config = AcceleratorConfig.from_dict(manifest["accelerator"])
    models = {}
    for name in zoo.names():
        model = load(name)
        speed = board_speed(model, config, board).to_dict(board.clock_hz)
        models[name] = {"weights": trit_count(model.config), **speed}
    seeds = f"--seeds {len(report['seeds'])}" if len(report["seeds"]) > 1 else f"--seed {report['seed']}"
    command = f"tritforge build --board {report['board']} --model {report['model']} {seeds}"
    return {**circumstances(command), "report": report, "models": models}


def _of_report(index: int) -> Callable[[Results], Table]:
    return lambda results: tables(results["report"])[index]


def _models(results: Results) -> Table:
    report = results["report"]
    rows = [
        (
            f"`{name}`",
            f"{each['weights']:,}",
            f"{each['cycles_per_token']:,.0f}",
            f"{each['tokens_per_second']:,.0f}",
            f"{each['host_tokens_per_second']:,.0f}",
        )
        for name, each in results["models"].items()
    ]
    head = ("model", "ternary weights", "cycles a token", "device: tokens/s", "host: tokens/s")
    caption = (
        f"Simulated, on the board's own top level, at the clock of the routed design,"
        f" {report['clock_hz'] / 1e6:g} MHz. Device: clock by cycles a token; no link is in it. Host: what"
        f" comes over a line of {report['baud']:,} baud at a host that asks without a pause; neither USB nor"
        " the host's own time is in it."
    )
    return Table(caption, head, rows)


def _peers(results: Results) -> Table:
    report = results["report"]
    rows = [
        (
            f"tritforge, `{name}`",
            f"iCE40 UP5K, {report['clock_hz'] / 1e6:g} MHz",
            *_rates(each["weights"], each["tokens_per_second"], report["lut4"]),
            "routed and simulated",
        )
        for name, each in results["models"].items()
    ]
    rows += [
        (
            f"[{peer.name}]({peer.address})",
            peer.device,
            *_rates(peer.weights, peer.tokens_per_second, peer.luts),
            f"published ({peer.how})",
        )
        for peer in PEERS
    ]
    head = (
        *("accelerator", "device", "weights", "tokens/s", "weights × tokens/s", "LUTs"),
        *("weights × tokens/s by LUT", "how obtained"),
    )
    caption = (
        "Weights × tokens/s is a speed that does not depend on the model's size. Tokens/s: the device's own."
        " Ours: LUTs of four inputs, counted after synthesis, with weight memory and link; theirs:"
        " published, of six inputs. A dash: not found. Products and quotients are worked out from the"
        " columns before."
    )
    return Table(caption, head, rows)


def _rates(weights: float, tokens_per_second: float, luts: int | None) -> tuple[str, ...]:
    rate = weights * tokens_per_second
    return (
        f"{weights:,.0f}",
        f"{tokens_per_second:,.0f}" if tokens_per_second >= _ROUNDED else f"{tokens_per_second:.4g}",
        f"{rate:.2g}",
        *(("–", "–") if luts is None else (f"{luts:,}", f"{rate / luts:,.0f}")),
    )


def _run(results: Results) -> Table:
    machine = results["machine"]
    rows = [
        ("command", f"`{results['command']}`"),
        ("date", results["date"]),
        ("versions", ", ".join(f"{name} {number}" for name, number in results["versions"].items())),
        ("machine", f"{machine['processor']}, {machine['cores']} cores, {machine['system']}"),
    ]
    return Table("How the figures of this page were obtained.", ("what", "value"), rows)


TABLES: Mapping[str, Callable[[Results], Table]] = {
    "speed": _of_report(0),
    "models": _models,
    "peers": _peers,
    "cells": _of_report(1),
    "path": _of_report(2),
    "run": _run,
}
"""The document's tables by name."""


def main(arguments: Sequence[str]) -> None:
    """Rewrite the tables of a document; from a build, if its folder is given."""
    results, document = (Path(each) for each in arguments[:2])
    for folder in map(Path, arguments[2:]):
        found = measure(folder)
        picture = (folder / PICTURE).read_bytes()
        for path, content in (
            (results, json.dumps(found, indent=1).encode() + b"\n"),
            (document.with_name(PLAN), picture),
        ):
            with replacing(path) as stream:
                stream.write(content)
    rewrite(document, partial(rewritten, results=read_json(results), tables=TABLES, mark=MARK))


if __name__ == "__main__":
    main(sys.argv[1:])
