"""The server may contain anything. One log line names each unreadable entry, which is left out; the rest goes on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import redis.asyncio
from msgspec.structs import replace
from structlog.testing import capture_logs

from crawler.errors import FrontierError
from crawler.frontier.redis.keys import job_prefix, shard_of, shard_prefix
from crawler.interfaces import Pace
from crawler.model import Dead, Done, Exported, Failure, Filled, Job, Retry, Rule, Visit
from crawler.schedules.timetable import timetable
from crawler.testing.contract.schedules import NEWS
from crawler.testing.contract.world import Crawl, failed, pages
from tests.contract.world import RedisWorld

HOST = "a.example"
ODD = (b"", b"x", b"nan", b"-inf", b"1e999", b"0x1p3", b"9" * 400, b"\xff\xfe", b"-5", b"null", b"{}", b"[[", b" 1")


@pytest.fixture
def world(redis_world: RedisWorld) -> RedisWorld:
    """Only the kinds with a server."""
    return redis_world


def first(world: RedisWorld) -> str:
    return shard_prefix(world.prefix, 0)


def of_host(world: RedisWorld, host: str = HOST) -> str:
    return shard_prefix(world.prefix, shard_of(host, world.shards))


def said(logs: list[Any]) -> list[tuple[str, str]]:
    return [(line["what"], line["name"]) for line in logs if line["event"] == "unreadable"]


async def _look_at_all(crawl: Crawl) -> None:
    """Read everything that commands and side tasks read."""
    frontier, control = crawl.frontier, crawl.frontier.control
    await frontier.reading.stats(crawl.job)
    await frontier.reading.workers()
    await frontier.hosts.hosts(crawl.job)
    await frontier.letters.newest(crawl.job)
    await frontier.traces.trace(crawl.job, f"http://{HOST}/0")
    await crawl.outbox.holder(crawl.job)
    await control.rules()
    await control.rule_log()
    await control.answers("0-1")
    await frontier.schedules.all()


# --- schedules


@pytest.mark.parametrize(
    "record",
    [
        *ODD,
        b"r1 {}",
        b"r1 " + b"[" * 100_000,
        b"r1 %b" % msgspec.json.encode(replace(timetable(NEWS, 0), revision="r2")),
        b"r1 %b" % msgspec.json.encode(replace(timetable(NEWS, 0), revision="r1", next=-1)),
        b"r1 %b" % msgspec.json.encode(replace(timetable(NEWS, 0), revision="r1", schedule=replace(NEWS, name="b"))),
        b"r1 %b" % msgspec.json.encode(replace(timetable(NEWS, 0), revision="r1", schedule=replace(NEWS, cron="x"))),
    ],
)
async def test_a_timetable_that_cannot_be_read_is_left_out_and_can_be_removed(
    world: RedisWorld, crawl: Crawl, client: redis.asyncio.Redis, record: bytes
) -> None:
    other = timetable(replace(NEWS, name="other"), 0)
    assert await crawl.frontier.schedules.replace(None, other)
    await client.hset(f"{first(world)}schedules", "news", record)
    with capture_logs() as logs:
        assert await crawl.frontier.schedules.all() == [other]
        assert await crawl.frontier.schedules.get("news") is None
        await _look_at_all(crawl)
    assert said(logs) == [("schedule", "news")]
    assert await crawl.frontier.schedules.remove("news")
    assert await crawl.frontier.schedules.all() == [other]


# --- jobs


RECORDS = {
    "no-json": b"\x80nonsense",
    "no-utf8": b'{"name":"b\xffd"}',
    "no-object": b"[1]",
    "nested": b"[" * 100_000,
    "wrong-type": b'{"name":"bad","epoch":7}',
    "no-epoch": b'{"name":"bad"}',
    "epoch-too-long": b'{"name":"bad","epoch":"' + b"e" * 65 + b'"}',
    "other-name": b'{"name":"other","epoch":"e"}',
    "bad-name": b'{"name":"a b:c","epoch":"e"}',
}


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
async def test_a_job_record_that_cannot_be_read(
    world: RedisWorld, crawl: Crawl, client: redis.asyncio.Redis, record: bytes
) -> None:
    """The other jobs go on. A command for that job fails with an error that says what to do, and can delete it."""
    await client.hset(f"{first(world)}jobs", "bad", record)
    await crawl.add(*pages(2))
    with capture_logs() as logs:
        for _ in range(3):
            assert [job.name for job in await crawl.frontier.jobs.all()] == ["news"]
    assert said(logs) == [("job", "bad")]
    assert all(await crawl.finish((await crawl.claim()).leases))
    with pytest.raises(FrontierError, match=r"record of job 'bad' cannot be read.*crawler jobs delete bad"):
        await crawl.frontier.jobs.create(Job("bad"))
    assert await crawl.frontier.jobs.delete("bad")
    assert (await crawl.frontier.jobs.create(Job("bad"))).name == "bad"


@pytest.mark.parametrize("shards", [b"", b"0", b"-1", b"x", b"1025", b"9" * 400, b"\xff"])
async def test_a_number_of_shards_that_is_none(world: RedisWorld, client: redis.asyncio.Redis, shards: bytes) -> None:
    await client.set(f"{first(world)}shards", shards)
    with pytest.raises(FrontierError, match="not a number of shards"):
        await world.client()


# --- rules, calls, answers


RULES = {
    "empty": b"",
    "no-number": b'x {"action":"pause","what":"host","name":"a.example"}',
    "no-json": b"1 nonsense",
    "no-utf8": b'1 {"action":"p\xff"}',
    "huge-number": b"9" * 400 + b" {}",
    "unknown-action": b'1 {"action":"melt","what":"host","name":"a","value":"on","job":"","why":"","by":""}',
    "no-rate": b'1 {"action":"rate","what":"host","name":"a","value":"fast","job":"","why":"","by":""}',
    "bad-id": b'1 {"action":"pause","what":"host","name":"a","value":"on","job":"","why":"","by":"","id":"x"}',
}


@pytest.mark.parametrize("record", RULES.values(), ids=RULES)
async def test_a_rule_that_cannot_be_read(
    world: RedisWorld, crawl: Crawl, client: redis.asyncio.Redis, record: bytes
) -> None:
    """The rule is left out, and a person can replace or lift it."""
    await crawl.add(*pages(2))
    control = crawl.frontier.control
    for shard in range(world.shards):
        for key in ("rate host a.example", "log-level fleet", b"\xff"):
            await client.hset(f"{shard_prefix(world.prefix, shard)}rules", key, record)
    with capture_logs() as logs:
        for _ in range(2):
            assert await control.rules() == []
            assert (await crawl.frontier.reading.stats(crawl.job)).pending == 2
    assert len(said(logs)) == 3
    await control.set_rule(Rule("rate", "host", HOST, "10/s"))
    assert [rule.value for rule in await control.rules()] == ["10/s"]
    await control.set_rule(Rule("rate", "host", HOST, ""))
    for shard in range(world.shards):
        await client.hdel(f"{shard_prefix(world.prefix, shard)}rules", "log-level fleet", b"\xff")
    assert len((await crawl.claim()).leases) == 2


async def test_a_log_of_changes_and_calls_that_cannot_be_read(
    world: RedisWorld, crawl: Crawl, client: redis.asyncio.Redis
) -> None:
    control = crawl.frontier.control
    await control.set_rule(Rule("rate", "host", HOST, "10/s"))
    calls: list[dict[str | bytes, str | bytes]] = [{"x": "y"}, {"w": b"\xff"}, {"w": "rule"}]
    for number, fields in enumerate(calls):
        await client.xadd(f"{first(world)}calls", fields, id=f"9999999999999-{number}")  # type: ignore[arg-type]
        await client.xadd(f"{first(world)}control", {**fields, "at": "x", "r": "{"}, id=f"{number + 5}-0")  # type: ignore[dict-item]
    await client.hset(f"{first(world)}answers:0-1", b"\xff", b"\xff")
    with capture_logs() as logs:
        (change,) = await control.rule_log()
    assert (change.rule.name, len(said(logs))) == (HOST, 3)
    assert [call.word for call in await crawl.frontier.broadcasts.hear("9999999999998-0")] == ["", "\ufffd", "rule"]
    assert await control.answers("0-1") == {"\ufffd": "\ufffd"}
    assert (await control.set_rule(Rule("rate", "host", HOST, "5/s"))).before == "10/s"


# --- workers


@pytest.mark.parametrize(
    "info", [*ODD, b'{"job_hosts":7}', b'{"rss":"much"}', b'{"status":[1]}', b'{"no_spider":{"a":1}}']
)
async def test_what_a_worker_says_cannot_be_read(
    world: RedisWorld, crawl: Crawl, client: redis.asyncio.Redis, info: bytes
) -> None:
    await asyncio.to_thread(crawl.frontier.leases.beat, "w1", {"pid": 1})
    await client.hset(f"{first(world)}worker:w1", "info", info)
    (worker,) = await crawl.frontier.reading.workers()
    assert (worker.worker, worker.info) == ("w1", {})


async def test_a_worker_whose_name_is_no_text_is_reaped(
    world: RedisWorld, crawl: Crawl, client: redis.asyncio.Redis
) -> None:
    for shard in range(world.shards):
        await client.zadd(f"{shard_prefix(world.prefix, shard)}workers", {b"\xff": 1})
    await _look_at_all(crawl)
    assert [reaped.worker for reaped in await crawl.frontier.leases.reap()] == ["\ufffd"]


# --- ledgers, and what the scripts count by


FIELDS = (
    *("next", "inflight", "delay", "waiting", "group", "cap", "busy", "failures", "since", "rest", "latency", "pace"),
    *("before", "usual", "placed"),
)
OUTCOMES: tuple[Callable[[], Visit], ...] = (
    lambda: Visit(Done(), status=200, health="ok", asked_at=0.0, seconds=0.1, items=(b"{}",)),
    lambda: Visit(Retry(failed(), 0.0), status=503, health="busy", asked_at=0.0),
    lambda: Visit(Retry(Failure("callback", "x"), 0.0), status=200, health="ok", unasked=True),
    lambda: Visit(Dead(Failure("connect", "x"), spent=True), health="down", host_delay=0.0, asked_at=0.0),
)


async def test_a_ledger_that_holds_no_numbers(world: RedisWorld, client: redis.asyncio.Redis) -> None:
    """Whatever a host's ledger, a pause or a count of failures contains: claims, commits, reaps and reads go on."""
    crawl = await Crawl.create(world, exploding_share=0.99, exploding_min=1_000)
    chance = random.Random(5)
    pace = Pace(delay=0.0, concurrency=1000, target=1.0)
    control = crawl.frontier.control
    for number, value in enumerate([*ODD, *ODD]):
        host = f"h{number}.example"
        prefix = of_host(world, host)
        job = job_prefix(prefix, crawl.job.name)
        odd: dict[Any, Any] = {
            field: chance.choice((value, b"0")) for field in FIELDS if number or field not in ("next", "inflight")
        }
        await client.hset(f"{prefix}host:{host}", mapping=odd)
        await client.hset(f"{prefix}host:10.0.0.1", mapping=odd)
        await client.hset(f"{job}recent", f"host {host}", value)
        await client.hset(f"{job}recent", "spider ", value)
        await client.hset(f"{job}served", host, value)
        await client.hset(f"{job}levels", host, b"0 " + value)
        await client.hset(f"{prefix}turns", "job news", value)
        await client.hset(f"{job}paused", b"spider \xff" + value, value)
        await client.xadd(f"{job}skips", {"url": value, "odd": value})
        await crawl.frontier.ledger.join(host, "10.0.0.1" if number % 2 else "")
        await crawl.add(*pages(4, host))
        await control.set_rule(Rule("rate", "host", host, "1000/s"))
        claim = await crawl.frontier.queue.claim("w1", 3, [crawl.job], pace)
        visits = [(lease, chance.choice(OUTCOMES)()) for lease in claim.leases]
        await crawl.frontier.queue.commit("w1", visits, pace)
        await crawl.frontier.queue.claim("w1", 1, [crawl.job], pace)
        await crawl.frontier.leases.reap("w1")
        await crawl.frontier.hosts.hosts(crawl.job)
        await crawl.frontier.reading.stats(crawl.job)
        await crawl.frontier.traces.trace(crawl.job, f"http://{host}/0")
    await crawl.frontier.jobs.delete(crawl.job.name)


# --- dead letters, outbox


async def test_dead_letters_that_cannot_be_read(world: RedisWorld, crawl: Crawl, client: redis.asyncio.Redis) -> None:
    """Unreadable letters are shown, never redriven, and can be dropped; the others work as usual."""
    await crawl.add("http://a.example/")
    await crawl.end(await crawl.lease(), Dead(failed()))
    key = f"{job_prefix(of_host(world), crawl.job.name)}dead"
    odd = [*ODD, b'{"died":1e300}', b'{"attempts":-1}', b'{"failure":7}', b'{"message":"x","died":1}', b"[" * 100_000]
    for number, record in enumerate(odd):
        await client.hset(key, f"odd{number}", record)
    letters = await crawl.frontier.letters.newest(crawl.job)
    assert len(letters) == len(odd) + 1
    assert {letter.failure.kind for letter in letters} == {"http_503", "unreadable", "unknown"}
    await _look_at_all(crawl)
    assert await crawl.frontier.letters.redrive(crawl.job) == 1
    assert await crawl.frontier.letters.drop(crawl.job) == len(odd)


ENTRIES: tuple[dict[Any, Any], ...] = (
    {"x": b'{"a":1}'},
    {"i": b""},
    {"i": b'{"a":"\xff"}'},
    {"i": b'{"a":1}\n{"b":'},
    {"i": b'{"a":\n1}'},
    {"i": b"[1]"},
    {"i": b' {"a":1}'},
    {"i": b'{"a":1}\r'},
    {"i": b"[" * 100_000},
    {"i": b'{"a":' + b"[" * 100_000},
)


async def test_outbox_entries_that_are_no_items(world: RedisWorld, crawl: Crawl, client: redis.asyncio.Redis) -> None:
    """The sink gets no items of them, but their positions, so that they leave the outbox."""
    await crawl.add("http://a.example/")
    await crawl.end(await crawl.lease(), items=(b'{"a":1}', b'{"b":2}'))
    key = f"{job_prefix(of_host(world), crawl.job.name)}outbox"
    for fields in ENTRIES:
        await client.xadd(key, fields)
    with capture_logs() as logs:
        entries = await crawl.outbox.read(crawl.job, {}, 100)
        await crawl.outbox.read(crawl.job, {}, 100)
    assert len(said(logs)) == len(ENTRIES)
    assert [entry.items for entry in entries] == [(b'{"a":1}', b'{"b":2}')] + [()] * len(ENTRIES)
    await crawl.outbox.acknowledge(crawl.job, Exported({entry.shard: entry.position for entry in entries}))
    assert await crawl.outbox.read(crawl.job, {}, 100) == []


@pytest.mark.parametrize("kinds", [b"Book", b"Book\nOffer\n", b"\xff"])
async def test_classes_that_are_not_one_for_each_item(
    world: RedisWorld, crawl: Crawl, client: redis.asyncio.Redis, kinds: bytes
) -> None:
    key = f"{job_prefix(of_host(world), crawl.job.name)}outbox"
    await client.xadd(key, {"i": b'{"a":1}\n{"b":2}', "k": kinds})
    (entry,) = await crawl.outbox.read(crawl.job, {}, 100)
    assert (len(entry.items), entry.kinds, entry.kind(1)) == (2, (), "")


async def test_a_record_of_sinks_that_cannot_be_read(
    world: RedisWorld, crawl: Crawl, client: redis.asyncio.Redis
) -> None:
    """What has left the outbox, and where to, is known all the same."""
    await crawl.outbox.acknowledge(crawl.job, Exported(location="/data/items.jsonl"))
    for record in (b"\xff", b"[]", b'{"a":1}', b"[" * 100_000):
        await client.set(f"{job_prefix(first(world), crawl.job.name)}sinks", record)
        assert await crawl.outbox.sinks(crawl.job) == {}
    assert (await crawl.outbox.exported(crawl.job)).location == "/data/items.jsonl"


async def test_a_name_of_an_exporter_that_is_no_text(
    world: RedisWorld, crawl: Crawl, client: redis.asyncio.Redis
) -> None:
    await client.set(f"{job_prefix(first(world), crawl.job.name)}exporter", b"\xff")
    assert await crawl.outbox.hold(crawl.job, "e1", 5.0) == "\ufffd"
    await _look_at_all(crawl)


# --- which fields of items are filled


_WRONG = (b'{"items":"x","fields":{"a":{},"b":"1","c":7}}', b'{"items":{},"fields":["1 2 3"]}', b'{"pages":-1e300}')


@pytest.mark.parametrize("junk", [*ODD, b"[" * 10_000, *_WRONG], ids=lambda junk: repr(junk[:20]))
async def test_counts_of_fields_that_cannot_be_read_count_as_nothing(
    world: RedisWorld, client: redis.asyncio.Redis, junk: bytes
) -> None:
    crawl = await Crawl.create(world, drift_min=5)
    prefix, key = job_prefix(of_host(world), crawl.job.name), b"shop.parse\tdict"
    await client.hset(f"{prefix}coverage", key, junk)
    await client.hset(f"{prefix}drifted", key, junk)
    await client.rpush(f"{prefix}window:".encode() + key, junk, junk + b"\n\n", b"\n\n" + junk)
    await crawl.frontier.reading.coverage(crawl.job)
    await crawl.add(*pages(8, HOST))
    for _ in range(8):
        filled = (Filled("shop.parse", "dict", 1, {"name": 1}),)
        assert await crawl.end(await crawl.lease(), items=(b"{}",), filled=filled)
    (one,) = await crawl.frontier.reading.coverage(crawl.job)
    assert one.fields["name"].filled == 8
    await crawl.frontier.pauses.resume(crawl.job, "callback", "shop.parse")
    assert await crawl.frontier.letters.redo(crawl.job) == 0
