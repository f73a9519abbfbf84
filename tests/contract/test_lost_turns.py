"""Turns whose end a queue server has lost, because it crashed within the second after."""

from __future__ import annotations

from crawler.testing.contract.groups import ADDRESS, place
from crawler.testing.contract.turns import ONE_AT_ONCE, Visits
from crawler.testing.contract.world import Crawl, hosts
from tests.contract.world import RedisWorld
from tests.valkey import Valkey

NAMES = 12


async def test_a_turn_whose_end_was_lost_ends_at_the_next_connection(valkey_server: Valkey) -> None:
    """Its worker lives, so that nobody reaps it; until then the address has no room."""
    world = RedisWorld(valkey_server, shards=4)
    crawl = await Crawl.create(world)
    await crawl.add(*hosts(NAMES), *(f"{url}more" for url in hosts(NAMES)))
    await place(crawl, hosts(NAMES))
    visits = Visits(crawl, ONE_AT_ONCE)
    async with world.raw() as client:
        while not (turns := await client.keys(f"{{{world.prefix}:*:turns")):  # it may begin with the group's home
            await visits.end()
            await visits.until_one()
        (key,) = turns
        before = await client.hgetall(key)
        await visits.end()
        await client.hset(key, mapping=before)
        await client.hincrby(key.decode().partition("worker:")[0] + f"host:{ADDRESS}", "inflight", 1)
        for _ in range(4):
            await world.pass_time(await visits.begin())
        assert visits.under_way == []
        await client.client_kill_filter(_type="normal", skipme=True)
        await visits.until_one()
        await visits.end()
    await world.check()
    await world.close()
