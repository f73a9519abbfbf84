"""An exchange over an open connection without aiohttp's machinery, as long as the answer is a plain one.

Most answers are written by the same few servers: HTTP/1.1, some fields in ASCII, a `Content-Length`, the body and
nothing behind it. All parsers agree about these, so they are read here at a third of the cost. At the first sign of
anything else, all that has arrived is handed to aiohttp's parser, which reads it as if it had just come in.
"""

from __future__ import annotations

import asyncio
import re
import select
from time import monotonic
from typing import Final, NamedTuple

from aiohttp import SocketTimeoutError, StreamReader
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import RawResponseMessage

MAX_HEAD: Final = 8 * 1024
"""Longest head, in bytes, that is read here."""


class Plain(NamedTuple):
    """A plain answer. `headers` have lower-case names, values of one name joined; the body as it was sent."""

    status: int
    headers: dict[str, str]
    body: bytes
    answered_at: float  # monotonic seconds at the end of the head


class PlainHead(NamedTuple):
    """What the head of a plain answer says; `size` and `length` in bytes, of the head and of the body."""

    status: int
    headers: dict[str, str]
    size: int
    length: int


def read_head(data: bytes | bytearray) -> PlainHead | None:
    """The head that `data` begins with; None: there is more to it than is known here, or less than a head."""
    found = _HEAD(data)
    if found is None or found.end() > MAX_HEAD:
        return None
    headers: dict[str, str] = {}
    for line in found[2].decode("ascii").split("\r\n")[:-1]:
        name, _, value = line.partition(":")
        name = name.lower()
        if name in headers:
            return None  # how values are joined depends on the name
        headers[name] = value.strip(" \t")
    length = headers.get("content-length", "")
    if not _LENGTH(length) or not _UNPLAIN.isdisjoint(headers):
        return None
    if headers.get("connection", "keep-alive").lower() != "keep-alive":
        return None
    return PlainHead(int(found[1]), headers, found.end(), int(length))


# Statuses that have a body. What bends the rules of the grammar (RFC 9112 §5) is not plain: line feeds alone, folded
# lines, white space before a colon, characters beyond ASCII.
_HEAD: Final = re.compile(
    rb"HTTP/1\.1 (20[0-35-9]|30[0-35-9]|[45][0-9][0-9])(?: [ -~]*+)?+\r\n"
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]++:[\t -~]*+\r\n)++)\r\n"
).match
_LENGTH: Final = re.compile(r"[0-9]{1,15}").fullmatch
_UNPLAIN: Final = frozenset({"transfer-encoding", "upgrade", "trailer"})


class Bounds(NamedTuple):
    """Of an answer: bytes of a body that is read here, seconds without a byte, and of the head what aiohttp bounds."""

    body_bytes: int
    silent_seconds: float
    max_line_size: int
    max_field_size: int
    max_headers: int


class Conversation(ResponseHandler):
    """aiohttp's end of a connection, which can also ask by itself."""

    def __init__(self, loop: asyncio.AbstractEventLoop, bounds: Bounds) -> None:
        super().__init__(loop)
        self.address = ""
        """The IP address at the other end."""
        self._bounds = bounds
        self._poll = select.poll()
        self._asked: asyncio.Future[Plain | None] | None = None  # while a plain answer may come
        self._head: PlainHead | None = None
        self._answered_at = 0.0
        self._arrived: bytes | bytearray = b""
        self._heard_at = 0.0  # by the loop's clock
        self._until = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        super().connection_made(transport)
        self.address = transport.get_extra_info("peername")[0]
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def is_silent(self) -> bool:
        """Whether it is open and has nothing to read, in our buffers or the kernel's."""
        return self.transport is not None and not self.should_close and not self._poll.poll(0)

    async def ask(self, request: bytes, until: float) -> Plain | None:
        """Send a request and wait for its answer. None: it is not plain, or too long; get it by `final`.

        `until`: when the loop's clock shows that, there must be an answer. Raises `TimeoutError`, `SocketTimeoutError`
        for silence. After this or a cancellation the connection can only be closed.
        """
        assert self.transport is not None  # noqa: S101 - for the type checker
        self._head, self._arrived = None, b""
        asked: asyncio.Future[Plain | None] = self._loop.create_future()
        self._asked = asked
        self.transport.write(request)
        self._until = until
        self._heard_at = self._loop.time()
        self._listen()
        try:
            return await asked
        finally:
            self._asked = None
            self._watch.cancel()

    async def final(self) -> tuple[RawResponseMessage, StreamReader]:
        """The head of an answer that is not plain, from aiohttp's parser, and its body. Interim ones are passed over.

        Raises `HttpProcessingError` for what is no HTTP, and `ClientError`.
        """
        while True:
            message, content = await self.read()
            if not 100 <= message.code <= 199 or message.code == 101:
                return message, content

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        if self._asked is None:
            super().data_received(data)
            return
        self._heard_at = self._loop.time()
        if not self._arrived:
            self._arrived = data
        else:
            if isinstance(self._arrived, bytes):
                self._arrived = bytearray(self._arrived)
            self._arrived += data
        self._read(self._asked)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Called by the loop."""
        if self._asked is not None:
            self._leave_to_aiohttp(self._asked)
        super().connection_lost(exc)

    def _read(self, asked: asyncio.Future[Plain | None]) -> None:
        arrived = self._arrived
        if self._head is None:
            self._head = read_head(arrived)
            self._answered_at = monotonic()
        head = self._head
        if head is None or head.length > self._bounds.body_bytes or len(arrived) > head.size + head.length:
            self._leave_to_aiohttp(asked)
        elif len(arrived) == head.size + head.length:
            self._asked, self._arrived = None, b""
            if not asked.done():
                asked.set_result(Plain(head.status, head.headers, bytes(arrived[head.size :]), self._answered_at))

    def _leave_to_aiohttp(self, asked: asyncio.Future[Plain | None]) -> None:
        arrived = bytes(self._arrived)
        self._asked, self._arrived = None, b""
        self.set_response_params(
            read_until_eof=True,
            auto_decompress=False,
            read_timeout=self._bounds.silent_seconds,
            max_line_size=self._bounds.max_line_size,
            max_field_size=self._bounds.max_field_size,
            max_headers=self._bounds.max_headers,
        )
        super().data_received(arrived)
        if not asked.done():
            asked.set_result(None)

    def _listen(self) -> None:
        """Look whether it has taken too long, or the other end has been silent for too long; look again later."""
        if self._asked is None or self._asked.done():
            return
        now, silent = self._loop.time(), self._heard_at + self._bounds.silent_seconds
        if now < min(silent, self._until):
            self._watch = self._loop.call_at(min(silent, self._until), self._listen)
        else:
            self._asked.set_exception(SocketTimeoutError() if silent < self._until else TimeoutError())
