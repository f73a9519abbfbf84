"""The short cut for plain answers: taken when it may be, and never seen by anybody but the clock."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crawler.errors import FetchError
from crawler.fetch.conversation import Bounds, Conversation
from crawler.fetch.plain import MAX_FIELDS, MAX_HEAD, Plain, PlainHead, read_head
from crawler.model import Request
from crawler.response import Response
from tests.integration.fetch.server import THROUGH_AIOHTTP, Server, fetch_once, fetching, ok, says, serving


def head(*lines: str) -> bytes:
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


def test_a_plain_head() -> None:
    data = head("HTTP/1.1 404 Not Found", "Server: nginx", "content-LENGTH:\t12 ", "X-Empty:", "Connection: Keep-Alive")
    fields = {"server": "nginx", "content-length": "12", "x-empty": "", "connection": "Keep-Alive"}
    assert read_head(data + b"body") == PlainHead(404, fields, len(data), 12)


def test_a_plain_head_of_a_body_in_chunks() -> None:
    data = head("HTTP/1.1 200 OK", "Transfer-Encoding:  Chunked ")
    assert read_head(data + b"5\r\nhello\r\n") == PlainHead(200, {"transfer-encoding": "Chunked"}, len(data), None)


NOT_PLAIN = {
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
    "an older version": head("HTTP/1.0 200 OK", "Content-Length: 5"),
    "an interim answer": head("HTTP/1.1 103 Early Hints", "Content-Length: 5"),
    "a status without a body": head("HTTP/1.1 204 No Content", "Content-Length: 5"),
    "another one": head("HTTP/1.1 304 Not Modified", "Content-Length: 5"),
    "no such status": head("HTTP/1.1 600 Odd", "Content-Length: 5"),
    "no length": head("HTTP/1.1 200 OK", "Server: nginx"),
    "two lengths": head("HTTP/1.1 200 OK", "Content-Length: 5", "Content-Length: 5"),
    "a list of lengths": head("HTTP/1.1 200 OK", "Content-Length: 5, 5"),
    "a length with a sign": head("HTTP/1.1 200 OK", "Content-Length: +5"),
    "a length in other digits": head("HTTP/1.1 200 OK", "Content-Length: \xb2"),
    "a length beyond all bounds": head("HTTP/1.1 200 OK", "Content-Length: 1234567890123456"),
    "chunks and a length": head("HTTP/1.1 200 OK", "Content-Length: 5", "Transfer-Encoding: chunked"),
    "chunks twice": head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked, chunked"),
    "chunks of gzip": head("HTTP/1.1 200 OK", "Transfer-Encoding: gzip, chunked"),
    "another coding": head("HTTP/1.1 200 OK", "Transfer-Encoding: identity"),
    "chunks and a trailer": head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "Trailer: x"),
    "chunks of the last answer": head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "Connection: close"),
    "the last answer": head("HTTP/1.1 200 OK", "Content-Length: 5", "Connection: close"),
    "another protocol": head("HTTP/1.1 200 OK", "Content-Length: 5", "Connection: upgrade", "Upgrade: h2c"),
    "a field twice": head("HTTP/1.1 200 OK", "Content-Length: 5", "Vary: a", "vary: b"),
    "no ASCII": head("HTTP/1.1 200 OK", "Content-Length: 5", "X: caf\xe9"),
    "NUL": head("HTTP/1.1 200 OK", "Content-Length: 5", "X: a\0b"),
    "a folded line": head("HTTP/1.1 200 OK", "Content-Length: 5", "X: a", " b"),
    "white space before a colon": head("HTTP/1.1 200 OK", "Content-Length: 5", "X : a"),
    "a line that is no field": head("HTTP/1.1 200 OK", "Content-Length: 5", "X"),
    "line feeds alone": b"HTTP/1.1 200 OK\nContent-Length: 5\n\n",
    "a line feed in a line": head("HTTP/1.1 200 OK", "X: a\nContent-Length: 5"),
    "a carriage return in a line": head("HTTP/1.1 200 OK", "X: a\rb", "Content-Length: 5"),
    "an empty line first": b"\r\n" + head("HTTP/1.1 200 OK", "Content-Length: 5"),
    "many fields": head("HTTP/1.1 200 OK", "Content-Length: 5", *(f"X{n}:" for n in range(MAX_FIELDS))),
    "a connection that a proxy closes": head("HTTP/1.1 200 OK", "Content-Length: 5", "Proxy-Connection: close"),
    "an old websocket": head("HTTP/1.1 200 OK", "Content-Length: 5", "Sec-WebSocket-Key1: x"),
    "a long head": head("HTTP/1.1 200 OK", "Content-Length: 5", "X: " + "x" * MAX_HEAD),
}


@pytest.mark.parametrize("data", NOT_PLAIN.values(), ids=NOT_PLAIN.keys())
def test_what_is_not_plain_is_left_to_aiohttp(data: bytes) -> None:
    assert read_head(data + b"hello") is None


CHUNKED = head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked")


@pytest.mark.parametrize(
    "answer", [ok(b"fine", "Content-Type: text/html"), CHUNKED + b"3\r\nfin\r\n1\r\ne\r\n0\r\n\r\n"]
)
async def test_a_usual_request_is_the_one_that_aiohttp_sends(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the byte, and without aiohttp's machinery: else all this would be for nothing."""
    plain: list[Plain | None] = []
    ask = Conversation.ask

    async def watched(self: Conversation, request: bytes, until: float) -> Plain | None:
        plain.append(await ask(self, request, until))
        return plain[-1]

    monkeypatch.setattr(Conversation, "ask", watched)
    own = {"accept": "text/html", "accept-language": "de, en;q=0.5", "x-name": "é"}
    async with serving(says(answer)) as server, fetching(headers=own) as fetcher:
        request = Request(f"{server.origin}/a%7Eb/%C3%A9?q=%2F+~&x")
        await fetcher._ask(request)  # through aiohttp
        for _ in range(3):
            response = await fetcher.fetch(request)
            assert (response.status, response.body, response.address) == (200, b"fine", "127.0.0.1")
    assert server.connections == 1
    assert server.heads == [server.heads[0]] * 4
    assert [answer and answer.body for answer in plain] == [b"fine"] * 3


@pytest.mark.parametrize(("lost", "head"), [(True, "Content-Length: 100000"), (True, "X:"), (False, "X:")])
async def test_what_has_arrived_is_read_though_nobody_read_it_then(lost: bool, head: str) -> None:
    """The parser has got no more than a part of it when the connection is lost, or the body is more than it keeps."""
    body = b"x" * (100_000 if lost else 2_000_000)
    async with serving(says(b"")) as server:
        loop = asyncio.get_running_loop()
        transport, conversation = await loop.create_connection(
            lambda: Conversation(loop, Bounds(5_000_000, 5_000_000, 5.0)), "127.0.0.1", server.port
        )
        conversation.set_response_params(read_until_eof=True)
        answer = f"HTTP/1.1 200 OK\r\nY: {'y' * 200_000}\r\n{head}\r\n\r\n" if lost else ""
        conversation.data_received(answer.encode() + body if lost else ok(body))  # by the loop, in one read
        if lost:
            transport.abort()
        _, content = await conversation.final()
        for _ in range(100):  # turns of the event loop, until it has all or keeps no more
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            assert await content.read() == body
        assert conversation.cut is None
        transport.abort()


@pytest.mark.parametrize("at", range(1, 36, 2))
async def test_chunks_in_two_pieces(at: int) -> None:
    sent = b"4\r\nhell\r\n0C\r\no, all of yo\r\n1\r\nu\r\n0\r\n\r\n"

    async def talk(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await server.hear(reader)
            for piece in (CHUNKED + sent[:at], sent[at:]):
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)

    assert (await fetch_once(talk)).body == b"hello, all of you"


VALUES = st.text(st.sampled_from('ab,; \t"=é\0\r\n'), max_size=6)
FIELDS = st.one_of(
    st.builds("{}:{}".format, st.sampled_from(["X", "x", "Vary", "X-Robots-Tag", "Set-Cookie"]), VALUES),
    st.sampled_from(
        [
            "Content-Length: 5",
            "content-length:0",
            "Content-Length: 7",
            "Transfer-Encoding: chunked",
            "Connection: close",
            "Connection: keep-alive",
            "Content-Encoding: gzip",
            "Content-Encoding: br, gzip",
            "Upgrade: h2c",
            "Trailer: x",
            "Keep-Alive: timeout=5",
            "Proxy-Connection: close",
            "Proxy-Connection: keep-alive",
            "Sec-WebSocket-Key1: x",
            "Sec-WebSocket-Key: x",
            "\r\n".join(f"F{n}:" for n in range(255)),
            "\r\n".join(f"G{n}:" for n in range(256)),
            "X : y",
            " folded",
        ]
    ),
)
STATUSES = st.sampled_from(["200 OK", "200", "200 ", "404 Not Found", "204 No", "304 Not", "500 caf\xe9", "301 Moved"])
BODIES = st.sampled_from(
    [
        b"hello",
        b"",
        b"hello!!",
        b"hel",
        b"helloHTTP/1.1 200 OK\r\n\r\n",
        b"5\r\nhello\r\n0\r\n\r\n",
        b"3\r\nhel\r\n02\r\nlo\r\n000\r\n\r\n",
        b"5\r\nhello\r\n0\r\nX: y\r\n\r\n",
        b"5;x=y\r\nhello\r\n0\r\n\r\n",
        b"5\nhello\n0\n\n",
        b"-5\r\nhello\r\n0\r\n\r\n",
        b"4\r\nhello\r\n0\r\n\r\n",
        b"fffffffffffff\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    ]
)


@st.composite
def answers(draw: st.DrawFn) -> list[bytes]:
    """One answer, plain or nearly so, in the pieces in which it is sent.

    What is behind its end comes in one piece with it: else both ways may have done with it already, or not.
    """
    status, fields = draw(STATUSES), draw(st.lists(FIELDS, max_size=4))
    start = head(
        f"HTTP/1.1 {status}",
        *draw(st.sampled_from([["Content-Length: 5"], ["Transfer-Encoding: chunked"], []])),
        *fields,
    )
    whole = start + draw(BODIES)
    last = len(start) + 3 if whole.endswith(b"\n\r\nhello") and "content-length:0" not in fields else len(start) - 1
    cuts = sorted(draw(st.lists(st.integers(0, last), max_size=2)))
    return [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]


@settings(max_examples=60, deadline=None)
@given(answers())
def test_an_answer_is_the_same_through_aiohttp_on_a_new_connection_and_an_open_one(pieces: list[bytes]) -> None:
    async def talk(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while "/page" not in await server.hear(reader):
            writer.write(ok(b"first"))
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.001)

    async def outcome(*, after: int = 0, headers: Mapping[str, str] | None = None) -> object:
        async with serving(talk) as server, fetching() as fetcher:
            for n in range(after):
                await fetcher.fetch(Request(f"{server.origin}/{n}"))
            try:
                response: Response = await fetcher.fetch(Request(f"{server.origin}/page", headers=headers or {}))
            except FetchError as error:
                return error.kind, error.transient, str(error).replace(server.origin, "")
            assert server.connections == 1
            return response.status, response.headers, response.body

    async def main() -> None:
        assert await outcome(headers=THROUGH_AIOHTTP) == await outcome() == await outcome(after=1)

    asyncio.run(main())
