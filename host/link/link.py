"""Requests that are answered: numbers, repetitions and timeouts over a transport that may lose bytes."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from time import monotonic

from ...hdl.link.protocol import CHECK_BYTES, MOST_DATA, Space, Status, Verb
from ...models.errors import TritforgeError
from .frames import Decoder, Request, Response, encode
from .transport import Transport

__all__ = ["Link", "Statistics"]


@dataclass
class Statistics:
    """What went over a link.

    Parameters
    ----------
    requests, repetitions
        Asked, and asked again since no answer came in time.
    damaged
        Frames that arrived damaged.
    sent, received
        Bytes on the wire.
    """

    requests: int = 0
    repetitions: int = 0
    damaged: int = 0
    sent: int = 0
    received: int = 0


class Link:
    """A host's end of the link.

    Each request is repeated until its answer comes: with the same number, so that the device obeys it once.
    An answer counts only with the request's number and the length that was asked for.

    Parameters
    ----------
    transport
        What carries the bytes.
    timeout
        Seconds to wait for an answer before a request is repeated; twice as long each time.
    attempts
        How often a request is sent.

    Attributes
    ----------
    name : str
        Where the device is.
    statistics : Statistics
        Since the link was made.
    """

    def __init__(self, transport: Transport, timeout: float = 0.5, attempts: int = 6) -> None:
        self.name = transport.name
        self.statistics = Statistics()
        self._transport = transport
        self._timeout, self._attempts = timeout, attempts
        self._decoder = Decoder()
        # Whatever a host before this one was still to be answered has, most likely, another number.
        self._number = secrets.randbelow(256)

    def open(self, address: int, count: int) -> bytes:
        """Begin a session, and read registers.

        Raises
        ------
        TritforgeError
            If there is no answer.
        """
        return self._ask(Verb.OPEN, Space.REGISTERS, address, count, b"", count)

    def read(self, space: Space, address: int, count: int) -> bytes:
        """Read bytes of a space, any number.

        Raises
        ------
        TritforgeError
            If there is no answer, or the device refuses.
        """
        parts = []
        for start in range(0, count, MOST_DATA):
            size = min(MOST_DATA, count - start)
            parts.append(self._ask(Verb.READ, space, address + start, size, b"", size))
        return b"".join(parts)

    def write(self, space: Space, address: int, data: bytes) -> None:
        """Write bytes to a space, any number.

        Raises
        ------
        TritforgeError
            If there is no answer, or the device refuses.
        """
        for start in range(0, len(data), MOST_DATA):
            part = data[start : start + MOST_DATA]
            self._ask(Verb.WRITE, space, address + start, len(part), part, 0)

    def check(self, space: Space, address: int, blocks: int) -> int:
        """Return the CRC of memory.

        Parameters
        ----------
        space, address
            Where it begins.
        blocks
            Its size, 1 to 255 times CHECK_BYTES.

        Raises
        ------
        TritforgeError
            If there is no answer, or the device refuses.
        """
        return int.from_bytes(self._ask(Verb.CHECK, space, address, blocks, b"", 2), "big")

    def close(self) -> None:
        """Let the device go."""
        self._transport.close()

    def _ask(self, verb: Verb, space: Space, address: int, count: int, data: bytes, length: int) -> bytes:
        self._number = (self._number + 1) % 256
        frame = encode(Request(self._number, verb, space, address, count, data).to_bytes())
        self.statistics.requests += 1
        for attempt in range(self._attempts):
            self.statistics.sent += len(frame)
            self.statistics.repetitions += attempt > 0
            self._transport.write(frame)
            response = self._await(length, self._timeout * 2**attempt)
            if response is None:
                continue
            if response.status == Status.OK:
                return response.data
            if response.status == Status.STALE:
                raise TritforgeError(
                    f"the device on {self.name} has begun anew: it lost its power, or another host opened it;"
                    " what it was asked to do has to be asked again from the start"
                )
            raise TritforgeError(
                f"the device on {self.name} refuses {verb.name} of {count}"
                f" {f'blocks of {CHECK_BYTES} bytes' if verb == Verb.CHECK else 'bytes'}"
                f" at {address:#x} in {space.name.lower()}"
            )
        seconds = self._timeout * (2**self._attempts - 1)
        raise TritforgeError(
            f"the device on {self.name} does not answer: asked {self._attempts} times in {seconds:.3g} s; see"
            " that it is the right port and rate, and that the board has its bitstream"
        )

    def _await(self, length: int, seconds: float) -> Response | None:
        """Return the answer to the latest request, None if it does not come in time."""
        end = monotonic() + seconds
        while True:
            data = self._transport.read()
            self.statistics.received += len(data)
            bodies = self._decoder.feed(data)
            self.statistics.damaged = self._decoder.damaged
            for response in filter(None, map(Response.from_bytes, bodies)):
                expected = length if response.status == Status.OK else 0
                if response.number == self._number and len(response.data) == expected:
                    return response
            if monotonic() > end:
                return None
