"""The limits of one claim, when it checks again what it left, and how much the frontier keeps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from crawler.frontier.redis.keys import job_prefix, shard_prefix
from crawler.interfaces import Pace
from crawler.model import Job, Request, Rule, Skip
from crawler.parsing.url import dedup_key, fingerprint
from crawler.testing.contract.world import AT_ONCE, Crawl, World, hosts, pages
from tests.contract.world import KINDS, RedisWorld, ServerWorld
from tests.valkey import Valkey

ONE = Pace(delay=0.0, concurrency=1)


@pytest.fixture(params=["memory", "redis"])
async def world(request: pytest.FixtureRequest, valkey_server: Valkey) -> AsyncIterator[World]:
    """With one shard: a claim asks each shard, and the bounds hold for each."""
    made = KINDS[request.param](valkey_server)
    yield made
    await made.close()


@pytest.fixture
async def client(world: ServerWorld) -> AsyncIterator[Any]:
    """A person with a command line."""
    async with world.raw() as client:
        yield client


def _prefix(world: ServerWorld, crawl: Crawl) -> str:
    return job_prefix(shard_prefix(world.prefix, 0), crawl.job.name)


async def _block(crawl: Crawl, what: str, name: str) -> None:
    await crawl.frontier.control.set_rule(Rule("block", what, name, "on", by="me"))


async def test_what_is_paused_is_looked_at_again_after_ten_seconds(
    world: ServerWorld, crawl: Crawl, client: Any
) -> None:
    await crawl.add(*pages(1))
    await crawl.frontier.pauses.pause(crawl.job, "host", "a.example", "a person said so")
    began = int((await client.time())[0])
    assert (await crawl.claim()).idle == "paused"
    ended = int((await client.time())[0]) + 1
    due = await client.zscore(f"{_prefix(world, crawl)}held", "a.example")
    assert due is not None
    assert began + 10 <= due / 1000 <= ended + 10


async def test_one_claim_looks_at_sixty_four_that_were_paused(world: ServerWorld, crawl: Crawl, client: Any) -> None:
    """A pause that was lifted brings back the first hosts at once; claims find the others when they are due."""
    await crawl.add(*hosts(70))
    held, due = f"{_prefix(world, crawl)}held", f"{_prefix(world, crawl)}hosts"
    await client.zadd(held, {f"h{number}.example": 1 for number in range(70)})
    await client.delete(due)
    assert len((await crawl.claim(100)).leases) == 64
    assert len((await crawl.claim(100)).leases) == 6


async def test_one_claim_looks_at_256_hosts_of_a_blocked_job(crawl: Crawl) -> None:
    await crawl.add(*hosts(300))
    await _block(crawl, "job", crawl.job.name)
    assert await crawl.urls() == []
    assert await crawl.counts() == (300 - 256, 0, 256, 0)
    assert await crawl.urls() == []
    assert await crawl.counts() == (0, 0, 300, 0)


async def test_one_claim_ends_500_requests_of_a_blocked_host(crawl: Crawl) -> None:
    await crawl.add(*pages(600))
    await _block(crawl, "host", "a.example")
    assert await crawl.urls() == []
    assert await crawl.counts() == (100, 0, 500, 0)


async def test_500_characters_are_kept_of_what_made_a_request_be_skipped(
    world: ServerWorld, crawl: Crawl, client: Any
) -> None:
    await crawl.add(*pages(1))
    await crawl.end(await crawl.lease(), Skip("redirect", "é" * 600))
    entries: Any = await client.xrevrange(f"{_prefix(world, crawl)}skips")
    assert [fields[b"detail"].decode() for _, fields in entries] == ["é" * 500]


async def test_a_worker_asks_again_after_a_second_when_no_time_tells_when(world: ServerWorld) -> None:
    crawl = await Crawl.create(world, outbox_limit=1)
    await crawl.add(*pages(3))
    lease = await crawl.lease(pace=ONE)
    full = await crawl.claim(pace=ONE)
    assert (full.wait, full.idle) == (1.0, "cooling")
    await crawl.end(lease, items=(b"{}",))
    outbox = await crawl.claim(pace=AT_ONCE)
    assert (outbox.wait, outbox.idle) == (1.0, "outbox")
    other = await Crawl.create(world)
    await other.frontier.pauses.pause(other.job, "job", other.job.name, "a person said so")
    paused = await other.claim()
    assert (paused.wait, paused.idle) == (1.0, "paused")


async def test_an_order_whose_answer_was_lost_finds_itself_among_the_last_ten(crawl: Crawl) -> None:
    control: Any = crawl.frontier.control
    rule = Rule("pause", "host", "a.example", "on", by="me")
    control._unsure = rule, "token"  # as after a call without an answer
    first = await control.set_rule(rule)
    for number in range(9):
        await _block(crawl, "host", f"h{number}.example")
    control._unsure = rule, "token"
    assert (await control.set_rule(rule)).rule.id == first.rule.id
    assert len(await control.rule_log()) == 10


async def test_a_bucket_of_the_seen_set_holds_200_on_average(world: ServerWorld, crawl: Crawl, client: Any) -> None:
    """On a real server it stays an array of integers, which keeps a known URL at 8 bytes."""
    await crawl.add(*pages(1_000))  # in two calls of 500
    prefix = _prefix(world, crawl)
    assert await client.hget(f"{prefix}stats", "buckets") == b"5"
    if isinstance(world, RedisWorld):
        assert {await client.object("ENCODING", f"{prefix}seen:{bucket}") for bucket in range(5)} == {b"intset"}


async def test_a_split_bucket_loses_nobody_even_if_it_moves_only_one_url(world: World) -> None:
    """Half of the single URLs move when the second bucket comes."""
    for number in range(10):
        crawl = await Crawl.create(world, Job(f"job{number}"))
        await crawl.add(*pages(1, f"h{number}.example"))
        await crawl.add(*pages(250))
        await crawl.add(*pages(1, f"h{number}.example"))
        assert (await crawl.counts())[0] == 251


async def test_marks_count_as_members_of_the_seen_set(world: ServerWorld, crawl: Crawl, client: Any) -> None:
    """A URL that two callbacks asked for takes two places."""
    buckets = f"{_prefix(world, crawl)}stats", "buckets"
    await crawl.add(*pages(200))
    assert await client.hget(*buckets) == b"1"
    await crawl.add(*(Request(url, callback="detail") for url in pages(190)))
    await crawl.add(*pages(11, "b.example"))
    assert await client.hget(*buckets) == b"3"


async def test_a_known_url_stays_where_earlier_versions_look_for_it(
    world: ServerWorld, crawl: Crawl, client: Any
) -> None:
    """Of the fingerprint as a double, the 53 highest bits; modulo 8, or 4 where there is no such bucket."""
    await crawl.add(*pages(1_000))
    found = 0
    for bucket in range(5):
        for member in await client.smembers(f"{_prefix(world, crawl)}seen:{bucket}"):
            place = int(float(member) // 2048)
            assert bucket == (place % 8 if place % 8 < 5 else place % 4)
            found += 1
    assert found == 1_000


async def test_so_does_one_that_is_known_for_another_callback(world: ServerWorld, crawl: Crawl, client: Any) -> None:
    """Its number in the seen-set is the twin of the fingerprint, whose last digit is the other one of its pair."""
    await crawl.add(*(Request(url, callback="detail") for url in pages(40)))
    members = await client.smembers(f"{_prefix(world, crawl)}seen:0")
    for url in pages(40):
        number = str(fingerprint(dedup_key(url), crawl.job.epoch.encode()))
        assert f"{number[:-1]}{int(number[-1]) ^ 1}".encode() in members


async def test_what_is_kept_of_a_host_that_joins_a_group_expires(world: ServerWorld, crawl: Crawl, client: Any) -> None:
    await crawl.frontier.ledger.join("a.example", "10.0.0.1")
    for name in ("a.example", "10.0.0.1"):
        assert 0 < await client.pttl(f"{shard_prefix(world.prefix, 0)}host:{name}") <= 24 * 3_600_000
