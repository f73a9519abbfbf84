"""What a key can hold beyond Python's own types, and the shape of a status reply."""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import Any, NamedTuple

from sortedcontainers import SortedList

LAST_SEQUENCE = 2**64 - 1  # sequence of an id in a stream


class Status(bytes):
    """A status reply; scripts see a table with `ok`."""


OK = Status(b"OK")


class SortedSet:
    """Members by (score, bytes)."""

    __slots__ = ("order", "scores")

    def __init__(self) -> None:
        self.scores: dict[bytes, float] = {}
        self.order: Any = SortedList()

    def __len__(self) -> int:
        return len(self.scores)

    def put(self, member: bytes, score: float) -> None:
        """Add it, or move it."""
        self.drop(member)
        self.scores[member] = score
        self.order.add((score, member))

    def drop(self, member: bytes) -> int:
        """Remove it and return how many were removed: 1 or 0."""
        score = self.scores.pop(member, None)
        if score is None:
            return 0
        self.order.remove((score, member))
        return 1

    def between(self, low: tuple[float, bool], high: tuple[float, bool]) -> range:
        """The indexes of the members with scores in these bounds; a bound is a score and whether it is excluded."""
        start = self._after(low[0]) if low[1] else self._rank(low[0])
        stop = self._rank(high[0]) if high[1] else self._after(high[0])
        return range(start, max(start, stop))

    def _rank(self, score: float) -> int:
        return int(self.order.bisect_left((score,)))

    def _after(self, score: float) -> int:
        return len(self.order) if score == math.inf else self._rank(math.nextafter(score, math.inf))


class Trim(NamedTuple):
    """How much of a stream to keep: from its `first` id on, or its last `length` entries and up to `slack` more."""

    first: tuple[int, int] | None = None
    length: int = 0
    slack: int = 0


class Stream:
    """Entries by id. A stream stays when its last entry is trimmed."""

    __slots__ = ("entries", "last")

    def __init__(self) -> None:
        self.entries: list[tuple[tuple[int, int], list[bytes]]] = []
        self.last = (0, 0)

    def between(self, first: tuple[int, int], end: tuple[int, int]) -> list[tuple[tuple[int, int], list[bytes]]]:
        """The entries from `first` on and before `end`."""
        return self.entries[self.index(first) : self.index(end)]

    def index(self, name: tuple[int, int]) -> int:
        """The index of the first entry that is not before that id."""
        return bisect_left(self.entries, (name,))

    def trim(self, limit: Trim) -> int:
        """Trim the stream and return how many entries were removed."""
        if limit.first is None:
            surplus = len(self.entries) - limit.length
            count = max(0, surplus) if surplus >= limit.slack else 0
        else:
            count = self.index(limit.first)
        del self.entries[:count]
        return count
