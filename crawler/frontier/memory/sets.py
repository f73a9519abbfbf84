"""The commands for sets and sorted sets."""

from __future__ import annotations

from redis.exceptions import ResponseError

from crawler.frontier.memory.arguments import (
    bound_of,
    indexes_of,
    integer,
    members_of,
    needed,
    score_of,
    shown_score,
    unknown,
)
from crawler.frontier.memory.keyspace import Keyspace
from crawler.frontier.memory.values import SortedSet


class Sets(Keyspace):
    """The commands for sets and sorted sets; arguments and replies as on the wire."""

    def cmd_sadd(self, key: bytes, *members: bytes) -> int:
        needed(members, "sadd")
        found = self._make(key, set)
        before = len(found)
        found.update(members)
        return len(found) - before

    def cmd_srem(self, key: bytes, *members: bytes) -> int:
        needed(members, "srem")
        found = self._get(key, set)
        before = len(found)
        found.difference_update(members)
        self._tidy(key, found)
        return before - len(found)

    def cmd_sismember(self, key: bytes, member: bytes) -> int:
        return int(member in self._get(key, set))

    def cmd_smembers(self, key: bytes) -> list[bytes]:
        return list(self._get(key, set))

    def cmd_zadd(self, key: bytes, *arguments: bytes) -> int:
        """Returns how many are new."""
        flags = set()
        while arguments and arguments[0].upper() in (b"NX", b"XX", b"LT"):
            flags.add(arguments[0].upper())
            arguments = arguments[1:]
        if not arguments or len(arguments) % 2:
            raise ResponseError("syntax error")
        scores = [score_of(score) for score in arguments[::2]]
        found = self._get(key, SortedSet)
        before = len(found)
        for score, member in zip(scores, arguments[1::2], strict=True):
            old = found.scores.get(member)
            if (b"XX" in flags) if old is None else (b"NX" in flags or (b"LT" in flags and score >= old)):
                continue
            found.put(member, score)
        if found:
            self._values[key] = found
        return len(found) - before

    def cmd_zrem(self, key: bytes, *members: bytes) -> int:
        needed(members, "zrem")
        found = self._get(key, SortedSet)
        count = sum(found.drop(member) for member in members)
        self._tidy(key, found)
        return count

    def cmd_zscore(self, key: bytes, member: bytes) -> bytes | None:
        score = self._get(key, SortedSet).scores.get(member)
        return None if score is None else shown_score(score)

    def cmd_zcard(self, key: bytes) -> int:
        return len(self._get(key, SortedSet))

    def cmd_zcount(self, key: bytes, low: bytes, high: bytes) -> int:
        bounds = bound_of(low), bound_of(high)
        return len(self._get(key, SortedSet).between(*bounds))

    def cmd_zrange(self, key: bytes, start: bytes, stop: bytes, *options: bytes) -> list[bytes]:
        if options not in ((), (b"WITHSCORES",)):
            raise unknown(*options)
        bounds = integer(start), integer(stop)
        found = self._get(key, SortedSet)
        indexes = indexes_of(len(found), *bounds)
        return members_of(found.order.islice(indexes.start, indexes.stop), bool(options))

    def cmd_zrevrange(self, key: bytes, start: bytes, stop: bytes) -> list[bytes]:
        bounds = integer(start), integer(stop)
        found = self._get(key, SortedSet)
        indexes, length = indexes_of(len(found), *bounds), len(found)
        return members_of(found.order.islice(length - indexes.stop, length - indexes.start, reverse=True))

    def cmd_zrangebyscore(self, key: bytes, low: bytes, high: bytes, *limit: bytes) -> list[bytes]:
        bounds, most = (bound_of(low), bound_of(high)), _limit(*limit)
        found = self._get(key, SortedSet)
        indexes = found.between(*bounds)[:most]
        return members_of(found.order.islice(indexes.start, indexes.stop))

    def cmd_zrevrangebyscore(self, key: bytes, high: bytes, low: bytes, *limit: bytes) -> list[bytes]:
        bounds, most = (bound_of(low), bound_of(high)), _limit(*limit)
        found = self._get(key, SortedSet)
        indexes = found.between(*bounds)[::-1][:most]
        return members_of(found.order.islice(indexes.stop + 1, indexes.start + 1, reverse=True))

    def cmd_zpopmin(self, key: bytes, count: bytes = b"1") -> list[bytes]:
        most = integer(count)
        found = self._get(key, SortedSet)
        first = list(found.order.islice(0, most))
        for _, member in first:
            found.drop(member)
        self._tidy(key, found)
        return members_of(first, True)


def _limit(*limit: bytes) -> int | None:
    """How many members a command may return at most; None: all."""
    if limit and (limit[0].upper(), limit[1]) != (b"LIMIT", b"0"):
        raise unknown(*limit)
    return integer(limit[2]) if limit else None
