"""A bounded memory of URLs the frontier knows already: most links of a page need not be sent at all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from crawler.frontier.rules import KNOWN_KEPT
from crawler.model import Request


class SeenCache:
    """Remembers at least the last `capacity` URLs. Forgetting one costs a question to the server, nothing else.

    A URL that was added for another callback than parse is remembered for that callback alone (`known_as`): the server
    must hear of each that asks for it.
    """

    def __init__(self, capacity: int = KNOWN_KEPT) -> None:
        self._capacity = capacity
        self._young: set[str] = set()
        self._old: set[str] = set()

    def __contains__(self, url: str) -> bool:
        return url in self._young or url in self._old

    def without(self, requests: Sequence[Request]) -> list[Request]:
        """Those that may be new, and those with more than a URL, which is checked."""
        young, old = self._young, self._old
        return [
            request
            for request in requests
            if (
                (key := request.url if request.callback == "parse" else known_as(request)) not in young
                and key not in old
            )
            or request.dont_filter  # from here on `is_simple`, without a call for each of a page's many links
            or request.redirects
            or request.body
            or request.method != "GET"
            or request.meta
            or request.headers
            or request.priority
            or request.delay
        ]

    def without_urls(self, urls: Sequence[str]) -> list[str]:
        """Those that may be new."""
        young, old = self._young, self._old
        return [url for url in urls if url not in young and url not in old]

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def update(self, urls: Iterable[str]) -> None:
        """Note URLs that have been admitted, now or before."""
        self._young.update(urls)
        if len(self._young) >= self._capacity:
            self._old, self._young = self._young, set()


def known_as(request: Request) -> str:
    """What a simple request is remembered by."""
    return request.url if request.callback == "parse" else f"{request.callback} {request.url}"


def is_simple(request: Request) -> bool:
    """Whether its URL and callback tell whether it is known. A redirect may also tell which hosts are in scope."""
    return not (request.dont_filter or request.redirects or request.body) and request.method == "GET"
