"""``tritforge verify``: the simulated accelerator against the golden model."""

from dataclasses import asdict
from pathlib import Path

import click

from .. import options
from ..console import print_json, progress

__all__ = ["command"]


@click.command(
    "verify",
    epilog=options.examples(
        'tritforge verify tiny --prompt "Once upon a time there was a little girl."',
        "tritforge verify ./my-checkpoint --tokens tokens.npy --json",
    ),
)
@options.model
@click.option("--tokens", type=options.file, metavar="FILE.npy", help="Token numbers, one-dimensional.")
@click.option("--prompt", metavar="TEXT", help="Any text.")
@options.accel
@options.as_json
def command(model: str, tokens: Path | None, prompt: str | None, accel: str | None, as_json: bool) -> None:
    """Compare the RTL with the golden model.

    A text runs through both, and all logits and all states are compared. Ends with exit code 1 if they
    differ, and says where first: layer, unit, element, cycle, and both values.
    """
    from ...models.engine import checked_tokens
    from ...models.loading import load
    from ...sim.compare import compare
    from ..session import open_accelerator, open_image

    if (prompt is None) == (tokens is None):
        raise click.UsageError("give either --tokens or --prompt.")
    opened = load(model)
    given = opened.encode(prompt) if prompt is not None else options.read_tokens(tokens)  # type: ignore[arg-type]
    ids = checked_tokens(given, opened.config.vocab_size)
    config = open_accelerator(opened, accel)
    image = open_image(opened, config)
    with progress("rtl against golden") as report:
        found = compare(image, config, ids, report)
    difference = asdict(found.first_difference) if found.first_difference else None
    if as_json:
        print_json(
            {
                "equal": found.equal,
                "tokens": found.tokens,
                "values_compared": found.values_compared,
                "saturations": found.saturations,
                "first_difference": difference,
            }
        )
    elif difference is None:
        click.echo(
            f"bit-exact: {found.tokens} tokens, {found.values_compared:,} values compared,"
            f" {found.saturations:,} of them saturated"
        )
    else:
        click.echo("different: " + ", ".join(f"{key} {value}" for key, value in difference.items()))
    if not found.equal:
        click.get_current_context().exit(1)
