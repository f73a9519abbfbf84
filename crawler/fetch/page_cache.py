"""Pages on disk, for whoever develops a spider (HTTPCACHE_ENABLED): each answer is one file, whatever process wrote it.

A file has one line of JSON about the answer, then the body. Its name is a hash of what was asked for, so nothing of it
comes from the network. It appears whole or not at all; one that is damaged or another's counts as missing.
"""

from __future__ import annotations

import os
import re
import secrets
import time
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

import msgspec
import structlog
from msgspec import Struct

from crawler.errors import ConfigError
from crawler.interfaces import HIT
from crawler.model import Request
from crawler.parsing.headers import Headers
from crawler.parsing.limits import ParseLimits
from crawler.response import Response
from crawler.runtime.incident import Incident

log = structlog.get_logger()

_VERSION = 1
_MATTERING = ("accept", "accept-language", "authorization", "content-type", "cookie", "range", "x-requested-with")
_GZIP = 31  # zlib's word for a gzip wrapper with the largest window
_HEAD_BYTES = 1_000_000  # of the first line at most; the fetcher bounds an answer's head far below
MOST_ASKED = 100  # requests of one page that are read; one more is stored, to show that there were more
_TAG, _UNFINISHED = "CACHEDIR.TAG", "unfinished"
_LEFT_SECONDS = 3_600.0  # after which an unfinished file is one that a killed process has left


class _Head(Struct):
    """The first line of a file."""

    version: int
    method: str
    url: str
    status: int
    headers: Mapping[str, str | Sequence[str]]
    address: str  # that answered
    at: float  # when it was stored: Unix seconds
    size: int  # bytes of the body, without gzip
    digest: str  # of the body


class PageCache:
    """The pages of a folder. Several processes may use it at once."""

    def __init__(
        self, folder: Path, *, seconds: float, most_bytes: int, parse_limits: ParseLimits, gzip: bool = False
    ) -> None:
        """A page is kept for `seconds` (0: for ever); `most_bytes` is the largest body. Raise `ConfigError` for a
        folder that cannot be written."""
        self._folder = folder
        self._seconds = seconds
        self._most = most_bytes
        self._parse_limits = parse_limits
        self._gzip = gzip
        self._unwritten = Incident("page_cache_not_written")
        self._has_said = False
        self._prepare()

    def key(self, request: Request, sent: Mapping[str, str]) -> str:
        """Return the name for a request: of its method, URL and body, and of those of the header fields `sent` that
        choose among answers or belong to one user."""
        fields = {name.lower(): value for name, value in sent.items()}
        mattering = [f"{name}: {fields[name]}" for name in _MATTERING if name in fields]
        asked = msgspec.json.encode([request.method, request.url, mattering])
        return blake2b(asked + b"\n" + request.body, digest_size=16).hexdigest()

    def read(self, key: str, request: Request) -> Response | None:
        """Return the stored answer; None if there is none, or none that can be used."""
        try:
            return self.load(key, request)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, zlib.error) as error:
            self._say_unreadable(self.path(key), error)
            return None

    def load(self, key: str, request: Request) -> Response:
        """Return the stored answer. Raise `FileNotFoundError` if there is none or it is too old, `OSError`, and
        `ValueError` or `zlib.error` if it cannot be used."""
        with self.path(key).open("rb") as file:
            line = file.readline(_HEAD_BYTES)
            head = msgspec.json.decode(line, type=_Head)
            if (head.version, head.method, head.url) != (_VERSION, request.method, request.url):
                raise ValueError("it is the answer to another request")
            if self._seconds and not 0 <= time.time() - head.at <= self._seconds:
                raise FileNotFoundError
            body = self._body(file.read(self._most + _HEAD_BYTES), head)
        return self._response(head, body, request)

    def names(self) -> list[str]:
        """Return the names of all pages, those first that were stored first."""
        name = re.compile(r"[0-9a-f]{32}\.gz" if self._gzip else r"[0-9a-f]{32}")
        files = [file for file in self._folder.glob("??/*") if name.fullmatch(file.name)]
        return [file.name.removesuffix(".gz") for file in sorted(files, key=lambda file: file.stat().st_mtime_ns)]

    def asked_for(self, key: str) -> tuple[str, str]:
        """Return the method and the URL of a page. Raise `OSError`, and `ValueError` for a foreign file."""
        with self.path(key).open("rb") as file:
            head = msgspec.json.decode(file.readline(_HEAD_BYTES), type=_Head)
        return head.method, head.url

    def note(self, key: str, asking: bytes) -> None:
        """Note a request that asked for the page, one line of bytes, unless that is known or many are. Empty: note that
        no spider asked for it so far."""
        path = self._notes(key)
        try:
            known = self.asked(key) or []
            if asking not in known and len(known) <= MOST_ASKED:
                path.parent.mkdir(exist_ok=True)
                with path.open("ab") as file:
                    file.write(asking + b"\n" if asking else b"")
        except OSError as error:
            self._not_written(error)

    def asked(self, key: str) -> list[bytes] | None:
        """Return the requests that asked for the page, the first ones first; None if nobody noted whether any did.
        Raise `OSError`."""
        try:
            return self._notes(key).read_bytes().split(b"\n")[:-1]
        except FileNotFoundError:
            return None

    def write(self, key: str, response: Response) -> bool:
        """Store the answer. Return False if the disk refuses; the log says so once."""
        headers = {name: response.headers.getlist(name) for name in response.headers}
        body = response.body
        head = _Head(
            version=_VERSION,
            method=response.request.method,
            url=response.url,
            status=response.status,
            headers=headers,
            address=response.address,
            at=time.time(),
            size=len(body),
            digest=_digest(body),
        )
        stored = _packed(body) if self._gzip else body
        try:
            self._lay_down(key, msgspec.json.encode(head) + b"\n" + stored)
        except OSError as error:
            self._not_written(error)
            return False
        self._unwritten.over()
        return True

    def path(self, key: str) -> Path:
        """Return where the page is stored."""
        return self._folder / key[:2] / f"{key}{'.gz' if self._gzip else ''}"

    def _notes(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.asked"

    def _not_written(self, error: OSError) -> None:
        self._unwritten.met(f"{self._folder}: {error.strerror}: the crawl goes on without storing pages")

    def _lay_down(self, key: str, content: bytes) -> None:
        """Write the file elsewhere first, because a killed process may leave a part of it."""
        unfinished = self._folder / _UNFINISHED / secrets.token_hex(8)
        path = self.path(key)
        try:
            unfinished.write_bytes(content)
            path.parent.mkdir(exist_ok=True)
            unfinished.replace(path)
        except OSError:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)
            raise

    def _body(self, stored: bytes, head: _Head) -> bytes:
        body = stored
        if self._gzip:
            body = zlib.decompressobj(_GZIP).decompress(stored, min(head.size, self._most) + 1)
        if len(body) != head.size or _digest(body) != head.digest:
            raise ValueError("its body is not whole")
        return body

    def _response(self, head: _Head, body: bytes, request: Request) -> Response:
        response = Response(
            request.url,
            status=head.status,
            headers=Headers.in_lower_case(head.headers),
            body=body,
            request=request,
            address=head.address,
            parse_limits=self._parse_limits,
        )
        response.cache, response.flags = HIT, ["cached"]
        return response

    def _say_unreadable(self, path: Path, error: Exception) -> None:
        if not self._has_said:
            why = f"{path}: {error}; such pages are fetched again, and the next ones are not named"
            log.warning("page_cache_unreadable", why=why)
            self._has_said = True

    def _prepare(self) -> None:
        """Make the folder, with a mark for backups and for git, and remove what killed processes have left."""
        unfinished = self._folder / _UNFINISHED
        try:
            unfinished.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder.chmod(0o700)  # pages of a login are as private as the login
            _mark(self._folder / ".gitignore", "*\n")
            _mark(self._folder / _TAG, "Signature: 8a477f597d28d172789f06886806bc55\n")
            for file in unfinished.iterdir():
                if time.time() - file.stat().st_mtime > _LEFT_SECONDS:
                    file.unlink(missing_ok=True)
        except FileNotFoundError:
            pass  # another process has removed it
        except OSError as error:
            raise ConfigError(f"HTTPCACHE_DIR {self._folder}: pages cannot be stored there: {error.strerror}") from None
        if not os.access(unfinished, os.W_OK):
            raise ConfigError(f"HTTPCACHE_DIR {self._folder}: this user may not write there")


def is_cache(folder: Path) -> bool:
    """Return whether the folder is one of a page cache."""
    return (folder / _TAG).is_file() and (folder / _UNFINISHED).is_dir()


def _mark(file: Path, text: str) -> None:
    if not file.exists():
        file.write_text(text)


def _digest(body: bytes) -> str:
    return blake2b(body, digest_size=16).hexdigest()


def _packed(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=_GZIP)
    return packer.compress(body) + packer.flush()
