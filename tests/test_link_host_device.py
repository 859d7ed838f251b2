"""The device in Python against docs/link.md, request by request."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tritforge.hdl.config import AcceleratorConfig
from tritforge.hdl.link.protocol import LAST, Control, Space, Status, Verb
from tritforge.host.link.device import GoldenDevice
from tritforge.host.link.frames import Decoder, Request, Response, encode, intact
from tritforge.host.link.payloads import (
    memory_bytes,
    program_bytes,
    settings_bytes,
    words_bytes,
)
from tritforge.models.config import ModelConfig
from tritforge.models.errors import TritforgeError
from tritforge.models.image import Image
from tritforge.models.loading import load
from tritforge.models.software import GoldenEngine
from tritforge.models.synthesis import synthesise

CONFIG = replace(AcceleratorConfig.load("up5k"), memory_beats=1024)
RUNNING = Status.OPEN | Status.BOOT_FAILED
READY = RUNNING | Status.IDLE


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    directory: Path = tmp_path_factory.mktemp("models") / "small"
    synthesise(
        ModelConfig(hidden_size=10, num_hidden_layers=2, vocab_size=13, intermediate_size=12), directory, 5
    )
    return load(directory).image(CONFIG.layout)


class Asker:
    """Asks a device, frame by frame."""

    def __init__(self, device: GoldenDevice, opened: bool = True) -> None:
        self.device = device
        self.number = 0
        if opened:
            self.ask(Verb.OPEN, Space.TABLE)

    def contents(self, verb: int, space: int, address: int, count: int, data: bytes) -> list[bytes]:
        request = Request(self.number, verb, space, address, count, data)
        return Decoder().feed(self.device.exchange(encode(request.to_bytes())))

    def ask(
        self, verb: int, space: int, address: int = 0, count: int = 0, data: bytes = b"", again: bool = False
    ) -> Response:
        """The answer to a request."""
        self.number = (self.number + (not again)) % 256
        (content,) = self.contents(verb, space, address, count or len(data), data)
        body = intact(content)
        assert body is not None
        response = Response.from_bytes(body)
        assert response is not None
        assert response.number == self.number
        return response

    def write(self, space: int, address: int, data: bytes = b"", again: bool = False) -> Response:
        return self.ask(Verb.WRITE, space, address, data=data, again=again)

    def load(self, image: Image) -> None:
        for space, data in (
            (Space.WEIGHTS, memory_bytes(image)),
            (Space.PROGRAM, program_bytes(image, CONFIG)),
        ):
            for start in range(0, len(data), 120):
                self.write(space, start // 2, data[start : start + 120])
        self.write(Space.SETTINGS, 0, settings_bytes())
        self.write(Space.POSITION, 0, words_bytes([0]))


@pytest.fixture
def loaded(image: Image) -> Asker:
    asker = Asker(GoldenDevice(CONFIG))
    asker.load(image)
    return asker


def test_open_tells_protocol_build_and_configuration() -> None:
    asker = Asker(GoldenDevice(CONFIG, build="0123456789abcdef"), opened=False)
    found = asker.ask(Verb.OPEN, Space.TABLE, 55, 18).data
    assert found == bytes([1, 0]) + bytes.fromhex("0123456789abcdef") + bytes.fromhex(CONFIG.digest())[:8]


def test_before_open_nothing_is_obeyed() -> None:
    asker = Asker(GoldenDevice(CONFIG), opened=False)
    response = asker.write(Space.WEIGHTS, 0, b"ab")
    assert response.status == Status.IDLE | Status.BOOT_FAILED
    assert asker.ask(Verb.READ, Space.WEIGHTS, 0, 2) == replace(response, number=asker.number)
    asker.ask(Verb.OPEN, Space.TABLE)
    assert asker.ask(Verb.READ, Space.WEIGHTS, 0, 2).data != b"ab"


@pytest.mark.parametrize("space", [Space.WEIGHTS, Space.STATE])
def test_memories_are_read_as_they_were_written(space: Space) -> None:
    asker = Asker(GoldenDevice(CONFIG))
    data = bytes(range(120))
    assert asker.write(space, 100, data).status == READY
    assert asker.ask(Verb.READ, space, 100, 120).data == data
    assert asker.ask(Verb.READ, space, 101, 2).data == data[2:4]


def test_a_check_covers_memory_to_the_end_of_its_blocks() -> None:
    asker = Asker(GoldenDevice(CONFIG))
    data = np.random.default_rng(0).bytes(600)
    for start in range(0, 600, 120):
        asker.write(Space.WEIGHTS, start // 2, data[start : start + 120])
    for address, count, covered in (
        (0, 1, data[:256]),
        (0, 2, data[:512]),
        (100, 2, data[200:512]),
        (64, 0, b""),
    ):
        asker.number += 1
        (content,) = asker.contents(Verb.CHECK, Space.WEIGHTS, address, count, b"")
        assert intact(content, covered) == bytes([asker.number, READY, 0])
        assert not covered or intact(content, covered[:-1] + bytes([covered[-1] ^ 1])) is None


def test_a_damaged_request_is_not_answered() -> None:
    device = GoldenDevice(CONFIG)
    frame = bytearray(encode(Request(1, Verb.OPEN, Space.TABLE).to_bytes()))
    frame[3] ^= 4
    assert device.exchange(bytes(frame)) == b""


def test_a_repetition_is_answered_but_obeyed_once(loaded: Asker) -> None:
    for again in (False, True, True):
        # Though it runs by then: what was obeyed was not refused.
        assert not loaded.write(Space.CHOOSE, 1, words_bytes([1]), again=again).status & Status.REFUSED
    response = loaded.ask(Verb.READ, Space.RING)
    assert (response.status, response.produced) == (READY, 1)


def test_what_is_refused_while_it_runs_has_not_taken_its_number(loaded: Asker) -> None:
    loaded.write(Space.CHOOSE, 500, words_bytes([1]))
    for _ in range(200):
        loaded.device.exchange(b"")
    state = loaded.write(Space.STATE, 0, b"ab")
    assert state.status == RUNNING | Status.REFUSED
    assert loaded.write(Space.CONTROL, Control.RESET, again=True).status == RUNNING
    assert loaded.write(Space.STATE, 0, b"ab").status == READY


def test_too_great_a_count_is_refused() -> None:
    asker = Asker(GoldenDevice(CONFIG))
    assert asker.ask(Verb.READ, Space.WEIGHTS, 0, 128).status == READY | Status.REFUSED


def test_a_full_ring_waits_and_loses_nothing(loaded: Asker, image: Image) -> None:
    loaded.write(Space.CHOOSE, 300, words_bytes([1]))
    taken: list[int] = []
    while not taken or not taken[-1] & LAST:
        for _ in range(200):
            loaded.device.exchange(b"")
        response = loaded.ask(Verb.READ, Space.RING, len(taken) % 256, 120)
        ready = (response.produced - len(taken)) % 256
        assert (
            ready == 128 if not taken else 0 < ready <= 128
        )  # it learns from the next request what was taken
        taken += np.frombuffer(response.data, "<u2")[:ready].tolist()
    golden = [*GoldenEngine(image).generate([1], 300)]
    assert taken == [*golden[:-1], golden[-1] | LAST]


def test_reset_empties_the_ring_and_keeps_the_memories(loaded: Asker) -> None:
    loaded.write(Space.CHOOSE, 3, words_bytes([1]))
    for _ in range(5):
        loaded.device.exchange(b"")
    before = loaded.ask(Verb.READ, Space.WEIGHTS, 0, 120).data
    loaded.write(Space.CONTROL, Control.RESET)
    response = loaded.ask(Verb.READ, Space.RING)
    assert (response.status, response.produced) == (READY, 0)
    assert loaded.ask(Verb.READ, Space.WEIGHTS, 0, 120).data == before


def test_text_mode_sends_the_text_of_tokens_until_open(loaded: Asker, image: Image) -> None:
    table = b"abcdefghijklmn"
    loaded.write(Space.TABLE, 0, table)
    loaded.write(Space.CONTROL, Control.TEXT)
    request = Request(77, Verb.WRITE, Space.CHOOSE, 6, 2, words_bytes([1]))
    sent = loaded.device.exchange(encode(request.to_bytes()))
    text = sent.rpartition(b"\x7e")[2] + b"".join(loaded.device.exchange(b"") for _ in range(6))
    golden = [*GoldenEngine(image).generate([1], 6)]
    assert text == bytes(table[token] for token in golden)
    response = loaded.ask(Verb.READ, Space.RING)
    assert (response.status, response.produced) == (READY | Status.TEXT, 0)
    loaded.ask(Verb.OPEN, Space.TABLE)
    assert loaded.ask(Verb.READ, Space.RING).status == READY


@pytest.mark.parametrize("program", [b"", b"\0" * 240, b"\x08\0" * 120])
def test_what_is_no_model_never_chooses_a_token(program: bytes) -> None:
    asker = Asker(GoldenDevice(CONFIG))
    for start in range(0, len(program), 120):
        asker.write(Space.PROGRAM, start // 2, program[start : start + 120])
    asker.write(Space.CHOOSE, 1, words_bytes([1]))
    response = asker.ask(Verb.READ, Space.RING)
    assert (response.status, response.produced) == (RUNNING, 0)
    assert asker.device.fault
    assert not asker.device.busy
    asker.write(Space.CONTROL, Control.RESET)
    assert asker.ask(Verb.READ, Space.RING).status == READY


def test_damaged_weights_never_choose_a_token(loaded: Asker) -> None:
    loaded.write(Space.WEIGHTS, 0, b"\0\0")  # a scale's mantissa
    loaded.write(Space.CHOOSE, 1, words_bytes([0]))
    assert loaded.ask(Verb.READ, Space.RING).status == RUNNING
    assert "mantissa" in loaded.device.fault


def test_a_program_of_another_model_never_chooses_a_token(loaded: Asker) -> None:
    loaded.write(Space.PROGRAM, 1, b"\x01\x00")  # the first instruction's address
    loaded.write(Space.CHOOSE, 1, words_bytes([0]))
    assert loaded.device.fault == "the program memory holds another program than its model's"


requests = st.builds(
    Request,
    st.integers(0, 255),
    st.sampled_from([0x00, 0x10, 0x20, 0x40, 0x50, 0xF0]),
    st.integers(0, 15),
    st.one_of(st.integers(0, 300), st.integers(0, 0xFFFF)),
    st.integers(0, 255),
)


@given(asked=st.lists(st.tuples(requests, st.binary(max_size=120)), max_size=12))
@settings(max_examples=150)
def test_no_request_upsets_a_device(asked: list[tuple[Request, bytes]]) -> None:
    device = GoldenDevice(CONFIG)
    device.exchange(encode(Request(0, Verb.OPEN, Space.TABLE).to_bytes()))
    for request, data in asked:
        whole = replace(request, count=len(data), data=data) if request.verb == Verb.WRITE else request
        device.exchange(encode(whole.to_bytes()))
    device.exchange(b"\x7e" + encode(Request(1, Verb.OPEN, Space.TABLE).to_bytes()))
    (content,) = Decoder().feed(device.exchange(encode(Request(2, Verb.OPEN, Space.TABLE, 55, 2).to_bytes())))
    assert (intact(content) or b"")[-2:] == b"\1\0"


@given(data=st.binary(max_size=600))
def test_no_bytes_upset_a_device(data: bytes) -> None:
    GoldenDevice(CONFIG).exchange(data)


def test_an_accelerator_of_several_streams_is_refused() -> None:
    with pytest.raises(TritforgeError, match=r"^a board's accelerator has one stream, and up5k 2$"):
        GoldenDevice(replace(CONFIG, streams=2))
