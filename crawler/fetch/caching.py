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
    ) -> None:
        """`sent` returns the header fields that a request is sent with. Statuses `not_stored`, and URLs of these
        `schemes`, pass by the cache. `only_cached`: never ask; what is missing raises `FetchError`."""
        self._fetcher = fetcher
        self._cache = cache
        self._sent = sent
        self._not_stored = frozenset(not_stored)
        self._schemes = frozenset(schemes)
        self._only_cached = only_cached

    async def fetch(self, request: Request) -> Response:
        """Fetch the page. `response.cache` says what the cache has to do with it. Raises `FetchError`."""
        if request.meta.get("dont_cache") or request.url.partition(":")[0] in self._schemes:
            return await self._fetcher.fetch(request)
        key = self._cache.key(request, self._sent(request))
        stored = self._cache.read(key, request)
        if stored is not None:
            return stored
        if self._only_cached:
            return _missing(request)
        response = await self._fetcher.fetch(request)
        is_worth = response.status not in self._not_stored and not response.cut
        response.cache = "stored" if is_worth and self._cache.write(key, response) else "miss"
        return response

    async def close(self) -> None:
        """Close the connections."""
        await self._fetcher.close()


def _missing(request: Request) -> Response:
    """Raise `FetchError`; a robots.txt that is missing allows everything, because no host will be asked."""
    if request.url == f"{origin_of(request.url)}/robots.txt":
        response = Response(request.url, status=404, request=request)
        response.cache = HIT
        return response
    why = f"{request.url}: not in the page cache, and HTTPCACHE_IGNORE_MISSING is set"
    raise FetchError(NOT_CACHED, why, transient=False)
