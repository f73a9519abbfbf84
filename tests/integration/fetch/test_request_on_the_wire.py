"""What a spider puts into a request reaches the server through the queue's message, or is refused where it is made."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from crawler.fetch.guard import AddressGuard
from crawler.fetch.http import HttpFetcher
from crawler.frontier.message import check, decode, encode
from crawler.model import Request
from crawler.parsing.charset import clean
from crawler.parsing.url import canonical


class Seen(NamedTuple):
    """A request as the server read it."""

    method: str
    target: str
    headers: dict[str, list[str]]  # by name in lower case
    body: bytes


class Site:
    """A server that notes each request, and a fetcher, in one event loop."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner = runner
        self._seen: list[Seen] = []
        runner.run(self._open())

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        self.origin = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        self._fetcher = HttpFetcher("test/1", AddressGuard(("127.0.0.0/8",)))

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                lines = (await reader.readuntil(b"\r\n\r\n"))[:-4].split(b"\r\n")
                headers: dict[str, list[str]] = {}
                for line in lines[1:]:
                    name, _, value = line.partition(b":")
                    headers.setdefault(name.decode().lower(), []).append(value.decode().strip(" \t"))
                body = await reader.readexactly(int(headers.get("content-length", ["0"])[0]))
                method, target, _ = lines[0].decode().split(" ")
                self._seen.append(Seen(method, target, headers, body))
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def sees(self, request: Request) -> Seen:
        """The request as it arrives when a worker fetches it."""
        self._seen.clear()
        self._runner.run(self._fetcher.fetch(request))
        (seen,) = self._seen
        return seen

    def close(self) -> None:
        self._runner.run(self._fetcher.close())
        self._server.close()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with asyncio.Runner() as runner:
        site = Site(runner)
        yield site
        site.close()


TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=12)
NAMES = st.one_of(
    TEXT, st.from_regex(r"[Xx]-[A-Za-z0-9-]{1,8}", fullmatch=True), st.sampled_from(["Accept", "User-Agent"])
)
VALUES = st.one_of(TEXT, st.text(st.characters(max_codepoint=255), max_size=12), st.binary(max_size=3), st.integers())
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "method": st.one_of(st.sampled_from(["GET", "post", "PUT", "HEAD", "delete", "PURGE"]), TEXT),
    "headers": st.dictionaries(NAMES, VALUES, max_size=3),
    "body": st.one_of(st.binary(max_size=50), TEXT),
    "meta": st.dictionaries(TEXT, TEXT, max_size=1),
}


@settings(max_examples=100, deadline=None)
@given(path=st.text(max_size=12), fields=st.fixed_dictionaries({}, optional=FIELDS))
@example(path="", fields={"headers": {"X": "a\r\nEvil: 1"}})
@example(path="?q=\xe9", fields={"method": "get", "body": "\xe9"})
@example(path="", fields={"headers": {"user-agent": "own/2", "accept": "a, b"}})
@example(path="", fields={"headers": {"x": 7, "y": b"\xc3\xa9"}})
@example(path="", fields={"headers": {"x": "\x01\x7f\t\x85 y"}})
def test_a_request_reaches_the_server_as_it_was_made(site: Site, path: str, fields: dict[str, Any]) -> None:
    url = canonical(f"{site.origin}/{path.lstrip('/')}")
    assume(not url.endswith("?"))  # aiohttp sends it without the empty query if the request is no plain GET
    try:
        request = check(Request(url, **fields))
    except ValueError:
        return
    seen = site.sees(decode(encode(request)).request)
    body = fields.get("body", b"")
    assert (seen.method, site.origin + seen.target) == (fields.get("method", "GET").upper(), url)
    assert seen.body == (body if isinstance(body, bytes) else clean(body).encode())
    for name, value in fields.get("headers", {}).items():
        text = value.decode() if isinstance(value, bytes) else str(value)
        assert seen.headers[name.lower()] == [clean(text)]
