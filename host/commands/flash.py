"""``tritforge flash``: a built folder into a board's flash."""

from pathlib import Path

import click

from .. import options
from ..console import note

__all__ = ["command"]


@click.command(
    "flash",
    epilog=options.examples(
        "tritforge flash build/icebreaker --verify",
        "tritforge flash build/icebreaker --dry-run",
    ),
)
@click.argument("folder", type=options.file, metavar="DIR")
@click.option("--verify", is_flag=True, help="Read the flash back, and compare.")
@click.option("--dry-run", is_flag=True, help="Show the commands, and do nothing.")
def command(folder: Path, verify: bool, dry_run: bool) -> None:
    """Write bitstream and model to a board's flash.

    DIR is what `tritforge build` wrote. openFPGALoader writes the files where the manifest says; then the
    board begins to tell its story, and answers on the link.
    """
    from ..flashing import flash_commands, run_loader, shown

    for arguments in flash_commands(folder, verify):
        if dry_run:
            click.echo(shown(arguments))
        else:
            note(shown(arguments))
            run_loader(arguments, note)
