"""A server on loopback that says what a test tells it to, and a fetcher to ask it."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from crawler.errors import FetchError
from crawler.fetch.guard import AddressGuard
from crawler.fetch.http import HttpFetcher, Limits
from crawler.model import Request
from crawler.response import Response


class Server:
    """What a test's server saw."""

    def __init__(self, host: str, port: int, scheme: str) -> None:
        self.origin = f"{scheme}://{host}:{port}"
        self.port = port
        self.connections = 0
        self.heads: list[str] = []

    async def hear(self, reader: asyncio.StreamReader) -> str:
        """Wait for the head of the next request."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        self.heads.append(head)
        return head


Talk = Callable[[Server, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(
    talk: Talk, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None, port: int = 0
) -> AsyncIterator[Server]:
    talks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        task = asyncio.current_task()
        assert task
        talks.add(task)
        try:
            await talk(server, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    listener = await asyncio.start_server(accept, host, port, ssl=tls)
    server = Server(host, listener.sockets[0].getsockname()[1], "https" if tls else "http")
    try:
        yield server
    finally:
        listener.close()
        for task in talks:
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)


@asynccontextmanager
async def serving_all(talk: Talk, hosts: Sequence[str]) -> AsyncIterator[int]:
    """The same talk at many addresses and one port, which is given."""
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(serving(talk, hosts[0]))
        for host in hosts[1:]:
            await stack.enter_async_context(serving(talk, host, port=first.port))
        yield first.port


def says(*answers: bytes) -> Talk:
    """One answer a request, the last one again and again; closes after one that says so."""

    async def talk(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await server.hear(reader)
            answer = answers[min(len(server.heads), len(answers)) - 1]
            writer.write(answer)
            await writer.drain()
            if b"connection: close" in answer.lower() or not answer:
                return

    return talk


def ok(body: bytes = b"hello", *fields: str, status: str = "200 OK", length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *fields]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def cut(body: bytes, *fields: str, length: int) -> bytes:
    """An answer whose connection ends before its body does."""
    return ok(body, "Connection: close", *fields, length=length)


QUICK = Limits(seconds=5.0, connect_seconds=2.0, silent_seconds=2.0, body_bytes=100_000)


@asynccontextmanager
async def fetching(
    networks: tuple[str, ...] = ("127.0.0.0/8",),
    *,
    limits: Limits = QUICK,
    headers: dict[str, str] | None = None,
    authorizations: dict[str, str] | None = None,
    tls_ca_file: str = "",
    resolver: AbstractResolver | None = None,
    connections: int = 1_000,
) -> AsyncIterator[HttpFetcher]:
    fetcher = HttpFetcher(
        "example/1.0",
        AddressGuard(networks),
        headers=headers,
        authorizations=authorizations,
        limits=limits,
        tls_ca_file=tls_ca_file,
        resolver=resolver,
        connections=connections,
    )
    try:
        yield fetcher
    finally:
        await fetcher.close()


THROUGH_AIOHTTP = {"x-own": "1"}
"""A field of its own, which makes a request an unusual one."""


async def fetch_once(answer: bytes | Talk, *, method: str = "GET", limits: Limits = QUICK) -> Response:
    """What comes of an answer: the same, whether aiohttp makes the request or we do, on a new connection or an open
    one."""
    talk = says(answer) if isinstance(answer, bytes) else answer
    responses = []
    for headers in (THROUGH_AIOHTTP, {}):
        async with serving(talk) as server, fetching(limits=limits) as fetcher:
            responses.append(await fetcher.fetch(Request(f"{server.origin}/page", method=method, headers=headers)))
    async with serving(after_another(talk)) as server, fetching(limits=limits) as fetcher:
        await fetcher.fetch(Request(f"{server.origin}/first"))
        responses.append(await fetcher.fetch(Request(f"{server.origin}/page", method=method)))
    assert server.connections == 1
    first, *others = ((one.status, one.headers, one.body, one.cut, one.address) for one in responses)
    assert others == [first, first]
    assert first[-1] == "127.0.0.1"
    return responses[-1]


async def failure(answer: bytes | Talk, *, limits: Limits = QUICK) -> FetchError:
    """The error that comes of an answer: the same in all these ways."""
    talk = says(answer) if isinstance(answer, bytes) else answer
    errors = []
    for headers in (THROUGH_AIOHTTP, {}):
        async with serving(talk) as server, fetching(limits=limits) as fetcher:
            errors.append(await _error_of(fetcher, Request(f"{server.origin}/page", headers=headers)))
    async with serving(after_another(talk)) as server, fetching(limits=limits) as fetcher:
        await fetcher.fetch(Request(f"{server.origin}/first"))
        errors.append(await _error_of(fetcher, Request(f"{server.origin}/page")))
    assert server.connections == 1
    assert "\n" not in str(errors[-1])
    first, *others = ((error.kind, error.transient, _PORT.sub("", str(error))) for error in errors)
    assert others == [first, first]
    return errors[-1]


_PORT = re.compile(r"(?<=//127\.0\.0\.1):\d+")


async def _error_of(fetcher: HttpFetcher, request: Request) -> FetchError:
    with pytest.raises(FetchError) as caught:
        await fetcher.fetch(request)
    assert f"{request.url}: " in str(caught.value)
    return caught.value


def after_another(talk: Talk) -> Talk:
    """The same talk on a connection that has been used once."""

    async def second(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.hear(reader)
        server.heads.clear()
        writer.write(ok(b"first"))
        await writer.drain()
        await talk(server, reader, writer)

    return second


class Names(AbstractResolver):
    """Resolves names by a table; each look-up takes the next of a name's answers, the last one for ever."""

    def __init__(self, error: int | Exception = socket.EAI_NONAME, **answers: list[list[str]]) -> None:
        self.error = error  # for names that are not in the table
        self._answers = answers
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        self.asked.append(host)
        if host.split(".")[0] not in self._answers:
            if isinstance(self.error, Exception):
                raise self.error
            raise socket.gaierror(self.error, "no address")
        answers = self._answers[host.split(".")[0]]
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [
            ResolveResult(hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=0)
            for address in addresses
        ]

    async def close(self) -> None:
        pass
