"""``tritforge pack``: the file that an accelerator's memory is filled from."""

from pathlib import Path

import click

from .. import options
from ..console import progress
from ..report import print_sizes

__all__ = ["command"]


@click.command(
    "pack",
    epilog=options.examples(
        "tritforge pack tiny -o tiny.tfi",
        "tritforge pack ./MMfreeLM-370M -o 370m.tfi",
        'tritforge generate tiny.tfi --prompt "Once" --max-new 100 --engine rtl',
    ),
)
@options.model
@click.option("-o", "--out", type=options.file, metavar="IMAGE", required=True, help="Where the image goes.")
@options.accel
def command(model: str, out: Path, accel: str | None) -> None:
    """Write an accelerator's memory image.

    Weights are packed, five trits a byte, in the order in which the accelerator reads them.
    The image holds the model's configuration and tokenizer, too, so it is all that generate, verify and eval
    need (but for --engine float). It fits accelerators of the same layout; an image is laid out anew by
    packing it.
    """
    from ...models.image import write_image
    from ...models.loading import load
    from ..session import open_accelerator

    opened = load(model)
    layout = open_accelerator(opened, accel).layout
    with progress("packing") as report:
        write_image(opened.integers, layout, out, report)
    click.echo(f"{out}: {out.stat().st_size:,} bytes")
    print_sizes(opened.config, layout)
