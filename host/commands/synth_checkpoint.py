"""``tritforge synth-checkpoint``: random weights of any size."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from .. import options
from ..console import note, progress

if TYPE_CHECKING:
    from ...models.synthesis import DType

__all__ = ["command"]


@click.command(
    "synth-checkpoint",
    epilog=options.examples(
        "tritforge synth-checkpoint --preset 1.3b -o random-1.3b",
        "tritforge synth-checkpoint --hidden-size 64 --num-hidden-layers 2 --vocab-size 256 -o small",
    ),
)
@click.option("--preset", metavar="NAME", help="Size of a published model: 370m, 1.3b or 2.7b.")
@click.option(
    "-o", "--out", type=options.file, metavar="DIR", required=True, help="A directory without a checkpoint."
)
@click.option("--hidden-size", type=int, help="Width of the residual stream.")
@click.option("--num-hidden-layers", type=int, help="Number of blocks.")
@click.option("--intermediate-size", type=int, help="Width of the GLU; without it by upstream's rule.")
@click.option("--vocab-size", type=int, help="Number of tokens.")
@click.option("--num-heads", type=int, help="Heads; they change nothing but must divide the width.")
@click.option("--no-lower-bound", is_flag=True, help="Forget gates without a lower bound.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the random numbers."
)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float16", "bfloat16"]),
    default="bfloat16",
    show_default=True,
    help="How numbers are stored.",
)
def command(
    preset: str | None,
    out: Path,
    hidden_size: int | None,
    num_hidden_layers: int | None,
    intermediate_size: int | None,
    vocab_size: int | None,
    num_heads: int | None,
    no_lower_bound: bool,
    seed: int,
    dtype: str,
) -> None:
    """Write a random checkpoint of any size.

    It has upstream's layout and is written as a stream: the largest needs less than 4 GiB of memory.
    Options change a preset's sizes; without a preset they start from the 1.3b model's. There is no
    tokenizer, so prompts are given as --tokens.
    """
    from ...models.config import preset as named
    from ...models.synthesis import synthesise

    config = named(preset or "1.3b")
    sizes = {
        "hidden_size": hidden_size,
        "num_hidden_layers": num_hidden_layers,
        "vocab_size": vocab_size,
        "num_heads": num_heads,
    }
    chosen: dict[str, int | None] = {name: value for name, value in sizes.items() if value is not None}
    if intermediate_size is not None:
        chosen["intermediate_size"] = intermediate_size
    elif hidden_size is not None:
        chosen["intermediate_size"] = 0  # by the rule, for the new width
    if vocab_size is not None and vocab_size < 3:
        chosen |= {"bos_token_id": None, "eos_token_id": None}
    config = replace(config, use_lower_bound=not no_lower_bound, **chosen)  # type: ignore[arg-type]
    with progress(f"writing {out}") as report:
        synthesise(config, out, seed, cast("DType", dtype), progress=report)
    shape = f"hidden size {config.hidden_size}, {config.num_hidden_layers} layers, {config.vocab_size} tokens"
    note(f"{out}: {shape}")
