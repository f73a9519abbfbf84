"""The commands for streams."""

from __future__ import annotations

from typing import Any

from redis.exceptions import ResponseError

from crawler.frontier.memory.arguments import (
    count_of,
    end_id,
    entries_of,
    entry_id,
    first_id,
    needed,
    options_of,
    trim_of,
    unknown,
)
from crawler.frontier.memory.keyspace import Keyspace
from crawler.frontier.memory.values import Stream


class Streams(Keyspace):
    """The commands for streams; arguments and replies as on the wire."""

    def cmd_xadd(self, key: bytes, *words: bytes) -> bytes:
        limit, (name, *fields) = trim_of(words)
        needed(fields, "xadd", 2)
        given = None if name == b"*" else entry_id(name, 0)
        if given == (0, 0):
            raise ResponseError("The ID specified in XADD must be greater than 0-0")
        found = self._find(key, Stream) or Stream()
        now = self.now // 1000
        new = given or ((now, 0) if now > found.last[0] else (found.last[0], found.last[1] + 1))
        if new <= found.last:
            raise ResponseError("The ID specified in XADD is equal or smaller than the target stream top item")
        found.last = new
        found.entries.append((new, fields))
        self._values[key] = found
        if limit:
            found.trim(limit)
        self._added(key)
        return b"%d-%d" % new

    def cmd_xdel(self, key: bytes, *ids: bytes) -> int:
        needed(ids, "xdel")
        found = self._find(key, Stream)
        if found is None:
            return 0
        names = {entry_id(word, 0) for word in ids}
        before = len(found.entries)
        found.entries = [entry for entry in found.entries if entry[0] not in names]
        return before - len(found.entries)

    def cmd_xinfo(self, what: bytes, key: bytes) -> list[Any]:
        """Of a stream the length and the last id."""
        found = self._find(key, Stream)
        if what.upper() != b"STREAM":
            raise unknown(what)
        if found is None:
            raise ResponseError("no such key")
        return [b"length", len(found.entries), b"last-generated-id", b"%d-%d" % found.last]

    def cmd_xlen(self, key: bytes) -> int:
        return len(self._get(key, Stream).entries)

    def cmd_xrange(self, key: bytes, start: bytes, end: bytes, *options: bytes) -> list[Any]:
        bounds, most = (first_id(start), end_id(end)), count_of(options)
        return entries_of(self._get(key, Stream).between(*bounds)[:most])

    def cmd_xrevrange(self, key: bytes, end: bytes, start: bytes, *options: bytes) -> list[Any]:
        bounds, most = (first_id(start), end_id(end)), count_of(options)
        return entries_of(self._get(key, Stream).between(*bounds)[::-1][:most])

    def cmd_xread(self, *arguments: bytes) -> list[Any] | None:
        """Read one stream. The caller does the waiting that BLOCK asks for."""
        *options, key, after = arguments
        if not options or options.pop().upper() != b"STREAMS":
            raise unknown(*arguments)
        options_of(options, b"BLOCK")
        found = self._get(key, Stream)
        entries = entries_of(found.between(end_id(after, 0), end_id(b"+")))
        return [[key, entries]] if entries else None

    def cmd_xtrim(self, key: bytes, *words: bytes) -> int:
        limit, rest = trim_of(words)
        if limit is None or rest:
            raise unknown(*words)
        return self._get(key, Stream).trim(limit)
