"""``tritforge verilog``: an accelerator as files for other tools."""

from pathlib import Path

import click

from .. import options
from ..console import print_json, progress

__all__ = ["command"]

_DEFAULT_MODEL = "micro"


@click.command(
    "verilog",
    epilog=options.examples(
        "tritforge verilog --accel up5k",
        "tritforge verilog --accel medium --bus axi -o axi",
        "cd axi && iverilog -g2012 -o sim tritforge_medium.v tritforge_medium_tb.v && vvp sim",
    ),
)
@options.accel
@click.option(
    "--bus",
    type=click.Choice(["stream", "axi", "wishbone"]),
    default="stream",
    show_default=True,
    help="What stands around the accelerator: its own streams, or registers and a read master.",
)
@click.option(
    "--model",
    default=_DEFAULT_MODEL,
    show_default=True,
    help="The model that the testbench runs.",
)
@click.option(
    "-o", "--out", type=options.file, metavar="DIR", help="A new or empty folder.  [default: build/ACCEL]"
)
@options.as_json
def command(accel: str | None, bus: str, model: str, out: Path | None, as_json: bool) -> None:
    """Write an accelerator as Verilog, with a testbench.

    DIR gets one Verilog file, a testbench in plain Verilog with its memory files, a FuseSoC core, and how to
    run them (README.md). The testbench needs Icarus or Verilator, but no Python: it runs a model on the
    accelerator, and compares tokens, raw logits and states with the golden model's.

    With `--bus axi` the host's side is AXI4-Lite and weights are read over AXI4; with `--bus wishbone` both
    are Wishbone. Then DIR has the register map, too (registers.md, registers.json). An earlier export in DIR
    is replaced.
    """
    from ...models.loading import load
    from ...sim.export import export_accelerator
    from ..session import open_accelerator, open_image

    opened = load(model)
    config = open_accelerator(opened, accel)
    image = open_image(opened, config)
    folder = Path("build") / config.name if out is None else out
    with progress("writing Verilog") as report:
        written = export_accelerator(image, config, bus, folder, report)
    if as_json:
        print_json(
            {
                "accelerator": config.name,
                "model": model,
                "bus": bus,
                "folder": str(folder),
                "top": written.top,
                "weight_word_bits": written.word_bits,
                "files": list(written.files),
            }
        )
        return
    click.echo(f"{folder}: {written.top}.v and a testbench that runs {model}; README.md tells how")
