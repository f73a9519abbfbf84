"""Serves the web that tests crawl, and writes down who asked for what, when, and what else was going on.

    site = Site(pages=500, hosts=4, seed=1)
    site.on(site.path(7), flaky(2))            # page 7: 503 twice, then the page
    async with serve(site) as running:
        crawl(running.seeds)
    assert {hit.url for hit in running.log} >= site.truth()

Also a program of its own, whose log survives what is done to the crawler:

    python tests/webserver.py --pages 2000 --hosts 8 --seed 1 --log hits.jsonl
    python tests/webserver.py --folder /usr/share/doc/python3/html

It prints one JSON line (`seeds`, `hosts`, `port`, `pages`) when it is ready.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import asdict
from http import HTTPStatus
from pathlib import Path
from typing import TextIO

if not __package__:  # run as a program: the folder with the tests in it is not on the path
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from tests.website import (
    ALLOW_ALL,
    Answer,
    Folder,
    Handler,
    Hit,
    Site,
    Website,
    expected,
    flaky,
    huge,
    redirect,
    slow,
    truncated,
)

__all__ = [
    "Answer",
    "Folder",
    "Hit",
    "Running",
    "Site",
    "expected",
    "flaky",
    "huge",
    "read_log",
    "redirect",
    "serve",
    "slow",
    "truncated",
]


class Reader(asyncio.StreamReader):
    """A stream that says when the client has hung up, whoever reads from it."""

    def __init__(self) -> None:
        super().__init__(loop=asyncio.get_running_loop())
        self.ended = asyncio.Event()

    def feed_eof(self) -> None:
        """Called by the loop."""
        super().feed_eof()
        self.ended.set()

    def set_exception(self, exc: Exception) -> None:
        """Called by the loop."""
        super().set_exception(exc)
        self.ended.set()

    async def until_ended(self, seconds: float) -> None:
        """Wait that long. Raises `ConnectionResetError` when the client hangs up before."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.ended.wait()
            raise ConnectionResetError("the client has hung up")


class Running:
    """A site being served: `log` holds every request so far, in order of arrival."""

    def __init__(self, site: Website, log: TextIO | None = None) -> None:
        self.site = site
        self.log: list[Hit] = []
        self.down: set[str] = set()  # hosts that hang up as soon as they are called
        self.seconds = 1.0  # for handlers that take as long as a test says
        self.heard: dict[
            Hit, float
        ] = {}  # whose asker was still there when the answer had been sent: monotonic seconds
        self.calls: list[tuple[float, str]] = []  # to hosts that were down: monotonic seconds, host
        self._file = log
        self._numbers: Counter[str] = Counter()
        self._concurrent: Counter[str] = Counter()
        self._connections: set[asyncio.Task[None]] = set()
        self._arrived = asyncio.Event()

    @property
    def seeds(self) -> list[str]:
        """Where a crawl may start."""
        return self.site.seeds

    def hits(self, url: str) -> list[Hit]:
        """The requests for one URL."""
        return [hit for hit in self.log if hit.url == url]

    async def until(self, number: int) -> None:
        """Wait until so many requests have arrived."""
        while len(self.log) < number:
            self._arrived.clear()
            await self._arrived.wait()

    def protocol(self) -> asyncio.StreamReaderProtocol:
        """One end of a new connection."""
        reader = Reader()

        async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self.connection(reader, writer)

        return asyncio.StreamReaderProtocol(reader, talk, asyncio.get_running_loop())

    async def connection(self, reader: Reader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection until it ends."""
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            if self._hangs_up(writer):
                return
            while await self._exchange(reader, writer):
                pass
        except (
            asyncio.IncompleteReadError,
            asyncio.LimitOverrunError,
            ConnectionError,
            asyncio.CancelledError,
        ):
            pass  # the other end is gone, or talks no HTTP, or we are closing
        finally:
            self._connections.discard(task)
            writer.close()

    async def close(self) -> None:
        """End all connections."""
        connections = list(self._connections)
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    def _hangs_up(self, writer: asyncio.StreamWriter) -> bool:
        address = writer.get_extra_info("sockname")[0]
        if address in self.down:
            self.calls.append((time.monotonic(), address))
            writer.transport.abort()
        return address in self.down

    async def _exchange(self, reader: Reader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer. False: the connection ends here."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ", 2)
        headers = _headers(head[1:])
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        if self._hangs_up(writer):
            return False
        host = headers.get("host", "").rpartition(":")[0] or headers.get("host", "")
        address = self.site.address(host)
        for place in {host, address}:
            self._concurrent[place] += 1
        try:
            hit = self._hit(host, method, path, headers, body.decode("latin-1"))
            answer = self.site.answer(hit)
            if answer.delay:
                await reader.until_ended(answer.delay)
            await _send(writer, answer, with_body=method != "HEAD")
            if not reader.at_eof():
                self.heard[hit] = time.monotonic()
        finally:
            for place in {host, address}:
                self._concurrent[place] -= 1
        return not answer.missing and headers.get("connection", "").lower() != "close"

    def _hit(self, host: str, method: str, path: str, headers: Mapping[str, str], body: str) -> Hit:
        port = "" if self.site.port == 80 else f":{self.site.port}"
        url = f"http://{host}{port}{path}"
        self._numbers[url] += 1
        agent = headers.get("user-agent", "")
        hit = Hit(
            time=time.monotonic(),
            wall=time.time(),
            host=host,
            path=path,
            url=url,
            number=self._numbers[url],
            concurrent=self._concurrent[host],
            agent=agent,
            method=method,
            headers=headers,
            at_address=self._concurrent[self.site.address(host)],
            body=body,
        )
        self.log.append(hit)
        self._arrived.set()
        if self._file:
            self._file.write(f"{json.dumps(asdict(hit))}\n")
        return hit


def _headers(lines: Iterable[str]) -> dict[str, str]:
    """Names in lower case; the values of a name that comes more than once are joined, as RFC 9110 says (5.3)."""
    headers: dict[str, str] = {}
    for name, _, value in (line.partition(":") for line in lines if line):
        name = name.lower()
        headers[name] = f"{headers[name]}, {value.strip()}" if name in headers else value.strip()
    return headers


async def _send(writer: asyncio.StreamWriter, answer: Answer, *, with_body: bool) -> None:
    lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"]
    lines += [f"Content-Type: {answer.content_type}", f"Content-Length: {len(answer.body) * answer.times}"]
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
    if with_body:
        for _ in range(answer.times):
            writer.write(answer.body[: len(answer.body) - answer.missing])
            await writer.drain()
        writer.write(answer.surplus)


@asynccontextmanager
async def serve(site: Website, *, port: int = 0, log: Path | None = None) -> AsyncIterator[Running]:
    """Serve a site on its hosts, on one port (0: a free one); `log` gets a JSON line as a request arrives."""
    with log.open("a", buffering=1) if log else nullcontext() as file:
        running = Running(site, file)
        servers: list[asyncio.Server] = []
        try:
            for address in dict.fromkeys(map(site.address, site.hosts)):
                loop = asyncio.get_running_loop()
                server = await loop.create_server(running.protocol, address, port, backlog=1024)
                servers.append(server)
                port = server.sockets[0].getsockname()[1]
            site.port = port
            yield running
        finally:
            for server in servers:
                server.close()
            await running.close()
            for server in servers:
                await server.wait_closed()


def read_log(file: Path) -> list[Hit]:
    """The requests in a log file."""
    return [Hit(**json.loads(line)) for line in file.read_text().splitlines()]


# ---------------------------------------------------------------------------------------------------------
# The program


def main() -> None:
    """Serve until SIGTERM or Ctrl-C."""
    options = _options()
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve_until_stopped(options))


async def _serve_until_stopped(options: argparse.Namespace) -> None:
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    site = Folder(options.folder, options.hosts) if options.folder else _site(options)
    async with serve(site, port=options.port, log=options.log) as running:
        pages = getattr(site, "pages", None)
        ready = {"seeds": running.seeds, "hosts": site.hosts, "port": site.port, "pages": pages}
        print(json.dumps(ready), flush=True)
        await stopped.wait()


def _site(options: argparse.Namespace) -> Site:
    site = Site(options.pages, options.hosts, options.seed, size=options.size)
    site.robots = "".join([ALLOW_ALL, *(f"Disallow: {prefix}\n" for prefix in options.disallow)])
    if options.delay:
        site.on("/", slow(options.delay))
    for number, seconds in options.slow_host:
        site.on("/", slow(seconds), host=site.hosts[int(number) - 1])
    chosen: list[tuple[str, list[tuple[float, float]], Callable[[float], Handler]]] = [
        ("slow", options.slow, slow),
        ("flaky", options.flaky, lambda times: flaky(int(times))),
        ("busy", options.busy, lambda seconds: flaky(1, 429, f"{seconds:g}")),
        ("truncated", options.truncated, lambda times: truncated(int(times))),
    ]
    for why, pairs, handler in chosen:
        for share, value in pairs:
            for n in site.some(share, why):
                site.on(site.path(n), handler(value))
    return site


def _pair(text: str) -> tuple[float, float]:
    first, _, second = text.partition(":")
    return float(first), float(second or 1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pages", type=int, default=200, help="number of pages (200)")
    parser.add_argument("--hosts", type=int, default=1, help="number of hosts, 127.0.1.1 and on (1)")
    parser.add_argument("--port", type=int, default=0, help="port of all hosts (0: a free one)")
    parser.add_argument("--seed", type=int, default=1, help="which site (1)")
    parser.add_argument("--size", type=int, default=2_000, help="characters of text a page (2000)")
    parser.add_argument("--log", type=Path, help="JSON lines, one a request")
    parser.add_argument("--folder", type=Path, help="serve this folder's files instead")
    parser.add_argument("--delay", type=float, default=0.0, metavar="SECONDS", help="before every answer")
    parser.add_argument("--disallow", action="append", default=[], metavar="PREFIX", help="in robots.txt")
    pairs = {
        "slow": ("SHARE:SECONDS", "that share of the pages is slow"),
        "flaky": ("SHARE:TIMES", "that share answers 503 so many times first"),
        "busy": ("SHARE:SECONDS", "that share answers 429 once, with Retry-After"),
        "truncated": ("SHARE:TIMES", "that share breaks off so many times first"),
        "slow-host": ("NUMBER:SECONDS", "that host is slow"),
    }
    for name, (form, text) in pairs.items():
        parser.add_argument(f"--{name}", type=_pair, action="append", default=[], metavar=form, help=text)
    return parser.parse_args()


if __name__ == "__main__":
    main()
