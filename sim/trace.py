"""Records the tensors that leave the accelerator's units, for a window of a text, and waveforms."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from safetensors.numpy import save

from ..hdl.config import AcceleratorConfig
from ..models.engine import checked_tokens
from ..models.errors import TritforgeError
from ..models.files import replacing
from ..models.loading import Model
from .compare import Comparer, Comparison
from .engine import RtlEngine
from .tensors import FORMATS, GoldenTensors, Key, RtlTensors, values

__all__ = ["SUFFIX", "Recording", "TraceEngine", "trace"]

TraceEngine = Literal["golden", "rtl", "both"]

SUFFIX = ".safetensors"
"""Ending of the names of safetensors files."""


@dataclass(frozen=True)
class Recording:
    """The tensors of a window of a text.

    Parameters
    ----------
    tensors
        Name -> tensor. Names are ``token.3/layer.0/h``, outside of all layers ``token.3/head``; where both
        engines were recorded, ``golden/`` or ``rtl/`` stands before. Elements are int32 in the formats of
        `FORMATS`, raw logits int32, scales float64.
    comparison
        RTL against golden, from the text's start to the window's end; None where only one of them ran.
    about
        What was recorded: texts by name, written along with the tensors.
    """

    tensors: Mapping[str, NDArray[Any]]
    comparison: Comparison | None
    about: Mapping[str, str]

    def to_bytes(self) -> bytes:
        """Return the content of a safetensors file."""
        return save(dict(self.tensors), dict(self.about))

    def save(self, path: Path) -> None:
        """Write a safetensors file, which is complete or not there.

        Raises
        ------
        TritforgeError
            If the file cannot be written.
        """
        with replacing(path) as stream:
            stream.write(self.to_bytes())


def trace(
    model: Model,
    tokens: ArrayLike,
    *,
    engine: TraceEngine = "both",
    accelerator: AcceleratorConfig | None = None,
    window: range | None = None,
    layers: range | None = None,
    waveform: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Recording:
    """Run a text from zero state, and record every tensor that leaves a unit.

    With both engines the text runs on to the window's end even if they differ.

    Parameters
    ----------
    model
        The model.
    tokens
        (T,) the text.
    engine
        ``golden``, ``rtl``, or ``both`` to record and compare them.
    accelerator
        The accelerator of ``rtl`` and ``both``, by default the smallest preset that holds the model.
    window
        Tokens to record, counted from 0; by default all. None behind its last one is run.
    layers
        Layers to record, by default all; what is outside of all layers is recorded in any case.
    waveform
        FST file for a waveform of all signals of the accelerator during `window`; see `RtlEngine.waveform`.
    progress
        Called with the tokens done and in all.

    Raises
    ------
    TritforgeError
        If a window lies outside of the text or the model, a waveform of golden is asked for, the model does
        not fit, or there is no C++ compiler.
    """
    if engine not in get_args(TraceEngine):
        raise TritforgeError(f"engine must be one of {', '.join(get_args(TraceEngine))}, not {engine!r}")
    if engine == "golden" and waveform is not None:
        raise TritforgeError("a waveform is made of the simulated accelerator: choose the engine rtl or both")
    ids = checked_tokens(tokens, model.config.vocab_size)
    if not ids.size:
        raise TritforgeError("the text is empty: there is nothing to record")
    window = _window("token", window, len(ids), "the text")
    layers = _window("layer", layers, model.config.num_hidden_layers, "the model")

    about = {
        "model": model.name,
        "engine": engine,
        "tokens": json.dumps(ids[: window.stop].tolist()),
        "fraction_bits": json.dumps({unit: form.fraction for unit, form in FORMATS.items()}),
    }
    rtl = comparer = None
    if engine == "golden":
        step = _golden(GoldenTensors(model.integers))
    else:
        config = accelerator or AcceleratorConfig.smallest_fit(model.config)
        about["accelerator"] = config.name
        image = model.image(config.layout)
        rtl = RtlEngine(image, config, waveforms=waveform is not None)
        if engine == "both":
            comparer = Comparer(image, rtl)
            step = _both(comparer)
        else:
            step = _rtl(RtlTensors(rtl))

    tensors: dict[str, NDArray[Any]] = {}
    with replacing(waveform) if waveform else nullcontext() as file:
        for t, token in enumerate(ids[: window.stop]):
            if rtl and file and t == window.start:
                rtl.waveform(Path(file.name))
            for name, left in step(int(token)).items():
                if t in window:
                    prefix = f"{name}/" if engine == "both" else ""
                    tensors |= {
                        f"{prefix}token.{t}/{_name(key)}": _stored(values)
                        for key, values in left.items()
                        if key[0] is None or key[0] in layers
                    }
            if progress:
                progress(t + 1, window.stop)
        if rtl and file:
            rtl.waveform(None)
    return Recording(tensors, comparer.result if comparer else None, about)


_Step = Callable[[int], dict[str, dict[Key, NDArray[Any]]]]
"""Consumes a token; returns what left the units of each engine."""


def _golden(source: GoldenTensors) -> _Step:
    return lambda token: {"golden": source.step(token)}


def _rtl(source: RtlTensors) -> _Step:
    return lambda token: {"rtl": values(*source.step(token))}


def _both(comparer: Comparer) -> _Step:
    return lambda token: dict(zip(("golden", "rtl"), comparer.step(token), strict=True))


def _window(what: str, chosen: range | None, size: int, whole: str) -> range:
    """Return the numbers to record, all without a choice; refuse those that do not exist."""
    if chosen is None:
        return range(size)
    if chosen.step != 1 or not chosen:
        raise TritforgeError(f"the {what}s to record must be consecutive and at least one, not {chosen}")
    if chosen.start < 0 or chosen.stop > size:
        missing = chosen.start if not 0 <= chosen.start < size else chosen.stop - 1
        raise TritforgeError(f"{what} {missing} is outside of {whole}, whose {what}s are 0 to {size - 1}")
    return chosen


def _name(key: Key) -> str:
    layer, unit = key
    return unit if layer is None else f"layer.{layer}/{unit}"


def _stored(tensor: NDArray[Any]) -> NDArray[Any]:
    return np.array(tensor, np.float64 if tensor.dtype == np.float64 else np.int32)
