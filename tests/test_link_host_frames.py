"""Frames: what docs/link.md says of the bytes, and any others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritforge.hdl.link.protocol import Space, Status, Verb
from tritforge.host.link.frames import Decoder, Request, Response, encode, intact

bodies = st.binary(min_size=1, max_size=125)


def test_a_frame_is_flag_body_crc_flag() -> None:
    # 29B1 is the published check value of CRC-16/CCITT-FALSE.
    assert encode(b"123456789") == b"\x7e123456789\x29\xb1\x7e"


def test_flags_and_escapes_inside_are_escaped() -> None:
    frame = encode(b"\x7e\x7d\x20")
    assert frame[:6] == b"\x7e\x7d\x5e\x7d\x5d\x20"
    assert frame.count(b"\x7e") == 2


@given(body=bodies, unsent=st.binary(max_size=600))
def test_what_is_encoded_is_decoded(body: bytes, unsent: bytes) -> None:
    (content,) = Decoder().feed(encode(body, unsent))
    assert intact(content, unsent) == body


@given(sent=st.lists(bodies, max_size=5), cuts=st.lists(st.integers(1, 40)), flags=st.integers(0, 3))
def test_it_does_not_matter_how_the_stream_is_cut(sent: list[bytes], cuts: list[int], flags: int) -> None:
    stream = b"".join(encode(body) + b"\x7e" * flags for body in sent)
    decoder, found = Decoder(), []
    for size in [*cuts, len(stream)]:
        found += decoder.feed(stream[:size])
        stream = stream[size:]
    assert [intact(content) for content in found] == sent


def test_two_frames_may_share_a_flag() -> None:
    stream = encode(b"one")[:-1] + encode(b"two")
    assert [intact(content) for content in Decoder().feed(stream)] == [b"one", b"two"]


@given(junk=st.binary(max_size=2000), body=bodies)
def test_no_bytes_upset_a_decoder_and_the_next_flag_finds_it_again(junk: bytes, body: bytes) -> None:
    decoder = Decoder()
    decoder.feed(junk)
    assert body in [intact(content) for content in decoder.feed(b"\x7e" + encode(body))]


def test_bytes_without_a_flag_are_not_kept() -> None:
    decoder = Decoder()
    for _ in range(100):
        decoder.feed(b"\x55" * 10_000)
    (content, frame) = decoder.feed(encode(b"here"))
    assert len(content) < 1000
    assert intact(content) is None
    assert intact(frame) == b"here"


@given(body=bodies, data=st.data())
def test_a_changed_byte_is_always_found(body: bytes, data: st.DataObject) -> None:
    frame = encode(body)
    at = data.draw(st.integers(1, len(frame) - 2))
    changed = bytearray(frame)
    changed[at] ^= data.draw(st.integers(1, 255))
    found = [intact(content) for content in Decoder().feed(bytes(changed))]
    assert [each for each in found if each is not None and len(each) == len(body)] == []


@pytest.mark.parametrize("content", [b"", b"\0", b"\0\0", b"\xff\xff"])
def test_a_crc_alone_is_no_frame(content: bytes) -> None:
    assert intact(content) is None


def test_a_request_lies_as_documented() -> None:
    request = Request(0x56, Verb.WRITE, Space.CHOOSE, 0x1234, 2, b"\xcd\xab")
    assert request.to_bytes() == b"\x1e\x34\x12\x02\x56\xcd\xab"
    assert Request(1, Verb.OPEN, Space.TABLE, 55, 18).to_bytes() == b"\x45\x37\x00\x12\x01"


def test_a_response_lies_as_documented() -> None:
    assert Response(0x56, Status.OPEN | Status.IDLE, 7, b"ab").to_bytes() == b"\x56\x81\x07ab"


@given(body=st.binary(max_size=130))
def test_any_body_is_a_request_or_none(body: bytes) -> None:
    request = Request.from_bytes(body)
    if request is not None:
        assert request.to_bytes() == body
    assert (Response.from_bytes(body) is None) == (len(body) < 3)


@pytest.mark.parametrize("body", [b"\x04\0\0\2", b"\x11\0\0\2\0" + bytes(121)])
def test_what_is_shorter_than_a_header_or_too_long_is_no_request(body: bytes) -> None:
    assert Request.from_bytes(body) is None


@pytest.mark.parametrize(
    ("body", "suits"),
    [
        (b"\x14\0\0\2\0ab", True),
        (b"\x14\0\0\2\0a", False),
        (b"\x14\0\0\2\0abc", False),
        (b"\x04\0\0\2\0", True),
        (b"\x04\0\0\2\0ab", False),
    ],
)
def test_a_request_s_data_are_as_many_as_it_counts_or_do_not_suit_it(body: bytes, suits: bool) -> None:
    request = Request.from_bytes(body)
    assert request is not None
    assert request.suits == suits
