"""Makes an exchange over an open connection without aiohttp's machinery, as long as the answer is plain.

The same few servers write most answers: HTTP/1.1, some fields in ASCII, a `Content-Length`, the body and nothing after
it. All parsers agree about these, so this module reads them at a third of the cost. At the first sign of anything else
it hands all that has arrived to `head` and then to aiohttp's parser, which read it as if it had just come in.
"""

from __future__ import annotations

import asyncio
import re
import select
from collections.abc import Callable
from time import monotonic, perf_counter
from typing import Any, Final, NamedTuple

from aiohttp import (
    ClientConnectionError,
    ClientOSError,
    ClientPayloadError,
    ServerDisconnectedError,
    SocketTimeoutError,
    StreamReader,
)
from aiohttp.client_proto import ResponseHandler
from aiohttp.helpers import set_exception
from aiohttp.http import HttpProcessingError, RawResponseMessage

from crawler.fetch.head import MAX_FIELDS as MAX_HEAD_FIELDS
from crawler.fetch.head import MAX_HEAD_BYTES, find_head, read_any_head

MAX_HEAD: Final = 8 * 1024
"""Longest plain head, in bytes; aiohttp reads longer ones."""

MAX_FIELDS: Final = 100
"""Most fields of a plain head; aiohttp reads larger ones."""

MAX_INTERIM: Final = 16
"""Most interim answers (1xx, RFC 9110 §15.2) before the final one."""

_INTERIM_BYTES = 64 * 1024  # of an answer, after which an interim one is refused
_TURN_SECONDS = 0.001  # target for aiohttp's parser in one turn of the event loop
_PIECES = (4 * 1024, 16 * 1024, 64 * 1024)  # bytes that the parser gets in one turn: at least, at first, at most
_WIRE_BYTES = 16 * 1024 * 1024  # allowed in one answer for heads and all that is neither head nor body
_WIRE_FACTOR = 6  # bytes on the wire for each byte of a body sent in chunks of one byte


class Plain(NamedTuple):
    """A plain answer: `headers` has lower-case names, each of them once; `body` is not decoded."""

    status: int
    headers: dict[str, str]
    body: bytes
    answered_at: float  # monotonic seconds at the end of the head


class PlainHead(NamedTuple):
    """The head of a plain answer. `size` is the length of the head in bytes, `length` that of the body."""

    status: int
    headers: dict[str, str]
    size: int
    length: int


def read_head(data: bytes | bytearray) -> PlainHead | None:
    """Read the head at the start of `data`. None if the head is not plain or not complete."""
    found = _HEAD(data)
    if found is None or found.end() > MAX_HEAD:
        return None
    headers: dict[str, str] = {}
    for line in found[2].decode("ascii").split("\r\n")[:-1]:
        name, _, value = line.partition(":")
        name = name.lower()
        if name in headers:
            return None  # `http` keeps such values apart
        headers[name] = value.strip(" \t")
    if len(headers) > MAX_FIELDS:
        return None
    length = headers.get("content-length", "")
    if not _LENGTH(length) or not _UNPLAIN.isdisjoint(headers):
        return None
    if headers.get("connection", "keep-alive").lower() != "keep-alive":
        return None
    return PlainHead(int(found[1]), headers, found.end(), int(length))


# Accepts statuses that have a body. What deviates from the grammar (RFC 9112 §5) is not plain: bare line feeds, folded
# lines, white space before a colon, characters outside ASCII.
_HEAD: Final = re.compile(
    rb"HTTP/1\.1 (20[0-35-9]|30[0-35-9]|[45][0-9][0-9])(?: [ -~]*+)?+\r\n"
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]++:[\t -~]*+\r\n)++)\r\n"
).match
_LENGTH: Final = re.compile(r"[0-9]{1,15}").fullmatch
# Fields that aiohttp's parser acts on or refuses, besides `connection` and `content-length`.
_UNPLAIN: Final = frozenset({"transfer-encoding", "upgrade", "trailer", "proxy-connection", "sec-websocket-key1"})


class Unanswered(ClientConnectionError):
    """An open connection ended just as it was used again, before the first byte of an answer."""


class Bounds(NamedTuple):
    """Limits of an answer: bytes of its decoded body, bytes of a plain body, seconds without a byte."""

    body_bytes: int
    plain_bytes: int
    silent_seconds: float


class Conversation(ResponseHandler):
    """aiohttp's protocol for one connection, which can also make an exchange by itself (`ask`).

    It bounds the bytes and the interim answers that the server sends. aiohttp's parser gets one piece in each turn of
    the event loop, so a flood fails its own page and does not delay the others.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, bounds: Bounds, lost: Callable[[Conversation], object] = lambda _: None
    ) -> None:
        """Calls `lost(self)` when the connection has ended."""
        super().__init__(loop)
        self._lost = lost
        self.address = ""
        """The IP address of the server."""
        self._bounds = bounds
        self._poll = select.poll()
        self._asked: asyncio.Future[Plain | None] | None = None  # while a plain answer may come
        self._head: PlainHead | None = None
        self._answered_at = 0.0
        self._arrived: bytes | bytearray = b""
        self._heard_at = 0.0  # by the loop's clock
        self._until = 0.0
        self._unread = b""  # bytes from `_read_to` on have not reached aiohttp's parser yet
        self._read_to = 0
        self._turn: asyncio.Handle | None = None  # the parser's next turn
        self._piece = _PIECES[1]
        self._received = 0  # bytes of this answer that have been read
        self._interim = 0  # interim answers before the final one
        self._begun: bytearray | None = None  # the answer's head as far as it has arrived; None: its body follows
        self._left: int | None = None  # bytes of the body that are still to come; None: unknown
        self._is_chunked = False
        self.is_kept = False
        """Whether the connection was used before this exchange."""
        self._is_unanswered = False
        self.is_cut_short = False
        """Whether bytes came behind the end of the body: perhaps its rest, behind a length that was too small."""
        self.cut: Exception | None = None
        """Why the rest of the body never came."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        super().connection_made(transport)
        self.address = transport.get_extra_info("peername")[0]
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def is_silent(self) -> bool:
        """Whether the connection is open and has nothing to read, neither here nor in the kernel's buffers."""
        return self.transport is not None and not self.should_close and not self._poll.poll(0)

    def use_again(self) -> None:
        """Begin another exchange on this open connection."""
        self.is_kept = self._is_unanswered = True
        self.is_cut_short, self.cut = False, None

    def ended(self, error: Exception) -> ClientConnectionError:
        """The error for a connection that has ended before the head of the answer."""
        return (Unanswered if self._is_unanswered else ClientConnectionError)(str(error))

    async def ask(self, request: bytes, until: float) -> Plain | None:
        """Send a request and wait for its answer. None if the answer is not plain or too long: call `final` then.

        `until` is the deadline by the loop's clock. Raises `TimeoutError` at the deadline. After an error or a
        cancellation the connection can only be closed.
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
        """Return the head of an answer that is not plain, as aiohttp's parser reads it, and the stream of its body.

        Raises `HttpProcessingError` for invalid HTTP, and `ClientError`.
        """
        try:
            return await self.read()
        except (ClientOSError, ServerDisconnectedError) as error:
            raise self.ended(error) from error

    @property
    def should_close(self) -> bool:
        """Whether the connection cannot be used again, for example because more than the answer has arrived."""
        return bool(self._unread) or super().should_close

    def set_response_params(self, **params: Any) -> None:
        """Get ready for the head of the next answer. aiohttp calls this before it asks."""
        self._received = self._interim = 0
        self._begun = bytearray()
        most = {"max_line_size": MAX_HEAD_BYTES, "max_field_size": MAX_HEAD_BYTES, "max_headers": MAX_HEAD_FIELDS}
        super().set_response_params(**params | most)  # `head` bounds the head

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Go on after a pause. aiohttp calls this after each chunk that it has read, however small."""
        if self._reading_paused:
            super().resume_reading(resume_parser)
            self._go_on()

    def data_received(self, data: bytes) -> None:
        """Called by the loop with data; by aiohttp without data, to let its parser go on."""
        if data:
            self._is_unanswered = False
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
        self._parse_all()
        if self._left or self._is_chunked or exc is not None:
            self._end_body(
                ClientPayloadError(str(self._exception or exc or "the connection ended before the body did"))
            )
        super().connection_lost(exc)
        self._lost(self)

    def _go_on(self) -> None:
        """Schedule the parser's next piece for the next turn of the loop, and read nothing more until then."""
        if self._unread and self._turn is None:
            if not self._buffer_paused:
                self._pause_reading_for_buffer()
            self._turn = self._loop.call_soon(self._take_turn)

    def _parse_all(self) -> None:
        if self._unread and self.transport is not None:
            self._parse(self._take(len(self._unread)))

    def _take_turn(self) -> None:
        self._turn = None
        if self.transport is None:
            self._unread = b""
        elif not self._reading_paused:  # else `resume_reading` goes on
            began = perf_counter()
            self._parse(self._take(self._piece))
            is_slow = perf_counter() - began > _TURN_SECONDS  # chunks of one byte take 100 times as long as others
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
            return
        try:
            body = piece if self._begun is None else self._read_heads(self._begun, piece)
        except HttpProcessingError as error:
            self._refuse(error.message)
            return
        if body is not None and self._exception is None and self.cut is None:
            self._read_body(body)

    def _read_heads(self, begun: bytearray, piece: bytes) -> bytes | None:
        """Read heads until the final one has been read; pass that on, and drop interim ones (1xx), for which nobody
        waits. Returns the bytes behind it; None if it is not complete."""
        self._reschedule_timeout()
        searched = len(begun)
        if not begun and piece[:1] in (b"\r", b"\n"):
            piece = piece.lstrip(b"\r\n")
            self.force_close()
        begun += piece
        while end := find_head(begun, searched):
            head, rest, searched = read_any_head(bytes(begun[:end]), has_body=not self._skip_payload), begun[end:], 0
            if not 100 <= head.status <= 199 or head.status == 101:
                self._begun, self._left, self._is_chunked = None, head.length, head.is_chunked
                if head.is_odd:
                    self.force_close()
                super().data_received(head.data)
                return bytes(rest)
            self._interim += 1
            if self._interim > MAX_INTERIM or self._received > _INTERIM_BYTES:
                raise HttpProcessingError(
                    message=f"interim answers (1xx): more than {MAX_INTERIM}, or than {_INTERIM_BYTES:,} bytes"
                )
            begun[:] = rest.lstrip(b"\r\n")
        return None

    def _read_body(self, piece: bytes) -> None:
        """Pass on what belongs to the body; if more has come, drop it and the connection."""
        if self._left is not None:
            piece, surplus = piece[: self._left], piece[self._left :]
            self._left -= len(piece)
            if surplus:
                self.force_close()
                self.is_cut_short = bool(surplus.strip())
                if not piece:
                    return
        super().data_received(piece)

    def _end_body(self, cut: Exception) -> bool:
        """End a body whose rest will never come, so that what has come can be read. False: no body is being read."""
        payload = self._payload
        if payload is None or payload.is_eof():
            return False
        self.cut, self._payload = cut, None
        self.force_close()
        payload.feed_eof()
        return True

    def _on_read_timeout(self) -> None:
        """Called by aiohttp when nothing has come for too long."""
        self._parse_all()
        if not self._end_body(SocketTimeoutError()):
            super()._on_read_timeout()

    def _refuse(self, why: str) -> None:
        """Close the connection, and raise an error in the task that waits for its answer."""
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
        )
        self.data_received(arrived)
        if not asked.done():
            asked.set_result(None)

    def _listen(self) -> None:
        """Fail the exchange at its deadline or after too long a silence; until then check again later."""
        if self._asked is None or self._asked.done():
            return
        now, silent = self._loop.time(), self._heard_at + self._bounds.silent_seconds
        if now < min(silent, self._until):
            self._watch = self._loop.call_at(min(silent, self._until), self._listen)
        elif silent < self._until:
            self._leave_to_aiohttp(self._asked)
            self._on_read_timeout()
        else:
            self._asked.set_exception(TimeoutError())
