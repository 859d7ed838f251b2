"""``tritforge demo``: a model talks from the simulated accelerator, next to its golden model."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from .. import options
from ..console import note, terminal

__all__ = ["command"]


@click.command(
    "demo",
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
    temperature and seed. After every token, the token and the state of all layers are compared; the first
    difference ends the demo with exit code 1.
    """
    import numpy as np

    from ...models.engine import GoldenEngine
    from ...models.errors import TritforgeError
    from ...models.loading import load
    from ..session import open_accelerator, open_rtl

    opened = load(model)
    if opened.tokenizer is None:
        raise TritforgeError(f"{model} has no tokenizer, so there is no text to show; try `tritforge verify`")
    given = opened.encode(prompt)
    config = open_accelerator(opened, accel)
    note("compiling the accelerator's simulation, unless it is in the cache")
    rtl, golden = open_rtl(opened, config), GoldenEngine(opened.integers)
    texts = [opened.tokenizer.stream(), opened.tokenizer.stream()]
    runs = [engine.generate(given, max_new, temperature=temperature, seed=seed) for engine in (rtl, golden)]
    values = 0
    with _side_by_side(prompt) as show:
        for number, tokens in enumerate(zip(*runs, strict=True), 1):
            show(*(text.push(token) for text, token in zip(texts, tokens, strict=True)))
            states = [rtl.state().h, golden.state().h]
            values += states[0].size
            if tokens[0] != tokens[1] or not np.array_equal(*states):
                raise TritforgeError(f"accelerator and golden model differ after new token {number}")
        show(*(text.finish() for text in texts))
    click.echo(f"bit-exact: {max_new} tokens, {values:,} state values compared")
    click.echo(f"cycles per token: {rtl.cycles / max_new:,.0f} (simulated)")
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
