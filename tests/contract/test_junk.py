"""Scripts and workers read any bytes alike, in every place, and no bytes stop them."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
import redis.asyncio

from crawler.frontier.message import ledger_host
from crawler.frontier.redis import scripts
from crawler.frontier.redis.keys import job_prefix, shard_of, shard_prefix
from crawler.frontier.redis.server import Server
from crawler.model import Claim, Failure
from crawler.testing.contract.world import Crawl, pages
from tests.contract.world import RedisWorld
from tests.junk import CASES, HOST, JUNK, LARGE, LATER, REQUEST, Case, mutants


@pytest.fixture
def world(redis_world: RedisWorld) -> RedisWorld:
    """Only the kinds with a server."""
    return redis_world


_READ = scripts.assemble("""-- needs: message
local found = {}
for i, message in ipairs(ARGV) do
  found[i] = host_in(message) or ''
end
return found
""")


async def test_the_scripts_read_a_head_in_the_same_bytes(client: redis.asyncio.Redis) -> None:
    chance = random.Random(3)
    messages = [case.message for case in CASES.values()] + list(mutants(chance, 5_000, HOST))
    messages += list(mutants(chance, 500, "[2001:db8::1]"))
    found: list[bytes] = await client.eval(_READ, 0, *messages)
    for message, host in zip(messages, found, strict=True):
        assert host.decode() == ledger_host(message), message[:200]


_PARDONED = scripts.assemble("""-- needs: message
local found = {}
for i, message in ipairs(ARGV) do
  found[i] = pardoned(message)
end
return found
""")


async def test_of_a_pardoned_message_nothing_changes_but_its_counts(client: redis.asyncio.Redis) -> None:
    messages = [case.message for case in CASES.values()] + list(mutants(random.Random(4), 5_000, HOST))
    messages = [message for message in messages if ledger_host(message)]
    found: list[bytes] = await client.eval(_PARDONED, 0, *messages)
    for message, new in zip(messages, found, strict=True):
        version, delivery, _, _, rest = message.split(b",", 4)
        assert new == b"%b,%d,0,0,%b" % (version, (int(delivery) + 1) % LARGE, rest)


REQUESTS = [case for case in CASES.values() if case.verdict == REQUEST]
JUNKS = [case for case in CASES.values() if case.verdict == JUNK]
INNOCENT = [*pages(2), "http://b.example/"]


def _shard(world: RedisWorld, host: str) -> str:
    return shard_prefix(world.prefix, shard_of(host, world.shards))


def _place(world: RedisWorld, crawl: Crawl, case: Case) -> tuple[str, str]:
    """The host whose line gets those bytes, and J of its shard."""
    host = ledger_host(case.message) or HOST
    return host, job_prefix(_shard(world, host), crawl.job.name)


async def _count(client: redis.asyncio.Redis, job: str, case: Case, state: str = "pending") -> None:
    """Count a message as `add` would. Junk has no count before a script or worker finds it."""
    if case.verdict != JUNK:
        for counter in ("known", "admitted", state):
            await client.hincrby(f"{job}stats", counter, 1)


async def _put_away(crawl: Crawl, claim: Claim) -> None:
    """Bury or set aside the junk of a claim, as a worker does."""
    for junk in claim.junk:
        if junk.version is None:
            assert await crawl.frontier.queue.bury("w1", crawl.job, junk.message, Failure("junk", junk.why))
        else:
            assert await crawl.frontier.queue.set_aside("w1", crawl.job, junk.message, 600.0)


async def _work(crawl: Crawl) -> list[str]:
    """Work as a worker does until claims return nothing; return the visited URLs."""
    visited: list[str] = []
    while (claim := await crawl.claim()).leases or claim.junk or claim.wait == 0:
        assert all(await crawl.finish(claim.leases))
        visited += [lease.request.url for lease in claim.leases]
        await _put_away(crawl, claim)
    return visited


async def _junk_in_the_dead_letters(crawl: Crawl) -> list[bytes]:
    letters = await crawl.frontier.letters.newest(crawl.job)
    assert {letter.failure.kind for letter in letters} <= {"junk"}
    return sorted(letter.message.encode() for letter in letters)


def _as_shown(messages: Iterable[bytes]) -> list[bytes]:
    return sorted(message.decode("utf-8", "backslashreplace").encode() for message in messages)


async def _is_nobody_in_flight(client: redis.asyncio.Redis, world: RedisWorld) -> bool:
    keys = [key async for key in client.scan_iter(match=f"{{{world.prefix}:*:host:*", count=1000)]
    booked = [int(await client.hget(key, "inflight") or 0) for key in keys]
    return not any(booked)


async def _all_are_accounted_for(world: RedisWorld, crawl: Crawl, client: redis.asyncio.Redis) -> None:
    """Requests are visited, messages of later versions wait unchanged, the rest are dead letters; nothing else."""
    visited = await _work(crawl)
    assert len(visited) == len(INNOCENT) + len(REQUESTS)
    assert set(INNOCENT) < set(visited)
    assert await _junk_in_the_dead_letters(crawl) == _as_shown(case.message for case in JUNKS)
    later = {case.message for case in CASES.values() if case.verdict == LATER}
    _, job = _place(world, crawl, CASES["plain"])
    assert set(await client.zrange(f"{job}delayed", 0, -1)) == later
    assert await crawl.counts() == (len(later), 0, len(visited), len(JUNKS))
    assert await _is_nobody_in_flight(client, world)
    assert await crawl.frontier.letters.redrive(crawl.job) == 0
    assert await crawl.frontier.letters.drop(crawl.job) == len(JUNKS)


async def test_in_a_line(world: RedisWorld, crawl: Crawl, client: redis.asyncio.Redis) -> None:
    await crawl.add(*INNOCENT)
    for case in CASES.values():
        host, job = _place(world, crawl, case)
        await client.rpush(f"{job}pending:0:{host}", case.message)
        await client.zadd(f"{job}hosts", {host: 0})
        await _count(client, job, case)
    await _all_are_accounted_for(world, crawl, client)


async def test_in_the_delayed_set(world: RedisWorld, crawl: Crawl, client: redis.asyncio.Redis) -> None:
    await crawl.add(*INNOCENT)
    for case in CASES.values():
        _, job = _place(world, crawl, case)
        await client.zadd(f"{job}delayed", {case.message: 0})
        await _count(client, job, case)
    await _all_are_accounted_for(world, crawl, client)


async def test_in_the_hands_of_a_worker_that_died(world: RedisWorld, crawl: Crawl, client: redis.asyncio.Redis) -> None:
    """The reaper buries what it cannot read. It returns the rest with one more delivery, even if no worker can read
    it."""
    await crawl.add(*INNOCENT)
    await crawl.claim()
    given_back = [case for case in JUNKS if case.has_head]
    for case in CASES.values():
        host, job = _place(world, crawl, case)
        await client.lpush(f"{job}processing:w1", case.message)
        await client.sadd(f"{_shard(world, host)}worker:w1:jobs", crawl.job.name)
        await _count(client, job, case, "processing")
        if case in given_back:  # as if it had been claimed
            await client.hincrby(f"{job}stats", "processing", 1)
    await crawl.frontier.leases.reap("w1")
    for case in given_back:
        await client.hincrby(f"{_place(world, crawl, case)[1]}stats", "pending", -1)
    visited = await _work(crawl)
    assert len(visited) == len(INNOCENT) + len(REQUESTS)
    buried = await _junk_in_the_dead_letters(crawl)
    assert len(buried) == len(JUNKS)
    assert set(_as_shown(case.message for case in JUNKS if case not in given_back)) < set(buried)
    assert (await crawl.counts())[1:] == (0, len(visited), len(JUNKS))
    assert await _is_nobody_in_flight(client, world)


async def test_in_its_own_hands(world: RedisWorld, crawl: Crawl, client: redis.asyncio.Redis) -> None:
    """After a new connection a worker checks in each shard whether its lists hold more than it was handed."""
    await crawl.add(*INNOCENT)
    first = (await crawl.claim()).leases
    job = job_prefix(shard_prefix(world.prefix, world.shards - 1), crawl.job.name)
    await client.lpush(f"{job}processing:w1", *[case.message for case in CASES.values()])
    assert isinstance(crawl.frontier.store, Server)
    crawl.frontier.store.connected()
    found = 0
    while (claim := await crawl.claim()).leases or claim.junk:
        await _put_away(crawl, claim)
        assert all(await crawl.finish(claim.leases))
        found += len(claim.leases) + len(claim.junk)
    assert found == len(CASES)
    assert await crawl.finish(first) == [True] * 3
    assert await client.llen(f"{job}processing:w1") == 0


async def test_a_request_in_a_shard_that_is_not_its_hosts(
    world: RedisWorld, crawl: Crawl, client: redis.asyncio.Redis
) -> None:
    """A commit would look for such a request in the host's own shard and never find it."""
    if world.shards == 1:
        pytest.skip("there is one shard")
    host = next(f"h{n}.example" for n in range(99) if shard_of(f"h{n}.example", world.shards) == 1)
    job = job_prefix(shard_prefix(world.prefix, 0), crawl.job.name)
    await client.rpush(f"{job}pending:0:{host}", f'[1,0,0,0,0,"http://{host}/",0,"site"]')
    await client.zadd(f"{job}hosts", {host: 0})
    await crawl.add(*INNOCENT)
    assert sorted(await _work(crawl)) == sorted(INNOCENT)
    (letter,) = await crawl.frontier.letters.newest(crawl.job)
    assert "in a shard of other hosts" in letter.failure.message
    assert await crawl.counts() == (0, 0, 3, 1)
    assert await crawl.finished()
    assert await _is_nobody_in_flight(client, world)


async def test_a_job_with_junk_in_hand_can_be_deleted(
    world: RedisWorld, crawl: Crawl, client: redis.asyncio.Redis
) -> None:
    await crawl.add(*pages(1))
    await crawl.claim()
    _, job = _place(world, crawl, CASES["plain"])
    await client.lpush(f"{job}processing:w1", *[case.message for case in CASES.values()])
    assert await crawl.frontier.jobs.delete(crawl.job.name)
    assert await _is_nobody_in_flight(client, world)


async def test_much_junk_is_buried_a_little_at_a_time(
    world: RedisWorld, crawl: Crawl, client: redis.asyncio.Redis
) -> None:
    await crawl.add(*pages(1))
    _, job = _place(world, crawl, CASES["plain"])
    await client.rpush(f"{job}pending:0:{HOST}", *[f"junk {number}" for number in range(1_200)])
    await crawl.claim()
    assert 0 < await crawl.counter("dead/junk") <= 500
    assert len(await _work(crawl)) == 1
    assert await crawl.counts() == (0, 0, 1, 1_200)
