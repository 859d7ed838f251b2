"""A board at the end of a link: its memories and runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import monotonic

import numpy as np
from numpy.typing import NDArray

from ...hdl.config import AcceleratorConfig
from ...hdl.link.protocol import (
    CHECK_BYTES,
    COUNTER_BYTES,
    IDENTITY_ADDRESS,
    IDENTITY_BYTES,
    LAST,
    MOST_COUNT,
    MOST_DATA,
    PROTOCOL,
    RING_WORDS,
    TABLE_ENTRIES,
    Control,
    Space,
    Status,
)
from ...models.errors import TritforgeError
from .link import Link
from .payloads import words_bytes
from .transport import Transport

__all__ = ["Board", "Identity", "Loaded", "Progress", "RawLogits"]

Progress = Callable[[int, int], None]
"""Called with the bytes that are done, and all."""

_WORD = 2
_PROMPT_TOKENS = 16
"""Tokens of a prompt in a request: few, since its answer comes when the last one is accepted."""
_GLANCE = 8
"""Words of results that are asked for where none are known to be there."""
_STRETCH = 8 * CHECK_BYTES
"""Bytes that are written together, if the device holds anything else in their place."""
_HASH_BYTES = 8


@dataclass(frozen=True)
class Identity:
    """What a device says it is: build and configuration as the hexadecimal beginnings of their hashes."""

    protocol: int
    build: str
    config: str


@dataclass(frozen=True)
class Loaded:
    """What a load did: bytes that were written, and bytes that were there already."""

    written: int
    kept: int


@dataclass(frozen=True)
class RawLogits:
    """Sums of the LM head, (V,) int32, and the scale that makes them logits: mantissa times 2^exponent."""

    sums: NDArray[np.int32]
    mantissa: int
    exponent: int


class Board:
    """A board with an accelerator of one stream, at the other end of a link.

    Parameters
    ----------
    transport
        What carries the bytes.
    timeout, attempts
        See `Link`.
    patience
        Seconds in which a device that runs must choose a token.

    Attributes
    ----------
    link : Link
        The link.
    halted : bool
        Whether `halt` was called: neither `consume` nor `run` begins anything more. Who begins a generation
        clears it.
    waited : bool
        Whether the device had to wait for the host in the latest run.
    """

    def __init__(
        self, transport: Transport, *, timeout: float = 0.5, attempts: int = 6, patience: float = 20.0
    ) -> None:
        self.link = Link(transport, timeout, attempts)
        self.halted = self.waited = False
        self._patience = patience
        self._taken = 0

    def open(self, config: AcceleratorConfig, build: str | None = None) -> Identity:
        """Begin a session: find out that the device is the right one, and reset its accelerator.

        Parameters
        ----------
        config
            What it must be.
        build
            Hexadecimal build that it must be of; any if not given.

        Raises
        ------
        TritforgeError
            If there is no answer, or it is another device.
        """
        data = self.link.open(Space.TABLE, IDENTITY_ADDRESS, IDENTITY_BYTES)
        hashes = data[-2 * _HASH_BYTES :]
        found = Identity(data[0], hashes[:_HASH_BYTES].hex(), hashes[_HASH_BYTES:].hex())
        name = self.link.name
        if found.protocol != PROTOCOL:
            raise TritforgeError(
                f"the device on {name} speaks version {found.protocol} of the link, and this tritforge"
                f" version {PROTOCOL}: use the tritforge that its bitstream was built with"
            )
        expected = config.digest()[: 2 * _HASH_BYTES]
        if found.config != expected:
            raise TritforgeError(
                f"the device on {name} holds another accelerator (configuration {found.config}) than"
                f" {config.name} ({expected}): name the one that it was built with, or build it again"
            )
        if build is not None and found.build != build:
            raise TritforgeError(
                f"the device on {name} is of build {found.build}, not {build}: flash the bitstream of the"
                " manifest, or name the manifest of its bitstream"
            )
        self.reset()
        return found

    def reset(self) -> None:
        """Stop whatever the accelerator does, and empty its results; memories stay as they are."""
        self.link.write(Space.CONTROL, Control.RESET)
        self._taken = 0

    def halt(self) -> None:
        """End the run under way at its next token; what was chosen before still comes.

        A prompt that is being consumed ends behind the tokens of the request under way, a few at most. Only
        notes the wish, so that it may be called at any moment, by a signal's handler too.
        """
        self.halted = True

    # Memories ---------------------------------------------------------------------------------------------

    def load(self, memory: bytes, progress: Progress | None = None) -> Loaded:
        """Fill the weight memory from its beginning, but for what is there already.

        So an interrupted load is resumed by another one. In the end all is compared once more.

        Parameters
        ----------
        memory
            Whole blocks of CHECK_BYTES.
        progress
            Told how far it is.

        Raises
        ------
        TritforgeError
            If there is no answer, or the memory does not hold what was written.
        """
        written = 0
        for start in range(0, len(memory), _STRETCH):
            part = memory[start : start + _STRETCH]
            if not self._holds(start, part):
                self.link.write(Space.WEIGHTS, start // _WORD, part)
                written += len(part)
            if progress is not None:
                progress(start + len(part), len(memory))
        size = MOST_COUNT * CHECK_BYTES
        for start in range(0, len(memory), size):
            if not self.link.holds(Space.WEIGHTS, start // _WORD, memory[start : start + size]):
                raise TritforgeError(
                    f"the weight memory of the device on {self.link.name} does not hold what was written; see"
                    " what `tritforge selftest` finds"
                )
        return Loaded(written, len(memory) - written)

    def _holds(self, start: int, part: bytes) -> bool:
        """Whether the weight memory has these bytes there.

        By chance a CRC of 16 bits is equal too often for all stretches of an image, and that of more bytes is
        equal just then. So the second half is asked for by itself, too, and its second half, and the last
        bytes are read. What differs in both halves, or up to the end as an interrupted load leaves it, has
        two witnesses.
        """
        while len(part) > MOST_DATA:
            if not self.link.holds(Space.WEIGHTS, start // _WORD, part):
                return False
            half = len(part) // 2 // _WORD * _WORD
            start, part = start + half, part[half:]
        return self.link.read(Space.WEIGHTS, start // _WORD, len(part)) == part

    def write_program(self, program: bytes) -> None:
        """Fill the program memory from its beginning."""
        self.link.write(Space.PROGRAM, 0, program)

    def write_table(self, table: bytes) -> None:
        """Set the text of tokens.

        Raises
        ------
        TritforgeError
            If there is no answer, or no room for so many.
        """
        if len(table) > TABLE_ENTRIES:
            raise TritforgeError(
                f"a device has room for the text of {TABLE_ENTRIES} tokens, not for {len(table)}"
            )
        self.link.write(Space.TABLE, 0, table)

    def read_state(self, elements: int) -> bytes:
        """Return the state memory, 2 bytes an element; between runs."""
        return self.link.read(Space.STATE, 0, _WORD * elements)

    def write_state(self, state: bytes) -> None:
        """Fill the state memory from its beginning; between runs."""
        self.link.write(Space.STATE, 0, state)

    def set_position(self, position: int) -> None:
        """Go to a position of a text, between runs; 0 begins one, with zero state."""
        self.link.write(Space.POSITION, position >> 16, words_bytes([position & 0xFFFF]))

    # Runs -------------------------------------------------------------------------------------------------

    def write_settings(self, settings: bytes) -> None:
        """Set what `payloads.settings_bytes` gives; between runs."""
        self.link.write(Space.SETTINGS, 0, settings)

    def counter(self) -> int:
        """Return the cycles of the cause in the settings, modulo 2^32; between runs."""
        return int.from_bytes(self.link.read(Space.SETTINGS, 0, COUNTER_BYTES), "little")

    def consume(self, tokens: Sequence[int]) -> int:
        """Have the device consume tokens, whatever the model itself would have chosen.

        Returns
        -------
        int
            How many it consumed: all, unless it was halted.

        Raises
        ------
        TritforgeError
            If there is no answer, or a token takes too long.
        """
        consumed = 0
        while consumed < len(tokens) and not self.halted:
            part = tokens[consumed : consumed + _PROMPT_TOKENS]
            self.link.write(Space.TOKENS, 0, words_bytes(part))
            self._wait_until_idle()
            consumed += len(part)
        return consumed

    def cycles(self, token: int, new_tokens: int) -> int:
        """Choose tokens, which are lost, and return what the counter has counted meanwhile.

        Nobody asks for the tokens: a result waits while the device answers.

        Parameters
        ----------
        token
            The end of the prompt.
        new_tokens
            Tokens to choose, 1 to `RING_WORDS`.

        Raises
        ------
        TritforgeError
            If there is no answer, or the tokens take too long.
        """
        before = self.counter()
        self._choose(token, new_tokens)
        self._wait_until_idle(self.link.rest)
        self._taken = self.link.ask(Space.RING, self._taken, 0).produced
        return (self.counter() - before) % (1 << 32)

    def run(self, token: int, new_tokens: int) -> Iterator[int]:
        """Consume a token, then yield those that the device chooses and consumes in turn, as they come.

        The device goes on while the reader does something else. Who wants no more calls `halt` and reads on
        to the end, or `reset`. A run of a board that is halted already yields nothing.

        Parameters
        ----------
        token
            The end of the prompt.
        new_tokens
            Most tokens to choose, 1 to `MOST_TOKENS`.

        Raises
        ------
        TritforgeError
            If there is no answer, or no token for a long time.
        """
        halted = self.waited = False
        if self.halted:
            return
        self._choose(token, new_tokens)
        for words in self._results():
            for word in words:
                if word & LAST and halted:
                    self.link.write(Space.CONTROL, Control(0))
                yield word & ~LAST
                if word & LAST:
                    self._wait_until_idle()
                    return
            if self.halted and not halted:
                self.link.write(Space.CONTROL, Control.HALT)
                halted = True

    def logits(self, tokens: Sequence[int], vocabulary: int) -> Iterator[RawLogits]:
        """Consume tokens, and yield the raw logits behind each; the settings must ask for them.

        Parameters
        ----------
        tokens
            Whatever the model itself would have chosen.
        vocabulary
            Number of tokens of the model.

        Raises
        ------
        TritforgeError
            If there is no answer, or no token for a long time.
        """
        for token in tokens:
            self._choose(token, 1)
            words: list[int] = []
            for more in self._results():
                words += more
                if len(words) >= vocabulary + 3:
                    break
            *sums, _, mantissa, exponent = np.array(words, np.uint16).astype(np.int16).tolist()
            self._wait_until_idle()
            yield RawLogits(np.array(sums, np.int32), mantissa, exponent)

    def _choose(self, token: int, new_tokens: int) -> None:
        self.link.write(Space.CHOOSE, new_tokens, words_bytes([token]))

    def _wait_until_idle(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        end = monotonic() + self._patience
        meanwhile()
        while not self.link.ask(Space.RING, self._taken, 0).status & Status.IDLE:
            if monotonic() > end:
                raise self._stopped()
            meanwhile()

    def _results(self) -> Iterator[list[int]]:
        """Yield the words of results as they come, without an end; sometimes none."""
        end = monotonic() + self._patience
        expected = _GLANCE
        while True:
            size = _WORD * min(max(expected, _GLANCE), MOST_DATA // _WORD)
            response = self.link.ask(Space.RING, self._taken, size)
            ready = (response.produced - self._taken) % 256
            if ready > RING_WORDS:
                raise TritforgeError(
                    f"the device on {self.link.name} has {ready} words of results where {RING_WORDS} have"
                    " room: it is at fault"
                )
            self.waited |= ready == RING_WORDS
            words = np.frombuffer(response.data, "<u2")[:ready].tolist()
            self._taken = (self._taken + len(words)) % 256
            expected = ready - len(words)
            if words:
                end = monotonic() + self._patience
            elif monotonic() > end:
                raise self._stopped()
            yield words

    def _stopped(self) -> TritforgeError:
        return TritforgeError(
            f"the device on {self.link.name} has chosen no token for {self._patience:g} s: load the model and"
            " its program again; if that does not help, see what `tritforge selftest` finds"
        )
