"""RTL against golden on accelerators of several streams: every tensor of each text, or of each position."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tritforge.hdl.config import AcceleratorConfig
from tritforge.hdl.datapath import TRACED
from tritforge.host.cli import cli
from tritforge.models.checkpoint import Checkpoint
from tritforge.models.errors import TritforgeError
from tritforge.models.golden import GoldenModel
from tritforge.models.image import Image, in_memory_image
from tritforge.models.loading import load
from tritforge.models.quantise import quantise
from tritforge.sim.compare import compare
from tritforge.sim.engine import RtlEngine
from tritforge.sim.tensors import steps
from tritforge.sim.trace import trace

A = Path(__file__).parent / "vectors" / "A"
UP5K = AcceleratorConfig.load("up5k")
CONFIGS = {streams: replace(UP5K, streams=streams) for streams in (1, 2, 4)}
V = 33
ODD = {"hidden_size": 67, "intermediate_size": 101, "num_hidden_layers": 3, "vocab_size": V}
INPUTS, SUMS, SCALES = 5 * 67 + 101, 5 * 67 + 202, 6 * 4
VALUES = 67 + 3 * (7 * 67 + 101 + INPUTS + SUMS + SCALES) + V + 1 + 67 + V + 4
"""Numbers that a token is compared by: embedding; i, f, g, h, u, o, down and z; inputs, sums, peaks, energies
and SCALEs of a layer's BitLinears; logits and scale; the same of the head's."""

needs_compiler = pytest.mark.usefixtures("needs_compiler")


@pytest.fixture
def directory(make_model: Callable[..., Path]) -> Path:
    return make_model(seed=21, **ODD)


@pytest.fixture
def image(directory: Path) -> Image:
    return in_memory_image(quantise(Checkpoint(directory)), UP5K.layout)


def draw(seed: int, *lengths: int) -> list[NDArray[np.int64]]:
    random = np.random.default_rng(seed)
    return [random.integers(0, V, length) for length in lengths]


def golden_tensors(image: Image, text: NDArray[np.int64], prefix: str) -> dict[str, Any]:
    """A text's tensors, computed at once rather than step by step."""
    golden = GoldenModel(image)
    found: dict[str, Any] = {}

    def keep(layer: int | None, unit: str, values: NDArray[np.int64]) -> None:
        where = unit if layer is None else f"layer.{layer}/{unit}"
        found.update({f"{prefix}token.{t}/{where}": row for t, row in enumerate(values)})

    logits, _ = golden.forward(text, golden.initial_state(), keep)
    return found | {f"{prefix}token.{t}/scale": scale for t, scale in enumerate(logits.scales)}


@needs_compiler
@pytest.mark.parametrize("stall_rate", [0.0, 0.3])
@pytest.mark.parametrize(
    ("streams", "lengths"), [(2, (5, 2)), (2, (1, 6)), (4, (3, 7, 1, 4)), (4, (2, 5)), (4, (1, 1, 1, 1))]
)
def test_texts_of_different_lengths_are_equal_in_every_element(
    image: Image, streams: int, lengths: tuple[int, ...], stall_rate: float
) -> None:
    done: list[tuple[int, int]] = []
    found = compare(
        image,
        CONFIGS[streams],
        *draw(streams, *lengths),
        progress=lambda *each: done.append(each),
        stall_rate=stall_rate,
    )
    assert found.first_difference is None
    assert found.tokens == sum(lengths)
    # And the clamped values of each step.
    assert found.values_compared == sum(lengths) * VALUES + max(lengths)
    assert found.state_values == sum(lengths) * 3 * 67
    assert [each for each, _ in done] == np.cumsum(
        [sum(t < length for length in lengths) for t in range(max(lengths))]
    ).tolist()


@needs_compiler
@pytest.mark.parametrize("streams", [2, 4])
def test_positions_of_one_text_that_pass_together_are_equal_in_every_element(
    image: Image, streams: int
) -> None:
    for length in (*range(1, 2 * streams + 2), 4 * streams - 1):
        found = compare(image, CONFIGS[streams], *draw(length, length))
        assert found.first_difference is None
        assert found.tokens == length
        assert found.values_compared == length * VALUES + -(-length // streams)


@needs_compiler
@pytest.mark.parametrize(
    ("streams", "lengths"), [(2, (4, 2)), (4, (2, 1, 4, 3)), (2, (5,)), (4, (6,)), (4, (3,))]
)
def test_recorded_tensors_are_those_that_golden_computes_of_each_text_alone(
    directory: Path, streams: int, lengths: tuple[int, ...]
) -> None:
    model, texts = load(str(directory)), draw(3, *lengths)
    image = model.image(UP5K.layout)
    found = trace(model, *texts, accelerator=CONFIGS[streams])
    assert found.comparison is not None
    assert found.comparison.equal
    expected: dict[str, Any] = {}
    for k, each in enumerate(texts):
        expected |= golden_tensors(image, each, f"text.{k}/" if len(texts) > 1 else "")
    assert set(found.tensors) == {f"{engine}/{name}" for engine in ("golden", "rtl") for name in expected}
    for name, tensor in found.tensors.items():
        assert np.array_equal(tensor, expected[name.partition("/")[2]]), name


@needs_compiler
def test_a_window_holds_the_tokens_of_all_texts_that_reach_it(directory: Path) -> None:
    texts = draw(4, 5, 2, 3)
    how: dict[str, Any] = {"accelerator": CONFIGS[4], "layers": range(1)}
    found = trace(load(str(directory)), *texts, engine="rtl", window=range(2, 4), **how)
    assert {name.rpartition("/layer")[0] for name in found.tensors if "/layer" in name} == {
        "text.0/token.2",
        "text.0/token.3",
        "text.2/token.2",
    }
    assert json.loads(found.about["tokens"]) == [each[:4].tolist() for each in texts]
    with pytest.raises(TritforgeError, match="token 5 is outside of the longest text, whose tokens are 0 to"):
        trace(load(str(directory)), *texts, engine="golden", window=range(2, 6))


@needs_compiler
def test_a_waveform_lasts_from_the_step_of_the_window_s_first_token_to_that_of_its_last(
    directory: Path, image: Image, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    called: list[Any] = []

    class Watched(RtlEngine):
        def __init__(self, image: Image, config: AcceleratorConfig, *, waveforms: bool) -> None:
            super().__init__(image, config)

        def waveform(self, path: Path | None) -> None:
            called.append("begins" if path else "ends")

        def consume(self, tokens: Any, **how: Any) -> Any:
            called.append(len(tokens))
            return super().consume(tokens, **how)

    monkeypatch.setattr("tritforge.sim.trace.RtlEngine", Watched)
    for text, window, expected in (
        (draw(5, 7), range(3, 5), [2, "begins", 2, 1, "ends"]),
        (draw(5, 3, 1), range(1, 2), [2, "begins", 1, "ends"]),
    ):
        called.clear()
        how: dict[str, Any] = {"accelerator": CONFIGS[2], "window": window, "waveform": tmp_path / "x.fst"}
        trace(load(str(directory)), *text, engine="rtl", **how)
        assert called == expected


@needs_compiler
@pytest.mark.parametrize("lengths", [(3, 3), (4,)])
def test_a_difference_names_its_text_and_token(
    image: Image, lengths: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Element 7 of stream 1's third h of the second step is another."""
    exact, taken = RtlEngine.take_events, []

    def wrong(self: RtlEngine) -> NDArray[Any]:
        events = exact(self)
        taken.append(len(events))
        if len(taken) == 2:
            places = np.flatnonzero(events["lane"] == len(TRACED) + TRACED.index("h"))
            events["value"][places[2 * 67 + 7]] += 1
        return events

    monkeypatch.setattr(RtlEngine, "take_events", wrong)
    found = compare(image, CONFIGS[2], *draw(5, *lengths))
    first = found.first_difference
    assert first is not None
    assert (first.text, first.token) == ((1, 1) if len(lengths) > 1 else (0, 3))
    assert (first.layer, first.unit, first.element) == (2, "h", 7)
    assert first.expected is not None
    assert first.got == first.expected + 1
    assert found.tokens == 2
    assert len(taken) == 2


@needs_compiler
def test_what_a_text_that_has_ended_still_writes_is_a_difference(
    image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = RtlEngine.take_events

    def more(self: RtlEngine) -> NDArray[Any]:
        events = exact(self)
        stray = events[events["lane"] == TRACED.index("g")][:1].copy()
        stray["lane"] += len(TRACED)
        return events if (events["lane"] >= len(TRACED)).any() else np.concatenate([events, stray])

    monkeypatch.setattr(RtlEngine, "take_events", more)
    found = compare(image, CONFIGS[2], *draw(6, 3, 1))
    first = found.first_difference
    assert first is not None
    assert (first.text, first.token, first.layer, first.unit, first.element) == (1, 1, 0, "g", 0)
    assert first.expected is None
    assert found.tokens == 2


@given(lengths=st.lists(st.integers(0, 9), min_size=1, max_size=4), more=st.integers(0, 3))
def test_steps_hold_every_token_once_and_no_stream_twice(lengths: Sequence[int], more: int) -> None:
    texts = [np.arange(length) + 100 * k for k, length in enumerate(lengths)]
    streams = len(texts) + more
    taken: list[list[int]] = [[] for _ in texts]
    for places in steps(texts, streams):
        assert places
        assert len({place.stream for place in places}) == len(places) <= streams
        assert all(place.stream < streams for place in places)
        for place in places:
            assert place.position == len(taken[place.text])
            taken[place.text].append(place.token)
            assert len(texts) == 1 or place.stream == place.text
    assert taken == [each.tolist() for each in texts]


def test_more_texts_than_streams_are_refused() -> None:
    with pytest.raises(
        TritforgeError, match="3 texts need an accelerator of as many streams; this one has 2"
    ):
        list(steps(draw(0, 1, 1, 1), 2))


# The commands


def run(*arguments: Any) -> Result:
    result = CliRunner().invoke(cli, [*map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    found = [tmp_path / f"{k}.npy" for k in range(2)]
    for file, tokens in zip(found, ([7, 250, 3], [99]), strict=True):
        np.save(file, tokens)
    return found


@needs_compiler
def test_verify_and_trace_take_a_text_for_each_stream(files: list[Path], tmp_path: Path) -> None:
    given = ("--tokens", files[0], "--tokens", files[1])
    shown = json.loads(run("verify", A, *given, "--streams", 2, "--json").stdout)
    assert (shown["equal"], shown["tokens"], shown["first_difference"]) == (True, 4, None)
    out = tmp_path / "out.safetensors"
    traced = run("trace", A, *given, "--streams", 2, "--layers", 0, "--token", 0, "-o", out, "--json")
    assert json.loads(traced.stdout)["tensors"] == 2 * 2 * (8 + 38)


@needs_compiler
def test_verify_lets_tokens_of_one_text_pass_together(files: list[Path]) -> None:
    assert run("verify", A, "--tokens", files[0], "--streams", 2).stdout.startswith("bit-exact: 3 tokens, ")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "error: 2 texts need an accelerator of as many streams; this one has 1\n"),
        (("--streams", 17), "error: accelerator up5k: streams must be from 1 to 16, not 17\n"),
    ],
)
def test_streams_that_do_not_suffice_are_told(
    arguments: tuple[Any, ...], complaint: str, files: list[Path]
) -> None:
    result = run("verify", A, "--tokens", files[0], "--tokens", files[1], "--accel", "up5k", *arguments)
    assert (result.exit_code, result.stderr) == (1, complaint)


def test_streams_belong_to_the_accelerator(files: list[Path], tmp_path: Path) -> None:
    result = run(
        "trace",
        A,
        "--tokens",
        files[0],
        "--engine",
        "golden",
        "--streams",
        2,
        "-o",
        tmp_path / "x.safetensors",
    )
    assert result.exit_code == 2
    assert "--streams belongs to the accelerator" in result.stderr
