"""How fast the whole accelerator is simulated, compiled with a loop in C++ and driven from cocotb."""

from __future__ import annotations

import json
import os
import tempfile
import time
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

from ..hdl.config import AcceleratorConfig
from ..models.config import ModelConfig
from ..models.errors import TritforgeError
from ..models.image import Image
from ..models.loading import load
from ..models.quantise import trit_count
from ..models.synthesis import synthesise
from .bench import run_bench
from .engine import RtlEngine

__all__ = ["CLOCKED", "SimulationSpeed", "Task", "benchmark_task", "simulation_speed"]

CLOCKED = "TRITFORGE_CLOCKED"
"""Environment variable that tells the cocotb bench the accelerator, a slash, and the file for its result."""

_ROUNDS = 5


@dataclass(frozen=True)
class Task:
    """A token of a random model that fills the lanes of an accelerator.

    Parameters
    ----------
    config
        The accelerator.
    image
        The model, laid out for it.
    token
        The token.
    """

    config: AcceleratorConfig
    image: Image
    token: int = 1


@dataclass(frozen=True)
class SimulationSpeed:
    """What the simulation of one token took, in seconds of one core's time (measured).

    Parameters
    ----------
    accelerator, lanes
        The accelerator; ternary weights of a matrix beat.
    macs
        Weights that the token multiplies, padding not counted.
    cycles
        Clock cycles that it takes, the same in both.
    compiled_seconds
        In `RtlEngine`: the shortest of several runs.
    clocked_seconds
        The same design driven clock by clock from cocotb; None where that was not asked for.
    """

    accelerator: str
    lanes: int
    macs: int
    cycles: int
    compiled_seconds: float
    clocked_seconds: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, MACs and cycles a second, and how many times faster compiled is."""
        seconds = {"compiled": self.compiled_seconds, "clocked": self.clocked_seconds}
        rates = {
            f"{name}_{what}_per_second": number / taken if taken else None
            for name, taken in seconds.items()
            for what, number in (("macs", self.macs), ("cycles", self.cycles))
        }
        ratio = self.clocked_seconds / self.compiled_seconds if self.clocked_seconds else None
        return {**asdict(self), **rates, "ratio": ratio}


@lru_cache
def benchmark_task(accelerator: str) -> Task:
    """Return a preset, and a model of one layer whose hidden size is two times its lanes."""
    config = AcceleratorConfig.load(accelerator)
    lanes = config.layout.lanes
    model = ModelConfig(
        hidden_size=2 * lanes, num_hidden_layers=1, vocab_size=256, intermediate_size=5 * lanes
    )
    with tempfile.TemporaryDirectory() as folder:
        synthesise(model, folder)
        return Task(config, load(folder).image(config.layout))


def simulation_speed(accelerator: str = "large", *, clocked: bool = True) -> SimulationSpeed:
    """Simulate one token, compiled and driven from cocotb.

    Parameters
    ----------
    accelerator
        A preset.
    clocked
        Whether to run cocotb, too: with `large` it takes a minute, and many to be compiled, once.

    Raises
    ------
    TritforgeError
        If there is no C++ compiler, a tool stops with an error, or the two do not agree.
    """
    task = benchmark_task(accelerator)
    engine = RtlEngine(task.image, task.config)
    best = float("inf")
    for _ in range(_ROUNDS):
        engine.reset()
        started = time.process_time()
        (chosen,) = engine.generate([task.token], 1)
        best = min(best, time.process_time() - started)
    ours = {"cycles": engine.cycles, "token": chosen}
    theirs = _clocked(accelerator) if clocked else None
    if theirs and {name: theirs[name] for name in ours} != ours:
        raise TritforgeError(f"driven from cocotb the accelerator does otherwise: {theirs}, compiled {ours}")
    return SimulationSpeed(
        accelerator=task.config.name,
        lanes=task.config.layout.lanes,
        macs=trit_count(task.image.config),
        cycles=engine.cycles,
        compiled_seconds=best,
        clocked_seconds=theirs["seconds"] if theirs else None,
    )


def _clocked(accelerator: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "clocked.json"
        with patch.dict(os.environ, {CLOCKED: f"{accelerator}/{file}"}):
            failures = [cause for cause in run_bench("clocked").values() if cause]
        if failures:
            raise TritforgeError(f"the accelerator can't be driven from cocotb: {failures[0]}")
        found: dict[str, Any] = json.loads(file.read_text())
        return found
