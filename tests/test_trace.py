"""Recorded tensors are those that leave the units in the window; a waveform shows the same numbers."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.data import Const
from amaranth.lib.wiring import In, connect, flipped
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load_file
from tritforge.hdl.accelerator import TRACED, Accelerator, probe_layout
from tritforge.hdl.config import AcceleratorConfig
from tritforge.host.cli import cli
from tritforge.models.checkpoint import Checkpoint
from tritforge.models.errors import TritforgeError
from tritforge.models.golden import GoldenModel
from tritforge.models.image import Image
from tritforge.models.loading import Model, load
from tritforge.models.quantise import quantise
from tritforge.sim.compare import compare
from tritforge.sim.engine import RtlEngine
from tritforge.sim.trace import trace
from tritforge.sim.units import count_cells

A = Path(__file__).parent / "vectors" / "A"
UP5K = AcceleratorConfig.load("up5k")
TOKENS = [7, 250, 3, 3, 99]
STEPS = ("q", "sum", "peak", "energy", "scale")
LAYERED = (
    *("i", "f", "g", "h", "u", "o", "z", "down"),
    *(f"{linear}.{step}" for linear in ("i", "f", "g", "o", "gate_up", "down") for step in STEPS),
)
OUTSIDE = ("embedding", "head", "scale", *(f"head.{step}" for step in STEPS))


@pytest.fixture(scope="module")
def model() -> Model:
    return load(str(A))


needs_compiler = pytest.mark.usefixtures("needs_compiler")


def names(tokens: range, layers: range) -> set[str]:
    """Everything that a recording of one engine must hold."""
    return {
        f"token.{t}/{name}"
        for t in tokens
        for name in (*OUTSIDE, *(f"layer.{layer}/{unit}" for layer in layers for unit in LAYERED))
    }


@cache
def golden_tensors() -> dict[str, NDArray[Any]]:
    """All tensors of the text, computed at once rather than token by token."""
    golden = GoldenModel(quantise(Checkpoint(A)))
    expected: dict[str, NDArray[Any]] = {}

    def keep(layer: int | None, unit: str, values: NDArray[np.int64]) -> None:
        where = unit if layer is None else f"layer.{layer}/{unit}"
        expected.update({f"token.{t}/{where}": row for t, row in enumerate(values)})

    logits, _ = golden.forward(np.array(TOKENS), golden.initial_state(), keep)
    return expected | {f"token.{t}/scale": scale for t, scale in enumerate(logits.scales)}


@given(ends=st.tuples(st.integers(0, 4), st.integers(0, 4)), layers=st.sampled_from(["0", "1", "01"]))
def test_golden_records_what_its_units_compute_in_the_window_and_nothing_else(
    model: Model, ends: tuple[int, int], layers: str
) -> None:
    tokens = range(min(ends), max(ends) + 1)
    chosen = range(int(layers[0]), int(layers[-1]) + 1)
    found = trace(model, TOKENS, engine="golden", window=tokens, layers=chosen)
    assert set(found.tensors) == names(tokens, chosen)
    assert found.comparison is None
    for name, tensor in found.tensors.items():
        assert tensor.dtype == (
            np.float64 if name.endswith("/scale") else np.int64 if name.endswith(".energy") else np.int32
        )
        assert np.array_equal(tensor, golden_tensors()[name]), name


def test_without_windows_everything_is_recorded(model: Model) -> None:
    assert set(trace(model, TOKENS, engine="golden").tensors) == names(range(5), range(2))


@needs_compiler
def test_rtl_records_the_same_tensors(model: Model) -> None:
    found = trace(model, TOKENS, engine="rtl", window=range(1, 4), layers=range(1, 2))
    assert set(found.tensors) == names(range(1, 4), range(1, 2))
    assert found.comparison is None
    for name, tensor in found.tensors.items():
        assert np.array_equal(tensor, golden_tensors()[name]), name


@needs_compiler
def test_both_are_recorded_apart_and_compared_as_verify_does(model: Model) -> None:
    done: list[tuple[int, int]] = []
    found = trace(model, TOKENS, window=range(2, 4), progress=lambda *each: done.append(each))
    one = names(range(2, 4), range(2))
    assert set(found.tensors) == {f"{engine}/{name}" for engine in ("golden", "rtl") for name in one}
    # Compared from the start of the text, but not beyond the window.
    assert found.comparison == compare(model.image(UP5K.layout), UP5K, TOKENS[:4])
    assert found.comparison is not None
    assert found.comparison.equal
    assert done == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.fixture
def damaged(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """One weight byte of layer 1's g_proj, row 5, is another in the accelerator's memory."""
    image = model.image(UP5K.layout)
    memory = image.memory.copy()
    beat = image.map.layer_span(1).offset + image.map.layer["g.matrix"].offset + 5
    memory[beat, 0] ^= 0x80 if memory[beat, 0] & 0x7F else 0x01
    image.memory = memory
    for module in ("trace", "compare"):
        monkeypatch.setattr(f"tritforge.sim.{module}.RtlEngine", lambda *_, **__: RtlEngine(image, UP5K))


@needs_compiler
@pytest.mark.usefixtures("damaged")
def test_a_difference_is_verify_s_and_the_recording_goes_on_to_the_window_s_end(model: Model) -> None:
    found = trace(model, TOKENS, window=range(1, 4))
    assert found.comparison == compare(model.image(UP5K.layout), UP5K, TOKENS)
    assert found.comparison is not None
    first = found.comparison.first_difference
    assert first is not None
    assert (first.layer, first.unit, first.tensor, first.element) == (1, "g", "sum", 5)
    assert len(found.tensors) == 2 * len(names(range(1, 4), range(2)))
    at = f"token.{max(first.token, 1)}/layer.1/g"
    golden, rtl = found.tensors[f"golden/{at}"], found.tensors[f"rtl/{at}"]
    assert np.flatnonzero(golden != rtl).tolist() == [5]


def planted(model: Model, part: str, byte: int, change: Callable[[int], int], size: int = 1) -> Image:
    """The model's image with another number of `size` bytes in a part of layer 1."""
    image = model.image(UP5K.layout)
    image.memory = image.memory.copy()
    at = 8 * (image.map.layer_span(1).offset + image.map.layer[part].offset) + byte
    place = image.memory.reshape(-1)[at : at + size]
    number = change(int.from_bytes(place.tobytes(), "little", signed=True))
    place[:] = np.frombuffer(number.to_bytes(size, "little", signed=True), np.uint8)
    return image


def tensor_of(image: Image, name: str) -> NDArray[np.int64]:
    """A tensor of layer 1, for the first token."""
    found: dict[str, NDArray[np.int64]] = {}
    golden = GoldenModel(image)
    golden.forward(
        np.array(TOKENS[:1]),
        golden.initial_state(),
        lambda layer, unit, values: found.update({unit: values[0]} if layer == 1 else {}),
    )
    return found[name]


def smaller_input(model: Model, linear: str) -> Image:
    """A gain is 0 whose product is not the largest: its input is 0, and the peak stays."""
    element = int(np.argsort(np.abs(tensor_of(model.image(UP5K.layout), f"{linear}.q")))[40])
    return planted(model, f"{linear}.gain", 2 * element, lambda gain: 0, 2)


def other_peak(model: Model, linear: str) -> Image:
    """The gain of the largest product is a little larger or smaller, so that no input changes."""
    right = model.image(UP5K.layout)
    inputs, peak = (tensor_of(right, f"{linear}.{step}") for step in ("q", "peak"))
    largest = np.flatnonzero(np.abs(inputs) == np.abs(inputs).max())
    for element, more in product(largest.tolist(), (*range(1, 12), *range(-12, 0))):
        image = planted(model, f"{linear}.gain", 2 * element, lambda gain, more=more: gain + more, 2)
        if tensor_of(image, f"{linear}.peak") != peak and np.array_equal(
            tensor_of(image, f"{linear}.q"), inputs
        ):
            return image
    raise AssertionError("no gain changes the peak alone")


@needs_compiler
@pytest.mark.parametrize(
    ("unit", "tensor", "plant"),
    [
        *((unit, "q", partial(smaller_input, linear=unit)) for unit in ("i", "g", "o", "down")),
        *((unit, "peak", partial(other_peak, linear=unit)) for unit in ("g", "gate_up")),
        # A norm weight, and the mantissa or the exponent of a header's constant.
        ("i", "energy", lambda model: planted(model, "attn_norm", 6, lambda weight: weight // 2, 2)),
        ("o", "energy", lambda model: planted(model, "g_norm", 6, lambda weight: weight // 2, 2)),
        ("gate_up", "energy", lambda model: planted(model, "mlp_norm", 6, lambda weight: weight // 2, 2)),
        ("g", "scale", lambda model: planted(model, "g.header", 0, lambda mantissa: mantissa ^ 8, 2)),
        ("down", "scale", lambda model: planted(model, "down.header", 2, lambda exponent: exponent + 1)),
    ],
)
def test_a_mistake_is_named_by_the_tensor_that_it_changes_first(
    model: Model,
    unit: str,
    tensor: str,
    plant: Callable[[Model], Image],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The accelerator's memory alone has it; what follows from it differs, too, but later."""
    image = plant(model)
    monkeypatch.setattr("tritforge.sim.compare.RtlEngine", lambda *_, **__: RtlEngine(image, UP5K))
    first = compare(model.image(UP5K.layout), UP5K, TOKENS).first_difference
    assert first is not None
    assert (first.token, first.layer, first.unit, first.tensor) == (0, 1, unit, tensor)
    expected, got = (tensor_of(each, f"{unit}.{tensor}") for each in (model.image(UP5K.layout), image))
    wrong = np.flatnonzero(expected != got)
    assert first.element == wrong[0]
    assert (first.expected, first.got) == (expected[wrong[0]], got[wrong[0]])
    assert first.cycle is not None


@needs_compiler
@pytest.mark.parametrize("probe", ["q", "sum", "scale"])
@pytest.mark.parametrize("times", [0, 2])
def test_what_a_probe_shows_too_seldom_or_too_often_is_a_difference(
    model: Model, probe: str, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = RtlEngine.take_events

    def wrong(self: RtlEngine) -> NDArray[Any]:
        events = exact(self)
        lane = np.flatnonzero(events["lane"] == TRACED.index(probe))
        counts = np.ones(len(events), np.int64)
        counts[lane[-1]] = times  # the head's
        return np.repeat(events, counts)

    monkeypatch.setattr(RtlEngine, "take_events", wrong)
    first = compare(model.image(UP5K.layout), UP5K, TOKENS).first_difference
    assert first is not None
    assert (first.token, first.layer, first.unit, first.tensor) == (0, None, "head", probe)
    assert (first.got if times == 0 else first.expected) is None


class Unwatched(wiring.Component):
    """An accelerator whose probe is connected to nothing."""

    def __init__(self, *, traced: bool) -> None:
        self._inside = Accelerator(replace(UP5K, hidden=32, intermediate=64, states=64), traced=traced)
        members = self._inside.signature.members
        super().__init__({name: member for name, member in members.items() if name != "probe"})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.inside = self._inside
        for name, member in self.signature.members.items():
            inner, outer = getattr(self._inside, name), getattr(self, name)
            if member.is_signature:
                connect(m, flipped(outer), inner)
            else:
                m.d.comb += inner.eq(outer) if member.flow == In else outer.eq(inner)
        return m


@pytest.mark.slow
def test_a_probe_that_nobody_looks_at_costs_nothing() -> None:
    few, all_ = (count_cells(Unwatched(traced=traced), "ice40") for traced in (False, True))
    # Logic is mapped a little otherwise when a design has other names.
    assert all_.pop("lut4") == pytest.approx(few.pop("lut4"), rel=0.005)
    assert all_ == few
    assert few["ff"] > 1000


def test_windows_outside_of_text_and_model_are_refused(model: Model) -> None:
    with pytest.raises(TritforgeError, match="token 5 is outside of the text, whose tokens are 0 to 4"):
        trace(model, TOKENS, engine="golden", window=range(3, 6))
    with pytest.raises(TritforgeError, match="token -1 is outside of the text"):
        trace(model, TOKENS, engine="golden", window=range(-1, 2))
    with pytest.raises(TritforgeError, match="layer 2 is outside of the model, whose layers are 0 to 1"):
        trace(model, TOKENS, engine="golden", layers=range(2, 3))
    for none in (range(3, 3), range(0, 4, 2)):
        with pytest.raises(TritforgeError, match="must be consecutive and at least one"):
            trace(model, TOKENS, engine="golden", window=none)


def test_an_empty_text_an_unknown_engine_and_a_waveform_of_golden_are_refused(
    model: Model, tmp_path: Path
) -> None:
    with pytest.raises(TritforgeError, match="the text is empty"):
        trace(model, [], engine="golden")
    with pytest.raises(TritforgeError, match="engine must be one of golden, rtl, both, not 'float'"):
        trace(model, TOKENS, engine="float")  # type: ignore[arg-type]
    with pytest.raises(TritforgeError, match="choose the engine rtl or both"):
        trace(model, TOKENS, engine="golden", waveform=tmp_path / "golden.fst")
    assert not list(tmp_path.iterdir())


def test_a_file_holds_the_tensors_and_says_what_they_are(model: Model, tmp_path: Path) -> None:
    found = trace(model, TOKENS, engine="golden", window=range(1, 3))
    file = tmp_path / "golden.safetensors"
    found.save(file)
    assert list(tmp_path.iterdir()) == [file]
    tensors = load_file(file)
    assert set(tensors) == set(found.tensors)
    assert all(np.array_equal(tensors[name], golden_tensors()[name]) for name in tensors)
    with safe_open(file, "np") as opened:
        about = opened.metadata()
    assert about["engine"] == "golden"
    assert json.loads(about["tokens"]) == TOKENS[:3]
    assert json.loads(about["fraction_bits"])["h"] == 11
    with pytest.raises(TritforgeError, match="cannot be written"):
        found.save(tmp_path / "missing" / "golden.safetensors")


@needs_compiler
def test_a_waveform_shows_the_window_alone_and_every_element_in_it(model: Model, tmp_path: Path) -> None:
    pywellen = pytest.importorskip("pywellen")
    file = tmp_path / "window.fst"
    found = trace(model, TOKENS, engine="rtl", window=range(2, 4), waveform=file)
    assert list(tmp_path.iterdir()) == [file]
    waveform = pywellen.Waveform(str(file))
    edges = [time for time, level in waveform["TOP.clk"].signal if level == 1]
    assert np.array_equal(np.diff(edges), np.full(len(edges) - 1, 10)), "a cycle takes 10 ns"
    probe, layer = (waveform[f"TOP.{name}"].signal for name in ("probe", "layer"))
    shown: dict[str, list[int]] = {}
    for edge in edges:
        seen: Any = Const(probe_layout(traced=True), int(probe.value_at(edge - 1)))
        for number, name in enumerate(TRACED):
            if seen[number].valid:
                shown.setdefault(f"{name}{layer.value_at(edge - 1)}", []).append(seen[number].value)
    for number in (0, 1):
        for unit in ("h", "i", "f", "g"):
            expected = [found.tensors[f"token.{t}/layer.{number}/{unit}"] for t in (2, 3)]
            assert shown[f"{unit}{number}"] == np.concatenate(expected).tolist(), unit


@needs_compiler
def test_a_waveform_that_cannot_be_written_is_refused_and_leaves_nothing(
    model: Model, tmp_path: Path
) -> None:
    with pytest.raises(TritforgeError, match="cannot be written"):
        trace(model, TOKENS, engine="rtl", waveform=tmp_path / "missing" / "window.fst")
    with pytest.raises(TritforgeError, match="token 9 is outside"):
        trace(model, TOKENS, engine="rtl", window=range(9, 10), waveform=tmp_path / "window.fst")
    assert not list(tmp_path.iterdir())


# The command ------------------------------------------------------------------------------------------------


def run(*arguments: Any) -> Result:
    result = CliRunner().invoke(cli, ["trace", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def text(tmp_path: Path) -> Path:
    file = tmp_path / "tokens.npy"
    np.save(file, TOKENS)
    return file


def test_the_command_writes_golden_s_window(text: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    result = run(
        A, "--tokens", text, "--engine", "golden", "--token", "1..2", "--layers", "1", "-o", out, "--json"
    )
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"engine": "golden", "tensors": 2 * (8 + 38)}
    assert set(load_file(out)) == names(range(1, 3), range(1, 2))


@needs_compiler
def test_the_command_compares_both_and_says_so(text: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    result = run(A, "--tokens", text, "--token", "3", "-o", out)
    assert result.exit_code == 0
    assert result.stdout.startswith("bit-exact: 4 tokens, ")
    assert len(load_file(out)) == 2 * (8 + 2 * 38)


@needs_compiler
@pytest.mark.usefixtures("damaged")
@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_difference_ends_as_with_verify_and_the_tensors_are_there(
    flags: list[str], text: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.safetensors"
    traced = run(A, "--tokens", text, "-o", out, *flags)
    verified = CliRunner().invoke(cli, ["verify", str(A), "--tokens", str(text), *flags])
    assert traced.exit_code == verified.exit_code == 1
    if flags:
        assert json.loads(traced.stdout).items() >= json.loads(verified.stdout).items()
    else:
        assert traced.stdout == verified.stdout
    assert out.is_file()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--token", "3-5"], "'3-5' must be a number or two, as in 3 or 3..5"),
        (["--layers", "5..3"], "'5..3' ends before it begins: write 3..5"),
        (["--engine", "golden", "--fst", "x.fst"], "--fst belongs to the accelerator"),
        (["--engine", "golden", "--accel", "up5k"], "--accel belongs to the accelerator"),
        (["--prompt", "a"], "give either --tokens or --prompt"),
    ],
)
def test_wrong_usage_is_told_in_one_sentence(
    arguments: list[str], complaint: str, text: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.safetensors"
    result = run(A, "--tokens", text, "-o", out, *arguments)
    assert result.exit_code == 2
    assert complaint in result.stderr
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--token", "4..5"], "error: token 5 is outside of the text, whose tokens are 0 to 4\n"),
        (["--layers", "2"], "error: layer 2 is outside of the model, whose layers are 0 to 1\n"),
    ],
)
def test_a_window_that_does_not_exist_leaves_no_file(
    arguments: list[str], complaint: str, text: Path
) -> None:
    out = text.with_name("out.safetensors")
    result = run(A, "--tokens", text, "--engine", "golden", "-o", out, *arguments)
    assert (result.exit_code, result.stderr) == (1, complaint)
    assert list(text.parent.iterdir()) == [text]


def test_another_ending_is_refused(text: Path, tmp_path: Path) -> None:
    result = run(A, "--tokens", text, "--engine", "golden", "-o", tmp_path / "out.npz")
    assert result.exit_code == 1
    assert "out.npz must end in .safetensors" in result.stderr
