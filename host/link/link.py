"""Requests that are answered: numbers, repetitions and timeouts over a transport that may lose bytes."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from time import monotonic

from ...hdl.link.protocol import CHECK_BYTES, CRC_BYTES, MOST_DATA, Space, Status, Verb
from ...models.errors import TritforgeError
from .frames import Decoder, Request, Response, encode, intact
from .transport import Transport

__all__ = ["Link", "Statistics"]

_WORD = 2
_CHECK_ANSWER = len(Response(0, Status(0), 0).to_bytes()) + CRC_BYTES
_WITNESSES = 3


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
        self._timeout, self._attempts_at_most = timeout, attempts
        self._decoder = Decoder()
        # What a host before this one was still to be answered has, most likely, another number.
        self._number = secrets.randbelow(256)

    def open(self, space: Space, address: int, count: int) -> bytes:
        """Begin a session, and read.

        Raises
        ------
        TritforgeError
            If there is no answer.
        """
        return self._answer(self._request(Verb.OPEN, space, address, count), count).data

    def ask(self, space: Space, address: int, count: int) -> Response:
        """Read up to MOST_DATA bytes of a space, and learn how the device is.

        Raises
        ------
        TritforgeError
            If there is no answer, or the device refuses or has begun anew.
        """
        request = self._request(Verb.READ, space, address, count)
        return self._obeyed(request, self._answer(request, count))

    def read(self, space: Space, address: int, count: int) -> bytes:
        """Read an even number of bytes of a space.

        Raises
        ------
        TritforgeError
            See `ask`.
        """
        starts = range(0, count, MOST_DATA)
        return b"".join(
            self.ask(space, address + start // _WORD, min(MOST_DATA, count - start)).data for start in starts
        )

    def write(self, space: Space, address: int, data: bytes = b"") -> None:
        """Write an even number of bytes to a space, or none: then the address is what is written.

        Raises
        ------
        TritforgeError
            See `ask`.
        """
        for start in range(0, max(len(data), 1), MOST_DATA):
            part = data[start : start + MOST_DATA]
            request = self._request(Verb.WRITE, space, address + start // _WORD, len(part), part)
            self._obeyed(request, self._answer(request, 0))

    def holds(self, space: Space, address: int, data: bytes) -> bool:
        """Whether these bytes are in a space, as far as their CRC tells.

        Parameters
        ----------
        space, address
            Where.
        data
            Up to the end of a block of CHECK_BYTES, and at most MOST_BLOCKS of them.

        Raises
        ------
        TritforgeError
            See `ask`.
        """
        # An answer with a wrong CRC tells a difference, or was damaged; hardly each time.
        return any(self._same(space, address, data) for _ in range(_WITNESSES))

    def _same(self, space: Space, address: int, data: bytes) -> bool:
        """Whether an answer's CRC is that of the data; no, if its number and length alone are right."""
        request = self._request(Verb.CHECK, space, address, -(-len(data) // CHECK_BYTES))
        for contents in self._attempts(request):
            for content in contents:
                for unsent in (data, b""):
                    if response := self._response(request, content, 0, unsent):
                        self._obeyed(request, response)
                        return unsent == data
                if len(content) == _CHECK_ANSWER and content[0] == request.number:
                    return False
        raise self._silent()

    def rest(self) -> None:
        """Let the device work for a moment without a question."""
        self._decoder.feed(self._transport.read())

    def close(self) -> None:
        """Let the device go."""
        self._transport.close()

    def _request(self, verb: Verb, space: Space, address: int, count: int, data: bytes = b"") -> Request:
        self._number = (self._number + 1) % 256
        self.statistics.requests += 1
        return Request(self._number, verb, space, address, count, data)

    def _answer(self, request: Request, length: int) -> Response:
        """Ask until there is an answer with so many bytes of data."""
        for contents in self._attempts(request):
            for content in contents:
                if response := self._response(request, content, length):
                    return response
                self.statistics.damaged += intact(content) is None
        raise self._silent()

    def _attempts(self, request: Request) -> Iterator[Iterator[bytes]]:
        """Send a request again and again; yield, each time, the frames' contents that come in time."""
        frame = encode(request.to_bytes())
        for attempt in range(self._attempts_at_most):
            self.statistics.repetitions += attempt > 0
            self.statistics.sent += len(frame)
            self._transport.write(frame)
            yield self._contents(self._timeout * 2**attempt)

    def _contents(self, seconds: float) -> Iterator[bytes]:
        end = monotonic() + seconds
        while True:
            data = self._transport.read()
            self.statistics.received += len(data)
            yield from self._decoder.feed(data)
            if monotonic() > end:
                return

    def _response(
        self, request: Request, content: bytes, length: int, unsent: bytes = b""
    ) -> Response | None:
        """Return the answer to a request, None if the content is none."""
        body = intact(content, unsent)
        response = None if body is None else Response.from_bytes(body)
        if response is None or response.number != request.number:
            return None
        # What is not obeyed has no data.
        wanted = length if request.verb == Verb.OPEN or _obeyed(response) else 0
        return response if len(response.data) == wanted else None

    def _obeyed(self, request: Request, response: Response) -> Response:
        """Return a response, if it is one to a request that was obeyed."""
        if not response.status & Status.OPEN:
            raise TritforgeError(
                f"the device on {self.name} has begun anew, since it lost its power or was reset: open it"
                " again, and begin with the load"
            )
        if response.status & Status.REFUSED:
            raise TritforgeError(
                f"the device on {self.name} refuses a {Verb(request.verb).name} of"
                f" {Space(request.space).name.lower()} at {request.address:#x}: it is at work"
            )
        return response

    def _silent(self) -> TritforgeError:
        seconds = self._timeout * (2**self._attempts_at_most - 1)
        return TritforgeError(
            f"the device on {self.name} does not answer: asked {self._attempts_at_most} times in"
            f" {seconds:.3g} s; see that it is the right port and rate, and that the board has its bitstream"
        )


def _obeyed(response: Response) -> bool:
    return response.status & (Status.OPEN | Status.REFUSED) == Status.OPEN
