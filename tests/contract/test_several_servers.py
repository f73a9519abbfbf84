"""What holds on several servers beside the contract: where keys lie, what a moving slot stops, who answers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
import structlog
from redis.crc import key_slot
from redis.exceptions import MovedError

from crawler.errors import ConfigError, FrontierUnavailable
from crawler.frontier.redis.backend import open_redis
from crawler.frontier.redis.keys import shard_for, shard_prefix
from crawler.frontier.redis.server import Server
from crawler.model import Done, Job, Request, Retry, Visit
from crawler.testing.contract.world import AT_ONCE, Crawl, failed, hosts, pages
from tests.contract.world import ClusterWorld
from tests.invariants import read
from tests.valkey_fleet import ClusterFleet, SentinelFleet, ask


@pytest.fixture
async def world(cluster_fleet: ClusterFleet) -> AsyncIterator[ClusterWorld]:
    """Six shards on three masters."""
    made = ClusterWorld(cluster_fleet)
    yield made
    await made.close()


class Repeated(Server):
    """Runs each script twice and gives the second reply, as if the first were lost."""

    async def run(self, script: str, key: str, *arguments: Any, barrier: bool = False) -> Any:
        await super().run(script, key, *arguments, barrier=barrier)
        return await super().run(script, key, *arguments, barrier=barrier)


# --- where the keys are


async def test_each_master_has_two_shards_unless_the_settings_say_otherwise(world: ClusterWorld) -> None:
    async with open_redis(Server(world.server.url), prefix=world.prefix) as frontier:
        await frontier.adding.add(await frontier.jobs.create(Job("news")), [Request(url) for url in hosts(60)])
    assert Counter(world.fleet.master(prefix).port for prefix in world.prefixes()) == {
        master.port: 2 for master in world.fleet.masters()
    }
    held = [read(url, prefix=world.prefix).shards for url in world.urls()]
    assert [len(shards) for shards in held] == [2, 2, 2]


async def test_masters_without_a_shard_are_told(world: ClusterWorld) -> None:
    with structlog.testing.capture_logs() as logs:
        async with open_redis(Server(world.server.url), prefix=world.prefix, shards=2):
            pass
    (said,) = [line["why"] for line in logs if line["event"] == "masters_without_shards"]
    assert said.startswith("1 of 3 masters have none of the 2 shards")


async def test_no_more_connections_to_a_node_than_to_a_single_server(world: ClusterWorld) -> None:
    """The 17th call waits for one of the 16; redis-py's own cluster client fails."""
    server = Server(world.server.url, name=world.prefix)
    async with open_redis(server, prefix=world.prefix) as frontier:
        job = await frontier.jobs.create(Job("news"))
        added = await asyncio.gather(*(frontier.adding.add(job, [Request(url)]) for url in pages(80)))
        assert sum(one.new for one in added) == 80
        for master in world.fleet.masters():
            clients = ask(master, "CLIENT", "LIST")
            assert str(clients).count(f"name={world.prefix} ") <= 16


# --- replies that are lost


async def test_repeated_calls_take_effect_once(world: ClusterWorld) -> None:
    async with open_redis(Repeated(world.server.url), prefix=world.prefix) as frontier:
        job = await frontier.jobs.create(Job("news"))
        await frontier.adding.add(job, [Request(url) for url in hosts(24)])
        done: list[str] = []
        while claimed := (await frontier.queue.claim("w1", 5, [job], AT_ONCE)).leases:
            for lease in claimed:
                outcome = Retry(failed(), 60.0) if lease.request.url.endswith("h1.example/") else Done()
                links = (Request("http://h0.example/next"),) if not lease.request.url.endswith("next") else ()
                visit = Visit(outcome, items=(b"{}",), links=links)
                assert await frontier.queue.commit("w1", [(lease, visit)], AT_ONCE) == [True]
                done.append(lease.request.url)
        assert Counter(done) == dict.fromkeys([*hosts(24), "http://h0.example/next"], 1)
        stats = await frontier.reading.stats(job)
        assert (stats.known, stats.pending, stats.processing, stats.done, stats.outbox) == (25, 1, 0, 24, 24)


# --- slots that move


async def test_no_script_runs_on_half_of_a_shard(world: ClusterWorld) -> None:
    """While a slot is moved key by key, each script on it is refused before it has changed anything."""
    crawl = await Crawl.create(world)
    await crawl.add(*hosts(24), *pages(3))
    leases = (await crawl.claim(10)).leases
    shard = shard_for(leases[0].host, world.prefixes())
    source = world.fleet.master(shard)
    target = next(master for master in world.fleet.masters() if master is not source)
    slot, before = key_slot(shard.encode()), read(source.url, prefix=world.prefix).raw
    ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", ask(source, "CLUSTER", "MYID"))
    ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", ask(target, "CLUSTER", "MYID"))
    try:
        with pytest.raises(FrontierUnavailable, match=f"node 127.0.0.1:{source.port}"):
            await crawl.end(leases[0], items=(b"{}",))
        with pytest.raises(FrontierUnavailable, match=f"node 127.0.0.1:{source.port}"):
            await crawl.add(f"http://{leases[0].host}/new")
        assert read(source.url, prefix=world.prefix).raw == before
        key = f"{shard}workers"
        ask(source, "MIGRATE", "127.0.0.1", target.port, key, 0, 5000)
        others = (await crawl.claim(30)).leases
        assert shard not in {shard_for(lease.host, world.prefixes()) for lease in others}
        assert ask(target, "CLUSTER", "GETKEYSINSLOT", slot, 9) == [key.encode()]
    finally:
        await asyncio.to_thread(world.fleet.move_slot, shard, target)
    assert await crawl.end(leases[0], items=(b"{}",))
    assert len(others) + len((await crawl.claim(30)).leases) == 17
    assert world.fleet.master(shard) is target


async def test_what_found_its_slot_moved_runs_at_once_on_the_other_node(world: ClusterWorld) -> None:
    """No caller notices, and the node is greeted as a new connection is, though there was one."""
    crawl = await Crawl.create(world)
    assert isinstance(server := crawl.frontier.store, Server)
    await crawl.add(*hosts(24))
    shard = world.prefixes()[3]
    source = world.fleet.master(shard)
    target = next(master for master in world.fleet.masters() if master is not source)
    generation = ask(source, "HGET", f"{shard}clock", "generation")
    await asyncio.to_thread(world.fleet.move_slot, shard, target)
    assert await server.at(shard).hget(f"{shard}clock", "generation") > generation
    await asyncio.to_thread(world.fleet.move_slot, shard, source)
    assert await crawl.counts() == (24, 0, 0, 0)
    assert len((await crawl.claim(30)).leases) == 24


async def test_what_has_run_before_a_slot_was_found_moved_is_not_sent_again(world: ClusterWorld) -> None:
    crawl = await Crawl.create(world)
    server = crawl.frontier.store
    assert isinstance(server, Server)
    here, *others = (f"{shard}number" for shard in world.prefixes())
    there = next(key for key in others if world.fleet.master(key) is not world.fleet.master(here))
    with pytest.raises(MovedError):
        await server.at(here).pipeline(transaction=False).incr(here).incr(there).execute()
    assert ask(world.fleet.master(here), "GET", here) == b"1"
    assert ask(world.fleet.master(there), "GET", there) is None


async def test_a_job_is_deleted_where_its_keys_are_now(world: ClusterWorld) -> None:
    """A scan names no key, so no node says that they have moved."""
    crawl = await Crawl.create(world)
    await crawl.add(*hosts(24))
    shard = world.prefixes()[3]
    target = next(master for master in world.fleet.masters() if master is not world.fleet.master(shard))

    class Moving(Server):
        async def run(self, script: str, key: str, *arguments: Any, barrier: bool = False) -> Any:
            reply = await super().run(script, key, *arguments, barrier=barrier)
            if script == "forget" and key.startswith(shard):
                await asyncio.to_thread(world.fleet.move_slot, shard, target)
            return reply

    async with open_redis(Moving(world.server.url), prefix=world.prefix) as frontier:
        assert ask(world.fleet.master(shard), "KEYS", f"{shard}job:*")
        assert await frontier.jobs.delete(crawl.job.name)
    assert world.fleet.master(shard) is target
    assert ask(target, "KEYS", f"{shard}job:*") == []


# --- what the weakest of them keeps


async def test_the_weakest_server_decides_what_is_waited_for_and_advised(world: ClusterWorld) -> None:
    """With `appendfsync no` nothing tells when the file reaches the disk, so whoever waited for that server's would
    wait for ever."""
    first, *others = world.fleet.masters()
    ask(first, "CONFIG", "SET", "appendonly", "yes", "appendfsync", "no")
    for master in others:
        ask(master, "CONFIG", "SET", "min-replicas-to-write", 1)
    try:
        async with open_redis(Server(world.server.url, replicas=1), prefix=world.prefix) as frontier:
            with structlog.testing.capture_logs() as logs:
                await frontier.adding.durable()
            assert [line["why"].partition(" nothing tells")[0] for line in logs] == ["with appendfsync no"]
            assert not await frontier.store.keeps_data()
            assert "min-replicas-to-write is 0" in str(await frontier.store.replica_advice())
    finally:
        ask(first, "CONFIG", "SET", "appendonly", "no", "appendfsync", "everysec")
        for master in others:
            ask(master, "CONFIG", "SET", "min-replicas-to-write", 0)


# --- who answers


async def test_each_new_connection_to_any_node_puts_its_data_in_doubt(world: ClusterWorld) -> None:
    server, doubts = Server(world.server.url), []
    async with open_redis(server, prefix=world.prefix):
        server.call_when_connected(lambda: doubts.append(1))
        for master in world.fleet.masters():
            ask(master, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        for prefix in world.prefixes():
            await server.at(prefix).exists(f"{prefix}id")
        assert len(doubts) == 3


async def test_a_master_that_comes_back_is_not_believed() -> None:
    """Until the sentinels have made it a replica it takes writes, which they then throw away."""
    with SentinelFleet() as fleet:
        server, old = Server(fleet.url), fleet.master()
        first = shard_prefix("crawler", 0)
        async with open_redis(server) as frontier:
            await frontier.jobs.create(Job("before"))
            ask(old, "PING", replicas=1)
            await asyncio.to_thread(old.kill)
            new = await asyncio.to_thread(fleet.wait_for_promotion, old)
            for sentinel in fleet.sentinels:  # so slow that nobody demotes it
                ask(sentinel, "SENTINEL", "DEBUG", "info-period", 60_000)
            await asyncio.to_thread(old.start)
            while True:
                with suppress(FrontierUnavailable):
                    await frontier.jobs.create(Job("after"))
                    break
            assert ask(new, "HEXISTS", f"{first}jobs", "after")
            assert not ask(old, "HEXISTS", f"{first}jobs", "after")


async def test_a_name_that_no_sentinel_knows_is_refused(sentinel_fleet: SentinelFleet) -> None:
    with pytest.raises(ConfigError, match="no master"):
        async with open_redis(Server(sentinel_fleet.url.replace("/crawl/", "/other/"))):
            pass
