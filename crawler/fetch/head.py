"""Reads the head of an answer as browsers do, and writes it anew for aiohttp's parser, which refuses what is odd.

RFC 9112 asks recipients to mend or ignore most mistakes of a head (§2.2, §5, §6.3). The client sends one request at a
time and closes the connection after an odd answer, so no mistake can turn one answer into two (request smuggling).
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from aiohttp.http import HttpProcessingError

MAX_HEAD_BYTES: Final = 256 * 1024
"""Longest head, in bytes; the same as Chromium's."""

MAX_FIELDS: Final = 1_000
"""Most lines of a head."""

_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
_NO_BODY = frozenset({204, 304})
_CODINGS = frozenset({b"gzip", b"x-gzip", b"deflate", b"br", b"zstd"})
_MOST = 10**15  # a length that stands for all longer ones, which the parser refuses

_END = re.compile(rb"\n\r{0,2}\n")  # some servers end lines with CR CR LF
_END_BYTES = 4
_STATUS = re.compile(rb"HTTP/([0-3])(?:\.([0-9]))?[ \t]+([1-9][0-9]{2})(?![0-9])", re.IGNORECASE)
_LINE_END = re.compile(rb"\r{0,2}\n")
_FOLD = re.compile(rb"\r{0,2}\n[ \t]+")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch
_CONTROLS = bytes.maketrans(bytes([*range(9), *range(10, 32), 127]), b" " * 32)
_LENGTH = re.compile(rb"[0-9]{1,100}").fullmatch
_STRICT = re.compile(
    rb"HTTP/1\.[01] [1-9][0-9][0-9](?: [\t -~\x80-\xff]*+)?\r\n"
    rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]++:[\t -~\x80-\xff]*+\r\n)*+\r\n"
).fullmatch
_FRAMED = re.compile(rb"\r\n(?:Content-Length|Transfer-Encoding):", re.IGNORECASE).findall
_USUAL = re.compile(
    rb"\r\n(?:Content-Length:[ \t]*([0-9]{1,15})|Transfer-Encoding:[ \t]*chunked)[ \t]*\r\n", re.IGNORECASE
).search


class Head(NamedTuple):
    """The head of an answer. `data`: what the parser gets. `length`: bytes of the body; None if only its last chunk or
    the end of the connection ends it. `is_odd`: the connection must not be used again."""

    status: int
    data: bytes
    length: int | None
    is_chunked: bool
    is_odd: bool


def find_head(data: bytes | bytearray, searched: int) -> int:
    """Where the body begins that follows the head at the start of `data`; 0 if the head is not complete.

    `searched`: bytes in which a call for the shorter `data` found no end. Raises `HttpProcessingError` for what is no
    head of HTTP/1, or is longer than `MAX_HEAD_BYTES`.
    """
    if not b"HTTP/".startswith(bytes(data[:5]).upper()):
        raise HttpProcessingError(message=f"it begins with {bytes(data[:40])!r} and not with HTTP/1.1")
    found = _END.search(data, max(0, searched - _END_BYTES))
    if (found.end() if found else len(data)) > MAX_HEAD_BYTES:
        raise HttpProcessingError(message=f"its head is longer than {MAX_HEAD_BYTES:,} bytes")
    return found.end() if found else 0


def read_any_head(data: bytes, *, has_body: bool = True) -> Head:
    """Read a complete head. `has_body` is false for the answer to HEAD.

    Lines that are no fields are ignored. Raises `HttpProcessingError` without a status, and with two lengths or too
    many lines.
    """
    found = _STATUS.match(data)
    if found is None:
        raise HttpProcessingError(message=f"its status line is {data.splitlines()[0][:40]!r}")
    status, is_empty = int(found[3]), not has_body or int(found[3]) in _NO_BODY
    is_strict = _STRICT(data) is not None
    if is_strict and len(_FRAMED(data)) == 1 and (usual := _USUAL(data)):  # nothing to mend
        is_chunked, length = usual[1] is None, None if usual[1] is None else int(usual[1])
        return Head(status, data, 0 if is_empty else length, is_chunked and not is_empty, is_odd=False)
    is_old = found[1] == b"0" or (found[1], found[2]) == (b"1", b"0")
    if data.count(b"\n") > MAX_FIELDS + 2:
        raise HttpProcessingError(message=f"its head has more than {MAX_FIELDS:,} lines")
    fields = _fields(data)
    lengths = _listed(fields, b"content-length")
    codings = [coding.partition(b";")[0].strip() for coding in _listed(fields, b"transfer-encoding")]
    is_chunked = b"chunked" in codings
    length = None if is_chunked else _length(lengths)
    kept = [field for field in fields if field[0].lower() not in _FRAMING]
    if encodings := [coding for coding in codings if coding in _CODINGS]:
        # They are undone first, as the last of the content encodings would be (RFC 9112 §7).
        kept.append((b"Content-Encoding", b", ".join(encodings)))
    if is_chunked:
        kept.append((b"Transfer-Encoding", b"chunked"))
    elif length is not None:
        kept.append((b"Content-Length", b"%d" % length))
    lines = [b"HTTP/1.%d %d" % (0 if is_old else 1, status), *(b"%b: %b" % field for field in kept), b"\r\n"]
    is_framed = is_chunked or length is not None
    is_odd = len(lengths) + len(codings) != is_framed or not is_strict
    return Head(status, b"\r\n".join(lines), 0 if is_empty else length, is_chunked and not is_empty, is_odd)


def _length(values: list[bytes]) -> int | None:
    """The one length that these say; None without a valid one (browsers then read until the end of the connection)."""
    lengths = {int(value) for value in values if _LENGTH(value)}
    if len(lengths) > 1:
        raise HttpProcessingError(message=f"it says several lengths: {sorted(lengths)[:2]}")
    return min(lengths.pop(), _MOST) if lengths else None


def _fields(data: bytes) -> list[tuple[bytes, bytes]]:
    """The fields of a head: folded lines joined (§5.2), spaces before a colon dropped, other control characters made
    spaces (§2.2), lines without a name left out."""
    fields = []
    for line in _LINE_END.split(_FOLD.sub(b" ", data))[1:]:
        name, colon, value = line.partition(b":")
        name = name.rstrip(b" \t")
        if colon and _NAME(name):
            fields.append((name, value.translate(_CONTROLS).strip(b" \t")))
    return fields


def _listed(fields: list[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    """The members of the lists in all fields of this name, in lower case (RFC 9110 §5.6.1)."""
    values = b",".join(value for key, value in fields if key.lower() == name).lower()
    return [member for part in values.split(b",") if (member := part.strip(b" \t"))]
