"""``tritforge chat``: a board goes on with stories that the user begins."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import options
from ..console import note, print_table, progress
from ..link.options import check_connection, connection, find_target

# Models and hardware are imported where they are used: the help runs without them.
if TYPE_CHECKING:
    from ...models.loading import Model
    from ..link.engine import BoardEngine

__all__ = ["command"]

_PROMPT = "> "
_HELP = """\
Type the beginning of a story; the board goes on. An empty line has it go on with the last one.
  /counters   what the device and the link have counted
  /help       this
  /quit       end (also Ctrl-D)
Ctrl-C stops a story; once more, it ends the chat."""


@click.command(
    "chat",
    # Greedy, so small a model soon repeats itself.
    context_settings={"default_map": {"temperature": 0.6}},
    epilog=options.examples(
        "tritforge chat --port /dev/ttyUSB1",
        "tritforge chat --sim golden --model bard",
        'echo "Once upon a time" | tritforge chat --sim --seed 7',
    ),
)
@connection
@click.option("--model", default="tiny", show_default=True, help="The model that is loaded.")
@click.option(
    "--max-new", type=click.IntRange(1, 65535), default=400, show_default=True, help="Most tokens of a story."
)
@options.temperature_and_seed
def command(
    port: str | None,
    sim: str | None,
    board: str,
    accel: str,
    manifest: Path | None,
    model: str,
    max_new: int,
    temperature: float | None,
    seed: int,
) -> None:
    """Write stories with a board.

    The model is loaded, unless the board holds it already. Then you type the beginning of a story, and the
    board goes on with it; the text appears as it comes. Ctrl-C stops a story. Without a terminal each line of
    standard input is a beginning.

    Two speeds are printed, which are not the same: the device's, from its own cycle counter and its clock;
    and what arrives here, over the link. Each story takes the next seed.
    """
    from ...models.errors import TritforgeError
    from ...models.loading import load
    from ..link.engine import BoardEngine
    from ..link.target import opened_board

    check_connection(port, sim)
    opened = load(model)
    if opened.tokenizer is None:
        raise TritforgeError(f"{model} has no tokenizer, so it cannot write")
    target = find_target(board, accel, manifest)
    with opened_board(target, port, sim or "") as (device, _):
        with progress(f"loading {model}") as report:
            engine = BoardEngine(device, opened.image(target.config.layout), target.config, report)
        chat = _Chat(engine, opened, target.clock_hz, max_new, temperature, seed)
        note(
            f"{target.board} on {device.link.name}: {model} is loaded"
            f" ({engine.loaded.written:,} bytes written, {engine.loaded.kept:,} were there)"
        )
        if sys.stdin.isatty():
            note(_HELP)
        for line in _lines():
            try:
                if not chat.obey(line):
                    break
            except TritforgeError as error:
                # A person may try again; a program must not go on.
                if not sys.stdin.isatty():
                    raise
                note(f"error: {error}")


def _lines() -> Iterator[str]:
    """Yield what the user types, or the lines of standard input."""
    if not sys.stdin.isatty():
        yield from (line.removesuffix("\n") for line in sys.stdin)
        return
    with suppress(ImportError):
        import readline  # noqa: F401  (lines can then be edited)
    while True:
        try:
            yield input(_PROMPT)
        except (EOFError, KeyboardInterrupt):
            click.echo()
            return


class _Chat:
    """One user's stories on one board."""

    def __init__(
        self,
        engine: "BoardEngine",
        model: "Model",
        clock_hz: float | None,
        max_new: int,
        temperature: float | None,
        seed: int,
    ) -> None:
        self._engine, self._model, self._clock_hz = engine, model, clock_hz
        self._max_new, self._temperature, self._seed = max_new, temperature, seed
        self._begun = False

    def obey(self, line: str) -> bool:
        """Do what a line says; return whether to go on."""
        match line.strip():
            case "/quit":
                return False
            case "/help":
                note(_HELP)
            case "/counters":
                self._counters()
            case command if command.startswith("/"):
                note(f"there is no {command}; /help lists what there is")
            case "":
                if self._begun:
                    self._write([])
                else:
                    self._tell("")
            case _:
                self._tell(line)
        return True

    def _tell(self, beginning: str) -> None:
        prompt = self._model.encode(beginning)
        self._engine.reset()
        self._write(prompt, beginning)
        # What was stopped in its beginning has not begun.
        self._begun = self._engine.timing.generated_tokens > 0
        self._seed = (self._seed + 1) % (1 << 32)

    def _write(self, prompt: list[int], beginning: str = "") -> None:
        """Let the board go on, and say how fast it was."""
        assert self._model.tokenizer is not None
        engine, text = self._engine, self._model.tokenizer.stream()
        tokens = engine.generate(
            prompt, self._max_new, temperature=self._temperature, seed=self._seed, stop=self._model.stop
        )
        with _interruptible(engine):
            click.echo(click.style(beginning, bold=True), nl=False)
            for token in tokens:
                click.echo(text.push(token), nl=False)
        click.echo(text.finish())
        timing = engine.timing
        if timing.generated_tokens or not prompt:
            note(self._speeds())
        else:
            note(f"stopped in the beginning, after {timing.prompt_tokens} of {len(prompt)} tokens")

    def _speeds(self) -> str:
        engine = self._engine
        tokens = engine.timing.generated_tokens
        device = "no cycles counted"
        if engine.cycles:
            each = engine.cycles / tokens
            device = f"{each:,.0f} cycles a token"
            if self._clock_hz:
                device = f"{self._clock_hz / each:,.0f} tokens/s ({device} at {self._clock_hz / 1e6:g} MHz)"
            if engine.board.waited:
                device += ", and it waited for the host"
        return (
            f"{tokens} tokens; device: {device};"
            f" seen over {engine.board.link.name}: {engine.timing.tokens_per_second:,.1f} tokens/s"
        )

    def _counters(self) -> None:
        engine, link = self._engine, self._engine.board.link.statistics
        rows = [
            ("cycles of the last run", engine.cycles),
            ("tokens of the last run", engine.timing.generated_tokens),
            ("requests", link.requests),
            ("requests repeated", link.repetitions),
            ("damaged frames", link.damaged),
            ("bytes sent", link.sent),
            ("bytes received", link.received),
        ]
        print_table([(name, f"{value:,}") for name, value in rows])


@contextmanager
def _interruptible(engine: "BoardEngine") -> Iterator[None]:
    """Have the first Ctrl-C halt what the device does; the next one is as anywhere."""

    def halt(*_: Any) -> None:
        signal.signal(signal.SIGINT, before)
        engine.board.halt()

    before = signal.signal(signal.SIGINT, halt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
