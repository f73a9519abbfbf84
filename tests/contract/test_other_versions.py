"""What other versions of the program write into the queue. Unknown fields are ignored; missing ones get their default.

Messages of an unknown version wait for a newer worker, wherever they are; `status` shows how many.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
import redis.asyncio
from msgspec.structs import replace

from crawler.frontier.redis.keys import job_prefix, shard_of, shard_prefix
from crawler.model import (
    Broadcast,
    Dead,
    Done,
    Failure,
    Job,
    Lease,
    Outcome,
    Release,
    Request,
    Retry,
    Rule,
    RuleChange,
    Skip,
)
from crawler.testing.contract.world import Crawl, failed
from tests.contract.world import RedisWorld
from tests.valkey import Valkey

URL, HOST = "http://a.example/x", "a.example"
REST = b',0,"http://a.example/x",0,"site",{},{"new":1.50}]'


@pytest.fixture
def world(redis_world: RedisWorld) -> RedisWorld:
    """Only the kinds with a server: in one process there is one version."""
    return redis_world


class Newer:
    """What workers of a later version write into the queue."""

    def __init__(self, world: RedisWorld, crawl: Crawl, client: redis.asyncio.Redis) -> None:
        self.crawl = crawl
        self.client = client
        self.first = shard_prefix(world.prefix, 0)
        self.job = job_prefix(shard_prefix(world.prefix, shard_of(HOST, world.shards)), crawl.job.name)

    async def add(self, version: int = 4, rest: bytes = REST) -> bytes:
        """A request of the later version."""
        message = b"[%d,0,0,0" % version + rest
        await self.client.rpush(f"{self.job}pending:0:{HOST}", message)
        await self.client.zadd(f"{self.job}hosts", {HOST: 0})
        for counter in ("known", "admitted", "pending"):
            await self.client.hincrby(f"{self.job}stats", counter, 1)
        return message

    async def lease(self) -> Lease:
        """Read a claimed message as a worker of the later version does."""
        (junk,) = (await self.crawl.claim()).junk
        return Lease(self.crawl.job.name, Request(URL), junk.message, HOST, epoch=self.crawl.job.epoch)

    async def set_aside(self, delay: float = 0.0) -> None:
        """Claim and set aside as a worker of this version does."""
        for junk in (await self.crawl.claim()).junk:
            assert junk.version
            assert await self.crawl.frontier.queue.set_aside("w1", self.crawl.job, junk.message, delay)


@pytest.fixture
async def newer(world: RedisWorld, crawl: Crawl, valkey_server: Valkey) -> AsyncIterator[Newer]:
    client = redis.asyncio.Redis.from_url(valkey_server.url)
    yield Newer(world, crawl, client)
    await client.aclose()


async def later(crawl: Crawl) -> dict[int, int]:
    return dict((await crawl.frontier.reading.stats(crawl.job)).later)


async def test_people_see_how_many_wait_and_for_which_version(crawl: Crawl, newer: Newer) -> None:
    for version, number in ((4, 1), (4, 2), (5, 3)):
        await newer.add(version, REST.replace(b"/x", b"/%d" % number))
    assert await later(crawl) == {}, "nobody has met them"
    for _ in range(3):
        await newer.set_aside()
        assert await later(crawl) == {4: 2, 5: 1}
    await crawl.claim()
    await crawl.frontier.leases.reap("w1")  # the next delivery of the same messages
    await newer.set_aside()
    stats = await crawl.frontier.reading.stats(crawl.job)
    assert dict(stats.later) == {4: 2, 5: 1}
    assert (stats.pending, stats.finished) == (3, False)
    assert not any(name.startswith("later") for name in stats.counters)


@pytest.mark.parametrize(
    "outcome",
    [Done(), Skip("robots"), Retry(failed(), 0.0), Release("drain"), Dead(failed())],
    ids=lambda one: type(one),
)
async def test_what_a_newer_worker_has_taken_waits_no_more(crawl: Crawl, newer: Newer, outcome: Outcome) -> None:
    await newer.add()
    await newer.set_aside()
    assert await later(crawl) == {4: 1}
    assert await crawl.end(await newer.lease(), outcome)
    assert await later(crawl) == {}


async def test_what_is_blocked_waits_no_more(crawl: Crawl, newer: Newer) -> None:
    await newer.add()
    await newer.set_aside()
    await crawl.frontier.control.set_rule(Rule("block", "job", crawl.job.name, "on"))
    await crawl.claim()
    assert await later(crawl) == {}
    assert await crawl.finished()


async def test_one_that_is_given_up_is_shown_and_can_be_redriven(world: RedisWorld, newer: Newer) -> None:
    crawl = await Crawl.create(world, newer.crawl.job, max_crashes=1)
    message = await newer.add()
    await newer.set_aside()
    await crawl.claim()
    await world.expire("w1")
    await crawl.frontier.leases.reap()
    assert await later(crawl) == {}
    (letter,) = await crawl.frontier.letters.newest(crawl.job)
    assert (letter.url, letter.host, letter.callback, letter.failure.kind) == (URL, HOST, "", "crash")
    assert letter.message.encode() == message
    (sighting,) = (await crawl.frontier.traces.trace(crawl.job, URL)).sightings
    assert (sighting.state, sighting.later) == ("dead", 4)
    assert await crawl.frontier.letters.redrive(crawl.job) == 1
    (junk,) = (await crawl.claim()).junk
    assert (junk.version, junk.message) == (4, b"[4,1,0,0" + REST)


async def test_a_trace_finds_it_wherever_it_is(crawl: Crawl, newer: Newer) -> None:
    async def place() -> tuple[str, str, int]:
        (found,) = (await crawl.frontier.traces.trace(crawl.job, URL)).sightings
        return found.state, found.request.url, found.later

    await newer.add()
    assert await place() == ("pending", URL, 4)
    lease = await newer.lease()
    assert await place() == ("processing", URL, 4)
    assert await crawl.frontier.queue.set_aside("w1", crawl.job, lease.message, 60.0)
    assert await place() == ("delayed", URL, 4)


async def test_unknown_fields_of_a_known_version_pass_through_everything(crawl: Crawl, newer: Newer) -> None:
    """Retry, release, crash, blame, dead letter, redrive: the bytes after the counts stay the same."""
    await newer.add(version=1)
    assert await crawl.end(await crawl.lease(), Retry(failed(), 0.0))
    assert await crawl.end(await crawl.lease(), Release("drain"))
    await crawl.lease()
    await crawl.world.expire("w1")
    await crawl.frontier.leases.reap()
    await crawl.frontier.leases.reap("w1", blame=(await crawl.lease(), Retry(failed(), 0.0)))
    assert await crawl.end(lease := await crawl.lease(), Dead(failed()))
    assert lease.message == b"[1,4,2,1" + REST
    assert await crawl.frontier.letters.redrive(crawl.job) == 1
    again = await crawl.lease()
    assert again.message == b"[1,5,0,0" + REST
    assert again.request.unknown == {"new": 1.5}


# --- other records


async def test_a_record_of_a_job(crawl: Crawl, newer: Newer) -> None:
    await newer.client.hset(f"{newer.first}jobs", "other", b'{"name":"other","epoch":"e","future":[1]}')
    assert [job for job in await crawl.frontier.jobs.all() if job.name == "other"] == [Job("other", epoch="e")]
    assert (await crawl.frontier.jobs.create(Job("other"))).epoch == "e"


async def test_a_rule_and_its_line_in_the_log(world: RedisWorld, crawl: Crawl, newer: Newer) -> None:
    record = b'{"action":"pause","what":"host","name":"a.example","value":"on","future":[1]}'
    for shard in range(world.shards):
        await newer.client.hset(f"{shard_prefix(world.prefix, shard)}rules", "pause host a.example", b"1 " + record)
    await newer.client.xadd(f"{newer.first}control", {"at": "5000", "r": record, "future": "x"}, id="7-0")
    rule = Rule("pause", "host", HOST, "on", id="0")
    assert await crawl.frontier.control.rules() == [rule]
    assert await crawl.frontier.control.rule_log() == [RuleChange(replace(rule, id="7", at=5.0))]
    await crawl.add(URL)
    assert (await crawl.claim()).leases == ()


async def test_a_call(crawl: Crawl, newer: Newer) -> None:
    await newer.client.xadd(f"{newer.first}calls", {"w": "future", "x": "y"}, id="7-0")
    assert await crawl.frontier.broadcasts.hear("0-0") == [Broadcast("7-0", "future")]


async def test_a_dead_letter(crawl: Crawl, newer: Newer) -> None:
    await newer.client.hset(f"{newer.job}stats", "dead", 1)
    message = (b"[1,0,0,0" + REST).decode()
    record = {"message": message, "failure": {"kind": "future", "message": "x", "more": 1}, "future": {}}
    await newer.client.hset(f"{newer.job}dead", "1", msgspec.json.encode(record))
    (letter,) = await crawl.frontier.letters.newest(crawl.job)
    assert (letter.url, letter.failure, letter.attempts, letter.worker) == (URL, Failure("future", "x"), 0, "")
    assert await crawl.frontier.letters.redrive(crawl.job) == 1
    assert (await crawl.lease()).message == b"[1,1,0,0" + REST


async def test_items(crawl: Crawl, newer: Newer) -> None:
    await newer.client.xadd(f"{newer.job}outbox", {"future": "x", "i": b'{"a":1}'})
    assert [entry.items for entry in await crawl.outbox.read(crawl.job, {}, 10)] == [(b'{"a":1}',)]


async def test_items_of_an_older_worker_are_dicts(crawl: Crawl, newer: Newer) -> None:
    await newer.client.xadd(f"{newer.job}outbox", {"i": b'{"a":1}'})
    (entry,) = await crawl.outbox.read(crawl.job, {}, 10)
    assert [(entry.kind(number), item) for number, item in entry.numbered()] == [("", b'{"a":1}')]


async def test_what_a_worker_says_of_itself(crawl: Crawl) -> None:
    await asyncio.to_thread(crawl.frontier.leases.beat, "w1", {"pages": 3, "future": {"a": [1]}})
    assert [worker.info for worker in await crawl.frontier.reading.workers()] == [{"pages": 3, "future": {"a": [1]}}]
