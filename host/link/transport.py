"""What carries the link's bytes: a serial port, a socket, or a call into a simulated device."""

from __future__ import annotations

import contextlib
from typing import Protocol

import serial  # type: ignore[import-untyped]

from ...models.errors import TritforgeError

__all__ = ["InProcess", "Port", "SimulatedDevice", "Transport"]

_WAIT = 0.05
"""Seconds for which a read waits for its first byte."""
_MOST_SECONDS = 5.0
"""Seconds in which a port must take what is written."""


class Transport(Protocol):
    """Bytes to a device and back.

    Attributes
    ----------
    name : str
        Where the device is, for messages.
    """

    name: str

    def write(self, data: bytes) -> None:
        """Send bytes.

        Raises
        ------
        TritforgeError
            If the other end has gone.
        """

    def read(self) -> bytes:
        """Return what has come, nothing if nothing comes for a moment.

        Raises
        ------
        TritforgeError
            If the other end has gone.
        """

    def close(self) -> None:
        """Let the device go."""


class Port:
    """A serial port, or what stands for one.

    Parameters
    ----------
    url
        A device (``/dev/ttyUSB1``, a pseudo-terminal), ``socket://host:port``, or another URL that pyserial
        knows.
    baud
        Bits a second; means nothing on a socket or a pseudo-terminal.

    Raises
    ------
    TritforgeError
        If it cannot be opened.
    """

    def __init__(self, url: str, baud: int = 1_000_000) -> None:
        self.name = url
        try:
            self._port = serial.serial_for_url(
                url, baudrate=baud, timeout=_WAIT, write_timeout=_MOST_SECONDS, exclusive=True
            )
        except (serial.SerialException, OSError, ValueError) as error:
            raise TritforgeError(f"{url} cannot be opened: {_reason(error)}") from None
        # USB adapters else keep what they have received for up to 16 ms. Not all ports can, and none must.
        with contextlib.suppress(AttributeError, NotImplementedError, OSError, ValueError):
            self._port.set_low_latency_mode(True)

    def write(self, data: bytes) -> None:
        """See `Transport`."""
        try:
            self._port.write(data)
        except (serial.SerialException, OSError) as error:
            raise self._gone(error) from None

    def read(self) -> bytes:
        """See `Transport`."""
        try:
            first = self._port.read(1)
            more = self._port.read(self._port.in_waiting) if first else b""
        except (serial.SerialException, OSError, TypeError) as error:
            # TypeError: pyserial's, when another thread or process closes the port under it.
            raise self._gone(error) from None
        return bytes(first + more)

    def close(self) -> None:
        """See `Transport`."""
        self._port.close()

    def _gone(self, error: Exception) -> TritforgeError:
        return TritforgeError(f"the device on {self.name} has gone: {_reason(error)}")


def _reason(error: Exception) -> str:
    """Return what the system said, without pyserial's words around it."""
    number = getattr(error, "errno", None)
    cause = error.__context__ if number is None else error
    return str(getattr(cause, "strerror", None) or error)


class SimulatedDevice(Protocol):
    """A device that is a part of this program.

    Attributes
    ----------
    clock_hz : float or None
        The clock that its cycles are counted in, if it counts any.
    """

    clock_hz: float | None

    @property
    def busy(self) -> bool:
        """Whether it works on something, so that it may send without having been asked."""

    def exchange(self, data: bytes) -> bytes:
        """Give it bytes, or none; let it work for a moment; return what it sends."""


class InProcess:
    """A device that is a part of this program."""

    def __init__(self, device: SimulatedDevice, name: str = "the simulated board") -> None:
        self.name = name
        self.device = device
        self._received = b""

    def write(self, data: bytes) -> None:
        """See `Transport`."""
        self._received += self.device.exchange(data)

    def read(self) -> bytes:
        """See `Transport`."""
        received, self._received = self._received or self.device.exchange(b""), b""
        return received

    def close(self) -> None:
        """See `Transport`."""
