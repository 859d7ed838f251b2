"""``tritforge serve-sim``: a simulated board, to which hosts connect as to a real one."""

import re
from pathlib import Path

import click

from .. import options
from ..console import note
from ..link.options import board as board_options
from ..link.options import find_target

__all__ = ["command"]


def _tcp_port(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Read ``tcp:PORT``."""
    if value is None:
        return None
    kind, _, number = value.partition(":")
    if kind != "tcp" or not re.fullmatch(r"[0-9]{1,5}", number) or int(number) > 65535:
        raise click.BadParameter(f"{value!r} is not tcp:PORT with a port from 0 (any that is free) to 65535")
    return int(number)


@click.command(
    "serve-sim",
    epilog=options.examples(
        "tritforge serve-sim --engine golden",
        "tritforge serve-sim --listen tcp:7000",
        "tritforge chat --port socket://127.0.0.1:7000",
        "tritforge serve-sim --flash build/icebreaker/flash.bin",
    ),
)
@click.option(
    "--engine",
    type=click.Choice(["rtl", "golden"]),
    default="rtl",
    show_default=True,
    help="rtl: the board's own top level, compiled; golden: a model of the board in Python.",
)
@board_options
@click.option(
    "--listen", callback=_tcp_port, metavar="tcp:PORT", help="Listen on a TCP port of this machine."
)
@click.option("--pty", is_flag=True, help="Listen on a pseudo-terminal; this is what happens by default.")
@click.option(
    "--flash",
    type=options.file,
    metavar="FILE",
    help="What the board reads from its flash at power-up, as `tritforge build` wrote it.",
)
def command(
    engine: str,
    board: str,
    accel: str,
    manifest: Path | None,
    listen: int | None,
    pty: bool,
    flash: Path | None,
) -> None:
    """Simulate a board behind a pseudo-terminal or a TCP port.

    It obeys the same bytes as a board on a serial port, so everything that takes --port can be tried without
    one. Hosts may come and go; what they loaded stays, until Ctrl-C ends it. With --flash it powers up as a
    board whose flash was written, and tells its story at once.
    """
    from ..link.flashfile import read_frames
    from ..link.server import Listener, Terminal, Wire, serve
    from ..link.target import simulated_device

    if listen is not None and pty:
        raise click.UsageError("--listen and --pty exclude each other.")
    target = find_target(board, accel, manifest)
    content = b""
    if flash is not None:
        content = flash.read_bytes()
        read_frames(content)
    device = simulated_device(engine, target, content)
    wire: Wire = Terminal() if listen is None else Listener(listen)
    try:
        click.echo(f"a simulated {target.board} ({engine}) listens on {wire.url}")
        note(f"talk to it with `tritforge chat --port {wire.url}`; Ctrl-C ends it")
        serve(device, wire)
    except KeyboardInterrupt:
        note("ended")
    finally:
        wire.close()
