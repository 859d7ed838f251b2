"""``tritforge inspect``: what a checkpoint or an image holds."""

from typing import Any

import click

from .. import options
from ..console import print_json
from ..report import print_sizes

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
    from ..session import open_accelerator

    opened = load(model)
    source = opened.source
    layout = source.layout if isinstance(source, Image) else open_accelerator(opened, accel).layout
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


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {each}" for name, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:,}" if type(value) is int else str(value)
