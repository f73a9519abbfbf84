"""The kinds of frontier under test, each in a small world of its own: its time, its server, its clients."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import redis.asyncio

from crawler.frontier.memory.backend import open_memory
from crawler.frontier.memory.frontier import MemoryFrontier
from crawler.frontier.redis.backend import open_redis
from crawler.frontier.redis.keys import job_prefix, shard_of, shard_prefix
from crawler.frontier.redis.server import Server
from crawler.interfaces import Backend, Outbox, Pace
from crawler.model import Claim, Dead, Done, Failure, Job, Lease, Outcome, Request, Visit
from tests.valkey import Valkey

KINDS = ("memory", "redis", "redis-4-shards")
AT_ONCE = Pace(delay=0.0, concurrency=1000)
"""No politeness at all: for tests about something else."""

_prefixes = itertools.count(1)


class World:
    """One kind of frontier, empty at first; every `client` sees the same state."""

    def __init__(self, kind: str, server: Valkey) -> None:
        self.kind = kind
        self.server = server
        self.prefix = f"t{next(_prefixes)}"
        self._now = 1_000.0
        self._memory: MemoryFrontier | None = None
        self._clients = AsyncExitStack()

    @property
    def shards(self) -> int:
        """How many the frontier has."""
        return 4 if self.kind == "redis-4-shards" else 1

    async def client(self, **options: Any) -> Backend:
        """An open frontier: on Redis a connection of its own, in memory always the same object.

        Failures pause nothing unless `exploding_share` says so: most tests are about something else.
        """
        options = {"exploding_share": 1.0, **options}
        if self.kind == "memory":
            if self._memory is None:
                self._memory = MemoryFrontier(clock=lambda: self._now, **options)
            opening = open_memory(self._memory)
        else:
            opening = open_redis(Server(self.server.url), prefix=self.prefix, shards=self.shards, **options)
        return await self._clients.enter_async_context(opening)

    def now(self) -> float:
        """A worker's monotonic seconds."""
        return self._now if self.kind == "memory" else time.monotonic()

    async def pass_time(self, seconds: float) -> None:
        """Let at least `seconds` go by."""
        if self.kind == "memory":
            self._now += seconds
        else:
            await asyncio.sleep(seconds + 0.002)  # the server counts milliseconds

    async def expire(self, worker: str, others: Sequence[str] = ()) -> None:
        """Let the lease of one worker run out, and those of the `others` not."""
        if self._memory is not None:
            self._now += 3600.0
            for other in others:
                self._memory.beat(other, {})
            return
        async with redis.asyncio.Redis.from_url(self.server.url) as client:
            for shard in range(self.shards):
                await client.zadd(f"{shard_prefix(self.prefix, shard)}workers", {worker: 1}, xx=True)

    async def end_rest(self, job: str, host: str, seconds: float) -> None:
        """Let the time go by for which a host is left alone; on Redis it is as if it had."""
        if self._memory is not None:
            self._now += seconds
            return
        prefix = shard_prefix(self.prefix, shard_of(host, self.shards))
        async with redis.asyncio.Redis.from_url(self.server.url) as client:
            await client.hset(f"{prefix}host:{host}", mapping={"next": 0, "rest": 0})
            await client.zadd(f"{job_prefix(prefix, job)}hosts", {host: 1}, xx=True)

    async def close(self) -> None:
        """Close all clients."""
        await self._clients.aclose()


class Crawl:
    """One job and short words for what is done to it, with one worker unless another is named."""

    def __init__(self, world: World, frontier: Backend, job: Job) -> None:
        self.world = world
        self.frontier = frontier
        self.job = job

    @classmethod
    async def create(cls, world: World, job: Job | None = None, **options: Any) -> Crawl:
        """A new job, on a client of its own with these options."""
        frontier = await world.client(**options)
        return cls(world, frontier, await frontier.jobs.create(job or Job("news")))

    @property
    def outbox(self) -> Outbox:
        """The frontier's."""
        return self.frontier.outbox

    async def add(self, *requests: str | Request, seed: bool = True) -> int:
        """Add URLs or requests; how many were new."""
        made = [Request(request) if isinstance(request, str) else request for request in requests]
        return (await self.frontier.adding.add(self.job, made, seed=seed)).new

    async def claim(self, limit: int = 100, *, worker: str = "w1", pace: Pace = AT_ONCE) -> Claim:
        """Claim from this job."""
        return await self.frontier.queue.claim(worker, limit, [self.job], pace)

    async def lease(self, *, worker: str = "w1", pace: Pace = AT_ONCE) -> Lease:
        """Claim exactly one."""
        claim = await self.claim(1, worker=worker, pace=pace)
        assert len(claim.leases) == 1, claim
        return claim.leases[0]

    async def urls(self, limit: int = 100, *, worker: str = "w1", pace: Pace = AT_ONCE) -> list[str]:
        """Claim, and return only the URLs."""
        return [lease.request.url for lease in (await self.claim(limit, worker=worker, pace=pace)).leases]

    async def end(
        self,
        lease: Lease,
        outcome: Outcome | None = None,
        *,
        worker: str = "w1",
        pace: Pace = AT_ONCE,
        **visit: Any,
    ) -> bool:
        """Commit one lease; done unless told otherwise. Whether it was still held."""
        return (await self.frontier.queue.commit(worker, [(lease, Visit(outcome or Done(), **visit))], pace))[0]

    async def finish(self, leases: Sequence[Lease], *, worker: str = "w1") -> list[bool]:
        """Commit many as done."""
        return await self.frontier.queue.commit(worker, [(lease, Visit(Done())) for lease in leases], AT_ONCE)

    async def counts(self) -> tuple[int, int, int, int]:
        """pending, processing, done, dead; checks that they add up to what is known."""
        stats = await self.frontier.reading.stats(self.job)
        found = (stats.pending, stats.processing, stats.done, stats.dead)
        assert sum(found) + stats.dropped == stats.known, stats
        return found

    async def counter(self, name: str) -> int:
        """One of the job's counters."""
        return (await self.frontier.reading.stats(self.job)).counters.get(name, 0)

    async def finished(self) -> bool:
        """Whether the end is proven."""
        return (await self.frontier.reading.stats(self.job)).finished


def failed(kind: str = "http_503") -> Failure:
    """Why something failed."""
    return Failure(kind, "the server said no", 503)


def dead(kind: str = "http_503") -> Dead:
    """The outcome of giving up."""
    return Dead(failed(kind))


def pages(count: int, host: str = "a.example") -> list[str]:
    """URLs on one host."""
    return [f"http://{host}/{number}" for number in range(count)]


def hosts(count: int) -> list[str]:
    """URLs on as many hosts, which lie in all shards."""
    return [f"http://h{number}.example/" for number in range(count)]
