"""The Redis frontier's data in the server: readable lists, one hash tag for each shard, no searching."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

import pytest
import redis.asyncio

from crawler.errors import ConfigError, FrontierReplaced, FrontierUnavailable
from crawler.frontier.redis.backend import open_redis
from crawler.frontier.redis.keys import job_prefix, shard_of, shard_prefix
from crawler.frontier.redis.server import Server
from crawler.model import Done, Failure, Job, Release, Request, Retry, Visit
from crawler.testing.contract.world import AT_ONCE, Crawl, dead, failed, hosts, pages
from tests.chaos.proxy import proxy_to
from tests.contract.world import RedisWorld
from tests.valkey import Valkey

T = TypeVar("T")


@pytest.fixture
def world(redis_world: RedisWorld) -> RedisWorld:
    """Only the kinds with a server."""
    return redis_world


async def _keys(client: redis.asyncio.Redis, world: RedisWorld, like: str = "*") -> list[str]:
    return sorted([key.decode() async for key in client.scan_iter(match=f"{{{world.prefix}:*{like}", count=1000)])


async def _lists(client: redis.asyncio.Redis, world: RedisWorld, like: str) -> list[bytes]:
    """All entries of the lists of that name, oldest last."""
    found: list[bytes] = []
    for key in await _keys(client, world, like):
        assert await client.type(key) == b"list"
        found += cast("list[bytes]", await client.lrange(key, 0, -1))
    return found


async def test_pending_and_processing_are_lists(world: RedisWorld, crawl: Crawl, client: redis.asyncio.Redis) -> None:
    await crawl.add(*pages(3), Request("http://a.example/high", priority=5))
    assert len(await _lists(client, world, ":pending:*")) == 4
    leases = (await crawl.claim(2)).leases
    assert [lease.request.url for lease in leases] == ["http://a.example/high", "http://a.example/0"]
    assert set(await _lists(client, world, ":processing:*")) == {lease.message for lease in leases}
    assert len(await _lists(client, world, ":pending:*")) == 2


async def test_a_page_whose_address_has_no_turn_is_pending_again_at_once(
    world: RedisWorld, crawl: Crawl, client: redis.asyncio.Redis
) -> None:
    """It is the next of its host, and waits in no other set."""
    await crawl.add(*pages(2))
    lease = await crawl.lease()
    assert await crawl.end(lease, Release("turn", turn=60.0), unasked=True)
    (line,) = await _keys(client, world, ":pending:*")
    assert b"/0" in cast("list[bytes]", await client.lrange(line, 0, -1))[-1]
    assert await _keys(client, world, ":delayed") == []


async def test_lists_that_are_empty_are_gone(world: RedisWorld, crawl: Crawl, client: redis.asyncio.Redis) -> None:
    """A finished crawl leaves no data that grows with its hosts but the seen-set and the ledger; `read` is bounded."""
    await crawl.add(*hosts(20), *[Request(f"{url}p", priority=3) for url in hosts(20)], seed=False)
    while leases := (await crawl.claim()).leases:
        await crawl.finish(leases)
    left = [key.split(":", 2)[2] for key in await _keys(client, world, ":job:*")]
    grows = ("job:news:seen:", "job:news:stats", "job:news:read")
    assert {key for key in left if not key.startswith(grows)} == set()


async def test_all_keys_of_a_shard_share_its_hash_tag(
    world: RedisWorld, crawl: Crawl, client: redis.asyncio.Redis
) -> None:
    await _fill(crawl)
    tags = {key[: key.index("}") + 1] for key in await _keys(client, world)}
    assert tags == {f"{{{world.prefix}:{shard}}}" for shard in range(world.shards)}
    stray = [key.decode() async for key in client.scan_iter(match=f"*{world.prefix}*", count=1000)]
    assert [key for key in stray if not key.startswith(f"{{{world.prefix}:")] == []


async def test_nobody_searches_on_the_paths_of_a_worker(
    world: RedisWorld, crawl: Crawl, client: redis.asyncio.Redis
) -> None:
    """No KEYS, no SCAN and nothing that reads a whole list, set or hash but the few counters."""
    await client.config_resetstat()
    await _fill(crawl)
    await crawl.frontier.reading.stats(crawl.job)
    await crawl.frontier.reading.workers()
    await crawl.frontier.leases.reap("w1")
    await crawl.outbox.read(crawl.job, {}, 10)
    ran = {name.removeprefix("cmdstat_") for name in await client.info("commandstats")}
    assert "evalsha" in ran
    assert not ran & {"keys", "scan", "sscan", "hscan", "zscan", "sort", "hkeys", "hvals"}


async def test_deleting_a_job_leaves_no_key_of_it(world: RedisWorld, crawl: Crawl, client: redis.asyncio.Redis) -> None:
    await _fill(crawl)
    assert await _keys(client, world, ":job:news:*")
    await crawl.frontier.jobs.delete("news")
    assert await _keys(client, world, ":job:news:*") == []


async def test_a_name_that_looks_like_a_pattern_deletes_nothing_else(world: RedisWorld) -> None:
    crawl = await Crawl.create(world, Job("a.b"))
    other = await Crawl.create(world, Job("axb"))
    await other.add(*hosts(3))
    await crawl.frontier.jobs.delete("a.b")
    assert await other.counts() == (3, 0, 0, 0)


async def test_the_shards_are_those_of_the_creation(world: RedisWorld, crawl: Crawl) -> None:
    """A client that names no number has them; one that names another is refused."""
    await crawl.add(*hosts(10))
    async with open_redis(Server(world.server.url), prefix=world.prefix) as other:
        claim = await other.queue.claim("w2", 50, [crawl.job], AT_ONCE)
    assert len(claim.leases) == 10
    with pytest.raises(ConfigError, match=f"SHARDS=9: .*created with {world.shards}, for good"):
        async with open_redis(Server(world.server.url), prefix=world.prefix, shards=9):
            pass


async def test_each_claim_begins_with_another_shard(world: RedisWorld, crawl: Crawl) -> None:
    """Otherwise a small claim would never reach the last shard."""
    await crawl.add(*hosts(40))
    leases = [await crawl.lease() for _ in range(world.shards)]
    assert {shard_of(lease.host, world.shards) for lease in leases} == set(range(world.shards))


# --- junk


JUNK = {
    "no-json": b"\x80\x02\xff not json",
    "pickle": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94.",
    "empty": b"",
    "other-host": b'[1,0,0,0,0,"http://elsewhere.example/"]',
    "not-canonical": b'[1,0,0,0,0,"http://a.example/ \xc3\xbc"]',
    "wrong-types": b'[1,0,0,0,0,"http://a.example/","deep"]',
    "unknown-field": b'[1,0,0,0,0,"http://a.example/",0,"",{"exec":"rm"}]',
    "scheme": b'[1,0,0,0,0,"file://a.example/etc/passwd"]',
    "cut": b'[1,0,0,0,0,"http://a.example/",0,"",{"meta":',
    "nested": b'[1,0,0,0,0,"http://a.example/",0,"",{"meta":' + b"[" * 100_000,
}


@pytest.mark.parametrize("junk", JUNK.values(), ids=JUNK.keys())
async def test_junk_ends_among_the_dead_and_harms_nobody(
    world: RedisWorld, crawl: Crawl, client: redis.asyncio.Redis, junk: bytes
) -> None:
    await crawl.add(*pages(2))
    (line,) = await _keys(client, world, ":pending:*")
    await client.rpush(line, junk)
    while (claim := await crawl.claim()).leases or claim.junk:
        assert all(await crawl.finish(claim.leases))
        for one in claim.junk:
            assert one.version is None
            assert await crawl.frontier.queue.bury("w1", crawl.job, one.message, Failure("junk", one.why))
    (letter,) = await crawl.frontier.letters.newest(crawl.job)
    assert letter.failure.kind == "junk"
    assert await crawl.counts() == (0, 0, 2, 1)
    assert await crawl.finished()
    assert (await crawl.claim(pace=AT_ONCE)).idle == "empty"


@pytest.mark.parametrize("junk", [b"", b"junk", b"[1,0]", b"\xff\xfe"])
async def test_junk_in_a_processing_list_is_buried_by_the_reaper(
    world: RedisWorld, crawl: Crawl, client: redis.asyncio.Redis, junk: bytes
) -> None:
    """The worker's own requests go back all the same."""
    await crawl.add("http://a.example/")
    await crawl.lease()
    (line,) = await _keys(client, world, ":processing:w1")
    await client.lpush(line, junk)
    (reaped,) = await crawl.frontier.leases.reap("w1")
    assert reaped.requeued == 1
    (letter,) = await crawl.frontier.letters.newest(crawl.job)
    assert letter.failure.kind == "junk"
    assert await crawl.counts() == (1, 0, 0, 1)


async def test_junk_frees_its_hosts_slot(world: RedisWorld, crawl: Crawl, client: redis.asyncio.Redis) -> None:
    await crawl.add("http://a.example/")
    (line,) = await _keys(client, world, ":pending:*")
    await client.rpush(line, JUNK["wrong-types"])
    await crawl.frontier.queue.claim("w1", 1, [crawl.job], AT_ONCE)
    (held,) = await _lists(client, world, ":processing:*")
    await crawl.frontier.queue.bury("w1", crawl.job, held, Failure("junk", "x"))
    for key in await _keys(client, world, ":host:*"):
        assert int(await client.hget(key, "inflight") or 0) == 0


async def test_a_message_of_a_later_version_is_left_as_it_is(
    world: RedisWorld, crawl: Crawl, client: redis.asyncio.Redis
) -> None:
    await crawl.add(*pages(1))
    (line,) = await _keys(client, world, ":pending:*")
    later = b'[7,0,0,0,0,"http://a.example/",0,"",{"new":1}]'
    await client.lset(line, 0, later)  # type: ignore[arg-type]
    (junk,) = (await crawl.claim()).junk
    assert (junk.version, junk.message) == (7, later)
    assert await crawl.frontier.queue.set_aside("w1", crawl.job, junk.message, 60.0)
    (delayed,) = await _keys(client, world, ":delayed")
    assert await client.zrange(delayed, 0, -1) == [later]
    assert await crawl.counts() == (1, 0, 0, 0)


# --- servers that fail


async def test_an_emptied_server_is_not_taken_for_the_end() -> None:
    with Valkey() as server:
        async with open_redis(Server(server.url)) as frontier:
            job = await frontier.jobs.create(Job("news"))
            await frontier.adding.add(job, [Request(url) for url in hosts(5)])
            claim = await frontier.queue.claim("w1", 2, [job], AT_ONCE)
            client = redis.asyncio.Redis.from_url(server.url)
            await client.flushall()
            await client.aclose()
            with pytest.raises(FrontierReplaced, match="news"):
                await frontier.queue.claim("w1", 2, [job], AT_ONCE)
            with pytest.raises(FrontierReplaced, match="news"):
                await frontier.adding.add(job, [Request("http://new.example/")])
            with pytest.raises(FrontierReplaced, match="news"):
                await frontier.queue.commit("w1", [(lease, Visit(Done())) for lease in claim.leases], AT_ONCE)
            with pytest.raises(FrontierReplaced):
                await frontier.jobs.all()
            assert not (await frontier.reading.stats(job)).finished


async def test_a_server_that_evicts_is_refused() -> None:
    with (
        Valkey(options={"maxmemory": "50mb", "maxmemory-policy": "allkeys-lru"}) as server,
        pytest.raises(ConfigError, match="maxmemory-policy"),
    ):
        async with open_redis(Server(server.url)):
            pass


async def test_state_outlives_a_killed_server() -> None:
    with Valkey(appendonly=True) as server:
        async with open_redis(Server(server.url)) as frontier:
            job = await frontier.jobs.create(Job("news"))
            await frontier.adding.add(job, [Request(url) for url in hosts(10)])
            claim = await frontier.queue.claim("w1", 4, [job], AT_ONCE)
            server.restart()
            visits = [(lease, Visit(Done())) for lease in claim.leases]
            assert await frontier.queue.commit("w1", visits, AT_ONCE) == [True] * 4
            stats = await frontier.reading.stats(job)
            assert (stats.pending, stats.processing, stats.done) == (6, 0, 4)


@pytest.mark.parametrize("shards", [1, 4])
async def test_calls_whose_reply_was_lost_are_repeated_and_take_effect_once(valkey_server: Valkey, shards: int) -> None:
    """The server ran the call, but its reply is lost: nothing is lost or doubled."""
    async with (
        proxy_to(valkey_server.socket) as network,
        open_redis(Server(network.url, timeout=0.1), prefix=f"lost{shards}", shards=shards) as frontier,
    ):
        job = await frontier.jobs.create(Job("news"))

        async def unheard(call: Callable[[], Awaitable[T]]) -> T:
            """Call with the reply lost in one shard after the other, then once more."""
            for _ in range(shards):
                lost = network.replies_lost
                network.lose_replies()
                with pytest.raises(FrontierUnavailable):
                    await call()
                assert network.replies_lost > lost
                network.heal()
            return await call()

        # The server must know the scripts: a call of one that it does not know changes nothing.
        await frontier.adding.add(job, [Request("http://a.example/")])
        (first,) = (await frontier.queue.claim("w1", 50, [job], AT_ONCE)).leases
        assert await frontier.queue.commit("w1", [(first, Visit(Done()))], AT_ONCE) == [True]
        await unheard(lambda: frontier.adding.add(job, [Request(url) for url in hosts(20)]))
        leases = (await unheard(lambda: frontier.queue.claim("w1", 50, [job], AT_ONCE))).leases
        assert sorted(lease.request.url for lease in leases) == sorted(hosts(20))

        outcomes = [Done()] * 10 + [Retry(failed(), 0.0)] * 5 + [dead()] * 5
        visits = [(lease, Visit(outcome, items=(b"{}",))) for lease, outcome in zip(leases, outcomes, strict=True)]
        assert await unheard(lambda: frontier.queue.commit("w1", visits, AT_ONCE)) == [True] * 20
        stats = await frontier.reading.stats(job)
        assert (stats.known, stats.pending, stats.processing, stats.done, stats.dead) == (21, 5, 0, 11, 5)
        assert (stats.outbox, stats.counters["items"], stats.counters["retried"]) == (15, 15, 5)


async def test_an_unreachable_server_is_named(tmp_path: object) -> None:
    with pytest.raises(FrontierUnavailable, match="nobody"):
        async with open_redis(Server(f"unix://{tmp_path}/nobody", timeout=0.5)):
            pass


async def _fill(crawl: Crawl) -> None:
    """Write every kind of key."""
    await crawl.add(*hosts(40), *pages(3), Request("http://a.example/p", priority=5))
    await crawl.add(Request("http://a.example/later", delay=60.0))
    await crawl.frontier.adding.seeding(crawl.job, "s1", 60.0)
    await crawl.outbox.hold(crawl.job, "e1", 60.0)
    await crawl.frontier.asking.put_shared("robots:a.example", b"v", 60.0)
    await asyncio.to_thread(crawl.frontier.leases.beat, "w1", {"pid": 1})
    leases = (await crawl.claim(30)).leases
    assert await crawl.frontier.asking.take_host("w1", leases[-1])
    visits = [Visit(Done(), items=(b"{}",)), Visit(dead()), Visit(Retry(failed(), 60.0))]
    await crawl.frontier.queue.commit("w1", [(lease, visits[n % 3]) for n, lease in enumerate(leases[:20])], AT_ONCE)


async def test_a_deletion_that_was_interrupted_is_ended_before_the_job_is_created_again(
    world: RedisWorld, crawl: Crawl, client: redis.asyncio.Redis
) -> None:
    """Otherwise the new job would never fetch the URLs that the old one knew."""
    await crawl.add(*hosts(20))
    server = Server(world.server.url)
    async with open_redis(server, prefix=world.prefix) as cut:
        for number in range(world.shards):
            shard = shard_prefix(world.prefix, number)
            job = job_prefix(shard, "news")
            await server.run("forget", f"{job}stats", shard, job, "" if number else "news")
            assert await client.smembers(f"{shard}deleted") == (set() if number else {b"news"})
        again = Crawl(world, cut, await cut.jobs.create(Job("news")))
        assert again.job.epoch != crawl.job.epoch
        assert await again.add(*hosts(20)) == 20
        assert await client.smembers(f"{{{world.prefix}:0}}:deleted") == set()


@pytest.mark.parametrize("left", [b'news\nw9\n[1,0,0,0,0,"http://a.example/",0,""]', b"\xff", b"", b"a\nb\n\nc"])
async def test_a_host_is_free_whatever_a_lease_that_is_gone_left_behind(
    world: RedisWorld, crawl: Crawl, client: redis.asyncio.Redis, left: bytes
) -> None:
    """A reaper of an older version takes the asker's lease and knows nothing of `asking`."""
    await crawl.add(*pages(2))
    shard = shard_prefix(world.prefix, shard_of("a.example", world.shards))
    await client.hset(f"{shard}asking", "a.example", left)
    lease, _ = (await crawl.claim()).leases
    assert await client.exists(f"{shard}asking") == 0
    assert await crawl.frontier.asking.take_host("w1", lease)
