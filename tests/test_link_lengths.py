"""Requests with the right CRC whose length does not suit them: the device goes on, and no token is wrong."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from board_setup import BUILD, CONFIG, IDENTITY
from link_faults import small_image
from link_host import (
    CHECK,
    CHOOSE,
    CONTROL,
    OPEN,
    POSITION,
    PROGRAM,
    READ,
    SETTINGS,
    STATE,
    TABLE,
    TOKENS,
    WEIGHTS,
    WRITE,
    Host,
    frame,
    request,
)
from tritforge.host.link.device import GoldenDevice
from tritforge.host.link.driver import Board
from tritforge.host.link.engine import BoardEngine
from tritforge.host.link.frames import Decoder, Request, intact
from tritforge.host.link.transport import InProcess, SimulatedDevice
from tritforge.models.image import Image
from tritforge.models.software import GoldenEngine
from tritforge.sim.board import BoardSim


def device(name: str) -> SimulatedDevice:
    return GoldenDevice(CONFIG, BUILD.hex()) if name == "golden" else BoardSim(CONFIG, BUILD)


@pytest.fixture(scope="module", params=["golden", "rtl"])
def both(request: pytest.FixtureRequest, needs_compiler: None) -> SimulatedDevice:
    return device(request.param)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return small_image(tmp_path_factory.mktemp("models") / "small", CONFIG)


def host_of(device: SimulatedDevice) -> Host:
    host = Host(device.exchange)
    host.open()
    return host


def send(host: Host, command: int, data: bytes, count: int, address: int = 0) -> None:
    """Send a request once; there may be an answer or none."""
    host.number = (host.number + 1) % 256
    host.exchange(request(host.number, command, address, data, count))


# What is written is what is counted -------------------------------------------------------------------------


@pytest.mark.parametrize("space", [WEIGHTS, STATE])
def test_data_behind_those_that_are_counted_mean_nothing(both: SimulatedDevice, space: int) -> None:
    host = host_of(both)
    for count in (0, 2, 6, 60):
        for size in range(count + 1, 121, 13):
            host.write(space, b"." * 120)
            send(host, WRITE | space, bytes(range(size)), count)
            assert host.read(space, 120) == bytes(range(count)) + b"." * (120 - count), (count, size)


@pytest.mark.parametrize("space", [WEIGHTS, STATE])
def test_data_that_are_missing_reach_no_further_than_is_counted(both: SimulatedDevice, space: int) -> None:
    host = host_of(both)
    for count in (2, 6, 60):
        for size in range(0, count, 5):
            host.write(space, b"." * 120)
            send(host, WRITE | space, bytes(range(size)), count)
            found = host.read(space, 120)
            assert found[:size] in (bytes(range(size)), b"." * size), (count, size)
            assert found[count:] == b"." * (120 - count), (count, size)


def test_a_crc_that_loses_a_last_byte_of_00_changes_no_data(both: SimulatedDevice) -> None:
    host = host_of(both)
    frames = [request(k, WRITE | WEIGHTS, 7, b"data") for k in range(3, 256)]
    whole = next(each for each in frames if each.endswith(b"\0\x7e") and len(each) == 13)
    host.write(WEIGHTS, b"....", 7)
    host.exchange(whole[:-2] + b"\x7e")
    assert host.read(WEIGHTS, 4, 7) in (b"data", b"....")


@pytest.mark.parametrize("verb", [READ, OPEN])
def test_data_behind_a_question_mean_nothing(both: SimulatedDevice, verb: int) -> None:
    host = host_of(both)
    host.write(WEIGHTS, b"abcdefgh")
    for size in (1, 2, 60, 120):
        answer = host.ask(verb | WEIGHTS, 1, bytes(size), count=4)
        assert answer.data == b"cdef"


def test_an_odd_count_is_read_as_it_is_and_written_without_its_last_byte(both: SimulatedDevice) -> None:
    host = host_of(both)
    host.write(WEIGHTS, b"abcdefgh")
    host.ask(WRITE | WEIGHTS, 0, b"123")
    assert host.ask(READ | WEIGHTS, 0, count=7).data == b"12cdefg"


# Whatever was asked for, the device goes on -----------------------------------------------------------------

LENGTHS = ((0, 2), (0, 120), (2, 0), (2, 1), (2, 3), (2, 120), (1, 1), (3, 3), (12, 2), (12, 120), (110, 10))
"""Counted, and sent."""
SPACES = (SETTINGS, WEIGHTS, PROGRAM, STATE, TABLE, TOKENS, CONTROL, CHOOSE, POSITION)
COMMANDS = [*(WRITE | space for space in SPACES), *(READ | space for space in SPACES), CHECK | WEIGHTS]


def unsuited(command: int) -> Iterator[tuple[bytes, int]]:
    """Data and counts."""
    for count, size in LENGTHS:
        yield bytes([1, 0] * 60)[:size], count


@pytest.mark.parametrize("command", COMMANDS, ids=hex)
def test_a_host_that_begins_anew_finds_a_device_whose_tokens_are_right(
    both: SimulatedDevice, image: Image, command: int
) -> None:
    host = host_of(both)
    for data, count in unsuited(command):
        send(host, command, data, count, address=1)
        assert host.open() == IDENTITY
    board = Board(InProcess(both), timeout=20)
    board.open(CONFIG)
    engines = BoardEngine(board, image, CONFIG), GoldenEngine(image)
    ours, theirs = ([*each.generate([1, 2, 3], 4, temperature=0.9, seed=1)] for each in engines)
    assert ours == theirs


def test_the_counter_counts_again_after_a_reset(needs_compiler: None, image: Image) -> None:
    board = Board(InProcess(BoardSim(CONFIG, BUILD)), timeout=20)
    board.open(CONFIG)
    engine = BoardEngine(board, image, CONFIG)
    found = []
    for size in (4, 1, 2, 3):
        _ = [*engine.generate([1], 3)]
        board.link.ask(SETTINGS, 0, size)
        engine.reset()
        board.consume([1])
        found.append(board.cycles(1, 3))
    assert found == [found[0]] * 4
    assert found[0] > 1000


def test_a_body_shorter_than_a_header_leaves_a_device_that_answers(both: SimulatedDevice) -> None:
    host = host_of(both)
    for command in (READ | WEIGHTS, WRITE | WEIGHTS, WRITE | CONTROL, OPEN | TABLE):
        for size in range(5):
            host.exchange(frame(bytes([command, 4, 0, 0])[:size]))
            assert host.open() == IDENTITY


class Untidy(InProcess):
    """Before each request comes a question with data that it does not count."""

    def write(self, data: bytes) -> None:
        (content,) = Decoder().feed(data)
        for command in (READ | TABLE, CHECK | WEIGHTS):
            super().write(request((content[4] + 100) % 256, command, 0, b"\1\0\2\0\3", 4))
        super().write(data)


def test_questions_with_data_do_not_disturb_a_story(both: SimulatedDevice, image: Image) -> None:
    board = Board(Untidy(both), timeout=20)
    board.open(CONFIG)
    engines = BoardEngine(board, image, CONFIG), GoldenEngine(image)
    ours, theirs = ([*each.generate([1, 2, 3], 4, temperature=0.9, seed=1)] for each in engines)
    assert ours == theirs


# What would stop a device that goes by the count alone ------------------------------------------------------

WORST = {
    "two tokens": (WRITE | CHOOSE, 3, b"\1\0\2\0"),
    "the identity": (WRITE | TABLE, 0, bytes(112)),
    "the header": (WRITE | WEIGHTS, 0, bytes([WRITE | TABLE]) * 124),
}


@pytest.mark.parametrize("which", WORST)
@pytest.mark.parametrize("name", ["golden", "rtl"])
def test_not_even_the_worst_length_stops_a_device(
    needs_compiler: None, image: Image, name: str, which: str
) -> None:
    whole = device(name)
    board = Board(InProcess(whole), timeout=20)
    board.open(CONFIG)
    BoardEngine(board, image, CONFIG)
    command, address, data = WORST[which]
    whole.exchange(request(0x33, command, address, data))
    moment = {"cycles": 3000} if isinstance(whole, BoardSim) else {}
    assert Host(lambda sent: whole.exchange(sent, **moment)).open() == IDENTITY


# Our own host sends none of them ----------------------------------------------------------------------------


class Watched(InProcess):
    """Keeps what is asked."""

    def __init__(self, device: SimulatedDevice) -> None:
        super().__init__(device)
        self.asked: list[Request] = []

    def write(self, data: bytes) -> None:
        for content in Decoder().feed(data):
            request = Request.from_bytes(intact(content) or b"")
            assert request is not None
            self.asked.append(request)
        super().write(data)


def test_each_request_of_a_session_suits(image: Image) -> None:
    watched = Watched(GoldenDevice(CONFIG))
    board = Board(watched, timeout=0)
    board.open(CONFIG)
    engine = BoardEngine(board, image, CONFIG)
    assert len([*engine.generate(range(13), 40)]) == 40
    engine.logits([1, 2])
    engine.reset(engine.state())
    board.write_table(bytes(110))
    assert all(each.suits for each in watched.asked)
    counts = {
        space: {each.count for each in watched.asked if (each.verb, each.space) == (verb, space)}
        for verb, space in ((WRITE, SETTINGS), (WRITE, CHOOSE), (WRITE, POSITION), (WRITE, TABLE))
    }
    assert counts == {SETTINGS: {12}, CHOOSE: {2}, POSITION: {2}, TABLE: {110}}
    assert {each.count for each in watched.asked if (each.verb, each.space) == (READ, SETTINGS)} == {4}
