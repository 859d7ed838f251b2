"""The accelerator of the simulation benchmark, driven clock by clock from cocotb.

Plays what `sim/runner.cpp` plays in C++, a memory with one port and a host, in as little Python as can be:
what is measured is what driving from Python costs. `sim/simspeed.py` starts it, and says where the result
goes.
"""

import json
import os
import time
from collections import deque
from pathlib import Path
from typing import Any

import cocotb
from amaranth.lib.data import Const

from ...hdl.accelerator import Accelerator
from ...hdl.compiler import compile_program
from ...hdl.conductor import RESULT, TOKEN
from ..simspeed import CLOCKED, Task, benchmark_task
from .clocking import begin, next_cycle, settled

__all__ = ["design"]

_INPUTS = (
    "request__ready",
    "beats__valid",
    "beats__payload",
    "vector_request__ready",
    "vector_beats__valid",
    "vector_beats__payload",
    "program_write",
    "tokens__valid",
    "results__ready",
    "raw__ready",
    "set_position",
    "state_write",
    "settings",
)
_QUEUED = 4
"""Requests that the memory takes before it has served one."""


def design() -> Accelerator:
    """The accelerator."""
    return Accelerator(benchmark_task(_asked()[0]).config)


def _asked() -> tuple[str, Path]:
    """Return the accelerator, and the file for the result."""
    accelerator, _, file = os.environ[CLOCKED].partition("/")
    return accelerator, Path(file)


class _Channel:
    """A read channel of the memory."""

    def __init__(self, dut: Any, prefix: str, memory: list[int]) -> None:
        self._memory = memory
        self._runs: deque[range] = deque()
        self.valid, self.ready, self.payload = (
            getattr(dut, f"{prefix}beats__{name}") for name in ("valid", "ready", "payload")
        )
        self._request = [getattr(dut, f"{prefix}request__{name}") for name in ("valid", "ready", "payload")]

    @property
    def waiting(self) -> bool:
        """Whether a beat is there."""
        return bool(self._runs)

    def offer(self, beat: bool) -> None:
        self._request[1].value = len(self._runs) < _QUEUED
        self.valid.value = beat
        if beat:
            self.payload.value = self._memory[self._runs[0].start]

    def take(self) -> None:
        if self.valid.value and self.ready.value:
            rest = self._runs[0][1:]
            if rest:
                self._runs[0] = rest
            else:
                self._runs.popleft()
        valid, ready, payload = self._request
        if valid.value and ready.value:
            asked = int(payload.value)
            address, count = asked & 0xFFFFFFFF, asked >> 32
            self._runs.append(range(address, address + count))


@cocotb.test()
async def a_token(dut: Any) -> None:
    """One token, from zero state to the one that is chosen."""
    accelerator, file = _asked()
    task = benchmark_task(accelerator)
    await begin(dut, _INPUTS)
    await _load(dut, task)
    memory = [int.from_bytes(beat.tobytes(), "little") for beat in task.image.memory]
    matrix, vectors = _Channel(dut, "", memory), _Channel(dut, "vector_", memory)
    started = time.process_time()
    await next_cycle(dut)
    dut.tokens__payload.value = TOKEN.const({"token": task.token, "logits": 1}).as_value().value
    dut.tokens__valid.value = 1
    while True:
        # As far as one port goes round: vectors first.
        vector = vectors.waiting
        matrix.offer(matrix.waiting and not (vector and vectors.ready.value))
        vectors.offer(vector)
        await settled()
        matrix.take()
        vectors.take()
        taken = dut.tokens__valid.value and dut.tokens__ready.value
        chosen = int(dut.results__payload.value) if dut.results__valid.value else None
        await next_cycle(dut)
        if chosen is not None:
            break
        if taken:
            dut.tokens__valid.value = 0
    result: Any = Const(RESULT, chosen)
    found = {
        "cycles": int(dut.cycles.value),
        "seconds": time.process_time() - started,
        "token": int(result.token),
    }
    file.write_text(json.dumps(found))


async def _load(dut: Any, task: Task) -> None:
    """Write the program."""
    for address, word in enumerate(compile_program(task.image.config, task.config).words()):
        await next_cycle(dut)
        dut.program_write.value = 1
        dut.program_address.value = address
        dut.program_word.value = word
    await next_cycle(dut)
    dut.program_write.value = 0
