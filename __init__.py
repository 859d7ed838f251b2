"""MatMul-free language models on FPGAs: from checkpoint to bitstream, checked bit for bit.

The names in `__all__` are the public door. Each is loaded from its module when it is first used, so that
``import tritforge`` costs nothing and needs none of the tools.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Public name -> the module that defines it.
_DOOR = {
    "AcceleratorConfig": "hdl.config",
    "Checkpoint": "models.checkpoint",
    "FloatEngine": "models.software",
    "GoldenEngine": "models.software",
    "Image": "models.image",
    "RtlEngine": "sim.engine",
    "State": "models.engine",
    "TritforgeError": "models.errors",
    "compare": "sim.compare",
    "compile_program": "hdl.compiler",
    "load": "models.loading",
    "quantise": "models.quantise",
    "synthesise_counts": "sim.synthesis",
}

__all__ = ["__version__", *_DOOR]


def __getattr__(name: str) -> Any:
    if name not in _DOOR:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_DOOR[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
