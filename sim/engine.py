"""The ``rtl`` engine: a model on the simulated accelerator."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from amaranth.lib.data import Const
from numpy.typing import ArrayLike, NDArray

from ..hdl.accelerator import CAUSES, STATUS, Accelerator, sampling, settings_layout
from ..hdl.compiler import compile_program
from ..hdl.conductor import RESULT, TOKEN
from ..hdl.config import AcceleratorConfig
from ..hdl.isa import Opcode
from ..models.engine import Numbers, State, Timing, checked_tokens, whole_prompt
from ..models.errors import TritforgeError
from ..models.image import Image
from ..models.loading import Model
from ..models.quantise import trit_count
from .build import build_model, load_library
from .verilog import to_verilog

__all__ = ["EVENT", "RtlEngine", "accelerator_verilog", "compiled_accelerator", "simulate"]

EVENT = np.dtype(
    [
        ("cycle", "<u8"),
        ("flags", "<u2"),
        ("row", "<u2"),
        ("value", "<i4"),
        ("lane", "<u4"),
        ("layer", "<u4"),
    ]
)
"""One element that left a unit: cycle, its part of the probe (flags: bit 0 valid, the rest the mode), unit,
layer of the rows that pass."""

_WAITS, _RESULT, _STUCK, _OUT_OF_RANGE = range(4)
_RUNNER = Path(__file__).with_name("runner.cpp")
_PATIENCE = 1_000_000


@lru_cache(maxsize=4)
def accelerator_verilog(config: AcceleratorConfig) -> str:
    """Verilog of an accelerator that shows all that leaves its units; its top module is ``accelerator``."""
    return to_verilog(Accelerator(config, traced=True), "accelerator")


def compiled_accelerator(config: AcceleratorConfig, *, waveforms: bool = False) -> Path:
    """Shared library of an accelerator and the loop that drives it, compiled once on a machine.

    Raises
    ------
    ToolError
        If there is no C++ compiler, or a tool stops with an error.
    """
    options = ("--trace-fst",) if waveforms else ()
    return build_model(accelerator_verilog(config), "accelerator", _RUNNER, options=options)


def _library(path: Path) -> ctypes.CDLL:
    pointer, u32, u64, data = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint64, ctypes.c_void_p
    functions = (
        ("new", pointer, [data, u64, u64]),
        ("free", None, [pointer]),
        ("reset", None, [pointer]),
        ("program", None, [pointer, data, u32]),
        ("settings", None, [pointer, ctypes.c_char_p, u32]),
        ("memory", None, [pointer, u32, u32, u64]),
        ("trace", None, [pointer, ctypes.c_int]),
        ("write_state", None, [pointer, u32, data, u32, u32]),
        ("read_state", u32, [pointer, u32, data, u32]),
        ("push", None, [pointer, data, u32]),
        ("run", ctypes.c_int, [pointer]),
        ("accept", None, [pointer]),
        ("result", u64, [pointer]),
        ("cycles", u64, [pointer]),
        ("causes", None, [pointer, data]),
        ("saturations", u64, [pointer]),
        ("pending", u64, [pointer]),
        ("status", u64, [pointer]),
        ("raw_count", u64, [pointer]),
        ("take_raw", None, [pointer, data]),
        ("event_count", u64, [pointer]),
        ("take_events", None, [pointer, data]),
    )
    library = load_library(path, "tritforge", functions)
    if hasattr(library, "tritforge_waveform"):
        library.tritforge_waveform.restype = None
        library.tritforge_waveform.argtypes = [pointer, ctypes.c_char_p]
    return library


def simulate(model: Model, accelerator: AcceleratorConfig | None = None) -> RtlEngine:
    """A model on the simulated accelerator, by default on the smallest preset that holds it.

    Raises
    ------
    TritforgeError
        If the model does not fit, or there is no C++ compiler.
    """
    config = accelerator or AcceleratorConfig.smallest_fit(model.config)
    return RtlEngine(model.image(config.layout), config)


class RtlEngine:
    """The accelerator in compiled simulation; an `Engine` with the golden model's numbers.

    Parameters
    ----------
    image
        The model, laid out for the accelerator.
    config
        The accelerator.
    stall_rate
        Share of cycles in which the weight memory has no beat, 0 up to 1.
    patience
        Cycles without progress after which a run ends with an error.
    waveforms
        Whether `waveform` will be used: a build of its own, which is slower.

    Attributes
    ----------
    library
        The compiled simulation.
    cycles, prompt_cycles
        Simulated cycles of the latest generation, prompt not counted; of its prompt but for the last token.

    Raises
    ------
    TritforgeError
        If the model does not fit the accelerator, or the image has another layout.
    """

    name = "rtl"
    _numbers: Numbers = "integer"

    def __init__(
        self,
        image: Image,
        config: AcceleratorConfig,
        *,
        stall_rate: float = 0.0,
        patience: int = _PATIENCE,
        waveforms: bool = False,
    ) -> None:
        self.config = image.config
        self.accelerator = config
        self._image = image
        program = compile_program(image.config, config, shared_inputs=image.shared_inputs)
        if image.layout != config.layout:
            raise TritforgeError(
                f"the image is laid out for {image.layout}; the accelerator {config.name} has {config.layout}"
            )
        self.library = compiled_accelerator(config, waveforms=waveforms)
        self._library = _library(self.library)
        memory = np.ascontiguousarray(image.memory)
        self._memory = memory  # the runner reads it
        self._handle = self._library.tritforge_new(memory.ctypes.data, *memory.shape)
        words = np.array(program.words(), np.uint16)
        self._library.tritforge_program(self._handle, words.ctypes.data, len(words))
        self._library.tritforge_memory(self._handle, int(stall_rate * 0xFFFFFFFF), 1, patience)
        self._generating = False
        self.reset()

    def __del__(self) -> None:
        handle, self._handle = self.__dict__.get("_handle"), None
        if handle:
            self._library.tritforge_free(handle)

    def reset(self, state: State | None = None) -> None:
        """See `Engine`."""
        shape = (self.config.num_hidden_layers, self.config.hidden_size)
        if state is None:
            state = State(np.zeros(shape, np.int16), 0, None, "", self._numbers)
        else:
            state.check(self.config, self._image.digest, self._numbers)
        if state.position >= 1 << 32:
            raise TritforgeError(
                f"the state stands at position {state.position}; the accelerator counts to {(1 << 32) - 1}"
            )
        self._generating = False
        h = np.ascontiguousarray(state.h, np.int16)
        self._library.tritforge_reset(self._handle)
        self._library.tritforge_write_state(self._handle, 0, h.ctypes.data, h.size, state.position)
        self._position, self._next = state.position, state.next_token
        self.timing = Timing()
        self.cycles = self.prompt_cycles = 0

    @property
    def saturations(self) -> int:
        """See `Engine`."""
        return int(self._library.tritforge_saturations(self._handle))

    def state(self) -> State:
        """See `Engine`.

        Raises
        ------
        TritforgeError
            While a generation is under way: the accelerator already works on the next token.
        """
        if self._generating:
            raise TritforgeError(
                "the accelerator's state can be read when the generation has ended or was closed"
            )
        return self._state_of(0, self._next)

    def _state_of(self, stream: int, next_token: int | None) -> State:
        h = np.zeros((self.config.num_hidden_layers, self.config.hidden_size), np.int16)
        position = int(self._library.tritforge_read_state(self._handle, stream, h.ctypes.data, h.size))
        if position == 0:
            h[:] = 0  # the memory still holds the text before
        return State(h, position, next_token, self._image.digest, self._numbers)

    def logits(self, tokens: ArrayLike) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """See `Engine`."""
        ids = checked_tokens(tokens, self.config.vocab_size)
        sums = np.zeros((len(ids), self.config.vocab_size), np.int32)
        scales = np.zeros(len(ids))
        for group in self._positions(len(ids)):
            tokens_of = {stream: int(ids[t]) for stream, t in enumerate(group)}
            for stream, found in self.consume(tokens_of, together=len(group) > 1).items():
                sums[group[stream]], scales[group[stream]] = found
        return sums, scales

    def consume(
        self, tokens: Mapping[int, int], *, together: bool = False
    ) -> dict[int, tuple[NDArray[np.int32], float]]:
        """Consume a token of each of some streams, in one step.

        Parameters
        ----------
        tokens
            Stream -> token, the streams in order.
        together
            The tokens are successive ones of the first stream's text, one for each of the first streams; else
            each belongs to its own stream's text.

        Returns
        -------
        dict
            Stream -> raw logits (V,) and the factor that makes them logits.
        """
        self._next = None
        self._settings(emit_raw=1, chain=len(tokens) if together else 0)
        for stream, token in tokens.items():
            self._push(token, logits=1, stream=stream)
        scales = {}
        for _ in tokens:
            self._run(_RESULT)
            result = self._result()
            scales[int(result.stream)] = float(np.ldexp(float(result.mantissa), int(result.exponent)))
            self._library.tritforge_accept(self._handle)
        raw = np.zeros(self.config.vocab_size * len(tokens), np.uint64)
        count = int(self._library.tritforge_raw_count(self._handle))
        if count != len(raw):
            raise TritforgeError(f"the accelerator sent {count} raw logits of {len(raw)}")
        self._library.tritforge_take_raw(self._handle, raw.ctypes.data)
        found = {}
        for stream in tokens:
            own = raw[raw >> np.uint64(40) == stream]
            found[stream] = ((own & np.uint64(0xFFFFFF)).astype(np.int32) << 8) >> 8, scales[stream]
        return found

    def _positions(self, count: int) -> Iterator[range]:
        """Positions of one text in groups that pass together: as many as there are streams, or are left."""
        streams = self.accelerator.streams
        return (range(t, min(t + streams, count)) for t in range(0, count, streams))

    def generate(
        self,
        prompt: Sequence[int],
        max_new: int,
        *,
        temperature: float | None = None,
        seed: int = 0,
        stop: frozenset[int] = frozenset(),
    ) -> Iterator[int]:
        """See `Engine`; the accelerator itself consumes what it chose."""
        tokens = whole_prompt(self._next, prompt, self.config.vocab_size)
        seeds = [seed & 0xFFFFFFFF] * self.accelerator.streams
        return self._tokens(tokens, max_new, {**sampling(temperature, stop), "seeds": seeds}, stop)

    def generate_batch(
        self,
        prompts: Sequence[Sequence[int]],
        max_new: Sequence[int],
        *,
        temperature: float | None = None,
        seeds: Sequence[int] | None = None,
        stop: frozenset[int] = frozenset(),
    ) -> list[tuple[list[int], State]]:
        """Several texts at once, one a stream; all of them share every weight beat.

        Parameters
        ----------
        prompts
            At least one token each, from zero state; as many as streams, or fewer.
        max_new
            New tokens of each text, 1 to 65,535.
        temperature, stop
            See `generate`.
        seeds
            Of each text, 0 by default.

        Returns
        -------
        list of (list of int, State)
            Each text's new tokens and its last state.

        Raises
        ------
        TritforgeError
            If there are more texts than streams, or a token or number is out of range.
        """
        streams = self.accelerator.streams
        if not 1 <= len(prompts) <= streams:
            raise TritforgeError(
                f"the accelerator has {streams} streams, not one for each of {len(prompts)} texts"
            )
        if len(max_new) != len(prompts) or not all(1 <= count <= 0xFFFF for count in max_new):
            raise TritforgeError(
                f"each text needs its number of new tokens, 1 to 65,535, not {list(max_new)}"
            )
        texts = [whole_prompt(None, prompt, self.config.vocab_size) for prompt in prompts]
        self.reset()
        self.timing = Timing(prompt_tokens=sum(map(len, texts)))
        chosen_seeds = [seed & 0xFFFFFFFF for seed in [*(seeds or []), *[0] * streams][:streams]]
        self._settings(**sampling(temperature, stop), seeds=chosen_seeds)
        first, start = self._cycles(), perf_counter()
        for position in range(max(map(len, texts))):
            for stream, text in enumerate(texts):
                if position < len(text) - 1:
                    self._push(int(text[position]), stream=stream)
                elif position == len(text) - 1:
                    self._push(int(text[position]), logits=1, new_tokens=max_new[stream], stream=stream)
        chosen: list[list[int]] = [[] for _ in texts]
        running = len(texts)
        while running:
            self._run(_RESULT)
            result = self._result()
            chosen[int(result.stream)].append(int(result.token))
            running -= int(result.last)
            self._library.tritforge_accept(self._handle)
        self._run(_WAITS)
        self.cycles = self._cycles() - first
        self.timing.generated_tokens = sum(map(len, chosen))
        self.timing.generate_seconds = perf_counter() - start
        return [(tokens, self._state_of(stream, tokens[-1])) for stream, tokens in enumerate(chosen)]

    @property
    def cycles_per_token(self) -> float:
        """Simulated cycles for each token of the latest generation."""
        return self.cycles / self.timing.generated_tokens if self.timing.generated_tokens else 0.0

    @property
    def lane_use(self) -> float:
        """Share of the latest generation's lane cycles that multiplied a weight, padding not counted."""
        cycles = self.accelerator.layout.lanes * self.cycles
        return trit_count(self.config) * self.timing.generated_tokens / cycles if cycles else 0.0

    @property
    def causes(self) -> dict[str, int]:
        """What the cycles of tokens went for, by `CAUSES`, since the engine was made."""
        found = np.zeros(16, np.uint64)
        self._library.tritforge_causes(self._handle, found.ctypes.data)
        return {name: int(cycles) for name, cycles in zip(CAUSES, found, strict=False)}

    @property
    def shared_inputs(self) -> bool:
        """Whether f and g of each layer take the int8 inputs of i."""
        return self._image.shared_inputs

    def trace(self, on: bool) -> None:
        """Record every element that leaves a unit, for `take_events`."""
        self._library.tritforge_trace(self._handle, int(on))

    def waveform(self, path: Path | None) -> None:
        """Begin a waveform of all signals in an FST file, or without a path end it.

        Cycle n, as events count them, lasts from 10 n to 10 n + 10 ns; its clock edge is in the middle.
        """
        self._library.tritforge_waveform(self._handle, None if path is None else os.fsencode(path))

    def take_events(self) -> NDArray[Any]:
        """What was recorded since the last call, (n,) of `EVENT` in order.

        Lanes are numbered as `traced_units`, one stream's after the other's.
        """
        events = np.zeros(int(self._library.tritforge_event_count(self._handle)), EVENT)
        self._library.tritforge_take_events(self._handle, events.ctypes.data)
        return events

    def _tokens(
        self, prompt: NDArray[np.int64], max_new: int, settings: dict[str, Any], stop: frozenset[int]
    ) -> Iterator[int]:
        timing = self.timing = Timing(prompt_tokens=len(prompt) - 1)
        self.cycles = 0
        start = perf_counter()
        first = self._cycles()
        for group in self._positions(len(prompt) - 1):
            self._next = None
            self._settings(**settings, chain=len(group) if len(group) > 1 else 0)
            for stream, t in enumerate(group):
                self._push(int(prompt[t]), stream=stream)
            self._run(_WAITS)
        self.prompt_cycles = self._cycles() - first
        timing.prompt_seconds = perf_counter() - start
        self._next = int(prompt[-1])
        if max_new < 1:
            return
        first = self._cycles()
        while True:
            # A generation longer than the accelerator's counter is asked for in several parts.
            self._settings(**settings)
            self._push(self._next, logits=1, new_tokens=min(max_new - timing.generated_tokens, 0xFFFF))
            last = False
            try:
                while not last:
                    start = perf_counter()
                    self._run(_RESULT)
                    result = self._result()
                    last = bool(result.last)
                    seconds = perf_counter() - start
                    self.cycles = self._cycles() - first
                    self._next = int(result.token)
                    timing.passed(seconds)
                    self._generating = not last
                    if last:
                        self._library.tritforge_accept(self._handle)
                    yield self._next
                    if not last:
                        self._library.tritforge_accept(self._handle)
            finally:
                if self._generating and self._handle:
                    # The reader went away: the accelerator must not consume what it chose.
                    self._settings(**{**settings, "halt": 1})
                    self._library.tritforge_accept(self._handle)
                self._generating = False
            if self._next in stop or timing.generated_tokens >= max_new:
                return

    def _push(self, token: int, logits: int = 0, new_tokens: int = 0, stream: int = 0) -> None:
        values = {"token": token, "logits": logits, "new_tokens": new_tokens, "stream": stream}
        word = ctypes.c_uint64(TOKEN.const(values).as_value().value)
        self._library.tritforge_push(self._handle, ctypes.byref(word), 1)

    def _run(self, expected: int) -> None:
        stopped = self._library.tritforge_run(self._handle)
        if stopped == expected:
            return
        if stopped == _OUT_OF_RANGE:
            pending = int(self._library.tritforge_pending(self._handle))
            raise TritforgeError(
                f"the accelerator asked for {pending >> 32} weight beats from {pending & 0xFFFFFFFF};"
                f" the image has {len(self._memory)}"
            )
        raise TritforgeError(f"the accelerator has stopped: {self._who_waits()}")

    def _who_waits(self) -> str:
        status: Any = Const(STATUS, int(self._library.tritforge_status(self._handle)))
        names = {
            "waits_for_request": "the sequencer waits for the memory to take its request",
            "waits_for_beats": "the matrix unit waits for weight beats from the memory",
            "waits_for_vector_beats": "the vector unit waits for weight beats from the memory",
            "waits_for_raw": "the head waits for the host to take a raw logit",
            "waits_for_result": "the conductor waits for the host to take a result",
        }
        waits = [text for name, text in names.items() if getattr(status, name)]
        opcode = int(status.opcode)
        what = Opcode(opcode).name if opcode in list(Opcode) else f"opcode {opcode}"
        cause = CAUSES[int(status.cause)]
        return f"before {what}, for {cause}: {'; '.join(waits) or 'no unit says what it waits for'}"

    def _result(self) -> Any:
        return Const(RESULT, int(self._library.tritforge_result(self._handle)))

    def _cycles(self) -> int:
        return int(self._library.tritforge_cycles(self._handle))

    def _settings(self, **values: Any) -> None:
        layout = settings_layout(self.accelerator.streams)
        bits = layout.const(values).as_value().value
        packed = int(bits).to_bytes(-(-layout.size // 32) * 4, "little")
        self._library.tritforge_settings(self._handle, packed, len(packed))
