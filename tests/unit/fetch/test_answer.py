"""An answer is read the same in whatever pieces it comes, and any bytes are an answer or an error."""

from __future__ import annotations

import re
from contextlib import suppress
from itertools import pairwise

import pytest
from aiohttp.http import HttpProcessingError
from hypothesis import example, given
from hypothesis import strategies as st

from crawler.fetch.answer import Answer
from crawler.fetch.chunks import Chunks
from crawler.fetch.head import MAX_FIELDS, read_any_head

ANSWERS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello behind",
    b"\r\nHTTP/1.0 200\nX y\nContent-Length: 5, 5\n folded\n\nhello",
    b"HTTP/1.1 103 Hints\n\n\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n5;x=y\r\nhello\r\n"
    b"0\r\nX: y\r\n\r\nbehind",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\nhe\n 03 \nllo\n0\n\n",
]


def received(pieces: list[bytes]) -> tuple[bytes, bool, bool]:
    """What the parser gets, with the chunks of the body joined, and what is known at the end."""
    answer = Answer()
    data = b"".join(answer.feed(piece) for piece in pieces) + answer.end()
    return re.sub(rb"[1-9a-f]+\r\n([helo]+)\r\n", rb"\1", data), answer.is_whole, answer.is_odd


@pytest.mark.parametrize("whole", ANSWERS)
@given(cuts=st.lists(st.integers(0, 200), max_size=8))
@example(cuts=list(range(200)))
def test_the_pieces_make_no_difference(whole: bytes, cuts: list[int]) -> None:
    places = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    pieces = [whole[start:end] for start, end in pairwise(places)]
    data, is_whole, is_odd = received(pieces)
    assert (data, is_whole, is_odd) == received([whole])
    assert is_whole
    assert b"hello" in data
    assert b"behind" not in data


@given(
    st.lists(
        st.sampled_from([*ANSWERS, b"HTTP/1.1 200 OK\r\n", b"0\r\n", b"5\r\n"]) | st.binary(max_size=40), max_size=6
    )
)
def test_any_bytes_are_an_answer_or_an_error(pieces: list[bytes]) -> None:
    answer = Answer()
    with suppress(HttpProcessingError):
        for piece in pieces:
            answer.feed(piece)
    answer.end()


@pytest.mark.parametrize("value", ["5", " 5 ", "5, 5", "5,,5", "05", "+5", "five", "5, five"])
def test_one_length_or_none(value: str) -> None:
    head = read_any_head(f"HTTP/1.1 200 OK\r\nContent-Length: {value}\r\n\r\n".encode())
    assert head.length == (None if value in ("+5", "five") else 5)
    assert head.is_odd == (value not in ("5", " 5 ", "05"))


@pytest.mark.parametrize(
    "lines",
    [b"Content-Length: 1\r\nContent-Length: 2", b"Content-Length: 1, 2", b"X\r\n" * (MAX_FIELDS + 1)],
    ids=["two fields", "a list", "many lines"],
)
def test_a_head_that_cannot_be_read(lines: bytes) -> None:
    with pytest.raises(HttpProcessingError):
        read_any_head(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n\r\n")


def test_a_head_as_it_should_be_stays_as_it_is() -> None:
    data = b"HTTP/1.1 404 Not Found\r\nServer: x\r\nSet-Cookie: a=\xe9\r\nContent-Length: 5\r\n\r\n"
    head = read_any_head(data)
    assert (head.data, head.is_odd) == (data, False)


def test_chunks_as_they_should_be_are_not_odd() -> None:
    out = bytearray()
    chunks = Chunks()
    assert chunks.feed(b"5\r\nhello\r\n5;a=b\r\nhello\r\n0\r\n\r\nbehind", out) == b"behind"
    assert (bytes(out), chunks.is_odd) == (b"5\r\nhello\r\n5\r\nhello\r\n0\r\n\r\n", False)
