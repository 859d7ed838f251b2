"""``tritforge logits``: what a model says about every next token."""

from contextlib import ExitStack
from pathlib import Path

import click

from .. import options
from ..console import note, progress

__all__ = ["command"]


@click.command(
    "logits",
    epilog=options.examples(
        "python -c \"import numpy; numpy.save('tokens.npy', numpy.arange(20))\"",
        "tritforge logits micro --tokens tokens.npy --engine golden --out sums.npy --scales scales.npy",
    ),
)
@options.model
@click.option(
    "--tokens", type=options.file, metavar="FILE.npy", required=True, help="Token numbers, one-dimensional."
)
@options.engine
@click.option(
    "--out", type=options.file, metavar="FILE.npy", required=True, help="Where the (T, V) array goes."
)
@click.option(
    "--scales", type=options.file, metavar="FILE.npy", help="Where the (T,) factors of golden and rtl go."
)
@options.accel
def command(model: str, tokens: Path, engine: str, out: Path, scales: Path | None, accel: str | None) -> None:
    """Write the logits of every position.

    The text is teacher-forced from the zero state.

    float writes float32 logits. golden and rtl write the LM head's int32 sums, equal bit for bit; times the
    float64 factor of their position (--scales) they are the logits.
    """
    import numpy as np

    from ...models.engine import checked_tokens
    from ...models.evaluation import in_chunks
    from ...models.files import replacing
    from ...models.loading import load
    from ..session import open_engine

    opened = load(model)
    ids = checked_tokens(options.read_tokens(tokens), opened.config.vocab_size)
    if engine == "float" and scales is not None:
        raise click.UsageError("--scales belongs to golden and rtl: float writes the logits themselves.")
    runner = open_engine(opened, engine, accel)
    shape = (len(ids), opened.config.vocab_size)
    factors = np.empty(len(ids))
    with ExitStack() as files:
        stream = files.enter_context(replacing(out))
        kind = np.dtype("<f4" if engine == "float" else "<i4")
        head = {"descr": kind.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, head)  # type: ignore[no-untyped-call]
        report = files.enter_context(progress(f"{engine} engine"))
        done = 0
        for chunk in in_chunks(ids, opened.config.vocab_size, most=16 if engine == "rtl" else 256):
            values, factor = runner.logits(chunk)
            stream.write(values.astype(kind).tobytes())
            if factor is not None:
                factors[done : done + len(chunk)] = factor
            done += len(chunk)
            report(done, len(ids))
        if scales is not None:
            np.save(files.enter_context(replacing(scales)), factors)
    note(f"{out}: {kind.name}, {shape[0]} positions x {shape[1]} tokens")
