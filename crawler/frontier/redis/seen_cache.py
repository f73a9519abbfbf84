"""A bounded cache of URLs that the frontier knows, so that a worker need not send most links of a page."""

from __future__ import annotations

import secrets
import sys
from array import array
from collections.abc import Iterable, Sequence

from crawler.frontier.rules import CACHE_ENTRIES
from crawler.model import Request

WAYS = 8  # entries in which a number may lie; more make each lookup longer, fewer make the table forget sooner
FIRST_ENTRIES = 1_024
_SALT = secrets.token_hex(8)


def _salted(text: str) -> int:
    return hash(_SALT + text)


number_of = hash if sys.flags.hash_randomization else _salted
"""The number, signed and of 64 bits, that stands for a text in this process. An outsider who could compute it could
build a URL with another one's number, and so hide a page: Python's key is secret, unless PYTHONHASHSEED is 0."""


class SeenCache:
    """Remembers URLs by their numbers, in one flat table with entries of 8 bytes. The table doubles when half of them
    are taken, up to `most`. From then on a new URL may replace another, which is forgotten.

    Forgetting a URL costs a call to the server, nothing else. A wrong "known" would lose a URL: among a million known
    URLs the chance is 10^6 / 2^64 for each new one, far below that of the seen-set itself.

    It remembers a URL that was added for a callback other than `parse` for that callback alone (`known_as`), because
    the server must see each callback that a URL is requested with.
    """

    def __init__(self, most: int = CACHE_ENTRIES) -> None:
        self._most = most
        self._mask = FIRST_ENTRIES - 1
        self._table = array("q", bytes(8 * (FIRST_ENTRIES + WAYS)))
        self._taken = 0

    def __contains__(self, url: str) -> bool:
        return not self.without_urls((url,))

    def without(self, requests: Sequence[Request]) -> list[Request]:
        """Return the requests that may be new, and those that need a check because they are more than a URL."""
        table, mask = self._table, self._mask
        return [
            request
            for request in requests
            if (number := number_of(request.url if request.callback == "parse" else known_as(request)))
            not in table[(first := number & mask) : first + WAYS]
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
        table, mask = self._table, self._mask
        return [url for url in urls if (number := number_of(url)) not in table[(first := number & mask) : first + WAYS]]

    def __len__(self) -> int:
        """The number of entries, not of URLs: what it costs in memory."""
        return self._mask + 1

    def update(self, urls: Iterable[str]) -> None:
        """Remember URLs that were admitted, now or before."""
        for number in map(number_of, urls):
            first = number & self._mask
            if number not in self._table[first : first + WAYS]:
                self._table[self._entry_for(number, first)] = number
                if 2 * self._taken > len(self) < self._most:
                    self._double()

    def _entry_for(self, number: int, first: int) -> int:
        """The entry for a new number: a free one or one left over from a smaller table, else that of another number."""
        for entry in range(first, first + WAYS):
            if not 0 <= entry - (self._table[entry] & self._mask) < WAYS:
                self._taken += 1
                return entry
        return first + (number >> 40) % WAYS

    def _double(self) -> None:
        """Copy the table behind itself. Each number then lies where it belongs and in one other entry, which counts as
        free. That takes milliseconds; to sort a million numbers anew would stop the worker for a second."""
        del self._table[len(self) :]
        self._table *= 2
        self._table.extend([0] * WAYS)
        self._mask = 2 * self._mask + 1


def known_as(request: Request) -> str:
    """The text by which the cache remembers a simple request."""
    return request.url if request.callback == "parse" else f"{request.callback} {request.url}"


def is_simple(request: Request) -> bool:
    """Whether its URL and callback alone decide if it is known. A redirect may also bring a host into scope."""
    return not (request.dont_filter or request.redirects or request.body) and request.method == "GET"
