"""Reads the pages of an archive again: of our own files, and of any other tool's.

One pass over the files finds where each page lies; then each is read where it is. Of several visits of one request the
last one counts. What is not read is counted (`left_out`). Importing this module raises `ConfigError` where the extra
`warc` is not installed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
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
from crawler.program import DISTRIBUTION, extra
from crawler.response import Response

try:
    from warcio.archiveiterator import ArchiveIterator, ARCIterator
    from warcio.bufferedreaders import ChunkedDataReader
    from warcio.exceptions import ArchiveLoadFailed
except ImportError:
    raise ConfigError(f"reading an archive needs the extra `warc`: {extra('warc')}") from None

log = structlog.get_logger()

_ARC = (".arc", ".arc.gz")
_ENDINGS = (".warc", ENDING, *_ARC)
_is_archive = re.compile(r".*\.(w?arc(\.(gz|zst|bz2|xz|zip))?|wacz)").fullmatch
_PAGES = frozenset({"response", "revisit"})
_PARTS = frozenset({"resource", "continuation", None})  # of pages; None: the head is damaged; conversions repeat pages
_CHUNKED = "transfer-encoding"
_SOFTWARE = f"software: {DISTRIBUTION}/".encode()  # in the first record of a file of ours


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


def files_of(source: Path, left_out: Counter[str]) -> list[Path]:
    """Return the files of an archive: a file, or those of a folder, where what killed workers have left is repaired.
    Count those of the folder that cannot be read. Raise `UsageError` if there are none."""
    if source.is_file():
        return [source]
    try:
        repair(source)
    except OSError as error:
        log.warning("archive_not_repaired", folder=str(source), why=error.strerror)
    files = sorted(path for path in source.glob("*") if path.name.endswith(_ENDINGS))
    if writing := [path.name for path in source.glob(f"*{ENDING}{OPEN}")]:
        left_out["unread/open"] += len(writing)
        log.warning("archive_still_written", files=writing, why="workers write to them, so they are not read")
    if not files:
        raise UsageError(
            f"{source}: no such file, or no folder with WARC files (*{ENDING}) or with a page cache (HTTPCACHE_DIR)"
        )
    return files


def others_of(source: Path, files: Collection[Path]) -> list[Path]:
    """Return what else in the folder looks like a file of an archive, also in the folders below."""
    return [path for path in source.rglob("*") if _is_archive(path.name) and path not in files]


class ArchiveReader:
    """Implements `Pages` on some files."""

    def __init__(self, sources: Sequence[Path], *, job: str, most_bytes: int, parse_limits: ParseLimits) -> None:
        """`sources`: files and folders. `job`: read the pages of this job alone; empty: of all. `most_bytes`: of a
        decoded body. Raise `UsageError` for a source without files."""
        self.left_out: Counter[str] = Counter()
        self._files = [file for source in sources for file in files_of(source, self.left_out)]
        self.files = len(self._files)
        self._say_others([other for source in sources for other in others_of(source, set(self._files))])
        self._job = job
        self._most = most_bytes
        self._parse_limits = parse_limits
        self._visited: dict[bytes, Visited] = {}  # by request
        self._by_url: dict[bytes, Visited] = {}
        self._bodies: dict[str, Spot] = {}  # digest → a response with that body
        self._stream: BinaryIO | None = None  # of the file that was read last
        self._is_ours = False  # the file that is scanned, as far as its last `warcinfo` goes: files may be joined
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

    def _say_others(self, others: Sequence[Path]) -> None:
        if others:
            self.left_out["unread/other_files"] += len(others)
            why = "compressed in another way, or in a folder below"
            log.warning("archive_not_read", number=len(others), files=[str(one) for one in others[:10]], why=why)

    def _scan(self, file: Path) -> None:
        found: dict[str, _Found] = {}  # by the id of the response
        last, self._is_ours = _Last(), False
        try:
            with file.open("rb") as stream:
                records = _records(file, stream)
                for record in records:
                    last = _Last(last.number + 1, record, records.reader.decompressor)
                    self._look_at(record, Spot(file, records.offset), found)
                cut = last.cut or _cut(records, file)
        except OSError as error:
            raise UsageError(f"{file}: {error.strerror or error}") from None
        except (ArchiveLoadFailed, EOFError, ValueError) as error:
            if last.record is None:
                raise UsageError(f"{file} is no WARC file") from None
            cut = f"what comes after cannot be read: {error}"
        if cut:
            self._say_cut(file, last, found, cut)
        for one in found.values():
            if one.queued or not one.is_ours:
                self._keep(one)
            elif not cut:  # the worker was killed before its commit
                self.left_out["unread/torn"] += 1

    def _say_cut(self, file: Path, last: _Last, found: dict[str, _Found], why: str) -> None:
        """Tell that not all of a file can be read. A last record that is not whole takes its page along."""
        self.left_out["unread/cut"] += 1
        log.warning("archive_cut", file=str(file), records=last.number, why=why)
        if last.record is not None and not last.is_whole:
            for name in ("WARC-Record-ID", "WARC-Concurrent-To"):
                found.pop(last.record.rec_headers.get_header(name), None)

    def _look_at(self, record: Any, spot: Spot, found: dict[str, _Found]) -> None:
        headers = record.rec_headers
        if record.rec_type in _PAGES or record.rec_type in _PARTS:
            self._look_at_page(record, spot, found)
            return
        if record.rec_type == "warcinfo":
            self._is_ours = _SOFTWARE in record.raw_stream.read()
        its = found.get(headers.get_header("WARC-Concurrent-To") or "")
        if its is None:
            return
        if record.rec_type == "request":
            its.is_get = record.raw_stream.read(4) == b"GET "
        elif headers.get_header("Content-Type") == QUEUED:
            its.queued, its.said = spot, record.raw_stream.read()

    def _look_at_page(self, record: Any, spot: Spot, found: dict[str, _Found]) -> None:
        headers = record.rec_headers
        target = (headers.get_header("WARC-Target-URI") or "").strip("<>")
        if not _is_of_the_web(target):  # such as a DNS record
            return
        if record.rec_type not in _PAGES or not _is_http(record):
            self.left_out["unread/no_answer"] += 1
            return
        digest = headers.get_header("WARC-Payload-Digest") or ""
        if record.rec_type == "response" and digest:
            self._bodies.setdefault(digest, spot)
        try:
            found[headers.get_header("WARC-Record-ID")] = _Found(canonical(target), spot, self._is_ours)
        except BadUrl as error:
            self.left_out["unread/bad_url"] += 1
            log.warning("archived_url_refused", why=str(error))

    def _keep(self, one: _Found) -> None:
        said = _decode(one.said) if one.said else None
        if self._job and (said is None or said.job != self._job):
            self.left_out["unread/other_job"] += 1
            return
        visited = Visited(one.spot, one.queued)
        if one.is_get:
            self._by_url[_key(one.url.encode())] = visited
        elif not said:
            self.left_out["unread/form"] += 1  # nobody tells who read the answer
            return
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
            url = self._record(visited.response).rec_headers.get_header("WARC-Target-URI").strip("<>")
            return StoredPage(replace(BLANK, url=canonical(url)), answer)
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
        return next(iter(_records(spot.file, self._stream)))

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

    def __init__(self, url: str, spot: Spot, is_ours: bool) -> None:
        self.url = url
        self.is_ours = is_ours
        self.spot = spot
        self.is_get = True
        self.queued: Spot | None = None
        self.said = b""


class _Last(NamedTuple):
    """The last record of a file that was read."""

    number: int = 0
    record: Any = None
    packed: Any = None  # what decompresses its gzip member; None: the file has none

    @property
    def is_whole(self) -> bool:
        """Whether its block is as long as it says."""
        return not getattr(self.record.raw_stream, "limit", 1)  # a head that breaks off has no length

    @property
    def cut(self) -> str:
        """How the file breaks off here; empty if it does not. To be asked at the end of the file."""
        if self.record is None:
            return "the file is empty"
        is_end = self.is_whole and (self.packed is None or self.packed.eof)
        return "" if is_end else f"record {self.number:,} is damaged or breaks off, and nothing can be read behind it"


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


def _is_of_the_web(url: str) -> bool:
    """Whether a record belongs to a page; one without a URL may."""
    return url.partition(":")[0].lower() in ("http", "https", "")


def _cut(records: Any, file: Path) -> str:
    """What is missing of a file whose last record is whole; empty if nothing is. To be asked at its end."""
    if records.err_count:
        return f"damaged at {records.err_count:,} places: what stands there is no record"
    return "" if records.offset == file.stat().st_size else "the next record breaks off"


def _records(file: Path, stream: BinaryIO) -> Any:
    """Iterate over the records from where the stream is."""
    if file.name.endswith(_ARC):
        return ARCIterator(stream, no_record_parse=True, arc2warc=True)
    return ArchiveIterator(stream, no_record_parse=True)


def _key(content: bytes) -> bytes:
    return blake2b(content, digest_size=16).digest()


_decode = msgspec.json.Decoder(_Queued).decode
