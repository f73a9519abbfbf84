"""The limits of one claim, when it checks again what it left, and how much the frontier keeps."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from typing import Any

import pytest

from crawler.errors import OutputError
from crawler.frontier.redis import seen_cache
from crawler.frontier.redis.keys import job_prefix, shard_prefix
from crawler.frontier.rules import ALL_CACHE_ENTRIES, ASKING_TTL, CACHE_ENTRIES
from crawler.interfaces import Pace
from crawler.model import DeadItem, Filled, Job, Request, Retry, Rule, Skip, Visit
from crawler.parsing.url import dedup_key, fingerprint
from crawler.schedules.timetable import Schedule, changed, timetable
from crawler.testing.contract.world import AT_ONCE, Crawl, World, dead, failed, hosts, pages
from tests.contract.world import KINDS, MemoryWorld, RedisWorld, ServerWorld
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


async def test_a_new_host_comes_in_as_if_its_turn_had_come_ten_seconds_ago(
    world: ServerWorld, crawl: Crawl, client: Any
) -> None:
    began = int((await client.time())[0])
    await crawl.add(*pages(1))
    ended = int((await client.time())[0]) + 1
    due = await client.zscore(f"{_prefix(world, crawl)}hosts", "a.example")
    assert began - 10 <= due / 1000 <= ended - 10


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


@pytest.mark.parametrize("urls", [hosts(510), pages(510)], ids=["of-many-hosts", "of-one-host"])
async def test_one_claim_ends_500_requests_of_a_blocked_spider(crawl: Crawl, urls: list[str]) -> None:
    await crawl.add(*[Request(url, spider="shop") for url in urls])
    await _block(crawl, "spider", "shop")
    assert await crawl.urls(200) == []
    assert await crawl.counts() == (10, 0, 500, 0)


async def test_one_claim_checks_4_hosts_for_each_request_that_it_still_wants(
    world: ServerWorld, crawl: Crawl, client: Any
) -> None:
    other = await crawl.frontier.jobs.create(Job("other"))
    await crawl.frontier.adding.add(other, [Request("http://a.example/")])
    await crawl.add(*hosts(100))
    await crawl.frontier.pauses.pause(crawl.job, "spider", "", "a person said so")
    assert len((await crawl.frontier.queue.claim("w1", 3, [other, crawl.job], AT_ONCE)).leases) == 1
    assert await client.zcard(f"{_prefix(world, crawl)}held") == 64 + 4 * 2


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


async def test_of_a_commit_that_read_no_page_nothing_is_kept(world: ServerWorld, crawl: Crawl, client: Any) -> None:
    """It would push out what `why` can tell of the pages that were read."""
    await crawl.add(*pages(2))
    await crawl.end(await crawl.lease(), Skip("robots"))
    assert await client.xlen(f"{_prefix(world, crawl)}read") == 0
    await crawl.end(await crawl.lease())
    assert await client.xlen(f"{_prefix(world, crawl)}read") == 1


async def test_of_items_without_a_class_the_outbox_keeps_no_word(world: ServerWorld, crawl: Crawl, client: Any) -> None:
    await crawl.add(*pages(1))
    await crawl.end(await crawl.lease(), items=(b"{}", b"{}"))
    ((_, entry),) = await client.xrange(f"{_prefix(world, crawl)}outbox")
    assert entry.keys() == {b"i", b"u", b"s"}


async def test_the_same_junk_twice_is_taken_away_twice(world: ServerWorld, crawl: Crawl, client: Any) -> None:
    await crawl.add(*pages(1))
    junk = b'[1,0,0,0,0,"http://a.example/","deep"]'
    await client.rpush(f"{_prefix(world, crawl)}pending:0:a.example", junk, junk)
    claim = await crawl.claim()
    assert [one.message for one in claim.junk] == [junk, junk]
    assert [await crawl.frontier.queue.bury("w1", crawl.job, junk, failed()) for _ in range(3)] == [True, True, False]
    assert await crawl.counts() == (0, 1, 0, 1)


async def test_what_a_claim_ends_by_itself_is_in_no_list(world: ServerWorld, crawl: Crawl, client: Any) -> None:
    """Neither a blocked request nor junk."""
    await crawl.add(*(Request(url, spider="shop") for url in pages(2)))
    await client.rpush(f"{_prefix(world, crawl)}pending:0:a.example", b"junk")
    await _block(crawl, "spider", "shop")
    assert await crawl.urls() == []
    assert await crawl.counts() == (0, 0, 2, 1)
    assert not await client.exists(f"{_prefix(world, crawl)}processing:w1")


async def test_hosts_are_counted_while_they_wait_in_line(world: ServerWorld, crawl: Crawl, client: Any) -> None:
    lined = f"{_prefix(world, crawl)}stats", "lined"
    for host in ("a.example", "b.example"):
        await crawl.frontier.ledger.join(host, "10.0.0.1")
    await crawl.add(*pages(1), *pages(1, "b.example"))
    lease = await crawl.lease(pace=ONE)
    assert await crawl.urls(pace=ONE) == []
    assert await client.hget(*lined) == b"1"
    await crawl.end(lease, pace=ONE)
    await crawl.lease(pace=ONE)
    assert await client.hget(*lined) == b"0"


async def test_an_order_whose_answer_was_lost_finds_itself_among_the_last_ten(crawl: Crawl) -> None:
    control: Any = crawl.frontier.control
    rule = Rule("pause", "host", "a.example", "on", by="me")
    control._unsure = rule, "token"  # as after a call without an answer
    first = await control.set_rule(rule)
    for number in range(9):
        await _block(crawl, "host", f"h{number}.example")
    control._unsure = rule, "token"
    assert await control.set_rule(rule) == first
    await _block(crawl, "host", "h9.example")
    control._unsure = rule, "token"
    assert (await control.set_rule(rule)).rule.id != first.rule.id
    assert len(await control.rule_log()) == 12


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


async def test_marks_of_redirected_requests_count_too(world: ServerWorld, crawl: Crawl, client: Any) -> None:
    buckets = f"{_prefix(world, crawl)}stats", "buckets"
    await crawl.add(*pages(150))
    leases = (await crawl.claim(150)).leases
    assert len(leases) == 150
    visits = [(lease, Visit(Skip("redirect", "http://b.example/"))) for lease in leases]
    assert all(await crawl.frontier.queue.commit("w1", visits, AT_ONCE))
    assert await client.hget(*buckets) == b"2"
    await crawl.add(*pages(101, "b.example"))
    assert await client.hget(*buckets) == b"3"


@pytest.mark.parametrize("world", ["memory"], indirect=True)
async def test_a_tick_is_due_in_its_own_millisecond(world: MemoryWorld, crawl: Crawl) -> None:
    """Where time stands still between two steps."""
    schedules = crawl.frontier.schedules
    made = timetable(Schedule("news", "*/15 * * * *", ("crawl", "http://a.example/")), await schedules.now())
    assert await schedules.replace(None, made)
    after = changed(made, last=made.next)
    await world.pass_time(made.next - await schedules.now() - 0.0035)  # it adds 2 ms
    assert not await schedules.replace(made, after)
    await world.pass_time(0.0)
    assert await schedules.replace(made, after)


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


async def test_who_has_a_host_to_itself_is_kept_for_a_day(world: ServerWorld, crawl: Crawl, client: Any) -> None:
    await crawl.add(*pages(1))
    assert await crawl.frontier.asking.take_host("w1", await crawl.lease())
    assert 0 < await client.pttl(f"{shard_prefix(world.prefix, 0)}asking") <= ASKING_TTL


# --- how much one call does


async def test_one_claim_checks_64_hosts_and_4_for_each_request_that_it_wants(crawl: Crawl) -> None:
    await crawl.add(*(Request(url, spider="shop") for url in hosts(200)))
    await crawl.frontier.pauses.pause(crawl.job, "spider", "shop", "a person said so")
    for limit, checked in ((1, 68), (2, 68 + 72)):
        assert await crawl.urls(limit) == []
        assert (await crawl.frontier.reading.stats(crawl.job)).held == checked


async def test_one_claim_puts_back_100_delayed_requests(world: World, crawl: Crawl) -> None:
    await crawl.add(*(Request(url, delay=0.01) for url in hosts(120)))
    await world.pass_time(0.02)
    assert [len(await crawl.urls(200)) for _ in range(2)] == [100, 20]


async def test_a_claim_obeys_the_64_highest_priorities(world: ServerWorld, crawl: Crawl, client: Any) -> None:
    first = [f"h{number}.example" for number in range(199, 129, -1)]
    await crawl.frontier.control.set_rule(Rule("priority", "host", first[0], "1000", by="me"))
    ranks = {f"host {host}": 999 - rank for rank, host in enumerate(first[1:])}
    await client.zadd(f"{shard_prefix(world.prefix, 0)}first", ranks)
    await crawl.add(*hosts(200))
    urls = await crawl.urls(66)
    assert urls[:64] == [f"http://{host}/" for host in first[:64]]
    assert not {*urls[64:]} & {f"http://{host}/" for host in first}


async def test_a_rate_catches_up_on_a_tenth_of_a_second(crawl: Crawl) -> None:
    await crawl.frontier.control.set_rule(Rule("rate", "job", crawl.job.name, "100/s", by="me"))
    await crawl.add(*hosts(50))
    assert len(await crawl.urls()) == 10


async def test_a_pause_that_is_lifted_brings_back_1000_hosts_at_once(
    world: ServerWorld, crawl: Crawl, client: Any
) -> None:
    held = f"{_prefix(world, crawl)}held"
    await client.zadd(held, {f"h{number}.example": 10**14 for number in range(1_010)})
    await crawl.frontier.pauses.resume(crawl.job, "spider", "shop")
    assert await client.zcard(held) == 10


STEPS: dict[str, tuple[str, int]] = {  # what is done → the command that counts its steps, and how many they are
    "add": ("evalsha", 3),
    "reap": ("evalsha", 3),
    "reap-turns": ("evalsha", 2),
    "redrive": ("evalsha", 3),
    "trace": ("lrange", 3 + 1),  # and of what its worker holds
    "trace-of-what-was-read": ("xrevrange", 3 + 1),  # and of what was skipped
    "claim-with-100-rules": ("hgetall", 1),
    "claim-with-101-rules": ("hgetall", 0),
}


@pytest.mark.parametrize("done", STEPS)
@pytest.mark.parametrize("world", ["redis"], indirect=True)
async def test_no_step_is_long(world: RedisWorld, crawl: Crawl, client: Any, done: str) -> None:
    """Nobody else is served during a step."""
    prefix, shard = _prefix(world, crawl), shard_prefix(world.prefix, 0)
    await crawl.add("http://a.example/first")
    lease = await crawl.lease()
    await crawl.end(lease, dead())
    await crawl.frontier.letters.redrive(crawl.job)
    await crawl.frontier.leases.reap("nobody")  # now the server knows all the scripts
    act: Awaitable[object]
    match done:
        case "add":
            act = crawl.add(*pages(1_001))
        case "reap":
            await crawl.add(*pages(401))
            await crawl.claim(401)
            act = crawl.frontier.leases.reap("w1")
        case "reap-turns":
            group = f"{shard}host:127.0.0.9"
            await client.hset(f"{shard}worker:w1:turns", mapping={f"{number}": "127.0.0.9" for number in range(399)})
            await client.hset(group, "inflight", 399)
            act = crawl.frontier.leases.reap("w1")
        case "redrive":
            await crawl.add(*pages(401))
            leases = (await crawl.claim(401)).leases
            await crawl.frontier.queue.commit("w1", [(lease, Visit(dead())) for lease in leases], AT_ONCE)
            act = crawl.frontier.letters.redrive(crawl.job)
        case "trace":
            await crawl.add(*pages(2_001))
            act = crawl.frontier.traces.trace(crawl.job, pages(2_001)[-1])
        case "trace-of-what-was-read":
            async with client.pipeline(transaction=False) as pipeline:
                for number in range(201):
                    pipeline.xadd(f"{prefix}read", {"worker": "w1", f"http://a.example/{number}": "200 1 1 1"})
                await pipeline.execute()
            act = crawl.frontier.traces.trace(crawl.job, "http://a.example/first")
        case _:
            number = int(done.split("-")[2])
            await client.hset(f"{shard}rules", mapping={f"rate host h{n}": "1 {}" for n in range(number)})
            act = crawl.claim()
    await client.config_resetstat()
    await act
    command, steps = STEPS[done]
    assert (await client.info("commandstats")).get(f"cmdstat_{command}", {"calls": 0})["calls"] == steps
    if done == "reap-turns":
        left = await client.hget(group, "inflight"), await client.zscore(f"{shard}workers", "w1")
        assert left == (b"0", None)


# --- how much is shown


async def test_fifty_pauses_are_shown(world: ServerWorld, crawl: Crawl, client: Any) -> None:
    await client.hset(f"{_prefix(world, crawl)}paused", mapping={f"host h{number}": "1000 x" for number in range(60)})
    assert len((await crawl.frontier.reading.stats(crawl.job)).paused) == 50


async def test_of_the_hosts_that_rest_the_next_and_the_last_five_are_shown(crawl: Crawl) -> None:
    await crawl.add(*hosts(9))
    for lease in (await crawl.claim()).leases:
        await crawl.end(lease, Retry(failed(), 0.0), status=503, health="busy")
    assert len((await crawl.frontier.reading.stats(crawl.job)).resting) == 6


# --- how much is kept, and what is believed


async def test_the_last_errors_of_10_000_requests_are_kept(world: ServerWorld, crawl: Crawl, client: Any) -> None:
    failing = f"{_prefix(world, crawl)}failing"
    await client.hset(failing, mapping={f"http://b.example/{number}": "1000 x" for number in range(9_999)})
    await crawl.add(*pages(2))
    for lease in (await crawl.claim()).leases:
        await crawl.end(lease, Retry(failed(), 60.0))
    assert await client.hlen(failing) == 10_000


async def test_some_2000_commits_and_100_broadcasts_are_kept(world: ServerWorld, crawl: Crawl, client: Any) -> None:
    """A server removes whole blocks of a stream, of 100 entries."""
    read, calls = f"{_prefix(world, crawl)}read", f"{shard_prefix(world.prefix, 0)}calls"
    async with client.pipeline(transaction=False) as pipeline:
        for number in range(2_300):
            pipeline.xadd(read, {"worker": "w1", f"http://b.example/{number}": "200 1 1 1"})
        for _ in range(210):
            pipeline.xadd(calls, {"w": "active"})
        await pipeline.execute()
    await crawl.add(*pages(1))
    await crawl.end(await crawl.lease())
    assert 2_000 <= await client.xlen(read) < 2_200
    await _block(crawl, "host", "b.example")
    assert 100 <= await client.xlen(calls) < 200


async def test_some_10_000_skips_and_changes_of_rules_are_kept(world: ServerWorld, crawl: Crawl, client: Any) -> None:
    skips, changes = f"{_prefix(world, crawl)}skips", f"{shard_prefix(world.prefix, 0)}control"
    async with client.pipeline(transaction=False) as pipeline:
        for _ in range(10_300):
            pipeline.xadd(skips, {"url": "http://b.example/"})
            pipeline.xadd(changes, {"t": "a token"})
        await pipeline.execute()
    await crawl.add(*pages(1))
    await crawl.end(await crawl.lease(), Skip("robots"))
    assert 10_000 <= await client.xlen(skips) < 10_200
    await _block(crawl, "host", "b.example")
    assert 10_000 <= await client.xlen(changes) < 10_200


async def test_1000_incomplete_pages_of_a_callback_are_kept(world: ServerWorld, client: Any) -> None:
    crawl = await Crawl.create(world, drift_share=0.5, drift_min=5)
    kept = f"{_prefix(world, crawl)}incomplete:shop.parse"
    await client.hset(kept, mapping={f"message {number}": "" for number in range(998)})
    await crawl.add(*[Request(url, spider="shop") for url in pages(25)])
    for number in range(25):
        filled = (Filled("shop.parse", "dict", 1, {"price": int(number < 20)}),)
        assert await crawl.end(await crawl.lease(), items=(b"{}",), filled=filled)
    assert await client.hlen(kept) == 1_000
    assert await crawl.counter("incomplete/shop.parse") == 2


async def test_100_000_items_that_an_output_cannot_store_are_kept(
    world: ServerWorld, crawl: Crawl, client: Any
) -> None:
    key, item = f"{_prefix(world, crawl)}dead_items", DeadItem("new", "/data/b.db", "price is a list", "{}")
    await client.hset(key, mapping={str(number): "" for number in range(99_999)})
    await crawl.outbox.keep_dead(crawl.job, [item])
    with pytest.raises(OutputError, match="100,000 items of job"):
        await crawl.outbox.keep_dead(crawl.job, [item])


async def test_nothing_is_kept_of_the_health_of_a_host_that_is_well(
    world: ServerWorld, crawl: Crawl, client: Any
) -> None:
    await crawl.add(*pages(1))
    await crawl.end(await crawl.lease(), status=200, health="ok")
    ledger = await client.hgetall(f"{shard_prefix(world.prefix, 0)}host:a.example")
    assert not {b"busy", b"failures", b"since", b"cause"} & ledger.keys()


async def test_an_answer_can_be_read_for_a_minute(world: ServerWorld, crawl: Crawl, client: Any) -> None:
    control = crawl.frontier.control
    call = await control.ask("active")
    await crawl.frontier.broadcasts.answer(call, "w1", "OK")
    assert 58_000 < await client.pttl(f"{shard_prefix(world.prefix, 0)}answers:{call}") <= 60_000


@pytest.mark.parametrize(("turn", "is_believed"), [(10**15 - 1, True), (10**15, False)])
async def test_a_number_that_the_crawler_cannot_have_written_is_none(
    world: ServerWorld, crawl: Crawl, client: Any, turn: int, is_believed: bool
) -> None:
    await client.hset(f"{shard_prefix(world.prefix, 0)}host:a.example", "next", turn)
    await crawl.add(*pages(1))
    assert len(await crawl.urls()) == (not is_believed)


async def test_the_caches_of_known_urls_have_four_million_entries(
    crawl: Crawl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The jobs that were used last keep theirs."""
    assert (CACHE_ENTRIES, ALL_CACHE_ENTRIES) == (2**21, 2**22)
    monkeypatch.setattr(seen_cache, "FIRST_ENTRIES", CACHE_ENTRIES)
    adding: Any = crawl.frontier.adding
    others = [Job(f"job{number}", epoch=f"e{number}") for number in range(3)]
    for job in others:
        adding._remember(job, pages(1))
    assert [len(adding.maybe_new_urls(job, pages(1))) for job in others] == [1, 0, 0]
