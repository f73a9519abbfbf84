"""Pages that were kept and can be read again: those of an archive, or of the page cache."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from crawler.model import Request
from crawler.response import Response


class StoredPage(NamedTuple):
    """A page as it was asked for."""

    request: Request
    answer: Callable[[Request], Response]  # what a request for it gets, as a worker got it; raises `FetchError`
    is_told: bool = False  # whether it is known who read it
    attempt: int = 0  # failed tries before
    seconds: float = 0.0  # that it took


class Pages(Protocol):
    """All pages that are read again."""

    files: int  # or folders, in which they lie
    asked: Counter[tuple[str, str]]  # (spider, callback) → pages; empty: nobody tells
    again: int  # visits that a later one of the same request replaces
    unreadable: int  # pages of which nobody can tell what was asked for
    left_out: Counter[str]  # what is not read, by its counter (`unread/…`)

    def __len__(self) -> int:
        """How many there are."""

    def scan(self) -> None:
        """Find where they lie. Raise `UsageError` for what holds none."""

    def __iter__(self) -> Iterator[StoredPage]:
        """Yield them in the order of their first visits."""

    def of(self, url: str) -> StoredPage | None:
        """Return the last visit of a canonical URL by GET."""

    def has(self, request: Request) -> bool:
        """Return whether exactly this request was made."""

    def close(self) -> None:
        """Close the files."""
