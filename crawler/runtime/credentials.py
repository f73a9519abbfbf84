"""Recognizes credentials by name, hides them from people, and binds them to the origin that they belong to."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from crawler.errors import ConfigError
from crawler.parsing.url import BadUrl, canonical, origin_of

MASK = "***"

_NAME = (
    r"(?:[\w.-]{0,60}(?:token|password|passwd|passphrase|secret|cookie|cookies|cookie2|authorization|credentials)"
    r"|(?:[\w.-]{0,60}[_.-])?(?:auth|authentication)"
    r"|[\w.-]{0,60}(?:api|access|subscription|private)[_.-]?key"
    r"|[\w.-]{0,60}session[_.-]?id)"
)
_is_name = re.compile(_NAME, re.IGNORECASE).fullmatch


@lru_cache(maxsize=4096)
def is_secret(name: str) -> bool:
    """Whether a header field or key of that name carries credentials: `Authorization`, `Cookie`, `X-Api-Key` …

    The crawler never shows such a field, never sends it to another origin after a redirect, and refuses a setting that
    would send it to all hosts.
    """
    return _is_name(name) is not None


_SECRET_WORDS = frozenset(
    (
        *("AUTH", "CREDENTIAL", "CREDENTIALS", "DSN", "KEY", "KEYS", "LOGIN", "PASS", "PASSWD", "PASSWORD"),
        *("PASSWORDS", "PWD", "SECRET", "SECRETS", "TOKEN", "TOKENS"),
    )
)


def is_secret_setting(name: str) -> bool:
    """Whether a setting of the user's own carries credentials, by its name: `MONGO_PASS`, `OPENAI_KEY` …"""
    return is_secret(name) or not _SECRET_WORDS.isdisjoint(name.upper().split("_"))


# ---------------------------------------------------------------------------------------------------------
# Hiding them from people


# "Cookie": "a=1" in JSON or in the repr of a dict or of pairs, even if quoted once more; password='a' in the repr of an
# object. A request body counts because it may be a login.
_PAIR = re.compile(
    rf"((?<!\\)(\\*+[\"'])|\b)({_NAME}|body)((?(2)\2\s*[:,=]\s*|=)b?)(\\*+[\"'])(?:(?!(?<!\\)\5).)*+(?:\5)?",
    re.IGNORECASE | re.DOTALL,
)
# Cookie: a=1; b=2 in a header in wire form, where line breaks may already be escaped
_FIELD = re.compile(
    r"(?:\b|(?<=\\[rnt]))"
    r"((?:proxy-)?authorization|(?:set-)?cookie2?|x-[\w-]{1,60}(?:token|key|auth|secret)|api-?key)(\s*[:=]\s*)"
    r"(?:(?!\\[rn])[^\r\n])+",
    re.IGNORECASE,
)
# Bearer abc123: a value without its header name. A word of prose has neither digits nor a capital in its middle.
_VALUE = re.compile(
    r"\b((?i:basic|bearer|digest|negotiate|ntlm))(\s+)(?=\S*(?:[0-9=+/]|[a-z][A-Z]))[\w+/=.~-]{6,}",
)
_WORDS = (
    *("auth", "cookie", "token", "passw", "passphrase", "secret", "key", "credential", "session", "body"),
    *("basic", "bearer", "digest", "negotiate", "ntlm"),
)


def may_hold_credentials(text: str) -> bool:
    """Whether `without_credentials` might change `text`: a cheap test that most logged texts fail."""
    lower = text.lower()
    return any(word in lower for word in _WORDS)


def without_credentials(text: str) -> str:
    """`text` with `***` for the values of headers and keys that carry credentials, however they are quoted."""
    if not may_hold_credentials(text):
        return text
    text = _PAIR.sub(rf"\1\3\4\5{MASK}\5", text)
    text = _FIELD.sub(rf"\1\2{MASK}", text)
    return _VALUE.sub(rf"\1\2{MASK}", text)


def hidden(value: Any) -> Any:
    """The shape of a secret value: texts become `***`. Numbers stay, because they are counts."""
    match value:
        case str() | bytes():
            return MASK if value else value
        case Mapping():
            return {key: hidden(one) for key, one in value.items()}
        case list() | tuple() | set() | frozenset():
            return [hidden(one) for one in value]
    return value


# ---------------------------------------------------------------------------------------------------------
# Binding them to an origin


def authorizations(logins: Mapping[str, str]) -> dict[str, str]:
    """Turn a mapping of origin → `user:password` into origin → value of the Authorization header (RFC 7617, UTF-8).

    Raises `ConfigError`, which names the origin but not the password.
    """
    found: dict[str, str] = {}
    for given, login in logins.items():
        origin = _origin(given)
        value = _basic(origin, login)
        if found.setdefault(origin, value) != value:
            raise ConfigError(f"HTTP_AUTH: two logins for {origin}; leave one of them")
    return found


def _origin(given: str) -> str:
    try:
        url = canonical(given)
    except BadUrl as error:
        raise ConfigError(f"HTTP_AUTH: {error}; an origin is written like https://a.example") from None
    origin = origin_of(url)
    if "@" in given:
        raise ConfigError(f"HTTP_AUTH: the origin {origin} holds a user name; write it into the value, user:password")
    if url != f"{origin}/" or "#" in given or "?" in given:
        raise ConfigError(f"HTTP_AUTH: {url} is more than an origin; write {origin}, which stands for all its paths")
    return origin


def _basic(origin: str, login: str) -> str:
    if ":" not in login:
        raise ConfigError(f"HTTP_AUTH: the login for {origin} has no colon; write user:password")
    if re.search(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", login):
        raise ConfigError(f"HTTP_AUTH: the login for {origin} holds a control character; remove it")
    return f"Basic {base64.b64encode(login.encode()).decode()}"


def check_for_all_hosts(headers: Mapping[str, str]) -> None:
    """Raise `ConfigError` if `DEFAULT_REQUEST_HEADERS` holds credentials, because every host receives these headers."""
    secret = ", ".join(name for name in headers if is_secret(name))
    if secret:
        raise ConfigError(
            f"DEFAULT_REQUEST_HEADERS has {secret}, which every host would get, robots.txt and redirects included; "
            'give a login its origin, HTTP_AUTH = {"https://a.example": "user:password"}, or let the spider put such a '
            "header into its own requests, Request(url, headers={…})"
        )
