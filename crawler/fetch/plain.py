"""An exchange over an open connection without aiohttp's machinery, as long as the answer is a plain one.

Most answers are written by the same few servers: HTTP/1.1, some fields in ASCII, a `Content-Length`, the body and
nothing behind it. All parsers agree about these, so they are read here at a third of the cost. At the first sign of
anything else, all that has arrived is handed to aiohttp's parser, which reads it as if it had just come in.
"""

from __future__ import annotations

import asyncio
import re
import select
from collections.abc import Callable
from time import monotonic, perf_counter
from typing import Any, Final, NamedTuple

from aiohttp import SocketTimeoutError, StreamReader
from aiohttp.client_proto import ResponseHandler
from aiohttp.helpers import set_exception
from aiohttp.http import HttpProcessingError, RawResponseMessage

MAX_HEAD: Final = 8 * 1024
"""Longest head, in bytes, that is read here."""

MAX_FIELDS: Final = 100
"""Most fields of a head that is read here."""

MAX_INTERIM: Final = 16
"""Most interim answers (1xx, RFC 9110 §15.2) before the final one."""

_INTERIM_BYTES = 64 * 1024  # of an answer, after which it must not have been interim
_TURN_SECONDS = 0.001  # that aiohttp's parser may take in one turn of the event loop
_PIECES = (4 * 1024, 16 * 1024, 64 * 1024)  # bytes it gets in one turn: at least, at first, at most
_WIRE_BYTES = 16 * 1024 * 1024  # of heads and all that is neither head nor body, in one answer
_WIRE_FACTOR = 6  # bytes on the wire for one of a body that comes in chunks of one byte


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
    if len(headers) > MAX_FIELDS:
        return None
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
# What aiohttp's parser acts on or refuses, besides `connection` and `content-length`.
_UNPLAIN: Final = frozenset({"transfer-encoding", "upgrade", "trailer", "proxy-connection", "sec-websocket-key1"})


class Bounds(NamedTuple):
    """Of an answer: bytes of its decoded body, and of a body that is read here; seconds without a byte; and of the head
    what aiohttp bounds."""

    body_bytes: int
    plain_bytes: int
    silent_seconds: float
    max_line_size: int
    max_field_size: int
    max_headers: int


class Conversation(ResponseHandler):
    """aiohttp's end of a connection, which can also ask by itself.

    What the other end sends is bounded in bytes and in interim answers. aiohttp's parser gets one piece of it in each
    turn of the event loop: a flood costs its own page, and the others do not wait for it.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, bounds: Bounds, lost: Callable[[Conversation], object] = lambda _: None
    ) -> None:
        """`lost(self)` is called when the connection has ended."""
        super().__init__(loop)
        self._lost = lost
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
        self._unread = b""  # what aiohttp's parser has yet to get, from `_read_to` on
        self._read_to = 0
        self._turn: asyncio.Handle | None = None  # the parser's next one
        self._piece = _PIECES[1]
        self._received = 0  # bytes of this answer that the parser has got
        self._interim = 0  # interim answers before the final one

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
        """The head of an answer that is not plain, from aiohttp's parser, and its body.

        Raises `HttpProcessingError` for what is no HTTP, and `ClientError`.
        """
        return await self.read()

    @property
    def should_close(self) -> bool:
        """Whether it cannot be used again; it cannot when more has arrived than the answer."""
        return bool(self._unread) or super().should_close

    def set_response_params(self, **params: Any) -> None:
        """Called before each answer that aiohttp's parser reads."""
        self._received = self._interim = 0
        super().set_response_params(**params)

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        """Called with each head by aiohttp's parser. Interim answers are counted and dropped: nobody waits for them."""
        if self._exception is not None:
            return  # refused: what came with it is no answer either
        code = data[0].code
        if not 100 <= code <= 199 or code == 101:
            super().feed_data(data, size)
            return
        self._interim += 1
        if self._interim > MAX_INTERIM or self._received > _INTERIM_BYTES:
            self._refuse(f"interim answers (1xx): more than {MAX_INTERIM}, or than {_INTERIM_BYTES:,} bytes")

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Called by aiohttp after each chunk that was read, however small; it matters after a pause."""
        if self._reading_paused:
            super().resume_reading(resume_parser)
            self._go_on()

    def data_received(self, data: bytes) -> None:
        """Called by the loop; without data by aiohttp, for its parser to go on."""
        if self._asked is None:
            if not data or (len(data) <= self._piece and not self._unread):
                self._parse(data)
            else:
                self._unread += data
                if self._turn is None:
                    self._take_turn()
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
        if self._unread and self.transport is not None:
            self._parse(self._take(len(self._unread)))
        super().connection_lost(exc)
        self._lost(self)

    def _go_on(self) -> None:
        """Let the parser have its next piece in the next turn of the loop, and nothing more arrive until then."""
        if self._unread and self._turn is None:
            if not self._buffer_paused:
                self._pause_reading_for_buffer()
            self._turn = self._loop.call_soon(self._take_turn)

    def _take_turn(self) -> None:
        self._turn = None
        if self.transport is None:
            self._unread = b""
        elif not self._reading_paused:  # else `resume_reading` goes on
            began = perf_counter()
            self._parse(self._take(self._piece))
            is_slow = perf_counter() - began > _TURN_SECONDS  # chunks of a byte take a hundred times as long as others
            self._piece = max(_PIECES[0], self._piece // 2) if is_slow else min(_PIECES[2], self._piece * 2)
            self._go_on()
            if not self._unread and self._buffer_paused:
                self._resume_reading_for_buffer()

    def _take(self, size: int) -> bytes:
        piece = self._unread[self._read_to : self._read_to + size]
        self._read_to += size
        if self._read_to >= len(self._unread):
            self._unread, self._read_to = b"", 0
        return piece

    def _parse(self, piece: bytes) -> None:
        self._received += len(piece)
        most = _WIRE_BYTES + _WIRE_FACTOR * self._bounds.body_bytes
        if self._received > most:
            self._refuse(f"more than {most:,} bytes came for one answer")
        else:
            super().data_received(piece)

    def _refuse(self, why: str) -> None:
        """Close the connection; whoever waits for its answer gets an error."""
        error, payload = HttpProcessingError(message=why), self._payload
        self.abort()
        self.set_exception(error)
        if payload is not None:
            set_exception(payload, error)

    def _read(self, asked: asyncio.Future[Plain | None]) -> None:
        arrived = self._arrived
        if self._head is None:
            self._head = read_head(arrived)
            self._answered_at = monotonic()
        head = self._head
        if head is None or head.length > self._bounds.plain_bytes or len(arrived) > head.size + head.length:
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
        self.data_received(arrived)
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
