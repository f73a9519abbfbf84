"""The commands for lists."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import islice

from crawler.frontier.memory.arguments import (
    indexes_of,
    integer,
    needed,
    unknown,
)
from crawler.frontier.memory.keyspace import Keyspace


class Lists(Keyspace):
    """The commands for lists; arguments and replies as on the wire."""

    def cmd_lpush(self, key: bytes, *values: bytes) -> int:
        needed(values, "lpush")
        found = self._make(key, deque)
        found.extendleft(values)
        return len(found)

    def cmd_rpush(self, key: bytes, *values: bytes) -> int:
        needed(values, "rpush")
        found = self._make(key, deque)
        found.extend(values)
        return len(found)

    def cmd_lpop(self, key: bytes) -> bytes | None:
        return self._pop(key, deque.popleft)

    def cmd_rpop(self, key: bytes) -> bytes | None:
        return self._pop(key, deque.pop)

    def _pop(self, key: bytes, end: Callable[[deque[bytes]], bytes]) -> bytes | None:
        found = self._find(key, deque)
        if found is None:
            return None
        value = end(found)
        self._tidy(key, found)
        return value

    def cmd_rpoplpush(self, key: bytes, other: bytes) -> bytes | None:
        if self._find(key, deque) is None:
            return None
        self._find(other, deque)  # raises for a wrong type before anything is popped
        value = self.cmd_rpop(key)
        assert value is not None  # noqa: S101 - an empty list does not exist
        self.cmd_lpush(other, value)
        return value

    def cmd_llen(self, key: bytes) -> int:
        return len(self._get(key, deque))

    def cmd_lindex(self, key: bytes, index: bytes) -> bytes | None:
        found = self._find(key, deque)
        if found is None:
            return None
        at = integer(index)
        return found[at] if -len(found) <= at < len(found) else None

    def cmd_lrange(self, key: bytes, start: bytes, stop: bytes) -> list[bytes]:
        bounds = integer(start), integer(stop)
        found = self._get(key, deque)
        indexes = indexes_of(len(found), *bounds)
        if indexes.start <= len(found) - indexes.stop:
            return list(islice(found, indexes.start, indexes.stop))
        from_end = list(islice(reversed(found), len(found) - indexes.stop, len(found) - indexes.start))
        return from_end[::-1]

    def cmd_lpos(self, key: bytes, value: bytes) -> int | None:
        try:
            return self._get(key, deque).index(value)
        except ValueError:
            return None

    def cmd_lrem(self, key: bytes, count: bytes, value: bytes) -> int:
        if count != b"1":
            raise unknown(count)
        found = self._get(key, deque)
        try:
            found.remove(value)
        except ValueError:
            return 0
        self._tidy(key, found)
        return 1
