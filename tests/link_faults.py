"""A bad cable: a transport to a simulated device that damages what goes over it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tritforge.host.link.transport import SimulatedDevice
from tritforge.models.errors import TritforgeError

__all__ = ["KINDS", "BadCable", "Fault", "Kind", "Way"]

Way = Literal["there", "back"]
Kind = Literal[
    "lost", "doubled", "changed", "inserted", "swapped", "cut off", "cut out", "late", "twice", "pulled"
]

KINDS: dict[Kind, Callable[[bytes, int, int], bytes]] = {
    "lost": lambda data, at, value: data[:at] + data[at + 1 :],
    "doubled": lambda data, at, value: data[: at + 1] + data[at:],
    "changed": lambda data, at, value: data[:at] + bytes([data[at] ^ value]) + data[at + 1 :],
    "inserted": lambda data, at, value: data[:at] + bytes([value]) + data[at:],
    "swapped": lambda data, at, value: data[:at] + data[at : at + 2][::-1] + data[at + 2 :],
    "cut off": lambda data, at, value: data[:at],
    "cut out": lambda data, at, value: data[at + 1 :],
    "twice": lambda data, at, value: data + data,
}
"""What becomes of bytes that go over together; at a place among them; with a value from 1 to 255."""


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong.

    Parameters
    ----------
    way
        To the device or from it.
    position
        Of the byte, counted from the start of the session.
    kind
        One of `KINDS`; ``late``: from there on it comes with what is sent next; ``pulled``: from there on
        nothing goes over, and writing says so.
    value
        1 to 255.
    """

    way: Way
    position: int
    kind: Kind
    value: int = 1


class BadCable:
    """A cable to a device, with faults.

    Attributes
    ----------
    count
        Bytes so far, each way.
    """

    name = "the bad cable"

    def __init__(self, device: SimulatedDevice, *faults: Fault) -> None:
        self.device = device
        self.count: dict[Way, int] = {"there": 0, "back": 0}
        self._faults = list(faults)
        self._late: dict[Way, bytes] = {"there": b"", "back": b""}
        self._received = b""
        self._pulled = False

    def write(self, data: bytes) -> None:
        if self._pulled:
            raise TritforgeError("the cable was pulled")
        self._received += self._carry("back", self.device.exchange(self._carry("there", data)))

    def read(self) -> bytes:
        if self._pulled:
            return b""
        received = self._received or self._carry("back", self.device.exchange(b""))
        self._received = b""
        return received

    def close(self) -> None:
        pass

    def _carry(self, way: Way, data: bytes) -> bytes:
        """What comes out at the other end."""
        start, self.count[way] = self.count[way], self.count[way] + len(data)
        waiting, self._late[way] = (self._late[way], b"") if data else (b"", self._late[way])
        for fault in self._faults:
            at = fault.position - start
            if fault.way != way or not 0 <= at < min(len(data), self.count[way] - start):
                continue
            if fault.kind == "pulled":
                self._pulled = True
                data = data[:at]
            elif fault.kind == "late":
                data, self._late[way] = data[:at], data[at:]
            else:
                data = KINDS[fault.kind](data, at, fault.value)
        return waiting + data
