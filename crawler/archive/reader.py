"""Reads the pages of an archive again: of our own files, and of any other tool's.

One pass over the files finds where each page lies; then each is read where it is. Of several visits of one request the
last one counts. Importing this module raises `ConfigError` where the extra `warc` is not installed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import msgspec
import structlog
from aiohttp.http import HttpProcessingError
from msgspec import Struct
from msgspec.structs import replace
from multidict import CIMultiDict

from crawler.archive.files import ENDING, OPEN, repair
from crawler.archive.pages import StoredPage
from crawler.archive.records import QUEUED, RENAMED
from crawler.errors import ConfigError, FetchError, UsageError
from crawler.fetch.decoding import BodyError, decoded
from crawler.fetch.head import find_head, read_any_head
from crawler.fetch.http import headers_of
from crawler.frontier import message
from crawler.interfaces import HIT
from crawler.model import BLANK, Request
from crawler.parsing.limits import ParseLimits
from crawler.parsing.url import BadUrl, canonical
from crawler.program import extra
from crawler.response import Response

try:
    from warcio.archiveiterator import ArchiveIterator
    from warcio.bufferedreaders import ChunkedDataReader
    from warcio.exceptions import ArchiveLoadFailed
except ImportError:
    raise ConfigError(f"reading an archive needs the extra `warc`: {extra('warc')}") from None

log = structlog.get_logger()

_ENDINGS = (".warc", ENDING, ".arc", ".arc.gz")
_PAGES = frozenset({"response", "revisit"})
_CHUNKED = "transfer-encoding"


class Spot(NamedTuple):
    """Where a record begins."""

    file: Path
    offset: int


class Visited(NamedTuple):
    """One visit of a page."""

    response: Spot
    queued: Spot | None  # what was in the queue; None in an archive of another tool


class _Queued(Struct):
    job: str
    message: msgspec.Raw
    seconds: float = 0.0


def files_of(source: Path) -> list[Path]:
    """Return the files of an archive: a file, or those of a folder, where what killed workers have left is repaired.
    Raise `UsageError` if there are none."""
    if source.is_file():
        return [source]
    try:
        repair(source)
    except OSError as error:
        log.warning("archive_not_repaired", folder=str(source), why=error.strerror)
    files = sorted(path for path in source.glob("*") if path.name.endswith(_ENDINGS))
    if writing := [path.name for path in source.glob(f"*{ENDING}{OPEN}")]:
        log.warning("archive_still_written", files=writing, why="workers write to them, so they are not read")
    if not files:
        raise UsageError(
            f"{source}: no such file, or no folder with WARC files (*{ENDING}) or with a page cache (HTTPCACHE_DIR)"
        )
    return files


class ArchiveReader:
    """Implements `Pages` on some files."""

    def __init__(self, files: Sequence[Path], *, job: str, most_bytes: int, parse_limits: ParseLimits) -> None:
        """`job`: read the pages of this job alone; empty: of all. `most_bytes`: of a decoded body."""
        self._files = files
        self._job = job
        self._most = most_bytes
        self._parse_limits = parse_limits
        self._visited: dict[bytes, Visited] = {}  # by request
        self._by_url: dict[bytes, Visited] = {}
        self._bodies: dict[str, Spot] = {}  # digest → a response with that body
        self._stream: BinaryIO | None = None  # of the file that was read last
        self.asked: Counter[tuple[str, str]] = Counter()  # (spider, callback) → pages; empty: the archive does not tell
        self.again = 0  # visits that a later one of the same request replaces
        self.unreadable = 0  # pages of which the archive does not tell what was asked for

    def __len__(self) -> int:
        return len(self._visited)

    def scan(self) -> None:
        """Find where the pages lie. Raise `UsageError` for a file that is no archive."""
        for file in self._files:
            self._scan(file)

    def __iter__(self) -> Iterator[StoredPage]:
        """Yield the pages in the order of their first visits."""
        for visited in self._visited.values():
            try:
                yield self._page(visited)
            except ValueError as error:
                self.unreadable += 1
                where = f"{visited.response.file}, byte {visited.response.offset:,}"
                log.warning("archived_request_unreadable", where=where, why=str(error))

    def of(self, url: str) -> StoredPage | None:
        """Return the last visit of a canonical URL by GET."""
        visited = self._by_url.get(_key(url.encode()))
        try:
            return None if visited is None else self._page(visited)
        except ValueError:
            return None  # which is said of each page that is read

    def has(self, request: Request) -> bool:
        """Return whether exactly this request was made."""
        return _key(message.identity(message.encode(request))) in self._visited

    def _answer(self, visited: Visited, request: Request) -> Response:
        """Return the answer as a worker had it. Raise `FetchError` if it cannot be read."""
        try:
            return self._response(visited.response, request)
        except (OSError, ArchiveLoadFailed, HttpProcessingError, ValueError) as error:
            why = getattr(error, "message", "") or error
            where = f"{visited.response.file}, byte {visited.response.offset:,}"
            raise FetchError("archive", f"{request.url}: {where}: {why}", transient=False) from None
        except BodyError as error:
            raise FetchError(error.kind, f"{request.url}: the body {error}", transient=False) from None

    def close(self) -> None:
        """Close the files."""
        if self._stream is not None:
            self._stream.close()

    # -----------------------------------------------------------------------------------------------------
    # Where the pages lie

    def _scan(self, file: Path) -> None:
        found: dict[str, _Found] = {}  # by the id of the response
        read = 0
        try:
            with file.open("rb") as stream:
                records = ArchiveIterator(stream, no_record_parse=True)
                for record in records:
                    self._look_at(record, Spot(file, records.offset), found)
                    read += 1
        except OSError as error:
            raise UsageError(f"{file}: {error.strerror or error}") from None
        except (ArchiveLoadFailed, EOFError, ValueError) as error:
            if not read:
                raise UsageError(f"{file} is no WARC file") from None
            log.warning("archive_cut", file=str(file), records=read, why=f"what comes after cannot be read: {error}")
        is_ours = any(one.queued for one in found.values())
        for one in found.values():
            if one.queued or not is_ours:  # otherwise its end is missing, so it was not committed
                self._keep(one)

    def _look_at(self, record: Any, spot: Spot, found: dict[str, _Found]) -> None:
        headers = record.rec_headers
        if record.rec_type in _PAGES and _is_http(record):
            digest = headers.get_header("WARC-Payload-Digest") or ""
            if record.rec_type == "response" and digest:
                self._bodies.setdefault(digest, spot)
            if (url := _canonical(headers.get_header("WARC-Target-URI") or "")) is not None:
                found[headers.get_header("WARC-Record-ID")] = _Found(url, spot)
            return
        its = found.get(headers.get_header("WARC-Concurrent-To") or "")
        if its is None:
            return
        if record.rec_type == "request":
            its.is_get = record.raw_stream.read(4) == b"GET "
        elif headers.get_header("Content-Type") == QUEUED:
            its.queued, its.said = spot, record.raw_stream.read()

    def _keep(self, one: _Found) -> None:
        said = _decode(one.said) if one.said else None
        if self._job and (said is None or said.job != self._job):
            return
        visited = Visited(one.spot, one.queued)
        if one.is_get:
            self._by_url[_key(one.url.encode())] = visited
        elif not said:
            return  # of a form of which the archive does not tell what was filled in
        key = _key(message.identity(bytes(said.message)) if said else one.url.encode())
        self.again += key in self._visited
        self.asked[_reader_of(said)] += key not in self._visited
        self._visited[key] = visited

    # -----------------------------------------------------------------------------------------------------
    # What they are

    def _page(self, visited: Visited) -> StoredPage:
        """Return what was asked for. Raise `ValueError` if that cannot be read."""
        answer = partial(self._answer, visited)
        if visited.queued is None:
            url = _canonical(self._record(visited.response).rec_headers.get_header("WARC-Target-URI")) or ""
            return StoredPage(replace(BLANK, url=url), answer)
        said = _decode(self._record(visited.queued).raw_stream.read())
        read = message.decode(bytes(said.message))
        return StoredPage(read.request, answer, True, read.attempt, said.seconds)

    def _response(self, spot: Spot, request: Request) -> Response:
        record = self._record(spot)
        fields = record.rec_headers
        head, is_renamed, stream = _head(record)
        if record.rec_type == "revisit":
            digest = fields.get_header("WARC-Payload-Digest")
            if digest not in self._bodies:
                raise ValueError("a revisit, and the response with the same body is in none of these files")
            stream = _head(self._record(self._bodies[digest]))[2]
        is_chunked = "chunked" in head.headers.get(_CHUNKED, "").lower() and not is_renamed
        body = (ChunkedDataReader(stream) if is_chunked else stream).read()
        response = Response(
            request.url,
            status=head.status,
            headers=head.headers,
            body=self._decoded(body, head.headers.get("content-encoding", ""), fields.get_header("WARC-Truncated")),
            request=request,
            address=fields.get_header("WARC-IP-Address") or "",
            parse_limits=self._parse_limits,
        )
        response.cache = HIT
        if cut := fields.get_header("WARC-Truncated"):
            response.cut["dataloss"] = f"only a part of it is in the archive (WARC-Truncated: {cut})"
        return response

    def _record(self, spot: Spot) -> Any:
        """Return the record that begins there; the one before it can be read no more."""
        if self._stream is None or self._stream.name != str(spot.file):
            self.close()
            self._stream = spot.file.open("rb")
        self._stream.seek(spot.offset)
        return next(iter(ArchiveIterator(self._stream, no_record_parse=True)))

    def _decoded(self, body: bytes, encoding: str, truncated: str | None) -> bytes:
        try:
            return decoded(body, encoding, self._most) if encoding else body
        except BodyError as error:
            if error.kind != "truncated" or not truncated:
                raise
            return error.part


def _reader_of(said: _Queued | None) -> tuple[str, str]:
    """Return the spider and the callback that read a page."""
    if said is None:
        return "", "parse"
    try:
        read = message.peek(bytes(said.message))
    except message.JunkMessage:
        return "", ""
    return read.spider, "" if read.is_later else read.extras.callback


class _Found:
    """A response and what belongs to it."""

    def __init__(self, url: str, spot: Spot) -> None:
        self.url = url
        self.spot = spot
        self.is_get = True
        self.queued: Spot | None = None
        self.said = b""


class _Head(NamedTuple):
    status: int
    headers: Mapping[str, str]


def _head(record: Any) -> tuple[_Head, bool, Any]:
    """Return the head of an answer, whether its transfer coding was undone, and the stream of its body."""
    data = bytearray()
    while True:
        line = record.raw_stream.readline()
        data += line
        if not line.strip():
            break
    is_renamed = RENAMED in data
    data = data.replace(RENAMED, b"Transfer-Encoding")
    if not find_head(data, 0):
        raise ValueError("its head has no end")
    head = read_any_head(bytes(data))
    lines = [line.partition(b":") for line in head.data.split(b"\r\n")[1:] if line]
    fields = CIMultiDict((name.decode(), _text(value)) for name, _, value in lines)
    return _Head(head.status, headers_of(fields)), is_renamed, record.raw_stream


def _text(value: bytes) -> str:
    return value.strip(b" \t").decode("utf-8", "surrogateescape")


def _is_http(record: Any) -> bool:
    return (record.rec_headers.get_header("Content-Type") or "").startswith("application/http")


def _canonical(url: str) -> str | None:
    """Return the canonical URL of a page; None for what is no page, such as a DNS record."""
    try:
        return canonical(url.strip("<>"))
    except BadUrl:
        return None


def _key(content: bytes) -> bytes:
    return blake2b(content, digest_size=16).digest()


_decode = msgspec.json.Decoder(_Queued).decode
