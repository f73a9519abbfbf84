"""The wire format of a request in the queue: one JSON array that any language can write.

    [version, delivery, attempt, crashes, priority, "url", depth, "spider", {extras}, {added}]

The first six places, the head, never change between versions, because the scripts read them (`read` in
`lua/lib/message.lua` accepts what `_HEAD` accepts). The head contains no blank, and its numbers are in JSON's own
spelling: the four counts are below 10^14, which a script writes exactly.

version   version of this format, from 1: the lowest one whose workers understand this message
delivery  how often it was handed out; changes with every return to pending, so old bytes never match new ones
attempt   failed tries; at RETRY_TIMES + 1 the request is dead
crashes   deliveries that ended because the worker and its supervisor died; at MAX_CRASHES the request is dead
priority  higher ones first, -1000 to 1000 (MAX_PRIORITY)
url       canonical (see `parsing/url.py`)

`extras` holds the fields of `Request` that differ from their default: callback, method, headers, body (base64),
meta, dont_filter, errback, redirects. It also holds `nonce`, which distinguishes requests that are fetched although
their URL is known, so no two messages of a job are equal. The names in `extras` are fixed: a worker of the first
release takes a message with another name there for junk.

`added` holds the fields that `Request` got later, where they differ from their default. A worker keeps the names there
that it does not know: when it returns a message to the queue, all bytes after the counts stay as they are, and a
request made from another (a redirect) carries them in `Request.unknown`. Workers of the first release ignore this
field. They pass it on with the bytes, but lose it at a redirect. Empty fields at the end of the array are left out.

To add a field, write one line with a default in `Request`. Its values must have JSON's own types and match its
annotation. Older workers ignore the field and pass it on.

If a worker that ignores the field would do harm (for example, fetch without the proxy), enter the field in
`_MUST_KNOW` with the next version. Only messages that carry the field are of that version; older workers leave those
to newer ones and go on reading all others. So far these are: `cb_kwargs` (2), without which a callback would be called
without its arguments; `media` (3), without which an item that waits for its files would be lost. A field never leaves
`_MUST_KNOW`, so each worker reads all versions up to its own.

Bytes without such a head are junk. A message with a head of an unknown version waits for a worker that knows the
version. A message of a known version is junk unless the rest is correct as well.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct, convert
from msgspec.structs import asdict, replace

from crawler.frontier.rules import MAX_COUNT, MAX_PRIORITY
from crawler.model import BLANK, Request
from crawler.parsing.charset import clean
from crawler.parsing.json_values import json_value, unfit
from crawler.parsing.request_fields import META_WORDS, check_times, check_url, is_bare, settled
from crawler.parsing.url import BadUrl

# added field that no worker may ignore → the first version whose workers know it
_MUST_KNOW: Mapping[str, int] = {"cb_kwargs": 2, "media": 3}
VERSION = max(_MUST_KNOW.values(), default=1)
MAX_BYTES = 1_000_000

_ROOM = 1_000  # bytes reserved for a message's counts and its nonce
_NAMES = ("url", "callback", "method", "errback", "spider")  # the text fields
_TEXT = frozenset({str})
_ATOMS = frozenset({str, int, bool, type(None)})  # no float: JSON has no NaN or infinity
# a host without user and password; in lower case, so that every part of the program spells it alike
_HOST = r"(\[[0-9a-f:.]{1,8192}\]|[!$-.0-9;=_`a-~]{1,8192})"
_CANONICAL = re.compile(rf"https?://{_HOST}(?::[0-9]{{1,5}})?/[!#-~]{{0,8192}}")

# both bounds are powers of ten, so that below them there is any number of fewer digits
_POSITIVE = rf"[1-9][0-9]{{0,{len(str(MAX_COUNT)) - 2}}}"
_COUNT = rf"(0|{_POSITIVE})"
_PRIORITY = rf"(0|-?(?:{MAX_PRIORITY}|[1-9][0-9]{{0,{len(str(MAX_PRIORITY)) - 2}}}))"
_HEAD = re.compile(rf'\[({_POSITIVE}),{_COUNT},{_COUNT},{_COUNT},{_PRIORITY},"https?://{_HOST}[:/][^"]*"'.encode())

_VERSIONS = frozenset(str(version).encode() for version in range(1, VERSION + 1))

Count = Annotated[int, Meta(ge=0, lt=MAX_COUNT)]


class JunkMessage(ValueError):
    """Bytes that are not a request. `version` is set if they have the head of a request of an unknown version."""

    def __init__(self, why: str, version: int | None = None) -> None:
        super().__init__(why)
        self.version = version


class Extras(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The less common fields of a request that workers of the first release know. Never add one here."""

    callback: str = "parse"
    method: str = "GET"
    headers: Mapping[str, str] = {}
    body: bytes = b""
    meta: Mapping[str, Any] = {}
    dont_filter: bool = False
    errback: str = ""
    redirects: Count = 0
    nonce: str = ""


_PLAIN = Extras()


class Message(Struct, frozen=True, array_like=True):
    """A message as it lies in a list."""

    version: int
    delivery: int
    attempt: int
    crashes: int
    priority: int
    url: str
    depth: Count = 0
    spider: str = ""
    extras: Extras = _PLAIN
    added: Mapping[str, Any] = {}

    @property
    def request(self) -> Request:
        """The request it carries."""
        if self.extras is _PLAIN:
            return replace(BLANK, url=self.url, priority=self.priority, depth=self.depth, spider=self.spider)
        fields = {name: getattr(self.extras, name) for name in _EXTRAS}
        if self.added:
            unknown = {name: value for name, value in self.added.items() if name not in _ADDED}
            fields |= asdict(convert(self.added, Added)) | {"unknown": unknown}
        fields |= {"url": self.url, "priority": self.priority, "depth": self.depth, "spider": self.spider}
        return replace(BLANK, **fields)

    @property
    def is_later(self) -> bool:
        """Whether its version is unknown to this worker, so that nothing after its URL was read."""
        return self.version > VERSION


_EXTRAS = tuple(name for name in Extras.__struct_fields__ if name != "nonce")
_FIRST = frozenset({"url", "priority", "depth", "spider", *_EXTRAS})
_LEFT_HERE = frozenset({"delay", "unknown"})  # fields that a message does not carry under these names
Added = msgspec.defstruct(
    "Added",
    [
        (one.name, one.type, msgspec.field(default=one.default, default_factory=one.default_factory))  # type: ignore[call-overload]
        for one in msgspec.structs.fields(Request)
        if one.name not in _FIRST | _LEFT_HERE
    ],
    frozen=True,
    omit_defaults=True,
)
_ADDED = Added.__struct_fields__
_decode = msgspec.json.Decoder(Message).decode
_encode = msgspec.json.Encoder().encode


def encode(request: Request, nonce: str = "") -> bytes:
    """The message of a request that was never handed out.

    Always succeeds for a request that `check` returned. May raise `TypeError` and `ValueError` for others.
    """
    if not nonce and _is_plain(request):
        url = request.url.replace("\\", "\\\\")  # a canonical URL has no quote and no control byte
        return f'[1,0,0,0,{request.priority},"{url}",{request.depth},{_quoted(request.spider)}]'.encode()
    fields = {name: getattr(request, name) for name in _EXTRAS}
    added = _added(request)
    rest = (Extras(**fields, nonce=nonce), added) if added else (Extras(**fields, nonce=nonce),)
    tail = _encode((request.url, request.depth, request.spider, *rest))
    if len(tail) > MAX_BYTES - _ROOM // 2:
        raise ValueError(f"request for {request.url[:200]}: {len(tail):,} bytes with its meta; at most {MAX_BYTES:,}")
    version = max((_MUST_KNOW.get(name, 1) for name in added), default=1)
    return b"[%d,0,0,0,%d,%b" % (version, request.priority, tail[1:])


def _added(request: Request) -> dict[str, Any]:
    """The last place of its message: the fields that were added later, and the unknown ones."""
    return {**request.unknown, **msgspec.to_builtins(_fields_added(request))} if _has_grown(request) else {}


_LATER = tuple(name for name in _ADDED if name not in ("cb_kwargs", "media"))  # those that `is_bare` does not look at


def _has_grown(request: Request) -> bool:
    """Whether it has fields that workers of the first release do not know."""
    return bool(request.unknown or request.cb_kwargs or request.media) or (
        bool(_LATER) and _fields_added(request) != Added()
    )


def _fields_added(request: Request) -> Struct:
    return Added(*[getattr(request, name) for name in _ADDED])


# ---------------------------------------------------------------------------------------------------------
# What a spider may send


def check(request: Request) -> Request:
    """The request as it will arrive: equal to the given one, except where `Request` says otherwise of a field.

    It shares no list and no dict with the spider, which may change them later. Raises `ValueError`, in words for the
    author of the spider, for a request that would arrive changed or not at all.
    """
    url = request.url
    if type(url) is not str:
        check_url(url)
    if not _CANONICAL.fullmatch(url):
        raise BadUrl(url, "not a canonical URL; response.follow and response.urljoin make one")
    check_times(request)
    if _is_plain(request) and _is_short(request.spider):
        return request
    try:
        arriving, message = _sealed(request)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"request for {url}: {error}") from None
    if len(message) > MAX_BYTES - _ROOM:
        raise ValueError(f"request for {url}: {len(message):,} bytes with its meta; at most {MAX_BYTES - _ROOM:,}")
    return arriving


def _sealed(request: Request) -> tuple[Request, bytes]:
    """A copy of the request as it will arrive, and its message."""
    if (copy := _copy(request)) is not None:
        with suppress(UnicodeEncodeError):  # lone surrogates, which real pages contain
            return copy, encode(copy)
    copy = _as_json_has_it(request)
    return copy, encode(copy)


def _copy(request: Request) -> Request | None:
    """A copy of the request if JSON obviously returns it unchanged, as it does most requests; None if unsure."""
    headers, meta = request.headers, request.meta
    if (
        type(headers) is type(meta) is dict
        and _TEXT.issuperset(map(type, meta))
        and _ATOMS.issuperset(map(type, meta.values()))
        and META_WORDS.isdisjoint(meta)
        and not headers
        and type(request.body) is bytes
        and type(request.dont_filter) is bool
        and type(request.depth) is type(request.redirects) is int
        and 0 <= request.depth < MAX_COUNT
        and 0 <= request.redirects < MAX_COUNT
        and _TEXT.issuperset([type(getattr(request, name)) for name in _NAMES])
        and not _has_grown(request)
    ):
        return replace(request, headers={}, meta=meta.copy())
    return None


def _as_json_has_it(request: Request) -> Request:
    """A copy in the types that JSON returns. Raises `ValueError` for a value that JSON would change on the way."""
    for name in ("callback", "errback"):
        if not isinstance(callback := getattr(request, name) or "", str):
            raise unfit(name, callback, "text")
    added = {name: json_value(name, value) for name in _ADDED if (value := getattr(request, name)) is not None}
    return replace(request, **settled(request) | asdict(convert(added, Added)))


# ---------------------------------------------------------------------------------------------------------
# Messages on their way through the queue


def again(message: bytes, *, failed: int = 0) -> bytes:
    """The same message for its next delivery, with `failed` more failed tries."""
    version, delivery, attempt, crashes, rest = _head(message)
    return b"[%d,%d,%d,%d%b" % (version, (delivery + 1) % MAX_COUNT, attempt + failed, crashes, rest)


def identity(message: bytes) -> bytes:
    """The part of a message that stays the same over all deliveries."""
    return _head(message)[4]


def ledger_host(message: bytes) -> str:
    """The host that a script reads in a message of any version; empty if the bytes have no head."""
    head = _HEAD.match(message)
    return head[6].decode() if head else ""


def _head(message: bytes) -> tuple[int, int, int, int, bytes]:
    """(version, delivery, attempt, crashes, the rest with its comma)."""
    version, delivery, attempt, crashes, rest = message[1:].split(b",", 4)
    return int(version), int(delivery), int(attempt), int(crashes), b"," + rest


@lru_cache(maxsize=256)
def _is_short(spider: str) -> bool:
    """Whether a spider's name is short and arrives unchanged, so that `check` needs no closer look."""
    return len(spider) <= 300 and clean(spider) == spider


@lru_cache(maxsize=256)
def _quoted(spider: str) -> str:
    return _encode(spider).decode()


def decode(message: bytes) -> Message:
    """Read and check a message. Raises `JunkMessage`, and nothing else."""
    head = _HEAD.match(message)
    if head is None:
        raise JunkMessage("not a request: it has no message head")
    if head[1] not in _VERSIONS:
        version = int(head[1])
        raise JunkMessage(f"message version {version}; this worker knows those up to {VERSION}", version)
    if len(message) > MAX_BYTES:
        raise JunkMessage(f"{len(message)} bytes; at most {MAX_BYTES} are accepted")
    try:
        read = _decode(message)
        if read.added:
            convert(read.added, Added)
    except Exception as error:  # any error costs this message alone
        raise JunkMessage(f"not a request: {error}") from None
    if not _CANONICAL.fullmatch(read.url):
        raise JunkMessage("its URL is not a canonical http or https URL")
    return read


def peek(message: bytes) -> Message:
    """Do the same, but of a later version read the head alone (`Message.is_later`): all versions share the head."""
    try:
        return decode(message)
    except JunkMessage as junk:
        head = _HEAD.match(message)
        if junk.version is None or head is None:
            raise
        try:
            return _decode(head[0] + b"]")
        except ValueError as error:
            raise JunkMessage(f"not a request: {error}") from None


def _is_plain(request: Request) -> bool:
    """Whether the request has nothing but a URL, a priority, a depth and a spider, as nearly all have."""
    return (
        request.callback == "parse"
        and not request.errback
        and is_bare(request)
        and not (_LATER and _has_grown(request))
    )
