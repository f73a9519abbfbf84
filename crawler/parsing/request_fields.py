"""What the fields of a request may hold, so that each arrives as a spider gave it.

A request travels through the queue as JSON and then over HTTP. A value that would arrive changed, not at all, or to no
effect is refused with a `ValueError` in words for the author of the spider.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from crawler.parsing import scrapy_words
from crawler.parsing.charset import clean, encoded, encoding_of
from crawler.parsing.json_values import is_plain, json_object, shown, text, unfit
from crawler.parsing.request_headers import checked_headers, is_token, with_cookies
from crawler.parsing.url import BadUrl, canonical

MAX_COUNT = 10**14
"""Each count of a message is below this: the frontier's scripts write such numbers as JSON does, without rounding."""

MAX_PRIORITY = 1_000
"""The bound, either way. The frontier's scripts keep priorities as text, and would spell large numbers differently."""

DAY = 86_400
_YEARS = 10 * 366 * DAY  # seconds: a request that must wait longer is a mistake
_MAX_SHOWN = 80  # characters of a value in an error

_has_scheme = re.compile(r"[\x00-\x20]*[a-zA-Z][a-zA-Z0-9+.-]*:").match


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
        and not request.cb_kwargs
        and not request.media
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
        "url": request.url if is_plain(request.url) else text("url", request.url),
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
        "unknown": json_object("unknown", request.unknown) if request.unknown else {},
        "cb_kwargs": json_object("cb_kwargs", request.cb_kwargs) if request.cb_kwargs else {},
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
        f"{field} is {shown(callback)}, but callbacks travel through the queue by name; "
        f"write a method of the spider, such as def parse_item(self, response), and {field}=self.parse_item"
    )


def _method(method: Any) -> str:
    given = text("method", method).upper()
    if not is_token(given) or given == "CONNECT":
        raise ValueError(f"method {method!r} cannot be fetched with; write GET, POST or another of HTTP's")
    return sys.intern(given)  # a message leaves out a field only if it is the default itself


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


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def _is_seconds(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value <= DAY


_OBEYED: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "allow_offsite": (_is_flag, "True or False"),
    "dont_cache": (_is_flag, "True or False"),
    "dont_merge_cookies": (_is_flag, "True or False"),
    "dont_obey_robotstxt": (_is_flag, "True or False"),
    "dont_redirect": (_is_flag, "True or False"),
    "dont_retry": (_is_flag, "True or False"),
    "download_timeout": (_is_seconds, "seconds, at most a day"),
    "handle_httpstatus_all": (_is_flag, "True or False"),
    "handle_httpstatus_list": (_is_statuses, "a list of HTTP statuses, such as [404]"),
    "max_retry_times": (_is_count, "a number of tries"),
    "redirect_reasons": (_is_list, "a list, or leave it out"),
    "redirect_urls": (_is_list, "a list, or leave it out"),
    "retry_times": (_is_count, "a number of tries, or leave it out"),
}
"""Words of Scrapy that the crawler obeys: what they may hold."""

TOLD = frozenset({"depth", "download_latency", "is_start_request", "redirect_times"})
"""Words of Scrapy that the crawler sets itself, in `response.meta`; a request that brings them leaves them out."""

META_WORDS = frozenset({*_OBEYED, *TOLD, *scrapy_words.META})
"""Keys of `meta` that are words of Scrapy; all others are the spider's own."""


def _meta(meta: Any) -> dict[str, Any]:
    copy = json_object("meta", meta)
    for word in META_WORDS.intersection(copy):
        if word in TOLD:
            del copy[word]
            continue
        if advice := scrapy_words.META.get(word):
            raise ValueError(f"meta[{word!r}]: {advice}")
        is_fit, wanted = _OBEYED[word]
        if copy[word] is not None and not is_fit(copy[word]):
            raise ValueError(f"meta[{word!r}] is {shown(copy[word])}; write {wanted}")
    return copy


# ---------------------------------------------------------------------------------------------------------
# Arguments that become part of other fields

PARTS = frozenset({"cookies", "encoding", "flags"})

_BY_PLACE = ("url", "callback", "method", "headers", "body")


def without_parts(given: tuple[Any, ...], fields: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a request by name, those in `PARTS` made part of the URL, the headers and the body.
    Raises `ValueError`."""
    named = {**dict(zip(_BY_PLACE, given, strict=False)), **fields}
    cookies, encoding, flags = (named.pop(part, None) for part in ("cookies", "encoding", "flags"))
    if flags:
        raise ValueError(f"request for {named.get('url')}: flags: {scrapy_words.FLAGS}")
    try:
        if encoding:
            named |= _encoded(named, encoding)
        if cookies:
            if (named.get("meta") or {}).get("dont_merge_cookies"):
                raise ValueError("cookies: meta dont_merge_cookies says to send none of them; leave one of the two")
            check_url(named.get("url"))
            named["headers"] = with_cookies(named.get("headers"), cookies, named["url"])
    except ValueError as error:
        raise ValueError(f"request for {named.get('url')}: {error}") from None
    return named


def _encoded(named: Mapping[str, Any], encoding: Any) -> dict[str, Any]:
    """The URL and the body, if they are text outside ASCII, as bytes of this encoding; the path stays UTF-8."""
    url, body = named.get("url"), named.get("body")
    changed: dict[str, Any] = {"body": _in_bytes(body, encoding)} if isinstance(body, str) else {}
    if isinstance(url, str) and not url.isascii():
        _in_bytes("", encoding)
        with suppress(BadUrl):  # which is reported when the request is yielded
            changed["url"] = canonical(url, None, encoding)
    return changed


def _in_bytes(body: str, encoding: Any) -> bytes:
    try:
        return body.encode(encoding)
    except UnicodeEncodeError as error:
        raise ValueError(f"body has {error.object[error.start]!r}, which {encoding} cannot express") from None
    except (LookupError, TypeError):
        if isinstance(encoding, str) and (name := encoding_of(encoding)):
            return encoded(body, name)  # one of the web that Python does not know
        raise ValueError(f"encoding {encoding!r} is unknown; write one such as 'cp1251'") from None
