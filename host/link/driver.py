"""A board at the end of a link: its memories, registers and runs."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import monotonic

import numpy as np
from numpy.typing import NDArray

from ...hdl.accelerator import CAUSES
from ...hdl.config import AcceleratorConfig
from ...hdl.link.protocol import (
    CHECK_BYTES,
    LAST,
    PROTOCOL,
    RING_BYTES,
    Control,
    Register,
    Space,
    crc,
)
from ...models.errors import TritforgeError
from .link import Link
from .payloads import token_bytes, words_bytes
from .transport import Transport

__all__ = ["Board", "Counters", "Identity", "Loaded", "Progress", "RawLogits"]

Progress = Callable[[int, int], None]
"""Called with the bytes that are done, and all."""

_IDENTITY = Register.PROTOCOL + Register.PROTOCOL.size
_POLL = Register.COUNTED + Register.COUNTED.size - Register.STATUS
_PROMPT_TOKENS = 16
"""Tokens of a prompt in a request: few, since its answer comes when the last one is accepted."""
_TOKEN_BYTES = 2
_SUM_BYTES = 3
_SCALE = struct.Struct("<Hh")  # mantissa, exponent
_STRETCH = 8
"""Blocks that are written together, if the device holds anything else in their place."""
_MOST_BLOCKS = 255
_HALF = CHECK_BYTES // 2


@dataclass(frozen=True)
class Identity:
    """What a device says it is: build and configuration as the hexadecimal beginnings of their hashes."""

    build: str
    config: str
    protocol: int


@dataclass(frozen=True)
class Loaded:
    """What a load did: bytes that were written, and bytes that were there already."""

    written: int
    kept: int


@dataclass(frozen=True)
class Counters:
    """What a device counts.

    Parameters
    ----------
    status
        Its state.
    produced
        Bytes of results so far, modulo 65,536.
    cycles
        Clock cycles in which it worked, modulo 2^32.
    saturations
        Values clamped to their format.
    position
        Tokens of the text so far.
    counted
        Cycles of the watched cause.
    """

    status: Control
    produced: int
    cycles: int
    saturations: int
    position: int
    counted: int


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
    run_cycles : int
        Cycles of the latest run, from its last prompt token on.
    waited : bool
        Whether the device had to wait for the host in the latest run.
    """

    def __init__(
        self, transport: Transport, *, timeout: float = 0.5, attempts: int = 6, patience: float = 20.0
    ) -> None:
        self.link = Link(transport, timeout, attempts)
        self.run_cycles = 0
        self.waited = False
        self._patience = patience
        self._taken = 0
        self._halt = False

    # Identity and control ---------------------------------------------------------------------------------

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
        data = self.link.open(Register.BUILD, _IDENTITY)
        end = Register.CONFIG + Register.CONFIG.size
        found = Identity(data[: Register.CONFIG].hex(), data[Register.CONFIG : end].hex(), data[-1])
        name = self.link.name
        if found.protocol != PROTOCOL:
            raise TritforgeError(
                f"the device on {name} speaks version {found.protocol} of the link, and this tritforge"
                f" version {PROTOCOL}: use the tritforge that its bitstream was built with"
            )
        expected = config.digest()[: 2 * Register.CONFIG.size]
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
        self._write(Register.CONTROL, bytes([Control.RESET]))
        self._taken = self.counters().produced
        self._halt = False

    def halt(self) -> None:
        """End the run under way at its next token; what was chosen before still comes.

        Only notes the wish, so that it may be called at any moment, by a signal's handler too.
        """
        self._halt = True

    def counters(self) -> Counters:
        """Return what the device counts, all as of about the same time."""
        data = self.link.read(Space.REGISTERS, Register.STATUS, _POLL)

        def value(register: Register) -> int:
            start = register - Register.STATUS
            return int.from_bytes(data[start : start + register.size], "little")

        return Counters(
            Control(value(Register.STATUS)),
            value(Register.PRODUCED),
            value(Register.CYCLES),
            value(Register.SATURATIONS),
            value(Register.POSITION),
            value(Register.COUNTED),
        )

    def watch(self, cause: str) -> None:
        """Count the cycles of one of `CAUSES`, from 0."""
        self._write(Register.WATCH, bytes([CAUSES.index(cause)]))

    # Memories ---------------------------------------------------------------------------------------------

    def load(self, memory: bytes, progress: Progress | None = None) -> Loaded:
        """Fill the weight memory from its beginning, but for what is there already.

        So an interrupted load is resumed by another one. What was loaded is compared once more in the end,
        with the blocks cut elsewhere: a difference that one CRC does not see, the other does.

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
        written = done = 0
        for start in range(0, len(memory), _STRETCH * CHECK_BYTES):
            part = memory[start : start + _STRETCH * CHECK_BYTES]
            if not self._holds(start, part):
                self.link.write(Space.WEIGHTS, start, part)
                written += len(part)
            done += len(part)
            if progress is not None:
                progress(done, len(memory))
        if not self._holds_all(memory):
            self.link.write(Space.WEIGHTS, 0, memory)
            written = len(memory)
            if not self._holds_all(memory):
                raise TritforgeError(
                    f"the weight memory of the device on {self.link.name} does not hold what was written"
                )
        return Loaded(written, len(memory) - written)

    def _holds_all(self, memory: bytes) -> bool:
        size = _MOST_BLOCKS * CHECK_BYTES
        return all(
            self._holds(start, memory[start : min(start + size, len(memory) - shift)])
            for shift in (0, _HALF)
            for start in range(shift, len(memory) - shift, size)
        )

    def _holds(self, start: int, part: bytes) -> bool:
        """Whether the weight memory has these bytes there, as far as their CRC tells."""
        return self.link.check(Space.WEIGHTS, start, len(part) // CHECK_BYTES) == crc(part)

    def write_program(self, program: bytes) -> None:
        """Fill the program memory from its beginning."""
        self.link.write(Space.PROGRAM, 0, program)

    def write_table(self, table: bytes) -> None:
        """Fill the text table."""
        self.link.write(Space.TABLE, 0, table)

    def read_state(self, elements: int) -> bytes:
        """Return the state memory, 2 bytes an element.

        Raises
        ------
        TritforgeError
            If the accelerator is not idle.
        """
        self._check_idle()
        return self.link.read(Space.STATE, 0, 2 * elements)

    def write_state(self, state: bytes) -> None:
        """Fill the state memory from its beginning.

        Raises
        ------
        TritforgeError
            If the accelerator is not idle.
        """
        self._check_idle()
        self.link.write(Space.STATE, 0, state)

    def _check_idle(self) -> None:
        if not self.counters().status & Control.IDLE:
            raise TritforgeError(
                f"the device on {self.link.name} is not idle: its state can be read and written between runs"
            )

    # Runs -------------------------------------------------------------------------------------------------

    def set_position(self, position: int) -> None:
        """Go to a position of a text, while the accelerator is idle; 0 begins one, with zero state."""
        self._write(Register.NEW_POSITION, position.to_bytes(Register.NEW_POSITION.size, "little"))

    def consume(self, tokens: Sequence[int]) -> None:
        """Have the device consume tokens, whatever the model itself would have chosen.

        Raises
        ------
        TritforgeError
            If there is no answer, or a token takes too long.
        """
        for start in range(0, len(tokens), _PROMPT_TOKENS):
            self.link.write(Space.PROMPT, 0, words_bytes(tokens[start : start + _PROMPT_TOKENS]))
        self._wait_until_idle()

    def run(self, token: int, new_tokens: int, settings: bytes) -> Iterator[int]:
        """Consume a token, then yield those that the device chooses and consumes in turn, as they come.

        The device goes on while the reader does something else. Who wants no more calls `halt` and reads on
        to the end, or `reset`.

        Parameters
        ----------
        token
            The end of the prompt.
        new_tokens
            Most tokens to choose, 1 to `MOST_TOKENS`.
        settings
            `settings_bytes`, without raw logits.

        Raises
        ------
        TritforgeError
            If there is no answer, or no token for a long time.
        """
        self._halt = False
        self._write(Register.SETTINGS, settings)
        for record in self._records(_TOKEN_BYTES, token_bytes(token, new_tokens)):
            chosen = int.from_bytes(record, "little")
            if chosen & LAST and self._halt:
                self._write(Register.CONTROL, b"\0")
            yield chosen & ~LAST
            if chosen & LAST:
                return

    def logits(self, tokens: Sequence[int], settings: bytes, vocabulary: int) -> Iterator[RawLogits]:
        """Consume tokens, and yield the raw logits behind each.

        Parameters
        ----------
        tokens
            Whatever the model itself would have chosen.
        settings
            `settings_bytes` with raw logits.
        vocabulary
            Number of tokens of the model.

        Raises
        ------
        TritforgeError
            If there is no answer, or no token for a long time.
        """
        self._write(Register.SETTINGS, settings)
        size = _SUM_BYTES * vocabulary + _TOKEN_BYTES + _SCALE.size
        for token in tokens:
            record = next(self._records(size, token_bytes(token, 0)))
            words = np.zeros((vocabulary, 4), np.uint8)
            words[:, 1:] = np.frombuffer(record, np.uint8, _SUM_BYTES * vocabulary).reshape(-1, _SUM_BYTES)
            sums = words.view("<i4")[:, 0] >> 8
            mantissa, exponent = _SCALE.unpack(record[-_SCALE.size :])
            yield RawLogits(sums, mantissa, exponent)

    def _wait_until_idle(self) -> Counters:
        position, end = -1, 0.0
        while True:
            counters = self.counters()
            if counters.status & Control.IDLE:
                return counters
            if counters.position != position:
                position, end = counters.position, monotonic() + self._patience
            elif monotonic() > end:
                raise self._stopped(counters)

    def _records(self, size: int, token: bytes) -> Iterator[bytes]:
        """Yield the results of a token, each of so many bytes, as they come, without an end."""
        self.run_cycles, self.waited = 0, False
        cycles = self._wait_until_idle().cycles
        self._write(Register.TOKEN, token)
        halted = False
        buffer = b""
        end = monotonic() + self._patience
        while True:
            if self._halt and not halted:
                self._write(Register.CONTROL, bytes([Control.HALT]))
                halted = True
            counters = self.counters()
            self.run_cycles += (counters.cycles - cycles) % (1 << 32)
            cycles = counters.cycles
            available = (counters.produced - self._taken) % (1 << 16)
            if available:
                self.waited |= available == RING_BYTES
                buffer += self._take(available)
                end = monotonic() + self._patience
            elif monotonic() > end:
                raise self._stopped(counters)
            while len(buffer) >= size:
                yield buffer[:size]
                buffer = buffer[size:]

    def _take(self, count: int) -> bytes:
        """Read results, and tell the device that it may overwrite them."""
        if count > RING_BYTES:
            raise TritforgeError(
                f"the device on {self.link.name} has {count} bytes of results where {RING_BYTES} have room:"
                " it was reset, or is at fault"
            )
        start = self._taken % RING_BYTES
        before_the_end = min(count, RING_BYTES - start)
        data = self.link.read(Space.RING, start, before_the_end)
        data += self.link.read(Space.RING, 0, count - before_the_end)
        self._taken = (self._taken + count) % (1 << 16)
        self._write(Register.TAKEN, self._taken.to_bytes(Register.TAKEN.size, "little"))
        return data

    def _stopped(self, counters: Counters) -> TritforgeError:
        return TritforgeError(
            f"the device on {self.link.name} has chosen no token for {self._patience:g} s, at position"
            f" {counters.position} after {counters.cycles} cycles: load the model and its program again; if"
            " that does not help, see what `tritforge selftest` finds"
        )

    def _write(self, register: Register, data: bytes) -> None:
        self.link.write(Space.REGISTERS, register, data)
