"""``tritforge bench``: the figures of the documents, measured again."""

import json
import platform
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any

import click

from .. import options
from ..console import note, print_table

__all__ = ["command"]

_GENERATED = 200
_ICE40_PRESETS = ("up5k",)
_TEMPERATURE = 0.8


@click.command(
    "bench",
    epilog=options.examples(
        "tritforge bench --out build/bench.json",
    ),
)
@click.option("--out", type=options.file, metavar="FILE.json", help="Write the figures there as JSON, too.")
@click.option(
    "--max-new", type=click.IntRange(min=1), default=_GENERATED, show_default=True, help="Tokens a model."
)
def command(out: Path | None, max_new: int) -> None:
    """Measure the documents' figures again.

    Cycles, lane use, speed of the engines, sizes, quality, logic cells.     Every figure is printed with
    how it was obtained. Speeds depend on the machine, all else does not.
    """
    from ...hdl.config import AcceleratorConfig
    from ...models import zoo
    from ...models.config import PRESETS
    from ...models.files import replacing
    from ...models.image import size_report

    result: dict[str, Any] = {
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "python": platform.python_version(),
        },
        "models": {name: _model(name, max_new) for name in zoo.names()},
        "sizes": {
            name: size_report(config, AcceleratorConfig.smallest_fit(config).layout)
            for name, config in PRESETS.items()
        },
        "cells": {name: _cells(AcceleratorConfig.load(name)) for name in _ICE40_PRESETS},
    }
    click.echo(
        "\nmodels (bits/char: measured on held-out text; cycles and lane use: simulated; tokens/s: measured)"
    )
    head = ("model", "accelerator", "bits/char", "xz -9e", "Kneser-Ney", "cycles/token", "lane use")
    print_table(
        [
            (
                name,
                each["accelerator"],
                f"{each['quality']['bits_per_char']:.3f}",
                f"{each['quality']['xz_bits_per_char']:.3f}",
                f"{each['quality']['kneser_ney_best_bits_per_char']:.3f}",
                f"{each['cycles_per_token']:,.0f}",
                f"{each['lane_use']:.1%}",
            )
            for name, each in result["models"].items()
        ],
        head,
    )
    click.echo("\nspeed of the engines on this machine (tokens/s, measured)")
    engines = ("rtl", "golden", "float")
    print_table(
        [
            (name, *(f"{each['tokens_per_second'][e]:,.1f}" for e in engines))
            for name, each in result["models"].items()
        ],
        ("model", *engines),
    )
    click.echo("\nsizes (computed from the layout)")
    print_table(
        [
            (name, each["name"], f"{each['float16_bytes']:,}", f"{each['bytes']:,}", f"{each['ratio']:.2f}x")
            for name, report in result["sizes"].items()
            for each in report["comparisons"]
        ],
        ("model", "compared with", "bytes", "here", "ratio"),
    )
    click.echo("\ncells on iCE40 (yosys, before placement)")
    print_table(
        [(name, *map(str, cells.values())) for name, cells in result["cells"].items()],
        ("preset", *next(iter(result["cells"].values()))),
    )
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        with replacing(out) as stream:
            stream.write(json.dumps(result, indent=2).encode() + b"\n")
        note(f"written to {out}")


def _model(name: str, max_new: int) -> dict[str, Any]:
    """Run a zoo model on every engine."""
    from ...models import zoo
    from ...models.loading import load
    from ..session import open_accelerator, open_engine, open_rtl

    model = load(name)
    config = open_accelerator(model, None)
    start = perf_counter()
    rtl: Any = open_rtl(model, config)
    ready = perf_counter() - start
    speeds = {}
    for engine in (rtl, open_engine(model, "golden"), open_engine(model, "float")):
        note(f"{name} on {engine.name}")
        # No stop tokens, so that all generate the same number.
        for _ in engine.generate(model.opening(), max_new, temperature=_TEMPERATURE):
            pass
        speeds[engine.name] = engine.timing.tokens_per_second
    return {
        "accelerator": config.name,
        "quality": zoo.card(name)["quality"],
        "cycles_per_token": rtl.cycles_per_token,
        "lane_use": rtl.lane_use,
        "tokens_per_second": speeds,
        "seconds_until_ready": ready,
    }


def _cells(config: Any) -> dict[str, int]:
    """Count a preset's cells on iCE40."""
    from ...sim.engine import accelerator_verilog
    from ...sim.synthesis import synthesise_counts

    note(f"yosys on {config.name}")
    return asdict(synthesise_counts(accelerator_verilog(config), "accelerator", options=("-no-rw-check",)))
