"""Random checkpoints of any size, written as a stream: for tests, benchmarks and size studies."""

import json
import struct
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from .checkpoint import CONFIG, INDEX, WEIGHTS, tensor_shapes
from .config import ModelConfig
from .errors import TritforgeError
from .files import replacing

__all__ = ["DType", "synthesise"]

DType = Literal["float32", "float16", "bfloat16"]


def synthesise(
    config: ModelConfig,
    directory: Path | str,
    seed: int = 0,
    dtype: DType = "bfloat16",
    shard_bytes: int = 5 * 10**9,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a random checkpoint in upstream's layout.

    Every part of the model matters at any size: matrices are normal with a deviation of 1 / sqrt(inputs),
    close to upstream's initial 0.02 at 2.7B, so a third of the trits is 0 and gates are neither open nor
    shut; as upstream's start, those that write to the residual stream are narrower by sqrt(2 layers). Norm
    weights are uniform from 0.5 to 1.5, lower bounds normal, embeddings normal and half as wide.

    Parameters
    ----------
    config : ModelConfig
        Any size.
    directory : Path or str
        Made if need be; must not hold a checkpoint yet.
    seed : int
        0 or above; the same seed gives the same numbers, however they are sharded.
    dtype : {"bfloat16", "float16", "float32"}
        Format in which numbers are stored.
    shard_bytes : int
        A file's tensors take no more than this, unless it holds one tensor only. Memory in use depends on the
        largest tensor alone.
    progress : callable, optional
        Called with the bytes written so far and in all.

    Raises
    ------
    TritforgeError
        If the directory holds a checkpoint, or an argument is out of range.
    """
    if dtype not in get_args(DType):
        raise TritforgeError(f"dtype must be one of {', '.join(get_args(DType))}, not {dtype!r}")
    if seed < 0:
        raise TritforgeError(f"seed must not be negative, but is {seed}")
    directory = Path(directory)
    if any((directory / name).exists() for name in (CONFIG, WEIGHTS, INDEX)):
        raise TritforgeError(f"{directory} already holds a checkpoint; choose another directory")
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TritforgeError(f"{directory} cannot be made: {error.strerror}") from None

    shapes = tensor_shapes(config)
    kind, item = {"float32": ("F32", 4), "float16": ("F16", 2), "bfloat16": ("BF16", 2)}[dtype]
    sizes = {name: item * prod(shape) for name, shape in shapes.items()}
    total = sum(sizes.values())
    shards = _shards(sizes, shard_bytes)
    files = [WEIGHTS]
    if len(shards) > 1:
        files = [f"model-{number:05}-of-{len(shards):05}.safetensors" for number in range(1, len(shards) + 1)]
    seeds = dict(zip(shapes, np.random.SeedSequence(seed).spawn(len(shapes)), strict=True))
    done = 0
    for file, names in zip(files, shards, strict=True):
        with replacing(directory / file) as stream:
            stream.write(_header(names, shapes, sizes, kind))
            for name in names:
                values = _draw(name, shapes[name], config, np.random.default_rng(seeds[name]))
                stream.write(_stored(values, dtype))
                done += sizes[name]
                if progress is not None:
                    progress(done, total)
    if len(shards) > 1:
        weight_map = {name: file for file, names in zip(files, shards, strict=True) for name in names}
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        with replacing(directory / INDEX) as stream:
            stream.write(_json(index))
    # Last, so that an interrupted run leaves no directory that looks like a checkpoint.
    with replacing(directory / CONFIG) as stream:
        stream.write(_json({**config.to_dict(), "torch_dtype": dtype}))


def _header(names: list[str], shapes: dict[str, tuple[int, ...]], sizes: dict[str, int], kind: str) -> bytes:
    """Return the head of a safetensors file that holds these tensors one after another.

    The library's writers want all tensors of a file in memory; the format is a length and a JSON object.
    """
    fields: dict[str, object] = {"__metadata__": {"format": "pt"}}
    start = 0
    for name in names:
        end = start + sizes[name]
        fields[name] = {"dtype": kind, "shape": shapes[name], "data_offsets": [start, end]}
        start = end
    text = json.dumps(fields).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def _shards(sizes: dict[str, int], limit: int) -> list[list[str]]:
    """Group tensors in their order into files of at most `limit` bytes, or of one tensor."""
    shards: list[list[str]] = [[]]
    filled = 0
    for name, size in sizes.items():
        if shards[-1] and filled + size > limit:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += size
    return shards


def _draw(
    name: str, shape: tuple[int, ...], config: ModelConfig, random: np.random.Generator
) -> NDArray[np.float32]:
    """Draw a tensor's numbers by its kind."""
    if name.endswith("norm.weight"):
        return random.random(shape, np.float32) + np.float32(0.5)
    values = random.standard_normal(shape, np.float32)
    if name == "model.embeddings.weight":
        values *= np.float32(0.5)
    elif name != "model.lower_bounds":
        values /= np.sqrt(np.float32(shape[-1]))
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            values /= np.sqrt(np.float32(2 * config.num_hidden_layers))
    return values


def _stored(values: NDArray[np.float32], dtype: DType) -> bytes:
    """Return the numbers in `dtype`, rounded to nearest, ties to even, little-endian."""
    if dtype == "bfloat16":
        bits = values.view(np.uint32)
        bits += np.uint32(0x7FFF) + ((bits >> 16) & 1)  # finite and far from the largest: no overflow
        return (bits >> 16).astype("<u2").tobytes()
    return values.astype("<f4" if dtype == "float32" else "<f2").tobytes()


def _json(value: object) -> bytes:
    return json.dumps(value, indent=2, sort_keys=True).encode() + b"\n"
