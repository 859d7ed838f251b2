"""A board, simulated from its link's bytes inward, tells the golden model's tokens and states."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from board_setup import BUILD, CONFIG, IDENTITY
from link_host import (
    AS_TEXT,
    BOOT_FAILED,
    CHECK,
    CHOOSE,
    CONTROL,
    HALT,
    IDLE,
    OPEN,
    OPENED,
    POSITION,
    PROGRAM,
    READ,
    REFUSED,
    RESET,
    RING,
    SETTINGS,
    STATE,
    TABLE,
    TOKENS,
    WEIGHTS,
    WRITE,
    Host,
    answers,
    request,
)
from tritforge.hdl.accelerator import CAUSES
from tritforge.hdl.compiler import compile_program
from tritforge.hdl.link.settings import SETTINGS as SETTINGS_LAYOUT
from tritforge.models.checkpoint import Checkpoint
from tritforge.models.config import ModelConfig
from tritforge.models.image import in_memory_image
from tritforge.models.numerics import to_scale
from tritforge.models.quantise import IntegerModel, quantise
from tritforge.models.software import GoldenEngine
from tritforge.models.synthesis import synthesise
from tritforge.sim.board import BoardSim

pytestmark = pytest.mark.usefixtures("needs_compiler")


def settings(**fields: object) -> bytes:
    packed = int(SETTINGS_LAYOUT.const({"cause": 0x1F, **fields}).as_value().value)
    return packed.to_bytes(12, "little")


def parts(model: IntegerModel) -> tuple[bytes, bytes]:
    """Weights and program."""
    image = in_memory_image(model, CONFIG.layout)
    program = compile_program(model.config, CONFIG, shared_inputs=image.shared_inputs)
    return image.memory.tobytes(), words(program.words())


def words(values: Iterable[int]) -> bytes:
    return b"".join(value.to_bytes(2, "little") for value in values)


class Device(Host):
    """A board with a model."""

    def __init__(self, model: IntegerModel, flash: bytes = b"", *, loaded: bool = True) -> None:
        self.board = BoardSim(CONFIG, BUILD, flash=flash)
        super().__init__(self.board.exchange)
        self.model = model
        self.taken = 0
        self.memory, self.program = parts(model)
        if loaded:
            self.open()
            self.write(WEIGHTS, self.memory)
            self.write(PROGRAM, self.program)

    def begin(self, **fields: object) -> None:
        self.open()
        self.taken = 0
        self.write(SETTINGS, settings(**fields))
        self.ask(WRITE | POSITION, 0, b"\0\0")

    def prompt(self, tokens: list[int], count: int) -> None:
        """Consume tokens, and choose some after the last."""
        self.write(TOKENS, words(tokens[:-1]))
        while self.ask(WRITE | CHOOSE, count, words(tokens[-1:])).status & REFUSED:
            pass

    def results(self, count: int) -> list[int]:
        """The next words of the ring."""
        found: list[int] = []
        for _ in range(1000):
            answer = self.ask(READ | RING, self.taken % 256, count=min(2 * (count - len(found)), 120))
            there = min((answer.produced - self.taken) % 256, len(answer.data) // 2)
            found += np.frombuffer(answer.data, "<u2")[:there].tolist()
            self.taken += there
            if len(found) == count:
                return found
            self.exchange(b"")
        raise AssertionError(f"only {len(found)} words of {count}")

    def states(self) -> np.ndarray:
        config = self.model.config
        while not self.ask(READ | RING, self.taken % 256, count=0).status & IDLE:
            self.exchange(b"")
        data = self.read(STATE, 2 * config.num_hidden_layers * config.hidden_size)
        return np.frombuffer(data, "<i2").reshape(config.num_hidden_layers, -1)


@pytest.fixture(scope="module")
def device(model_a: Path) -> Device:
    return Device(quantise(Checkpoint(model_a)))


@pytest.fixture(scope="module")
def golden(device: Device) -> GoldenEngine:
    return GoldenEngine(device.model)


PROMPT = [7, 250, 3, 99, 128]


def test_the_board_says_which_it_is(device: Device) -> None:
    assert device.open() == IDENTITY


def test_memory_holds_what_was_loaded(device: Device) -> None:
    assert device.read(WEIGHTS, 4096, 256) == device.memory[512 : 512 + 4096]
    whole = device.memory[: len(device.memory) // 256 * 256]
    for start in range(0, len(whole), 127 * 256):
        part = whole[start : start + 127 * 256]
        device.ask(CHECK | WEIGHTS, start // 2, count=len(part) // 256, covered=part)


def test_a_board_is_busy_until_its_answer_has_ended(device: Device) -> None:
    device.open()
    asked = request(9, CHECK | WEIGHTS, count=20)
    sent = device.board.exchange(asked)
    assert device.board.busy
    assert not answers(sent, device.memory[: 20 * 256])
    while device.board.busy:
        sent += device.board.exchange(b"")
    assert [answer.number for answer in answers(sent, device.memory[: 20 * 256])] == [9]


@pytest.mark.parametrize("temperature", [None, 0.8])
def test_tokens_and_states_are_the_golden_model_s(
    device: Device, golden: GoldenEngine, temperature: float | None
) -> None:
    count, fields = 12, {}
    if temperature is not None:
        mantissa, exponent = to_scale(1 / temperature)
        fields = {
            "sample": 1, "temperature_mantissa": mantissa, "temperature_exponent": exponent,
            "seed": 0xDEADBEEF,
        }  # fmt: skip
    golden.reset()
    wanted = list(golden.generate(PROMPT, count, temperature=temperature, seed=0xDEADBEEF))
    device.begin(**fields)
    device.prompt(PROMPT, count)
    found = device.results(count)
    assert [word & 0x7FFF for word in found] == wanted
    assert [word >> 15 for word in found] == [0] * (count - 1) + [1]
    assert (device.states() == golden.state().h).all()


def test_when_nobody_reads_the_accelerator_waits_and_no_token_is_lost(
    device: Device, golden: GoldenEngine
) -> None:
    golden.reset()
    wanted = list(golden.generate(PROMPT, 200))
    device.begin()
    device.prompt(PROMPT, 200)
    while device.ask(READ | RING, 0, count=0).produced < 128:
        device.exchange(b"")
    for _ in range(3):
        device.exchange(b"")
        answer = device.ask(READ | RING, 0, count=0)
        assert answer.produced == 128
        assert not answer.status & IDLE
    # Chunks of a size that makes reads go across the ring's end.
    found: list[int] = []
    while len(found) < 200:
        found += device.results(min(45, 200 - len(found)))
    assert [word & 0x7FFF for word in found] == wanted


def test_a_host_that_never_stops_asking_delays_no_result_for_ever(
    device: Device, golden: GoldenEngine
) -> None:
    golden.reset()
    wanted = list(golden.generate(PROMPT, 3))
    device.begin()
    device.prompt(PROMPT, 3)
    found: list[int] = []
    for _ in range(3000):
        answer = device.ask(READ | RING, len(found), count=2)
        if answer.produced > len(found):
            found.append(int.from_bytes(answer.data, "little") & 0x7FFF)
    assert found == wanted


def test_raw_logits_and_their_scales_are_the_golden_model_s(device: Device, golden: GoldenEngine) -> None:
    golden.reset()
    sums, scales = golden.logits(PROMPT)
    device.begin(emit_raw=1)
    for token, logits, scale in zip(PROMPT, sums, scales, strict=True):
        device.prompt([token], 1)
        *raw, chosen, mantissa, exponent = device.results(256 + 3)
        assert (np.array(raw, np.uint16).astype(np.int16) == logits).all()
        assert chosen == 0x8000 | logits.argmax()
        assert np.ldexp(float(mantissa), int(np.int16(np.uint16(exponent)))) == scale


def test_a_generation_goes_on_from_a_state_and_a_position(device: Device, golden: GoldenEngine) -> None:
    golden.reset()
    fields = {"sample": 1, "temperature_mantissa": 1 << 14, "temperature_exponent": -14}
    list(golden.generate(PROMPT, 4, temperature=1.0))
    state = golden.state()
    assert state.next_token is not None
    wanted = list(golden.generate([], 6, temperature=1.0))
    device.begin(**fields)
    device.write(STATE, state.h.astype("<i2").tobytes())
    device.ask(WRITE | POSITION, state.position >> 16, words([state.position & 0xFFFF]))
    device.prompt([state.next_token], 6)
    assert [word & 0x7FFF for word in device.results(6)] == wanted


def test_a_stop_token_and_halt_end_a_generation(device: Device, golden: GoldenEngine) -> None:
    golden.reset()
    wanted = list(golden.generate(PROMPT, 9))
    device.begin(stops=[wanted[4], 0], stops_enabled=1)
    device.prompt(PROMPT, 9)
    first = wanted.index(wanted[4])
    assert device.results(first + 1) == [*wanted[:first], 0x8000 | wanted[first]]
    device.begin()
    device.prompt(PROMPT, 1000)
    found = device.results(3)
    device.ask(WRITE | CONTROL, HALT)
    while not found[-1] >> 15:
        found += device.results(1)
    assert len(found) < 20
    device.states()
    device.ask(WRITE | CONTROL, 0)


def test_while_it_runs_only_ring_table_and_control_are_obeyed(device: Device) -> None:
    device.begin()
    device.prompt(PROMPT, 1000)
    # Its answer was lost, say: it is a repetition, and runs.
    assert not device.ask(WRITE | CHOOSE, 1000, words(PROMPT[-1:]), again=True).status & REFUSED
    for command, data, count in (
        (WRITE | SETTINGS, bytes(12), None),
        (READ | SETTINGS, b"", 4),
        (WRITE | WEIGHTS, b"ab", None),
        (READ | WEIGHTS, b"", 2),
        (CHECK | WEIGHTS, b"", 1),
        (WRITE | PROGRAM, b"ab", None),
        (WRITE | STATE, b"ab", None),
        (READ | STATE, b"", 2),
        (WRITE | TOKENS, b"\1\0", None),
        (WRITE | CHOOSE, b"\1\0", None),
        (WRITE | POSITION, b"\1\0", None),
    ):
        answer = device.ask(command, 0, data, count)
        assert answer.status & (REFUSED | IDLE) == REFUSED
        assert answer.data == b""
    assert len(device.ask(READ | RING, 0, count=2).data) == 2
    assert len(device.ask(OPEN | TABLE, 55, count=18).data) == 18
    assert not device.ask(WRITE | CONTROL, 0).status & REFUSED


@pytest.mark.parametrize("wait", [0, 1, 1000, 5432, 40_000])
def test_a_reset_in_the_middle_of_a_generation_leaves_no_trace(
    device: Device, golden: GoldenEngine, wait: int
) -> None:
    device.begin()
    device.prompt(PROMPT[::-1], 1000)
    device.board.exchange(b"", wait)
    golden.reset()
    wanted = list(golden.generate(PROMPT, 3))
    device.begin()
    assert device.ask(READ | RING, 0, count=0).produced == 0
    device.prompt(PROMPT, 3)
    assert [word & 0x7FFF for word in device.results(3)] == wanted
    assert (device.states() == golden.state().h).all()


def test_the_counter_counts_each_cause_and_all(device: Device) -> None:
    found = []
    for cause in (*range(len(CAUSES)), 0x1F):
        device.begin(cause=cause)
        device.prompt(PROMPT, 2)
        device.states()
        count = device.ask(READ | SETTINGS, count=4).data
        assert device.ask(READ | SETTINGS, count=4).data == count
        found.append(int.from_bytes(count, "little"))
    *causes, every = found
    # What the answers to polls take is not the same each time.
    assert every == pytest.approx(sum(causes), abs=100)
    assert every > 10_000


# Text and flash ---------------------------------------------------------------------------------------------

TABLE_OF_37 = bytes(range(0x41, 0x41 + 37))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> IntegerModel:
    """A model of few tokens."""
    folder = tmp_path_factory.mktemp("small")
    shape = ModelConfig(hidden_size=21, num_hidden_layers=3, vocab_size=37, intermediate_size=26)
    synthesise(shape, folder, 5)
    return quantise(Checkpoint(folder))


def story(model: IntegerModel, prompt: list[int], count: int) -> list[bytes]:
    """Frames that load a model and begin a story."""
    memory, program = parts(model)
    frames: list[bytes] = []

    def write(space: int, data: bytes = b"", address: int = 0) -> None:
        for start in range(0, max(len(data), 1), 120):
            part = data[start : start + 120]
            frames.append(request(len(frames) + 1 & 0xFF, WRITE | space, address + start // 2, part))

    write(WEIGHTS, memory)
    write(PROGRAM, program)
    write(SETTINGS, settings())
    write(TABLE, TABLE_OF_37)
    write(POSITION, bytes(2))
    write(TOKENS, words(prompt[:-1]))
    write(CONTROL, address=AS_TEXT)
    write(CHOOSE, words(prompt[-1:]), count)
    return [*frames, request(len(frames) + 1 & 0xFF, OPEN | TABLE)]


def in_flash(frames: list[bytes]) -> bytes:
    """The bits of each byte lie in flash in the opposite order."""
    return bytes(int(f"{byte:08b}"[::-1], 2) for byte in b"".join(frames))


def listen(device: Device) -> bytes:
    """All that the device sends until it has nothing more to do."""
    sent = device.exchange(b"")
    while device.board.busy:
        sent += device.exchange(b"")
    return sent


def test_a_board_tells_the_story_in_its_flash(small: IntegerModel) -> None:
    prompt = [1, 30, 6, 6]
    device = Device(small, in_flash(story(small, prompt, 50)), loaded=False)
    wanted = list(GoldenEngine(small).generate(prompt, 50))
    assert listen(device) == bytes(TABLE_OF_37[token] for token in wanted)
    # Its session is not open; a host that opens one finds all in place, and the ring empty.
    assert not device.ask(READ | RING, count=0).status & (OPENED | BOOT_FAILED)
    device.begin()
    assert device.read(WEIGHTS, 200) == device.memory[:200]
    device.prompt(prompt, 5)
    assert [word & 0x7FFF for word in device.results(5)] == wanted[:5]


def test_opening_ends_a_story(small: IntegerModel) -> None:
    device = Device(small, in_flash(story(small, [1, 2], 1000)), loaded=False)
    text = b""
    while len(text) < 5:
        text += device.exchange(b"")
    assert set(text) <= set(TABLE_OF_37)
    assert device.open() == IDENTITY
    status = device.ask(READ | RING, count=0).status
    assert status == OPENED | IDLE
    assert device.exchange(b"") == b""


def faults(frames: list[bytes]) -> dict[str, list[bytes]]:
    broken = bytearray(frames[2])
    broken[9] ^= 1
    return {
        "erased": [],
        "a damaged frame": [*frames[:2], bytes(broken), *frames[3:]],
        "a frame cut off": [*frames[:2], frames[2][:-3]],
        "the last frame missing": frames[:-1],
        "a count that is refused": [*frames[:2], request(3, WRITE | WEIGHTS, 0, b"", 200), *frames[3:]],
    }


@pytest.mark.parametrize("fault", faults([bytes(20)] * 4))
def test_flash_without_a_whole_set_of_frames_is_told(small: IntegerModel, fault: str) -> None:
    frames = faults(story(small, [1, 2], 3))[fault]
    device = Device(small, in_flash(frames), loaded=False)
    sent = listen(device)
    assert sent == b"" or fault == "the last frame missing"
    assert device.ask(OPEN | TABLE, 55, count=18).status & BOOT_FAILED
    assert device.ask(WRITE | CONTROL, RESET).status & BOOT_FAILED
    assert device.board.cycles < 400_000


@pytest.mark.parametrize("fault", ["erased", "a damaged frame", "a count that is refused"])
def test_no_byte_that_waits_at_the_end_of_flash_is_lost(small: IntegerModel, fault: str) -> None:
    flash = in_flash(faults(story(small, [1, 2], 3))[fault])
    board = BoardSim(CONFIG, BUILD, flash=flash)
    sent = board.exchange(request(1, OPEN | TABLE, 55, count=18))
    while board.busy:
        sent += board.exchange(b"")
    (answer,) = answers(sent, b"")
    assert answer.status & BOOT_FAILED
    assert answer.data == IDENTITY


def test_empty_frames_in_flash_mean_nothing(small: IntegerModel) -> None:
    frames = story(small, [1, 2], 3)
    device = Device(small, in_flash([b"\x7e\x7e".join([b"", *frames])]), loaded=False)
    assert len(listen(device)) == 3


def test_flags_between_frames_in_flash_may_be_shared(small: IntegerModel) -> None:
    frames = story(small, [1, 2], 3)
    device = Device(small, in_flash([b"\x7e", *(each[1:] for each in frames)]), loaded=False)
    assert len(listen(device)) == 3


def test_a_paced_line_changes_the_time_alone(small: IntegerModel) -> None:
    frames = [request(1, OPEN | TABLE, 55, count=18), request(2, READ | WEIGHTS, 0, count=120)]
    boards = [BoardSim(CONFIG, BUILD, paced=paced) for paced in (False, True)]
    for board in boards:
        assert board.exchange(b"") == b""  # it finds nothing in flash
    begun = [board.cycles for board in boards]
    sent = [[board.exchange(frame) for frame in frames] for board in boards]
    assert sent[0] == sent[1]
    bytes_sent = sum(map(len, sent[1]))
    cycles = [board.cycles - before for board, before in zip(boards, begun, strict=True)]
    assert cycles[1] > 80 * bytes_sent > cycles[0]
