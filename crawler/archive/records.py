"""Makes WARC/1.1 records (ISO 28500) of a page. Values in, bytes out.

A page is three records, each a gzip member of its own: `response`, `request` and `metadata`. The response has the head
as the host sent it and the body with its content encodings; those of the transfer are undone, so `Transfer-Encoding` is
renamed. The metadata has the request as it lay in the queue, so that the page can be read again by the same callback.
A `revisit` has no body: it names the response whose body is the same.
"""

from __future__ import annotations

import base64
import hashlib
import re
import uuid
import zlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final, NamedTuple

from msgspec.structs import replace

from crawler.frontier import message
from crawler.model import Lease, Request
from crawler.response import Response

QUEUED: Final = "application/vnd.crawler.request+json"
"""Media type of a metadata block: `job`, `seconds` and `message` (see `frontier/message.py`) in a JSON object."""

RENAMED: Final = b"X-Crawler-Transfer-Encoding"
"""Name of the `Transfer-Encoding` field of an answer whose body is without that coding."""

_LEVEL = 4  # of the compression: 6 takes half as long again, and saves nothing
_GZIP = 31  # zlib's word for a gzip wrapper with the largest window
_SAME_BODY = "http://netpreserve.org/warc/1.1/revisit/identical-payload-digest"
_SOUND_HEAD = re.compile(rb"HTTP/1\.[01] [1-9][0-9]{2}[ \r]").match
_TRANSFER = re.compile(rb"^Transfer-Encoding(?=[ \t]*:)", re.IGNORECASE | re.MULTILINE)
_SECRET = re.compile(rb"^(?:Proxy-)?Authorization[ \t]*:[^\n]*\n", re.IGNORECASE | re.MULTILINE)
_SECRETS = frozenset({"authorization", "proxy-authorization"})
_OF_THE_BODY = frozenset({"content-encoding", "content-length", "transfer-encoding"})


class Original(NamedTuple):
    """The response that revisits of the same body refer to."""

    id: str
    url: str
    date: str


class Page(NamedTuple):
    """A page, ready to be made into records."""

    lease: Lease
    response: Response
    date: str
    id: str  # of its response or revisit record
    digest: str  # of its body
    original: Original | None  # whose body is the same


def page_of(lease: Lease, response: Response, originals: Mapping[tuple[str, str], Original]) -> Page:
    """Look at a page. `originals`: (job, digest) → the response that has such a body."""
    body = _body(response)
    digest = _digest(body)
    original = originals.get((lease.job, digest)) if body else None
    return Page(lease, response, now(), _new_id(), digest, original)


def packed(page: Page) -> tuple[bytes, bytes]:
    """Return the response or revisit record of a page, and the other ones."""
    response, request = page.response, page.response.request
    of_page = [("WARC-Target-URI", response.url), ("WARC-Date", page.date)]
    if response.address:
        of_page.append(("WARC-IP-Address", response.address))
    beside = [*of_page, ("WARC-Concurrent-To", page.id)]
    others = []
    if response.exchange:
        asked = _SECRET.sub(b"", response.exchange.asked)
        others.append(_record("request", _new_id(), [*beside, _HTTP_REQUEST], asked + request.body))
    others.append(_record("metadata", _new_id(), [*beside, ("Content-Type", QUEUED)], _queued(page)))
    return _response(page, of_page), b"".join(others)


def warcinfo(name: str, fields: Iterable[tuple[str, str]]) -> bytes:
    """Return the first record of the file of that name."""
    block = "".join(f"{field}: {value}\r\n" for field, value in fields).encode()
    head = [("WARC-Date", now()), ("WARC-Filename", name), ("Content-Type", "application/warc-fields")]
    return _record("warcinfo", _new_id(), head, block)


def now() -> str:
    """Return the time as a WARC-Date."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


_HTTP_REQUEST = ("Content-Type", "application/http; msgtype=request")
_HTTP_RESPONSE = ("Content-Type", "application/http; msgtype=response")


def _response(page: Page, of_page: list[tuple[str, str]]) -> bytes:
    fields = [*of_page, _HTTP_RESPONSE, ("WARC-Payload-Digest", page.digest)]
    if "dataloss" in page.response.cut:
        fields.append(("WARC-Truncated", "disconnect"))
    head = _head(page.response)
    if page.original is None:
        return _record("response", page.id, fields, head + _body(page.response))
    fields += [
        ("WARC-Profile", _SAME_BODY),
        ("WARC-Refers-To", page.original.id),
        ("WARC-Refers-To-Target-URI", page.original.url),
        ("WARC-Refers-To-Date", page.original.date),
    ]
    return _record("revisit", page.id, fields, head)


def _head(response: Response) -> bytes:
    """The head of the answer: as the host sent it if that can be read, else made of what is known."""
    if response.exchange and _SOUND_HEAD(response.exchange.head):
        return _TRANSFER.sub(RENAMED, response.exchange.head)
    is_whole = response.exchange is not None  # with its content encoding
    lines = [f"HTTP/1.1 {response.status} {_phrase(response.status)}"]
    for name in response.headers:
        if name not in _OF_THE_BODY or (is_whole and name == "content-encoding"):
            lines += [f"{name}: {value}" for value in response.headers.getlist(name)]
    return "\r\n".join([*lines, f"content-length: {len(_body(response))}", "", ""]).encode("utf-8", "surrogateescape")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _body(response: Response) -> bytes:
    return response.exchange.body if response.exchange else response.body


def _queued(page: Page) -> bytes:
    lease = page.lease
    queued = lease.message
    if any(name.lower() in _SECRETS for name in lease.request.headers):
        queued = message.encode(without_secrets(lease.request))
    return b'{"job":"%b","seconds":%.3f,"message":%b}' % (lease.job.encode(), page.response.seconds, queued)


def without_secrets(request: Request) -> Request:
    """Return the request without the logins in its headers."""
    headers = {name: value for name, value in request.headers.items() if name.lower() not in _SECRETS}
    return replace(request, headers=headers)


def _record(kind: str, id: str, fields: list[tuple[str, str]], block: bytes) -> bytes:
    """One record as a gzip member."""
    head = [("WARC-Type", kind), ("WARC-Record-ID", id), *fields]
    head += [("WARC-Block-Digest", _digest(block)), ("Content-Length", str(len(block)))]
    lines = "".join(f"{name}: {value}\r\n" for name, value in head)
    packer = zlib.compressobj(_LEVEL, wbits=_GZIP)
    return packer.compress(b"WARC/1.1\r\n%b\r\n%b\r\n\r\n" % (lines.encode(), block)) + packer.flush()


def _digest(content: bytes) -> str:
    sha1 = hashlib.sha1(content, usedforsecurity=False).digest()  # what all tools for WARC compare
    return f"sha1:{base64.b32encode(sha1).decode()}"


def _new_id() -> str:
    return f"<urn:uuid:{uuid.uuid4()}>"
