"""The weight image: a model's integers in the order in which the hardware consumes them, in one checked file.

A file is a preamble (magic, version, length and SHA-256 of the header), a header in JSON (the model's
configuration, the `Layout`, the table of sections with their checksums) padded to whole pages, and the
sections one after another: ``embedding``, ``layer.0`` and so on, ``head``, ``tokenizer``. All but the last
are the device's memory, beat by beat as `MemoryMap` says. Every byte of the file is under a checksum or
compared.

In memory, numbers are little-endian. A row of the embedding is a beat with its SCALE (mantissa in bytes 0
and 1, exponent in byte 2), then its int8 entries. A vector (norm weights, gains, lower bounds) is int16. A
BitLinear is a header beat (constant: mantissa in bytes 0 and 1, exponent in byte 2; epsilon: exponent in
byte 3, mantissa in bytes 4 and 5), its gain and its matrix. A matrix goes row block by row block, in each
column block by column block, in each row by row, one beat a row: code t (`trits.CODES`; a byte of five trits,
or five bits of three) holds the trits of columns ``start + j * tables + t``, j from 0 on. Codes lie one
behind another from the lowest bit on. Everything is padded with zeros to whole beats, a matrix with zero
trits to whole column blocks.
"""

import hashlib
import io
import json
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from itertools import zip_longest
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from .config import ModelConfig
from .errors import TritforgeError
from .files import replacing
from .numerics import ACT, SCALE, Ints
from .quantise import BitLinear, Block, Head, IntegerModel, Norm, trit_count
from .tokenizer import Tokenizer
from .trits import CODES, Code

__all__ = [
    "Image",
    "Layout",
    "MemoryMap",
    "Span",
    "in_memory_image",
    "model_digest",
    "size_report",
    "write_image",
]

_MAGIC = b"\x93TRITIMG"
_VERSION = 3
_PREAMBLE = struct.Struct("<8sII32s")  # magic, version, bytes of the header, its SHA-256
_PAGE = 4096  # the device's memory starts at a multiple of this, so that it can be mapped alone
_EMBEDDING_CHUNK = 4096  # rows written at once
_HEADER = struct.Struct("<HbbH")  # a BitLinear's header beat
_MAX_TABLES = 4096
_MAX_ROW_BLOCK = 2**16 - 2
_BEAT_UNIT = 8  # bytes: a header must fit a beat, and int16 its halves

Progress = Callable[[int, int], None]
"""Called with the bytes written so far and in all."""


@dataclass(frozen=True)
class Layout:
    """How weights lie in beats; the hardware's shape as far as an image depends on it.

    Parameters
    ----------
    tables : int
        Codes of a beat, for a lookup table each where there are tables: a multiple of 8 from 8 to 4096.
    row_block : int
        Rows whose partial sums are held at once: even, from the code's `steps` (a row hides a step) to
        65,534.
    dot : str
        Kind of dot product whose code the weights are written in, one of `trits.CODES`.

    Raises
    ------
    TritforgeError
        If a value is out of range.
    """

    tables: int
    row_block: int
    dot: str = "lookup"

    def __post_init__(self) -> None:
        if not isinstance(self.dot, str) or self.dot not in CODES:
            raise TritforgeError(f"dot must be one of {', '.join(CODES)}, not {self.dot!r}")
        if type(self.tables) is not int or self.tables % 8 or not 8 <= self.tables <= _MAX_TABLES:
            raise TritforgeError(
                f"tables must be a multiple of 8 from 8 to {_MAX_TABLES}, not {self.tables!r}"
            )
        least = self.code.steps + self.code.steps % 2
        if (
            type(self.row_block) is not int
            or self.row_block % 2
            or not least <= self.row_block <= _MAX_ROW_BLOCK
        ):
            raise TritforgeError(
                f"row_block must be even, from {least} to {_MAX_ROW_BLOCK}, not {self.row_block!r}"
            )

    def __str__(self) -> str:
        """What has to agree between an image and an accelerator."""
        return f"{self.lanes} lanes of {self.dot} codes and row blocks of {self.row_block}"

    @property
    def code(self) -> Code:
        """How the weights are written."""
        return CODES[self.dot]

    @property
    def lanes(self) -> int:
        """Trits in a beat."""
        return self.code.trits * self.tables

    @property
    def code_bytes(self) -> int:
        """Bytes of a beat's codes."""
        return self.tables * self.code.bits // 8

    @property
    def beat_bytes(self) -> int:
        """Bytes in a beat: its codes, and what makes it whole words of 64 bits."""
        return -(-self.code_bytes // _BEAT_UNIT) * _BEAT_UNIT

    def column_blocks(self, columns: int) -> int:
        """Return how many column blocks a matrix or vector of this width has."""
        return -(-columns // self.lanes)

    def beats(self, size: int) -> int:
        """Return how many beats `size` bytes take."""
        return -(-size // self.beat_bytes)

    def to_dict(self) -> dict[str, int | str]:
        """Return the fields by name; :meth:`from_dict` reads them back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build a layout from its fields.

        Raises
        ------
        TritforgeError
            If a field is missing, unknown or out of range.
        """
        known = [field.name for field in fields(cls)]
        if unknown := sorted(set(values) - set(known)):
            raise TritforgeError(f"a layout has no field {unknown[0]}; it has {', '.join(known)}")
        if missing := [name for name in known if name not in values]:
            raise TritforgeError(f"the layout lacks the field {missing[0]}")
        return cls(**values)

    def digest(self) -> str:
        """Return the SHA-256 of the fields, in hexadecimal."""
        return hashlib.sha256(_json(self.to_dict())).hexdigest()


@dataclass(frozen=True)
class Span:
    """Beats from `offset` on."""

    offset: int
    beats: int

    @property
    def end(self) -> int:
        """The first beat behind."""
        return self.offset + self.beats


class MemoryMap:
    """Where everything lies in the device's memory, in beats.

    Parameters
    ----------
    config : ModelConfig
        The model's shape.
    layout : Layout
        The beats' shape.

    Attributes
    ----------
    embedding_stride : int
        Beats from one row of the embedding, which starts at 0, to the next.
    layer_base, layer_stride : int
        Where layer 0 starts, and beats from one layer to the next.
    layer : dict of str to Span
        Parts of a layer, relative to its start, in order: ``attn_norm``, ``i.header``, ``i.gain``,
        ``i.matrix``, ``bound``, ``f.header`` ..., ``g.header`` ..., ``g_norm``, ``o.header`` ...,
        ``mlp_norm``, ``gate_up.header`` ..., ``down.header`` ...
    head_base : int
        Where the head starts.
    head : dict of str to Span
        Its parts, relative to its start: ``norm``, ``head.header``, ``head.gain``, ``head.matrix``.
    total : int
        Beats in all.
    sections : dict of str to Span
        ``embedding``, ``layer.0`` ..., ``head``.
    """

    def __init__(self, config: ModelConfig, layout: Layout) -> None:
        self.config = config
        self.layout = layout
        self.embedding_stride = 1 + layout.beats(config.hidden_size)
        self.layer, self.layer_stride = _placed(_layer_shapes(config), layout)
        self.head, head_beats = _placed(_head_shapes(config), layout)
        self.layer_base = config.vocab_size * self.embedding_stride
        self.head_base = self.layer_base + config.num_hidden_layers * self.layer_stride
        self.total = self.head_base + head_beats
        self.sections = {
            "embedding": Span(0, self.layer_base),
            **{f"layer.{n}": self.layer_span(n) for n in range(config.num_hidden_layers)},
            "head": Span(self.head_base, head_beats),
        }

    def layer_span(self, layer: int) -> Span:
        """Return where a layer lies."""
        return Span(self.layer_base + layer * self.layer_stride, self.layer_stride)


_Shapes = dict[str, tuple[int, ...]]
"""Parts in order: (n,) for a vector of 16 bits, (rows, columns) for a BitLinear."""


def _layer_shapes(config: ModelConfig) -> _Shapes:
    d, wide = config.hidden_size, config.intermediate_size
    return {
        "attn_norm": (d,),
        "i": (d, d),
        "bound": (d,),
        "f": (d, d),
        "g": (d, d),
        "g_norm": (d,),
        "o": (d, d),
        "mlp_norm": (d,),
        "gate_up": (2 * wide, d),
        "down": (d, wide),
    }


def _head_shapes(config: ModelConfig) -> _Shapes:
    return {"norm": (config.hidden_size,), "head": (config.vocab_size, config.hidden_size)}


def _placed(shapes: _Shapes, layout: Layout) -> tuple[dict[str, Span], int]:
    """Return the parts' spans and their beats in all."""
    sizes: dict[str, int] = {}
    for name, shape in shapes.items():
        columns = shape[-1]
        if len(shape) == 1:
            sizes[name] = layout.beats(2 * columns)
        else:
            sizes[f"{name}.header"] = 1
            sizes[f"{name}.gain"] = layout.beats(2 * columns)
            sizes[f"{name}.matrix"] = shape[0] * layout.column_blocks(columns)
    spans: dict[str, Span] = {}
    start = 0
    for name, beats in sizes.items():
        spans[name] = Span(start, beats)
        start += beats
    return spans, start


# Writing ----------------------------------------------------------------------------------------------------


class _Rows(NamedTuple):
    """Rows of the embedding with their SCALEs."""

    entries: NDArray[np.int8]
    mantissa: Ints
    exponent: Ints


_Part = _Rows | Norm | BitLinear | Ints


def _parts(model: IntegerModel) -> Iterator[tuple[str, Iterable[_Part]]]:
    """Yield the device's sections and what they hold, in order, reading a layer when its turn comes."""
    config = model.config
    starts = range(0, config.vocab_size, _EMBEDDING_CHUNK)
    yield (
        "embedding",
        (
            _Rows(*model.embedding(np.arange(start, min(start + _EMBEDDING_CHUNK, config.vocab_size))))
            for start in starts
        ),
    )
    names = _layer_shapes(config)
    for layer in range(config.num_hidden_layers):
        block = model.block(layer)
        yield f"layer.{layer}", [getattr(block, name) for name in names]
    head = model.head()
    yield "head", [head.norm, head.linear]


def _encoded(part: _Part, layout: Layout) -> Iterator[bytes]:
    """Yield the part's whole beats."""
    match part:
        case _Rows():
            beats = np.zeros(
                (len(part.entries), layout.beats(part.entries.shape[1]) + 1, layout.beat_bytes), np.uint8
            )
            flat = beats.reshape(len(beats), -1)
            flat[:, :2] = part.mantissa.astype("<u2")[:, None].view(np.uint8)
            flat[:, 2] = part.exponent.astype(np.int8).view(np.uint8)
            flat[:, layout.beat_bytes : layout.beat_bytes + part.entries.shape[1]] = part.entries.view(
                np.uint8
            )
            yield beats.tobytes()
        case BitLinear():
            (mantissa, exponent), (epsilon, epsilon_exponent) = part.constant, part.epsilon
            yield _padded(_HEADER.pack(mantissa, exponent, epsilon_exponent, epsilon), layout)
            yield _vector(part.gain, layout)
            yield from _matrix(part.weights, layout)
        case Norm():
            yield _vector(part.weights, layout)
        case _:
            yield _vector(part, layout)


def _padded(data: bytes, layout: Layout) -> bytes:
    return data.ljust(layout.beats(len(data)) * layout.beat_bytes, b"\0")


def _vector(values: Ints, layout: Layout) -> bytes:
    return _padded(values.astype("<i2").tobytes(), layout)


def _matrix(weights: NDArray[np.int8], layout: Layout) -> Iterator[bytes]:
    """Yield a matrix's row blocks."""
    rows, columns = weights.shape
    blocks = layout.column_blocks(columns)
    for start in range(0, rows, layout.row_block):
        block = weights[start : start + layout.row_block]
        padded = np.zeros((len(block), blocks * layout.lanes), np.int8)
        padded[:, :columns] = block
        trits = padded.reshape(len(block), blocks, layout.code.trits, layout.tables)
        codes = layout.code.encode(np.moveaxis(trits, 2, 3)).transpose(1, 0, 2)
        beats = np.zeros((*codes.shape[:-1], layout.beat_bytes), np.uint8)
        beats[..., : layout.code_bytes] = layout.code.pack(codes)
        yield beats.tobytes()


def _hashed(part: _Part) -> Iterator[bytes]:
    """Yield the part's integers in a form that depends on no layout."""
    match part:
        case _Rows():
            yield part.entries.tobytes()
            yield np.stack([part.mantissa, part.exponent]).astype("<i2").tobytes()
        case BitLinear():
            yield _HEADER.pack(*part.constant, part.epsilon[1], part.epsilon[0])
            yield part.gain.astype("<i2").tobytes()
            yield part.weights.tobytes()
        case Norm():
            yield part.weights.astype("<i2").tobytes()
        case _:
            yield part.astype("<i2").tobytes()


def model_digest(model: IntegerModel) -> str:
    """Return the SHA-256 of a model's configuration and integers, in hexadecimal.

    It depends neither on a layout nor on the tokenizer: a checkpoint and every image packed from it have the
    same one (for an image, ``Image.digest`` is cheaper).
    """
    digest = _config_hash(model.config)
    for _, parts in _parts(model):
        for part in parts:
            for data in _hashed(part):
                digest.update(data)
    return digest.hexdigest()


def _config_hash(config: ModelConfig) -> "hashlib._Hash":
    return hashlib.sha256(_json(config.to_dict()))


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def write_image(
    model: IntegerModel, layout: Layout, path: Path | str, progress: Progress | None = None
) -> None:
    """Write a model's image as a stream: memory holds one layer and the next, whatever the model's size.

    Parameters
    ----------
    model : IntegerModel
        A quantised checkpoint, or an image to be laid out anew.
    layout : Layout
        The beats' shape.
    path : Path or str
        Replaced when all is written.
    progress : callable, optional
        Called with the bytes written so far and in all.

    Raises
    ------
    TritforgeError
        If the file cannot be written.
    """
    path = Path(path)
    try:
        with replacing(path) as stream:
            _write(model, layout, stream, progress)
    except OSError as error:
        raise TritforgeError(f"{path} cannot be written: {error.strerror or error}") from None


def in_memory_image(model: IntegerModel, layout: Layout) -> "Image":
    """Return the image that `write_image` would write, without a file: for small models."""
    stream = io.BytesIO()
    _write(model, layout, stream, None)
    return Image(stream.getvalue(), verify=False)


def _write(model: IntegerModel, layout: Layout, stream: BinaryIO, progress: Progress | None) -> None:
    tokenizer = model.tokenizer
    tokenizer_bytes = b"" if tokenizer is None else tokenizer.to_bytes()
    places = _sections(MemoryMap(model.config, layout), len(tokenizer_bytes))
    total = sum(place.length for place in places)
    # Checksums are known only when all is written, so the header's room is kept first.
    names = [place.name for place in places]
    widest = _header(
        model.config,
        layout,
        "f" * 64,
        places,
        dict.fromkeys(names, "f" * 64),
        dict.fromkeys(names, [-999] * 3),
    )
    room = _PREAMBLE.size + len(widest)
    room = -(-room // _PAGE) * _PAGE
    stream.seek(room)

    digest = _config_hash(model.config)
    checksums: dict[str, str] = {}
    exponents: dict[str, list[int]] = {}
    done = 0
    for name, parts in _parts(model):
        checksum = hashlib.sha256()
        exponents[name] = []
        for part in parts:
            if isinstance(part, Norm):
                exponents[name].append(part.exponent)
            for data in _hashed(part):
                digest.update(data)
            for data in _encoded(part, layout):
                checksum.update(data)
                stream.write(data)
                done += len(data)
                if progress is not None:
                    progress(done, total)
        checksums[name] = checksum.hexdigest()
    stream.write(tokenizer_bytes)
    checksums["tokenizer"] = hashlib.sha256(tokenizer_bytes).hexdigest()
    if progress is not None:
        progress(total, total)

    header = _header(model.config, layout, digest.hexdigest(), places, checksums, exponents)
    header = header.ljust(room - _PREAMBLE.size)
    stream.seek(0)
    stream.write(_PREAMBLE.pack(_MAGIC, _VERSION, len(header), hashlib.sha256(header).digest()))
    stream.write(header)


class _Section(NamedTuple):
    """A section's place: bytes from the start of the first section."""

    name: str
    offset: int
    length: int

    @property
    def end(self) -> int:
        return self.offset + self.length


def _sections(memory: MemoryMap, tokenizer_bytes: int) -> list[_Section]:
    size = memory.layout.beat_bytes
    places = [_Section(name, span.offset * size, span.beats * size) for name, span in memory.sections.items()]
    return [*places, _Section("tokenizer", memory.total * size, tokenizer_bytes)]


def _header(
    config: ModelConfig,
    layout: Layout,
    digest: str,
    places: list[_Section],
    checksums: Mapping[str, str],
    exponents: Mapping[str, list[int]],
) -> bytes:
    sections = [
        {**place._asdict(), "sha256": checksums[place.name], "norm_exponents": exponents.get(place.name, [])}
        for place in places
    ]
    return _json(
        {"config": config.to_dict(), "layout": layout.to_dict(), "model": digest, "sections": sections}
    )


# Reading ----------------------------------------------------------------------------------------------------


class Image:
    """An image, opened, checked and mapped; an `IntegerModel` with exactly the integers that were packed.

    Parameters
    ----------
    source : Path, str or bytes
        The file, or its contents.
    verify : bool
        Whether to read everything once and compare the checksums. Form and sizes are checked in any case.

    Attributes
    ----------
    config : ModelConfig
        The model's configuration.
    layout : Layout
        The beats' shape.
    map : MemoryMap
        Where everything lies in `memory`.
    memory : ndarray of uint8, shape (beats, beat_bytes)
        The device's memory, read-only.
    digest : str
        The model's `model_digest`.

    Raises
    ------
    TritforgeError
        If the file is no image, of a newer version, truncated, or damaged; names the section.
    """

    def __init__(self, source: Path | str | bytes, verify: bool = True) -> None:
        self._name = "the image" if isinstance(source, bytes) else str(source)
        data = np.frombuffer(source, np.uint8) if isinstance(source, bytes) else _mapped(Path(source))
        header, start = self._read_header(data)
        # The header's checksum is right, so a wrong value was written so; it is refused all the same.
        try:
            config, layout = header["config"], header["layout"]
            if not isinstance(config, dict) or not isinstance(layout, dict):
                raise TritforgeError("config and layout must be objects")
            self.config = ModelConfig.from_dict(config)
            self.layout = Layout.from_dict(layout)
            self.digest = str(header["model"])
        except KeyError as error:
            raise self._damaged("header", f"{error} is missing") from None
        except TritforgeError as error:
            raise self._damaged("header", str(error)) from None
        self.map = MemoryMap(self.config, self.layout)
        body = data[start:]
        self._exponents: dict[str, list[int]] = {}
        checksums = self._check_sections(header.get("sections"), body)
        size = self.map.total * self.layout.beat_bytes
        self.memory = body[:size].reshape(self.map.total, self.layout.beat_bytes)
        self._tokenizer_bytes = body[size:]
        if verify:
            for place in _sections(self.map, len(self._tokenizer_bytes)):
                if hashlib.sha256(body[place.offset : place.end].data).hexdigest() != checksums[place.name]:
                    raise self._damaged(place.name, "its checksum does not match its contents")

    def _damaged(self, section: str, what: str) -> TritforgeError:
        return TritforgeError(f"{self._name}: section {section} is damaged: {what}")

    def _read_header(self, data: NDArray[np.uint8]) -> tuple[dict[str, Any], int]:
        """Return the header and where the sections start."""
        if data[: len(_MAGIC)].tobytes() != _MAGIC:
            raise TritforgeError(
                f"{self._name} is not a tritforge image: it does not start with the image's mark"
            )
        if len(data) < _PREAMBLE.size:
            raise self._damaged("header", f"the file is truncated after {len(data)} bytes")
        _, version, length, checksum = _PREAMBLE.unpack(data[: _PREAMBLE.size].tobytes())
        if version != _VERSION:
            raise TritforgeError(
                f"{self._name}: section header has image version {version}, but this tritforge reads version"
                f" {_VERSION}; " + ("use a newer tritforge" if version > _VERSION else "pack the model again")
            )
        start = _PREAMBLE.size + length
        if start > len(data):
            raise self._damaged("header", f"it ends at byte {start}, but the file has {len(data)} bytes")
        text = data[_PREAMBLE.size : start].tobytes()
        if hashlib.sha256(text).digest() != checksum:
            raise self._damaged("header", "its checksum does not match its contents")
        if start % _PAGE:
            raise self._damaged("header", f"it must end at a multiple of {_PAGE} bytes, not at {start}")
        try:
            header = json.loads(text)
        except (ValueError, RecursionError):
            header = None
        if not isinstance(header, dict):
            raise self._damaged("header", "it does not hold a JSON object")
        return header, start

    def _check_sections(self, table: object, body: NDArray[np.uint8]) -> dict[str, str]:
        """Check the table of sections against the configuration and the file; return the checksums."""
        if not isinstance(table, list) or not all(isinstance(entry, dict) for entry in table) or not table:
            raise self._damaged("header", "sections must be a list of objects")
        length = table[-1].get("length")
        if type(length) is not int or length < 0:
            raise self._damaged("tokenizer", f"its length must be an integer from 0 on, not {length!r}")
        places = _sections(self.map, length)
        names = [entry.get("name") for entry in table]
        for place, name in zip_longest(places, names):
            if place is None or place.name != name:
                raise self._damaged(
                    place.name if place else "header", f"the table of sections has {name!r} in its place"
                )
        checksums: dict[str, str] = {}
        end = 0
        for place, entry in zip(places, table, strict=True):
            offset = entry.get("offset")
            if type(offset) is int and offset < end:
                raise self._damaged(place.name, f"it starts at byte {offset} and overlaps what ends at {end}")
            for field in ("offset", "length"):
                if type(entry.get(field)) is not int or entry[field] != getattr(place, field):
                    raise self._damaged(
                        place.name,
                        f"its {field} is {entry.get(field)!r}, but must be {getattr(place, field)} here",
                    )
            end = place.end
            if end > len(body):
                raise self._damaged(
                    place.name, f"the file is truncated {end - len(body)} bytes before its end"
                )
            exponents = entry.get("norm_exponents")
            count = 3 if place.name.startswith("layer.") else int(place.name == "head")
            if not isinstance(exponents, list) or [type(each) for each in exponents] != [int] * count:
                raise self._damaged(place.name, f"norm_exponents must be {count} integers")
            self._exponents[place.name] = exponents
            checksums[place.name] = str(entry.get("sha256"))
        if end < len(body):
            raise self._damaged(
                places[-1].name, f"the file goes on for {len(body) - end} bytes after its end"
            )
        return checksums

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The model's tokenizer, None if it was packed without one."""
        if not len(self._tokenizer_bytes):
            return None
        try:
            return Tokenizer.from_bytes(self._tokenizer_bytes.tobytes())
        except TritforgeError as error:
            raise self._damaged("tokenizer", str(error)) from None

    def embedding(self, tokens: NDArray[Any]) -> tuple[NDArray[np.int8], Ints, Ints]:
        """See `IntegerModel`."""
        records = self.memory[: self.map.layer_base].reshape(self.config.vocab_size, -1)[tokens]
        mantissa = records[:, 0] + (records[:, 1].astype(np.int64) << 8)
        self._check_mantissas("embedding", mantissa)
        first = self.layout.beat_bytes
        entries = records[:, first : first + self.config.hidden_size].view(np.int8)
        return entries, mantissa, records[:, 2].view(np.int8).astype(np.int64)

    def block(self, layer: int) -> Block:
        """See `IntegerModel`."""
        span = self.map.layer_span(layer)
        name = f"layer.{layer}"
        return Block(**self._parts(name, span.offset, self.map.layer, _layer_shapes(self.config)))

    def head(self) -> Head:
        """See `IntegerModel`."""
        parts = self._parts("head", self.map.head_base, self.map.head, _head_shapes(self.config))
        return Head(parts["norm"], parts["head"])

    @property
    def shared_inputs(self) -> bool:
        """Whether i, f and g of each layer have equal gains, so that their int8 inputs are the same."""
        for layer in range(self.config.num_hidden_layers):
            start = self.map.layer_span(layer).offset
            spans = (self.map.layer[f"{name}.gain"] for name in "ifg")
            i, f, g = (self.memory[start + span.offset : start + span.end] for span in spans)
            if not (np.array_equal(i, f) and np.array_equal(i, g)):
                return False
        return True

    def _parts(self, section: str, base: int, spans: Mapping[str, Span], shapes: _Shapes) -> dict[str, Any]:
        exponents = iter(self._exponents[section])

        def beats(name: str) -> NDArray[np.uint8]:
            return self.memory[base + spans[name].offset : base + spans[name].end]

        def vector(name: str, size: int) -> Ints:
            return np.frombuffer(beats(name).tobytes(), "<i2")[:size].astype(np.int64)

        parts: dict[str, Any] = {}
        for name, shape in shapes.items():
            if len(shape) == 2:
                mantissa, exponent, epsilon_exponent, epsilon = _HEADER.unpack_from(
                    beats(f"{name}.header").tobytes()
                )
                self._check_mantissas(section, np.array([mantissa, epsilon]))
                weights = self._matrix(section, beats(f"{name}.matrix"), shape)
                gain = vector(f"{name}.gain", shape[1])
                parts[name] = BitLinear(weights, gain, (mantissa, exponent), (epsilon, epsilon_exponent))
            elif name == "bound":
                parts[name] = vector(name, *shape)
                if (parts[name] < 0).any():
                    raise self._damaged(section, "a lower bound is negative")
            else:
                parts[name] = Norm(vector(name, *shape), next(exponents))
        return parts

    def _matrix(self, section: str, beats: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.int8]:
        rows, columns = shape
        blocks = self.layout.column_blocks(columns)
        weights = np.empty((rows, columns), np.int8)
        for start in range(0, rows, self.layout.row_block):
            count = min(self.layout.row_block, rows - start)
            data = beats[start * blocks : (start + count) * blocks].reshape(blocks, count, -1)
            if data[..., self.layout.code_bytes :].any():
                raise self._damaged(section, "a beat is not padded with zeros")
            try:
                trits = self.layout.code.decode(self.layout.code.unpack(data, self.layout.tables))
            except TritforgeError as error:
                raise self._damaged(section, str(error)) from None
            trits = trits.transpose(1, 0, 3, 2).reshape(count, -1)
            if trits[:, columns:].any():
                raise self._damaged(section, "a matrix is not padded with zeros")
            weights[start : start + count] = trits[:, :columns]
        return weights

    def _check_mantissas(self, section: str, mantissas: Ints) -> None:
        if ((mantissas < 1 << (SCALE.bits - 1)) | (mantissas > SCALE.high)).any():
            raise self._damaged(section, f"a scale's mantissa is not {SCALE.bits} bits wide")


def _mapped(path: Path) -> NDArray[np.uint8]:
    try:
        if path.stat().st_size == 0:
            return np.empty(0, np.uint8)
        return np.memmap(path, np.uint8, "r").view(np.ndarray)
    except OSError as error:
        raise TritforgeError(f"{path} cannot be read: {error.strerror or error}") from None


# Sizes ------------------------------------------------------------------------------------------------------


def size_report(config: ModelConfig, layout: Layout) -> dict[str, Any]:
    """Return what a model takes on the device, next to float16.

    Parameters
    ----------
    config : ModelConfig
        The model's shape.
    layout : Layout
        The beats' shape, whose padding counts.

    Returns
    -------
    dict
        ``bytes``: weights, embedding, vectors (norm weights, gains, lower bounds, headers), state, total.
        ``comparisons``: name, float16_bytes, bytes (ours), ratio, and passes_10x, whether it reaches the
        factor of 10 that the paper states (arXiv 2406.02528, abstract); for the ternary weights alone, and
        for a float16 transformer with its KV cache at 2,048, 4,096 and 8,192 tokens. That transformer has as
        many numbers in matrices and embedding, as many layers and the same width; a token's cache is a key
        and a value of that width in each layer.
    """
    memory = MemoryMap(config, layout)
    d, layers = config.hidden_size, config.num_hidden_layers

    def matrices(spans: Mapping[str, Span]) -> int:
        return sum(span.beats for name, span in spans.items() if name.endswith(".matrix"))

    weights = (layers * matrices(memory.layer) + matrices(memory.head)) * layout.beat_bytes
    embedding = memory.layer_base * layout.beat_bytes
    state = layers * d * ACT.bits // 8
    total = memory.total * layout.beat_bytes + state
    trits = trit_count(config)
    parameters = trits + config.vocab_size * d
    pairs = [("ternary weights alone, in float16", 2 * trits, weights)]
    for tokens in (2048, 4096, 8192):
        cache = 2 * 2 * layers * d * tokens
        name = f"float16 transformer with a KV cache of {tokens} tokens"
        pairs.append((name, 2 * parameters + cache, total))
    return {
        "bytes": {
            "weights": weights,
            "embedding": embedding,
            "vectors": total - state - weights - embedding,
            "state": state,
            "total": total,
        },
        "comparisons": [
            {
                "name": name,
                "float16_bytes": theirs,
                "bytes": ours,
                "ratio": theirs / ours,
                "passes_10x": theirs >= 10 * ours,
            }
            for name, theirs, ours in pairs
        ],
    }
