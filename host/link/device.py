"""A board in Python: it obeys docs/link.md byte by byte, and computes with the integer golden model."""

from __future__ import annotations

from typing import Any

import numpy as np
from amaranth.lib.data import Const
from numpy.typing import NDArray

from ...hdl.compiler import compile_program
from ...hdl.config import AcceleratorConfig
from ...hdl.isa import LAYOUT, WORDS, Epilogue, Instruction, Opcode
from ...hdl.link.protocol import (
    CHECK_BYTES,
    COUNTER_BYTES,
    LAST,
    MOST_COUNT,
    PROTOCOL,
    RING_WORDS,
    SETTINGS_BYTES,
    TABLE_ENTRIES,
    Control,
    Space,
    Status,
    Verb,
)
from ...hdl.link.settings import SETTINGS
from ...models.config import ModelConfig
from ...models.errors import TritforgeError
from ...models.golden import GoldenModel, Logits
from ...models.image import Image, MemoryMap
from ...models.quantise import IntegerModel
from .flashfile import read_frames
from .frames import Decoder, Request, Response, encode, intact

__all__ = ["GoldenDevice"]

_ADDRESSES = 1 << 16
_RING_TURN = 256
_JUNK = b"\xa5"
"""What memories hold at first: nobody may rely on zeros."""
_WHILE_IT_RUNS = (Space.RING, Space.TABLE, Space.CONTROL)


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
        size = config.memory_beats * config.layout.beat_bytes
        self._weights = _memory(min(size // 2 or _ADDRESSES, _ADDRESSES))
        self._program = _memory(config.program_words)
        self._state = _memory(config.states)
        self._ring = _memory(RING_WORDS)
        self._settings = bytes(SETTINGS_BYTES)
        identity = bytes([PROTOCOL, 0]) + bytes.fromhex(build + config.digest()[: 2 * 8])
        self._table = bytearray(_JUNK * TABLE_ENTRIES + identity)
        self._model: GoldenModel | None = None
        self._decoder = Decoder()
        self._number: int | None = None
        self._status = Status(0)
        self._control = Control(0)
        self._next: int | None = None
        self._reset()
        self._boot(flash)

    def exchange(self, data: bytes) -> bytes:
        """See `SimulatedDevice`: it obeys what is complete, and chooses a token if it has room for it."""
        bodies = filter(None, map(intact, self._decoder.feed(data)))
        requests = filter(None, map(Request.from_bytes, bodies))
        # If the CRC ends with 00, a frame that has lost its last byte has a right CRC, too.
        sent = b"".join(self._answer(request) for request in requests if not _lacks_data(request))
        return sent + self._work()

    @property
    def busy(self) -> bool:
        """See `SimulatedDevice`."""
        return self._next is not None and not self._unread and not self.fault

    # Requests ---------------------------------------------------------------------------------------------

    def _boot(self, flash: bytes) -> None:
        """Obey the requests in flash, but for the OPEN that ends them."""
        try:
            *requests, _ = read_frames(flash)
        except TritforgeError:
            self._status |= Status.BOOT_FAILED
            return
        for request in requests:
            if self._refuses(request):
                self._status |= Status.BOOT_FAILED
                break
            self._obey(request)

    def _answer(self, request: Request) -> bytes:
        """Obey a request, if that is possible; return the frame that is sent."""
        status = self._status | (Status.IDLE if self._idle else 0)
        status |= Status.TEXT if self._control & Control.TEXT else 0
        produced = self._produced
        data = unsent = b""
        again = request.verb == Verb.WRITE and request.number == self._number
        opens = request.verb == Verb.OPEN
        if (self._status & Status.OPEN or opens) and not again:
            if self._refuses(request):
                status |= Status.REFUSED
            else:
                data = self._obey(request)
                self._number = request.number
                self._status |= Status.OPEN
                if opens:
                    self._control &= ~Control.TEXT
        if request.verb == Verb.CHECK:
            data, unsent = b"", data
        return encode(Response(request.number, status, produced, data).to_bytes(), unsent)

    def _refuses(self, request: Request) -> bool:
        return request.count > MOST_COUNT or (not self._idle and request.space not in _WHILE_IT_RUNS)

    def _obey(self, request: Request) -> bytes:
        """Do what a request says; return what is read."""
        if request.verb == Verb.WRITE:
            self._write(request)
            return b""
        if request.verb == Verb.CHECK:
            block = CHECK_BYTES // 2
            end = (request.address // block + request.count) * block
            return self._weights[request.address : end].tobytes()
        return self._read(request)

    def _read(self, request: Request) -> bytes:
        words = slice(request.address, request.address - -request.count // 2)
        match request.space:
            case Space.SETTINGS:
                data = bytes(COUNTER_BYTES)
            case Space.WEIGHTS:
                data = self._weights[words].tobytes()
            case Space.STATE:
                data = self._state[words].tobytes()
            case Space.RING:
                self._taken = request.address % _RING_TURN
                places = np.arange(words.start, words.stop) % RING_WORDS
                data = self._ring[places].tobytes()
            case Space.TABLE:
                data = bytes(self._table[2 * words.start : 2 * words.stop])
            case _:
                data = b""
        return data[: request.count].ljust(request.count, _JUNK)

    def _write(self, request: Request) -> None:
        address, data = request.address, request.data[: request.count]
        words = np.frombuffer(data[: len(data) // 2 * 2], "<u2")
        match request.space:
            case Space.SETTINGS:
                self._settings = data[:SETTINGS_BYTES].ljust(SETTINGS_BYTES, b"\0")
            case Space.WEIGHTS | Space.PROGRAM:
                memory = self._weights if request.space == Space.WEIGHTS else self._program
                memory[address : address + len(words)] = words[: max(len(memory) - address, 0)]
                self._model = None
            case Space.STATE:
                self._state[address : address + len(words)] = words[: max(len(self._state) - address, 0)]
            case Space.TABLE:
                data = data[:TABLE_ENTRIES]
                self._table[: len(data)] = data
            case Space.TOKENS if len(words):
                self._forward(words)
            case Space.CHOOSE if len(words):
                self._next, self._left = int(words[0]), address
            case Space.CONTROL:
                if address & Control.RESET:
                    self._reset()
                self._control = Control(address & (Control.HALT | Control.TEXT))
            case Space.POSITION if len(words):
                self._position = address << 16 | int(words[0])

    # The accelerator --------------------------------------------------------------------------------------

    def _reset(self) -> None:
        self._produced = self._taken = 0
        self._unread: list[int] = []
        self._next = None
        self._left = self._position = 0
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
                self._unread, text = [], bytes([self._table[chosen % TABLE_ENTRIES]])
        room = RING_WORDS - (self._produced - self._taken) % _RING_TURN
        for word in self._unread[:room]:
            self._ring[self._produced % RING_WORDS] = word
            self._produced = (self._produced + 1) % _RING_TURN
        self._unread = self._unread[room:]
        return text

    def _choose(self) -> tuple[list[int], int]:
        """Consume the next token; return what is to be read of the one chosen, and the token itself."""
        settings: Any = Const(SETTINGS, int.from_bytes(self._settings, "little"))
        position = self._position
        logits = self._forward(np.array([self._next]))
        if logits is None or self._model is None:
            return [], 0
        temperature: tuple[int, int] | None = None
        if settings.sample:
            temperature = int(settings.temperature_mantissa), int(settings.temperature_exponent)
        chosen = self._model.choose(logits, position, temperature, int(settings.seed))
        enabled = [int(stop) for k, stop in enumerate(settings.stops) if settings.stops_enabled >> k & 1]
        last = self._left <= 1 or chosen in enabled or bool(self._control & Control.HALT)
        self._next, self._left = (None if last else chosen), self._left - 1
        words = [chosen | (LAST if last else 0)]
        if settings.emit_raw:
            words = [*logits.sums[0].tolist(), *words, int(logits.mantissa[0]), int(logits.exponent[0])]
        return [word & 0xFFFF for word in words], chosen

    def _forward(self, tokens: NDArray[Any]) -> Logits | None:
        """Consume tokens; None, for ever, if what is loaded is no model that has them."""
        try:
            if self._model is None:
                self._model = GoldenModel(
                    _loaded(self._config, self._program.tobytes(), self._weights.tobytes())
                )
            model = self._model
            if (tokens >= model.config.vocab_size).any():
                raise TritforgeError(f"token {tokens.max()} is not in the model's vocabulary")
            shape = (model.config.num_hidden_layers, model.config.hidden_size)
            h = self._state[: shape[0] * shape[1]].view(np.int16).reshape(shape).astype(np.int64)
            logits, h = model.forward(tokens, h if self._position else np.zeros_like(h))
        except TritforgeError as error:
            self.fault = str(error)
            return None
        self._state[: h.size] = h.reshape(-1).astype(np.int16).view(np.uint16)
        self._position = (self._position + len(tokens)) % (1 << 32)
        return logits


def _lacks_data(request: Request) -> bool:
    return request.verb == Verb.WRITE and len(request.data) < request.count <= MOST_COUNT


def _memory(words: int) -> NDArray[np.uint16]:
    return np.frombuffer(_JUNK * 2 * words, np.uint16).copy()


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
