"""Answers that break the rules of HTTP in ways that the web is known for are read as browsers, curl and wget read them.

Each is read on a new connection and on one that was used before (`fetch_once`), and that connection is then closed.
"""

from __future__ import annotations

import asyncio
import gzip
import zlib

import pytest

from crawler.fetch.http import Limits
from crawler.model import Request
from tests.integration.fetch.server import Server, failure, fetch_once, fetching, ok, says, serving

PAGE = b"<title>goal</title>"
PACKED = gzip.compress(PAGE)


def answer(*lines: str, body: bytes = PAGE, length: int | None = len(PAGE), status: str = "HTTP/1.1 200 OK") -> bytes:
    lengths = [] if length is None else [f"Content-Length: {length}"]
    return "\r\n".join([status, *lines, *lengths]).encode("latin-1") + b"\r\n\r\n" + body


CHUNKED = "Transfer-Encoding: chunked"
CHUNKS = b"13\r\n" + PAGE + b"\r\n0\r\n\r\n"
ODD = {
    "no colon": answer("X-XSS-Protection=1; mode=block"),
    "a space before the colon": answer("Cache-Control : no-cache"),
    "a length with a space before the colon": answer(f"Content-Length : {len(PAGE)}", length=None),
    "quotes around a line": answer('"X-XSS-Protection: 0"'),
    "no name": answer(": x", ":"),
    "a name with a space": answer("X y: 1"),
    "a folded line": answer("X: a", "\t b"),
    "a folded line first": answer(" folded"),
    "NUL in a value": answer("X: a\0b"),
    "a carriage return in a value": answer("X: a\rb"),
    "a page in the head": answer("<html>"),
    "two carriage returns a line": answer().replace(b"\r\n", b"\r\r\n"),
    "small letters": answer(status="http/1.1 200 ok"),
    "no carriage returns": answer().replace(b"\r\n", b"\n"),
    "an empty line first": b"\r\n" + answer(),
    "no reason": answer(status="HTTP/1.1 200"),
    "a reason of Latin-1": answer(status="HTTP/1.1 200 caf\xe9"),
    "two spaces": answer(status="HTTP/1.1  200 OK"),
    "HTTP/1.0": answer(status="HTTP/1.0 200 OK"),
    "HTTP/2": answer(status="HTTP/2 200"),
    "the length twice": answer(f"Content-Length: {len(PAGE)}"),
    "the length as a list": answer(f"Content-Length: {len(PAGE)}, {len(PAGE)}", length=None),
    "a length beside chunks": answer(CHUNKED, body=CHUNKS, length=7),
    "two lengths beside chunks": answer(CHUNKED, "Content-Length: 5", body=CHUNKS, length=7),
    "chunks twice": answer(CHUNKED, "Transfer-Encoding: Chunked", body=CHUNKS, length=None),
    "identity": answer("Transfer-Encoding: identity"),
    "bytes behind the body": answer(body=PAGE + b"</html> etc."),
    "an answer behind the body": answer(body=PAGE + ok(b"evil")),
    "bytes behind the last chunk": answer(CHUNKED, body=CHUNKS + b"etc.", length=None),
    "chunks with line feeds alone": answer(CHUNKED, body=CHUNKS.replace(b"\r", b""), length=None),
    "chunks with spaces and extensions": answer(
        CHUNKED,
        body=CHUNKS.replace(b"13\r", b' 0013 ; a = <b> ; c="d;e"\r').replace(b"0\r\n\r", b"000;x\r\n\r"),
        length=None,
    ),
    "trailers that are none": answer(CHUNKED, body=CHUNKS[:-2] + b"X y\r\nContent-Length: 3\r\n\r\n", length=None),
    "transfer of gzip": answer("Transfer-Encoding: gzip", body=PACKED, length=len(PACKED)),
    "chunks of gzip": answer(
        "Transfer-Encoding: gzip, chunked", body=b"%x\r\n" % len(PACKED) + PACKED + b"\r\n0\r\n\r\n", length=None
    ),
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
async def test_an_odd_answer_is_read_and_its_connection_is_closed(odd: bytes) -> None:
    response = await fetch_once(odd)
    assert (response.status, response.body) == (200, PAGE)
    async with serving(says(odd)) as server, fetching() as fetcher:
        for _ in range(3):
            assert (await fetcher.fetch(Request(f"{server.origin}/"))).body == PAGE
    assert server.connections == (1 if odd in (ODD["no reason"], ODD["a reason of Latin-1"]) else 3)


UNTIL_THE_END = {
    "a length that is no number": answer("Content-Length: five", length=None),
    "a length that is no number, behind a long head": answer(f"X: {'x' * 40_000}", "Content-Length: five", length=None),
    "a negative length": answer("Content-Length: -1", length=None),
    "no line behind the last chunk": answer(CHUNKED, body=CHUNKS[:-2], length=None),
    "gzip until the end": answer("Transfer-Encoding: gzip", body=PACKED, length=None),
    "the length of the text": answer("Content-Encoding: gzip", body=PACKED, length=len(PAGE) * 9),
    "the length of the text, deflate": answer("Content-Encoding: deflate", body=zlib.compress(PAGE), length=999),
}


@pytest.mark.parametrize("odd", UNTIL_THE_END.values(), ids=UNTIL_THE_END.keys())
async def test_the_end_of_the_connection_ends_a_body_of_no_or_a_wrong_length(odd: bytes) -> None:
    assert (await fetch_once(odd.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))).body == PAGE


async def test_a_body_that_has_ended_does_not_fail_for_the_silence_behind_it() -> None:
    for odd in (
        answer("Content-Encoding: gzip", body=PACKED, length=999),
        answer(CHUNKED, body=CHUNKS[:-2], length=None),
    ):
        assert (await fetch_once(odd, limits=Limits(silent_seconds=0.2))).body == PAGE


async def test_a_head_without_end_is_given_up_in_time() -> None:
    error = await failure(answer()[:30], limits=Limits(silent_seconds=0.2))
    assert (error.kind, error.transient) == ("timeout", True)


async def test_the_odd_lines_are_left_out_of_the_headers() -> None:
    odd = answer("X-A=1", "B : 2", "C: 3", "  4", "D: a\0b", "Content-Length: 19", "Content-Encoding: identity")
    headers = {"b": "2", "c": "3 4", "d": "a b", "content-encoding": "identity", "content-length": "19"}
    assert (await fetch_once(odd)).headers == headers


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
async def test_a_body_where_none_may_be_is_left_out(status: str) -> None:
    response = await fetch_once(answer(status=f"HTTP/1.1 {status}"))
    assert (str(response.status), response.body) == (status[:3], b"")


async def test_the_answer_to_head_has_no_body_even_if_it_has_one() -> None:
    assert (await fetch_once(answer(), method="HEAD")).body == b""


async def test_interim_answers_may_be_odd_too() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\nLink=x\n\n\r\n"
    assert (await fetch_once(interim + answer())).body == PAGE


async def test_a_head_in_pieces_is_the_same_head() -> None:
    odd = ODD["no carriage returns"]

    async def talk(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.hear(reader)
        for at in range(len(odd)):
            writer.write(odd[at : at + 1])
            await writer.drain()
            await asyncio.sleep(0)

    assert (await fetch_once(talk)).body == PAGE


@pytest.mark.parametrize(
    ("odd", "cut"),
    [
        (answer(body=PAGE + b" and more"), {"surplus"}),
        (answer(body=PAGE + b"\r\n"), set()),
        (answer(), set()),
        (answer("X=1"), set()),
    ],
)
async def test_what_lies_behind_the_end_of_a_body_is_told(odd: bytes, cut: set[str]) -> None:
    assert set((await fetch_once(odd)).cut) == cut


PART = PAGE[:-5]
BROKEN_OFF = {
    "by length": (answer("Connection: close", body=PART), PART),
    "without its last chunk": (answer(CHUNKED, body=CHUNKS[:-5], length=None), PAGE),
    "in a chunk": (answer(CHUNKED, body=CHUNKS[:18], length=None), PAGE[:14]),
    "no chunks at all": (answer(CHUNKED, length=None), b""),
    "chunks that are none": (answer(CHUNKED, body=CHUNKS[:-5] + b"<p>", length=None), PAGE),
    "gzip of the right length": (answer("Content-Encoding: gzip", body=PACKED[:-9], length=len(PACKED) - 9), None),
    "gzip": (answer("Content-Encoding: gzip", body=PACKED[:-12], length=len(PACKED)), None),
}


@pytest.mark.parametrize(("odd", "part"), BROKEN_OFF.values(), ids=BROKEN_OFF.keys())
async def test_a_body_that_breaks_off_is_an_error_or_its_part_is_the_body(odd: bytes, part: bytes | None) -> None:
    async def talk(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.hear(reader)
        writer.write(odd)

    error = await failure(talk)
    assert (error.kind, error.transient) == ("truncated", True)
    response = await fetch_once(talk, limits=Limits(fail_on_dataloss=False))
    assert PAGE.startswith(response.body)
    assert part in (None, response.body)
    assert set(response.cut) == {"dataloss"}
