"""A bounded memory of URLs the frontier knows already: most links of a page need not be sent at all."""

from __future__ import annotations

from collections.abc import Iterable


class KnownUrls:
    """Remembers at least the last `capacity` URLs. Forgetting one costs a question to the server, nothing else."""

    def __init__(self, capacity: int = 50_000) -> None:
        self._capacity = capacity
        self._young: set[str] = set()
        self._old: set[str] = set()

    def __contains__(self, url: str) -> bool:
        return url in self._young or url in self._old

    def update(self, urls: Iterable[str]) -> None:
        """Note URLs that have been admitted, now or before."""
        self._young.update(urls)
        if len(self._young) >= self._capacity:
            self._old, self._young = self._young, set()
