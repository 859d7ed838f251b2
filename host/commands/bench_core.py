"""``tritforge bench-core``: what the core is, measured."""

import json
from pathlib import Path

import click

from .. import options
from ..console import note

__all__ = ["command"]


@click.command(
    "bench-core",
    epilog=options.examples(
        "tritforge bench-core",
        "tritforge bench-core --only streams --only units --out core.json",
    ),
)
@click.option("--only", multiple=True, metavar="PART", help="Measure this part only; may be given again.")
@click.option(
    "--out",
    type=options.file,
    metavar="FILE.json",
    help="Write the figures there as JSON, too; parts in it that are not measured now are kept.",
)
def command(only: tuple[str, ...], out: Path | None) -> None:
    """Measure the core: the figures of the documents' page on it.

    Parts: cycles (a token's cycles and what they went for), streams (cycles of several texts, or positions of
    one text, that share every weight beat), units (cells of each unit), stream-cells (what further streams
    add), clock (the core routed on a UP5K), speed (of the simulation). Synthesis and routing take
    minutes each; both are kept. The file is written part by part.
    """
    from ...models.config import read_json
    from ...models.files import replacing
    from ..corebench import measure_core
    from ..coretables import TABLES

    before = read_json(out) if out is not None and out.exists() else {}
    for results in measure_core(only, before):
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
            with replacing(out) as stream:
                stream.write(json.dumps(results, indent=1).encode() + b"\n")
    for part, table in TABLES.values():
        if part in results:
            click.echo()
            table(results[part]).print()
    if out is not None:
        note(f"written to {out}")
