"""Reads plain answers, which most answers are.

The same few servers write most answers: HTTP/1.1, some fields in ASCII, a body with a `Content-Length` or in chunks,
and nothing after it. All parsers agree about these, so this module reads them at a third of the cost.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple, Protocol

MAX_HEAD: Final = 8 * 1024
"""Longest plain head, in bytes; `head` reads longer ones."""

MAX_FIELDS: Final = 100
"""Most fields of a plain head; `head` reads larger ones."""


MAX_CHUNKS: Final = 1_000
"""Most chunks of a plain body, because they are read in one turn of the event loop; `chunks` reads more of them."""


class NotPlain(Exception):
    """The answer may be valid, but this module does not read it."""


class Plain(NamedTuple):
    """A plain answer: `headers` has lower-case names, each of them once; `body` is without its chunks and not
    decoded."""

    status: int
    headers: dict[str, str]
    body: bytes
    answered_at: float  # monotonic seconds at the end of the head


class PlainHead(NamedTuple):
    """The head of a plain answer. `size` is the length of the head in bytes, `length` that of the body, None if the
    body comes in chunks."""

    status: int
    headers: dict[str, str]
    size: int
    length: int | None


def read_head(data: bytes | bytearray) -> PlainHead | None:
    """Read the head at the start of `data`. None if the head is not plain or not complete."""
    found = _HEAD(data)
    if found is None or found.end() > MAX_HEAD:
        return None
    fields = _FIELDS(found[2].decode("ascii"))
    headers = {name.lower(): value.rstrip(" \t") for name, value in fields}
    if len(headers) < len(fields) or len(fields) > MAX_FIELDS:
        return None  # `http` keeps the values of several fields of one name apart
    if not _UNPLAIN.isdisjoint(headers) or headers.get("connection", "keep-alive").lower() != "keep-alive":
        return None
    length, coding = headers.get("content-length"), headers.get("transfer-encoding")
    if length is None and coding is not None and coding.lower() == "chunked":
        return PlainHead(int(found[1]), headers, found.end(), None)
    if length is None or coding is not None or not _LENGTH(length):
        return None
    return PlainHead(int(found[1]), headers, found.end(), int(length))


class PlainBody(Protocol):
    """A body that is arriving."""

    def read(self, data: bytes | bytearray) -> bytes | None:
        """Return the body once `data`, all of the answer that has arrived, holds its end. Raises `NotPlain`."""


def body_of(head: PlainHead, most: int) -> PlainBody:
    """The body that follows a head, of at most `most` bytes. Raises `NotPlain` for a longer one."""
    return _Chunked(head.size, most) if head.length is None else _Sized(head.size, head.length, most)


class _Sized:
    """A body whose length the head says."""

    def __init__(self, start: int, length: int, most: int) -> None:
        if length > most:
            raise NotPlain
        self._start = start
        self._end = start + length

    def read(self, data: bytes | bytearray) -> bytes | None:
        if len(data) > self._end:
            raise NotPlain
        return bytes(data[self._start :]) if len(data) == self._end else None


class _Chunked:
    """A body in chunks that have a size and nothing else (RFC 9112 §7.1), without trailers."""

    def __init__(self, start: int, most: int) -> None:
        self._at = start  # where the next chunk begins
        self._room = most
        self._chunks: list[bytes | bytearray] = []

    def read(self, data: bytes | bytearray) -> bytes | None:
        while found := _CHUNK(data, self._at):
            begin = found.end()
            end = begin + int(found[1], 16)
            if end == begin:
                return self._last(data[begin:])
            if end - begin > self._room or len(self._chunks) == MAX_CHUNKS:
                raise NotPlain
            if len(data) < end + 2:
                return None
            if data[end : end + 2] != b"\r\n":
                raise NotPlain
            self._chunks.append(data[begin:end])
            self._room -= end - begin
            self._at = end + 2
        if not _CHUNK_BEGUN(data, self._at):
            raise NotPlain
        return None

    def _last(self, rest: bytes | bytearray) -> bytes | None:
        if rest == b"\r\n":
            return b"".join(self._chunks)
        if rest in (b"", b"\r"):
            return None
        raise NotPlain  # trailers, or more than the answer


# Accepts statuses that have a body. What deviates from the grammar (RFC 9112 §5) is not plain: bare line feeds, folded
# lines, white space before a colon, characters outside ASCII.
_HEAD: Final = re.compile(
    rb"HTTP/1\.1 (20[0-35-9]|30[0-35-9]|[45][0-9][0-9])(?: [ -~]*+)?+\r\n"
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]++:[\t -~]*+\r\n)++)\r\n"
).match
_FIELDS: Final = re.compile(r"([^:]++):[ \t]*+([^\r]*+)\r\n").findall
_LENGTH: Final = re.compile(r"[0-9]{1,15}").fullmatch
_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,6})\r\n").match
_CHUNK_BEGUN: Final = re.compile(rb"[0-9A-Fa-f]{0,6}\r?").fullmatch
# Fields that aiohttp's parser acts on or refuses, besides those that `read_head` reads.
_UNPLAIN: Final = frozenset({"upgrade", "trailer", "proxy-connection", "sec-websocket-key1"})
