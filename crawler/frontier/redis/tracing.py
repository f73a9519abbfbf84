"""Finds one URL in a Redis frontier: searches every place where a request may be. Reads only."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import msgspec

from crawler.control.dead_letters import newest
from crawler.control.rules import trace_with
from crawler.frontier import message as wire
from crawler.frontier.redis.control import RedisControl
from crawler.frontier.redis.dead import RedisDead
from crawler.frontier.redis.errors import JobGone, errors
from crawler.frontier.redis.hosts import FIELDS, read_turn
from crawler.frontier.redis.jobs import RedisJobs
from crawler.frontier.redis.keys import job_prefix, shard_for
from crawler.frontier.redis.outbox import POSITION
from crawler.frontier.redis.records import number, read_failing, text
from crawler.frontier.redis.server import Server
from crawler.frontier.redis.times import frontier_ms
from crawler.frontier.redis.views import read_pauses
from crawler.frontier.rules import READS_CHUNK, TRACE_CHUNK
from crawler.model import Job, with_spider
from crawler.parsing.url import dedup_key, fingerprint, host_of
from crawler.status import TRACED, Failing, HostTurn, Kept, PageRead, Pause, Sighting, Skipped, Trace


class RedisTraces:
    """Implements `Traces`. `shards` are the prefixes of all shards."""

    def __init__(
        self, server: Server, shards: Sequence[str], jobs: RedisJobs, dead: RedisDead, control: RedisControl
    ) -> None:
        self._server = server
        self._shards = shards
        self._jobs = jobs
        self._dead = dead
        self._control = control

    async def trace(self, job: Job, url: str) -> Trace:
        """Search the shard of the URL's host."""
        try:
            trace = await self._look(shard_for(host_of(url), self._shards), job, url)
        except JobGone:
            raise await self._jobs.forgotten(job) from None
        return trace_with(trace, await self._control.rules(), job.name)

    async def _look(self, shard: str, job: Job, url: str) -> Trace:
        """Search one shard, and search again if a known URL was moving from one place to another. Raises `JobGone`."""
        prefix = job_prefix(shard, job.name)
        mark = fingerprint(dedup_key(url), job.epoch.encode())
        known = bool(await self._server.run("known", f"{prefix}stats", prefix, job.epoch, mark))
        everywhere = [job_prefix(one, job.name) for one in self._shards]
        search = _Search(self._server, self._dead, shard, everywhere, job, url)
        trace = await search.once()
        if known and not trace.sightings and trace.skipped is None:
            trace = await search.once()
        return Trace(known, *(getattr(trace, name) for name in Trace.__struct_fields__[1:]))


class _Search:
    """The search for one URL in one shard; for the redirects that led to it, in all of them (`everywhere`)."""

    def __init__(
        self, server: Server, dead: RedisDead, shard: str, everywhere: Sequence[str], job: Job, url: str
    ) -> None:
        self._server = server
        self._dead = dead
        self._shard = shard
        self._everywhere = everywhere
        self._job = job
        self._url = url
        self._host = host_of(url)
        self._prefix = job_prefix(shard, job.name)
        self._is_it = same_url(url)

    async def once(self) -> Trace:
        """Search all places, in the order in which requests move through them."""
        now = await frontier_ms(self._server, self._shard)
        pending, unseen = await self._pending()
        delayed, more = await self._delayed(now)
        sightings = [*pending, *delayed, *await self._processing(), *await self._given_up()]
        skipped, source, others = await self._skips()
        kept = await self._kept()
        callbacks = [with_spider(one.request.callback, one.request.spider) for one in sightings]
        turn = await self._turn(now, self._host, await self._ask("hget", f"{self._shard}asking", self._host))
        return Trace(
            True,
            self._host,
            turn=turn,
            group_turn=await self._turn(now, turn.group) if turn.group else HostTurn(),
            sightings=tuple(sightings),
            unseen=unseen + more,
            skipped=skipped,
            other_callbacks=others,
            redirected_from=source,
            failing=await self._failing(),
            read=await self._read(),
            kept=kept,
            pauses=await self._pauses(
                [one.request.spider for one in sightings], [*callbacks, *([kept.callback] if kept else [])]
            ),
            seeded=bool(await self._ask("sismember", f"{self._prefix}scope", self._host)),
        )

    async def _ask(self, command: str, *arguments: Any, **options: Any) -> Any:
        key = arguments[0] if arguments else self._shard
        with errors(self._server.shown):
            return await getattr(self._server.at(key), command)(*arguments, **options)

    # --- the places

    async def _pending(self) -> tuple[list[Sighting], int]:
        """The sightings in the line of the URL's host, and how many requests were not searched."""
        levels = text(await self._ask("hget", f"{self._prefix}levels", self._host) or b"0").split()
        ahead = unseen = 0
        found: list[Sighting] = []
        for level in levels:
            key = f"{self._prefix}pending:{level}:{self._host}"
            length = await self._ask("llen", key)
            place = 0
            async for message in self._from_the_right(key, max(0, TRACED - ahead)):
                if self._is_it(message):
                    found += _sighting("pending", message, ahead=ahead + place)
                    break
                place += 1
            else:
                unseen += max(0, length - place)
            ahead += length
        return found, unseen

    async def _from_the_right(self, key: str, most: int) -> AsyncIterator[bytes]:
        for at in range(0, most, TRACE_CHUNK):
            chunk = await self._ask("lrange", key, -at - TRACE_CHUNK, -at - 1)
            for message in reversed(chunk):
                yield message
            if len(chunk) < TRACE_CHUNK:
                return

    async def _delayed(self, now: float) -> tuple[list[Sighting], int]:
        key = f"{self._prefix}delayed"
        for at in range(0, TRACED, TRACE_CHUNK):
            chunk = await self._ask("zrange", key, at, at + TRACE_CHUNK - 1, withscores=True)
            for message, due in chunk:
                if self._is_it(message):
                    return _sighting("delayed", message, due=max(0.0, (due - now) / 1000)), 0
            if len(chunk) < TRACE_CHUNK:
                return [], 0
        return [], max(0, await self._ask("zcard", key) - TRACED)

    async def _processing(self) -> list[Sighting]:
        workers = [text(worker) for worker in await self._ask("zrange", f"{self._shard}workers", 0, -1)]
        found: list[Sighting] = []
        for worker in workers:
            for message in await self._ask("lrange", f"{self._prefix}processing:{worker}", 0, -1):
                if self._is_it(message):
                    found += _sighting("processing", message, worker=worker)
        return found

    async def _given_up(self) -> list[Sighting]:
        key = dedup_key(self._url)
        ours = (
            letter
            async for letter in self._dead.in_shard(self._shard, self._job)
            if letter.host == self._host and dedup_key(letter.url) == key
        )
        found: list[Sighting] = []
        for letter in await newest(ours, TRACE_CHUNK):
            found += _sighting("dead", letter.message.encode("utf-8", "replace"), letter=letter)
        return found

    async def _skips(self) -> tuple[Skipped | None, str, tuple[str, ...]]:
        """The URL's last skip, the URL that was redirected to it, and the other callbacks that requests named for it,
        as far back as the streams of skips go."""
        skipped, source = None, ""
        others: list[str] = []
        key = dedup_key(self._url)
        noted = [one for prefix in self._everywhere async for one in self._noted(prefix, key)]
        for one in sorted(noted, key=lambda one: -one.when):
            is_redirect = one.reason == "redirect"
            if is_redirect and dedup_key(one.detail) == key:
                source = source or one.url
            if dedup_key(one.url) != key:
                continue
            if one.reason == "other_callback":
                others.append(one.detail)
            elif not (is_redirect and source):  # what led back to it later had it visited again
                skipped = skipped or one
        return skipped, source, tuple(others)

    async def _noted(self, prefix: str, key: str) -> AsyncIterator[Skipped]:
        """The skips of a shard that concern the URL with this key, the last ones first."""
        end = "+"
        while True:
            chunk = await self._ask("xrevrange", f"{prefix}skips", max=end, count=TRACE_CHUNK)
            for one in (_skipped(name, fields) for name, fields in chunk):
                if key in (dedup_key(one.url), dedup_key(one.detail) if one.reason == "redirect" else ""):
                    yield one
            if len(chunk) < TRACE_CHUNK:
                return
            end = f"({chunk[-1][0].decode()}"

    async def _read(self) -> PageRead | None:
        """What a commit told of the page when it was read, as far back as the stream goes."""
        url, end = self._url.encode(), "+"
        while True:
            chunk = await self._ask("xrevrange", f"{self._prefix}read", max=end, count=READS_CHUNK)
            for name, pages in chunk:
                if url in pages:
                    *figures, position = (*pages[url].split(b" "), b"", b"", b"", b"", b"")[:5]
                    status, size, items, links = (int(number(figure)) for figure in figures)
                    when, worker = int(name.partition(b"-")[0]) / 1000, text(pages.get(b"worker"))
                    exported = not await self._is_in_outbox(text(position))
                    return PageRead(when, worker, status, size, items, links, exported)
            if len(chunk) < READS_CHUNK:
                return None
            end = f"({chunk[-1][0].decode()}"

    async def _is_in_outbox(self, position: str) -> bool:
        """Whether the items at that position wait for the exporter."""
        if not POSITION.fullmatch(position):
            return False
        return bool(await self._ask("xrange", f"{self._prefix}outbox", min=position, max=position))

    async def _kept(self) -> Kept | None:
        """Whether the page is kept for `redrive --incomplete`, and for which callback."""
        drifted = await self._ask("hgetall", f"{self._prefix}drifted")
        for callback in sorted({key.rpartition(b"\t")[0] for key in drifted}):
            if await self._has(f"{self._prefix}incomplete:{text(callback)}"):
                fallen = [fields for key, fields in drifted.items() if key.rpartition(b"\t")[0] == callback]
                return Kept(text(callback), {name: words for some in fallen for name, words in _words(some).items()})
        return None

    async def _has(self, key: str) -> bool:
        """Whether a request for the URL is a field of the hash at the key."""
        cursor = 0
        while True:
            cursor, messages = await self._ask("hscan", key, cursor, count=TRACE_CHUNK)
            if any(map(self._is_it, messages)):
                return True
            if not cursor:
                return False

    async def _failing(self) -> Failing | None:
        record = await self._ask("hget", f"{self._prefix}failing", self._url)
        return read_failing(self._url.encode(), record) if record else None

    # --- its host

    async def _turn(self, now: float, name: str, asker: bytes | None = None) -> HostTurn:
        return read_turn(await self._ask("hmget", f"{self._shard}host:{name}", FIELDS), now, asker=asker)

    async def _pauses(self, spiders: Sequence[str], callbacks: Sequence[str]) -> tuple[Pause, ...]:
        names = [
            f"job {self._job.name}",
            f"host {self._host}",
            *dict.fromkeys(f"spider {name}" for name in spiders),
            *dict.fromkeys(f"callback {name}" for name in callbacks),
        ]
        values = await self._ask("hmget", f"{self._prefix}paused", names)
        found = ((name.encode(), value) for name, value in zip(names, values, strict=True) if value)
        return read_pauses(self._job.name, found)


def same_url(url: str) -> Callable[[bytes], bool]:
    """Return a function that tests whether a message is a request for that URL, in any equivalent spelling."""
    spelling, key = url.encode(), dedup_key(url)

    def is_it(message: bytes) -> bool:
        parts = message.split(b'"', 2)
        if len(parts) < 3:
            return False
        if parts[1] == spelling:
            return True
        return (b"%" in parts[1] or b"?" in parts[1] or "%" in url or "?" in url) and (
            dedup_key(parts[1].decode("ascii", "replace")) == key
        )

    return is_it


def _sighting(state: Any, message: bytes, **more: Any) -> list[Sighting]:
    """A list of one sighting, or empty for bytes that are not a message. Of a later version it reads the head alone."""
    try:
        read = wire.peek(message)
    except wire.JunkMessage:
        return []
    later = read.version if read.is_later else 0
    return [Sighting(state, read.request, read.attempt, read.delivery, read.crashes, later=later, **more)]


def _words(fields: bytes) -> dict[str, str]:
    """The fields that have drifted, of a record that may be of a later version."""
    try:
        return msgspec.json.decode(fields, type=dict[str, str])
    except ValueError:
        return {}


def _skipped(name: bytes, fields: dict[bytes, bytes]) -> Skipped:
    url, reason, detail = (text(fields.get(key)) for key in (b"url", b"reason", b"detail"))
    return Skipped(url, reason, detail, int(name.partition(b"-")[0]) / 1000)
