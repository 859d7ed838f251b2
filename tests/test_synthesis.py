"""Random checkpoints: whole, reproducible, and lively in every part."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file
from tritforge.models.checkpoint import Checkpoint, tensor_shapes, ternarise
from tritforge.models.config import ModelConfig
from tritforge.models.errors import TritforgeError
from tritforge.models.reference import Reference
from tritforge.models.synthesis import synthesise

MakeModel = Callable[..., Path]
SMALL = ModelConfig(hidden_size=24, num_hidden_layers=2, vocab_size=50, intermediate_size=40)


@given(
    config=st.builds(
        ModelConfig,
        hidden_size=st.integers(1, 9),
        num_hidden_layers=st.integers(1, 3),
        vocab_size=st.integers(3, 9),
        intermediate_size=st.integers(1, 9),
        use_lower_bound=st.booleans(),
    ),
    dtype=st.sampled_from(["float32", "float16", "bfloat16"]),
    shard_bytes=st.integers(1, 3000),
)
def test_any_size_is_written_whole(
    tmp_path_factory: pytest.TempPathFactory, config: ModelConfig, dtype: str, shard_bytes: int
) -> None:
    directory = tmp_path_factory.mktemp("model") / "new" / "place"
    synthesise(config, directory, 1, dtype, shard_bytes)  # type: ignore[arg-type]
    checkpoint = Checkpoint(directory)
    assert checkpoint.config == config
    assert {name: checkpoint.tensor(name).shape for name in checkpoint.names} == tensor_shapes(config)
    assert json.loads((directory / "config.json").read_text())["torch_dtype"] == dtype
    assert not list(directory.glob(".*"))


def test_files_keep_to_the_size_of_a_shard(tmp_path: Path) -> None:
    synthesise(SMALL, tmp_path, shard_bytes=4000)
    files = sorted(tmp_path.glob("*.safetensors"))
    assert [file.name for file in files] == [
        f"model-{number:05}-of-{len(files):05}.safetensors" for number in range(1, len(files) + 1)
    ]
    assert len(files) > 3
    total = 2 * sum(np.prod(shape) for shape in tensor_shapes(SMALL).values())
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == total
    for file in files:
        header = 8 + int.from_bytes(file.read_bytes()[:8], "little")
        names = [name for name, place in index["weight_map"].items() if place == file.name]
        assert file.stat().st_size - header <= 4000 or len(names) == 1


def test_the_same_seed_gives_the_same_numbers_and_another_gives_others(make_model: MakeModel) -> None:
    one, same, other = (Checkpoint(make_model(seed)) for seed in (5, 5, 6))
    for name in one.names:
        np.testing.assert_array_equal(one.tensor(name), same.tensor(name))
        assert (one.tensor(name) != other.tensor(name)).any()


def test_all_formats_hold_the_same_numbers_rounded_to_nearest(make_model: MakeModel) -> None:
    exact, half, brain = (Checkpoint(make_model(dtype=kind)) for kind in ("float32", "float16", "bfloat16"))
    for name in exact.names:
        values = exact.tensor(name).astype(np.float64)
        assert (np.abs(half.tensor(name) - values) <= np.abs(values) * 2.0**-11 + 2.0**-25).all()
        assert (np.abs(brain.tensor(name) - values) <= np.abs(values) * 2.0**-8 / (1 + 2.0**-8)).all()


def test_every_part_is_lively(make_model: MakeModel) -> None:
    checkpoint = Checkpoint(make_model(hidden_size=160, intermediate_size=320, vocab_size=300))
    for name, shape in tensor_shapes(checkpoint.config).items():
        values = checkpoint.tensor(name)
        if name.endswith("norm.weight"):
            assert 0.5 <= values.min() < 0.6 < 1.4 < values.max() < 1.5
        elif name.endswith("proj.weight") or name == "lm_head.weight":
            trits, _ = ternarise(values)
            # P(|x| < E|x| / 2) of a normal distribution is 0.31
            assert np.bincount(trits.ravel() + 1) / trits.size == pytest.approx(
                [0.345, 0.31, 0.345], abs=0.02
            )
            residual = name.endswith(("o_proj.weight", "down_proj.weight"))
            branches = 2 * checkpoint.config.num_hidden_layers if residual else 1
            assert values.std() == pytest.approx((shape[1] * branches) ** -0.5, rel=0.02)
    reference = Reference(checkpoint)
    state = reference.initial_state()
    logits = reference.forward(range(100), state)
    assert 0.1 < logits.std() < 10
    assert (state.std(axis=1) > 0.05).all()


def test_progress_counts_bytes_up_to_the_whole(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    synthesise(SMALL, tmp_path, progress=lambda done, total: seen.append((done, total)))
    total = 2 * sum(int(np.prod(shape)) for shape in tensor_shapes(SMALL).values())
    assert seen[-1] == (total, total)
    assert sorted(set(seen)) == seen
    assert {whole for _, whole in seen} == {total}


def test_the_library_reads_what_is_written(tmp_path: Path) -> None:
    synthesise(SMALL, tmp_path, dtype="float32")
    stored = load_file(tmp_path / "model.safetensors")
    checkpoint = Checkpoint(tmp_path)
    for name in checkpoint.names:
        np.testing.assert_array_equal(stored[name], checkpoint.tensor(name))


def test_memory_does_not_grow_with_the_number_of_layers(tmp_path: Path) -> None:
    """The largest tensor takes 13 MB as float32, twelve layers together 170 MB as bfloat16."""
    program = (
        "import resource, sys, tempfile\n"
        "from tritforge.models.config import ModelConfig\n"
        "from tritforge.models.synthesis import synthesise\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "config = lambda n: ModelConfig(hidden_size=768, num_hidden_layers=n, vocab_size=32)\n"
        f"synthesise(config(1), {str(tmp_path / 'one')!r})\n"
        "before = peak()\n"
        f"synthesise(config(12), {str(tmp_path / 'many')!r})\n"
        "print(peak() - before)\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
    written = sum(file.stat().st_size for file in (tmp_path / "many").iterdir())
    assert written > 100e6
    assert int(done.stdout) * 1024 < 20e6


def test_a_directory_that_holds_a_checkpoint_is_left_alone(model_a: Path, tmp_path: Path) -> None:
    with pytest.raises(TritforgeError, match="already holds a checkpoint; choose another directory"):
        synthesise(SMALL, model_a)
    (tmp_path / "file").touch()
    with pytest.raises(TritforgeError, match=re.escape(f"{tmp_path / 'file'} cannot be made")):
        synthesise(SMALL, tmp_path / "file")


def test_wrong_arguments_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TritforgeError, match="dtype must be one of float32, float16, bfloat16, not 'int8'"):
        synthesise(SMALL, tmp_path, dtype="int8")  # type: ignore[arg-type]
    with pytest.raises(TritforgeError, match="seed must not be negative, but is -1"):
        synthesise(SMALL, tmp_path, seed=-1)
    assert not list(tmp_path.iterdir())
