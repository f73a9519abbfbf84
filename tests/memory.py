"""A backend in this process as one object, for tests that change one of its methods."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from crawler.frontier.memory.server import MemoryServer
from crawler.frontier.redis.backend import parts
from crawler.frontier.redis.control import RedisControl
from crawler.frontier.redis.keys import shard_prefix
from crawler.interfaces import Pace
from crawler.model import Added, Claim, Exported, Failure, Job, Lease, Request, Visit


class MemoryFrontier:
    """Open from the first moment. What tests override is a method; the rest stands for the part that has it."""

    def __init__(self) -> None:
        server, prefix = MemoryServer(), shard_prefix("crawler", 0)
        server.store.execute(b"SET", prefix.encode() + b"id", b"test")
        self.backend = one = parts(server, (prefix,), b"test")
        self.create_job, self.jobs, self.delete_job = one.jobs.create, one.jobs.all, one.jobs.delete
        self.durable, self.in_scope = one.adding.durable, one.links.in_scope
        self.maybe_new, self.maybe_new_urls = one.links.maybe_new, one.links.maybe_new_urls
        self.set_aside, self.join, self.take_turn = one.queue.set_aside, one.ledger.join, one.ledger.take_turn
        self.get_shared = one.asking.get_shared
        self.beat, self.reap = one.leases.beat, one.leases.reap
        self.stats, self.workers = one.reading.stats, one.reading.workers
        self.read, self.hold, self.holder = one.outbox.read, one.outbox.hold, one.outbox.holder
        self.exported, self.sinks, self.waiting = one.outbox.exported, one.outbox.sinks, one.outbox.waiting
        self.keep_dead, self.dead_items = one.outbox.keep_dead, one.dead_items
        self.leave_behind = one.outbox.leave_behind
        self.control = RedisControl(server, (prefix,))

    async def add(self, job: Job, requests: Sequence[Request], *, seed: bool = False) -> Added:
        return await self.backend.adding.add(job, requests, seed=seed)

    async def seeding(self, job: Job, seeder: str, seconds: float) -> None:
        await self.backend.adding.seeding(job, seeder, seconds)

    async def claim(self, worker: str, limit: int, jobs: Sequence[Job], pace: Pace) -> Claim:
        return await self.backend.queue.claim(worker, limit, jobs, pace)

    async def commit(self, worker: str, visits: Sequence[tuple[Lease, Visit]], pace: Pace) -> list[bool]:
        return await self.backend.queue.commit(worker, visits, pace)

    async def bury(self, worker: str, job: Job, message: bytes, failure: Failure) -> bool:
        return await self.backend.queue.bury(worker, job, message, failure)

    async def acknowledge(self, job: Job, exported: Exported, sinks: Mapping[str, Exported] = {}) -> None:
        await self.backend.outbox.acknowledge(job, exported, sinks)

    async def take_host(self, worker: str, lease: Lease) -> bool:
        return await self.backend.asking.take_host(worker, lease)

    async def put_shared(self, key: str, value: bytes, seconds: float) -> None:
        await self.backend.asking.put_shared(key, value, seconds)


class Noticed(MemoryFrontier):
    """Tells when some of the items have left the outbox."""

    def __init__(self) -> None:
        super().__init__()
        self.some_are_sent = asyncio.Event()
        self._times = 0

    async def acknowledge(self, job: Job, exported: Exported, sinks: Mapping[str, Exported] = {}) -> None:
        """Set the event at the fourth call."""
        await super().acknowledge(job, exported, sinks)
        self._times += 1
        if self._times > 3:
            self.some_are_sent.set()
