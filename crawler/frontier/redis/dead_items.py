"""Reads, redrives and drops the items that a sink could not store, on Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence

import msgspec

from crawler.frontier.redis.dead import chunks
from crawler.frontier.redis.errors import errors
from crawler.frontier.redis.keys import job_prefix
from crawler.frontier.redis.records import Unreadable, packed, text
from crawler.frontier.redis.server import Server
from crawler.frontier.rules import LETTERS_CHUNK as CHUNK
from crawler.model import DeadItem, Job


class RedisDeadItems:
    """Implements `DeadItems`. `shards` are the prefixes of all shards; the first one has the items."""

    def __init__(self, server: Server, shards: Sequence[str]) -> None:
        self._server = server
        self._shard = shards[0]
        self._unreadable = Unreadable("dead item", "nothing to do: it is not an item")

    async def each(self, job: Job, ids: Collection[str] | None = None) -> AsyncIterator[DeadItem]:
        """Yield the items."""
        seen: set[str] = set()  # a scan may return one twice
        async for name, record in self._scan(self._key(job)):
            if name not in seen and (ids is None or name in ids):
                seen.add(name)
                if (item := self._read(name, record)) is not None:
                    yield item

    async def redrive(self, job: Job, ids: Collection[str] | None = None) -> int:
        """Run the script, many items at a time."""
        moved, prefix = 0, job_prefix(self._shard, job.name)
        async for items in chunks(self.each(job, ids)):
            order = packed({"J": prefix, "epoch": job.epoch, "items": list(map(_named, items))})
            moved += await self._server.run("redrive_items", self._key(job), order, barrier=True)
        return moved

    async def drop(self, job: Job, ids: Collection[str] | None = None) -> int:
        """HDEL."""
        dropped, key = 0, self._key(job)
        async for items in chunks(self.each(job, ids)):
            (number,) = await self._server.write(key, ("HDEL", key, *(item.id for item in items)))
            dropped += number
        return dropped

    async def _scan(self, key: str) -> AsyncIterator[tuple[str, bytes]]:
        cursor = -1
        while cursor:
            with errors(self._server.shown):
                cursor, records = await self._server.at(key).hscan(key, max(cursor, 0), count=CHUNK)
            for name, record in records.items():
                yield text(name), record

    def _read(self, name: str, record: bytes) -> DeadItem | None:
        try:
            return msgspec.json.decode(record, type=DeadItem)
        except (ValueError, RecursionError) as error:
            self._unreadable.met(name, error)
            return None

    def _key(self, job: Job) -> str:
        return f"{job_prefix(self._shard, job.name)}dead_items"


def _named(item: DeadItem) -> dict[str, str]:
    """What the script takes for one item."""
    words = {"url": _inside(item.url), "spider": _inside(item.spider)}
    return {"id": item.id, "item": item.item, "kind": item.kind, "sink": item.output, **words}


def _inside(value: str) -> str:
    """A text as it stands in a message, without the quotation marks."""
    return msgspec.json.encode(value)[1:-1].decode()
