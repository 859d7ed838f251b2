"""MatMul-free language models on FPGAs: from checkpoint to bitstream, checked bit for bit.

The names in `__all__` are the public door. Each is loaded from its module when it is first used, so that
``import tritforge`` costs nothing and needs none of the tools.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Public name -> where it is defined.
_DOOR = {
    "AcceleratorConfig": "hdl.config.AcceleratorConfig",
    "Checkpoint": "models.checkpoint.Checkpoint",
    "FloatEngine": "models.software.FloatEngine",
    "GoldenEngine": "models.software.GoldenEngine",
    "Image": "models.image.Image",
    "RtlEngine": "sim.engine.RtlEngine",
    "State": "models.engine.State",
    "TritforgeError": "models.errors.TritforgeError",
    "build": "host.boardfolder.build",
    "compare": "sim.compare.compare",
    "compile": "hdl.compiler.compile_program",
    "load": "models.loading.load",
    "quantise": "models.quantise.quantise",
    "report": "models.image.size_report",
    "simulate": "sim.engine.simulate",
    "synthesise_counts": "sim.synthesis.synthesise_counts",
    "trace": "sim.trace.trace",
}

__all__ = ["__version__", *_DOOR]


def __getattr__(name: str) -> Any:
    if name not in _DOOR:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, defined = _DOOR[name].rpartition(".")
    return getattr(import_module(f"{__name__}.{module}"), defined)


def __dir__() -> list[str]:
    return sorted(__all__)
