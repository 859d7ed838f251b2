"""All benches that are written against `Driver`."""

from importlib import import_module

from .parts import Bench

__all__ = ["LIBRARY"]

_MODULES = (
    "activation", "conductor", "datapath", "dot", "epilogue", "head", "inputs", "lookup", "matmul", "measure",
    "mlgru", "quantiser", "rescale", "scalars", "sequencer", "streams", "sums", "tree", "vectors", "weights",
)

LIBRARY: dict[str, Bench] = {
    bench.name: bench
    for module in _MODULES
    for bench in import_module(f".{module}", __package__).BENCHES
}
"""Benches by name."""
