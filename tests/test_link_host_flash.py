"""What a board reads from its flash: made, read back, and damaged."""

import pytest
from tritforge.hdl.config import AcceleratorConfig
from tritforge.hdl.link.protocol import Space, Verb
from tritforge.host.link.device import GoldenDevice
from tritforge.host.link.driver import Board
from tritforge.host.link.engine import BoardEngine
from tritforge.host.link.flashfile import read_frames, story_frames
from tritforge.host.link.frames import Request, encode
from tritforge.host.link.transport import InProcess
from tritforge.models.errors import TritforgeError
from tritforge.models.loading import Model, load
from tritforge.models.software import GoldenEngine

CONFIG = AcceleratorConfig.load("up5k")
PROMPT, SEED, TEMPERATURE = "Romeo", 3, 0.7


@pytest.fixture(scope="module")
def micro() -> Model:
    return load("micro")


@pytest.fixture(scope="module")
def flash(micro: Model) -> bytes:
    return story_frames(micro, CONFIG, PROMPT, temperature=TEMPERATURE, seed=SEED, new_tokens=30)


def reversed_bits(data: bytes) -> bytes:
    return bytes(int(f"{byte:08b}"[::-1], 2) for byte in data)


@pytest.mark.parametrize("erased", [0, 1000])
def test_a_board_tells_its_story_without_a_host(erased: int, flash: bytes, micro: Model) -> None:
    device = GoldenDevice(CONFIG, flash=flash + b"\xff" * erased)
    text = b"".join(device.exchange(b"") for _ in range(40)).decode()
    golden = GoldenEngine(micro.integers)
    tokens = [*golden.generate(micro.encode(PROMPT), 30, temperature=TEMPERATURE, seed=SEED)]
    assert micro.symbols is not None
    assert text == "".join("\n" if token in micro.stop else micro.symbols[token] for token in tokens)


def test_a_host_finds_everything_loaded(flash: bytes, micro: Model) -> None:
    device = GoldenDevice(CONFIG, flash=flash)
    for _ in range(5):
        device.exchange(b"")
    board = Board(InProcess(device), timeout=0)
    board.open(CONFIG)
    engine = BoardEngine(board, micro.image(CONFIG.layout), CONFIG)
    assert engine.loaded.written == 0
    assert [*engine.generate([1], 5)] == [*GoldenEngine(micro.integers).generate([1], 5)]


def test_frames_are_writes_ended_by_an_open_with_numbers_in_order(flash: bytes) -> None:
    *writes, end = read_frames(flash + b"\xff" * 100)
    assert {request.verb for request in writes} == {Verb.WRITE}
    assert end.verb == Verb.OPEN
    numbers = [request.number for request in [*writes, end]]
    assert numbers == [(k + 1) % 256 for k in range(len(numbers))]
    assert [request.space for request in writes[-2:]] == [Space.CONTROL, Space.CHOOSE]


def test_bits_lie_in_flash_the_other_way_round() -> None:
    frame = encode(Request(1, Verb.OPEN, Space.TABLE).to_bytes())
    assert read_frames(reversed_bits(frame)) == [Request(1, Verb.OPEN, Space.TABLE)]
    with pytest.raises(TritforgeError):
        read_frames(b"\x55" + frame[1:])


@pytest.mark.parametrize("data", [b"", b"\xff" * 5000, b"\x00" * 50, b"\x7e\x7e\x7e", bytes(range(256))])
def test_what_holds_no_frames_is_refused(data: bytes) -> None:
    with pytest.raises(TritforgeError, match=r"^(the flash's frames are not complete|frame 0 of the flash)"):
        read_frames(data)
    assert GoldenDevice(CONFIG, flash=data).exchange(b"") == b""


def test_a_damaged_frame_is_named(flash: bytes) -> None:
    for at in range(3, len(flash) - 1, 997):
        damaged = flash[:at] + bytes([flash[at] ^ 0x10]) + flash[at + 1 :]
        with pytest.raises(TritforgeError, match=r"^frame \d+ of the flash, at byte \d+, is damaged$"):
            read_frames(damaged)


def test_a_truncated_flash_is_refused(flash: bytes) -> None:
    for size in range(0, len(flash), 997):
        with pytest.raises(TritforgeError, match=r"are not complete|is damaged"):
            read_frames(flash[:size])


def test_a_flash_asks_for_nothing_else() -> None:
    frame = encode(Request(1, Verb.READ, Space.WEIGHTS, 0, 2).to_bytes())
    with pytest.raises(
        TritforgeError, match=r"^frame 0 of the flash, at byte 1, is neither a WRITE nor an OPEN$"
    ):
        read_frames(reversed_bits(frame))
