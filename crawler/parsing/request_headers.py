"""The header fields that a spider gives a request, in the form in which they travel: one text for each name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from crawler.parsing.cookies import cookies_in, cookies_text
from crawler.parsing.json_values import text, unfit

FRAMING = frozenset({"connection", "content-length", "expect", "te", "trailer", "transfer-encoding", "upgrade"})
"""Header fields that the crawler sets itself."""

_ONCE = frozenset(
    {
        *("authorization", "content-language", "content-type", "date", "from", "host", "if-modified-since"),
        *("if-range", "if-unmodified-since", "max-forwards", "origin", "proxy-authorization", "range", "referer"),
        "user-agent",
    }
)
"""Fields whose values cannot be joined with commas (RFC 9110 §5.3), so that a request has one of them at most."""

is_token = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch
is_field_value = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]*").fullmatch  # RFC 9110 §5.5


def checked_headers(headers: Any) -> dict[str, str]:
    """A copy of header fields as they arrive: several values of a name are joined with commas (RFC 9110 §5.3), those of
    Cookie with semicolons. Raises `ValueError` for fields that HTTP or the crawler cannot send."""
    spelled: dict[str, str] = {}
    values: dict[str, list[str]] = {}
    for given, value in _pairs(headers):
        name = _name(given)
        values.setdefault(spelled.setdefault(name.lower(), name), []).extend(_values(name, value))
    return {name: _joined(name, several) for name, several in values.items()}


def with_cookies(headers: Any, cookies: Any, url: str) -> dict[str, str]:
    """Header fields with the cookies in their Cookie field, besides those that it has already; of two cookies of one
    name, that of `cookies` stays."""
    copy = checked_headers(headers) if headers else {}
    name = next((name for name in copy if name.lower() == "cookie"), "Cookie")
    if given := cookies_text(cookies, url):
        new = cookies_in(given)
        old = {key: value for key, value in cookies_in(copy.get(name, "")).items() if key not in new}
        copy[name] = "; ".join([*(f"{key}={value}" for key, value in old.items()), given])
    return copy


def with_default(headers: Any, defaults: Mapping[str, str]) -> dict[str, str]:
    """Header fields with those of `defaults` whose names they lack."""
    copy = checked_headers(headers) if headers else {}
    names = {name.lower() for name in copy}
    return copy | {name: value for name, value in defaults.items() if name.lower() not in names}


def _pairs(headers: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(headers, Mapping):
        yield from ((name, headers[name]) for name in headers)
    elif isinstance(headers, (list, tuple)) and all(map(_is_pair, headers)):
        yield from headers
    else:
        raise unfit("headers", headers, "a dict of text")


def _is_pair(pair: Any) -> bool:
    return isinstance(pair, (list, tuple)) and len(pair) == 2


def _name(given: Any) -> str:
    name = text("headers: the name", _decoded(given))
    if not is_token(name):
        raise ValueError(f"headers: {name!r} is no name of a header, such as 'accept-language'")
    if name.lower() in FRAMING:
        raise ValueError(f"headers: {name!r} is set by the crawler itself; leave it out")
    return name


def _values(name: str, value: Any) -> list[str]:
    if isinstance(value, (list, tuple)) and value:
        return [_value(name, one) for one in value]
    return [_value(name, value)]


def _value(name: str, value: Any) -> str:
    if value is None:
        raise ValueError(f"headers[{name!r}] is None; leave it out, or write the text to send")
    given = text(f"headers[{name!r}]", str(value) if type(value) is int else _decoded(value, f"headers[{name!r}]"))
    if not is_field_value(given):
        raise ValueError(
            f"headers[{name!r}] holds a line break or another control character, which HTTP does not permit; remove it"
        )
    if given != given.strip(" \t"):
        raise ValueError(f"headers[{name!r}] has blanks around its value, which HTTP removes; write value.strip()")
    return given


def _decoded(value: Any, field: str = "headers: a name") -> Any:
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise ValueError(f"{field} holds bytes that are not UTF-8, which cannot travel; write text") from None


def _joined(name: str, values: list[str]) -> str:
    if len(values) > 1 and name.lower() in _ONCE:
        raise ValueError(f"headers: {name!r} has {len(values)} values, and HTTP permits one; leave the others out")
    return ("; " if name.lower() == "cookie" else ", ").join(values)
