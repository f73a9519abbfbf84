"""Files by their content, with an index by URL: the same bytes are kept once, and a URL is fetched once for all items.

    ab/cdef….jpg         a file: the SHA-256 of its bytes, and how its name ends (see `endings.py`)
    thumbs/small/ab/cdef….jpg   a thumbnail of the image ab/cdef…
    urls/12/3456….json   what a URL gave: the SHA-256 of the URL leads there

The index is written after the file, so it never names one that is not there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import NamedTuple

import msgspec
from msgspec import Struct

from crawler.interfaces import FileStore

DAY = 86_400.0


class Kept(Struct, frozen=True):
    """A file that the store has."""

    url: str
    path: str  # in the store
    checksum: str  # SHA-256 of the bytes, in hexadecimal
    at: float  # Unix seconds, when it was fetched


class UnusableFile(Exception):
    """A file that is not kept. `status` says why in a word."""

    def __init__(self, status: str, why: str) -> None:
        super().__init__(why)
        self.status = status


class Shaped(NamedTuple):
    """A file as it is kept."""

    body: bytes
    ending: str = ""  # of its name; empty: as its content type says
    thumbs: Mapping[str, bytes] = {}  # JPEGs, by name


class Library:
    """The files of one kind. Its methods block."""

    def __init__(self, store: FileStore, index: str, days: float, clock: Callable[[], float] = time.time) -> None:
        """`index` names the folder of the index within the store. What is older than `days` is fetched again."""
        self.store = store
        self._index = index
        self._seconds = days * DAY
        self._clock = clock

    def known(self, url: str) -> Kept | None:
        """Return the file that the URL gave lately; None if it is to be fetched. Raise `OSError`."""
        written = self.store.get(self._index_of(url))
        try:
            kept = msgspec.json.decode(written or b"null", type=Kept | None)
        except ValueError:  # somebody else has written it
            return None
        is_fresh = kept is not None and kept.url == url and self._clock() - kept.at < self._seconds
        return kept if kept is not None and is_fresh and self.store.has(kept.path) else None

    def keep(self, url: str, body: bytes, end: str, thumbs: Mapping[str, bytes] = {}) -> Kept:
        """Store what the URL gave, under a name that ends with `end`, and thumbnails by name. Raise `OSError`."""
        checksum = sha256(body).hexdigest()
        path = f"{_folded(checksum)}{end}"
        for name, thumb in thumbs.items():
            self.store.put(f"thumbs/{name}/{_folded(checksum)}.jpg", thumb)
        if not self.store.has(path):
            self.store.put(path, body)
        kept = Kept(url, path, checksum, self._clock())
        self.store.put(self._index_of(url), msgspec.json.encode(kept))
        return kept

    def _index_of(self, url: str) -> str:
        return f"{self._index}/{_folded(sha256(url.encode()).hexdigest())}.json"


def _folded(digest: str) -> str:
    return f"{digest[:2]}/{digest[2:]}"
