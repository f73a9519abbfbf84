"""The lines of an index (CDXJ): where a page lies in the files of an archive.

    com,example)/a?b=1 20261129230115 {"url":"https://example.com/a?b=1","mime":"text/html","status":"200", …}

A line is a key by which pages of one host sort together, the second of the visit, and a JSON object. Sorted, such
lines are an index for pywb and its like.
"""

from __future__ import annotations

import re

import msgspec
from msgspec import Struct

from crawler.archive.records import Page

_WWW = re.compile(r"www\d*\.")
_PARTS = re.compile(r"https?://(\[[^]]*\]|[^/?#:]*)(?::(\d+))?(/[^?]*)\??(.*)")
_DEFAULT_PORTS = ("", "80", "443")


class Entry(Struct, frozen=True):
    """The JSON object of a line."""

    url: str
    mime: str
    status: str
    digest: str
    length: str  # of the response record, in bytes of the file
    offset: str
    filename: str


def line_of(page: Page, filename: str, offset: int, length: int) -> str:
    """Return the line of a page whose response record lies there."""
    response = page.response
    mime = "warc/revisit" if page.original else response.content_type or "unk"
    digest = page.digest.removeprefix("sha1:")
    entry = Entry(response.url, mime, str(response.status), digest, str(length), str(offset), filename)
    return f"{key_of(response.url)} {_timestamp(page.date)} {msgspec.json.encode(entry).decode()}"


def key_of(url: str) -> str:
    """Return the key of a canonical URL: its host from the last label on, then path and query, all in lower case and
    without what rarely matters (`www`, the order of the query's parts)."""
    found = _PARTS.match(url.lower())
    if found is None:
        return url
    host, port, path, query = found[1], found[2] or "", found[3], found[4]
    labels = [host] if host.replace(".", "").isdigit() else _WWW.sub("", host, count=1).split(".")[::-1]
    sorted_query = "?" + "&".join(sorted(query.split("&"))) if query else ""
    return f"{','.join(labels)}{'' if port in _DEFAULT_PORTS else f':{port}'}){path}{sorted_query}"


def _timestamp(date: str) -> str:
    return re.sub(r"\D", "", date)[:14]
