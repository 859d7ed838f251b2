import contextlib
import hashlib
import json
import struct
import tracemalloc
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tritforge.models.checkpoint import Checkpoint
from tritforge.models.config import ModelConfig, preset
from tritforge.models.errors import TritforgeError
from tritforge.models.golden import GoldenModel
from tritforge.models.image import (
    Image,
    Layout,
    MemoryMap,
    in_memory_image,
    model_digest,
    size_report,
    write_image,
)
from tritforge.models.numerics import Ints
from tritforge.models.quantise import BitLinear, Block, Head, Norm, quantise
from tritforge.models.synthesis import synthesise
from tritforge.models.tokenizer import Tokenizer
from tritforge.models.trits import decode_prefix, trit_table


class RandomModel:
    """Integers over the whole range of every format, drawn again at each call."""

    def __init__(self, config: ModelConfig, seed: int = 0, tokenizer: Tokenizer | None = None) -> None:
        self.config = config
        self.tokenizer = tokenizer
        self._seed = seed

    def embedding(self, tokens: NDArray[Any]) -> tuple[NDArray[np.int8], Ints, Ints]:
        random = np.random.default_rng([self._seed, 0])
        v, d = self.config.vocab_size, self.config.hidden_size
        rows = random.integers(-128, 128, (v, d), np.int8)
        mantissa, exponent = random.integers(2**14, 2**15, v), random.integers(-128, 128, v)
        return rows[tokens], mantissa[tokens], exponent[tokens]

    def block(self, layer: int) -> Block:
        random = np.random.default_rng([self._seed, 1, layer])
        d, wide = self.config.hidden_size, self.config.intermediate_size
        return Block(
            bound=random.integers(0, 2**15, d),
            attn_norm=self._norm(random, d),
            i=self._linear(random, d, d),
            f=self._linear(random, d, d),
            g=self._linear(random, d, d),
            g_norm=self._norm(random, d),
            o=self._linear(random, d, d),
            mlp_norm=self._norm(random, d),
            gate_up=self._linear(random, 2 * wide, d),
            down=self._linear(random, d, wide),
        )

    def head(self) -> Head:
        random = np.random.default_rng([self._seed, 2])
        d = self.config.hidden_size
        return Head(self._norm(random, d), self._linear(random, self.config.vocab_size, d))

    @staticmethod
    def _norm(random: np.random.Generator, n: int) -> Norm:
        return Norm(random.integers(-(2**15), 2**15, n), int(random.integers(-120, 160)))

    @staticmethod
    def _linear(random: np.random.Generator, rows: int, columns: int) -> BitLinear:
        def scale() -> tuple[int, int]:
            return int(random.integers(2**14, 2**15)), int(random.integers(-128, 128))

        weights = random.integers(-1, 2, (rows, columns), np.int8)
        return BitLinear(weights, random.integers(-(2**15), 2**15, columns), scale(), scale())


def config_of(d: int, wide: int, vocabulary: int, layers: int) -> ModelConfig:
    return ModelConfig(
        hidden_size=d,
        intermediate_size=wide,
        vocab_size=vocabulary,
        num_hidden_layers=layers,
        bos_token_id=None,
        eos_token_id=None,
    )


configs = st.builds(config_of, st.integers(1, 90), st.integers(1, 90), st.integers(1, 300), st.integers(1, 3))
layouts = st.builds(
    Layout,
    st.integers(1, 4).map(lambda n: 8 * n),
    st.integers(61, 100).map(lambda n: 2 * n),
    st.sampled_from(["lookup", "lutram", "tree"]),
)


def assert_equal_parts(found: object, expected: object) -> None:
    assert type(found) is type(expected)
    if isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype  # type: ignore[attr-defined]
        assert np.array_equal(found, expected)  # type: ignore[arg-type]
    elif isinstance(expected, Block | Head | Norm | BitLinear):
        for field in fields(expected):
            assert_equal_parts(getattr(found, field.name), getattr(expected, field.name))
    else:
        assert found == expected


def assert_equal_models(found: Image, expected: RandomModel) -> None:
    assert found.config == expected.config
    tokens = np.arange(expected.config.vocab_size)
    for a, b in zip(found.embedding(tokens), expected.embedding(tokens), strict=True):
        assert_equal_parts(a, b)
    for layer in range(expected.config.num_hidden_layers):
        assert_equal_parts(found.block(layer), expected.block(layer))
    assert_equal_parts(found.head(), expected.head())


# The layout -------------------------------------------------------------------------------------------------


def test_a_beat_has_five_lanes_a_table() -> None:
    layout = Layout(16, 200)
    assert (layout.lanes, layout.beat_bytes) == (80, 16)
    assert [layout.column_blocks(n) for n in (1, 80, 81)] == [1, 1, 2]
    assert (Layout(16, 200, "tree").lanes, Layout(16, 200, "tree").beat_bytes) == (80, 16)


@pytest.mark.parametrize(
    ("tables", "lanes", "beat_bytes"), [(8, 24, 8), (16, 48, 16), (24, 72, 16), (64, 192, 40)]
)
def test_a_beat_of_codes_of_five_bits_is_whole_words_of_64(tables: int, lanes: int, beat_bytes: int) -> None:
    layout = Layout(tables, 14, "lutram")
    assert (layout.lanes, layout.beat_bytes) == (lanes, beat_bytes)
    assert [layout.column_blocks(n) for n in (lanes, lanes + 1)] == [1, 2]


@pytest.mark.parametrize("tables", [0, 4, 12, -8, 4104, 8.0, True])
def test_a_wrong_number_of_tables_is_refused(tables: Any) -> None:
    with pytest.raises(TritforgeError, match="tables must be a multiple of 8 from 8 to 4096"):
        Layout(tables, 200)


@pytest.mark.parametrize("rows", [0, 120, 123, 65536, 200.0])
def test_a_wrong_row_block_is_refused(rows: Any) -> None:
    with pytest.raises(TritforgeError, match="row_block must be even, from 122 to 65534"):
        Layout(8, rows)


@pytest.mark.parametrize(("dot", "steps"), [("lookup", 122), ("lutram", 14), ("tree", 6)])
def test_a_row_block_may_be_as_small_as_the_cycles_in_which_activations_come(dot: str, steps: int) -> None:
    assert Layout(8, steps, dot).row_block == steps
    with pytest.raises(
        TritforgeError, match=f"row_block must be even, from {steps} to 65534, not {steps - 2}"
    ):
        Layout(8, steps - 2, dot)


@pytest.mark.parametrize("dot", ["", "Lookup", 5, None, ["lookup"]])
def test_an_unknown_kind_of_dot_product_is_refused(dot: Any) -> None:
    with pytest.raises(TritforgeError, match="dot must be one of lookup, lutram, tree, not "):
        Layout(8, 122, dot)


def test_a_layout_comes_back_from_its_fields_and_has_a_digest_of_its_own() -> None:
    layout = Layout(8, 122)
    others = (Layout(16, 122), Layout(8, 124), Layout(8, 122, "tree"), Layout(8, 122, "lutram"))
    for each in (layout, *others):
        assert Layout.from_dict(json.loads(json.dumps(each.to_dict()))) == each
    assert len({each.digest() for each in (layout, *others)}) == 5
    assert Layout(8, 122).digest() == layout.digest()
    for given_, sentence in (
        ({}, "the layout lacks the field tables"),
        ({"tables": 8, "row_block": 122}, "the layout lacks the field dot"),
        ({**layout.to_dict(), "colour": 1}, "a layout has no field colour; it has tables, row_block, dot"),
    ):
        with pytest.raises(TritforgeError, match=f"^{sentence}$"):
            Layout.from_dict(given_)


# Where things lie -------------------------------------------------------------------------------------------


def test_the_map_of_a_small_model_is_this() -> None:
    # In beats of 8 bytes, d = 41 takes two column blocks, 6 beats of int8, 11 of int16; I = 9 one, 2 and 3.
    memory = MemoryMap(config_of(d=41, wide=9, vocabulary=10, layers=2), Layout(8, 122))
    assert memory.embedding_stride == 1 + 6
    assert memory.layer_base == 10 * 7
    sizes = [("attn_norm", 11)]
    sizes += [("i.header", 1), ("i.gain", 11), ("i.matrix", 82), ("bound", 11)]
    sizes += [
        ("f.header", 1),
        ("f.gain", 11),
        ("f.matrix", 82),
        ("g.header", 1),
        ("g.gain", 11),
        ("g.matrix", 82),
    ]
    sizes += [("g_norm", 11), ("o.header", 1), ("o.gain", 11), ("o.matrix", 82), ("mlp_norm", 11)]
    sizes += [("gate_up.header", 1), ("gate_up.gain", 11), ("gate_up.matrix", 36)]
    sizes += [("down.header", 1), ("down.gain", 3), ("down.matrix", 41)]
    assert [(name, span.beats) for name, span in memory.layer.items()] == sizes
    offsets = np.cumsum([0, *(beats for _, beats in sizes)])
    assert [span.offset for span in memory.layer.values()] == offsets[:-1].tolist()
    assert memory.layer_stride == sum(n for _, n in sizes)
    assert memory.head_base == memory.layer_base + 2 * memory.layer_stride
    assert [(name, span.offset, span.beats) for name, span in memory.head.items()] == [
        ("norm", 0, 11),
        ("head.header", 11, 1),
        ("head.gain", 12, 11),
        ("head.matrix", 23, 20),
    ]
    assert memory.total == memory.head_base + 43


@settings(max_examples=30, deadline=None)
@given(configs, layouts, st.data())
def test_a_number_lies_where_the_format_says(
    config: ModelConfig, layout: Layout, data: st.DataObject
) -> None:
    model = RandomModel(config)
    image = in_memory_image(model, layout)
    memory, where = image.memory, image.map
    assert memory.shape == (where.total, layout.beat_bytes)

    token = data.draw(st.integers(0, config.vocab_size - 1))
    column = data.draw(st.integers(0, config.hidden_size - 1))
    rows, mantissa, exponent = model.embedding(np.array([token]))
    record = memory[token * where.embedding_stride :][: where.embedding_stride].tobytes()
    assert struct.unpack_from("<Hb", record) == (mantissa[0], exponent[0])
    assert not any(record[3 : layout.beat_bytes])
    assert struct.unpack_from("b", record, layout.beat_bytes + column) == (rows[0, column],)

    layer = data.draw(st.integers(0, config.num_hidden_layers - 1))
    name = data.draw(st.sampled_from(["i", "f", "g", "o", "gate_up", "down"]))
    linear = getattr(model.block(layer), name)
    base = where.layer_base + layer * where.layer_stride
    header = memory[base + where.layer[f"{name}.header"].offset].tobytes()
    assert struct.unpack_from("<HbbH", header) == (*linear.constant, linear.epsilon[1], linear.epsilon[0])
    assert not any(header[6:])
    gain = memory[base + where.layer[f"{name}.gain"].offset :].tobytes()
    column = data.draw(st.integers(0, linear.columns - 1))
    assert struct.unpack_from("<h", gain, 2 * column) == (linear.gain[column],)

    row = data.draw(st.integers(0, linear.rows - 1))
    block, inside = divmod(column, layout.lanes)
    j, t = divmod(inside, layout.tables)
    start = row - row % layout.row_block
    rows_here = min(layout.row_block, linear.rows - start)
    blocks = -(-linear.columns // layout.lanes)
    beat = start * blocks + block * rows_here + (row - start)
    codes = int.from_bytes(memory[base + where.layer[f"{name}.matrix"].offset + beat].tobytes(), "little")
    bits = {"lookup": 8, "lutram": 5, "tree": 8}[layout.dot]
    code = codes >> bits * t & (1 << bits) - 1
    if layout.dot == "tree":
        trit = int(decode_prefix(np.array([code], np.uint8))[0, j])
    else:
        sign, index = divmod(code, 1 << (bits - 1))
        trit = int(trit_table(5 if bits == 8 else 3)[index, j]) * (-1 if sign else 1)
    assert trit == linear.weights[row, column]
    assert codes >> bits * layout.tables == 0


# Round trips ------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(configs, layouts, st.integers(0, 2**32))
def test_every_integer_comes_back(tmp_path: Path, config: ModelConfig, layout: Layout, seed: int) -> None:
    model = RandomModel(config, seed)
    path = tmp_path / "image"
    steps: list[tuple[int, int]] = []
    write_image(model, layout, path, lambda done, total: steps.append((done, total)))
    image = Image(path)
    assert image.layout == layout
    assert image.tokenizer is None
    assert_equal_models(image, model)
    assert steps == sorted(steps)
    assert steps[-1][0] == steps[-1][1] == image.map.total * layout.beat_bytes
    assert [each.name for each in tmp_path.iterdir()] == ["image"]


def test_a_row_block_and_an_embedding_chunk_may_end_anywhere() -> None:
    for vocabulary in (4095, 4096, 4097, 8193):
        model = RandomModel(config_of(3, 61, vocabulary, 1))
        assert_equal_models(in_memory_image(model, Layout(8, 122)), model)


def test_a_file_and_an_image_in_memory_are_equal_and_packing_is_repeatable(tmp_path: Path) -> None:
    model, layout = RandomModel(config_of(45, 83, 77, 2)), Layout(8, 122)
    write_image(model, layout, tmp_path / "a")
    write_image(Image(tmp_path / "a"), layout, tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    memory = in_memory_image(model, layout)
    assert np.array_equal(memory.memory, Image(tmp_path / "a").memory)
    assert_equal_models(memory, model)


def test_the_digest_is_the_models_whatever_file_and_layout() -> None:
    config = config_of(20, 30, 40, 2)
    model = RandomModel(config)
    small, large = in_memory_image(model, Layout(8, 122)), in_memory_image(model, Layout(16, 200))
    assert model_digest(model) == small.digest == large.digest == model_digest(large)
    assert in_memory_image(RandomModel(config, seed=1), Layout(8, 122)).digest != small.digest
    other = ModelConfig(**{**config.__dict__, "rms_norm_eps": 1e-5})
    assert in_memory_image(RandomModel(other), Layout(8, 122)).digest != small.digest


def test_the_devices_memory_is_page_aligned_in_the_file(tmp_path: Path) -> None:
    model = RandomModel(config_of(9, 9, 9, 1))
    write_image(model, Layout(8, 122), tmp_path / "image")
    data = (tmp_path / "image").read_bytes()
    start = len(data) - Image(tmp_path / "image").memory.size
    assert start % 4096 == 0
    assert data[start:] == Image(tmp_path / "image").memory.tobytes()


def test_a_checkpoint_and_its_image_compute_the_same(tmp_path: Path) -> None:
    config = config_of(24, 37, 50, 2)
    synthesise(config, tmp_path / "checkpoint", seed=5)
    model = quantise(Checkpoint(tmp_path / "checkpoint"))
    write_image(model, Layout(8, 122), tmp_path / "image")
    image = Image(tmp_path / "image")
    assert image.digest == model_digest(model)
    tokens = np.random.default_rng(0).integers(0, 50, 30)
    results = []
    for each in (model, image):
        golden = GoldenModel(each)
        results.append(golden.forward(tokens, golden.initial_state()))
    (expected, expected_state), (found, found_state) = results
    assert np.array_equal(found.sums, expected.sums)
    assert np.array_equal(found.scales, expected.scales)
    assert np.array_equal(found_state, expected_state)


def test_a_tokenizer_travels_along(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    library = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "b": 1, "?": 2}, unk_token="?"))
    library.pre_tokenizer = tokenizers.pre_tokenizers.Split("", "isolated")
    stored = (
        json.dumps({"kind": "tokenizer.json", "prefix": [1]}).encode() + b"\n" + library.to_str().encode()
    )
    model = RandomModel(config_of(5, 5, 3, 1), tokenizer=Tokenizer.from_bytes(stored))
    write_image(model, Layout(8, 122), tmp_path / "image")
    found = Image(tmp_path / "image").tokenizer
    assert found is not None
    assert found.encode("ab") == [1, 0, 1]


def test_writing_holds_a_small_part_of_the_model_in_memory(tmp_path: Path) -> None:
    config = config_of(160, 320, 200, 30)
    trits = 30 * (4 * 160**2 + 3 * 160 * 320)
    tracemalloc.start()
    try:
        write_image(RandomModel(config), Layout(8, 122), tmp_path / "image")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < trits / 2


def test_a_failing_write_leaves_the_old_image(tmp_path: Path) -> None:
    class Failing(RandomModel):
        def head(self) -> Head:
            raise RuntimeError("no head")

    path = tmp_path / "image"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError):
        write_image(Failing(config_of(5, 5, 5, 1)), Layout(8, 122), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(TritforgeError, match="cannot be written: No such file"):
        write_image(RandomModel(config_of(5, 5, 5, 1)), Layout(8, 122), tmp_path / "missing" / "image")
    with pytest.raises(TritforgeError, match="cannot be read: No such file"):
        Image(tmp_path / "missing")
    with pytest.raises(TritforgeError, match="cannot be read: Is a directory"):
        Image(tmp_path)


# Damage -----------------------------------------------------------------------------------------------------

PREAMBLE = struct.Struct("<8sII32s")
VERSION = 3


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An image of two layers, with something in the place of a tokenizer."""

    class Stored:
        def to_bytes(self) -> bytes:
            return b"not a tokenizer"

    model = RandomModel(config_of(13, 17, 19, 2), tokenizer=Stored())  # type: ignore[arg-type]
    path = tmp_path_factory.mktemp("packed") / "image"
    write_image(model, Layout(8, 122), path)
    return path.read_bytes()


def header_of(data: bytes) -> tuple[dict[str, Any], int]:
    _, _, length, _ = PREAMBLE.unpack_from(data)
    start = PREAMBLE.size + length
    header: dict[str, Any] = json.loads(data[PREAMBLE.size : start])
    return header, start


def with_header(data: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    """The image with another header, its checksum right."""
    header, start = header_of(data)
    change(header)
    text = json.dumps(header).encode()
    text = text.ljust(-(-(len(text) + PREAMBLE.size) // 4096) * 4096 - PREAMBLE.size)
    preamble = PREAMBLE.pack(data[:8], VERSION, len(text), hashlib.sha256(text).digest())
    return preamble + text + data[start:]


def section_at(data: bytes, position: int) -> str:
    header, start = header_of(data)
    for section in header["sections"]:
        if start + section["offset"] <= position < start + section["offset"] + section["length"]:
            return str(section["name"])
    return "header"


def test_the_undamaged_image_is_accepted(packed: bytes) -> None:
    image = Image(packed)
    assert_equal_models(image, RandomModel(image.config))
    assert_equal_models(Image(with_header(packed, lambda header: None)), RandomModel(image.config))
    with pytest.raises(TritforgeError, match="section tokenizer is damaged"):
        _ = image.tokenizer


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_flipped_bit_is_refused_by_its_sections_name(packed: bytes, data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(packed) - 1))
    damaged = bytearray(packed)
    damaged[position] ^= 1 << data.draw(st.integers(0, 7))
    name = "not a tritforge image" if position < 8 else f"section {section_at(packed, position)} "
    with pytest.raises(TritforgeError, match=name):
        Image(bytes(damaged))


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_truncated_file_is_refused_by_the_section_where_it_ends(packed: bytes, data: st.DataObject) -> None:
    length = data.draw(st.integers(0, len(packed) - 1))
    name = "not a tritforge image" if length < 8 else f"section {section_at(packed, length)} "
    for verify in (True, False):
        with pytest.raises(TritforgeError, match=name):
            Image(packed[:length], verify)


def test_each_section_cut_short_is_named(packed: bytes) -> None:
    header, start = header_of(packed)
    names = [section["name"] for section in header["sections"]]
    assert names == ["embedding", "layer.0", "layer.1", "head", "tokenizer"]
    for section in header["sections"]:
        end = start + section["offset"] + section["length"]
        with pytest.raises(
            TritforgeError, match=f"section {section['name']} is damaged: .*truncated 1 bytes"
        ):
            Image(packed[: end - 1])


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(b"")
    with pytest.raises(TritforgeError, match="image is not a tritforge image"):
        Image(tmp_path / "image")


def test_something_behind_the_last_section_is_refused(packed: bytes) -> None:
    with pytest.raises(TritforgeError, match="section tokenizer is damaged: the file goes on for 3 bytes"):
        Image(packed + b"abc")


@pytest.mark.parametrize("version, advice", [(4, "use a newer tritforge"), (2, "pack the model again")])
def test_another_version_is_refused_whatever_follows(packed: bytes, version: int, advice: str) -> None:
    damaged = packed[:8] + struct.pack("<I", version) + bytes(100)
    with pytest.raises(TritforgeError, match=f"image version {version}, but .* reads version 3; {advice}"):
        Image(damaged)


@pytest.mark.parametrize("garbage", [b"", b"[]", b"null", b"{", b"\xff\xfe", b"[" * 100_000, b"1" * 10_000])
def test_a_header_that_is_no_object_is_refused(packed: bytes, garbage: bytes) -> None:
    text = garbage.ljust(-(-(len(garbage) + PREAMBLE.size) // 4096) * 4096 - PREAMBLE.size)
    damaged = PREAMBLE.pack(packed[:8], VERSION, len(text), hashlib.sha256(text).digest()) + text
    with pytest.raises(TritforgeError, match="section header is damaged"):
        Image(damaged)


def test_sections_in_the_wrong_place_are_refused_by_name(packed: bytes) -> None:
    def edit(index: int, **values: Any) -> bytes:
        return with_header(packed, lambda header: header["sections"][index].update(values))

    table = header_of(packed)[0]["sections"]
    for damaged, message in [
        (edit(2, offset=table[2]["offset"] - 8), "section layer.1 is damaged: .*overlaps"),
        (edit(2, offset=table[1]["offset"]), "section layer.1 is damaged: .*overlaps"),
        (edit(2, offset=table[2]["offset"] + 8), "section layer.1 is damaged: its offset"),
        (edit(0, offset=-8), "section embedding is damaged: .*overlaps"),
        (edit(3, length=table[3]["length"] + 8), "section head is damaged: its length"),
        (edit(1, length=2**80), "section layer.0 is damaged: its length"),
        (edit(1, length=None), "section layer.0 is damaged: its length"),
        (edit(4, length=2**80), "section tokenizer is damaged: the file is truncated"),
        (edit(4, length=-1), "section tokenizer is damaged: its length"),
        (edit(1, name="layer.1"), "section layer.0 is damaged: the table of sections"),
        (edit(1, sha256="0" * 64), "section layer.0 is damaged: its checksum"),
        (edit(1, norm_exponents=[1, 2]), "section layer.0 is damaged: norm_exponents must be 3 integers"),
        (edit(3, norm_exponents="x"), "section head is damaged: norm_exponents must be 1 integers"),
    ]:
        with pytest.raises(TritforgeError, match=message):
            Image(damaged)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda h: h["sections"].pop(), "tokenizer is damaged: the table of sections has None"),
        (
            lambda h: h["sections"].append(h["sections"][0]),
            "header is damaged: the table of sections has 'emb",
        ),
        (lambda h: h["sections"].clear(), "header is damaged: sections must be"),
        (lambda h: h.pop("sections"), "header is damaged: sections must be"),
        (lambda h: h.update(sections=[1]), "header is damaged: sections must be"),
        (lambda h: h.pop("config"), "header is damaged: 'config' is missing"),
        (lambda h: h.update(layout=[8]), "header is damaged: config and layout must be objects"),
        (lambda h: h["layout"].update(tables=9), "header is damaged: tables must be a multiple of 8"),
        (lambda h: h["layout"].update(tables=16), "embedding is damaged: its length"),
        (lambda h: h["config"].update(hidden_size="x"), "header is damaged: hidden_size must be"),
        (lambda h: h["config"].update(vocab_size=2**24), "embedding is damaged: its length"),
        (lambda h: h["config"].update(num_hidden_layers=3), "layer.2 is damaged: the table of sections"),
    ],
)
def test_a_header_that_contradicts_itself_is_refused(
    packed: bytes, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    with pytest.raises(TritforgeError, match=f"section {message}"):
        Image(with_header(packed, change), verify=False)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_no_value_in_the_header_makes_reading_crash(packed: bytes, data: st.DataObject) -> None:
    values = st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.just([]), st.just({})
    )

    def change(header: dict[str, Any]) -> None:
        target: Any = header
        while isinstance(target, dict | list) and target:
            keys = sorted(target) if isinstance(target, dict) else range(len(target))
            key = data.draw(st.sampled_from(list(keys)))
            if not isinstance(target[key], dict | list) or data.draw(st.integers(0, 3)) == 0:
                target[key] = data.draw(values)
                return
            target = target[key]

    with contextlib.suppress(TritforgeError):
        Image(with_header(packed, change))


def test_contents_that_no_writer_makes_are_refused_when_read(packed: bytes) -> None:
    where = Image(packed).map

    def edited(beat: int, byte: int, value: int) -> Image:
        _, start = header_of(packed)
        damaged = bytearray(packed)
        damaged[start + 8 * beat + byte] = value
        return Image(bytes(damaged), verify=False)

    layer = where.layer_base
    matrix, header = layer + where.layer["i.matrix"].offset, layer + where.layer["i.header"].offset
    with pytest.raises(TritforgeError, match=r"section layer\.0 is damaged: byte 0x7f is no code"):
        edited(matrix, 0, 0x7F).block(0)
    # Byte 7 holds columns 7, 15, 23, 31 and 39; of 13 columns only the first is there.
    with pytest.raises(
        TritforgeError, match=r"section layer\.0 is damaged: a matrix is not padded with zeros"
    ):
        edited(matrix, 7, 121).block(0)
    with pytest.raises(TritforgeError, match=r"section layer\.0 is damaged: a scale's mantissa"):
        edited(header, 1, 0).block(0)
    with pytest.raises(TritforgeError, match=r"section layer\.0 is damaged: a lower bound is negative"):
        edited(layer + where.layer["bound"].offset, 1, 0x80).block(0)
    with pytest.raises(TritforgeError, match="section embedding is damaged: a scale's mantissa"):
        edited(0, 1, 0).embedding(np.array([0]))


@pytest.mark.parametrize(
    ("dot", "byte", "value", "message"),
    [
        # Code 14 of three trits is no entry of its table; the sixth byte of eight holds no code.
        ("lutram", 0, 14, "byte 0x0e is no code of three trits"),
        ("lutram", 5, 1, "a beat is not padded with zeros"),
        # The lowest of its equals is a code, 0xff is not.
        ("tree", 0, 0xFF, "byte 0xff is no code of five trits"),
    ],
)
def test_contents_of_other_codes_that_no_writer_makes_are_refused(
    dot: str, byte: int, value: int, message: str
) -> None:
    image = in_memory_image(RandomModel(config_of(13, 17, 19, 1)), Layout(8, 122, dot))
    beat = image.map.layer_base + image.map.layer["i.matrix"].offset
    image.memory = image.memory.copy()
    image.memory[beat, byte] = value
    with pytest.raises(TritforgeError, match=rf"section layer\.0 is damaged: {message}"):
        image.block(0)


# Sizes ------------------------------------------------------------------------------------------------------


def test_the_size_of_1_3b_and_what_passes_10x() -> None:
    # 24 layers, V = 32,000, d = 2,048, I = 5,632: 52 and 141 column blocks of 40.
    trits = 24 * (4 * 2048**2 + 3 * 2048 * 5632) + 32000 * 2048
    beats = 24 * ((4 * 2048 + 2 * 5632) * 52 + 2048 * 141) + 32000 * 52
    report = size_report(preset("1.3b"), Layout(8, 512))
    sizes = report["bytes"]
    assert sizes["weights"] == 8 * beats
    assert sizes["embedding"] == 32000 * (2048 + 8)
    assert sizes["state"] == 24 * 2048 * 2
    vectors = 24 * (3 + 5 + 1) * 2048 * 2 + 24 * 2 * 5632 + 2 * 2 * 2048
    assert sizes["vectors"] == vectors + 8 * (24 * 6 + 1)
    assert sizes["total"] == sum(size for name, size in sizes.items() if name != "total")
    alone, *caches = report["comparisons"]
    assert alone["ratio"] == 2 * trits / sizes["weights"]
    assert not alone["passes_10x"]
    for comparison, tokens in zip(caches, (2048, 4096, 8192), strict=True):
        theirs = 2 * (trits + 32000 * 2048) + 24 * 2 * 2048 * 2 * tokens
        assert comparison["float16_bytes"] == theirs
        assert str(tokens) in comparison["name"]
        assert comparison["ratio"] == theirs / sizes["total"]
        assert comparison["passes_10x"] == (theirs >= 10 * sizes["total"])
    json.dumps(report)


def test_the_report_adds_up_to_the_image() -> None:
    model, layout = RandomModel(config_of(33, 50, 70, 2)), Layout(16, 122)
    sizes = size_report(model.config, layout)["bytes"]
    assert in_memory_image(model, layout).memory.size == sizes["total"] - sizes["state"]
