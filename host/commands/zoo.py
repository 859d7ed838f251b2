"""``tritforge zoo``: the models that come along."""

import click

from .. import options
from ..console import print_json, print_table

__all__ = ["command"]


@click.command(
    "zoo",
    epilog=options.examples(
        "tritforge zoo",
        "tritforge zoo tiny",
    ),
)
@click.argument("name", required=False)
@options.as_json
def command(name: str | None, as_json: bool) -> None:
    """List the shipped models, or show a card.

    A card says what a model was trained on and how, its quality on held-out text next to a compressor's and a
    counting model's, and the command that trains it.
    """
    from ...models import zoo

    if name is not None:
        if as_json:
            print_json(zoo.card(name))
        else:
            click.echo((zoo.path(name) / "README.md").read_text(encoding="utf-8"))
        return
    cards = {each: zoo.card(each) for each in zoo.names()}
    if as_json:
        print_json(cards)
        return
    rows = [
        (
            each,
            f"{card['model']['trits']:,}",
            str(card["model"]["vocab_size"]),
            f"{card['quality']['bits_per_char']:.3f}",
            f"{card['quality']['xz_bits_per_char']:.3f}",
            f"{card['quality']['kneser_ney_best_bits_per_char']:.3f}",
            card["corpus"]["title"],
        )
        for each, card in cards.items()
    ]
    head = (
        "name",
        "trits",
        "symbols",
        "bits/char",
        "xz -9e",
        "Kneser-Ney",
        "trained on (bits/char: measured, held out)",
    )
    print_table(rows, head)
