"""The command line ``tritforge``: its commands, and how mistakes end.

Commands live in ``commands/``, one a file; each is imported when it is asked for.
"""

import errno
import warnings
from importlib import import_module
from typing import IO, Any

import click

from ..models.errors import TritforgeError
from . import options

__all__ = ["cli", "main"]

# Command -> its module in commands/, in the order of the help.
_COMMANDS = {
    "demo": "demo",
    "generate": "generate",
    "logits": "logits",
    "verify": "verify",
    "trace": "trace",
    "build": "build",
    "flash": "flash",
    "chat": "chat",
    "selftest": "selftest",
    "serve-sim": "serve_sim",
    "eval": "evaluate",
    "pack": "pack",
    "inspect": "inspect",
    "verilog": "verilog",
    "zoo": "zoo",
    "train": "train",
    "synth-checkpoint": "synth_checkpoint",
    "units": "units",
    "bench": "bench",
    "bench-core": "bench_core",
    "doctor": "doctor",
}

_INTERRUPTED = 130


class _Failure(click.ClickException):
    """A mistake of the user, told in one line."""

    exit_code = 1

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"error: {self.format_message()}", file=file, err=True)


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = import_module(f"{__package__}.commands.{_COMMANDS[cmd_name]}").command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning  # type: ignore[assignment]  # click takes all arguments
            try:
                return super().invoke(ctx)
            except TritforgeError as error:
                raise _Failure(str(error)) from error
            except OSError as error:
                if error.errno == errno.EPIPE:  # the reader of our output has gone; click ends quietly
                    raise
                where = f"{error.filename}: " if error.filename else ""
                raise _Failure(f"{where}{error.strerror or error}") from error
            except MemoryError as error:
                raise _Failure("there is not enough memory on this machine") from error
            except KeyboardInterrupt:
                click.echo("interrupted", err=True)
                ctx.exit(_INTERRUPTED)


def _show_warning(message: Warning | str, *_: Any) -> None:
    click.echo(f"warning: {message}", err=True)


@click.group(
    cls=_Commands,
    epilog=options.examples(
        "tritforge doctor",
        "tritforge demo",
        'tritforge generate tiny --prompt "Once upon a time" --max-new 200 --engine rtl',
    ),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="tritforge")
def cli() -> None:
    """Run MatMul-free language models on an accelerator, and check each step from checkpoint to hardware.

    MODEL is everywhere the name of a model that comes with tritforge (see `tritforge zoo`), a checkpoint
    directory as downloaded from Hugging Face, or an image that `tritforge pack` wrote.
    """


def main() -> None:
    """Run the command line."""
    cli(prog_name="tritforge")
