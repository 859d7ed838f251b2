"""``tritforge demo``: a model talks from the simulated accelerator, next to its golden model."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from .. import options
from ..console import note, progress, terminal

__all__ = ["command"]


@click.command(
    "demo",
    # Greedy, so small a model soon repeats itself.
    context_settings={"default_map": {"temperature": 0.6}},
    epilog=options.examples(
        "tritforge demo",
        'tritforge demo bard --prompt "ROMEO:" --temperature 0.8 --seed 7',
    ),
)
@click.argument("model", default="tiny")
@click.option(
    "--prompt", metavar="TEXT", default="", help="The text to go on from; without it, the start of a text."
)
@click.option(
    "--max-new", type=click.IntRange(min=1), default=300, show_default=True, help="Tokens to generate."
)
@options.temperature_and_seed
@options.accel
def command(
    model: str, prompt: str, max_new: int, temperature: float | None, seed: int, accel: str | None
) -> None:
    """Watch the accelerator talk.

    A model generates text on the RTL in simulation, beside the golden model. Both get the same tokens,
    temperature (0.6 unless told otherwise) and seed, and must choose the same. Then everything that left a
    unit of the accelerator is compared: states, activations, logits. A difference ends the demo with exit
    code 1.
    """
    from ...models.errors import TritforgeError
    from ...models.loading import load
    from ...models.software import GoldenEngine
    from ...sim.compare import compare
    from ...sim.engine import RtlEngine
    from ..session import open_accelerator, open_image

    opened = load(model)
    if opened.tokenizer is None:
        raise TritforgeError(f"{model} has no tokenizer, so there is no text to show; try `tritforge verify`")
    given = opened.encode(prompt)
    config = open_accelerator(opened, accel)
    note("compiling the accelerator's simulation, unless it is in the cache")
    image = open_image(opened, config)
    rtl, golden = RtlEngine(image, config), GoldenEngine(opened.integers)
    texts = [opened.tokenizer.stream(), opened.tokenizer.stream()]
    runs = [engine.generate(given, max_new, temperature=temperature, seed=seed) for engine in (rtl, golden)]
    chosen: list[int] = []
    with _side_by_side(prompt) as show:
        for ours, theirs in zip(*runs, strict=True):
            show(texts[0].push(ours), texts[1].push(theirs))
            if ours != theirs:
                raise TritforgeError(
                    f"new token {len(chosen)}: the accelerator chose {ours}, golden {theirs}"
                )
            chosen.append(ours)
        show(texts[0].finish(), texts[1].finish())
    # What the accelerator consumed, once more, with everything that leaves its units watched.
    with progress("comparing every state and every logit") as report:
        found = compare(image, config, [*given, *chosen[:-1]], progress=report)
    if found.first_difference:
        raise TritforgeError(f"accelerator and golden model differ: {found.first_difference}")
    click.echo(
        f"bit-exact: {len(chosen)} tokens, {found.state_values:,} state values compared"
        f" (and {found.values_compared - found.state_values:,} others)"
    )
    click.echo(f"cycles per token: {rtl.cycles_per_token:,.0f} (simulated)")
    click.echo(f"lane utilisation: {rtl.lane_use:.1%} (simulated)")


@contextmanager
def _side_by_side(prompt: str) -> Iterator[Callable[[str, str], None]]:
    """Show two growing texts: in two columns on a terminal, else one as it appears and then the other."""
    texts = ["", ""]

    def grow(*pieces: str) -> None:
        for column, piece in enumerate(pieces):
            texts[column] += piece

    if not terminal():

        def show(left: str, right: str) -> None:
            grow(left, right)
            click.echo(left, nl=False)

        click.echo(f"accelerator (RTL in simulation):\n{prompt}", nl=False)
        yield show
        click.echo(f"\n\ngolden model:\n{prompt}{texts[1]}\n")
        return

    from rich.columns import Columns
    from rich.console import Console
    from rich.live import Live
    from rich.panel import Panel
    from rich.text import Text

    console = Console()
    width = console.width // 2 - 1
    titles = ("accelerator (RTL in simulation)", "golden model")

    def panels() -> Columns:
        bodies = (Text(prompt, "dim") + Text(text) for text in texts)
        return Columns(
            [Panel(body, title=title, width=width) for body, title in zip(bodies, titles, strict=True)]
        )

    with Live(panels(), console=console, vertical_overflow="crop") as live:

        def redraw(left: str, right: str) -> None:
            grow(left, right)
            live.update(panels())

        yield redraw
