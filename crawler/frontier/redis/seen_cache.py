"""A bounded cache of URLs that the frontier knows, so that a worker need not send most links of a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import filterfalse

from crawler.frontier.rules import KNOWN_KEPT
from crawler.model import Request


class SeenCache:
    """Remembers at least the last `capacity` URLs. Forgetting one costs a call to the server, nothing else.

    It remembers a URL that was added for a callback other than `parse` for that callback alone (`known_as`), because
    the server must see each callback that a URL is requested with.
    """

    def __init__(self, capacity: int = KNOWN_KEPT) -> None:
        self._capacity = capacity
        self._young: set[str] = set()
        self._old: set[str] = set()

    def __contains__(self, url: str) -> bool:
        return url in self._young or url in self._old

    def without(self, requests: Sequence[Request]) -> list[Request]:
        """Return the requests that may be new, and those that need a check because they are more than a URL."""
        young, old = self._young, self._old
        return [
            request
            for request in requests
            if (
                (key := request.url if request.callback == "parse" else known_as(request)) not in young
                and key not in old
            )
            or request.dont_filter  # from here on inlined, to save a call for each of a page's many links
            or request.redirects
            or request.body
            or request.method != "GET"
            or request.meta
            or request.headers
            or request.priority
            or request.delay
        ]

    def without_urls(self, urls: Sequence[str]) -> list[str]:
        """Return the URLs that may be new."""
        return list(filterfalse(self._old.__contains__, filterfalse(self._young.__contains__, urls)))

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def update(self, urls: Iterable[str]) -> None:
        """Remember URLs that were admitted, now or before."""
        self._young.update(urls)
        if len(self._young) >= self._capacity:
            self._old, self._young = self._young, set()


def known_as(request: Request) -> str:
    """The text by which the cache remembers a simple request."""
    return request.url if request.callback == "parse" else f"{request.callback} {request.url}"


def is_simple(request: Request) -> bool:
    """Whether its URL and callback alone decide if it is known. A redirect may also bring a host into scope."""
    return not (request.dont_filter or request.redirects or request.body) and request.method == "GET"
