"""``tritforge units``: what each hardware unit costs, and how long it takes."""

import json
from dataclasses import replace
from pathlib import Path

import click

from .. import options
from ..console import note, print_json, progress

__all__ = ["command"]


@click.command(
    "units",
    epilog=options.examples(
        "tritforge units",
        "tritforge units --streams 2",
        "tritforge units --family ecp5 --accel medium --json",
    ),
)
@click.option(
    "--family",
    metavar="FAMILY",
    default="ice40",
    show_default=True,
    help="Whose cells are counted: ice40 (UP5K), ecp5, gowin (GW2A) or xilinx (7 series).",
)
@click.option(
    "--accel",
    metavar="NAME|FILE.toml",
    default="up5k",
    show_default=True,
    help="The accelerator: a preset or a TOML file.",
)
@options.streams
@click.option("--out", type=options.file, metavar="FILE.json", help="Write the figures there as JSON, too.")
@options.as_json
def command(family: str, accel: str, streams: int | None, out: Path | None, as_json: bool) -> None:
    """Show what each hardware unit costs, and how long it takes.

    Yosys synthesises every unit of the accelerator on its own, then the whole, then the dot product alone:
    with the decoding of weights, table filling, activations and partial sums. That takes minutes the first
    time and is kept from then on.

    A unit with dots before its name is part of the one above it. Alone it may cost more than its share of the
    whole, where yosys sees what is never used. LUT4: four-input lookup tables; wider ones count by the bits
    that they hold. Latency: cycles, from where to where with --json. Nothing is placed or routed, so
    nothing is said of a clock.
    """
    from ...hdl.config import AcceleratorConfig
    from ...models.files import replacing
    from ...sim.units import unit_costs
    from ..unitreport import dot_table, unit_table

    config = AcceleratorConfig.load(accel)
    if streams is not None:
        config = replace(config, streams=streams)
    with progress(f"counting cells for {family}") as report:
        costs = unit_costs(config, family, report)
    if as_json:
        print_json(costs)
    else:
        unit_table(costs).print()
        click.echo()
        dot_table(costs).print()
    if out is not None:
        with replacing(out) as stream:
            stream.write(json.dumps(costs, indent=1).encode() + b"\n")
        note(f"written to {out}")
