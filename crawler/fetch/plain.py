"""Reads plain answers, which most answers are.

The same few servers write most answers: HTTP/1.1, some fields in ASCII, a `Content-Length`, the body and nothing after
it. All parsers agree about these, so this module reads them at a third of the cost.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

MAX_HEAD: Final = 8 * 1024
"""Longest plain head, in bytes; `head` reads longer ones."""

MAX_FIELDS: Final = 100
"""Most fields of a plain head; `head` reads larger ones."""


class Plain(NamedTuple):
    """A plain answer: `headers` has lower-case names, each of them once; `body` is not decoded."""

    status: int
    headers: dict[str, str]
    body: bytes
    answered_at: float  # monotonic seconds at the end of the head


class PlainHead(NamedTuple):
    """The head of a plain answer. `size` is the length of the head in bytes, `length` that of the body."""

    status: int
    headers: dict[str, str]
    size: int
    length: int


def read_head(data: bytes | bytearray) -> PlainHead | None:
    """Read the head at the start of `data`. None if the head is not plain or not complete."""
    found = _HEAD(data)
    if found is None or found.end() > MAX_HEAD:
        return None
    fields = _FIELDS(found[2].decode("ascii"))
    headers = {name.lower(): value.rstrip(" \t") for name, value in fields}
    if len(headers) < len(fields) or len(fields) > MAX_FIELDS:
        return None  # `http` keeps the values of several fields of one name apart
    length = headers.get("content-length", "")
    if not _LENGTH(length) or not _UNPLAIN.isdisjoint(headers):
        return None
    if headers.get("connection", "keep-alive").lower() != "keep-alive":
        return None
    return PlainHead(int(found[1]), headers, found.end(), int(length))


# Accepts statuses that have a body. What deviates from the grammar (RFC 9112 §5) is not plain: bare line feeds, folded
# lines, white space before a colon, characters outside ASCII.
_HEAD: Final = re.compile(
    rb"HTTP/1\.1 (20[0-35-9]|30[0-35-9]|[45][0-9][0-9])(?: [ -~]*+)?+\r\n"
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]++:[\t -~]*+\r\n)++)\r\n"
).match
_FIELDS: Final = re.compile(r"([^:]++):[ \t]*+([^\r]*+)\r\n").findall
_LENGTH: Final = re.compile(r"[0-9]{1,15}").fullmatch
# Fields that aiohttp's parser acts on or refuses, besides `connection` and `content-length`.
_UNPLAIN: Final = frozenset({"transfer-encoding", "upgrade", "trailer", "proxy-connection", "sec-websocket-key1"})
