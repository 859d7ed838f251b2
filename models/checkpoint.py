"""Checkpoints in upstream's layout: config.json beside one safetensors file, or beside shards with an index.

Names, shapes and number formats are checked when a checkpoint is opened; the numbers are read, and checked to
be finite, one tensor at a time through a memory map, so a model of any size needs the memory of its
largest tensor.  The safetensors library validates the files; as it gives numpy no bfloat16, the bytes
are mapped here.
"""

import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from .config import ModelConfig, read_json
from .errors import TritforgeError

__all__ = ["Checkpoint", "tensor_shapes", "ternarise"]

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"

_CONVERSION = (
    "import torch, glob; from safetensors.torch import save_file;"
    ' save_file({k: v.contiguous() for file in glob.glob("pytorch_model*.bin")'
    ' for k, v in torch.load(file, map_location="cpu", weights_only=True).items()}, "model.safetensors")'
)

_ITEM_BYTES = {"F32": 4, "F16": 2, "BF16": 2}


def tensor_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Return the name and shape of every tensor of a model, in the order in which a token meets them.

    Names are those of upstream's state dict; matrices are (outputs, inputs), and ``gate_proj`` holds the rows
    of gate above those of up.
    """
    d, width, layers, vocabulary = (
        config.hidden_size,
        config.intermediate_size,
        config.num_hidden_layers,
        config.vocab_size,
    )

    def bit_linear(name: str, outputs: int, inputs: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield f"{name}.norm.weight", (inputs,)
        yield f"{name}.weight", (outputs, inputs)

    shapes: dict[str, tuple[int, ...]] = {"model.embeddings.weight": (vocabulary, d)}
    if config.use_lower_bound:
        shapes["model.lower_bounds"] = (layers, d)
    for layer in range(layers):
        block = f"model.layers.{layer}"
        shapes[f"{block}.attn_norm.weight"] = (d,)
        for name in ("i_proj", "f_proj", "g_proj"):
            shapes.update(bit_linear(f"{block}.attn.{name}", d, d))
        shapes[f"{block}.attn.g_norm.weight"] = (d,)
        shapes.update(bit_linear(f"{block}.attn.o_proj", d, d))
        shapes[f"{block}.mlp_norm.weight"] = (d,)
        shapes.update(bit_linear(f"{block}.mlp.gate_proj", 2 * width, d))
        shapes.update(bit_linear(f"{block}.mlp.down_proj", d, width))
    shapes["model.norm.weight"] = (d,)
    shapes.update(bit_linear("lm_head", vocabulary, d))
    return shapes


def ternarise(weights: NDArray[np.float32]) -> tuple[NDArray[np.int8], float]:
    """Round a BitLinear's weights to -1, 0 and +1 (paper, equation 4; upstream's ``weight_quant``).

    Parameters
    ----------
    weights : ndarray of float32
        Any shape, finite.

    Returns
    -------
    trits : ndarray of int8
        round_half_even(W / m), clamped to -1..1, in the shape of `weights`.
    scale : float
        m = max(mean|W|, 1e-5), a float32 number: W is about ``scale * trits``.

    Notes
    -----
    The mean is summed in float64 and rounded to float32 once. torch sums in float32 in its own order, so its
    mean may differ in the last bits, and with it the trit of a weight that lies within about 1e-6 of the
    boundary m / 2. As upstream does, weights are multiplied by float32's 1 / m, not divided by m.
    """
    scale = np.maximum(np.float32(np.abs(weights).mean(dtype=np.float64)), np.float32(1e-5))
    trits = np.clip(np.rint(weights * (np.float32(1) / scale)), -1, 1)
    return trits.astype(np.int8), float(scale)


@dataclass(frozen=True)
class _Stored:
    """Where a tensor's numbers are."""

    path: Path
    offset: int  # bytes from the start of the file
    dtype: str  # as safetensors names it
    shape: tuple[int, ...]


class Checkpoint:
    """A checkpoint directory, opened and checked; tensors are read when asked for.

    Parameters
    ----------
    directory : Path or str
        Holds config.json and model.safetensors, or shards with model.safetensors.index.json.

    Attributes
    ----------
    directory : Path
        The directory.
    config : ModelConfig
        What the model computes.
    names : tuple of str
        The tensors, in the order of :func:`tensor_shapes`.

    Raises
    ------
    TritforgeError
        If a file is absent or damaged, or a tensor is missing, left over, of a wrong shape or number format.
    """

    def __init__(self, directory: Path | str) -> None:
        self.directory = Path(directory)
        if not self.directory.is_dir():
            raise TritforgeError(
                f"{self.directory} is not a directory; a checkpoint is one that holds {CONFIG}"
            )
        if not (self.directory / CONFIG).is_file():
            raise TritforgeError(f"{self.directory} holds no {CONFIG}, so it is not a checkpoint")
        self.config = ModelConfig.load(self.directory / CONFIG)
        self._shapes = tensor_shapes(self.config)
        self._stored = self._find()
        self._check()

    @property
    def names(self) -> tuple[str, ...]:  # noqa: D102 (an attribute)
        return tuple(self._shapes)

    def tensor(self, name: str) -> NDArray[np.float32]:
        """Read one tensor.

        Parameters
        ----------
        name : str
            One of :attr:`names`.

        Returns
        -------
        ndarray of float32
            Read-only and backed by the file if that holds float32, else an exact copy of float16 or bfloat16.

        Raises
        ------
        TritforgeError
            If the tensor holds an infinity or a NaN.
        """
        stored = self._stored[name]
        kind = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}[stored.dtype]
        raw = np.asarray(np.memmap(stored.path, kind, "r", stored.offset, stored.shape))
        if stored.dtype == "BF16":  # the upper half of a float32
            values = (raw.astype(np.uint32) << 16).view(np.float32)
        else:
            values = raw.astype(np.float32, copy=False)
        finite = np.isfinite(values)
        if not finite.all():
            place = [int(axis) for axis in np.unravel_index(finite.argmin(), finite.shape)]
            raise TritforgeError(f"{stored.path}: tensor {name} is not finite at {place}")
        return values

    def _find(self) -> dict[str, _Stored]:
        """Locate every tensor of every weight file."""
        if (self.directory / WEIGHTS).exists():
            return _tensors(self.directory / WEIGHTS)
        index = self.directory / INDEX
        if not index.exists():
            if list(self.directory.glob("pytorch_model*.bin")):
                raise TritforgeError(
                    f"{self.directory} holds pytorch_model.bin, which is not read; convert it there with"
                    f" python -c '{_CONVERSION}'"
                )
            raise TritforgeError(f"{self.directory} holds neither {WEIGHTS} nor {INDEX}")
        weight_map = read_json(index).get("weight_map")
        if not isinstance(weight_map, dict) or not all(isinstance(file, str) for file in weight_map.values()):
            raise TritforgeError(f"{index} must map tensor names to file names under weight_map")
        found: dict[str, _Stored] = {}
        for file in sorted(set(weight_map.values())):
            if file in ("", ".", "..") or any(sign in file for sign in "/\\:\0"):
                raise TritforgeError(f"{index} names the shard {file!r}, which is not a plain file name")
            if not (self.directory / file).exists():
                raise TritforgeError(f"{index} names the shard {file}, which is not in {self.directory}")
            for name, stored in _tensors(self.directory / file).items():
                if weight_map.get(name) != file:
                    raise TritforgeError(
                        f"{self.directory / file} holds tensor {name}, which {INDEX} does not put there"
                    )
                found[name] = stored
        absent = [name for name in weight_map if name not in found]
        if absent:
            raise TritforgeError(f"{self.directory / weight_map[absent[0]]} lacks {_listed(absent)}")
        return found

    def _check(self) -> None:
        """Compare what is stored with what the configuration asks for."""
        where = self.directory
        missing = [name for name in self._shapes if name not in self._stored]
        left_over = [name for name in self._stored if name not in self._shapes]
        if missing:
            raise TritforgeError(f"{where} lacks {_listed(missing)}")
        if left_over == ["model.lower_bounds"]:
            warnings.warn(
                f"{where}: use_lower_bound is false, so model.lower_bounds is not used", stacklevel=3
            )
        elif left_over:
            raise TritforgeError(f"{where} holds {_listed(left_over)}, which this model does not have")
        for name, shape in self._shapes.items():
            stored = self._stored[name]
            if stored.shape != shape:
                raise TritforgeError(
                    f"{stored.path}: tensor {name} has shape {list(stored.shape)};"
                    f" by {CONFIG} it must be {list(shape)}"
                )


def _listed(names: list[str]) -> str:
    """Return a phrase that names a tensor and counts the others."""
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"tensor {names[0]}{more}"


def _tensors(path: Path) -> dict[str, _Stored]:
    """Locate the tensors of a safetensors file, validated by the library."""
    try:
        with path.open("rb") as file:
            (header_bytes,) = struct.unpack("<Q", file.read(8))
        with safe_open(path, "np") as tensors:
            # A valid file has neither gaps nor overlaps: sizes in the order of the offsets add up to them.
            found = {}
            offset = 8 + header_bytes
            for name in tensors.offset_keys():
                view = tensors.get_slice(name)
                dtype, shape = view.get_dtype(), tuple(view.get_shape())
                if dtype not in _ITEM_BYTES:
                    raise TritforgeError(
                        f"{path}: tensor {name} is {dtype}; only F32, F16 and BF16 can be read"
                    )
                found[name] = _Stored(path, offset, dtype, shape)
                offset += _ITEM_BYTES[dtype] * prod(shape)
            return found
    except (OSError, SafetensorError, struct.error) as error:
        raise TritforgeError(f"{path} is not a sound safetensors file: {error}") from None
