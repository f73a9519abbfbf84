"""The vocabulary of the contract: a world with one kind of backend in it, a crawl there, and short words for both."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

import pytest

from crawler.interfaces import Backend, Outbox, Pace
from crawler.model import Claim, Dead, Done, Failure, Job, Lease, Outcome, Request, Visit

AT_ONCE = Pace(delay=0.0, concurrency=1000)
"""No politeness at all: for tests about something else."""


class World:
    """One kind of backend, empty at first, with its clients and its time. The subclass for a store says how it is
    opened (`opening`) and how a lease runs out (`expire`); the rest has defaults that suit a store with a clock of its
    own."""

    shards = 1  # in how many parts the hosts lie
    examples = 1.0  # share of the random walks that are taken; fewer where a step costs a round trip

    def __init__(self) -> None:
        self._clients = AsyncExitStack()

    def opening(self, **options: Any) -> AbstractAsyncContextManager[Backend]:
        """A client of this world's store, which sees what all its clients see. Options are the keyword arguments of
        `open_redis`: `lease_seconds`, `attempts`, `max_crashes`, `outbox_limit`, `exploding_share`, `exploding_min`.
        """
        raise NotImplementedError

    async def expire(self, worker: str, others: Sequence[str] = ()) -> None:
        """Let the lease of one worker run out now, and those of the `others` not."""
        raise NotImplementedError

    async def client(self, **options: Any) -> Backend:
        """An open backend. Failures pause nothing unless `exploding_share` says so: most tests are about something
        else."""
        return await self._clients.enter_async_context(self.opening(**{"exploding_share": 1.0, **options}))

    def now(self) -> float:
        """A worker's monotonic seconds."""
        return time.monotonic()

    async def pass_time(self, seconds: float) -> None:
        """Let at least `seconds` go by."""
        await asyncio.sleep(seconds + 0.002)  # a store may count milliseconds

    async def end_rest(self, job: str, host: str, seconds: float) -> None:
        """Let the time go by for which a host is left alone, minutes at most; or make it so."""
        await self.pass_time(seconds)

    async def check(self) -> None:
        """Look at the store from outside. Raises `AssertionError` where its parts contradict each other."""

    async def close(self) -> None:
        """Close all clients."""
        await self._clients.aclose()


@pytest.fixture
async def world(new_world: Callable[[], World]) -> AsyncIterator[World]:
    """An empty backend's world."""
    made = new_world()
    yield made
    await made.close()


@pytest.fixture
async def crawl(world: World) -> Crawl:
    """A new job in it."""
    return await Crawl.create(world)


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
