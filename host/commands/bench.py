"""``tritforge bench``: the figures of the documents, measured again."""

import json
from pathlib import Path

import click

from .. import options
from ..console import note

__all__ = ["command"]


def _corpora(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, Path]:
    pairs = [value.partition("=") for value in values]
    for name, equals, file in pairs:
        if not (name and equals and file):
            raise click.BadParameter(f"{name}{equals}{file} must be MODEL=FILE, as in tiny=stories.txt")
    return {name: Path(file) for name, _, file in pairs}


@click.command(
    "bench",
    epilog=options.examples(
        "tritforge bench",
        "tritforge bench micro tiny --corpus tiny=stories.txt --out bench.json",
    ),
)
@click.argument("models", nargs=-1)
@click.option(
    "--corpus",
    "corpora",
    multiple=True,
    metavar="MODEL=FILE",
    callback=_corpora,
    help="The text that a zoo model was trained on: golden is compared with float on its held-out end."
    " Shakespeare's plays are fetched.",
)
@click.option("--out", type=options.file, metavar="FILE.json", help="Write the figures there as JSON, too.")
@click.option(
    "--max-new", type=click.IntRange(min=1), default=200, show_default=True, help="Tokens a model and engine."
)
def command(models: tuple[str, ...], corpora: dict[str, Path], out: Path | None, max_new: int) -> None:
    """Measure the documents' figures again.

    For MODELS, without any all of the zoo: quality, golden against float, cycles, lane use, speed of the
    engines. For the published shapes: sizes, and of the smallest the cycles of two layers. Every table says
    how its figures were obtained. Speeds depend on the machine, all else does not.
    """
    from ...models import zoo
    from ...models.errors import TritforgeError
    from ...models.files import replacing
    from ..benchmark import measure
    from ..report import TABLES

    names = models or tuple(zoo.names())
    if missing := sorted(set(corpora) - set(names)):
        raise TritforgeError(f"--corpus names {missing[0]}, which is none of the models: {', '.join(names)}")
    results = measure(names, corpora, max_new)
    for table in TABLES.values():
        click.echo()
        table(results).print()
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        with replacing(out) as stream:
            stream.write(json.dumps(results, indent=1).encode() + b"\n")
        note(f"written to {out}")
