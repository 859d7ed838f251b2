"""``tritforge trace``: the tensors behind a difference, and waveforms."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from .. import comparison, options
from ..console import note, print_json, progress

if TYPE_CHECKING:
    from ...sim.trace import TraceEngine

__all__ = ["command"]


def _window(ctx: click.Context, param: click.Parameter, value: str | None) -> range | None:
    if value is None:
        return None
    match = re.fullmatch(r"(\d{1,9})(?:\.\.(\d{1,9}))?", value)
    if match is None:
        raise click.BadParameter(f"{value!r} must be a number or two, as in 3 or 3..5")
    first, last = int(match[1]), int(match[2] or match[1])
    if last < first:
        raise click.BadParameter(f"{value!r} ends before it begins: write {last}..{first}")
    return range(first, last + 1)


@click.command(
    "trace",
    epilog=options.examples(
        'tritforge trace tiny --prompt "Once upon a time" -o once.safetensors',
        'tritforge trace tiny --prompt "Once" --token 2..3 --layers 0 --engine golden -o golden.safetensors',
        'tritforge trace tiny --prompt "Once" --token 3 --engine rtl --fst once.fst -o rtl.safetensors',
    ),
)
@options.model
@comparison.texts
@click.option(
    "--engine",
    type=click.Choice(["golden", "rtl", "both"]),
    default="both",
    show_default=True,
    help="golden: the integer model; rtl: the accelerator in simulation; both are recorded and compared.",
)
@click.option(
    "--token",
    "window",
    metavar="N|FIRST..LAST",
    callback=_window,
    help="Tokens to record, counted from 0; without it all.",
)
@click.option(
    "--layers",
    metavar="N|FIRST..LAST",
    callback=_window,
    help="Layers to record, counted from 0; without it all.",
)
@options.accel
@options.streams
@click.option("--fst", type=options.file, metavar="FILE.fst", help="Where a waveform of these tokens goes.")
@click.option(
    "-o", "--out", type=options.file, metavar="FILE.safetensors", required=True, help="Where the tensors go."
)
@options.as_json
def command(
    model: str,
    files: tuple[Path, ...],
    prompts: tuple[str, ...],
    engine: str,
    window: range | None,
    layers: range | None,
    accel: str | None,
    streams: int | None,
    fst: Path | None,
    out: Path,
    as_json: bool,
) -> None:
    """Record every tensor that leaves a unit.

    A text runs from zero state up to the last token to record. Written are, for each token, `embedding`,
    `head` (raw logits) and `scale`, and for each layer `i`, `f`, `g`, `h`, `u`, `o`, `z` and `down`; and of
    each BitLinear int8 inputs, raw sums, peak, energy and scale, such as `f.q`. Names are like
    `token.3/layer.0/h`; `golden/` or `rtl/` stands before if both are recorded. They are then compared, too,
    as `tritforge verify` does, with exit code 1 if they differ.

    Several texts run at once on an accelerator of as many streams; `text.1/` then stands before a token.

    A waveform shows all signals of the accelerator. Cycle n of a difference begins at 10 n nanoseconds.
    """
    from ...models.errors import TritforgeError
    from ...models.files import replacing
    from ...models.loading import Model, load
    from ...sim.trace import SUFFIX, trace
    from ..session import open_accelerator, open_image

    if engine == "golden":
        for value, name in ((fst, "--fst"), (accel, "--accel"), (streams, "--streams")):
            if value is not None:
                raise click.UsageError(f"{name} belongs to the accelerator: choose --engine rtl or both.")
    if out.suffix != SUFFIX:
        raise TritforgeError(f"{out} must end in {SUFFIX}, the format in which tensors are written")
    opened = load(model)
    ids = comparison.read_given(opened, files, prompts)
    config = None
    if engine != "golden":
        config = open_accelerator(opened, accel, streams)
        opened = Model(model, open_image(opened, config))
    with replacing(out) as stream, progress("tracing") as report:
        recording = trace(
            opened,
            *ids,
            engine=cast("TraceEngine", engine),
            accelerator=config,
            window=window,
            layers=layers,
            waveform=fst,
            progress=report,
        )
        stream.write(recording.to_bytes())
    found = recording.comparison
    if as_json:
        facts = {"engine": engine, "tensors": len(recording.tensors)}
        print_json(facts | (comparison.as_dict(found) if found else {}))
    elif found:
        click.echo(comparison.as_line(found))
    note(f"{out}: {len(recording.tensors)} tensors" + (f"; {fst}: a waveform" if fst else ""))
    if found and not found.equal:
        click.get_current_context().exit(1)
