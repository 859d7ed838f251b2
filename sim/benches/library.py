"""All benches that are written against `Driver`."""

from . import (
    activation,
    conductor,
    dot,
    epilogue,
    head,
    inputs,
    matmul,
    measure,
    mlgru,
    quantiser,
    rescale,
    scalars,
    streams,
    weights,
)
from .parts import Bench

__all__ = ["LIBRARY"]

_MODULES = (
    activation,
    conductor,
    dot,
    epilogue,
    head,
    inputs,
    matmul,
    measure,
    mlgru,
    quantiser,
    rescale,
    scalars,
    streams,
    weights,
)

LIBRARY: dict[str, Bench] = {bench.name: bench for module in _MODULES for bench in module.BENCHES}
"""Benches by name."""
