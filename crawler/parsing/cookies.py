"""The cookies that a spider gives a request, as the text of its Cookie field (RFC 6265 §5.4)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from crawler.parsing.charset import clean

_is_name = re.compile(r"[^\x00-\x20\x7f=;,]+").fullmatch
_is_value = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f;]*").fullmatch

_ONE = '{"name": "currency", "value": "EUR"}'


class _Cookie(NamedTuple):
    name: str
    value: str
    domain: str = ""  # empty: the host of the request
    path: str = ""  # empty: the folder of the request
    is_secure: bool = False


def cookies_text(cookies: Any, url: str) -> str:
    """The Cookie field for a request to `url`: of a dict, or of dicts with `name`, `value` and, if the cookie is bound
    to them, `domain`, `path` and `secure`. Cookies for other hosts and paths are left out, as browsers do.

    Raises `ValueError`, without the values, for what is no cookie.
    """
    parts = urlsplit(url)
    host, path = (parts.hostname or "").lower(), parts.path or "/"
    folder = path[: path.rfind("/")] or "/"
    found: dict[tuple[str, str], str] = {}
    for one in _read(cookies):
        place = one.path or folder
        if _is_for(one, host, place, path, parts.scheme):
            found[place, one.name] = one.value
    in_order = sorted(found.items(), key=lambda pair: -len(pair[0][0]))  # longer paths first
    return "; ".join(f"{name}={value}" for (_, name), value in in_order)


def cookies_in(field: str) -> dict[str, str]:
    """The cookies of a Cookie field; those without a name are left out."""
    pairs = (part.strip().partition("=") for part in field.split(";"))
    return {name: value for name, equals, value in pairs if name and equals}


def _is_for(cookie: _Cookie, host: str, place: str, path: str, scheme: str) -> bool:
    domain = cookie.domain.removeprefix(".").lower()
    is_host = not domain or host == domain or ("." in domain and host.endswith(f".{domain}"))
    is_path = path == place or path.startswith(place if place.endswith("/") else f"{place}/")
    return is_host and is_path and (not cookie.is_secure or scheme == "https")


def _read(cookies: Any) -> Iterator[_Cookie]:
    if isinstance(cookies, Mapping):
        for name, value in cookies.items():
            yield _cookie({"name": name, "value": value})
    elif isinstance(cookies, (list, tuple)) and all(isinstance(one, Mapping) for one in cookies):
        yield from map(_cookie, cookies)
    else:
        raise ValueError(f"cookies is {type(cookies).__name__}; write a dict, or a list of dicts such as {_ONE}")


def _cookie(given: Mapping[str, Any]) -> _Cookie:
    name = _text(given.get("name"), "a name")
    if not _is_name(name):
        raise ValueError(f"cookies: {name!r} is no name of a cookie")
    value = _text(given.get("value"), f"the value of {name!r}").strip(" \t")
    if not _is_value(value):
        raise ValueError(
            f"cookies[{name!r}] holds a semicolon, a line break or another control character, which would begin "
            "something else; write urllib.parse.quote(value)"
        )
    domain, path = (_text(given.get(key) or "", f"the {key} of {name!r}") for key in ("domain", "path"))
    return _Cookie(name, value, domain, path, bool(given.get("secure")))


def _text(value: Any, what: str) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, (str, int, float)):
        return clean(str(value))
    raise ValueError(f"cookies: {what} is {type(value).__name__}; write text")
