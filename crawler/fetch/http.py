"""Fetches one URL over HTTP/1.1 with aiohttp: bounds each size and time, and raises each failure as `FetchError`."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Awaitable, Mapping
from functools import lru_cache
from http import HTTPStatus
from time import monotonic, perf_counter
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import quote

from aiohttp import (
    ClientPayloadError,
    ClientRequest,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    DummyCookieJar,
    SocketTimeoutError,
    StreamReader,
)
from aiohttp.abc import AbstractResolver
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.connector import Connection
from msgspec import Struct
from multidict import CIMultiDict, MultiMapping
from yarl import URL

from crawler.errors import FetchError, Refused
from crawler.fetch.budget import FREE, BodyBudget
from crawler.fetch.connect import AskedOnce, Pool, tls_context
from crawler.fetch.conversation import Bounds, Conversation, Unanswered
from crawler.fetch.decoding import ACCEPT_ENCODING, BodyError, decoded, is_whole
from crawler.fetch.failures import NETWORK_ERRORS, as_fetch_error
from crawler.fetch.guard import AddressGuard
from crawler.model import SITEMAP_CALLBACK, Request
from crawler.parsing.headers import Headers
from crawler.parsing.limits import ParseLimits
from crawler.parsing.request_headers import FRAMING, is_field_value, is_token
from crawler.parsing.url import origin_of
from crawler.response import Exchange, Response
from crawler.runtime.own_limits import own_limit
from crawler.settings import DEFAULTS

_MAX_ORIGINS = 4_096  # for which the fetcher caches the usual request

_URLS = frozenset({"location", "content-location", "refresh"})  # fields whose value is a URL
_ASCII = bytes(range(128))

_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})  # RFC 9110 §9.2.2

_TIMED_OUT = int(HTTPStatus.REQUEST_TIMEOUT)  # a look into the enumeration costs more than the rest of the test

_SURPLUS = "more bytes came than its Content-Length says"
_DATALOSS = "its answer broke off (DOWNLOAD_FAIL_ON_DATALOSS is off)"
_NO_BODY = "its answer has a body that cannot be read; its status and headers were"

_NO_GUESS = ("content-type",)  # the spider states a body's type
_NOT_ASKED = ("accept",)  # aiohttp sends `*/*` unless told not to; DEFAULT_REQUEST_HEADERS has it or has it not


class Limits(Struct, frozen=True):
    """The longest and largest that one exchange may be."""

    seconds: float = DEFAULTS.DOWNLOAD_TIMEOUT  # for the whole exchange
    connect_seconds: float = DEFAULTS.CONNECT_TIMEOUT  # to connect, TLS included
    silent_seconds: float = DEFAULTS.READ_TIMEOUT  # without a byte received
    body_bytes: int = DEFAULTS.DOWNLOAD_MAXSIZE  # of the decoded body
    media_bytes: int = DEFAULTS.MEDIA_MAXSIZE  # the same, of a file of an item
    active_bytes: int = DEFAULTS.SCRAPER_SLOT_MAX_ACTIVE_SIZE  # of all large bodies being read or parsed at once
    # whether a body that breaks off is an error; otherwise its part is the body
    fail_on_dataloss: bool = DEFAULTS.DOWNLOAD_FAIL_ON_DATALOSS


class _Body(NamedTuple):
    decoded: bytes
    cut: Mapping[str, str]  # as in `Response`
    sent: bytes  # with its content encodings


class _Answer(NamedTuple):
    status: int
    headers: Headers
    body: _Body
    conversation: Conversation
    answered_at: float
    asked: bytes  # the head of the request; empty if nobody wants it


class _Usual(NamedTuple):
    """The parts that all usual requests to an origin share: the key of its connections, and the header fields."""

    key: ConnectionKey
    fields: bytes


class HttpFetcher:
    """A `Fetcher`. Create and close it inside the running event loop."""

    def __init__(
        self,
        user_agent: str,
        guard: AddressGuard,
        *,
        headers: Mapping[str, str] | None = None,
        authorizations: Mapping[str, str] | None = None,
        limits: Limits | None = None,
        parse_limits: ParseLimits = ParseLimits(),  # noqa: B008 - a constant
        tls_ca_file: str = "",
        resolver: AbstractResolver | None = None,
        connections: int = sys.maxsize,
        keeps_exchange: bool = False,
    ) -> None:
        """Every request sends `user_agent`, whatever `headers` says. A request's own headers override both.
        `authorizations`: origin → value of Authorization, for requests that have none of their own.
        `resolver`: None means the system's. At more than `connections` open ones, the fetcher closes idle ones.
        `keeps_exchange`: responses have their `exchange`, which takes memory.

        Raises `ConfigError` if `tls_ca_file` cannot be used.
        """
        self._authorizations = authorizations or {}
        limits = limits or Limits()
        self._limits = limits
        self._parse_limits = parse_limits
        self._bodies = BodyBudget(limits.active_bytes)
        # a larger body may have to wait for memory
        plain_bytes = min(FREE, limits.body_bytes, limits.media_bytes)
        largest = max(limits.body_bytes, limits.media_bytes)
        bounds = Bounds(largest, plain_bytes, limits.silent_seconds, keeps_exchange)
        self._keeps_exchange = keeps_exchange
        self._pool = Pool(guard, tls_context(tls_ca_file), resolver, bounds, connections)
        self._usual = lru_cache(_MAX_ORIGINS)(self._usual_of)
        self._session = ClientSession(
            connector=self._pool,
            response_class=AskedOnce,
            headers={
                "accept-encoding": ACCEPT_ENCODING,
                **{name.lower(): value for name, value in (headers or {}).items()},
                "user-agent": user_agent,
            },
            # `_ask` keeps the total time itself, because that clock stops while a body waits for memory
            timeout=ClientTimeout(total=None, sock_connect=limits.connect_seconds, sock_read=limits.silent_seconds),
            skip_auto_headers=_NOT_ASKED,
            cookie_jar=DummyCookieJar(),  # no host may see another host's cookies
            auto_decompress=False,
        )

    async def fetch(self, request: Request) -> Response:
        """Make one exchange. Raises `FetchError`, `Refused` if the scheme or address is forbidden, and `OwnLimit` if
        this machine has run out of a resource."""
        _check(request)
        url = request.url
        started = perf_counter()
        try:
            answer = await self._exchange(request)
        except BodyError as error:
            raise FetchError(error.kind, f"{url}: the body {error}", transient=error.transient) from error
        except NETWORK_ERRORS as error:
            raise own_limit(error) or as_fetch_error(error, url) from error
        response = Response(
            url,
            status=answer.status,
            headers=answer.headers,
            body=answer.body.decoded,
            request=request,
            seconds=perf_counter() - started,
            address=answer.conversation.address,
            certificate=answer.conversation.certificate,
            answered_at=answer.answered_at,
            parse_limits=self._parse_limits,
        )
        response.cut.update(answer.body.cut)
        if self._keeps_exchange:
            response.exchange = Exchange(answer.asked, answer.conversation.head, answer.body.sent)
        return response

    def sent(self, request: Request) -> Mapping[str, str]:
        """The header fields that a request is sent with, except those of the connection and the body."""
        return CIMultiDict({**self._session.headers, **CIMultiDict(self._headers_of(request))})

    async def addresses(self, url: str) -> list[str]:
        """The addresses of a URL's host. Empty if none is known or one is forbidden; a fetch reports the reason. Raises
        `OwnLimit`."""
        parts = URL(url, encoded=True)
        try:
            async with asyncio.timeout(self._limits.connect_seconds):
                return await self._pool.addresses(parts.raw_host or "", parts.port or 0)
        except (Refused, *NETWORK_ERRORS):
            return []

    async def close(self) -> None:
        """Close the connections. Any fetch in progress fails."""
        await self._session.close()

    async def _exchange(self, request: Request) -> _Answer:
        """Make the exchange. If a host closed an open connection just as it was used again, it has not taken the
        request: make the exchange again at once, on a new connection (RFC 9112 §9.3.1; for 408, RFC 9110 §15.5.9)."""
        ask = self._ask_plainly if _is_usual(request) else self._ask
        try:
            answer = await ask(request)
            if answer.status != _TIMED_OUT or not answer.conversation.is_kept:
                return answer
        except Unanswered:
            if request.method not in _IDEMPOTENT:
                raise
        await self._pool.close_idle(self._usual(origin_of(request.url)).key)
        return await ask(request)

    async def _ask(self, request: Request) -> _Answer:
        """Make the exchange through aiohttp, on a new connection or an open one."""
        async with (
            asyncio.timeout(self._seconds(request)) as deadline,
            self._session.request(
                request.method,
                URL(request.url, encoded=True),
                headers=self._headers_of(request) or None,
                data=request.body or None,
                skip_auto_headers=_NO_GUESS if request.body else None,
                allow_redirects=False,
            ) as answer,
        ):
            answered_at = monotonic()
            assert isinstance(answer, AskedOnce)  # noqa: S101 - for the type checker
            headers = headers_of(answer.headers)
            reading = self._body(answer.conversation, answer.content, headers, deadline, self._most(request))
            body = await _needed(answer.status, reading)
            asked = _request_head(request, answer.request_info.headers) if self._keeps_exchange else b""
        return _Answer(answer.status, headers, body, answer.conversation, answered_at, asked)

    def _seconds(self, request: Request) -> float:
        """Seconds for the whole exchange: `download_timeout` of the request's meta, else the limit for all."""
        seconds: float = request.meta.get("download_timeout") or self._limits.seconds
        return seconds

    def _headers_of(self, request: Request) -> Mapping[str, str]:
        """The request's own headers and, unless they have one, the login for its origin."""
        login = self._authorizations.get(origin_of(request.url))
        if login is None or any(name.lower() == "authorization" for name in request.headers):
            return request.headers
        return {**request.headers, "authorization": login}

    async def _ask_plainly(self, request: Request) -> _Answer:
        """Make the exchange of a usual request without aiohttp's work for each; same bytes, same answer."""
        origin = origin_of(request.url)
        key, usual = self._usual(origin)
        until = asyncio.get_running_loop().time() + self._seconds(request)
        connection = await self._pool.idle(key) or await self._connected(origin, until)
        conversation = connection.protocol
        assert isinstance(conversation, Conversation)  # noqa: S101 - for the type checker
        target = request.url[len(origin) :].encode()
        try:
            asked = b"GET %b HTTP/1.1\r\n%b\r\n" % (target, usual)
            plain = await conversation.ask(asked, until)
            if plain is not None:
                status, fields, sent, answered_at = plain
                headers = Headers.in_lower_case(fields)
                if encoding := fields.get("content-encoding"):
                    body = await _needed(status, self._decoded(sent, encoding, self._most(request)))
                else:
                    body = _Body(sent, {}, sent)
            else:
                async with asyncio.timeout_at(until) as deadline:
                    head, content = await conversation.final()
                    status, headers, answered_at = head.code, headers_of(head.headers), monotonic()
                    reading = self._body(conversation, content, headers, deadline, self._most(request))
                    body = await _needed(status, reading)
        except BaseException:
            connection.close()
            raise
        connection.release()
        return _Answer(status, headers, body, conversation, answered_at, asked)

    async def _connected(self, origin: str, until: float) -> Connection:
        """A new connection. Raises `TimeoutError` at the deadline `until`, by the loop's clock."""
        async with asyncio.timeout_at(until):
            try:
                return await self._pool.connect(_to(origin), [], self._session.timeout)
            except TimeoutError as error:
                raise ConnectionTimeoutError from error

    def _usual_of(self, origin: str) -> _Usual:
        request = _to(origin, {**self._session.headers, **self._headers_of(Request(f"{origin}/"))})
        fields = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
        return _Usual(request.connection_key, fields.encode())

    async def _body(
        self,
        conversation: Conversation,
        content: StreamReader,
        headers: Headers,
        deadline: asyncio.Timeout,
        limit: int,
    ) -> _Body:
        """Read the whole body and decode it, at most `limit` bytes. Raises `BodyError`, and aiohttp's errors for a
        truncated body."""
        length = int(headers.get("content-length", 0))
        if length > limit and not content.at_eof():
            raise _too_large(limit)
        body = bytearray()
        room = FREE
        while piece := await content.readany():
            body += piece
            if len(body) > limit:
                raise _too_large(limit)
            if len(body) > room:
                room = limit
                await self._wait_for_memory(length or limit, deadline)
        encoding = headers.get("content-encoding", "")
        cut = {"surplus": _SURPLUS} if conversation.has_surplus else {}
        if conversation.cut is not None and not is_whole(bytes(body), encoding, limit):
            if self._limits.fail_on_dataloss:
                raise conversation.cut
            cut["dataloss"] = _DATALOSS
        if encoding:
            deadline.reschedule(None)  # the whole body has arrived
            read = await self._decoded(bytes(body), encoding, limit)
            return read._replace(cut={**cut, **read.cut})
        return _Body(sent := bytes(body), cut, sent)

    def _most(self, request: Request) -> int:
        """Bytes of the decoded body: a sitemap may have more than a page; a file of an item has its own limit."""
        if request.media:
            return self._limits.media_bytes
        is_sitemap = request.callback == SITEMAP_CALLBACK
        return max(self._limits.body_bytes, self._parse_limits.sitemap_size if is_sitemap else 0)

    async def _decoded(self, body: bytes, encoding: str, limit: int) -> _Body:
        """Undo the content encodings of a body. Wait for memory if a small body decodes to a large one."""
        try:
            try:
                return _Body(decoded(body, encoding, min(FREE, limit)), {}, body)
            except BodyError as error:
                if error.kind != "too_large" or limit <= FREE:
                    raise
            await self._bodies.take(limit)
            return _Body(decoded(body, encoding, limit), {}, body)
        except BodyError as error:
            if error.kind != "truncated" or self._limits.fail_on_dataloss:
                raise
            return _Body(error.part, {"dataloss": _DATALOSS}, body)

    async def _wait_for_memory(self, amount: int, deadline: asyncio.Timeout) -> None:
        """Wait for room for `amount` bytes. Suspend the deadline, because the shortage is not the host's fault."""
        loop = asyncio.get_running_loop()
        left = (deadline.when() or 0.0) - loop.time()
        deadline.reschedule(None)
        await self._bodies.take(amount)
        deadline.reschedule(loop.time() + left)


def _is_usual(request: Request) -> bool:
    """Whether a request differs from others to its origin in its path only."""
    return request.method == "GET" and not request.headers and not request.body


def _to(origin: str, headers: Mapping[str, str] = MappingProxyType({})) -> ClientRequest:
    """A request to an origin as aiohttp wants it."""
    loop = asyncio.get_running_loop()
    url = URL(f"{origin}/", encoded=True)
    return ClientRequest("GET", url, headers=headers, skip_auto_headers=_NOT_ASKED, loop=loop)


async def _needed(status: int, reading: Awaitable[_Body]) -> _Body:
    """The body that is being read. Of a redirect, a refusal or an error none is needed: browsers follow a redirect
    whose body breaks off."""
    try:
        return await reading
    except (BodyError, ClientPayloadError, SocketTimeoutError):
        if status < HTTPStatus.MULTIPLE_CHOICES:
            raise
        return _Body(b"", {"dataloss": _NO_BODY}, b"")


def _too_large(limit: int) -> BodyError:
    return BodyError(
        "too_large",
        f"is larger than {limit:,} bytes (DOWNLOAD_MAXSIZE; for a sitemap, SITEMAP_MAXSIZE; for an item's file, "
        "MEDIA_MAXSIZE)",
    )


# ---------------------------------------------------------------------------------------------------------
# What may be sent. Requests come through a queue, so none may contain what begins a second line or request.


def _request_head(request: Request, fields: Mapping[str, str]) -> bytes:
    """The head of a request that aiohttp has sent."""
    target = request.url[len(origin_of(request.url)) :]
    lines = [f"{request.method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(lines).encode()


_REQUEST_URL = re.compile(r"https?://[!-~]+/[!-~]*").fullmatch


def _check(request: Request) -> None:
    """Raise `FetchError` for a request that must not be sent."""
    url = request.url
    if not url.startswith(("http://", "https://")):
        raise Refused(f"{_shown(url)}: only http and https are fetched")
    if not _REQUEST_URL(url) or "@" in url.split("/", 3)[2]:
        raise _malformed(f"{_shown(url)}: not a canonical URL")
    if not is_token(request.method) or request.method.upper() == "CONNECT":
        raise _malformed(f"{url}: the method {request.method!r} cannot be fetched with")
    for name, value in request.headers.items():
        if not is_token(name) or not is_field_value(value):
            raise _malformed(f"{url}: header {name!r} holds characters that HTTP does not permit")
        if name.lower() in FRAMING:
            raise _malformed(f"{url}: header {name!r} is set by the crawler itself")


def _malformed(message: str) -> FetchError:
    return FetchError("malformed", message, transient=False)


def _shown(url: str) -> str:
    """A URL that is not canonical, made fit to show: shortened, without userinfo, control characters escaped."""
    return repr(re.sub(r"//[^/?#]*@", "//…@", url[:200]))


# ---------------------------------------------------------------------------------------------------------
# What came back


def headers_of(fields: MultiMapping[str]) -> Headers:
    """The fields of an answer, of which bytes that are not UTF-8 come as surrogates."""
    values: dict[str, str | list[str]] = {name.lower(): value for name, value in fields.items()}
    if len(values) < len(fields):
        values = {name: several if len(several := fields.getall(name)) > 1 else several[0] for name in values}
    for name, value in values.items():
        read = _escaped if name in _URLS else _text
        values[name] = read(value) if isinstance(value, str) else [read(one) for one in value]
    return Headers.in_lower_case(values)


def _escaped(value: str) -> str:
    """A field value whose bytes outside ASCII are percent-encoded as they came, because a URL may be in any encoding
    (browsers do the same)."""
    return value if value.isascii() else quote(value.encode("utf-8", "surrogateescape"), safe=_ASCII)


def _text(value: str) -> str:
    """A field value decoded as UTF-8, else as Latin-1. aiohttp passes bytes that are not UTF-8 on as surrogates."""
    if value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogateescape").decode("latin-1")
    return value
