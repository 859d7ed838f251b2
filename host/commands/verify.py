"""``tritforge verify``: the simulated accelerator against the golden model."""

from pathlib import Path

import click

from .. import comparison, options
from ..console import print_json, progress

__all__ = ["command"]


@click.command(
    "verify",
    epilog=options.examples(
        'tritforge verify tiny --prompt "Once upon a time there was a little girl."',
        'tritforge verify tiny --prompt "Once" --prompt "There was a dog" --streams 2',
        "tritforge verify ./my-checkpoint --tokens tokens.npy --json",
    ),
)
@options.model
@comparison.texts
@options.accel
@options.streams
@options.as_json
def command(
    model: str,
    files: tuple[Path, ...],
    prompts: tuple[str, ...],
    accel: str | None,
    streams: int | None,
    as_json: bool,
) -> None:
    """Compare the RTL with the golden model.

    A text runs through both, and all that leaves a unit is compared: inputs, sums and scales of each product,
    vectors, states, logits. Ends with exit code 1 if they differ, and says where first: layer, unit, tensor,
    element, cycle, and both values.

    On an accelerator of several streams as many tokens of a text pass together; or several texts, on a stream
    each.
    """
    from ...models.loading import load
    from ...sim.compare import compare
    from ..session import open_accelerator, open_image

    opened = load(model)
    ids = comparison.read_given(opened, files, prompts)
    config = open_accelerator(opened, accel, streams)
    image = open_image(opened, config)
    with progress("rtl against golden") as report:
        found = compare(image, config, *ids, progress=report)
    if as_json:
        print_json(comparison.as_dict(found))
    else:
        click.echo(comparison.as_line(found))
    if not found.equal:
        click.get_current_context().exit(1)
