"""``tritforge generate``: text from any engine, as it appears."""

import sys
from pathlib import Path
from typing import Any

import click

from .. import options
from ..console import note, print_json, terminal

__all__ = ["command"]


@click.command(
    "generate",
    epilog=options.examples(
        'tritforge generate tiny --prompt "Once upon a time" --max-new 200 --engine golden',
        'tritforge generate tiny --prompt "Tom had a" --max-new 100 --engine rtl --temperature 0.8 --seed 3',
        'tritforge generate tiny --prompt "Once upon a time" --max-new 20 --engine rtl --streams 4',
        'echo "ROMEO:" | tritforge generate bard --max-new 300 --engine float --temperature 0.7',
        'tritforge generate tiny --prompt "One day" --max-new 50 --engine golden --state story.npz',
        'tritforge generate tiny --prompt "" --max-new 50 --engine rtl --state story.npz',
    ),
)
@options.model
@click.option("--prompt", metavar="TEXT", help="The text to go on from.")
@click.option(
    "--tokens", type=options.file, metavar="FILE.npy", help="The prompt as token numbers, one-dimensional."
)
@click.option("--max-new", type=click.IntRange(min=0), required=True, help="Most tokens to generate.")
@options.engine
@options.temperature_and_seed
@click.option(
    "--state",
    type=options.file,
    metavar="FILE",
    help="Continue from this file if it exists, and save the state there; golden and rtl exchange it.",
)
@options.accel
@options.streams
@options.as_json
def command(
    model: str,
    prompt: str | None,
    tokens: Path | None,
    max_new: int,
    engine: str,
    temperature: float | None,
    seed: int,
    state: Path | None,
    accel: str | None,
    streams: int | None,
    as_json: bool,
) -> None:
    """Generate text on any engine.

    It is printed as it appears. The prompt is --prompt, --tokens, or else standard input without its last
    line break; an empty one starts a new text, or goes on with the text that --state remembers. Generation
    stops at the model's end token, which is part of the result. Speeds are printed on standard error,
    prompt and generation apart; the pass over the prompt's last token, which yields the first new token,
    counts in both.

    With the same seed every engine draws the same random numbers, and golden and rtl give the same text.

    An accelerator of several streams reads each weight once for so many tokens of the prompt. All presets
    have one; --streams gives them more. The text stays the same, and generation is no faster: a token can be
    read only when it has been chosen.
    """
    from ...models.engine import State
    from ...models.loading import load
    from ..session import open_engine

    if prompt is not None and tokens is not None:
        raise click.UsageError("--prompt and --tokens exclude each other.")
    if streams is not None and engine != "rtl":
        raise click.UsageError("--streams belongs to the accelerator: choose --engine rtl.")
    opened = load(model)
    before = State.load(state) if state is not None and state.exists() else None
    if tokens is not None:
        given = options.read_tokens(tokens).tolist() or ([] if before else opened.opening())
    else:
        text = _standard_input() if prompt is None else prompt
        # Without text nothing has to be encoded, so a model without a tokenizer can go on, too.
        given = opened.encode(text, continued=before is not None) if text or not before else []
    runner = open_engine(opened, engine, accel, streams)
    runner.reset(before)

    stream = opened.tokenizer.stream() if opened.tokenizer else None
    chosen, pieces = [], []

    def show(piece: str) -> None:
        pieces.append(piece)
        if not as_json:
            click.echo(piece, nl=False)

    for token in runner.generate(given, max_new, temperature=temperature, seed=seed, stop=opened.stop):
        chosen.append(token)
        # Numbers are all that there is to see of a model without a tokenizer.
        show(stream.push(token) if stream else f"{token} ")
    if stream:
        show(stream.finish())
    if state is not None:
        runner.state().save(state)

    timing = runner.timing
    result: dict[str, Any] = {
        "model": model,
        "engine": engine,
        "text": "".join(pieces) if stream else "",
        "tokens": chosen,
        "prompt_tokens_per_second": timing.prompt_tokens_per_second,
        "tokens_per_second": timing.tokens_per_second,
    }
    hardware = ""
    if engine == "rtl":
        rtl: Any = runner
        result |= {
            "prompt_cycles": rtl.prompt_cycles,
            "cycles_per_token": rtl.cycles_per_token,
            "lane_use": rtl.lane_use,
        }
        hardware = (
            f"; {rtl.prompt_cycles:,} cycles to the prompt's last token, then {rtl.cycles_per_token:,.0f} a"
            f" token, lanes used {rtl.lane_use:.1%} (simulated)"
        )
    if as_json:
        print_json(result)
        return
    if terminal():
        click.echo()
    note(
        f"prompt: {timing.prompt_tokens} tokens, {timing.prompt_tokens_per_second:,.1f} tokens/s;"
        f" generation: {len(chosen)} tokens, {timing.tokens_per_second:,.1f} tokens/s (measured){hardware}"
    )


def _standard_input() -> str:
    """Read the prompt from standard input; a terminal's user is told that it is waited for."""
    from ...models.errors import TritforgeError

    if sys.stdin.isatty():
        note("type the prompt, then press Ctrl-D:")
    try:
        text = sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise TritforgeError(f"standard input is not UTF-8: byte {error.start} fits no character") from None
    return text.removesuffix("\n")
