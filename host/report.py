"""Tables that several commands print."""

from typing import TYPE_CHECKING

import click

from .console import print_table

if TYPE_CHECKING:
    from ..models.config import ModelConfig
    from ..models.image import Layout

__all__ = ["print_sizes"]


def print_sizes(config: "ModelConfig", layout: "Layout") -> None:
    """Print what a model takes in an accelerator's memory, next to float16."""
    from ..models.image import size_report

    report = size_report(config, layout)
    print_table([(name, f"{size:,} bytes") for name, size in report["bytes"].items()])
    click.echo()
    print_table(
        [
            (each["name"], f"{each['float16_bytes']:,}", f"{each['bytes']:,}", f"{each['ratio']:.2f}x")
            for each in report["comparisons"]
        ],
        ("compared with (estimated: sizes alone)", "bytes", "here", "ratio"),
    )
