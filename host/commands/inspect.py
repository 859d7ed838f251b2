"""``tritforge inspect``: what a checkpoint or an image holds."""

from typing import TYPE_CHECKING, Any

import click

from .. import options
from ..console import note, print_json
from ..report import print_sizes

if TYPE_CHECKING:
    from ...models.image import Layout
    from ...models.loading import Model

__all__ = ["command"]


@click.command(
    "inspect",
    epilog=options.examples(
        "tritforge inspect tiny",
        "tritforge inspect tiny.tfi --json",
    ),
)
@options.model
@options.accel
@options.as_json
def command(model: str, accel: str | None, as_json: bool) -> None:
    """Show what a model file holds.

    Prints the configuration and what it takes in an accelerator's memory. The file is checked on the way:
    names and shapes of a checkpoint, all checksums of an image.
    """
    from ...models.image import Image, size_report
    from ...models.loading import load
    from ...models.quantise import trit_count

    opened = load(model)
    source = opened.source
    layout = source.layout if isinstance(source, Image) else _layout(opened, accel)
    facts: dict[str, Any] = {
        "model": model,
        "kind": "image" if isinstance(source, Image) else "checkpoint",
        **opened.config.to_dict(),
        "ternary_weights": trit_count(opened.config),
        "tokenizer": opened.tokenizer.kind if opened.tokenizer else None,
        "layout": layout.to_dict(),
    }
    if isinstance(source, Image):
        facts["digest"] = source.digest
    if as_json:
        print_json({**facts, "sizes": size_report(opened.config, layout)})
        return
    for name, value in facts.items():
        click.echo(f"{name:22}{_shown(value)}")
    click.echo()
    print_sizes(opened.config, layout)


def _layout(model: "Model", accel: str | None) -> "Layout":
    """Return the layout of the model's accelerator; of the largest preset where none holds the model."""
    from ...hdl.config import AcceleratorConfig, presets
    from ...models.errors import TritforgeError
    from ..session import open_accelerator

    try:
        return open_accelerator(model, accel).layout
    except TritforgeError as error:
        if accel is not None:
            raise
        largest = AcceleratorConfig.load(presets()[-1])
        note(f"{error}; sizes are those in the layout of {largest.name}")
        return largest.layout


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {each}" for name, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:,}" if type(value) is int else str(value)
