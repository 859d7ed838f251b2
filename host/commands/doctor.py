"""``tritforge doctor``: what this machine lacks."""

from dataclasses import asdict

import click

from .. import options
from ..console import print_json

__all__ = ["command"]


@click.command(
    "doctor",
    epilog=options.examples(
        "tritforge doctor",
    ),
)
@options.as_json
def command(as_json: bool) -> None:
    """Say what this machine lacks.

    And for what it is needed, and how to get it.
    """
    from ..doctor import checks

    found = checks()
    if as_json:
        print_json({"checks": [asdict(check) for check in found]})
        return
    width = max(len(check.name) for check in found)
    for check in found:
        click.echo(f"{'ok' if check.ok else 'lacking':8} {check.name:{width}}  {check.found}")
        if not check.ok:
            click.echo(f"{'':8} {'':{width}}  needed for {check.needed_for}: {check.how_to_get}")
    lacking = sum(not check.ok for check in found)
    click.echo("everything is there" if not lacking else f"{lacking} lacking; all else works")
