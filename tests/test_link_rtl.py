"""The device's end of the link does what docs/link.md says, whatever arrives.

A board is asked by the host of tests/link_host.py; memories tell what it has obeyed.
"""

from __future__ import annotations

from functools import cache
from random import Random

import pytest
from board_setup import BUILD, CONFIG, IDENTITY
from hypothesis import example, given, settings
from hypothesis import strategies as st
from link_host import (
    CHECK,
    CONTROL,
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
    TEXT,
    TOKENS,
    WEIGHTS,
    WRITE,
    Host,
    answers,
    frame,
    request,
)
from tritforge.hdl.boards.up5k import Up5k
from tritforge.hdl.config import AcceleratorConfig
from tritforge.hdl.link.device import LinkDevice
from tritforge.models.errors import TritforgeError
from tritforge.sim.board import BoardSim

SHORT = 3000
"""Cycles in which a short request is answered, if it is answered at all."""

pytestmark = pytest.mark.usefixtures("needs_compiler")


def board() -> Host:
    board = BoardSim(CONFIG, BUILD)
    return Host(lambda data: board.exchange(data, SHORT))


@cache
def shared() -> Host:
    """A board that many examples use, one after another."""
    return board()


@pytest.fixture
def host() -> Host:
    host = shared()
    host.open()
    return host


words = st.binary(max_size=120).filter(lambda data: len(data) % 2 == 0)
specials = st.lists(st.sampled_from([0x7E, 0x7D, 0x5E, 0x5D, 0x00, 0xFF]), max_size=120).map(bytes)
payloads = words | specials.filter(lambda data: len(data) % 2 == 0)

# What is written is read ------------------------------------------------------------------------------------


@given(payloads, st.integers(0, 65535 - 60))
@example(b"\x7e" * 120, 0x7E7D)
@example(b"\x7d" * 120, 0x7D7E)
@example(b"", 0)
@example(bytes(range(0x70, 0x80)) * 7, 65535 - 59)
def test_weights_are_what_was_written(data: bytes, address: int) -> None:
    host = shared()
    host.open()
    assert host.ask(WRITE | WEIGHTS, address, data).data == b""
    assert host.ask(READ | WEIGHTS, address, count=len(data)).data == data


@given(payloads, st.integers(0, 512 - 60))
def test_states_are_what_was_written(data: bytes, address: int) -> None:
    host = shared()
    host.open()
    host.ask(WRITE | STATE, address, data)
    assert host.ask(READ | STATE, address, count=len(data)).data == data


def test_writes_reach_no_other_word(host: Host) -> None:
    host.write(WEIGHTS, bytes(40), 1000)
    host.ask(WRITE | WEIGHTS, 1008, b"\1\2\3\4")
    assert host.read(WEIGHTS, 40, 1000) == bytes(16) + b"\1\2\3\4" + bytes(20)


@pytest.mark.parametrize("size", [2, 96, 110])
def test_a_text_table_does_not_reach_the_identity(host: Host, size: int) -> None:
    table = bytes((7 * k + size) % 256 for k in range(size))
    host.ask(WRITE | TABLE, 0, table)
    assert host.read(TABLE, size) == table
    assert host.ask(OPEN | TABLE, 55, count=18).data == IDENTITY


def test_the_counter_is_cleared_by_reset_and_not_by_reading_or_settings(host: Host) -> None:
    host.ask(WRITE | SETTINGS, 0, bytes(11) + b"\xf8")
    for _ in range(3):
        assert host.ask(READ | SETTINGS, count=4).data == bytes(4)


# A CHECK counts the memory into its CRC ---------------------------------------------------------------------


@given(st.integers(0, 300), st.integers(1, 3), st.randoms(use_true_random=False))
@settings(max_examples=20)
def test_a_check_covers_the_memory_to_the_end_of_its_last_block(
    start: int, count: int, random: Random
) -> None:
    host = shared()
    host.open()
    data = random.randbytes(256 * (start // 128 + count))
    host.write(WEIGHTS, data, 0x4000)
    sent = host.send(request(host.number, CHECK | WEIGHTS, 0x4000 + start, count=count))
    (answer,) = answers(sent, data[2 * start :])
    assert answer.data == b""
    assert not answers(sent, data[2 * start : -1] + bytes([data[-1] ^ 1]))
    assert not answers(sent, data[2 * start + 2 :])


def test_a_check_of_no_block_covers_nothing(host: Host) -> None:
    assert host.ask(CHECK | WEIGHTS, 5, count=0).data == b""


# Numbers ----------------------------------------------------------------------------------------------------


def test_a_request_that_comes_again_is_answered_and_not_obeyed(host: Host) -> None:
    host.ask(WRITE | WEIGHTS, 0, b"abcd")
    assert host.ask(WRITE | WEIGHTS, 0, b"efgh", again=True).status & OPENED
    assert host.ask(READ | WEIGHTS, 0, count=4).data == b"abcd"
    assert host.ask(READ | WEIGHTS, 1, count=2, again=True).data == b"cd"


@given(st.lists(st.integers(0, 255), max_size=12), st.data())
def test_each_number_but_the_last_one_is_new(numbers: list[int], data: st.DataObject) -> None:
    host = shared()
    host.open()
    host.ask(WRITE | WEIGHTS, 9, b"..")
    last, holds = host.number, b".."
    for number in numbers:
        word = data.draw(st.binary(min_size=2, max_size=2))
        (answer,) = answers(host.exchange(request(number, WRITE | WEIGHTS, 9, word)))
        assert answer.number == number
        if number != last:
            last, holds = number, word
        host.number = last - 1
        assert host.ask(READ | WEIGHTS, 9, count=2).data == holds


@pytest.mark.parametrize("count", [128, 129, 200, 255])
def test_too_great_a_count_is_refused_and_its_number_stays_free(host: Host, count: int) -> None:
    host.ask(WRITE | WEIGHTS, 0, b"abcd")
    host.number += 1
    for command in (WRITE | WEIGHTS, READ | WEIGHTS, CHECK | WEIGHTS, READ | RING):
        (answer,) = answers(host.exchange(request(host.number, command, 0, b"xyzw", count)))
        assert answer.status & REFUSED
        assert answer.data == b""
    host.number -= 1
    host.ask(WRITE | WEIGHTS, 1, b"yz")
    assert host.ask(READ | WEIGHTS, 0, count=4).data == b"abyz"


def test_nothing_is_obeyed_before_a_session_is_open() -> None:
    host = board()
    for command, count in (
        (READ | TABLE, 18),
        (WRITE | WEIGHTS, 0),
        (CHECK | WEIGHTS, 1),
        (WRITE | CONTROL, 0),
        (READ | RING, 2),
    ):
        answer = host.ask(command, 55, count=count)
        assert (answer.status & OPENED, answer.data) == (0, b"")
    host.ask(WRITE | WEIGHTS, 0, b"abcd")
    answer = host.ask(OPEN | TABLE, 55, count=18)
    assert answer.status & (OPENED | IDLE) == OPENED | IDLE
    assert answer.data == IDENTITY
    assert host.ask(READ | WEIGHTS, 0, count=4).data != b"abcd"


# Damage -----------------------------------------------------------------------------------------------------


def damaged(whole: bytes) -> dict[str, bytes]:
    """A frame with one fault at each place."""
    found = {}
    for k in range(len(whole)):
        before, here, after = whole[:k], whole[k], whole[k + 1 :]
        for bit in (0, 3, 5, 7):
            found[f"bit {bit} of {k}"] = before + bytes([here ^ 1 << bit]) + after
        found[f"{k} lost"] = before + after
        found[f"{k} doubled"] = before + bytes([here, here]) + after
        found[f"cut at {k}"] = before
        found[f"cut at {k} by a flag"] = before + b"\x7e"
        found[f"an escape at {k}"] = before + b"\x7d" + after
        found[f"a flag at {k}"] = before + b"\x7e" + after
        if after:
            found[f"{k} late"] = before + after[:1] + bytes([here]) + after[1:]
    return found


def test_a_fault_anywhere_in_a_frame_is_never_obeyed_and_the_next_frame_is(host: Host) -> None:
    old, new = b"\0\1\2\3", b"\x7e\xf0\x7d\0"
    for number, (what, sent) in enumerate(damaged(request(2, WRITE | WEIGHTS, 0x7E05, new)).items()):
        host.number = 100 + number % 100
        host.ask(WRITE | WEIGHTS, 0x7E05, old)
        host.exchange(sent)
        assert host.ask(READ | WEIGHTS, 0x7E05, count=4).data in (old, new), what
        host.ask(WRITE | WEIGHTS, 0x7E05, new)
        assert host.ask(READ | WEIGHTS, 0x7E05, count=4).data == new, what


@given(st.lists(st.binary(max_size=400), max_size=5))
@settings(max_examples=30)
def test_any_bytes_at_all_leave_a_device_that_answers(noise: list[bytes]) -> None:
    host = shared()
    host.open()
    host.ask(WRITE | WEIGHTS, 3, b"keep")
    for part in noise:
        host.exchange(part)
    host.exchange(b"\x7e")
    assert host.ask(READ | WEIGHTS, 3, count=4).data == b"keep"


def test_too_long_a_frame_is_not_obeyed(host: Host) -> None:
    host.ask(WRITE | WEIGHTS, 0, b"keep")
    for size in (126, 127, 128, 250, 251, 252, 253):
        assert not answers(host.exchange(request(77, WRITE | WEIGHTS, 0, bytes(size), 4)))
    assert host.ask(READ | WEIGHTS, 0, count=4).data == b"keep"


def test_flags_may_be_many_or_shared(host: Host) -> None:
    first, second = (request(k, WRITE | WEIGHTS, k, b"%02d" % k) for k in (50, 51))
    (one,) = answers(host.exchange(b"\x7e\x7e\x7e" + first))
    (two,) = answers(host.exchange(second[1:]))
    assert (one.number, two.number) == (50, 51)
    host.number = 51
    assert host.ask(READ | WEIGHTS, 50, count=4).data == b"5051"


def test_a_frame_that_is_shorter_than_a_header_means_nothing(host: Host) -> None:
    for size in range(3):
        assert not answers(host.exchange(frame(bytes([WRITE | CONTROL, RESET, 0, 0, 9])[:size])))


# Control ----------------------------------------------------------------------------------------------------


def test_control_sets_text_mode_and_opening_ends_it(host: Host) -> None:
    host.ask(WRITE | CONTROL, 0x02)
    assert host.ask(READ | RING, count=0).status & TEXT
    assert not host.ask(WRITE | CONTROL, 0).status & REFUSED
    assert not host.ask(READ | RING, count=0).status & TEXT
    host.ask(WRITE | CONTROL, 0x02)
    assert not host.ask(OPEN | TABLE, 55, count=18).status & TEXT


def test_spaces_that_only_a_running_accelerator_refuses_are_obeyed_while_it_is_idle(host: Host) -> None:
    for command, data in (
        (WRITE | SETTINGS, bytes(12)),
        (WRITE | WEIGHTS, b"ab"),
        (WRITE | PROGRAM, b"ab"),
        (WRITE | STATE, b"ab"),
        (WRITE | POSITION, b"ab"),
        (WRITE | TOKENS, b""),
    ):
        assert not host.ask(command, 0, data).status & REFUSED


# What can't be built ----------------------------------------------------------------------------------------


def test_an_identity_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="build and config have 8 bytes each, not 7 and 8"):
        LinkDevice(bytes(7), bytes(8))


def test_an_accelerator_for_another_memory_is_refused() -> None:
    with pytest.raises(TritforgeError, match="beats of 64 bits; large has"):
        Up5k(AcceleratorConfig.load("large"))
