"""The web server and the name server of all hosts, in one process, and what they saw.

`python -m scripts.benchmark.broad.server SETTINGS` (JSON, see `Settings`). Each line on its standard input makes it
print what it saw since the last one, as JSON (see `Seen`); the end of the input ends it.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
import time
import zlib
from array import array

import msgspec
import uvloop

from scripts.benchmark.broad.sites import ROBOTS, Sites, address

_CHUNK = 4_096  # bytes of a chunk of a compressed page
_A, _IN, _TTL = 1, 1, 300  # type and class of a record (RFC 1035 §3.2), seconds that its answer is valid


class Settings(msgspec.Struct, frozen=True):
    """What to serve. `latency`: seconds before each answer."""

    hosts: int
    pages: int
    latency: float = 0.0
    gzip: bool = False
    certificate: str = ""  # PEM file of certificate and key; with it the hosts speak TLS


class Seen(msgspec.Struct):
    """What the servers saw."""

    missing: int  # pages that nobody asked for
    again: int  # pages asked for more than once
    surplus: int  # requests for what does not exist
    robots: int  # requests for robots.txt
    gap: float  # the smallest time between two requests at one host, in seconds
    at_once: int  # the most requests at one host at once
    names: int  # questions for an address
    connections: int
    middle: float  # pages a second between the tenth and the ninetieth of a hundred


class Watch:
    """Counts what is asked for."""

    def __init__(self, sites: Sites) -> None:
        self._sites = sites
        self.forget()

    def forget(self) -> None:
        """Start again."""
        sites = self._sites
        self._times = bytearray(sites.hosts * sites.pages)  # each page was asked for
        self._last = array("d", bytes(8 * sites.hosts))  # when each host was last asked
        self._open = bytearray(sites.hosts)  # requests that each host has not answered
        self._asked = array("d")  # when pages were asked for
        self._gap = float("inf")
        self.surplus = self.robots = self.names = self.connections = self._at_once = 0

    def begin(self, host: int) -> None:
        """A host is asked for anything."""
        now = time.monotonic()
        self._gap = min(self._gap, now - self._last[host])
        self._last[host] = now
        self._open[host] += 1
        self._at_once = max(self._at_once, self._open[host])

    def end(self, host: int) -> None:
        """A host answers."""
        self._open[host] -= 1

    def page(self, host: int, page: int) -> None:
        """A host is asked for a page."""
        at = host * self._sites.pages + page
        self._times[at] = min(255, self._times[at] + 1)
        self._asked.append(self._last[host])

    def seen(self) -> Seen:
        """What was seen since the last `forget`."""
        few = self._asked[len(self._asked) // 10 : len(self._asked) * 9 // 10]
        return Seen(
            missing=self._times.count(0),
            again=len(self._times) - self._times.count(0) - self._times.count(1),
            surplus=self.surplus,
            robots=self.robots,
            gap=self._gap,
            at_once=self._at_once,
            names=self.names,
            connections=self.connections,
            middle=len(few) / (few[-1] - few[0]) if len(few) > 1 else 0.0,
        )


class Web(asyncio.Protocol):
    """One connection: one request after the other, each for a page of the host it names."""

    def __init__(self, sites: Sites, watch: Watch, settings: Settings) -> None:
        self._sites = sites
        self._watch = watch
        self._settings = settings
        self._head = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._watch.connections += 1

    def data_received(self, data: bytes) -> None:
        self._head += data
        if not self._head.endswith(b"\r\n\r\n"):
            return
        lines, self._head = self._head.decode("latin-1").split("\r\n"), b""
        name = next((line[5:].strip() for line in lines if line[:5].lower() == "host:"), "")
        host = self._sites.host(name)
        if host is None:
            self._watch.surplus += 1
            self._transport.write(b"HTTP/1.1 421 Misdirected Request\r\nContent-Length: 0\r\n\r\n")
            return
        self._watch.begin(host)
        answer = self._answer(host, lines[0].split()[1])
        if self._settings.latency:
            asyncio.get_running_loop().call_later(self._settings.latency, self._end, host, answer)
        else:
            self._end(host, answer)

    def _end(self, host: int, answer: bytes) -> None:
        self._watch.end(host)
        self._transport.write(answer)

    def _answer(self, host: int, path: str) -> bytes:
        if path == "/robots.txt":
            self._watch.robots += 1
            return self._text(b"text/plain", ROBOTS[host % len(ROBOTS)])
        page = self._sites.page(path)
        if page is None:
            self._watch.surplus += 1
            return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
        self._watch.page(host, page)
        html = self._sites.html(host, page)
        return _compressed(html) if self._settings.gzip else self._text(b"text/html; charset=utf-8", html)

    @staticmethod
    def _text(kind: bytes, body: bytes) -> bytes:
        return b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (kind, len(body), body)


def _compressed(html: bytes) -> bytes:
    """A page by gzip in chunks, as servers send what they compress when they are asked."""
    body = zlib.compress(html, 1, wbits=31)
    parts = [body[at : at + _CHUNK] for at in range(0, len(body), _CHUNK)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Encoding: gzip\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n%b0\r\n\r\n" % chunks
    )


class Names(asyncio.DatagramProtocol):
    """Answers with a host's address; with no record to questions of other types, and “no such name” to other names."""

    def __init__(self, sites: Sites, watch: Watch) -> None:
        self._sites = sites
        self._watch = watch

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        labels, at = [], 12  # a question follows the header of twelve bytes (RFC 1035 §4.1)
        while size := data[at]:
            labels.append(data[at + 1 : at + 1 + size].decode("latin-1").lower())
            at += 1 + size
        end = at + 5  # type and class follow the name
        kind = int.from_bytes(data[at + 1 : at + 3], "big")
        host = self._sites.host(".".join(labels))
        found = b""
        if host is not None and kind == _A:
            self._watch.names += 1
            head = b"".join(n.to_bytes(2, "big") for n in (0xC00C, _A, _IN))  # the name is that of the question
            found = head + _TTL.to_bytes(4, "big") + b"\0\4" + address(host)
        flags = 0x8580 if host is not None else 0x8583
        counts = b"\0\1" + (b"\0\1" if found else b"\0\0") + b"\0\0\0\0"
        self._transport.sendto(data[:2] + flags.to_bytes(2, "big") + counts + data[12:end] + found, addr)


async def main(settings: Settings) -> None:
    """Serve until standard input ends."""
    tls = None
    if settings.certificate:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(settings.certificate)
    sites = Sites(settings.hosts, settings.pages, "https" if tls else "http")
    watch = Watch(sites)
    loop = asyncio.get_running_loop()
    # all addresses: this network has only those of the loopback interface
    port = 443 if tls else 80
    await loop.create_server(lambda: Web(sites, watch, settings), "0.0.0.0", port, ssl=tls, backlog=4_096)  # noqa: S104
    await loop.create_datagram_endpoint(lambda: Names(sites, watch), ("127.0.0.1", 53))
    print("ready", flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        print(msgspec.json.encode(watch.seen()).decode(), flush=True)
        watch.forget()


if __name__ == "__main__":
    uvloop.run(main(msgspec.json.decode(sys.argv[1], type=Settings)))
