"""What the fields of a request may hold, so that each arrives as a spider gave it.

A request travels through the queue as JSON and then over HTTP. A value that would arrive changed, not at all, or to no
effect is refused with a `ValueError` in words for the author of the spider.
"""

from __future__ import annotations

import datetime
import inspect
import math
import re
import sys
from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from msgspec import Struct

from crawler.parsing import scrapy_words
from crawler.parsing.charset import clean

MAX_COUNT = 10**14
"""Each count of a message is below this: the frontier's scripts write such numbers as JSON does, without rounding."""

MAX_PRIORITY = 1_000
"""The bound, either way. The frontier's scripts keep priorities as text, and would spell large numbers differently."""

MAX_NESTING = 100
"""Levels of lists and dicts in `meta`: far below the limit of any JSON parser."""

DAY = 86_400
_YEARS = 10 * 366 * DAY  # seconds: a request that must wait longer is a mistake
_MAX_SHOWN = 80  # characters of a value in an error

FRAMING = frozenset({"connection", "content-length", "expect", "te", "trailer", "transfer-encoding", "upgrade"})
"""Header fields that the crawler sets itself."""

_has_scheme = re.compile(r"[\x00-\x20]*[a-zA-Z][a-zA-Z0-9+.-]*:").match
is_token = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch
is_field_value = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]*").fullmatch  # RFC 9110 §5.5


def is_bare(request: Any) -> bool:
    """Whether the request has nothing but a URL, callbacks, a priority, a delay, a depth and a spider, as most have."""
    return (
        not request.meta
        and request.method == "GET"
        and not request.headers
        and not request.redirects
        and not request.dont_filter
        and not request.body
        and not request.unknown
        and type(request.url) is str
        and type(request.spider) is str
        and type(request.depth) is int
        and 0 <= request.depth < MAX_COUNT
    )


def settled(request: Any) -> dict[str, Any]:
    """The fields of a request that are not bare, in the types that arrive. A callback may be a method, which has a
    name. Raises `ValueError` for a value that would arrive changed."""
    check_url(request.url)
    check_times(request)
    depth, redirects = request.depth or 0, request.redirects or 0
    if not (_is_count(depth) and _is_count(redirects)):
        raise ValueError(f"depth {depth!r}, redirects {redirects!r}: the crawler sets them itself")
    if not isinstance(request.dont_filter or False, bool):
        raise unfit("dont_filter", request.dont_filter, "True or False")
    return {
        "url": request.url if _is_plain(request.url) else text("url", request.url),
        "callback": _callback("callback", request.callback) or "parse",
        "method": _method(request.method) if request.method not in (None, "GET") else "GET",
        "headers": checked_headers(request.headers) if request.headers else {},
        "body": _body(request.body) if request.body else b"",
        "meta": _meta(request.meta) if request.meta else {},
        "dont_filter": request.dont_filter or False,
        "errback": _callback("errback", request.errback),
        "depth": depth,
        "spider": text("spider", request.spider) if request.spider else "",
        "redirects": redirects,
        "unknown": _mapping("unknown", request.unknown) if request.unknown else {},
    }


def is_plain_url(url: Any) -> bool:
    """Whether a quick look shows that `check_url` has nothing against it."""
    return type(url) is str and url.startswith(("http://", "https://"))


def check_url(url: Any) -> None:
    """Raise `ValueError` for a URL that is no text, or is relative: a mistake in the spider whatever the page holds."""
    if not isinstance(url, str):
        raise ValueError(f"url of a request is {type(url).__name__}; write text, such as str(url)")
    if not _has_scheme(url):
        raise ValueError(
            f"url of a request is {url[:_MAX_SHOWN]!r}, which has no scheme; write response.follow(url), or begin it "
            "with https://"
        )


def check_times(request: Any) -> None:
    """Raise `ValueError` for a priority or a delay outside its bounds."""
    url, priority, delay = request.url, request.priority, request.delay
    if type(priority) is not int or abs(priority) > MAX_PRIORITY:
        raise ValueError(f"priority {priority!r} for {url}: use a whole number, -{MAX_PRIORITY} to {MAX_PRIORITY}")
    if type(delay) not in (int, float) or not 0 <= delay <= _YEARS:
        raise ValueError(f"delay {delay!r} for {url}: use seconds from now, at most ten years")


def check_callbacks(request: Any) -> None:
    """Raise `ValueError` for a callback that has no name to travel by."""
    _callback("callback", request.callback)
    _callback("errback", request.errback)


def _callback(field: str, callback: Any) -> Any:
    if type(callback) is str:
        return callback if callback.isascii() else clean(callback)
    if callback is None or isinstance(callback, str):
        return text(field, callback or "")
    name = getattr(callback, "__qualname__", "")
    if inspect.ismethod(callback) or (inspect.isfunction(callback) and "." in name and "<" not in name):
        return callback
    raise ValueError(
        f"{field} is {_shown(callback)}, but callbacks travel through the queue by name; "
        f"write a method of the spider, such as def parse_item(self, response), and {field}=self.parse_item"
    )


def _method(method: Any) -> str:
    given = text("method", method).upper()
    if not is_token(given) or given == "CONNECT":
        raise ValueError(f"method {method!r} cannot be fetched with; write GET, POST or another of HTTP's")
    return sys.intern(given)  # a message leaves out a field only if it is the default itself


def checked_headers(headers: Any) -> dict[str, str]:
    """A copy of header fields as they arrive. Raises `ValueError` for those that HTTP or the crawler cannot send."""
    if not isinstance(headers, Mapping):
        raise unfit("headers", headers, "a dict of text")
    copy = {text("headers: the name", name): _field_value(name, headers[name]) for name in headers}
    for name in copy:
        if not is_token(name):
            raise ValueError(f"headers: {name!r} is no name of a header, such as 'accept-language'")
        if name.lower() in FRAMING:
            raise ValueError(f"headers: {name!r} is set by the crawler itself; leave it out")
    if len({name.lower() for name in copy}) < len(headers):
        raise ValueError(f"headers: {sorted(copy)} has one name twice; give it once, its values with commas between")
    return copy


def _field_value(name: str, value: Any) -> str:
    given = text(f"headers[{name!r}]", value)
    if not is_field_value(given):
        raise ValueError(
            f"headers[{name!r}] holds a line break or another control character, which HTTP does not permit; remove it"
        )
    if given != given.strip(" \t"):
        raise ValueError(f"headers[{name!r}] has blanks around its value, which HTTP removes; write value.strip()")
    return given


def _body(body: Any) -> bytes:
    if isinstance(body, str):
        return clean(body).encode()
    if isinstance(body, bytes):
        return body
    raise unfit("body", body, "bytes or text")


# ---------------------------------------------------------------------------------------------------------
# meta


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < MAX_COUNT


def _is_statuses(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(type(one) is int and 100 <= one <= 599 for one in value)


def _is_seconds(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value <= DAY


_OBEYED: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "dont_redirect": (_is_flag, "True or False"),
    "dont_retry": (_is_flag, "True or False"),
    "download_timeout": (_is_seconds, "seconds, at most a day"),
    "handle_httpstatus_all": (_is_flag, "True or False"),
    "handle_httpstatus_list": (_is_statuses, "a list of HTTP statuses, such as [404]"),
    "max_retry_times": (_is_count, "a number of tries"),
}
"""Words of Scrapy that the crawler obeys: what they may hold."""

META_WORDS = frozenset({*_OBEYED, *scrapy_words.META})
"""Keys of `meta` that are words of Scrapy; all others are the spider's own."""


def _meta(meta: Any) -> dict[str, Any]:
    copy = _mapping("meta", meta)
    for word in META_WORDS.intersection(copy):
        if advice := scrapy_words.META.get(word):
            raise ValueError(f"meta[{word!r}]: {advice}")
        is_fit, wanted = _OBEYED[word]
        if copy[word] is not None and not is_fit(copy[word]):
            raise ValueError(f"meta[{word!r}] is {_shown(copy[word])}; write {wanted}")
    return copy


# ---------------------------------------------------------------------------------------------------------
# Values in JSON's types


def _mapping(field: str, value: Any) -> dict[str, Any]:
    if type(value) is not dict and not isinstance(value, Mapping):
        raise unfit(field, value, "a dict")
    copy: dict[str, Any] = json_value(field, value)
    return copy


def json_value(field: str, value: Any, level: int = 0) -> Any:
    """A copy in JSON's own types. `field` is the path to it, for errors. Raises `ValueError`."""
    if _is_plain(value):
        return value
    if level < MAX_NESTING and (type(value) is dict or isinstance(value, Mapping)):
        copy = {
            key if type(key) is str and key.isascii() else text(f"{field}: the key", key): part
            if _is_plain(part := value[key])
            else json_value(f"{field}[{key!r}]", part, level + 1)
            for key in value
        }
        if len(copy) == len(value):
            return copy
    if isinstance(value, str):
        return text(field, value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float) and math.isfinite(value):
        return float.__float__(value)
    if level >= MAX_NESTING:
        raise ValueError(f"{field[:200]} is nested deeper than {MAX_NESTING} levels, or contains itself")
    if isinstance(value, (list, tuple)):
        return [json_value(f"{field}[{place}]", part, level + 1) for place, part in enumerate(value)]
    raise unfit(field, value, "text, a number, True, False, None, a list or a dict")


def _is_plain(value: Any) -> bool:
    """Whether it certainly arrives as it is; the path to it is then not needed."""
    kind = type(value)
    return kind in _PLAIN or (kind is str and value.isascii())


def text(field: str, value: Any) -> str:
    """The text without lone surrogates. Raises `ValueError` for what is no text."""
    if not isinstance(value, str):
        raise unfit(field, value, "text")
    return clean(str.__str__(value))  # a subclass may override __str__


_PLAIN = frozenset({int, bool, type(None)})


def unfit(field: str, value: Any, wanted: str) -> ValueError:
    """The error for a value of a type that does not travel."""
    for kinds, way in _WAYS_OUT:
        if isinstance(value, kinds):
            wanted = f"{wanted}, such as {way}"
            break
    return ValueError(f"{field} is {_shown(value)}, which would not arrive unchanged; write {wanted}")


_WAYS_OUT: tuple[tuple[type | tuple[type, ...], str], ...] = (
    ((bytes, bytearray), "value.decode()"),
    ((datetime.date, datetime.time), "value.isoformat()"),
    ((set, frozenset), "sorted(value)"),
    ((int, float, Decimal, UUID), "str(value)"),
    (Enum, "value.value"),
    (Struct, "msgspec.to_builtins(value)"),
)


def _shown(value: Any) -> str:
    shown = repr(value)
    return f"{type(value).__name__} {shown if len(shown) <= _MAX_SHOWN else shown[:_MAX_SHOWN] + '…'}"
