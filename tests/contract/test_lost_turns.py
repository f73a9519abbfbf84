"""Turns at a group's home whose replies were lost, or whose end a queue server has lost with its last second."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from crawler.errors import FrontierUnavailable
from crawler.frontier.redis.backend import open_redis
from crawler.frontier.redis.keys import shard_of, shard_prefix
from crawler.frontier.redis.server import Server
from crawler.model import Job, Release
from crawler.testing.contract.groups import ADDRESS, place
from crawler.testing.contract.turns import ONE_AT_ONCE, Visits
from crawler.testing.contract.world import Crawl, hosts
from tests.chaos.proxy import Proxy, proxy_to
from tests.contract.world import RedisWorld
from tests.valkey import Valkey

SHARDS = 4
HOME = shard_of(ADDRESS, SHARDS)


@pytest.fixture
async def network(valkey_server: Valkey) -> AsyncIterator[Proxy]:
    """Between the worker and the server."""
    async with proxy_to(valkey_server.socket) as made:
        yield made


@pytest.fixture
async def away(network: Proxy, valkey_server: Valkey) -> AsyncIterator[Crawl]:
    """A job whose hosts share an address that is at home in another shard than any of them."""
    world = RedisWorld(valkey_server, SHARDS)
    async with open_redis(Server(network.url, timeout=0.2), prefix=world.prefix, shards=SHARDS) as frontier:
        crawl = Crawl(world, frontier, await frontier.jobs.create(Job("news")))
        urls = [url for url in hosts(20) if shard_of(url.split("/")[2], SHARDS) != HOME]
        await crawl.add(*urls)
        await place(crawl, urls)
        yield crawl
        await world.check()


async def test_a_turn_whose_end_was_lost_ends_at_the_next_connection(away: Crawl, valkey_server: Valkey) -> None:
    """Its worker lives, so that nobody reaps it; until then the address has no room."""
    world, visits = RedisWorld(valkey_server), Visits(away, ONE_AT_ONCE)
    prefix = shard_prefix(away.world.prefix, HOME)  # type: ignore[attr-defined]
    await visits.until_one()
    async with world.raw() as client:
        before = await client.hgetall(f"{prefix}worker:w1:turns")
        await visits.end()
        await client.hset(f"{prefix}worker:w1:turns", mapping=before)
        await client.hincrby(f"{prefix}host:{ADDRESS}", "inflight", 1)
        for _ in range(4):
            await away.world.pass_time(await visits.begin())
        assert visits.under_way == []
        await client.client_kill_filter(_type="normal", skipme=True)
    await visits.until_one()
    await visits.end()


async def test_a_turn_that_is_taken_while_lost_ones_are_looked_for_stays(
    away: Crawl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Visits go on meanwhile."""
    visits = Visits(away, ONE_AT_ONCE)
    await visits.until_one()
    await visits.end()
    lease = await away.lease(pace=ONE_AT_ONCE)
    ledger: Any = away.frontier.ledger
    client, key = ledger._server.at(""), f"{ledger._shards[HOME]}worker:w1:turns"
    read, waits = client.hkeys, list[float]()

    async def meanwhile(of: str) -> Any:
        if of == key:
            waits.append(await ledger.take_turn("w1", lease, ADDRESS, ONE_AT_ONCE))
        return await read(of)

    monkeypatch.setattr(client, "hkeys", meanwhile)
    ledger.doubt()
    await ledger.end_lost("w1")
    assert (waits, await client.hlen(key)) == ([0.0], 1)
    assert await away.end(lease, pace=ONE_AT_ONCE)


async def test_a_turn_whose_reply_was_lost_ends_with_its_lease(away: Crawl, network: Proxy) -> None:
    """The worker does not know whether it has it, and hands the page back."""
    visits = Visits(away, ONE_AT_ONCE)
    await visits.until_one()  # now the server knows the scripts
    await visits.end()
    lease = await away.lease(pace=ONE_AT_ONCE)
    network.lose_replies()
    with pytest.raises(FrontierUnavailable):
        await away.frontier.ledger.take_turn("w1", lease, ADDRESS, ONE_AT_ONCE)
    with pytest.raises(FrontierUnavailable):
        await away.end(lease, Release("queue server away"), pace=ONE_AT_ONCE)
    network.heal()
    assert await away.end(lease, Release("queue server away"), pace=ONE_AT_ONCE)
    await visits.until_one()
    await visits.end()
