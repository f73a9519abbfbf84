"""The wire format of a request in the queue: one JSON array that any language can write.

    [version, delivery, attempt, crashes, priority, "url", depth, "spider", {extras}]

The first six places never change between versions, because the scripts read them (`lua/shared.lua`):

version   of this format, 1
delivery  times it was handed out; changes with every return to pending, so old bytes never match new ones
attempt   failed tries; at RETRY_TIMES + 1 the request is dead
crashes   deliveries that ended with the worker and its supervisor gone; at MAX_CRASHES it is dead
priority  higher first
url       canonical (see `parsing/url.py`)

`extras` holds the fields of `Request` that differ from their default: callback, method, headers, body (base64),
meta, dont_filter, errback, redirects; and `nonce`, which keeps requests apart that may be fetched though their URL
is known: no two messages of a job are ever equal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Struct

from crawler.model import Request
from crawler.parsing.charset import clean
from crawler.parsing.url import BadUrl

VERSION = 1
MAX_BYTES = 1_000_000
MAX_PRIORITY = 1_000  # either way; the scripts keep priorities as text, and large numbers change their look there

_ROOM = 1_000  # bytes of a message that its counts and its nonce may take
_YEARS = 10 * 366 * 86_400  # seconds: a request that must wait longer is a mistake
# an origin without user and password (and in lower case, so that every part spells the host alike), then the rest
_CANONICAL = re.compile(r"https?://[!$-.0-9:;=\[\]_`a-~]{1,8192}/[!#-~]{0,8192}")


class JunkMessage(ValueError):
    """Bytes that are no request. `version` is set when they are one of a version we do not know."""

    def __init__(self, why: str, version: int | None = None) -> None:
        super().__init__(why)
        self.version = version


class Extras(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The less common fields of a request."""

    callback: str = "parse"
    method: str = "GET"
    headers: Mapping[str, str] = {}
    body: bytes = b""
    meta: Mapping[str, Any] = {}
    dont_filter: bool = False
    errback: str = ""
    redirects: int = 0
    nonce: str = ""


class Message(Struct, frozen=True, array_like=True):
    """A message as it lies in a list."""

    version: int
    delivery: int
    attempt: int
    crashes: int
    priority: int
    url: str
    depth: int = 0
    spider: str = ""
    extras: Extras = Extras()

    @property
    def request(self) -> Request:
        """The request it carries."""
        if self.extras is _PLAIN:
            return Request(self.url, priority=self.priority, depth=self.depth, spider=self.spider)
        fields = {name: getattr(self.extras, name) for name in _EXTRAS}
        return Request(self.url, priority=self.priority, depth=self.depth, spider=self.spider, **fields)


_EXTRAS = tuple(name for name in Extras.__struct_fields__ if name != "nonce")
_PLAIN: Extras = Message.__struct_defaults__[-1]
_decode = msgspec.json.Decoder(Message).decode
_encode = msgspec.json.Encoder(decimal_format="number").encode
_peek = msgspec.json.Decoder(list[Any]).decode


def encode(request: Request, nonce: str = "") -> bytes:
    """The message of a request that was never handed out.

    Raises `TypeError` when `meta` holds what is no JSON, `ValueError` when it is too large to travel.
    """
    head = f"[{VERSION},0,0,0,{request.priority}"
    # A canonical URL holds no quote and no control byte; only a backslash would need escaping.
    if not nonce and _is_plain(request) and "\\" not in request.url:
        return f'{head},"{request.url}",{request.depth},{_quoted(request.spider)}]'.encode()
    fields = {name: getattr(request, name) for name in _EXTRAS}
    parts = (request.url, request.depth, request.spider, Extras(**fields, nonce=nonce))
    try:
        tail = _encode(parts)
    except UnicodeEncodeError:  # lone surrogates, which real pages contain
        fields["meta"], fields["headers"] = _cleaned(request.meta), _cleaned(request.headers)
        tail = _encode((*parts[:3], Extras(**fields, nonce=nonce)))
    if len(tail) > MAX_BYTES - _ROOM // 2:
        raise ValueError(f"request for {request.url[:200]}: {len(tail):,} bytes with its meta; at most {MAX_BYTES:,}")
    return head.encode() + b"," + tail[1:]


# `host_of` of shared.lua
_LEDGER_HOST = re.compile(r"[A-Za-z]+://(\[[^\]]*\]|[^/:?#]+)")


def check(request: Request) -> None:
    """Raise `ValueError`, in words for the author of a spider, for a request that cannot travel through the queue."""
    url, priority, delay = request.url, request.priority, request.delay
    if not _CANONICAL.fullmatch(url):
        raise BadUrl(url, "not a canonical URL; response.follow and response.urljoin make one")
    if type(priority) is not int or abs(priority) > MAX_PRIORITY:
        raise ValueError(f"priority {priority!r} for {url}: use a whole number, -{MAX_PRIORITY} to {MAX_PRIORITY}")
    if type(delay) not in (int, float) or not 0 <= delay <= _YEARS:
        raise ValueError(f"delay {delay!r} for {url}: use seconds from now, at most ten years")
    try:
        message = encode(request)
    except (TypeError, RecursionError) as error:
        raise ValueError(f"meta for {url} travels through the queue as JSON: {error}") from None
    if len(message) > MAX_BYTES - _ROOM:
        raise ValueError(f"request for {url}: {len(message):,} bytes with its meta; at most {MAX_BYTES - _ROOM:,}")
    if not _is_plain(request):
        _check_fields(request, message)


def _check_fields(request: Request, message: bytes) -> None:
    try:
        decode(message)
    except JunkMessage as error:
        raise ValueError(f"request for {request.url}: {error}") from None


def again(message: bytes, *, failed: int = 0) -> bytes:
    """The same message for its next delivery, with `failed` failed tries more; 0 clears nothing."""
    version, delivery, attempt, crashes, rest = _head(message)
    return b"[%d,%d,%d,%d%b" % (version, delivery + 1, attempt + failed, crashes, rest)


def pardoned(message: bytes) -> bytes:
    """The same message for its next delivery, with a clean account."""
    version, delivery, _, _, rest = _head(message)
    return b"[%d,%d,0,0%b" % (version, delivery + 1, rest)


def identity(message: bytes) -> bytes:
    """What stays the same over all deliveries of a message."""
    return _head(message)[4]


def ledger_host(message: bytes) -> str:
    """The host that a script reads in a message: also in one that is none of ours, if a claim let it through."""
    url = message.split(b'"', 2)[1].decode("latin-1")
    found = _LEDGER_HOST.match(url)
    return found[1] if found else ""


def _head(message: bytes) -> tuple[int, int, int, int, bytes]:
    """(version, delivery, attempt, crashes, the rest with its comma)."""
    version, delivery, attempt, crashes, rest = message[1:].split(b",", 4)
    return int(version), int(delivery), int(attempt), int(crashes), b"," + rest


@lru_cache(maxsize=256)
def _quoted(spider: str) -> str:
    return _encode(spider).decode()


def _cleaned(value: Any) -> Any:
    """JSON data with lone surrogates replaced."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        return {_cleaned(key): _cleaned(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_cleaned(one) for one in value]
    return value


def decode(message: bytes) -> Message:
    """Read and check a message. Raises `JunkMessage`."""
    try:
        read = _decode(message)
    except (msgspec.DecodeError, RecursionError) as error:
        raise JunkMessage(f"not a request: {error}", _version(message)) from None
    if read.version != VERSION:
        raise JunkMessage(f"format version {read.version}; this worker knows {VERSION}", read.version)
    if len(message) > MAX_BYTES:
        raise JunkMessage(f"{len(message)} bytes; at most {MAX_BYTES} are accepted")
    if not _CANONICAL.fullmatch(read.url):
        raise JunkMessage("its URL is not a canonical http or https URL")
    return read


def _is_plain(request: Request) -> bool:
    return (
        request.callback == "parse"
        and not request.meta
        and request.method == "GET"
        and not request.headers
        and not request.redirects
        and not request.dont_filter
        and not request.errback
        and not request.body
    )


def _version(message: bytes) -> int | None:
    """The version of a message that could not be read, when it is another one than ours."""
    try:
        head = _peek(message)
    except (msgspec.DecodeError, RecursionError):
        return None
    version = head[0] if head else None
    return version if isinstance(version, int) and version != VERSION else None
