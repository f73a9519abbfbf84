"""The kinds of backend that the crawler includes, each in a small world of its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

import redis.asyncio

from crawler.frontier.memory.backend import open_memory
from crawler.frontier.memory.server import MemoryServer
from crawler.frontier.redis.backend import open_redis
from crawler.frontier.redis.keys import job_prefix, several, shard_for, shard_of, spread
from crawler.frontier.redis.server import Server
from crawler.interfaces import Backend
from crawler.testing.contract.world import World
from tests.invariants import read
from tests.valkey import Valkey
from tests.valkey_fleet import ClusterFleet, SentinelFleet

_prefixes = itertools.count(1)


class ServerWorld(World):
    """Keys on a server."""

    def __init__(self, shards: int) -> None:
        super().__init__()
        self.shards = shards
        self.prefix = f"t{next(_prefixes)}"

    def raw(self) -> AbstractAsyncContextManager[Any]:
        """A person with a command line."""
        raise NotImplementedError

    def prefixes(self) -> Sequence[str]:
        """Those of the shards."""
        return several(self.prefix, self.shards)

    def shard_of(self, host: str) -> int:
        """By the host's checksum."""
        return shard_of(host, self.shards)

    async def expire(self, worker: str, others: Sequence[str] = ()) -> None:
        """By hand, in each shard."""
        async with self.raw() as client:
            for shard in self.prefixes():
                await client.zadd(f"{shard}workers", {worker: 1}, xx=True)

    async def end_rest(self, job: str, host: str, seconds: float) -> None:
        """Change the ledger as if the rest were over."""
        prefix = shard_for(host, self.prefixes())
        async with self.raw() as client:
            await client.hset(f"{prefix}host:{host}", mapping={"next": 0, "rest": 0})
            await client.zadd(f"{job_prefix(prefix, job)}hosts", {host: 1}, xx=True)


class MemoryWorld(ServerWorld):
    """A server in this process; its time is ours."""

    def __init__(self, server: Valkey, shards: int = 1) -> None:
        super().__init__(shards)
        self._now = 1_000.0
        self.server = MemoryServer(clock=self.now)

    def opening(self, **options: Any) -> AbstractAsyncContextManager[Backend]:
        """On the same server."""
        return open_memory(self.server, prefix=self.prefix, shards=self.shards, **options)

    def raw(self) -> AbstractAsyncContextManager[Any]:
        """The client that the frontier has."""
        return nullcontext(self.server.at(""))

    def now(self) -> float:
        """Return the time, which moves only in `pass_time`."""
        return self._now

    async def pass_time(self, seconds: float) -> None:
        """Move the clock at once."""
        self._now += seconds + 0.002  # the server counts milliseconds


class RedisWorld(ServerWorld):
    """Keys of its own on a server; each client has a connection of its own."""

    examples = 1 / 3

    def __init__(self, server: Valkey | SentinelFleet | ClusterFleet, shards: int = 1) -> None:
        super().__init__(shards)
        self.server = server

    def opening(self, **options: Any) -> AbstractAsyncContextManager[Backend]:
        """On the same keys."""
        return open_redis(Server(self.server.url), prefix=self.prefix, shards=self.shards, **options)

    def raw(self) -> AbstractAsyncContextManager[Any]:
        """A connection of its own."""
        return redis.asyncio.Redis.from_url(self.urls()[0])

    def urls(self) -> Sequence[str]:
        """Where the keys are."""
        return [self.server.url]

    async def check(self) -> None:
        """The sums over all keys, and the sizes of the seen-sets."""
        state = read(*self.urls(), prefix=self.prefix)
        assert state.violations() == []
        sets = [seen for shard in state.shards.values() for job in shard.jobs.values() for seen in job.seen.values()]
        assert max(map(len, sets)) <= 512, "a larger one is no array of integers, and takes five times as much memory"


class SentinelWorld(RedisWorld):
    """Keys of its own on a master that sentinels name."""

    examples = 1 / 30  # what differs from one server is the way to it

    def __init__(self, fleet: SentinelFleet) -> None:
        super().__init__(fleet)
        self.fleet = fleet

    def urls(self) -> Sequence[str]:
        """The master's."""
        return [self.fleet.master().url]


class ClusterWorld(RedisWorld):
    """Keys of its own on three masters."""

    examples = 1 / 30

    def __init__(self, fleet: ClusterFleet) -> None:
        super().__init__(fleet, shards=6)
        self.fleet = fleet

    def prefixes(self) -> Sequence[str]:
        """Those of the shards."""
        return spread(self.prefix, self.shards)

    def urls(self) -> Sequence[str]:
        """The masters'."""
        return [master.url for master in self.fleet.masters()]

    def raw(self) -> AbstractAsyncContextManager[Any]:
        """Finds the node of each key."""
        return redis.asyncio.RedisCluster.from_url(self.urls()[0])


KINDS: dict[str, Callable[[Valkey], World]] = {
    "memory": MemoryWorld,
    "memory-4-shards": lambda server: MemoryWorld(server, 4),
    "redis": RedisWorld,
    "redis-4-shards": lambda server: RedisWorld(server, 4),
}
