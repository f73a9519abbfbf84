"""However large or slow an answer is, it ends within bounds of bytes, seconds and memory."""

from __future__ import annotations

import asyncio
import gzip
import socket
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import brotli  # type: ignore[import-untyped]
import pytest
from aiohttp.client_proto import ResponseHandler

from crawler.errors import FetchError
from crawler.fetch.answer import MAX_INTERIM
from crawler.fetch.head import MAX_FIELDS, MAX_HEAD_BYTES
from crawler.fetch.http import HttpFetcher, Limits
from crawler.model import SITEMAP_CALLBACK, Request
from tests.integration.fetch.server import (
    Server,
    Talk,
    after_another,
    failure,
    fetch_once,
    fetching,
    ok,
    says,
    serving,
)


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("br", brotli.compress)]
)
async def test_encodings_are_undone_and_bounded(encoding: str, pack: Callable[[bytes], bytes]) -> None:
    fits, too_large = pack(b"\0" * 100_000), pack(b"\0" * 100_001)
    assert len((await fetch_once(ok(fits, f"Content-Encoding: {encoding}"))).body) == 100_000
    error = await failure(ok(too_large, f"Content-Encoding: {encoding}"))
    assert (error.kind, error.transient) == ("too_large", False)


async def test_a_body_announced_too_large_is_not_waited_for() -> None:
    error = await failure(ok(b"", length=100_001))
    assert (error.kind, error.transient) == ("too_large", False)
    assert "100,000 bytes" in str(error)


async def test_a_body_without_end_is_cut_off() -> None:
    async def endless(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.hear(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"2\r\nxx\r\n" * 1000)
            await writer.drain()

    assert (await failure(endless)).kind == "too_large"


async def test_the_largest_body_allowed_passes() -> None:
    assert len((await fetch_once(ok(b"x" * 100_000))).body) == 100_000


@pytest.mark.parametrize("encoding", ["", "gzip"])
async def test_a_sitemap_may_be_larger_than_a_page(encoding: str) -> None:
    body = b"x" * 700_000
    talk = says(ok(gzip.compress(body), "Content-Encoding: gzip") if encoding else ok(body))
    async with serving(after_another(talk)) as server, fetching() as fetcher:
        await fetcher.fetch(Request(f"{server.origin}/first"))
        sitemap = await fetcher.fetch(Request(f"{server.origin}/s.xml", callback=SITEMAP_CALLBACK))
    assert sitemap.body == body
    assert (await failure(talk)).kind == "too_large"


async def test_plain_text_called_gzip_is_taken_as_it_is_with_one_request() -> None:
    async with serving(says(ok(b"<html>", "Content-Encoding: gzip"))) as server, fetching() as fetcher:
        assert (await fetcher.fetch(Request(f"{server.origin}/"))).body == b"<html>"
    assert len(server.heads) == 1


async def stays_silent(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await server.hear(reader)
    await reader.read()


async def drips(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await drips_after(b"HTTP/1.1 200 OK\r\nX: ", server, reader, writer)


async def drips_its_body(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await drips_after(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", server, reader, writer)


async def drips_after(start: bytes, server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await server.hear(reader)
    writer.write(start)
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("talk", "setting"),
    [
        (stays_silent, "READ_TIMEOUT"),
        (drips, "DOWNLOAD_TIMEOUT"),
        (drips_its_body, "DOWNLOAD_TIMEOUT"),
    ],
)
async def test_a_slow_host_is_given_up_in_time(talk: Talk, setting: str) -> None:
    limits = Limits(seconds=0.5, connect_seconds=0.3, silent_seconds=0.2, body_bytes=1000_000)
    started = asyncio.get_running_loop().time()
    error = await failure(talk, limits=limits)
    assert asyncio.get_running_loop().time() - started < 2
    assert (error.kind, error.transient) == ("timeout", True)
    assert setting in str(error)


HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
LONG_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: " + b"x" * 30_000 + b"\r\n\r\n"


@pytest.mark.parametrize("hints", [HINTS * MAX_INTERIM, LONG_HINTS * 2, b"HTTP/1.1 100 Continue\r\n\r\n"])
async def test_interim_answers_are_passed_over(hints: bytes) -> None:
    assert (await fetch_once(hints + ok(b"fine"))).body == b"fine"


async def test_interim_answers_are_counted_for_each_answer() -> None:
    async with serving(says(HINTS * (MAX_INTERIM // 2) + ok(b"fine"))) as server, fetching() as fetcher:
        for _ in range(4):
            assert (await fetcher.fetch(Request(f"{server.origin}/page"))).body == b"fine"
    assert server.connections == 1


def for_ever(start: bytes, flood: bytes) -> Talk:
    async def talk(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.hear(reader)
        writer.write(start)
        while True:
            writer.write(flood)
            await writer.drain()

    return talk


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
FLOODS = {
    "one interim answer too many": (says(HINTS * (MAX_INTERIM + 1) + ok()), "interim answers"),
    "interim answers for ever": (for_ever(b"", HINTS * 4_000), "interim answers"),
    "long interim answers": (says(LONG_HINTS * 4 + ok()), "interim answers"),
    "line feeds before the answer": (for_ever(b"", b"\r\n" * 100_000), "bytes came for one answer"),
    "a chunk extension": (for_ever(CHUNKED + b"5;", b"x" * 200_000), "bytes came for one answer"),
}


@pytest.mark.parametrize(("talk", "why"), FLOODS.values(), ids=FLOODS.keys())
async def test_what_is_no_body_is_bounded_too(talk: Talk, why: str) -> None:
    """However fast it comes. That time bounds it is not enough: it keeps the machine busy until then."""
    error = await failure(talk, limits=Limits(body_bytes=100_000))
    assert (error.kind, error.transient) == ("malformed", False)
    assert why in str(error)


@pytest.mark.parametrize(
    ("start", "flood"),
    [(CHUNKED, b"1\r\nx\r\n"), (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), (CHUNKED + b"5;", b"x")],
    ids=["tiny chunks", "more answers than requests", "a chunk extension"],
)
@pytest.mark.parametrize("first", [0, 1])
async def test_a_flood_leaves_the_others_their_turns(
    start: bytes, flood: bytes, first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parser gets little of it before the event loop has seen to everybody else."""
    turn, parsed = 0, Counter[int]()
    parse = ResponseHandler.data_received

    def watched(self: ResponseHandler, data: bytes) -> None:
        parsed[turn] += len(data)
        parse(self, data)

    async def others() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    monkeypatch.setattr(ResponseHandler, "data_received", watched)
    talk = for_ever(start, flood * (200_000 // len(flood)))
    async with serving(after_another(talk) if first else talk) as server, fetching() as fetcher:
        if first:
            await fetcher.fetch(Request(f"{server.origin}/first"))
        busy = asyncio.create_task(others())
        with suppress(FetchError):
            await fetcher.fetch(Request(f"{server.origin}/page"))
        busy.cancel()
    assert 0 < max(parsed.values()) <= 2 * 64 * 1024  # the end of one read and the beginning of the next


@pytest.mark.parametrize("first", [0, 1])
async def test_what_the_parser_has_not_read_yet_is_no_answer_to_the_next_request(first: int) -> None:
    piece = 16 * 1024  # the parser gets no more at first
    asked = ok(b"asked".ljust(piece - len(ok(b"", length=piece))))
    assert len(asked) == piece
    talk = says(asked + ok(b"not asked"))
    async with serving(after_another(talk) if first else talk) as server, fetching() as fetcher:
        for _ in range(3):
            if first:
                await fetcher.fetch(Request(f"{server.origin}/first"))
            assert (await fetcher.fetch(Request(f"{server.origin}/page"))).body.startswith(b"asked")
        assert server.connections == 3


async def test_a_host_that_does_not_take_the_connection_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for other in waiting:
            other.setblocking(False)
            other.connect_ex(address)
        async with fetching(limits=Limits(connect_seconds=0.2)) as fetcher:
            with pytest.raises(FetchError, match="CONNECT_TIMEOUT") as caught:
                await fetcher.fetch(Request(f"http://127.0.0.1:{address[1]}/"))
        for other in waiting:
            other.close()
    assert (caught.value.kind, caught.value.transient) == ("timeout", True)


HEADER_FLOODS = {
    "many fields": b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: 1\r\n" % n for n in range(MAX_FIELDS + 1)),
    "a long value": b"HTTP/1.1 200 OK\r\nX: " + b"x" * MAX_HEAD_BYTES,
    "a long name": b"HTTP/1.1 200 OK\r\n" + b"x" * MAX_HEAD_BYTES,
    "a long status": b"HTTP/1.1 200 " + b"x" * MAX_HEAD_BYTES,
}


@pytest.mark.parametrize("flood", HEADER_FLOODS.values(), ids=HEADER_FLOODS.keys())
async def test_a_flood_of_headers_is_cut_off(flood: bytes) -> None:
    error = await failure(flood + b"\r\n\r\n")
    assert (error.kind, error.transient) == ("malformed", False)


async def test_headers_larger_than_usual_pass() -> None:
    response = await fetch_once(ok(b"fine", "X-Policy: " + "x" * 200_000, *(f"X-{n}: {n}" for n in range(900))))
    assert response.body == b"fine"


BOMB = """
import asyncio, sys
from pathlib import Path
from crawler.errors import FetchError
from crawler.fetch.guard import AddressGuard
from crawler.fetch.head import MAX_FIELDS, MAX_HEAD_BYTES
from crawler.fetch.http import HttpFetcher
from crawler.model import SITEMAP_CALLBACK, Request

async def main():
    fetcher = HttpFetcher("example/1.0", AddressGuard(["127.0.0.0/8"]))
    for path in sys.argv[2:]:
        try:
            await fetcher.fetch(Request(sys.argv[1] + path))
        except FetchError as error:
            print(error.kind)
    await fetcher.close()
    # Not `ru_maxrss`: that counts what the parent had when it started us.
    peak = Path("/proc/self/status").read_text().partition("VmHWM:")[2]
    print(int(peak.split()[0]) // 1024)

asyncio.run(main())
"""


def bomb_of(megabytes: int) -> bytes:
    """A gzip stream of zeros. Behind a full flush each megabyte looks the same, so it is packed but once."""
    packer = zlib.compressobj(wbits=31)
    first, again = (packer.compress(bytes(1_000_000)) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + again * (megabytes - 1)


def test_bombs_cost_little_memory() -> None:
    """A gigabyte in a megabyte, alone and nested, in a process of its own: its peak is measured."""
    bomb = bomb_of(1_000)
    nested = gzip.compress(bomb_of(20_000))
    answers = {
        "/bomb": ok(bomb, "Content-Encoding: gzip"),
        "/nested": ok(nested, "Content-Encoding: gzip, gzip"),
    }

    async def talk(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(answers[(await server.hear(reader)).split()[1]])
            await writer.drain()

    async def main() -> list[str]:
        async with serving(talk) as server:
            command = [sys.executable, "-c", BOMB, server.origin, *answers]
            process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
            output, _ = await process.communicate()
            return output.decode().split()

    *kinds, megabytes = asyncio.run(main())
    assert kinds == ["too_large", "too_large"]
    assert int(megabytes) < 200


MB = 1_000_000


@pytest.mark.parametrize("connection", ["new", "open"])
@pytest.mark.parametrize("encoding", ["", "gzip"])
async def test_a_large_body_waits_for_memory_and_its_host_is_not_blamed(encoding: str, connection: str) -> None:
    """While another task holds what there is, longer than an answer may take; a small body passes it by."""
    body = b"x" * 3 * MB
    large = ok(gzip.compress(body), "Content-Encoding: gzip") if encoding else ok(body)
    limits = Limits(body_bytes=4 * MB, active_bytes=4 * MB, seconds=0.5)
    has_read, may_end = asyncio.Event(), asyncio.Event()

    async def hold(fetcher: HttpFetcher, url: str) -> None:
        await fetcher.fetch(Request(url))
        has_read.set()
        await may_end.wait()

    async with (
        serving(says(large)) as one,
        serving(says(large)) as two,
        serving(says(ok(b"small"))) as small,
        fetching(limits=limits) as fetcher,
    ):
        holding = asyncio.create_task(hold(fetcher, f"{one.origin}/"))
        await has_read.wait()
        asked = one if connection == "open" else two
        waiting = asyncio.create_task(fetcher.fetch(Request(f"{asked.origin}/")))
        assert (await fetcher.fetch(Request(f"{small.origin}/"))).body == b"small"
        await asyncio.wait({waiting}, timeout=2 * limits.seconds)
        assert not waiting.done()
        may_end.set()
        await holding
        assert (await waiting).body == body
        assert (one.connections, two.connections) == ((1, 0) if connection == "open" else (1, 1))


async def test_a_body_as_large_as_the_setting_permits_is_read() -> None:
    """What is neither head nor body is bounded in proportion to it."""
    limits = Limits(body_bytes=40 * MB, active_bytes=1)
    body = b"x" * 40 * MB
    assert (await fetch_once(ok(body), limits=limits)).body == body
