"""The rules that people set while a crawl runs: the next claim obeys them, in all shards, and the log records them."""

from __future__ import annotations

import asyncio

import pytest

from crawler.control.rules import parse
from crawler.interfaces import Pace
from crawler.model import Job, Request, Retry, Rule
from crawler.testing.contract.world import AT_ONCE, Crawl, World, failed, hosts, pages

POLITE = Pace(delay=3600.0)
ME = "me@here"


async def order(crawl: Crawl, words: str, job: str = "") -> str:
    """Set a rule as the command line does; return the number of the change."""
    action, *rest = words.split()
    rule = parse(action, rest)
    rule = Rule(rule.action, rule.what, rule.name, rule.value, job, by=ME)
    return (await crawl.frontier.control.set_rule(rule)).rule.id


async def finish_all(crawl: Crawl, pace: Pace = AT_ONCE) -> list[str]:
    """Claim and finish until claims return nothing; return the URLs in their order."""
    done = []
    while leases := (await crawl.claim(pace=pace)).leases:
        done += [lease.request.url for lease in leases]
        for lease in leases:
            await crawl.end(lease, pace=pace, asked_at=crawl.world.now())
    return done


# --- pause


@pytest.mark.parametrize("subject", ["a.example", "spider:shop", "job:news"])
async def test_what_is_paused_waits_in_every_job_until_it_is_resumed(crawl: Crawl, subject: str) -> None:
    await crawl.add(*[Request(url, spider="shop") for url in (*pages(2), *hosts(6))])
    await order(crawl, f"pause {subject}")
    left = await finish_all(crawl)
    assert len(left) == (6 if subject == "a.example" else 0)
    claim, stats = await crawl.claim(), await crawl.frontier.reading.stats(crawl.job)
    assert claim.idle == "paused"
    assert stats.is_all_paused
    rule = parse("pause", [subject])
    assert [(pause.what, pause.name) for pause in stats.paused] == [(rule.what, rule.name)]
    assert ME in stats.paused[0].why
    assert stats.paused[0].by == ME
    trace = await crawl.frontier.traces.trace(crawl.job, "http://a.example/0")
    assert [(pause.what, pause.name) for pause in trace.pauses] == [(rule.what, rule.name)]
    await order(crawl, f"resume {subject}")
    assert len(await finish_all(crawl)) == 8 - len(left)
    assert await crawl.finished()


async def test_a_pause_in_one_job_alone(crawl: Crawl) -> None:
    other = Crawl(crawl.world, crawl.frontier, await crawl.frontier.jobs.create(Job("other")))
    for one in (crawl, other):
        await one.add(*pages(2))
    await order(crawl, "pause a.example", job="news")
    assert await finish_all(crawl) == []
    assert len(await finish_all(other)) == 2
    assert (await crawl.frontier.reading.stats(other.job)).paused == ()
    await order(crawl, "resume a.example", job="news")
    assert len(await finish_all(crawl)) == 2


async def test_what_is_in_flight_ends_as_ever(crawl: Crawl) -> None:
    await crawl.add(*pages(2))
    first, second = (await crawl.claim()).leases
    await order(crawl, "pause a.example")
    assert await crawl.end(first)
    assert await crawl.end(second, Retry(failed(), 0.0))
    assert await crawl.urls() == []
    await order(crawl, "block a.example")
    assert await crawl.urls() == []
    assert await crawl.counts() == (0, 0, 2, 0)


# --- block


@pytest.mark.parametrize("subject", ["a.example", "spider:shop", "job:news"])
async def test_what_is_blocked_ends_as_skipped_and_is_never_handed_out(crawl: Crawl, subject: str) -> None:
    await crawl.add(
        *[Request(url, spider="shop") for url in pages(700)], Request("http://a.example/p", spider="shop", priority=3)
    )
    await crawl.add(Request("http://a.example/late", spider="shop", delay=0.01))
    await order(crawl, f"block {subject}")
    blocked = (await crawl.frontier.reading.stats(crawl.job)).blocked
    assert blocked == (f"ordered (by {ME})" if subject == "job:news" else "")
    await crawl.world.pass_time(0.02)
    assert await finish_all(crawl) == []
    assert await finish_all(crawl) == [], "in several claims: none takes long"
    assert await crawl.counts() == (0, 0, 702, 0)
    assert await crawl.counter("skip/blocked") == 702
    assert await crawl.finished()
    await crawl.add(Request("http://a.example/new", spider="shop"))
    assert await crawl.urls() == []
    assert await crawl.finished()
    trace = await crawl.frontier.traces.trace(crawl.job, "http://a.example/new")
    assert trace.skipped is not None
    rule = parse("block", [subject])
    assert (trace.skipped.reason, trace.skipped.detail) == ("blocked", f"{rule.what} {rule.name}")
    await order(crawl, f"unblock {subject}")
    await crawl.add(Request("http://a.example/newer", spider="shop"))
    assert await crawl.urls() == ["http://a.example/newer"]


async def test_a_blocked_spider_takes_none_of_its_neighbours_along(crawl: Crawl) -> None:
    await crawl.add(*[Request(url, spider=("shop", "news")[n % 2]) for n, url in enumerate(pages(20))])
    await order(crawl, "block spider:shop")
    assert await finish_all(crawl) == pages(20)[1::2]
    assert await crawl.counter("skip/blocked") == 10


async def test_a_blocked_host_that_must_not_be_asked_yet_or_is_paused_ends_at_once(crawl: Crawl) -> None:
    await crawl.add(*pages(3))
    await crawl.end(await crawl.lease(pace=POLITE), pace=POLITE, asked_at=crawl.world.now())
    await order(crawl, "pause a.example")
    await crawl.claim()
    await order(crawl, "block a.example")
    await crawl.claim()
    assert await crawl.counts() == (0, 0, 3, 0)


# --- priority


async def test_hosts_with_a_priority_are_asked_first(crawl: Crawl) -> None:
    await crawl.add(*hosts(40))
    await order(crawl, "priority h33.example 5")
    await order(crawl, "priority h27.example 9")
    await order(crawl, "priority h7.example 9")
    await order(crawl, "priority h7.example off")
    urls = await crawl.urls()
    assert len(urls) == 40
    assert crawl.world.shards > 1 or urls[:2] == ["http://h27.example/", "http://h33.example/"]
    for host in ("h27", "h33"):
        shard_mates = urls.index(f"http://{host}.example/") - 1
        assert shard_mates < 35


async def test_jobs_with_a_priority_are_served_first(crawl: Crawl) -> None:
    other = await crawl.frontier.jobs.create(Job("other"))
    await crawl.add(*pages(5))
    await crawl.frontier.adding.add(other, [Request(url) for url in pages(5)])
    await order(crawl, "priority job:other 1")
    for _ in range(3):
        claim = await crawl.frontier.queue.claim("w1", 1, [crawl.job, other], AT_ONCE)
        assert [lease.job for lease in claim.leases] == ["other"]


async def test_the_job_with_the_highest_priority_is_served_first(crawl: Crawl) -> None:
    ranks = {"a": 3, "b": 5, "c": 1, "d": 4, "e": 2}
    jobs = [await crawl.frontier.jobs.create(Job(name)) for name in ranks]
    for job in jobs:
        await crawl.frontier.adding.add(job, [Request(url) for url in pages(1)])
        await order(crawl, f"priority job:{job.name} {ranks[job.name]}")
    claim = await crawl.frontier.queue.claim("w1", 9, jobs, AT_ONCE)
    assert [lease.job for lease in claim.leases] == ["b", "d", "a", "e", "c"]


# --- what is written down


async def test_rules_in_force_say_who_and_when(world: World, crawl: Crawl) -> None:
    await order(crawl, "rate a.example 10/m")
    await order(crawl, "pause spider:shop", job="news")
    await order(crawl, "rate a.example 20/m")
    rules = await (await world.client()).control.rules()
    assert [(rule.action, rule.what, rule.name, rule.value, rule.job, rule.by) for rule in rules] == [
        ("pause", "spider", "shop", "on", "news", ME),
        ("rate", "host", "a.example", "20/m", "", ME),
    ]
    assert [rule.id for rule in rules] == ["2", "3"]
    assert all(rule.at > 1_700_000_000 for rule in rules)


async def test_the_log_has_every_change_and_what_was_before(crawl: Crawl) -> None:
    for words in ("rate a.example 10/m", "rate a.example 20/m", "rate a.example off", "unblock b.example"):
        await order(crawl, words)
    control = crawl.frontier.control
    log = await control.rule_log()
    assert [(change.rule.id, change.rule.value, change.before) for change in log] == [
        ("4", "", ""),
        ("3", "", "20/m"),
        ("2", "20/m", "10/m"),
        ("1", "10/m", ""),
    ]
    assert await control.rules() == []
    change = await control.set_rule(log[1].rule, undoes="3")
    assert (await control.rule_log(1)) == [change]
    assert change.undoes == "3"


# --- calls and answers


async def test_workers_hear_of_a_change_and_answer(world: World, crawl: Crawl) -> None:
    control, workers = crawl.frontier.control, [(await world.client()).broadcasts for _ in range(3)]
    start = await workers[0].last_broadcast()
    hearing = [asyncio.create_task(worker.hear(start)) for worker in workers]
    await asyncio.sleep(0)
    change = await control.set_rule(Rule("log-level", "fleet", "", "DEBUG", by=ME))
    for number, heard in enumerate(await asyncio.gather(*hearing)):
        assert [(call.id, call.word) for call in heard] == [(change.call, "rule")]
        await workers[number].answer(change.call, f"w{number}", "OK")
    assert await control.answers(change.call) == {"w0": "OK", "w1": "OK", "w2": "OK"}
    assert await control.answers("999-0") == {}


async def test_calls_are_heard_in_their_order_and_once(crawl: Crawl) -> None:
    control, calls = crawl.frontier.control, crawl.frontier.broadcasts
    start = await calls.last_broadcast()
    first, second = await control.ask("active"), await control.ask("conf")
    heard = await calls.hear(start)
    assert [(call.id, call.word) for call in heard] == [(first, "active"), (second, "conf")]
    assert await calls.hear(second) == []
    assert await calls.last_broadcast() == second


async def test_rules_outlive_jobs(crawl: Crawl) -> None:
    await order(crawl, "block a.example")
    await crawl.frontier.jobs.delete("news")
    again = Crawl(crawl.world, crawl.frontier, await crawl.frontier.jobs.create(Job("news")))
    await again.add(*pages(2))
    assert await again.urls() == []
    assert await again.counts() == (0, 0, 2, 0)
    assert (await again.frontier.reading.stats(again.job)).counters == {"skip/blocked": 2}
