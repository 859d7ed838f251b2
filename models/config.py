"""The model's configuration, read from and written as upstream's config.json (HGRNBitForCausalLM).

Every field of config.json falls into one of three groups: fields that decide what the model computes are
honoured; fields that could change the logits in a way not computed here are refused by name; fields that only
concern training, loading or caching are accepted and dropped.  A field in none of the groups is warned about.
"""

import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from .errors import TritforgeError

__all__ = ["MAX_WIDTH", "PRESETS", "ModelConfig", "preset", "read_json"]

MODEL_TYPE = "hgrn_bit"
ARCHITECTURE = "HGRNBitForCausalLM"

MAX_WIDTH = 2**17 - 1
"""Largest hidden and intermediate size: 128 * MAX_WIDTH < 2**24, so float32 holds all sums exactly."""

# Bounds that no real model approaches; they keep a damaged file from asking for endless work.
_MAX_LAYERS = 4096
_MAX_VOCABULARY = 2**24

# Fields that would change the logits, and the only values with which upstream computes what we compute.
_REFUSED: Mapping[str, tuple[object, ...]] = {
    "use_short_conv": (False,),
    "expand_ratio": (1,),
    "tie_word_embeddings": (False,),
    "hidden_act": ("swish", "silu"),
    "quantization_config": (None,),
}
# The first allowed value is written to config.json, so that upstream reads back the same model.
_WRITTEN = ("use_short_conv", "expand_ratio", "tie_word_embeddings", "hidden_act")

_ACCEPTED = {
    "_name_or_path",
    "attn_mode",
    "auto_map",
    "conv_size",
    "dtype",
    "fuse_cross_entropy",
    "initializer_range",
    "max_position_embeddings",
    "output_attentions",
    "output_hidden_states",
    "return_dict",
    "share_conv_kernel",
    "torch_dtype",
    "transformers_version",
    "use_cache",
}


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file.

    Raises
    ------
    TritforgeError
        If the file cannot be read or holds anything but a JSON object.
    """
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise TritforgeError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise TritforgeError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise TritforgeError(f"{path} must hold a JSON object, not {_shown(value)}")
    return value


def _check_integer(name: str, value: object, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        raise TritforgeError(f"{name} must be an integer from {low} to {high}, not {_shown(value)}")


def _check_positive(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1e6:
        raise TritforgeError(f"{name} must be a number above 0 and up to 1e6, not {_shown(value)}")


def _shown(value: object, limit: int = 60) -> str:
    """Return a value as JSON writes it, cut short."""
    try:
        text = json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        text = f"something of type {type(value).__name__}"
    return text if len(text) <= limit else text[:limit] + "..."


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What a MatMul-free language model computes; names and defaults as in upstream's config.json.

    Parameters
    ----------
    hidden_size : int
        d, the width of the residual stream, 1 to :data:`MAX_WIDTH`.
    num_hidden_layers : int
        n, the number of blocks, 1 to 4096.
    vocab_size : int
        V, the number of tokens, 1 to 2**24.
    hidden_ratio : float
        Width of the GLU relative to d; used only where ``intermediate_size`` is not given.
    intermediate_size : int
        I, the width of the GLU, 1 to :data:`MAX_WIDTH`; 0 stands for upstream's rule,
        256 * ceil(int(d * hidden_ratio * 2 / 3) / 256), and is replaced by its result.
    num_heads : int
        Heads into which h is split; changes nothing elementwise, but must divide d.
    use_lower_bound : bool
        Whether the forget gates of all layers but the first have a learnt lower bound.
    rms_norm_eps : float
        eps of all norms but those inside the BitLinears (there it is always 1e-6).
    bos_token_id, eos_token_id, pad_token_id : int or None
        Special tokens.

    Raises
    ------
    TritforgeError
        If a value has the wrong type or is out of range.
    """

    hidden_size: int = 2048
    num_hidden_layers: int = 24
    vocab_size: int = 32000
    hidden_ratio: float = 4
    intermediate_size: int = 0
    num_heads: int = 1
    use_lower_bound: bool = True
    rms_norm_eps: float = 1e-6
    bos_token_id: int | None = 1
    eos_token_id: int | None = 2
    pad_token_id: int | None = None

    def __post_init__(self) -> None:
        _check_integer("hidden_size", self.hidden_size, 1, MAX_WIDTH)
        _check_integer("num_hidden_layers", self.num_hidden_layers, 1, _MAX_LAYERS)
        _check_integer("vocab_size", self.vocab_size, 1, _MAX_VOCABULARY)
        _check_positive("hidden_ratio", self.hidden_ratio)
        if self.intermediate_size == 0 and type(self.intermediate_size) is int:
            width = int(self.hidden_size * self.hidden_ratio * 2 / 3)
            object.__setattr__(self, "intermediate_size", (width + 255) // 256 * 256)
        _check_integer("intermediate_size", self.intermediate_size, 1, MAX_WIDTH)
        _check_integer("num_heads", self.num_heads, 1, self.hidden_size)
        if self.hidden_size % self.num_heads:
            raise TritforgeError(f"num_heads {self.num_heads} must divide hidden_size {self.hidden_size}")
        if not isinstance(self.use_lower_bound, bool):
            raise TritforgeError(f"use_lower_bound must be true or false, not {_shown(self.use_lower_bound)}")
        _check_positive("rms_norm_eps", self.rms_norm_eps)
        # Upstream's defaults stand even where the vocabulary is smaller: such a token never occurs. -1 is
        # what Llama's configurations write for "none".
        for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
            if getattr(self, name) is not None:
                _check_integer(name, getattr(self, name), -1, _MAX_VOCABULARY)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build a configuration from the contents of upstream's config.json.

        Parameters
        ----------
        values : mapping
            Field name to value; a missing field has upstream's default.

        Raises
        ------
        TritforgeError
            If the model is of another kind, or a field would change the logits in a way not computed here, or
            has the wrong type or range.

        Warns
        -----
        UserWarning
            Once, naming all fields that are unknown.
        """
        model_type, architectures = values.get("model_type"), values.get("architectures")
        if model_type is None and architectures is None:
            raise TritforgeError(f'model_type is missing; it must be "{MODEL_TYPE}"')
        if model_type not in (None, MODEL_TYPE):
            raise TritforgeError(f'model_type must be "{MODEL_TYPE}", not {_shown(model_type)}')
        if architectures is not None and (
            not isinstance(architectures, list) or ARCHITECTURE not in architectures
        ):
            raise TritforgeError(f'architectures must name "{ARCHITECTURE}", not {_shown(architectures)}')
        for name, allowed in _REFUSED.items():
            value = values.get(name, allowed[0])
            # Comparing alone is not enough: in Python 1 == True and 0 == False.
            same_kind = [each for each in allowed if isinstance(each, bool) is isinstance(value, bool)]
            if value not in same_kind:
                wanted = " or ".join(json.dumps(each) for each in allowed)
                raise TritforgeError(f"{name} {_shown(value)} is not supported; it must be {wanted}")

        own = {field.name for field in fields(cls)}
        unknown = sorted(values.keys() - own - _REFUSED.keys() - _ACCEPTED - {"model_type", "architectures"})
        if unknown:
            warnings.warn(f"unknown fields in config.json are ignored: {', '.join(unknown)}", stacklevel=2)
        chosen = {name: values[name] for name in own & values.keys()}
        if chosen.get("hidden_ratio", 0) is None:
            del chosen["hidden_ratio"]
        if chosen.get("intermediate_size", 0) is None:
            del chosen["intermediate_size"]
        elif "intermediate_size" in chosen:  # 0 is this class's sign for the rule; in a file it is a mistake
            _check_integer("intermediate_size", chosen["intermediate_size"], 1, MAX_WIDTH)
        return cls(**chosen)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a config.json; errors name the file."""
        values = read_json(path)
        try:
            return cls.from_dict(values)
        except TritforgeError as error:
            raise TritforgeError(f"{path}: {error}") from None

    def to_dict(self) -> dict[str, Any]:
        """Return what upstream's config.json holds for this model; :meth:`from_dict` reads it back."""
        fixed = {name: _REFUSED[name][0] for name in _WRITTEN}
        return {"architectures": [ARCHITECTURE], "model_type": MODEL_TYPE, **asdict(self), **fixed}


PRESETS: Mapping[str, ModelConfig] = {
    "370m": ModelConfig(hidden_size=1024, num_hidden_layers=24),
    "1.3b": ModelConfig(hidden_size=2048, num_hidden_layers=24),
    "2.7b": ModelConfig(hidden_size=2560, num_hidden_layers=32),
}
"""The sizes that the paper's authors published (arXiv 2406.02528), with their 32,000-token vocabulary."""


def preset(name: str) -> ModelConfig:
    """Return a preset by name, in any case.

    Raises
    ------
    TritforgeError
        If there is no preset of this name.
    """
    try:
        return PRESETS[name.lower()]
    except KeyError:
        raise TritforgeError(f"there is no preset {name!r}; choose one of {', '.join(PRESETS)}") from None
