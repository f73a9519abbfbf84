"""A plain body in chunks is read in place if all parsers agree about it, in whatever pieces it comes."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crawler.fetch.answer import Answer
from crawler.fetch.plain import MAX_CHUNKS, NotPlain, PlainHead, body_of

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
MOST = 10_000


def chunked(*parts: bytes, size: str = "%x") -> bytes:
    return b"".join((size % len(part)).encode() + b"\r\n%b\r\n" % part for part in parts)


def read(*pieces: bytes) -> bytes | None:
    """The body of an answer in these pieces; None while more must come. Raises `NotPlain`."""
    body = body_of(PlainHead(200, {}, len(HEAD), None), MOST)
    arrived, found = bytearray(HEAD), None
    for piece in pieces:
        assert found is None, "asked again although it has ended"
        arrived += piece
        found = body.read(arrived)
    return found


@given(
    st.lists(st.binary(min_size=1, max_size=40) | st.sampled_from([b"0\r\n\r\n", b"\r\n"]), max_size=6),
    st.sampled_from(["%x", "%X", "%05x"]),
    st.sampled_from([b"0\r\n\r\n", b"000\r\n\r\n"]),
)
@example([b"x" * MOST], "%x", b"0\r\n\r\n")
def test_a_body_split_at_every_byte(parts: list[bytes], size: str, last: bytes) -> None:
    sent = chunked(*parts, size=size) + last
    assert read(sent) == read(*(sent[at : at + 1] for at in range(len(sent)))) == b"".join(parts)
    for at in range(len(sent)):
        assert read(sent[:at]) is None
        assert read(sent[:at], sent[at:]) == b"".join(parts)


HOSTILE = {
    "no size": b"\r\nhello\r\n0\r\n\r\n",
    "no digit": b"x\r\nhello\r\n0\r\n\r\n",
    "a prefix": b"0x5\r\nhello\r\n0\r\n\r\n",
    "a sign": b"+5\r\nhello\r\n0\r\n\r\n",
    "a negative size": b"-5\r\nhello\r\n0\r\n\r\n",
    "an underscore": b"0_5\r\nhello\r\n0\r\n\r\n",
    "white space before a size": b" 5\r\nhello\r\n0\r\n\r\n",
    "white space behind a size": b"5 \r\nhello\r\n0\r\n\r\n",
    "a size beyond all bounds": b"1000000000000005\r\nhello\r\n0\r\n\r\n",
    "zeros before a size": b"0000005\r\nhello\r\n0\r\n\r\n",
    "a size above the limit": b"%x\r\n" % (MOST + 1),
    "sizes above the limit": chunked(b"x" * (MOST - 1), b"xy") + b"0\r\n\r\n",
    "too many chunks": chunked(*[b"x"] * (MAX_CHUNKS + 1)) + b"0\r\n\r\n",
    "an extension": b"5;x=y\r\nhello\r\n0\r\n\r\n",
    "an extension of the last chunk": b"5\r\nhello\r\n0;x\r\n\r\n",
    "a line feed alone behind a size": b"5\nhello\r\n0\r\n\r\n",
    "a carriage return alone behind a size": b"5\rhello\r\n0\r\n\r\n",
    "a line feed alone behind data": b"5\r\nhello\n0\r\n\r\n",
    "data longer than its size": b"4\r\nhello\r\n0\r\n\r\n",
    "data shorter than its size": b"7\r\nhello\r\n0\r\n\r\n",
    "a trailer": b"5\r\nhello\r\n0\r\nX: y\r\n\r\n",
    "a line feed alone at the end": b"5\r\nhello\r\n0\r\n\n",
}


@pytest.mark.parametrize("sent", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_is_odd_is_left_to_the_other_reader(sent: bytes) -> None:
    with pytest.raises(NotPlain):
        read(sent)
    with pytest.raises(NotPlain):
        read(*(sent[at : at + 1] for at in range(len(sent))))


@pytest.mark.parametrize("behind", [b"HTTP/1.1 200 OK\r\n\r\n", b"\r\n", b"x"])
def test_bytes_behind_the_end_are_left_to_the_other_reader(behind: bytes) -> None:
    with pytest.raises(NotPlain):
        read(b"5\r\nhello\r\n0\r\n\r\n" + behind)


def test_as_many_chunks_as_are_read_in_one_turn() -> None:
    assert read(chunked(*[b"x"] * MAX_CHUNKS) + b"0\r\n\r\n") == b"x" * MAX_CHUNKS


@given(
    st.lists(st.sampled_from([b"5\r\nhello\r\n", b"5", b"0", b"\r", b"\n", b"\r\n", b"hello", b";", b" "]), max_size=8)
)
def test_what_is_read_in_place_the_other_reader_would_read_the_same(sent: list[bytes]) -> None:
    try:
        body = read(b"".join(sent))
    except NotPlain:
        return
    answer = Answer()
    data = answer.feed(HEAD + b"".join(sent))
    assert answer.broken is None
    assert answer.is_whole == (body is not None)
    assert not answer.is_odd
    if body is not None:
        assert data == HEAD + b"".join(b"5\r\nhello\r\n" for _ in range(len(body) // 5)) + b"0\r\n\r\n"
