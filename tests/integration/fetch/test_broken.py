"""Answers cut off or malformed are errors of a known kind, and never harm the next request."""

from __future__ import annotations

import asyncio
import gzip
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crawler.errors import FetchError
from crawler.model import Request
from tests.integration.fetch.server import Server, cut, failure, fetch_once, fetching, ok, says, serving

PACKED = gzip.compress(b"some text " * 50)
TRUNCATED = {
    "after the head": cut(b"", length=10),
    "in the body": cut(b"hel", length=5),
    "in a chunk": b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
    "between chunks": b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "in gzip, by length": cut(PACKED[:20], "Content-Encoding: gzip", length=len(PACKED)),
    "in gzip, length of the part": ok(PACKED[:20], "Content-Encoding: gzip"),
    "in gzip, until the end": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Encoding: gzip\r\n\r\n" + PACKED[:-9],
    "in gzip, chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n\r\n"
    b"14\r\n" + PACKED[:20] + b"\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("answer", TRUNCATED.values(), ids=TRUNCATED.keys())
async def test_an_answer_cut_off_is_an_error_worth_another_try(answer: bytes) -> None:
    async def talk(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.hear(reader)
        writer.write(answer)

    error = await failure(talk)
    assert (error.kind, error.transient) == ("truncated", True)


BAD_BODIES = {name: TRUNCATED[name] for name in ("in the body", "between chunks", "in gzip, by length")} | {
    "no gzip": ok(b"\x1f\x8b\x08" + b"\xff" * 50, "Content-Encoding: gzip"),
    "too large": ok(b"x" * 300_000),
}


@pytest.mark.parametrize("answer", BAD_BODIES.values(), ids=BAD_BODIES.keys())
@pytest.mark.parametrize("status", ["302 Found", "404 Not Found", "503 Busy"])
async def test_a_redirect_and_an_error_need_no_body(answer: bytes, status: str) -> None:
    answer = answer.replace(b" 200 OK\r\n", f" {status}\r\nLocation: /x\r\n".encode())
    response = await fetch_once(answer)
    assert (response.status, response.headers["location"], response.body) == (int(status[:3]), "/x", b"")
    assert "dataloss" in response.cut
    async with serving(says(answer, ok(b"right"))) as server, fetching() as fetcher:
        await fetcher.fetch(Request(f"{server.origin}/"))
        assert (await fetcher.fetch(Request(f"{server.origin}/"))).body == b"right"


@pytest.mark.parametrize("answer", [b"HTTP", b"HTTP/1.1 200 OK\r\nContent-Len"], ids=["a start", "half a head"])
async def test_a_connection_that_ends_before_the_answer_is_one_too(answer: bytes) -> None:
    """A kind of its own: it says something about the host, not about the page."""

    async def talk(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.hear(reader)
        writer.write(answer)

    error = await failure(talk)
    assert (error.kind, error.transient) == ("reset", True)


async def test_a_connection_reset_in_the_body_is_an_error_worth_another_try() -> None:
    async def talk(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.hear(reader)
        writer.write(ok(b"hel", length=500))
        await writer.drain()
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    error = await failure(talk)
    assert (error.kind, error.transient) == ("truncated", True)


MALFORMED = {
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "HTTP/0.9": b"<html>hello</html>",
    "no status": b"HTTP/1.1 OK\r\n\r\n",
    "a long status": b"HTTP/1.1 2000 OK\r\n\r\n",
    "a version": b"HTTP/9.7 200 OK\r\n\r\n",
    "binary": bytes(range(256)),
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "two lengths in a list": b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello!",
    "TLS": b"\x15\x03\x01\x00\x02\x02\x46",
}


@pytest.mark.parametrize("answer", MALFORMED.values(), ids=MALFORMED.keys())
async def test_what_is_not_http_is_a_permanent_error_and_the_next_request_is_right(answer: bytes) -> None:
    async with serving(says(answer, ok(b"right"))) as server, fetching() as fetcher:
        with pytest.raises(FetchError) as caught:
            await fetcher.fetch(Request(f"{server.origin}/"))
        assert (caught.value.kind, caught.value.transient) == ("malformed", False)
        assert (await fetcher.fetch(Request(f"{server.origin}/next"))).body == b"right"


async def test_a_protocol_nobody_asked_for_is_not_spoken() -> None:
    switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n\x81\x05hello"
    async with serving(says(switch, ok(b"right"))) as server, fetching() as fetcher:
        response = await fetcher.fetch(Request(f"{server.origin}/"))
        assert (response.status, response.body) == (101, b"")
        assert (await fetcher.fetch(Request(f"{server.origin}/next"))).body == b"right"


HEADS = [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"]
NOISE = st.binary(max_size=60) | st.text("0123456789abcdef;: \r\n\t", max_size=60).map(str.encode)


@settings(max_examples=20)
@given(st.lists(st.builds(bytes.__add__, st.sampled_from(HEADS), NOISE), min_size=1, max_size=10))
def test_whatever_a_server_says_is_a_response_or_a_fetch_error(answers: list[bytes]) -> None:
    async def talk(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.hear(reader)
        writer.write(answers[len(server.heads) - 1])

    async def main() -> None:
        async with serving(talk) as server, fetching() as fetcher:
            for _ in answers:
                try:
                    assert (await fetcher.fetch(Request(f"{server.origin}/"))).status
                except FetchError as error:
                    assert error.kind in ("malformed", "reset", "truncated")  # noqa: PT017
        assert len(server.heads) == len(answers)

    asyncio.run(main())
