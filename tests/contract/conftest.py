"""Fixtures of the contract suite: every test runs once for each kind of backend."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial

import pytest
import redis.asyncio

from crawler.testing.contract.world import World, crawl, world
from tests.contract.world import KINDS, RedisWorld
from tests.valkey import Valkey
from tests.valkey_fleet import ClusterFleet, SentinelFleet

__all__ = ["crawl", "new_world", "world"]


@pytest.fixture(scope="package")
def sentinel_fleet() -> Iterator[SentinelFleet]:
    """One for all tests of this folder."""
    with SentinelFleet() as fleet:
        yield fleet


@pytest.fixture(scope="package")
def cluster_fleet() -> Iterator[ClusterFleet]:
    """One for all tests of this folder."""
    with ClusterFleet() as fleet:
        yield fleet


@pytest.fixture(params=KINDS)
def new_world(request: pytest.FixtureRequest, valkey_server: Valkey) -> Callable[[], World]:
    """The class that makes empty worlds."""
    return partial(KINDS[request.param], valkey_server)


@pytest.fixture(params=[1, 4], ids=["redis", "redis-4-shards"])
async def redis_world(request: pytest.FixtureRequest, valkey_server: Valkey) -> AsyncIterator[RedisWorld]:
    """A world of a kind with a server, for tests that look into it, or write into it."""
    made = RedisWorld(valkey_server, request.param)
    yield made
    await made.close()


@pytest.fixture
async def client(valkey_server: Valkey) -> AsyncIterator[redis.asyncio.Redis]:
    """The client of a person who looks into that server, or writes into it, by hand."""
    client = redis.asyncio.Redis.from_url(valkey_server.url)
    yield client
    await client.aclose()
