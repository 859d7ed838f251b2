"""Records the tensors that leave the accelerator's units, for a window of texts, and waveforms."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import compress
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
from .tensors import FORMATS, GoldenTensors, Key, Place, RtlTensors, steps, values

__all__ = ["SUFFIX", "Recording", "TraceEngine", "trace"]

TraceEngine = Literal["golden", "rtl", "both"]

SUFFIX = ".safetensors"
"""Ending of the names of safetensors files."""


@dataclass(frozen=True)
class Recording:
    """The tensors of a window of texts.

    Parameters
    ----------
    tensors
        Name -> tensor. Names are ``token.3/layer.0/h``, or ``token.3/layer.0/f.q`` of a BitLinear; outside of
        all layers ``token.3/head``. Of several texts, ``text.1/`` stands before; where both engines were
        recorded, ``golden/`` or ``rtl/``. Elements are int32 in the formats of `FORMATS`, a BitLinear's
        (`golden.STEPS`) and raw logits int32, energies int64, scales of logits float64.
    comparison
        RTL against golden, from the texts' start to the window's end; None where only one of them ran.
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
    *texts: ArrayLike,
    engine: TraceEngine = "both",
    accelerator: AcceleratorConfig | None = None,
    window: range | None = None,
    layers: range | None = None,
    waveform: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Recording:
    """Run texts from zero state, and record every tensor that leaves a unit.

    With both engines they run on to the window's end even if they differ. Several texts, of any lengths, run
    at once on a stream of the accelerator each; of one text as many tokens run together as it has streams.

    Parameters
    ----------
    model
        The model.
    texts
        (T,) tokens each.
    engine
        ``golden``, ``rtl``, or ``both`` to record and compare them.
    accelerator
        The accelerator of ``rtl`` and ``both``, by default the smallest preset that holds the model.
    window
        Tokens of each text to record, counted from 0; by default all. None behind its last one is run.
    layers
        Layers to record, by default all; what is outside of all layers is recorded in any case.
    waveform
        FST file for a waveform of all signals of the accelerator during `window`, and during tokens that run
        together with its first; see `RtlEngine.waveform`.
    progress
        Called with the tokens done and in all.

    Raises
    ------
    TritforgeError
        If a window lies outside of all texts or of the model, a waveform of golden is asked for, the model
        does not fit, there are more texts than streams, or there is no C++ compiler.
    """
    if engine not in get_args(TraceEngine):
        raise TritforgeError(f"engine must be one of {', '.join(get_args(TraceEngine))}, not {engine!r}")
    if engine == "golden" and waveform is not None:
        raise TritforgeError("a waveform is made of the simulated accelerator: choose the engine rtl or both")
    ids = [checked_tokens(tokens, model.config.vocab_size) for tokens in texts]
    if not ids or not all(each.size for each in ids):
        raise TritforgeError("the text is empty: there is nothing to record")
    longest = "the text" if len(ids) == 1 else "the longest text"
    window = _window("token", window, max(map(len, ids)), longest)
    layers = _window("layer", layers, model.config.num_hidden_layers, "the model")
    ids = [each[: window.stop] for each in ids]

    lists = [each.tolist() for each in ids]
    about = {
        "model": model.name,
        "engine": engine,
        "tokens": json.dumps(lists if len(lists) > 1 else lists[0]),
        "fraction_bits": json.dumps({unit: form.fraction for unit, form in FORMATS.items()}),
    }
    rtl = comparer = None
    if engine == "golden":
        todo = list(steps(ids, len(ids)))
        step = _golden(GoldenTensors(model.integers))
    else:
        config = accelerator or AcceleratorConfig.smallest_fit(model.config)
        about["accelerator"] = config.name
        todo = list(steps(ids, config.streams))
        image = model.image(config.layout)
        rtl = RtlEngine(image, config, waveforms=waveform is not None)
        if engine == "both":
            comparer = Comparer(image, rtl)
            step = _both(comparer)
        else:
            step = _rtl(RtlTensors(rtl))

    tensors: dict[str, NDArray[Any]] = {}
    done, count, shown = 0, sum(map(len, ids)), False
    with replacing(waveform) if waveform else nullcontext() as file:
        for places in todo:
            wanted = [place.position in window for place in places]
            if rtl and file and any(wanted) and not shown:
                rtl.waveform(Path(file.name))
                shown = True
            for name, left in step(places).items():
                prefix = f"{name}/" if engine == "both" else ""
                for place, of in compress(zip(places, left, strict=True), wanted):
                    text = f"text.{place.text}/" if len(ids) > 1 else ""
                    tensors |= {
                        f"{prefix}{text}token.{place.position}/{_name(key)}": _stored(key, values)
                        for key, values in of.items()
                        if key[0] is None or key[0] in layers
                    }
            done += len(places)
            if progress:
                progress(done, count)
        if rtl and file:
            rtl.waveform(None)
    return Recording(tensors, comparer.result if comparer else None, about)


_Step = Callable[[Sequence[Place]], dict[str, Sequence[dict[Key, NDArray[Any]]]]]
"""Consumes tokens that pass together; returns what left the units of each engine, token by token."""


def _golden(source: GoldenTensors) -> _Step:
    return lambda places: {"golden": [source.step(place) for place in places]}


def _rtl(source: RtlTensors) -> _Step:
    return lambda places: {"rtl": [values(*each) for each in source.step(places)]}


def _both(comparer: Comparer) -> _Step:
    return lambda places: dict(zip(("golden", "rtl"), zip(*comparer.step(places), strict=True), strict=True))


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


def _stored(key: Key, tensor: NDArray[Any]) -> NDArray[Any]:
    kept = np.float64 if tensor.dtype == np.float64 else np.int64 if key[1].endswith(".energy") else np.int32
    return np.array(tensor, kept)
