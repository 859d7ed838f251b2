"""A board in Python: it obeys docs/link.md byte by byte, and computes with the integer golden model."""

from __future__ import annotations

from typing import Any

import numpy as np
from amaranth.lib.data import Const
from numpy.typing import NDArray

from ...hdl.accelerator import settings_layout
from ...hdl.compiler import compile_program
from ...hdl.config import AcceleratorConfig
from ...hdl.isa import LAYOUT, WORDS, Epilogue, Instruction, Opcode
from ...hdl.link.protocol import (
    CHECK_BYTES,
    CRC_BYTES,
    LAST,
    MOST_DATA,
    PROTOCOL,
    RING_BYTES,
    Control,
    Register,
    Space,
    Status,
    Verb,
    crc,
)
from ...models.config import ModelConfig
from ...models.errors import TritforgeError
from ...models.golden import GoldenModel, Logits
from ...models.image import Image, MemoryMap
from ...models.quantise import IntegerModel
from .flashfile import read_frames
from .frames import Decoder, Request, Response, encode
from .payloads import TABLE_ENTRIES

__all__ = ["GoldenDevice"]

_ADDRESSES = 1 << 24
_REGISTER_BYTES = Register.CONTROL + 1
_LAST_BYTES = {register + register.size - 1: register for register in Register}
_JUNK = b"\xa5"
"""What memories hold at first: nobody may rely on zeros."""


class _RefusedError(Exception):
    """A request for something that is not there."""


class GoldenDevice:
    """A simulated board whose accelerator is the golden model; a `SimulatedDevice`.

    Nothing but the link tells it its model: the program says which shape the model has, the weight memory
    holds its numbers. If what is loaded is no model, it works for ever on the first token, as hardware might.

    Parameters
    ----------
    config
        The accelerator, with one stream.
    build
        Hexadecimal build, 8 bytes.
    flash
        What it reads at power-up.

    Attributes
    ----------
    clock_hz
        None: it counts no cycles.
    fault
        Why the accelerator works for ever, empty if it does not.

    Raises
    ------
    TritforgeError
        If the accelerator has several streams.
    """

    clock_hz: float | None = None

    def __init__(self, config: AcceleratorConfig, build: str = "0" * 16, flash: bytes = b"") -> None:
        if config.streams != 1:
            raise TritforgeError(f"a board's accelerator has one stream, and {config.name} {config.streams}")
        self._config = config
        self._identity = bytes.fromhex(build + config.digest()[: 2 * Register.CONFIG.size])
        size = config.memory_beats * config.layout.beat_bytes
        self._weights = bytearray(_JUNK * min(size or _ADDRESSES, _ADDRESSES))
        self._program = bytearray(_JUNK * 2 * config.program_words)
        self._state = bytearray(_JUNK * 2 * config.states)
        self._table = bytearray(_JUNK * TABLE_ENTRIES)
        self._ring = bytearray(_JUNK * RING_BYTES)
        self._written = bytearray(_REGISTER_BYTES)
        self._model: GoldenModel | None = None
        self._decoder = Decoder()
        self._number: int | None = None
        self._control = Control(0)
        self._next: int | None = None
        self._reset()
        self._boot(flash)

    def exchange(self, data: bytes) -> bytes:
        """See `SimulatedDevice`: it obeys what is complete, and chooses a token if it has room for it."""
        sent = b""
        for request in filter(None, map(Request.from_bytes, self._decoder.feed(data))):
            sent += encode(self._answer(request).to_bytes())
        return sent + self._work()

    @property
    def busy(self) -> bool:
        """See `SimulatedDevice`."""
        return self._next is not None and not self._unread and not self.fault

    # Requests ---------------------------------------------------------------------------------------------

    def _boot(self, flash: bytes) -> None:
        """Obey the frames in flash."""
        try:
            answers = [self._answer(request).status for request in read_frames(flash)]
        except TritforgeError:
            answers = [Status.REFUSED]
        if any(answers):
            self._control |= Control.BOOT_FAILED
        self._number = None

    def _answer(self, request: Request) -> Response:
        opens = request.verb == Verb.OPEN
        if not opens and (self._number is None or (request.number - self._number) % 256 > 127):
            return Response(request.number, Status.STALE)
        try:
            data = self._obey(request)
        except _RefusedError:
            return Response(request.number, Status.REFUSED)
        if opens:
            self._control &= ~Control.TEXT
        self._number = request.number
        return Response(request.number, Status.OK, data)

    def _obey(self, request: Request) -> bytes:
        match request.verb:
            case Verb.READ | Verb.OPEN:
                return self._read(request)
            case Verb.CHECK:
                if request.space != Space.WEIGHTS:
                    raise _RefusedError
                stretch = self._stretch(request, self._weights, request.count * CHECK_BYTES)
                return crc(bytes(self._weights[stretch])).to_bytes(CRC_BYTES, "big")
            case Verb.WRITE:
                self._write(request)
                return b""
        raise _RefusedError

    def _stretch(self, request: Request, memory: bytes | bytearray, count: int, unit: int = 2) -> slice:
        """The part of a memory that a request means."""
        end = request.address + count
        if not count or request.address % unit or count % unit or end > len(memory):
            raise _RefusedError
        return slice(request.address, end)

    def _read(self, request: Request) -> bytes:
        if request.count > MOST_DATA:
            raise _RefusedError
        match request.space:
            case Space.REGISTERS:
                registers = self._registers()
                return registers[self._stretch(request, registers, request.count, 1)]
            case Space.RING:
                position = request.address % RING_BYTES
                return bytes((self._ring * 2)[position : position + request.count])
            case Space.WEIGHTS:
                return bytes(self._weights[self._stretch(request, self._weights, request.count)])
            case Space.STATE if self._idle:
                return bytes(self._state[self._stretch(request, self._state, request.count)])
        raise _RefusedError

    def _write(self, request: Request) -> None:
        count, data = request.count, request.data
        again = request.number == self._number
        if not 1 <= count <= MOST_DATA:
            raise _RefusedError
        match request.space:
            case Space.REGISTERS:
                stretch = self._stretch(request, self._written, count, 1)
                for address, byte in zip(range(stretch.start, stretch.stop), data, strict=True):
                    self._written[address] = byte
                    if not again and address in _LAST_BYTES:
                        self._act(_LAST_BYTES[address])
            case Space.WEIGHTS:
                self._weights[self._stretch(request, self._weights, count)] = data
                self._model = None
            case Space.PROGRAM:
                self._program[self._stretch(request, self._program, count)] = data
                self._model = None
            case Space.STATE if self._idle:
                self._state[self._stretch(request, self._state, count)] = data
            case Space.TABLE:
                self._table[self._stretch(request, self._table, count, 1)] = data
            case Space.PROMPT if self._idle and not count % 2:
                if not again:
                    self._forward(np.frombuffer(data, "<u2"))
            case _:
                raise _RefusedError

    def _registers(self) -> bytes:
        status = self._control | (Control.IDLE if self._idle else 0)
        values = {
            Register.STATUS: status,
            Register.PROTOCOL: PROTOCOL,
            Register.PRODUCED: self._produced,
            Register.SATURATIONS: self._saturations,
            Register.POSITION: self._position,
        }
        registers = bytearray(_REGISTER_BYTES)
        registers[: Register.STATUS] = self._identity
        for register, value in values.items():
            registers[register : register + register.size] = value.to_bytes(register.size, "little")
        return bytes(registers)

    def _act(self, register: Register) -> None:
        """Obey a register whose last byte was written."""
        value = int.from_bytes(self._written[register : register + register.size], "little")
        match register:
            case Register.TOKEN if self._idle:
                token, self._left, logits = value & 0xFFFF, value >> 16 & 0xFFFF, value >> 32 & 1
                if logits:
                    self._next = token
                else:
                    self._forward(np.array([token]))
            case Register.NEW_POSITION if self._idle:
                self._position = value
            case Register.TAKEN:
                self._taken = value
            case Register.CONTROL:
                self._control = Control(value & (Control.HALT | Control.TEXT))
                if value & Control.RESET:
                    self._reset()

    # The accelerator --------------------------------------------------------------------------------------

    def _reset(self) -> None:
        self._produced = self._taken = 0
        self._unread = b""
        self._next = None
        self._left = self._position = self._saturations = 0
        self.fault = ""

    @property
    def _idle(self) -> bool:
        return self._next is None and not self._unread and not self.fault

    def _work(self) -> bytes:
        """Choose a token, if one is wanted; return what leaves as text."""
        text = b""
        if self.busy:
            self._unread, chosen = self._choose()
            if self._unread and self._control & Control.TEXT:
                self._unread, text = b"", bytes([self._table[chosen % TABLE_ENTRIES]])
        room = RING_BYTES - (self._produced - self._taken) % (1 << 16)
        for byte in self._unread[:room]:
            self._ring[self._produced % RING_BYTES] = byte
            self._produced = (self._produced + 1) % (1 << 16)
        self._unread = self._unread[room:]
        return text

    def _choose(self) -> tuple[bytes, int]:
        """Consume the next token; return what is to be read of the one chosen, and the token itself."""
        bits = int.from_bytes(self._written[Register.SETTINGS : Register.TOKEN], "little")
        layout = settings_layout(1)
        settings: Any = Const(layout, bits % (1 << layout.size))
        position = self._position
        logits = self._forward(np.array([self._next]))
        if logits is None or self._model is None:
            return b"", 0
        temperature = None
        if settings.sample:
            temperature = int(settings.temperature_mantissa), int(settings.temperature_exponent)
        before = self._model.saturations.count
        chosen = self._model.choose(logits, position, temperature, int(settings.seeds[0]))
        self._saturations += self._model.saturations.count - before
        enabled = [int(stop) for k, stop in enumerate(settings.stops) if settings.stops_enabled >> k & 1]
        last = self._left <= 1 or chosen in enabled or settings.halt or bool(self._control & Control.HALT)
        self._next, self._left = (None if last else chosen), self._left - 1
        record = (chosen | (LAST if last else 0)).to_bytes(2, "little")
        if settings.emit_raw:
            raw = logits.sums[0].astype("<i4").tobytes()
            scale = np.array([logits.mantissa[0], logits.exponent[0]]).astype("<i2").tobytes()
            record = b"".join(raw[k : k + 3] for k in range(0, len(raw), 4)) + record + scale
        return record, chosen

    def _forward(self, tokens: NDArray[Any]) -> Logits | None:
        """Consume tokens; None, for ever, if what is loaded is no model that has them."""
        try:
            if self._model is None:
                self._model = GoldenModel(_loaded(self._config, bytes(self._program), bytes(self._weights)))
            model = self._model
            if (tokens >= model.config.vocab_size).any():
                raise TritforgeError(f"token {tokens.max()} is not in the model's vocabulary")
            shape = (model.config.num_hidden_layers, model.config.hidden_size)
            h = np.frombuffer(self._state, "<i2", shape[0] * shape[1]).reshape(shape).astype(np.int64)
            before = model.saturations.count
            logits, h = model.forward(tokens, h if self._position else np.zeros_like(h))
        except TritforgeError as error:
            self.fault = str(error)
            return None
        self._saturations += model.saturations.count - before
        self._state[: 2 * h.size] = h.astype("<i2").tobytes()
        self._position = (self._position + len(tokens)) % (1 << 32)
        return logits


class _MemoryImage(Image):
    """A model in a weight memory: an image that has no file around it.

    Parameters
    ----------
    places
        What lies where.
    memory
        The weight memory.
    """

    def __init__(self, places: MemoryMap, memory: bytes) -> None:
        self._name = "the weight memory"
        self.config, self.layout, self.map = places.config, places.layout, places
        size = places.total * places.layout.beat_bytes
        self.memory = np.frombuffer(memory, np.uint8, size).reshape(places.total, places.layout.beat_bytes)
        # Exponents of norms have been multiplied into other scales: no arithmetic needs them.
        self._exponents = {name: [0, 0, 0] for name in places.sections}


def _loaded(config: AcceleratorConfig, program: bytes, weights: bytes) -> IntegerModel:
    """Return the model that a program and a weight memory make.

    Raises
    ------
    TritforgeError
        If they make none.
    """
    instructions = _instructions(program)
    by_opcode = {instruction.opcode: instruction for instruction in instructions}
    products = {each.epilogue: each for each in instructions if each.opcode == Opcode.MATMUL}
    try:
        model = ModelConfig(
            hidden_size=by_opcode[Opcode.EMBED].count,
            num_hidden_layers=by_opcode[Opcode.LAYER].address,
            vocab_size=products[Epilogue.HEAD].count,
            intermediate_size=products[Epilogue.GLU].count // 2,
        )
    except KeyError as error:
        raise TritforgeError(f"the program memory holds no program: it lacks {error}") from None
    image = _MemoryImage(MemoryMap(model, config.layout), weights)
    expected = compile_program(model, config, shared_inputs=image.shared_inputs)
    if instructions != list(expected.instructions):
        raise TritforgeError("the program memory holds another program than its model's")
    return image


def _instructions(program: bytes) -> list[Instruction]:
    """Return a program's instructions up to END."""
    size = 2 * WORDS
    found = []
    for start in range(0, len(program) - size + 1, size):
        fields: Any = Const(LAYOUT, int.from_bytes(program[start : start + size], "little"))
        values: dict[str, Any] = {
            name: int(getattr(fields, name)) for name, _ in LAYOUT if not name.startswith("spare")
        }
        try:
            values |= {"opcode": Opcode(values["opcode"]), "epilogue": Epilogue(values["epilogue"])}
        except ValueError as error:
            raise TritforgeError(f"the program memory holds no program: {error}") from None
        found.append(Instruction(**values))
        if found[-1].opcode == Opcode.END:
            return found
    raise TritforgeError("the program memory holds no program: it has no END")
