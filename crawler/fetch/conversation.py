"""Makes an exchange over an open connection without aiohttp's machinery, as long as the answer is plain.

At the first sign of anything else it hands all that has arrived to `answer` and then to aiohttp's parser, which read
it as if it had just come in.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable, Mapping
from time import monotonic, perf_counter
from typing import Any, NamedTuple

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

from crawler.fetch.answer import Answer
from crawler.fetch.head import MAX_FIELDS, MAX_HEAD_BYTES
from crawler.fetch.plain import NotPlain, Plain, PlainBody, PlainHead, body_of, read_head

_TURN_SECONDS = 0.001  # target for aiohttp's parser in one turn of the event loop
_PIECES = (4 * 1024, 16 * 1024, 64 * 1024)  # bytes that the parser gets in one turn: at least, at first, at most
_WIRE_BYTES = 16 * 1024 * 1024  # allowed in one answer for heads and all that is neither head nor body
_WIRE_FACTOR = 6  # bytes on the wire for each byte of a body sent in chunks of one byte
_HEAD_LIMITS = {"max_line_size": MAX_HEAD_BYTES, "max_field_size": MAX_HEAD_BYTES, "max_headers": MAX_FIELDS}


class Unanswered(ClientConnectionError):
    """An open connection ended just as it was used again, before the first byte of an answer."""


class Bounds(NamedTuple):
    """Limits of an answer: bytes of its decoded body, bytes of a plain body, seconds without a byte. `keeps_head`:
    whether `Conversation.head` is wanted."""

    body_bytes: int
    plain_bytes: int
    silent_seconds: float
    keeps_head: bool = False


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
        self.certificate: Mapping[str, Any] | None = None
        """The server's, as the event loop has read it once for the connection; None without TLS."""
        self._bounds = bounds
        self._poll = select.poll()
        self._asked: asyncio.Future[Plain | None] | None = None  # while a plain answer may come
        self._head: PlainHead | None = None
        self._body: PlainBody | None = None
        self._answered_at = 0.0
        self._arrived: bytes | bytearray = b""
        self._heard_at = 0.0  # by the loop's clock
        self._until = 0.0
        self._unread = b""  # bytes from `_read_to` on have not reached aiohttp's parser yet
        self._read_to = 0
        self._turn: asyncio.Handle | None = None  # the parser's next turn
        self._piece = _PIECES[1]
        self._answer = Answer()
        self.is_kept = False
        """Whether the connection was used before this exchange."""
        self._is_unanswered = False
        self.cut: Exception | None = None
        """Why the rest of the body never came."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        super().connection_made(transport)
        self.address = transport.get_extra_info("peername")[0]
        self.certificate = transport.get_extra_info("peercert")
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def is_silent(self) -> bool:
        """Whether the connection is open and has nothing to read, neither here nor in the kernel's buffers."""
        return self.transport is not None and not self.should_close and not self._poll.poll(0)

    @property
    def head(self) -> bytes:
        """The head of the answer as it was sent; may be empty unless `Bounds.keeps_head`."""
        return self._answer.head

    @property
    def has_surplus(self) -> bool:
        """Whether bytes came behind the end of the body."""
        return self._answer.has_surplus

    def use_again(self) -> None:
        """Begin another exchange on this open connection."""
        self.is_kept = self._is_unanswered = True
        self.cut = None

    def ended(self, error: Exception) -> ClientConnectionError:
        """The error for a connection that has ended before the head of the answer."""
        return (Unanswered if self._is_unanswered else ClientConnectionError)(str(error))

    async def ask(self, request: bytes, until: float) -> Plain | None:
        """Send a request and wait for its answer. None if the answer is not plain or too long: call `final` then.

        `until` is the deadline by the loop's clock. Raises `TimeoutError` at the deadline. After an error or a
        cancellation the connection can only be closed.
        """
        assert self.transport is not None  # noqa: S101 - for the type checker
        self._head, self._body, self._arrived = None, None, b""
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
        self._answer, self._payload = Answer(has_body=not params.get("skip_payload")), None
        super().set_response_params(**params | _HEAD_LIMITS)  # `head` bounds the head

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
        if exc is not None or not self._answer.is_whole:
            self._end_body(ClientPayloadError(str(exc or "the connection ended before the body did")))
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
        if self._parser is None:
            super().data_received(piece)  # keeps what comes before the request is sent
        if self._parser is None or self.cut is not None or self._exception is not None:
            return
        answer = self._answer
        try:
            data = answer.feed(piece)
        except HttpProcessingError as error:
            self._refuse(error.message)
            return
        if answer.is_odd:
            self.force_close()  # before the parser gets the end of the body, which sets the connection free
        if data or not piece:
            super().data_received(data)
        elif not answer.is_whole:
            self._reschedule_timeout()
        most = _WIRE_BYTES + _WIRE_FACTOR * self._bounds.body_bytes
        if answer.received > most:
            self._refuse(f"more than {most:,} bytes came for one answer")
        elif answer.broken is not None:
            self._end_body(answer.broken)

    def _end_body(self, cut: Exception) -> bool:
        """End a body whose rest will never come, so that what has come can be read. False: no body is being read."""
        self._parse_all()
        if data := self._answer.end():
            super().data_received(data)
        payload = self._payload
        if payload is None or payload.is_eof():
            return payload is not None
        self.cut, self._payload = cut, None
        self.force_close()
        payload.feed_eof()
        return True

    def _on_read_timeout(self) -> None:
        """Called by aiohttp when nothing has come for too long."""
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
        try:
            body = self._read_plain(arrived)
        except NotPlain:
            self._leave_to_aiohttp(asked)
            return
        if body is None:
            return
        head = self._head
        assert head is not None  # noqa: S101 - for the type checker
        self._asked, self._arrived = None, b""
        if self._bounds.keeps_head:
            self._answer.head = bytes(arrived[: head.size])
        if not asked.done():
            asked.set_result(Plain(head.status, head.headers, body, self._answered_at))

    def _read_plain(self, arrived: bytes | bytearray) -> bytes | None:
        """The body, once it is there."""
        if self._body is None:
            self._head = head = read_head(arrived)
            self._answered_at = monotonic()
            if head is None:
                raise NotPlain
            self._body = body_of(head, self._bounds.plain_bytes)
        return self._body.read(arrived)

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
