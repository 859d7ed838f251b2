"""The driver and the engine of a board, over a device in Python, next to the golden model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from tritforge.hdl.config import AcceleratorConfig
from tritforge.hdl.link.protocol import Space
from tritforge.host.link import engine as board_engine
from tritforge.host.link.device import GoldenDevice
from tritforge.host.link.driver import Board
from tritforge.host.link.engine import BoardEngine
from tritforge.host.link.frames import Request
from tritforge.host.link.payloads import memory_bytes, settings_bytes, text_table
from tritforge.host.link.transport import InProcess
from tritforge.models.config import ModelConfig
from tritforge.models.engine import State
from tritforge.models.errors import TritforgeError
from tritforge.models.image import Image, Layout
from tritforge.models.loading import load
from tritforge.models.software import GoldenEngine
from tritforge.models.synthesis import synthesise

CONFIG = replace(AcceleratorConfig.load("up5k"), memory_beats=1024)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    directory: Path = tmp_path_factory.mktemp("models") / "small"
    synthesise(
        ModelConfig(hidden_size=10, num_hidden_layers=2, vocab_size=13, intermediate_size=12), directory, 5
    )
    return load(directory).image(CONFIG.layout)


def opened(device: GoldenDevice | None = None) -> Board:
    board = Board(InProcess(device or GoldenDevice(CONFIG)), timeout=0, patience=0.2)
    board.open(CONFIG)
    return board


@pytest.fixture
def pair(image: Image) -> tuple[BoardEngine, GoldenEngine]:
    return BoardEngine(opened(), image, CONFIG), GoldenEngine(image)


Pair = tuple[BoardEngine, GoldenEngine]


def same(ours: State, theirs: State) -> bool:
    return (ours.h == theirs.h).all() and replace(ours, h=theirs.h) == theirs


@pytest.mark.parametrize("temperature", [None, 0.01, 0.9, 100])
def test_tokens_and_states_are_the_golden_model_s(temperature: float | None, pair: Pair) -> None:
    tokens = [[*each.generate([1, 2, 3], 20, temperature=temperature, seed=2**32 - 1)] for each in pair]
    assert tokens[0] == tokens[1]
    assert same(pair[0].state(), pair[1].state())


def test_long_texts_go_round_the_ring(pair: Pair) -> None:
    prompt = [k % 13 for k in range(75)]
    tokens = [[*each.generate(prompt, 300, temperature=1.0)] for each in pair]
    assert tokens[0] == tokens[1]
    assert len(tokens[0]) == 300


def test_logits_are_the_golden_model_s(pair: Pair) -> None:
    (sums, scales), (golden_sums, golden_scales) = (each.logits(range(13)) for each in pair)
    assert np.array_equal(sums, golden_sums)
    assert np.array_equal(scales, golden_scales)
    assert same(pair[0].state(), pair[1].state())


def test_a_text_goes_on_and_a_state_is_saved_and_restored(pair: Pair, image: Image) -> None:
    board, golden = pair
    first = [[*each.generate([4], 5)] for each in pair]
    second = [[*each.generate([], 5)] for each in pair]
    assert first[0] + second[0] == first[1] + second[1]
    other = BoardEngine(opened(), image, CONFIG)
    other.reset(golden.state())
    golden_state = golden.state()
    board.reset(golden_state)
    assert same(other.state(), golden_state)
    assert [*other.generate([], 5)] == [*golden.generate([], 5)] == [*board.generate([], 5)]


def test_a_new_text_forgets_the_one_before(pair: Pair) -> None:
    once = [*pair[0].generate([1], 5)]
    pair[0].reset()
    assert not pair[0].state().h.any()
    assert [*pair[0].generate([1], 5)] == once


def test_a_stop_token_ends_a_generation(pair: Pair) -> None:
    whole = [*pair[1].generate([1], 30, temperature=1.0)]
    stop = whole[4]
    found = [*pair[0].generate([1], 30, temperature=1.0, stop=frozenset([stop]))]
    assert found == whole[: whole.index(stop) + 1]
    with pytest.raises(TritforgeError, match=r"^3 stop tokens are more than the 2 that"):
        pair[0].generate([1], 1, stop=frozenset([1, 2, 3]))


def test_a_halted_run_ends_early_and_goes_on_where_it_ended(pair: Pair) -> None:
    run = pair[0].generate([1], 5000, temperature=1.0)
    tokens = [*islice(run, 3)]
    pair[0].board.halt()
    tokens += run
    assert 3 < len(tokens) < 300
    more = [*pair[0].generate([], 5, temperature=1.0)]
    assert tokens + more == [*pair[1].generate([1], len(tokens) + 5, temperature=1.0)]
    assert same(pair[0].state(), pair[1].state())


def test_a_reader_who_goes_away_leaves_a_text_that_can_go_on(pair: Pair) -> None:
    run = pair[0].generate([1], 5000, temperature=1.0)
    next(run)
    run.close()
    state = pair[0].state()
    golden = [*pair[1].generate([1], state.position, temperature=1.0)]
    assert state.next_token == golden[-1]
    assert [*pair[0].generate([], 3, temperature=1.0)] == [*pair[1].generate([], 3, temperature=1.0)]


class Hurried(GoldenDevice):
    """Whoever listens to it has it halted while it consumes its second request of a prompt's tokens."""

    halt: Callable[[], None]
    prompts = 0

    def _write(self, request: Request) -> None:
        super()._write(request)
        if request.space == Space.TOKENS:
            self.prompts += 1
            if self.prompts == 2:
                self.halt()


def test_a_halt_while_a_prompt_is_consumed_ends_it_and_the_text_can_go_on(image: Image) -> None:
    device, golden = Hurried(CONFIG), GoldenEngine(image)
    engine = BoardEngine(opened(device), image, CONFIG)
    device.halt = engine.board.halt
    prompt = [k % 13 for k in range(75)]
    assert [*engine.generate(prompt, 9)] == []
    consumed = engine.state().position
    assert 16 < consumed < 50
    assert (engine.timing.prompt_tokens, engine.cycles) == (consumed, 0)
    assert [*golden.generate(prompt[: consumed + 1], 0)] == []
    assert same(engine.state(), golden.state())
    # What is asked for after it is not halted.
    rest = prompt[consumed + 1 :]
    assert [*engine.generate(rest, 9)] == [*golden.generate(rest, 9)]


def test_a_halt_between_two_parts_of_a_long_run_ends_it(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board_engine, "MOST_TOKENS", 4)
    run = pair[0].generate([1], 50, temperature=1.0)
    tokens = [*islice(run, 4)]
    pair[0].board.halt()
    assert [*run] == []
    tokens += pair[0].generate([], 9, temperature=1.0)
    assert tokens == [*pair[1].generate([1], 13, temperature=1.0)]


def test_nothing_new_consumes_the_prompt_but_for_its_last_token(pair: Pair) -> None:
    for each in pair:
        assert [*each.generate([1, 2, 3], 0)] == []
    assert same(pair[0].state(), pair[1].state())


# Identity ---------------------------------------------------------------------------------------------------


def test_a_board_says_what_it_is() -> None:
    board = Board(InProcess(GoldenDevice(CONFIG, build="00112233445566ff")), timeout=0)
    found = board.open(CONFIG, "00112233445566ff")
    assert (found.protocol, found.build, found.config) == (1, "00112233445566ff", CONFIG.digest()[:16])


def test_another_build_is_refused_in_one_sentence() -> None:
    board = Board(InProcess(GoldenDevice(CONFIG)), timeout=0)
    with pytest.raises(TritforgeError, match=r"is of build 0{16}, not f{16}: flash the bitstream") as caught:
        board.open(CONFIG, "f" * 16)
    assert "\n" not in str(caught.value)


def test_another_accelerator_is_refused_with_both_hashes() -> None:
    other = replace(CONFIG, hidden=128)
    board = Board(InProcess(GoldenDevice(other)), timeout=0)
    with pytest.raises(TritforgeError, match=f"{other.digest()[:16]}.*{CONFIG.digest()[:16]}"):
        board.open(CONFIG)


def test_another_protocol_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tritforge.host.link.device.PROTOCOL", 9)
    board = Board(InProcess(GoldenDevice(CONFIG)), timeout=0)
    with pytest.raises(TritforgeError, match=r"speaks version 9 of the link, and this tritforge version 1"):
        board.open(CONFIG)


class Silent:
    clock_hz = None
    busy = False

    def exchange(self, data: bytes) -> bytes:
        return b""


def test_a_device_that_does_not_answer_is_told() -> None:
    with pytest.raises(TritforgeError, match=r"^the device on nowhere does not answer: asked 6 times"):
        Board(InProcess(Silent(), "nowhere"), timeout=0).open(CONFIG)


# Loading ----------------------------------------------------------------------------------------------------


def test_what_is_there_already_is_not_written(image: Image) -> None:
    device = GoldenDevice(CONFIG)
    memory = memory_bytes(image)
    first = BoardEngine(opened(device), image, CONFIG).loaded
    assert (first.written, first.kept) == (len(memory), 0)
    again = BoardEngine(opened(device), image, CONFIG).loaded
    assert (again.written, again.kept) == (0, len(memory))


@pytest.mark.parametrize("at", [0, 1, 2047, 2048, 5000, 8191])
def test_only_the_stretch_that_differs_is_written(at: int) -> None:
    board = opened()
    memory = np.random.default_rng(1).bytes(8192)
    board.load(memory)
    changed = bytearray(memory)
    changed[at] ^= 1
    assert board.load(bytes(changed)).written == 2048
    assert board.link.read(1, 0, 8192) == changed


def test_a_difference_that_a_whole_stretch_s_crc_does_not_see_is_found() -> None:
    board = opened()
    memory = bytes(4096)
    board.load(memory)
    # The generator polynomial itself, 1 0001 0000 0010 0001, on both sides of the middle: its CRC is 0.
    changed = memory[:1023] + bytes([0x01, 0x10, 0x21]) + memory[1026:]
    assert board.link.holds(1, 0, changed[:2048])
    assert board.load(changed).written == 2048
    assert board.link.read(1, 0, 4096) == changed


def test_progress_ends_with_everything(image: Image) -> None:
    steps: list[tuple[int, int]] = []
    opened().load(bytes(5120), lambda *step: steps.append(step))
    assert steps == [(2048, 5120), (4096, 5120), (5120, 5120)]


class Forgetful(GoldenDevice):
    """Its weight memory cannot be written."""

    def _write(self, request: Request) -> None:
        if request.space != Space.WEIGHTS:
            super()._write(request)


def test_a_memory_that_does_not_hold_what_is_written_is_told() -> None:
    with pytest.raises(
        TritforgeError, match=r"^the weight memory of the device on .* does not hold what was"
    ):
        opened(Forgetful(CONFIG)).load(bytes(256))


def test_an_image_of_another_layout_is_refused(image: Image, make_model: Callable[..., Path]) -> None:
    other = load(make_model(hidden_size=10, vocab_size=13)).image(Layout(tables=16, row_block=256))
    with pytest.raises(TritforgeError, match=r"laid out for 80 lanes"):
        BoardEngine(opened(), other, CONFIG)


def test_a_device_that_hangs_is_told_with_what_to_do(image: Image) -> None:
    engine = BoardEngine(opened(), image, CONFIG)
    engine.board.write_program(bytes(240))
    with pytest.raises(TritforgeError, match=r"has chosen no token for 0\.2 s: load the model"):
        next(engine.generate([1], 1))


# Payloads ---------------------------------------------------------------------------------------------------


def test_settings_lie_as_documented() -> None:
    data = settings_bytes(temperature=0.5, seed=0x89ABCDEF, stop=[7, 0x1234], emit_raw=True, cause=3)
    bits = int.from_bytes(data, "little")
    fields = []
    for width in (16, 16, 2, 1, 1, 15, 8, 32, 5):
        fields.append(bits & ((1 << width) - 1))
        bits >>= width
    # 2 = 2**14 * 2**-13.
    assert fields == [7, 0x1234, 3, 1, 1, 1 << 14, 256 - 13, 0x89ABCDEF, 3]
    assert len(data) == 12
    assert bits == 0


def test_the_text_of_tokens_is_their_characters_and_a_line_break_at_the_end() -> None:
    model = load("tiny")
    table = text_table(model)
    assert model.symbols is not None
    for token, symbol in enumerate(model.symbols):
        assert table[token] == (10 if token in model.stop else ord(symbol))


def test_a_table_that_would_reach_the_identity_is_refused() -> None:
    with pytest.raises(TritforgeError, match=r"^a device has room for the text of 110 tokens, not for 112$"):
        opened().write_table(bytes(112))


def test_a_model_without_characters_has_no_table(make_model: Callable[..., Path]) -> None:
    with pytest.raises(TritforgeError, match=r"has 37 tokens of more than a character$"):
        text_table(load(make_model()))
