"""A `Fetcher` that asks the page cache first (HTTPCACHE_ENABLED). It stands inside all middlewares, before the lease.

What would be tried again (RETRY_HTTP_CODES) is not stored, and neither is an answer that broke off.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from crawler.errors import FetchError
from crawler.fetch.page_cache import PageCache
from crawler.interfaces import HIT, NOT_CACHED, Fetcher
from crawler.model import Request
from crawler.parsing.url import origin_of
from crawler.response import Response


class CachingFetcher:
    """Answers from the cache, or asks `fetcher` and stores what it says."""

    def __init__(
        self,
        fetcher: Fetcher,
        cache: PageCache,
        sent: Callable[[Request], Mapping[str, str]],
        *,
        not_stored: Collection[int] = (),
        schemes: Collection[str] = (),
        only_cached: bool = False,
        noted: Callable[[Request], bytes] | None = None,
    ) -> None:
        """`sent` returns the header fields that a request is sent with. Statuses `not_stored`, and URLs of these
        `schemes`, bypass the cache. `only_cached`: never ask; what is missing raises `FetchError`. `noted` returns the
        request as it is noted beside its page, so that `extract` knows who read it."""
        self._fetcher = fetcher
        self._cache = cache
        self._sent = sent
        self._not_stored = frozenset(not_stored)
        self._schemes = frozenset(schemes)
        self._only_cached = only_cached
        self._noted = noted

    async def fetch(self, request: Request) -> Response:
        """Fetch the page. `response.cache` says what the cache has to do with it. Raises `FetchError`."""
        if request.meta.get("dont_cache") or request.url.partition(":")[0] in self._schemes:
            return await self._fetcher.fetch(request)
        key = self._cache.key(request, self._sent(request))
        stored = self._cache.read(key, request)
        if stored is not None:
            if request.spider:
                self._note(key, request)
            return stored
        if self._only_cached:
            return _missing(request)
        response = await self._fetcher.fetch(request)
        is_worth = response.status not in self._not_stored and not response.cut
        response.cache = "stored" if is_worth and self._cache.write(key, response) else "miss"
        if response.cache == "stored":
            self._note(key, request)
        return response

    def _note(self, key: str, request: Request) -> None:
        """Note who reads the page, or that no spider does."""
        if self._noted is not None and not is_robots_txt(request):
            self._cache.note(key, self._noted(request) if request.spider else b"")

    async def close(self) -> None:
        """Close the connections."""
        await self._fetcher.close()


def is_robots_txt(request: Request) -> bool:
    """Return whether the request is for the rules of a host, which no spider reads."""
    return request.url == f"{origin_of(request.url)}/robots.txt"


def _missing(request: Request) -> Response:
    """Raise `FetchError`; a robots.txt that is missing allows everything, because no host will be asked."""
    if is_robots_txt(request):
        response = Response(request.url, status=404, request=request)
        response.cache = HIT
        return response
    why = f"{request.url}: not in the page cache, and HTTPCACHE_IGNORE_MISSING is set"
    raise FetchError(NOT_CACHED, why, transient=False)
