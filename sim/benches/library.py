"""All benches that are written against `Driver`."""

from . import activation, conductor, dot, epilogue, head, matmul, mlgru, quantiser, rescale, scalars, streams
from .parts import Bench

__all__ = ["LIBRARY"]

LIBRARY: dict[str, Bench] = {
    bench.name: bench
    for module in (
        activation,
        conductor,
        dot,
        epilogue,
        head,
        matmul,
        mlgru,
        quantiser,
        rescale,
        scalars,
        streams,
    )
    for bench in module.BENCHES
}
"""Benches by name."""
