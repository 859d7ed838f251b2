"""All benches that are written against `Driver`."""

from importlib import import_module

from .parts import Bench

__all__ = ["LIBRARY"]

_MODULES = (
    "activation", "conductor", "datapath", "dot", "epilogue", "gatherer", "head", "inputs", "lookup",
    "matmul", "measure", "mlgru", "quantiser", "rescale", "scalars", "sequencer", "streams", "sums", "tree",
    "vectors", "weights", "wide_measure",
)  # fmt: skip

LIBRARY: dict[str, Bench] = {
    bench.name: bench for module in _MODULES for bench in import_module(f".{module}", __package__).BENCHES
}
"""Benches by name."""
