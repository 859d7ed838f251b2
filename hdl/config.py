"""The accelerator's whole configuration: one frozen dataclass, named presets as TOML files."""

from __future__ import annotations

import hashlib
import json
import tomllib
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from ..models.config import ModelConfig
from ..models.errors import TritforgeError
from ..models.image import Layout, MemoryMap
from ..models.numerics import NORMAL, SQUARES_BITS
from .dots import FAMILIES, best_dot
from .isa import COUNT_BITS, WORDS
from .mlgru import Mlgru

__all__ = ["AcceleratorConfig", "presets"]

_PRESETS = Path(__file__).parent / "presets"
_MOST = (1 << COUNT_BITS) - 1


@dataclass(frozen=True)
class AcceleratorConfig:
    """Everything from which an accelerator is generated.

    Parameters
    ----------
    name
        What the configuration is called.
    layout
        Codes of a beat, rows a partial-sum block, and the kind of dot product.
    hidden, intermediate
        Largest hidden size and intermediate size of a model.
    states
        State elements, hidden size times layers.
    program_words
        Program memory in 16-bit words.
    memory_beats
        Weight beats that the weight memory holds; 0 where it is outside and has no limit.
    vocabulary
        Largest vocabulary of a model.
    streams
        Texts, or positions of one text, that share every weight beat.
    family
        Family of devices that dot products are shaped for, one of `dots.FAMILIES`; it changes latencies and
        cells, never a number.
    vector_width
        Elements that a pass of the vector unit takes a cycle: a power of two that divides a beat's 16-bit
        weights and the bytes of an activation word. It changes cycles and cells, never a number.

    Raises
    ------
    TritforgeError
        If a value is out of range.
    """

    name: str
    layout: Layout
    hidden: int
    intermediate: int
    states: int
    program_words: int
    memory_beats: int = 0
    vocabulary: int = _MOST
    streams: int = 1
    family: str = "ice40"
    vector_width: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TritforgeError(f"an accelerator's name must be a text, not {self.name!r}")
        limits = {
            "hidden": (1, _MOST),
            "intermediate": (1, _MOST // 2),
            "states": (1, 1 << 24),
            "program_words": (WORDS, 1 << 16),
            "memory_beats": (0, 1 << 32),
            "vocabulary": (1, _MOST),
            "streams": (1, 16),
            "vector_width": (1, 64),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise TritforgeError(
                    f"accelerator {self.name}: {name} must be from {low} to {high}, not {value!r}"
                )
        width = self.vector_width
        for what, many in (
            ("a power of two", 1 << width.bit_length() - 1),
            (f"a divisor of a beat's {self.layout.beat_bytes // 2} weights", self.layout.beat_bytes // 2),
            (f"a divisor of an activation word's {self.layout.tables} bytes", self.layout.tables),
        ):
            if many % width:
                raise TritforgeError(f"accelerator {self.name}: vector_width must be {what}, not {width}")
        if not isinstance(self.family, str) or self.family not in FAMILIES:
            raise TritforgeError(
                f"accelerator {self.name}: family must be one of {', '.join(FAMILIES)}, not {self.family!r}"
            )
        if (self.layout.dot, self.family) == ("lutram", "ice40"):
            raise TritforgeError(
                f"accelerator {self.name}: iCE40's lookup tables are no memory, so dot must be lookup or tree"
                " there, not lutram"
            )

    @property
    def activation_words(self) -> int:
        """Words of int8 activations: one a weight of a code, for each column block of the widest matrix."""
        return self.layout.code.trits * self.layout.column_blocks(max(self.hidden, self.intermediate))

    @property
    def slot_bits(self) -> int:
        """Address bits of a slot, half of the activation memory; one is read while the other is written."""
        return (self.activation_words - 1).bit_length()

    @property
    def activation_depth(self) -> int:
        """Words of the activation memory: two slots."""
        return 2 << self.slot_bits

    @property
    def vector_depth(self) -> int:
        """Elements of the longest vector."""
        return max(self.hidden, self.intermediate)

    @property
    def energy_bits(self) -> int:
        """Bits of the sum of a vector's squares."""
        return min(SQUARES_BITS, 2 * NORMAL.bits - 1 + (self.vector_depth - 1).bit_length())

    @property
    def lag(self) -> int:
        """Cycles by which the last stream's rows lag behind the first's: states go from one to the next."""
        return Mlgru.latency * (self.streams - 1)

    @property
    def element_bits(self) -> int:
        """Bits of a number of elements."""
        return self.vector_depth.bit_length()

    @property
    def row_bits(self) -> int:
        """Bits of a number of rows."""
        return max(2 * self.intermediate, self.hidden, self.vocabulary).bit_length()

    @property
    def block_bits(self) -> int:
        """Bits of a number of column blocks."""
        return self.layout.column_blocks(self.vector_depth).bit_length()

    @property
    def address_bits(self) -> int:
        """Bits of the address of a weight beat."""
        return (self.memory_beats - 1).bit_length() if self.memory_beats else 32

    @property
    def beat_bits(self) -> int:
        """Width of a weight beat."""
        return 8 * self.layout.beat_bytes

    def digest(self) -> str:
        """Hash of the whole configuration but its name; programs and builds carry it."""
        values = {key: value for key, value in self.to_dict().items() if key != "name"}
        if self.vector_width == 1:  # as before there was a choice: builds keep their identity
            del values["vector_width"]
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, `layout` as a dictionary of its own."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> AcceleratorConfig:
        """A configuration from what `to_dict` gives; a layout without `dot` has what is best for the family.

        Raises
        ------
        TritforgeError
            If a field is missing, unknown or out of range.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise TritforgeError(
                f"an accelerator has no field {unknown[0]}; it has {', '.join(sorted(known))}"
            )
        optional = {field.name for field in fields(cls) if field.default is not MISSING}
        if missing := sorted(known - set(values) - optional):
            raise TritforgeError(f"the accelerator lacks the field {missing[0]}")
        if not isinstance(values["layout"], dict):
            raise TritforgeError("the accelerator's layout must be a table with tables and row_block")
        layout = {"dot": "lookup", **values["layout"]}
        config = cls(**{**values, "layout": Layout.from_dict(layout)})
        if "dot" in values["layout"]:
            return config
        best = best_dot(config.family, config.layout.tables)
        return replace(config, layout=replace(config.layout, dot=best))

    @classmethod
    def load(cls, source: str | Path) -> AcceleratorConfig:
        """A preset by name, or a TOML file.

        Raises
        ------
        TritforgeError
            If there is neither, or the file is no configuration.
        """
        path = _PRESETS / f"{source}.toml" if str(source) in presets() else Path(source)
        if path.suffix != ".toml" or not path.is_file():
            raise TritforgeError(
                f"no accelerator {source}: name one of {', '.join(presets())}, or a .toml file"
            )
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
            return cls.from_dict({"name": path.stem, **values})
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, TritforgeError) as error:
            raise TritforgeError(f"{path}: {error}") from None

    @classmethod
    def smallest_fit(cls, model: ModelConfig) -> AcceleratorConfig:
        """The smallest preset that a model fits.

        Raises
        ------
        TritforgeError
            If even the largest is too small.
        """
        configs = [cls.load(name) for name in presets()]
        for config in configs:
            if not config.misfits(model):
                return config
        raise TritforgeError(
            f"no preset holds the model; {configs[-1].name} lacks: {'; '.join(configs[-1].misfits(model))}"
        )

    def to_toml(self) -> str:
        """The configuration as a TOML file that `load` reads back."""
        values = self.to_dict()
        layout = values.pop("layout")
        lines = [f"{key} = {_toml(value)}" for key, value in values.items()]
        return "\n".join(
            [*lines, "", "[layout]", *(f"{key} = {_toml(value)}" for key, value in layout.items()), ""]
        )

    def misfits(self, model: ModelConfig) -> list[str]:
        """What of a model is too large, with the numbers; empty if it fits."""
        states = model.num_hidden_layers * model.hidden_size
        beats = MemoryMap(model, self.layout).total
        needs = [
            ("hidden size", model.hidden_size, self.hidden),
            ("intermediate size", model.intermediate_size, self.intermediate),
            ("state elements", states, self.states),
            ("vocabulary", model.vocab_size, self.vocabulary),
        ]
        if self.memory_beats:
            size = self.layout.beat_bytes
            needs.append(("weight memory in bytes", beats * size, self.memory_beats * size))
        return [f"{what} {need:,} of at most {limit:,}" for what, need, limit in needs if need > limit]

    def check_fit(self, model: ModelConfig) -> None:
        """Refuse a model that is too large for this accelerator.

        Raises
        ------
        TritforgeError
            With the numbers that do not fit.
        """
        if misfits := self.misfits(model):
            raise TritforgeError(f"the model does not fit the accelerator {self.name}: {'; '.join(misfits)}")


def _toml(value: str | int) -> str:
    """A value as TOML writes it: JSON, but for characters beyond 16 bits and DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def presets() -> list[str]:
    """Names of the presets, the smallest first."""
    return sorted((path.stem for path in _PRESETS.glob("*.toml")), key=_size)


def _size(name: str) -> tuple[int, int]:
    values = tomllib.loads((_PRESETS / f"{name}.toml").read_text(encoding="utf-8"))
    return values["layout"]["tables"], values["hidden"]
