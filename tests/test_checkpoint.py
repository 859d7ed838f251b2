"""Checkpoints are read exactly and lazily; whatever is wrong with one is a sentence that names it."""

import json
import re
import struct
import tracemalloc
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from tritforge.models.checkpoint import Checkpoint, tensor_shapes, ternarise
from tritforge.models.config import ModelConfig
from tritforge.models.errors import TritforgeError

MakeModel = Callable[..., Path]
Arrays = dict[str, NDArray[Any]]

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"


def refused(message: str) -> Any:
    return pytest.raises(TritforgeError, match=re.escape(message))


def change(model: Path, edit: Callable[[Arrays], object]) -> Path:
    """Edit a checkpoint's tensors."""
    tensors = load_file(model / WEIGHTS)
    edit(tensors)
    save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, model / WEIGHTS)
    return model


def configure(model: Path, **fields: Any) -> Path:
    """Edit a checkpoint's config.json."""
    path = model / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
    return model


def raw_file(
    path: Path, header: Mapping[str, Any] | bytes, data: bytes = b"", length: int | None = None
) -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)


def entry(dtype: str, shape: list[int], start: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def test_the_tensors_are_those_of_upstream(model_a: Path) -> None:
    stored = load_file(model_a / WEIGHTS)
    checkpoint = Checkpoint(model_a)
    assert tensor_shapes(checkpoint.config) == {name: stored[name].shape for name in checkpoint.names}
    assert set(checkpoint.names) == set(stored)
    for name in checkpoint.names:
        np.testing.assert_array_equal(checkpoint.tensor(name), stored[name])


def test_tensors_of_other_widths_have_other_shapes() -> None:
    config = ModelConfig(hidden_size=6, num_hidden_layers=2, vocab_size=11, intermediate_size=5)
    shapes = tensor_shapes(config)
    assert shapes["model.embeddings.weight"] == (11, 6)
    assert shapes["model.lower_bounds"] == (2, 6)
    assert shapes["model.layers.1.attn.g_norm.weight"] == (6,)
    assert shapes["model.layers.1.attn.o_proj.weight"] == (6, 6)
    assert shapes["model.layers.1.mlp.gate_proj.weight"] == (10, 6)
    assert shapes["model.layers.1.mlp.gate_proj.norm.weight"] == (6,)
    assert shapes["model.layers.1.mlp.down_proj.weight"] == (6, 5)
    assert shapes["model.layers.1.mlp.down_proj.norm.weight"] == (5,)
    assert shapes["lm_head.weight"] == (11, 6)
    assert len(shapes) == 1 + 1 + 2 * (3 + 2 * 6) + 1 + 2


def test_half_precision_is_read_exactly(make_model: MakeModel) -> None:
    def halve(tensors: Arrays) -> None:
        tensors.update({name: value.astype(np.float16) for name, value in tensors.items()})

    model = change(make_model(), halve)
    stored = load_file(model / WEIGHTS)
    checkpoint = Checkpoint(model)
    for name in checkpoint.names:
        values = checkpoint.tensor(name)
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, stored[name].astype(np.float64))


@pytest.mark.parametrize("bits, value", [
    (0x3F80, 1.0), (0xBF80, -1.0), (0x0000, 0.0), (0x4049, 3.140625), (0x3EAB, 0.333984375),
    (0x7F7F, 255 * 2.0**120), (0x0001, 2.0**-133), (0x0080, 2.0**-126),
])  # fmt: skip
def test_bfloat16_is_read_exactly(make_model: MakeModel, bits: int, value: float) -> None:
    model = make_model(hidden_size=1, intermediate_size=1, num_hidden_layers=1, vocab_size=3)
    header, data = {}, b""
    for name, shape in tensor_shapes(Checkpoint(model).config).items():
        size = 2 * int(np.prod(shape))
        header[name] = entry("BF16", list(shape), len(data), len(data) + size)
        data += struct.pack("<H", bits) * (size // 2)
    raw_file(model / WEIGHTS, header, data)
    checkpoint = Checkpoint(model)
    for name in checkpoint.names:
        assert (checkpoint.tensor(name) == np.float32(value)).all()
        assert checkpoint.tensor(name).dtype == np.float32


def test_shards_hold_the_same_model_as_one_file(make_model: MakeModel) -> None:
    whole, sharded = Checkpoint(make_model()), Checkpoint(make_model(shard_bytes=5000))
    assert len(list(sharded.directory.glob("model-*.safetensors"))) > 2
    assert not (sharded.directory / WEIGHTS).exists()
    for name in whole.names:
        np.testing.assert_array_equal(sharded.tensor(name), whole.tensor(name))


def test_opening_and_reading_need_the_memory_of_one_tensor(make_model: MakeModel) -> None:
    model = make_model(hidden_size=256, intermediate_size=512, num_hidden_layers=8, dtype="bfloat16")
    largest = 4 * 1024 * 256
    tracemalloc.start()
    checkpoint = Checkpoint(model)
    assert tracemalloc.get_traced_memory()[1] < largest
    for name in checkpoint.names:
        checkpoint.tensor(name)
    # Two copies while bfloat16 is widened, and the check of finiteness.
    assert tracemalloc.get_traced_memory()[1] < 3 * largest
    tracemalloc.stop()


def test_a_missing_tensor_is_named(make_model: MakeModel) -> None:
    model = change(make_model(), lambda tensors: tensors.pop("model.norm.weight"))
    with refused(f"{model} lacks tensor model.norm.weight"):
        Checkpoint(model)


def test_more_missing_tensors_are_counted(make_model: MakeModel) -> None:
    with refused("lacks tensor model.layers.3.attn_norm.weight and 29 more"):
        Checkpoint(configure(make_model(), num_hidden_layers=5))


def test_a_left_over_tensor_is_named(make_model: MakeModel) -> None:
    model = change(make_model(), lambda tensors: tensors.update(bias=np.zeros(3, np.float32)))
    with refused(f"{model} holds tensor bias, which this model does not have"):
        Checkpoint(model)


def test_a_tensor_of_wrong_shape_is_named_with_both_shapes(make_model: MakeModel) -> None:
    name = "model.layers.1.mlp.down_proj.weight"
    model = change(make_model(), lambda tensors: tensors.update({name: tensors[name].T}))
    with refused(f"{model / WEIGHTS}: tensor {name} has shape [26, 21]; by config.json it must be [21, 26]"):
        Checkpoint(model)


@pytest.mark.parametrize("kind, name", [(np.float64, "F64"), (np.int8, "I8")])
def test_a_tensor_in_another_number_format_is_named(make_model: MakeModel, kind: type, name: str) -> None:
    model = change(make_model(), lambda t: t.update({"lm_head.weight": t["lm_head.weight"].astype(kind)}))
    with refused(f"tensor lm_head.weight is {name}; only F32, F16 and BF16 can be read"):
        Checkpoint(model)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_is_found_when_its_tensor_is_read(
    make_model: MakeModel, value: float
) -> None:
    def poison(tensors: Arrays) -> None:
        tensors["lm_head.weight"][4, 7] = value

    checkpoint = Checkpoint(change(make_model(), poison))
    checkpoint.tensor("model.norm.weight")
    with refused("tensor lm_head.weight is not finite at [4, 7]"):
        checkpoint.tensor("lm_head.weight")


def test_without_lower_bounds_their_tensor_may_be_absent_or_unused(make_model: MakeModel) -> None:
    model = make_model(use_lower_bound=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "model.lower_bounds" not in Checkpoint(model).names
    model = configure(make_model(), use_lower_bound=False)
    with pytest.warns(UserWarning, match=r"use_lower_bound is false, so model\.lower_bounds is not used"):
        assert "model.lower_bounds" not in Checkpoint(model).names


def test_what_is_no_checkpoint_is_refused(tmp_path: Path, make_model: MakeModel) -> None:
    with refused("nowhere is not a directory"):
        Checkpoint(tmp_path / "nowhere")
    with refused(f"{tmp_path} holds no config.json"):
        Checkpoint(tmp_path)
    model = make_model()
    (model / WEIGHTS).unlink()
    with refused(f"{model} holds neither model.safetensors nor model.safetensors.index.json"):
        Checkpoint(model)


def test_a_pickle_is_refused_with_how_to_convert_it(make_model: MakeModel) -> None:
    model = make_model()
    (model / WEIGHTS).rename(model / "pytorch_model.bin")
    with pytest.raises(TritforgeError, match=r"pytorch_model\.bin, which is not read; convert it") as caught:
        Checkpoint(model)
    command = re.search(r"python -c '(.*)'$", str(caught.value))
    assert command
    compile(command[1], "command", "exec")
    assert "save_file" in command[1]
    assert "weights_only=True" in command[1]


def shards(make_model: MakeModel, edit: Callable[[dict[str, Any]], object]) -> Path:
    """Make a sharded checkpoint and edit its index."""
    model = make_model(shard_bytes=5000)
    index = json.loads((model / INDEX).read_text())
    edit(index)
    (model / INDEX).write_text(json.dumps(index))
    return model


@pytest.mark.parametrize("file", ["../x.safetensors", "/etc/passwd", "..", "", "a\\b", "c:x", "a\0b"])
def test_an_index_that_leaves_its_directory_is_refused(make_model: MakeModel, file: str) -> None:
    model = shards(make_model, lambda index: index["weight_map"].update({"lm_head.weight": file}))
    with refused(f"names the shard {file!r}, which is not a plain file name"):
        Checkpoint(model)


def test_an_absent_shard_is_named(make_model: MakeModel) -> None:
    model = shards(make_model, lambda index: index["weight_map"].update({"lm_head.weight": "other"}))
    with refused(f"names the shard other, which is not in {model}"):
        Checkpoint(model)


def test_an_index_that_contradicts_its_shards_is_refused(make_model: MakeModel) -> None:
    other = "model-00002-of-00014.safetensors"
    moved = {"model.norm.weight": other}
    with refused(f"model.norm.weight, which {INDEX} does not put there"):
        Checkpoint(shards(make_model, lambda index: index["weight_map"].update(moved)))
    with refused(f"model.norm.weight, which {INDEX} does not put there"):
        Checkpoint(shards(make_model, lambda index: index["weight_map"].pop("model.norm.weight")))
    with refused(f"{other} lacks tensor ghost and 1 more"):
        Checkpoint(shards(make_model, lambda index: index["weight_map"].update(ghost=other, ghost2=other)))


@pytest.mark.parametrize("index", [{}, {"weight_map": []}, {"weight_map": {"a": 1}}])
def test_an_index_without_a_map_is_refused(make_model: MakeModel, index: dict[str, Any]) -> None:
    model = make_model(shard_bytes=5000)
    (model / INDEX).write_text(json.dumps(index))
    with refused(f"{model / INDEX} must map tensor names to file names under weight_map"):
        Checkpoint(model)


@pytest.mark.parametrize("content", [
    {"header": {}, "length": 10**6},
    {"header": {}, "length": 2**63},
    {"header": b'{"a":'},
    {"header": b"\xff\xfe"},
    {"header": b"[" * 100_000},
    {"header": {"a": entry("F32", [1], 0, 4), "b": entry("F32", [1], 0, 4)}, "data": bytes(8)},
    {"header": {"a": entry("F32", [2], 0, 8), "b": entry("F32", [2], 4, 12)}, "data": bytes(12)},
    {"header": {"a": entry("F32", [4], 0, 16)}, "data": bytes(8)},
    {"header": {"a": entry("F32", [1], 4, 8)}, "data": bytes(8)},
    {"header": {"a": entry("F32", [1], 0, 4)}, "data": bytes(8)},
    {"header": {"a": entry("F32", [3], 0, 4)}, "data": bytes(4)},
    {"header": {"a": entry("F32", [2**40, 2**40], 0, 4)}, "data": bytes(4)},
    {"header": {"a": entry("F32", [-1], 0, 4)}, "data": bytes(4)},
    {"header": {"a": entry("F33", [1], 0, 4)}, "data": bytes(4)},
])  # fmt: skip
def test_a_malformed_file_is_refused(make_model: MakeModel, content: dict[str, Any]) -> None:
    model = make_model()
    raw_file(model / WEIGHTS, **content)
    with refused(f"{model / WEIGHTS} is not a sound safetensors file: "):
        Checkpoint(model)


def test_a_file_that_is_not_one_is_refused(make_model: MakeModel) -> None:
    model = make_model()
    (model / WEIGHTS).unlink()
    (model / WEIGHTS).mkdir()
    with refused("is not a sound safetensors file: "):
        Checkpoint(model)


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
def test_a_damaged_file_does_no_worse_than_a_sentence(make_model: MakeModel, data: st.DataObject) -> None:
    model = make_model(hidden_size=2, intermediate_size=3, num_hidden_layers=1, vocab_size=3)
    content = bytearray((model / WEIGHTS).read_bytes())
    (header,) = struct.unpack("<Q", content[:8])
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, 7 + header))] = data.draw(st.integers(0, 255))
    (model / WEIGHTS).write_bytes(content)
    try:
        checkpoint = Checkpoint(model)
        for name in checkpoint.names:
            assert checkpoint.tensor(name).shape == tensor_shapes(checkpoint.config)[name]
    except TritforgeError as error:
        assert "\n" not in str(error)


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_a_truncated_file_is_refused(make_model: MakeModel, data: st.DataObject) -> None:
    model = make_model(hidden_size=2, intermediate_size=3, num_hidden_layers=1, vocab_size=3)
    content = (model / WEIGHTS).read_bytes()
    (model / WEIGHTS).write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with refused("is not a sound safetensors file"):
        Checkpoint(model)


@pytest.mark.parametrize("weights, trits, scale", [
    ([1, -1, 1, -1], [1, -1, 1, -1], 1),
    ([0.5, 1.5, -0.5, -1.5], [0, 1, 0, -1], 1),  # ties go to even: 0.5 to 0, and 1.5 to 2, which is clamped
    ([0.25, 0.75, 4, -3], [0, 0, 1, -1], 2),
    ([0, 0, 0, 0], [0, 0, 0, 0], 1e-5),  # the least mean
    ([1e-5, -1e-6, 0, 4e-6], [1, 0, 0, 0], 1e-5),  # mean 3.75e-6
    ([0.5 + 2**-20, 1.5, -0.5 - 2**-20, -1.5 + 2**-19], [1, 1, -1, -1], 1),
])  # fmt: skip
def test_ternary_weights_are_rounded_by_their_mean_magnitude(
    weights: list[float], trits: list[int], scale: float
) -> None:
    got, mean = ternarise(np.array(weights, np.float32).reshape(2, 2))
    assert got.dtype == np.int8
    assert got.shape == (2, 2)
    assert got.ravel().tolist() == trits
    assert mean == np.float32(scale) == pytest.approx(scale, rel=1e-7)


def test_the_mean_of_many_weights_is_accurate() -> None:
    weights = np.full((3000, 3000), 0.1, np.float32)
    assert ternarise(weights)[1] == np.float32(0.1)
