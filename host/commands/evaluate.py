"""``tritforge eval``: how well a model predicts a text."""

import math
from pathlib import Path

import click

from .. import options
from ..console import note, print_json, progress

__all__ = ["command"]


@click.command(
    "eval",
    epilog=options.examples(
        "tritforge eval bard --text held-out.txt --engine float",
        "tritforge eval bard --text held-out.txt --engine golden --json",
    ),
)
@options.model
@click.option("--text", type=options.file, metavar="FILE", required=True, help="A UTF-8 text.")
@options.engine
@options.accel
@options.as_json
def command(model: str, text: Path, engine: str, accel: str | None, as_json: bool) -> None:
    """Measure bits a character on a text.

    The text is one stream from the zero state, carried across stories; its first token is not scored. For
    models that read characters it is prepared as their training text was (see their card), and what is
    still outside the vocabulary is dropped and counted. Saturations are values that did not fit their
    format.
    """
    from ...models.evaluation import evaluate
    from ...models.loading import load
    from ..session import open_engine

    opened = load(model)
    tokens, characters, dropped = opened.encode_corpus(options.read_text(text))
    if dropped:
        count = sum(dropped.values())
        note(f"dropped, since the vocabulary lacks them: {count:,} characters, {len(dropped)} different")
    runner = open_engine(opened, engine, accel)
    with progress(f"{engine} engine") as report:
        score = evaluate(runner, tokens, characters, report)
    if as_json:
        print_json(
            {
                "bits_per_char": score.bits_per_char,
                # JSON has no infinity.
                "perplexity": score.perplexity if math.isfinite(score.perplexity) else None,
                "tokens": score.tokens,
                "saturations": runner.saturations,
            }
        )
        return
    click.echo(
        f"{score.bits_per_char:.4f} bits a character, perplexity {score.perplexity:.3f}"
        f" ({score.tokens:,} tokens scored, measured); {runner.saturations:,} saturations"
    )
