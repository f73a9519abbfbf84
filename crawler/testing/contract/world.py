"""The vocabulary of the contract: a world with one kind of backend, a crawl in it, and short methods for both."""

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
"""No politeness, for tests of other subjects."""


class World:
    """One kind of backend, empty at first, with its clients and its time. The subclass for a store implements `opening`
    and `expire`; the other methods have defaults that suit a store with its own clock."""

    shards = 1  # number of parts of the store; each host lies in one, which `shard_of` says
    examples = 1.0  # share of the random walks to run; smaller where a step costs a round trip

    def __init__(self) -> None:
        self._clients = AsyncExitStack()

    def opening(self, **options: Any) -> AbstractAsyncContextManager[Backend]:
        """Return the context manager of a client of this world's store; all clients see the same state. The options are
        keyword arguments of `open_redis`: `lease_seconds`, `max_crashes`, `outbox_limit`, `exploding_share`,
        `exploding_min`, `drift_share`, `drift_min`."""
        raise NotImplementedError

    async def expire(self, worker: str, others: Sequence[str] = ()) -> None:
        """Make the lease of one worker run out now, but not those of the `others`."""
        raise NotImplementedError

    async def client(self, **options: Any) -> Backend:
        """Open a backend. Failures pause nothing unless the test sets `exploding_share`."""
        return await self._clients.enter_async_context(self.opening(**{"exploding_share": 1.0, **options}))

    def shard_of(self, host: str) -> int:
        """Return the number of the part of the store in which a host or a literal address lies: 0 to `shards` - 1."""
        if self.shards > 1:
            raise NotImplementedError
        return 0

    def now(self) -> float:
        """The workers' clock, in monotonic seconds."""
        return time.monotonic()

    async def pass_time(self, seconds: float) -> None:
        """Let at least `seconds` pass."""
        await asyncio.sleep(seconds + 0.002)  # a store may count whole milliseconds

    async def end_rest(self, job: str, host: str, seconds: float) -> None:
        """End the rest of a host that has `seconds` left, minutes at most: wait, or change the store."""
        await self.pass_time(seconds)

    async def check(self) -> None:
        """Check the store from outside. Raises `AssertionError` if its parts contradict each other."""

    async def close(self) -> None:
        """Close all clients."""
        await self._clients.aclose()


@pytest.fixture
async def world(new_world: Callable[[], World]) -> AsyncIterator[World]:
    """A world with an empty backend."""
    made = new_world()
    yield made
    await made.close()


@pytest.fixture
async def crawl(world: World) -> Crawl:
    """A new job in the world."""
    return await Crawl.create(world)


class Crawl:
    """One job, and short methods for what workers do with it. The worker is `w1` unless the test names another."""

    def __init__(self, world: World, frontier: Backend, job: Job) -> None:
        self.world = world
        self.frontier = frontier
        self.job = job

    @classmethod
    async def create(cls, world: World, job: Job | None = None, **options: Any) -> Crawl:
        """Create a job, on its own client with these options."""
        frontier = await world.client(**options)
        return cls(world, frontier, await frontier.jobs.create(job or Job("news")))

    @property
    def outbox(self) -> Outbox:
        """The frontier's outbox."""
        return self.frontier.outbox

    async def add(self, *requests: str | Request, seed: bool = True) -> int:
        """Add URLs or requests; return how many were new."""
        made = [Request(request) if isinstance(request, str) else request for request in requests]
        return (await self.frontier.adding.add(self.job, made, seed=seed)).new

    async def claim(self, limit: int = 100, *, worker: str = "w1", pace: Pace = AT_ONCE) -> Claim:
        """Claim from this job."""
        return await self.frontier.queue.claim(worker, limit, [self.job], pace)

    async def lease(self, *, worker: str = "w1", pace: Pace = AT_ONCE) -> Lease:
        """Claim exactly one request and return its lease."""
        claim = await self.claim(1, worker=worker, pace=pace)
        assert len(claim.leases) == 1, claim
        return claim.leases[0]

    async def urls(self, limit: int = 100, *, worker: str = "w1", pace: Pace = AT_ONCE) -> list[str]:
        """Claim, and return the URLs."""
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
        """Commit one lease, by default as done; return whether the worker still held it."""
        return (await self.frontier.queue.commit(worker, [(lease, Visit(outcome or Done(), **visit))], pace))[0]

    async def finish(self, leases: Sequence[Lease], *, worker: str = "w1") -> list[bool]:
        """Commit many leases as done; return for each whether the worker still held it."""
        return await self.frontier.queue.commit(worker, [(lease, Visit(Done())) for lease in leases], AT_ONCE)

    async def counts(self) -> tuple[int, int, int, int]:
        """Return pending, processing, done and dead; check that they and dropped add up to known."""
        stats = await self.frontier.reading.stats(self.job)
        found = (stats.pending, stats.processing, stats.done, stats.dead)
        assert sum(found) + stats.dropped == stats.known, stats
        return found

    async def counter(self, name: str) -> int:
        """Return one of the job's counters."""
        return (await self.frontier.reading.stats(self.job)).counters.get(name, 0)

    async def finished(self) -> bool:
        """Return whether the job is finished."""
        return (await self.frontier.reading.stats(self.job)).finished


def failed(kind: str = "http_503") -> Failure:
    """A failure of that kind."""
    return Failure(kind, "the server said no", 503)


def dead(kind: str = "http_503") -> Dead:
    """The outcome that gives a request up."""
    return Dead(failed(kind))


def pages(count: int, host: str = "a.example") -> list[str]:
    """`count` URLs on one host."""
    return [f"http://{host}/{number}" for number in range(count)]


def hosts(count: int) -> list[str]:
    """`count` URLs, each on its own host; many of them spread over all shards."""
    return [f"http://h{number}.example/" for number in range(count)]
