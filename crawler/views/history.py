"""What a running crawl did lately: its rates, their trend, and when it may end. Pure: the caller brings the clock."""

from __future__ import annotations

from collections import deque
from itertools import pairwise

from msgspec import Struct

from crawler.status import JobStats

WINDOW = 60.0  # seconds that an estimate looks back
LATELY = 5.0  # seconds that a rate looks back
SETTLED = 10.0  # seconds of history without which there is no estimate
BARS = 20  # of the trend line
OUTPACED = 0.9  # new URLs for each URL that ends, from which on there is no estimate


class Moment(Struct, frozen=True):
    """The figures at one time (monotonic seconds)."""

    at: float
    pages: int
    bytes: int
    known: int
    ended: int


class Momentum(Struct, frozen=True):
    """The figures of a history."""

    pages_per_second: float = 0.0
    bytes_per_second: float = 0.0
    trend: tuple[float, ...] = ()  # pages per second, the latest last; each over a few seconds
    seconds_left: float | None = None  # None: nobody can tell, for example because more is found than fetched


class History:
    """Keeps the last minute of a job."""

    def __init__(self) -> None:
        self._seen: deque[Moment] = deque()

    def add(self, at: float, stats: JobStats) -> Momentum:
        """Add the state of the job at that time, and return its momentum."""
        counters, ended = stats.counters, stats.done + stats.dead + stats.dropped
        now = Moment(at, counters.get("pages", 0), counters.get("bytes", 0), stats.known, ended)
        self._seen.append(now)
        while now.at - self._seen[0].at > WINDOW:
            self._seen.popleft()
        lately = self._since(now.at - LATELY)
        return Momentum(
            pages_per_second=_rate(now.pages - lately.pages, now.at - lately.at),
            bytes_per_second=_rate(now.bytes - lately.bytes, now.at - lately.at),
            trend=tuple(self._trend(now)),
            seconds_left=self._left(now),
        )

    def _since(self, at: float) -> Moment:
        """The first moment that is not older."""
        return next(moment for moment in self._seen if moment.at >= at)

    def _trend(self, now: Moment) -> list[float]:
        step = WINDOW / BARS
        edges = [self._since(now.at - step * back) for back in range(BARS, -1, -1)]
        steps = [(before, after) for before, after in pairwise(edges) if after is not before]
        return [_rate(after.pages - before.pages, after.at - before.at) for before, after in steps]

    def _left(self, now: Moment) -> float | None:
        first = self._seen[0]
        ended, found = now.ended - first.ended, now.known - first.known
        if now.at - first.at < SETTLED or found >= OUTPACED * ended:
            return None
        return (now.known - now.ended) * (now.at - first.at) / (ended - found)


def _rate(count: int, seconds: float) -> float:
    return count / seconds if seconds > 0 else 0.0
