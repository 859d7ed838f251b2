"""``tritforge build``: a board's bitstream."""

from pathlib import Path

import click

from .. import options
from ..console import note, print_json

__all__ = ["command"]

_MEGA = 1_000_000


@click.command(
    "build",
    epilog=options.examples(
        "tritforge build --board icebreaker",
        "tritforge build --board icebreaker --seeds 5",
        "tritforge flash build/icebreaker",
    ),
)
@click.option("--board", default="icebreaker", show_default=True, help="The board; see docs/boards.")
@click.option("--model", default="tiny", show_default=True, help="The model in its flash.")
@click.option(
    "--accel",
    metavar="NAME|FILE.toml",
    default="up5k",
    show_default=True,
    help="The accelerator: a preset or a TOML file.",
)
@click.option(
    "--clock", type=click.FloatRange(min=0, min_open=True), metavar="MHZ", help="Instead of the board's."
)
@click.option("--baud", type=click.IntRange(min=1), help="Of the serial port, instead of the board's.")
@click.option("--seed", type=click.IntRange(min=1), help="Of the placement, instead of the board's.")
@click.option(
    "--seeds",
    type=click.IntRange(1, 100),
    metavar="N",
    help="Try the seeds 1 to N, and take the fastest.",
)
@click.option(
    "-o", "--out", type=options.file, metavar="DIR", help="Where the files go.  [default: build/BOARD]"
)
@options.as_json
def command(
    board: str,
    model: str,
    accel: str,
    clock: float | None,
    baud: int | None,
    seed: int | None,
    seeds: int | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Build a board's bitstream, and a flash image with a model.

    The design is checked, synthesised (yosys), placed and routed (nextpnr) and packed (icepack). A UP5K that
    is nearly full takes nextpnr some minutes a seed; what was done once is kept. DIR gets bitstream.bin,
    flash.bin, manifest.json (for `tritforge flash` and `tritforge chat`), and a report with the floor plan:
    report.html, report.json. A design that misses its clock is an error.
    """
    if seed is not None and seeds is not None:
        raise click.UsageError("--seed and --seeds exclude each other.")
    from ..boardfolder import build
    from ..boardreport import tables

    folder = Path("build") / board if out is None else out
    chosen = () if seed is seeds is None else (seed,) if seed is not None else range(1, (seeds or 0) + 1)
    found = build(
        board,
        folder,
        model,
        accel=accel,
        clock_hz=None if clock is None else round(clock * _MEGA),
        baud=baud,
        seeds=chosen,
    )
    if as_json:
        print_json(found)
        return
    for table in tables(found):
        table.print()
        click.echo()
    note(f"written to {folder}; `tritforge flash {folder}` writes it to the board")
