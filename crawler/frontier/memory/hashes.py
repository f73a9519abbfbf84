"""The commands for hashes."""

from __future__ import annotations

import random
from typing import Any

from redis.exceptions import ResponseError

from crawler.frontier.memory.arguments import (
    integer,
    needed,
    options_of,
    unknown,
)
from crawler.frontier.memory.keyspace import Keyspace


class Hashes(Keyspace):
    """The commands for hashes; arguments and replies as on the wire."""

    def cmd_hset(self, key: bytes, *pairs: bytes) -> int:
        needed(pairs, "hset", 2)
        found = self._make(key, dict)
        before = len(found)
        found.update(zip(pairs[::2], pairs[1::2], strict=True))
        return len(found) - before

    def cmd_hsetnx(self, key: bytes, field: bytes, value: bytes) -> int:
        found = self._make(key, dict)
        before = len(found)
        found.setdefault(field, value)
        return len(found) - before

    def cmd_hget(self, key: bytes, field: bytes) -> bytes | None:
        return self._get(key, dict).get(field)

    def cmd_hmget(self, key: bytes, *fields: bytes) -> list[bytes | None]:
        needed(fields, "hmget")
        found = self._get(key, dict)
        return [found.get(field) for field in fields]

    def cmd_hgetall(self, key: bytes) -> list[bytes]:
        return [part for pair in self._get(key, dict).items() for part in pair]

    def cmd_hkeys(self, key: bytes) -> list[bytes]:
        return list(self._get(key, dict))

    def cmd_hlen(self, key: bytes) -> int:
        return len(self._get(key, dict))

    def cmd_hexists(self, key: bytes, field: bytes) -> int:
        return int(field in self._get(key, dict))

    def cmd_hdel(self, key: bytes, *fields: bytes) -> int:
        needed(fields, "hdel")
        found = self._get(key, dict)
        count = sum(found.pop(field, None) is not None for field in fields)
        self._tidy(key, found)
        return count

    def cmd_hincrby(self, key: bytes, field: bytes, by: bytes) -> int:
        step = integer(by)
        found = self._find(key, dict) or {}
        number = integer(found.get(field, b"0"), "hash value is not an integer") + step
        if not -(2**63) <= number < 2**63:
            raise ResponseError("increment or decrement would overflow")
        self._make(key, dict)[field] = b"%d" % number
        return number

    def cmd_hscan(self, key: bytes, cursor: bytes, *options: bytes) -> list[Any]:
        """Return everything in one call."""
        options_of(options, b"COUNT")
        return [b"0", self.cmd_hgetall(key)]

    def cmd_hrandfield(self, key: bytes, count: bytes, *options: bytes) -> list[bytes]:
        if options != (b"WITHVALUES",) or integer(count) < 0:
            raise unknown(*options)
        pairs = list(self._get(key, dict).items())
        return [part for pair in random.sample(pairs, min(len(pairs), integer(count))) for part in pair]
