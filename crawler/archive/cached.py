"""Reads the pages of the page cache again (HTTPCACHE_DIR), each for the requests that asked for it."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import structlog
from msgspec.structs import replace

from crawler.archive.pages import StoredPage
from crawler.errors import FetchError
from crawler.fetch.caching import is_robots_txt
from crawler.fetch.page_cache import MOST_ASKED, PageCache
from crawler.frontier import message
from crawler.model import BLANK, Request
from crawler.parsing.limits import ParseLimits
from crawler.response import Response

log = structlog.get_logger()


class CachedPages:
    """Implements `Pages` on some folders."""

    def __init__(self, folders: Sequence[Path], *, most_bytes: int, parse_limits: ParseLimits) -> None:
        """`most_bytes`: of a body. Raise `ConfigError` for a folder that cannot be used."""
        self.files = len(folders)
        self._caches = [
            PageCache(folder, seconds=0, most_bytes=most_bytes, parse_limits=parse_limits, gzip=gzip)
            for folder in folders
            for gzip in (False, True)
        ]
        self._kept: dict[bytes, StoredPage] = {}  # by request
        self._by_url: dict[str, StoredPage] = {}
        self.asked: Counter[tuple[str, str]] = Counter()
        self.again = 0
        self.unreadable = 0
        self.left_out: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._kept)

    def scan(self) -> None:
        """Look at all files. Where the requests of no page were noted, `parse` reads each."""
        found = [(cache, key, cache.asked(key)) for cache in self._caches for key in cache.names()]
        is_told = any(told for _, _, told in found)
        for cache, key, told in found:
            self.left_out["unread/requests"] += len(told or ()) > MOST_ASKED
            for one in (told or [b""])[:MOST_ASKED]:
                try:
                    if one or not is_told:
                        self._keep(cache, key, one)
                    else:
                        self._leave_out(cache, key, "not_noted" if told is None else "no_spider")
                except (OSError, ValueError) as error:
                    self.unreadable += 1
                    log.warning("page_cache_unreadable", why=f"{cache.path(key)}: {error}")

    def __iter__(self) -> Iterator[StoredPage]:
        """Yield the pages, in the order in which they were stored."""
        return iter(list(self._kept.values()))

    def of(self, url: str) -> StoredPage | None:
        """Return the page that was stored last for a canonical URL, by GET."""
        return self._by_url.get(url)

    def has(self, request: Request) -> bool:
        """Return whether exactly this request was made."""
        return _key(request) in self._kept

    def close(self) -> None:
        """Do nothing: no file is open."""

    def _leave_out(self, cache: PageCache, key: str, why: str) -> None:
        if not is_robots_txt(replace(BLANK, url=cache.asked_for(key)[1])):
            self.left_out[f"unread/{why}"] += 1

    def _keep(self, cache: PageCache, key: str, told: bytes) -> None:
        """Take in a page for one of its requests; none: for `parse`. Raise `ValueError` and `OSError`."""
        if told:
            request = message.decode(told).request
        else:
            method, url = cache.asked_for(key)
            request = replace(BLANK, url=url)
            self.left_out["unread/form"] += method != "GET"
            if method != "GET" or is_robots_txt(request):
                return
        kept = StoredPage(request, partial(_answer, cache, key), bool(told))
        self.again += _key(request) in self._kept
        self._kept[_key(request)] = kept
        self.asked[request.spider, request.callback] += 1
        if request.method == "GET":
            self._by_url[request.url] = kept


def _key(request: Request) -> bytes:
    return message.identity(message.encode(request))


def _answer(cache: PageCache, key: str, request: Request) -> Response:
    try:
        return cache.load(key, request)
    except (OSError, ValueError, zlib.error) as error:
        raise FetchError("archive", f"{request.url}: {cache.path(key)}: {error}", transient=False) from None
