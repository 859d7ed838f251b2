"""Whole models on the simulated accelerator, bit for bit equal to the golden model."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tritforge.hdl.compiler import compile_program
from tritforge.hdl.config import AcceleratorConfig
from tritforge.hdl.isa import Opcode
from tritforge.models import zoo
from tritforge.models.checkpoint import Checkpoint, tensor_shapes
from tritforge.models.errors import TritforgeError
from tritforge.models.image import Image, in_memory_image
from tritforge.models.quantise import quantise
from tritforge.models.software import GoldenEngine
from tritforge.sim.compare import compare
from tritforge.sim.engine import RtlEngine, compiled_accelerator

pytestmark = pytest.mark.usefixtures("needs_compiler")

UP5K = AcceleratorConfig.load("up5k")

ODD = {"hidden_size": 67, "intermediate_size": 101, "num_hidden_layers": 3, "vocab_size": 33}
ONE_LAYER = {"hidden_size": 41, "intermediate_size": 500, "num_hidden_layers": 1, "vocab_size": 300}
LARGE_VOCABULARY = {"hidden_size": 5, "intermediate_size": 3, "num_hidden_layers": 4, "vocab_size": 1024}
SMALLEST = {"hidden_size": 1, "intermediate_size": 1, "num_hidden_layers": 1, "vocab_size": 1}
LARGEST = {"hidden_size": 256, "intermediate_size": 256, "num_hidden_layers": 1, "vocab_size": 9}
UNBOUNDED = {
    "hidden_size": 80,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "vocab_size": 2,
    "use_lower_bound": False,
}


def packed(directory: Path, config: AcceleratorConfig = UP5K) -> Image:
    return in_memory_image(quantise(Checkpoint(directory)), config.layout)


def text(seed: int, length: int, vocabulary: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, vocabulary, length)


def test_upstream_s_model_is_equal_in_every_element(
    model_a: Path, vectors_a: dict[str, NDArray[Any]]
) -> None:
    tokens = vectors_a["input_ids"].reshape(-1)
    found = compare(packed(model_a), UP5K, tokens)
    assert found.first_difference is None
    # 24 tokens, 2 layers: embedding; i, f, g, h, u, o, down of 64 and z of 192; 256 logits, scale and
    # saturations.
    # Of the 12 BitLinears inputs, sums, peak, energy and SCALE, and of the head's, besides.
    products = 2 * (5 * 64 + 192 + 5 * 64 + 384 + 6 * 4) + 64 + 256 + 4
    assert found.values_compared == 24 * (64 + 2 * (7 * 64 + 192) + 256 + 2 + products)
    assert found.state_values == 24 * 2 * 64


@pytest.mark.parametrize("name", ["micro", "tiny", "bard"])
def test_a_zoo_model_is_equal_for_a_whole_text(name: str) -> None:
    image = packed(zoo.path(name))
    engine = RtlEngine(image, UP5K)
    tokens = list(engine.generate([5], 203, temperature=0.8, seed=3))
    golden = GoldenEngine(image)
    assert tokens == list(golden.generate([5], 203, temperature=0.8, seed=3))
    assert np.array_equal(engine.state().h, golden.state().h)
    found = compare(image, UP5K, [5, *tokens[:-1]])
    assert found.equal
    assert found.tokens == 203


@pytest.mark.parametrize("fields", [ODD, ONE_LAYER, LARGE_VOCABULARY, LARGEST, SMALLEST, UNBOUNDED])
@pytest.mark.parametrize("stall_rate", [0.0, 0.4])
def test_a_model_of_odd_sizes_is_equal_even_if_the_memory_stalls(
    make_model: Callable[..., Path], fields: dict[str, Any], stall_rate: float
) -> None:
    image = packed(make_model(seed=11, **fields))
    found = compare(image, UP5K, text(1, 12, image.config.vocab_size), stall_rate=stall_rate)
    assert found.first_difference is None
    assert found.tokens == 12


def test_one_build_runs_all_models_by_image_and_program_alone(
    make_model: Callable[..., Path], model_a: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = compiled_accelerator(UP5K)
    # From here on, no Verilator and no C++ compiler can run.
    monkeypatch.setattr("tritforge.sim.build._build", None)
    for directory in [model_a, *(zoo.path(name) for name in zoo.names()), make_model(**ODD)]:
        image = packed(directory)
        assert AcceleratorConfig.smallest_fit(image.config) == UP5K
        engine, golden = RtlEngine(image, UP5K), GoldenEngine(image)
        assert engine.library == library
        ours, theirs = (each.logits(text(2, 5, image.config.vocab_size)) for each in (engine, golden))
        assert np.array_equal(ours[0], theirs[0])
        assert np.array_equal(ours[1], theirs[1])


@pytest.mark.parametrize("temperature", [None, 0.3, 1.0, 7.5])
def test_generation_samples_as_golden_does(
    make_model: Callable[..., Path], temperature: float | None
) -> None:
    image = packed(make_model(seed=5, **ODD))
    engine, golden = RtlEngine(image, UP5K), GoldenEngine(image)
    for seed in (0, 1, 0xFFFFFFFF):
        engine.reset()
        golden.reset()
        ours, theirs = (
            list(each.generate([3, 1], 20, temperature=temperature, seed=seed)) for each in (engine, golden)
        )
        assert ours == theirs
        assert engine.saturations == golden.saturations


def test_generation_ends_at_a_stop_token(make_model: Callable[..., Path]) -> None:
    image = packed(make_model(seed=5, **ODD))
    engine = RtlEngine(image, UP5K)
    free = list(engine.generate([3], 30, temperature=2.0, seed=4))
    stop = free[12]
    engine.reset()
    ended = list(engine.generate([3], 30, temperature=2.0, seed=4, stop=frozenset({stop})))
    assert ended == free[: free.index(stop) + 1]
    assert engine.state().next_token == stop


def test_a_state_continues_as_if_never_interrupted_and_crosses_between_engines(
    make_model: Callable[..., Path],
) -> None:
    image = packed(make_model(seed=8, **ODD))
    whole = list(GoldenEngine(image).generate([7, 2], 30, temperature=1.0, seed=9))
    first, second = RtlEngine(image, UP5K), RtlEngine(image, UP5K)
    begun = list(first.generate([7, 2], 11, temperature=1.0, seed=9))
    second.reset(first.state())
    golden = GoldenEngine(image)
    golden.reset(first.state())
    assert begun + list(second.generate([], 19, temperature=1.0, seed=9)) == whole
    assert begun + list(golden.generate([], 19, temperature=1.0, seed=9)) == whole
    second.reset(golden.state())
    assert np.array_equal(second.state().h, golden.state().h)


def test_a_reader_who_goes_away_leaves_a_state_to_continue_from(make_model: Callable[..., Path]) -> None:
    image = packed(make_model(seed=8, **ODD))
    engine, golden = RtlEngine(image, UP5K), GoldenEngine(image)
    for each in (engine, golden):
        tokens = each.generate([7], 30)
        for _ in range(5):
            next(tokens)
        if each is engine:
            with pytest.raises(TritforgeError, match="when the generation has ended"):
                each.state()
        tokens.close()  # type: ignore[attr-defined]
    assert engine.state().position == golden.state().position == 5
    assert engine.state().next_token == golden.state().next_token
    assert np.array_equal(engine.state().h, golden.state().h)


def test_reset_forgets_the_text(make_model: Callable[..., Path]) -> None:
    image = packed(make_model(seed=2, **ODD))
    engine = RtlEngine(image, UP5K)
    first = engine.logits([4, 5, 6])[0]
    engine.reset()
    assert not engine.state().h.any()
    assert np.array_equal(engine.logits([4, 5, 6])[0], first)


def test_saturations_are_counted_alike(make_model: Callable[..., Path]) -> None:
    directory = make_model(seed=3, **ODD)
    # Huge pre-activations: i, f, g, gate and up leave their format.
    weights = quantise(Checkpoint(directory))
    block = weights.block(0)
    loud = {
        name: (getattr(block, name).constant[0], getattr(block, name).constant[1] + 9)
        for name in ("i", "g", "gate_up")
    }

    class Loud:
        config, tokenizer = weights.config, None
        embedding, head = staticmethod(weights.embedding), staticmethod(weights.head)

        @staticmethod
        def block(layer: int) -> Any:

            original = weights.block(layer)
            return replace(
                original,
                **{name: replace(getattr(original, name), constant=scale) for name, scale in loud.items()},
            )

    found = compare(in_memory_image(Loud(), UP5K.layout), UP5K, text(4, 8, 33))
    assert found.first_difference is None
    assert found.saturations > 100


def test_a_wrong_weight_is_found_where_it_is(
    make_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = packed(make_model(seed=6, **ODD))
    other = packed(make_model(seed=6, **ODD))
    # One weight byte of layer 1's g_proj, row 5, in the accelerator's memory alone.
    span = other.map.layer["g.matrix"]
    memory = other.memory.copy()
    beat = other.map.layer_span(1).offset + span.offset + 5
    memory[beat, 0] ^= 0x80 if memory[beat, 0] & 0x7F else 0x01
    other.memory = memory
    monkeypatch.setattr("tritforge.sim.compare.RtlEngine", lambda *_, **__: RtlEngine(other, UP5K))
    found = compare(image, UP5K, text(7, 6, 33))
    assert found.first_difference is not None
    difference = found.first_difference
    assert (difference.layer, difference.unit, difference.element) == (1, "g", 5)
    assert difference.cycle is not None
    assert difference.expected != difference.got


@pytest.mark.parametrize("factor", [2.0, 1 + 2.0**-14])
def test_a_wrong_scale_is_found(
    factor: float, make_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = packed(make_model(seed=6, **ODD))
    exact = RtlEngine.consume

    def wrong(self: RtlEngine, tokens: Any, **how: Any) -> dict[int, Any]:
        found = exact(self, tokens, **how)
        return {stream: (sums, scale * factor) for stream, (sums, scale) in found.items()}

    monkeypatch.setattr(RtlEngine, "consume", wrong)
    difference = compare(image, UP5K, text(7, 2, 33)).first_difference
    assert difference is not None
    assert (difference.token, difference.unit) == (0, "scale")
    assert difference.got is not None
    assert difference.expected is not None
    assert difference.got / difference.expected == pytest.approx(factor, rel=1e-6 if factor == 2 else 1e-4)
    assert difference.got > difference.expected


def test_a_larger_model_runs_on_a_larger_preset(make_model: Callable[..., Path]) -> None:
    image_fields = {"hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 2, "vocab_size": 700}
    directory = make_model(seed=1, **image_fields)
    config = AcceleratorConfig.smallest_fit(Checkpoint(directory).config)
    assert config.name == "medium"
    found = compare(packed(directory, config), config, text(3, 3, 700))
    assert found.first_difference is None


def test_what_does_not_fit_is_refused_with_the_numbers(make_model: Callable[..., Path]) -> None:
    image = packed(make_model(hidden_size=257, num_hidden_layers=1))
    with pytest.raises(
        TritforgeError, match="does not fit the accelerator up5k: hidden size 257 of at most 256"
    ):
        RtlEngine(image, UP5K)


def test_an_image_of_another_layout_is_refused(make_model: Callable[..., Path]) -> None:
    medium = AcceleratorConfig.load("medium")
    image = packed(make_model(), medium)
    with pytest.raises(TritforgeError, match=r"laid out for 80 lanes .* has 40"):
        RtlEngine(image, UP5K)


def test_a_run_without_progress_says_who_waits_for_what(make_model: Callable[..., Path]) -> None:
    engine = RtlEngine(packed(make_model(**ODD)), UP5K, stall_rate=1.0, patience=2000)
    with pytest.raises(TritforgeError, match=r"before EMBED, .*the vector unit waits for weight beats"):
        engine.logits([1])


def test_the_rtl_engine_does_not_import_the_golden_model() -> None:
    program = "import sys, tritforge.sim.engine; print('tritforge.models.golden' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"



def test_equal_norm_weights_of_i_f_and_g_save_two_projections_and_change_nothing(
    model_a: Path, tmp_path: Path
) -> None:
    checkpoint = Checkpoint(model_a)
    tensors = {name: checkpoint.tensor(name) for name in tensor_shapes(checkpoint.config)}
    for layer in range(checkpoint.config.num_hidden_layers):
        for name in "fg":
            prefix = f"model.layers.{layer}.attn."
            tensors[f"{prefix}{name}_proj.norm.weight"] = tensors[f"{prefix}i_proj.norm.weight"]
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(checkpoint.config.to_dict()))
    shared, apart = packed(tmp_path), packed(model_a)
    assert shared.shared_inputs
    assert not apart.shared_inputs
    programs = [
        compile_program(image.config, UP5K, shared_inputs=image.shared_inputs) for image in (apart, shared)
    ]
    opcodes = [[each.opcode for each in program.instructions] for program in programs]
    assert [each.count(Opcode.PROJECT) for each in opcodes] == [7, 5]
    assert compare(shared, UP5K, text(3, 30, 256)).equal
