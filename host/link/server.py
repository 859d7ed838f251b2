"""A simulated device behind a pseudo-terminal or a TCP port, as a board behind a serial port."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import tty
from typing import NoReturn, Protocol

from ...models.errors import TritforgeError
from .transport import SimulatedDevice

__all__ = ["Listener", "Terminal", "Wire", "serve"]

_MOST = 4096
_PAUSE = 0.2
"""Seconds between two looks at a device that does nothing."""


class Wire(Protocol):
    """What hosts connect to.

    Attributes
    ----------
    url : str
        What a host gives as its port.
    """

    url: str

    def receive(self, seconds: float) -> bytes:
        """Return what a host sent, nothing if nothing comes in time."""

    def send(self, data: bytes) -> None:
        """Send to the host; lost, as on any serial line, if nobody listens."""

    def close(self) -> None:
        """End it."""


class Terminal:
    """A pseudo-terminal."""

    def __init__(self) -> None:
        # The other side stays open here, so that hosts may come and go.
        self._ours, self._theirs = os.openpty()
        tty.setraw(self._theirs)
        os.set_blocking(self._ours, False)
        self.url = os.ttyname(self._theirs)

    def receive(self, seconds: float) -> bytes:
        """See `Wire`."""
        ready, _, _ = select.select([self._ours], [], [], seconds)
        return os.read(self._ours, _MOST) if ready else b""

    def send(self, data: bytes) -> None:
        """See `Wire`."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._ours, data)

    def close(self) -> None:
        """See `Wire`."""
        os.close(self._ours)
        os.close(self._theirs)


class Listener:
    """A TCP port of this machine; one host at a time.

    Parameters
    ----------
    port
        0 for any that is free.

    Raises
    ------
    TritforgeError
        If the port is taken, or not allowed.
    """

    def __init__(self, port: int) -> None:
        try:
            self._listening = socket.create_server(("127.0.0.1", port))
        except OSError as error:
            raise TritforgeError(
                f"port {port} cannot be listened on: {os.strerror(error.errno or 0)}"
            ) from None
        self._host: socket.socket | None = None
        self.url = f"socket://127.0.0.1:{self._listening.getsockname()[1]}"

    def receive(self, seconds: float) -> bytes:
        """See `Wire`."""
        ready, _, _ = select.select([self._host or self._listening], [], [], seconds)
        if not ready:
            return b""
        if self._host is None:
            self._host, _ = self._listening.accept()
            self._host.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return b""
        try:
            data = self._host.recv(_MOST)
        except OSError:
            data = b""
        if not data:
            self._hang_up()
        return data

    def send(self, data: bytes) -> None:
        """See `Wire`."""
        try:
            if self._host is not None:
                self._host.sendall(data)
        except OSError:
            self._hang_up()

    def close(self) -> None:
        """See `Wire`."""
        self._hang_up()
        self._listening.close()

    def _hang_up(self) -> None:
        if self._host is not None:
            self._host.close()
        self._host = None


def serve(device: SimulatedDevice, wire: Wire) -> NoReturn:
    """Let hosts talk to a device, until something is raised."""
    while True:
        data = wire.receive(0 if device.busy else _PAUSE)
        wire.send(device.exchange(data))
