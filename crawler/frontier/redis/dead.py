"""Reads, redrives and drops the dead letters of a Redis frontier."""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator, Collection, Sequence
from typing import TypeVar

from crawler.control.dead_letters import newest
from crawler.frontier import message as wire
from crawler.frontier.redis.errors import errors
from crawler.frontier.redis.keys import job_prefix
from crawler.frontier.redis.records import read_dead, read_failing, text
from crawler.frontier.redis.server import Server
from crawler.frontier.rules import LETTERS_CHUNK as CHUNK
from crawler.model import Job
from crawler.status import DeadLetter, Failing

T = TypeVar("T")


class RedisDead:
    """Implements `Letters`. `shards` are the prefixes of all shards."""

    def __init__(self, server: Server, shards: Sequence[str]) -> None:
        self._server = server
        self._shards = shards

    async def each(self, job: Job, ids: Collection[str] | None = None) -> AsyncIterator[DeadLetter]:
        """Yield the letters in no particular order."""
        for shard in self._shards:
            async for letter in self.in_shard(shard, job, ids):
                yield letter

    async def newest(self, job: Job, limit: int = 1000) -> list[DeadLetter]:
        """Return the newest letters, newest first."""
        return await newest(self.each(job), limit)

    async def failing(self, job: Job, limit: int = 1000) -> list[Failing]:
        """Return the requests that wait for another try."""
        found: list[Failing] = []
        for shard in self._shards:
            with errors(self._server.shown):
                records = await self._server.at(shard).hgetall(f"{job_prefix(shard, job.name)}failing")
            found += [read_failing(url, record) for url, record in records.items()]
        return heapq.nlargest(limit, found, key=lambda one: one.when)

    async def redrive(self, job: Job, ids: Collection[str] | None = None) -> int:
        """Return the letters to pending. Letters that are not requests stay."""
        moved = 0
        for shard in self._shards:
            prefix = job_prefix(shard, job.name)
            async for letters in chunks(self.in_shard(shard, job, ids)):
                arguments = [value for letter in letters for value in _named(letter)]
                moved += await self._server.run("redrive", f"{prefix}dead", prefix, job.epoch, *arguments, barrier=True)
        return moved

    async def redo(self, job: Job) -> int:
        """Return the pages with incomplete items to pending, of all callbacks that have drifted."""
        moved = 0
        for shard in self._shards:
            prefix = job_prefix(shard, job.name)
            with errors(self._server.shown):
                keys = await self._server.at(shard).hkeys(f"{prefix}drifted")
            for callback in sorted({key.rpartition(b"\t")[0] for key in keys}):
                arguments = (f"{prefix}drifted", prefix, job.epoch, callback)
                while some := await self._server.run("redo", *arguments, barrier=True):
                    moved += some
        return moved

    async def drop(self, job: Job, ids: Collection[str] | None = None) -> int:
        """Delete the letters for good."""
        dropped = 0
        for shard in self._shards:
            prefix = job_prefix(shard, job.name)
            async for letters in chunks(self.in_shard(shard, job, ids)):
                chosen = [letter.id for letter in letters]
                dropped += await self._server.run("drop", f"{prefix}dead", prefix, job.epoch, *chosen, barrier=True)
        return dropped

    async def in_shard(self, shard: str, job: Job, ids: Collection[str] | None = None) -> AsyncIterator[DeadLetter]:
        """Yield the letters of one shard."""
        key = f"{job_prefix(shard, job.name)}dead"
        found = self._scan(key) if ids is None else self._pick(key, list(dict.fromkeys(ids)))
        async for name, record in found:
            yield read_dead(name, record)

    async def _scan(self, key: str) -> AsyncIterator[tuple[str, bytes]]:
        seen: set[bytes] = set()  # a scan may return a letter twice
        cursor = 0
        while True:
            with errors(self._server.shown):
                cursor, records = await self._server.at(key).hscan(key, cursor, count=CHUNK)
            for name, record in records.items():
                if name not in seen:
                    seen.add(name)
                    yield text(name), record
            if not cursor:
                return

    async def _pick(self, key: str, ids: Sequence[str]) -> AsyncIterator[tuple[str, bytes]]:
        for at in range(0, len(ids), CHUNK):
            part = ids[at : at + CHUNK]
            with errors(self._server.shown):
                records = await self._server.at(key).hmget(key, part)
            for name, record in zip(part, records, strict=True):
                if record is not None:
                    yield name, record


def _named(letter: DeadLetter) -> tuple[str | bytes, ...]:
    """The letter's id and its message; empty if it is not a request of any version."""
    message = letter.message.encode("utf-8", "replace")
    try:
        wire.peek(message)
    except wire.JunkMessage:
        return ()
    return letter.id, message


async def chunks(values: AsyncIterator[T]) -> AsyncIterator[list[T]]:
    """Yield lists of `CHUNK` values; the last one may be shorter."""
    chunk: list[T] = []
    async for value in values:
        chunk.append(value)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
