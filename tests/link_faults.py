"""A bad cable: a transport to a simulated device that damages what goes over it; and a session over it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from tritforge.hdl.config import AcceleratorConfig
from tritforge.hdl.link.protocol import Space
from tritforge.host.link.driver import Board
from tritforge.host.link.engine import BoardEngine
from tritforge.host.link.payloads import memory_bytes, settings_bytes
from tritforge.host.link.transport import InProcess, SimulatedDevice
from tritforge.models.config import ModelConfig
from tritforge.models.errors import TritforgeError
from tritforge.models.image import Image
from tritforge.models.loading import load
from tritforge.models.software import GoldenEngine
from tritforge.models.synthesis import synthesise

__all__ = ["EVERY_KIND", "KINDS", "WAYS", "BadCable", "Case", "Fault", "Kind", "Way", "small_image"]

PROMPT, TEMPERATURE, SEED = [1, 2, 3], 0.9, 7

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

EVERY_KIND: list[Kind] = [*KINDS, "late"]
"""All that a session must recover from."""
WAYS: tuple[Way, ...] = get_args(Way)


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


def small_image(directory: Path, config: AcceleratorConfig) -> Image:
    """A small random model, made in a directory, for an accelerator."""
    shape = ModelConfig(hidden_size=10, num_hidden_layers=1, vocab_size=13, intermediate_size=12)
    synthesise(shape, directory, 5)
    return load(directory).image(config.layout)


class Case:
    """A device that holds a model, and what a session with it must give.

    Parameters
    ----------
    device
        The device.
    image, config
        The model, laid out for the device's accelerator.
    new
        Tokens that are chosen.
    waiting
        How long a host waits, as `Board` takes it.

    Attributes
    ----------
    expected
        The golden model's tokens and state.
    count
        Bytes that go over in a session, each way; a few more or less by the requests' numbers, which may have
        to be escaped.
    """

    def __init__(
        self, device: SimulatedDevice, image: Image, config: AcceleratorConfig, new: int, **waiting: Any
    ) -> None:
        self.device, self.config, self._new, self._waiting = device, config, new, waiting
        self._block_end = memory_bytes(image)[192:256]
        BoardEngine(self.opened(InProcess(device)), image, config)
        golden = GoldenEngine(image)
        tokens = [*golden.generate(PROMPT, new, temperature=TEMPERATURE, seed=SEED)]
        self.expected = tokens, golden.state().h.astype("<i2").tobytes()
        cable = BadCable(device)
        assert self.session(cable) == self.expected
        self.count = cable.count

    def opened(self, transport: Any) -> Board:
        """A board at the other end."""
        board = Board(transport, **self._waiting)
        board.open(self.config)
        return board

    def session(self, cable: BadCable) -> tuple[list[int], bytes]:
        """Make sure of some of the memory, tell a story, and read the state."""
        board = self.opened(cable)
        if not board.link.holds(Space.WEIGHTS, 96, self._block_end):
            raise TritforgeError("the memory is another one")
        board.write_settings(settings_bytes(temperature=TEMPERATURE, seed=SEED))
        board.set_position(0)
        board.consume(PROMPT[:-1])
        return [*board.run(PROMPT[-1], self._new)], board.read_state(10)
