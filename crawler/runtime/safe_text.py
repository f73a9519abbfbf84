"""Makes text from the web, and text that may hold passwords, safe for terminals, logs and reports."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from crawler.runtime.credentials import hidden, is_secret, without_credentials

# C0, DEL and C1 control terminals; line and paragraph separators split log lines; bidirectional controls make one
# URL look like another; lone surrogates cannot be encoded.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_UNSAFE_IN_LINES = re.compile(_UNSAFE.pattern.replace(r"\x00-\x1f", r"\x00-\x08\x0b-\x1f"))

# In a web URL the path may contain an @. In the URL of a queue server everything up to the last @ is userinfo,
# even if the password contains a character that should have been escaped.
_WEB_USERINFO = re.compile(r"\b(https?://)[^/?#\s@\"'<>]*(?:@[^/?#\s@\"'<>]*)*@", re.IGNORECASE)
_SERVER_USERINFO = re.compile(r"\b((?!https?:)[a-z][a-z0-9+.-]*://[^:@/\s]*):\S+@", re.IGNORECASE)
# mostly a password that lacks its colon
_REDIS_USER = re.compile(r"\b((?:rediss?|valkeys?|sentinel)(?:\+[a-z]+)?://)[^:@/\s]+@", re.IGNORECASE)
_PASSWORD_ARGUMENT = re.compile(r"([?&;](?:\w*password|passwd|pass)=)[^&\s\"']*", re.IGNORECASE)


def printable(text: str) -> str:
    """`text` with every character that a terminal or a log reader would obey replaced by its escape, `\\x1b`."""
    return text if text.isprintable() else _UNSAFE.sub(_escape, text)


def printable_lines(text: str) -> str:
    """Like `printable`, for text of several lines such as a traceback: line breaks and tabs stay."""
    return _UNSAFE_IN_LINES.sub(_escape, text)


def without_password(text: str) -> str:
    """`text` with `***` for the passwords of all URLs and the credentials of all headers in it; in web URLs, and
    where no password follows in those of Redis, also for the user name."""
    if "://" in text:
        if "@" in text:
            text = _WEB_USERINFO.sub(r"\1***@", text)
            text = _SERVER_USERINFO.sub(r"\1:***@", text)
            text = _REDIS_USER.sub(r"\1***@", text)
        text = _PASSWORD_ARGUMENT.sub(r"\1***", text) if "pass" in text.lower() else text
    return without_credentials(text)


def shown(text: str) -> str:
    """`text` made fit to show to a person: without control characters or passwords."""
    return without_password(printable(text))


def masked(value: Any) -> Any:
    """JSON data made fit to show: no passwords in texts, `***` for the values of keys that carry credentials."""
    match value:
        case str():
            return without_password(value)
        case Mapping():
            secret = {key: is_secret(str(key)) or key == "body" for key in value}
            return {masked(key): hidden(one) if secret[key] else masked(one) for key, one in value.items()}
        case list() | tuple():
            return type(value)(map(masked, value))
    return value


def json_line(value: Any) -> str:
    """`value` as one line of JSON for scripts, `masked`."""
    return json.dumps(masked(value))


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape", "surrogatepass").decode("ascii")
