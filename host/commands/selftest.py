"""``tritforge selftest``: a report about a board that can be pasted where somebody helps."""

import platform
from importlib.metadata import version
from pathlib import Path

import click

from .. import options
from ..console import print_json, print_table, progress
from ..link.options import check_connection, connection, find_target

__all__ = ["command"]


@click.command(
    "selftest",
    epilog=options.examples(
        "tritforge selftest --port /dev/ttyUSB1",
        "tritforge selftest --sim golden --model micro",
        "tritforge selftest --port /dev/ttyUSB1 --manifest build/icebreaker/manifest.json --json",
    ),
)
@connection
@click.option("--model", default="tiny", show_default=True, help="The model that is loaded and compared.")
@options.as_json
def command(
    port: str | None,
    sim: str | None,
    board: str,
    accel: str,
    manifest: Path | None,
    model: str,
    as_json: bool,
) -> None:
    """Check a board, from its link to its tokens.

    A model is loaded, unless it is there already. Tokens, states and logits must be the golden model's, every
    one; runs must end at a stop token and when they are halted; the link must lose nothing. Ends with exit
    code 1 if anything is not as it should be.
    """
    from ...models.loading import load
    from ..link.selftest import Finding, examine
    from ..link.target import opened_board

    check_connection(port, sim)
    opened = load(model)
    target = find_target(board, accel, manifest)
    with opened_board(target, port, sim or "") as (device, identity), progress(f"loading {model}") as report:
        findings = [
            Finding("identity", True, f"build {identity.build}, configuration {identity.config}"),
            *examine(device, opened, target.config, target.clock_hz, report),
        ]
        name, link = device.link.name, device.link.statistics
    ok = all(finding.ok for finding in findings)
    versions = f"tritforge {version('tritforge')}, Python {platform.python_version()}"
    system = f"{platform.system()} {platform.machine()}"
    if as_json:
        print_json(
            {
                "ok": ok,
                "board": target.board,
                "accelerator": target.config.name,
                "port": name,
                "baud": target.baud,
                "model": model,
                "build": identity.build,
                "config": identity.config,
                "protocol": identity.protocol,
                "findings": {
                    each.name: {"ok": each.ok, "found": each.found, **each.values} for each in findings
                },
                "link": vars(link),
                "versions": versions,
                "system": system,
            }
        )
    else:
        click.echo(f"tritforge selftest of {target.board} ({target.config.name}) on {name}, model {model}")
        click.echo(f"{versions}, {system}")
        print_table([(each.name, "ok" if each.ok else "FAILED", each.found) for each in findings])
        click.echo("all is well" if ok else "something is wrong")
    if not ok:
        click.get_current_context().exit(1)
