"""The rules that people set while a crawl runs: the next claim obeys them, in all shards, and the log records them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from crawler.control.rules import parse
from crawler.frontier.redis.keys import shard_of
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


# --- pace of a host


async def test_a_rate_goes_before_the_pace_of_the_settings(crawl: Crawl) -> None:
    await crawl.add(*pages(3))
    await order(crawl, "rate a.example 10/s")
    assert len(await finish_all(crawl, POLITE)) == 1
    await crawl.world.pass_time(0.1)
    assert len(await finish_all(crawl, POLITE)) == 1, "neither an hour, as the settings say, nor none"
    assert (await crawl.claim(pace=POLITE)).wait == pytest.approx(0.1, abs=0.1)


async def test_a_raised_rate_holds_for_a_host_that_waits_by_the_old_one(crawl: Crawl) -> None:
    await crawl.add(*pages(2))
    await order(crawl, "rate a.example 1/h")
    await finish_all(crawl)
    assert ((await crawl.claim()).wait or 0) > 3500
    await order(crawl, "rate a.example 1/s")
    assert (await crawl.claim()).leases == (), "the new gap counts from the last request"
    await crawl.world.pass_time(1.0)
    assert len(await crawl.urls()) == 1


async def test_a_lowered_rate_holds_for_a_host_that_would_be_due(crawl: Crawl) -> None:
    await crawl.add(*pages(2))
    await order(crawl, "rate a.example 100/s")
    await finish_all(crawl, Pace(delay=0.01))
    await order(crawl, "rate a.example 1/h")
    await crawl.world.pass_time(0.02)
    assert await crawl.urls() == []


async def test_when_it_is_lifted_the_settings_hold_again(crawl: Crawl) -> None:
    usual = Pace(delay=0.05)
    await crawl.add(*pages(3))
    await crawl.end(await crawl.lease(pace=usual), pace=usual)
    await order(crawl, "rate a.example 1/h")
    await crawl.world.pass_time(0.05)
    assert await crawl.urls(pace=usual) == []
    await order(crawl, "rate a.example 2/h")
    await order(crawl, "rate a.example off")
    assert len(await crawl.urls(pace=usual)) == 1, "it was asked longer ago than that"


@pytest.mark.parametrize("wish", [{"host_delay": 60.0}, {"pause": 60.0}], ids=["crawl-delay", "retry-after"])
async def test_no_rule_is_faster_than_the_host_wants(crawl: Crawl, wish: dict[str, Any]) -> None:
    await crawl.add(*pages(2))
    await crawl.end(await crawl.lease(), asked_at=crawl.world.now(), **wish)
    await order(crawl, "rate a.example 1000/s")
    claim = await crawl.claim()
    assert claim.leases == ()
    assert (await crawl.frontier.reading.stats(crawl.job)).cooling + len((await crawl.claim()).leases) == 1
    assert ((await crawl.claim()).wait or 0) > 50


async def test_nor_than_the_delay_by_which_the_host_waits(crawl: Crawl) -> None:
    await crawl.add(*pages(3))
    await crawl.end(await crawl.lease(), asked_at=crawl.world.now(), host_delay=60.0)
    await crawl.world.end_rest(crawl.job.name, "a.example", 60.0)
    await crawl.end(await crawl.lease(), asked_at=crawl.world.now())
    await order(crawl, "rate a.example 1000/s")
    await crawl.world.pass_time(0.01)
    assert await crawl.urls() == []


async def test_nor_than_the_rest_that_it_asked_for(crawl: Crawl) -> None:
    slow = Pace(delay=30.0)
    await crawl.add(*pages(2))
    await crawl.end(await crawl.lease(pace=slow), pace=slow, asked_at=crawl.world.now(), pause=60.0)
    await order(crawl, "rate a.example 1000/s")
    assert await crawl.urls() == []
    assert ((await crawl.claim()).wait or 0) > 50


async def test_a_rule_for_a_host_that_is_held_has_it_looked_at_where_it_waits(crawl: Crawl) -> None:
    other = await crawl.frontier.jobs.create(Job("other"))
    await crawl.add(*pages(2))
    await crawl.frontier.pauses.pause(crawl.job, "host", "a.example", "a person said so")
    assert await crawl.urls() == []
    await order(crawl, "concurrency a.example 4")
    stats = [await crawl.frontier.reading.stats(job) for job in (crawl.job, other)]
    assert [(one.held, one.ready) for one in stats] == [(0, 1), (0, 0)]


async def test_concurrency_goes_before_the_cap_of_the_settings_and_wakes_who_waits(crawl: Crawl) -> None:
    one = Pace(delay=0.0, concurrency=1)
    await crawl.add(*pages(9))
    assert len(await crawl.urls(pace=one)) == 1
    assert len(await crawl.urls(pace=one)) == 0
    await order(crawl, "concurrency a.example 4")
    assert len(await crawl.urls(pace=one)) == 3
    await order(crawl, "concurrency a.example 2")
    assert len(await crawl.urls()) == 0


async def test_a_job_whose_name_is_no_word_is_woken_as_well(world: World) -> None:
    crawl = await Crawl.create(world, Job("a-b.c"))
    await crawl.add(*pages(2))
    await crawl.lease(pace=Pace(delay=0.0, concurrency=1))
    assert await crawl.urls(pace=Pace(delay=0.0, concurrency=1)) == []
    await order(crawl, "concurrency a.example 2")
    assert len(await crawl.urls()) == 1


async def test_other_hosts_are_not_concerned(crawl: Crawl) -> None:
    await crawl.add(*pages(3), *pages(3, "b.example"))
    await order(crawl, "rate a.example 1/h")
    await order(crawl, "block c.example")
    assert sorted(await finish_all(crawl)) == ["http://a.example/0", *pages(3, "b.example")]


# --- hosts that share an address

ADDRESS = "10.0.0.1"


def beside(crawl: Crawl, host: str) -> str:
    """Another host of the same shard, because each shard has its own ledger of an address."""
    shard = shard_of(host, crawl.world.shards)
    return next(name for n in range(1000) if shard_of(name := f"n{n}.example", crawl.world.shards) == shard)


async def on_one_address(crawl: Crawl, *names: str) -> None:
    """Make these hosts join that group."""
    for name in names:
        await crawl.frontier.ledger.join(name, ADDRESS)


@pytest.mark.parametrize("subject", ["a.example", ADDRESS])
async def test_a_raised_rate_of_a_host_or_of_the_address_raises_that_of_both(crawl: Crawl, subject: str) -> None:
    await on_one_address(crawl, "a.example", "b.example")
    await crawl.add(*pages(4))
    await finish_all(crawl, POLITE)
    await order(crawl, "rate a.example 5/s")
    await order(crawl, f"rate {subject} 5/s")
    await crawl.world.pass_time(0.2)
    assert len(await finish_all(crawl, POLITE)) == 1
    await crawl.world.pass_time(0.2)
    assert len(await finish_all(crawl, POLITE)) == 1


async def test_a_raised_rate_of_a_host_lets_its_neighbours_go_on_earlier(crawl: Crawl) -> None:
    neighbour = beside(crawl, "a.example")
    await on_one_address(crawl, "a.example", neighbour)
    await crawl.add("http://a.example/")
    await finish_all(crawl, POLITE)
    await crawl.add(f"http://{neighbour}/")
    assert await crawl.urls(pace=POLITE) == []
    await order(crawl, "rate a.example 5/s")
    await crawl.world.pass_time(0.2)
    assert await finish_all(crawl, POLITE) == [f"http://{neighbour}/"]


async def test_a_host_that_a_rule_takes_out_of_the_line_of_its_address_waits_no_more(crawl: Crawl) -> None:
    neighbour = beside(crawl, "a.example")
    await on_one_address(crawl, "a.example", neighbour)
    await crawl.add(*pages(2))
    await finish_all(crawl, POLITE)
    await crawl.add(f"http://{neighbour}/")
    assert await crawl.urls(pace=POLITE) == []
    before = await crawl.frontier.reading.stats(crawl.job)
    assert (before.ready, before.cooling) == (0, 2)
    await order(crawl, f"rate {neighbour} 5/s")
    after = await crawl.frontier.reading.stats(crawl.job)
    assert (after.ready, after.cooling) == (1, 1)


async def test_an_address_that_its_hosts_have_left_may_be_given_a_rate(crawl: Crawl) -> None:
    await on_one_address(crawl, "a.example")
    await crawl.frontier.ledger.join("a.example", "")
    await order(crawl, f"rate {ADDRESS} 1/h")
    await crawl.add(*pages(2))
    assert await crawl.urls() == pages(2)


async def test_a_lowered_rate_of_a_host_is_not_its_neighbours(crawl: Crawl) -> None:
    await on_one_address(crawl, "a.example", "b.example")
    await crawl.add(*pages(3), *pages(3, "b.example"))
    await order(crawl, "rate a.example 1/h")
    assert sorted(await finish_all(crawl)) == ["http://a.example/0", *pages(3, "b.example")]


async def test_a_rate_of_the_address_holds_for_all_its_hosts(crawl: Crawl) -> None:
    neighbour = beside(crawl, "a.example")
    await on_one_address(crawl, "a.example", neighbour)
    await crawl.add(*pages(3), *pages(3, neighbour))
    await order(crawl, f"rate {ADDRESS} 1/h")
    assert len(await finish_all(crawl)) == 1


async def test_with_a_rate_an_address_gives_one_request_at_a_time(crawl: Crawl) -> None:
    await on_one_address(crawl, "a.example")
    await crawl.add(*pages(3))
    await order(crawl, f"rate {ADDRESS} 1000/s")
    assert len(await crawl.urls()) == 1


async def test_concurrency_of_a_host_is_not_held_down_by_its_address(crawl: Crawl) -> None:
    one = Pace(delay=0.0, concurrency=1)
    await on_one_address(crawl, "a.example")
    await crawl.add(*pages(9))
    assert len(await crawl.urls(pace=one)) == 1
    assert len(await crawl.urls(pace=one)) == 0
    await order(crawl, "concurrency a.example 4")
    assert len(await crawl.urls(pace=one)) == 3
    await order(crawl, "concurrency a.example off")
    assert len(await crawl.urls(pace=one)) == 0


@pytest.mark.parametrize("subject", ["a.example", "spider:shop", "job:news"])
async def test_what_waits_for_its_address_can_be_blocked(crawl: Crawl, subject: str) -> None:
    neighbour = beside(crawl, "a.example")
    await on_one_address(crawl, "a.example", neighbour)
    await crawl.add(f"http://{neighbour}/")
    lease = await crawl.lease(pace=Pace(delay=0.02))
    await crawl.add(*[Request(url, spider="shop") for url in pages(3)])
    assert await crawl.urls(pace=Pace(delay=0.02)) == []
    await order(crawl, f"block {subject}")
    assert await crawl.urls(pace=Pace(delay=0.02)) == []
    assert await crawl.end(lease)
    await crawl.world.pass_time(0.03)
    assert await finish_all(crawl) == []
    assert await crawl.counts() == (0, 0, 4, 0)


# --- rates of spiders and jobs


@pytest.mark.parametrize("subject", ["spider:shop", "job:news"])
async def test_a_spider_or_a_job_is_handed_out_no_faster_than_its_rate(crawl: Crawl, subject: str) -> None:
    await crawl.add(*[Request(url, spider="shop") for url in hosts(40)])
    await order(crawl, f"rate {subject} 20/s")
    begun = crawl.world.now()
    got: list[str] = []
    while len(got) < 4 * crawl.world.shards:
        got += await finish_all(crawl)
        await crawl.world.pass_time(0.005)
        assert len(got) <= (crawl.world.now() - begun) * 20 + 3 * crawl.world.shards
    await order(crawl, f"rate {subject} off")
    await finish_all(crawl)
    assert await crawl.finished(), "what had been put off is looked at again at once"


async def test_a_spiders_rate_is_not_its_neighbours(crawl: Crawl) -> None:
    await crawl.add(*[Request(url, spider="shop") for url in hosts(30)])
    await crawl.add(*[Request(f"http://n{n}.example/", spider="news") for n in range(30)])
    await order(crawl, "rate spider:shop 1/h")
    got = await finish_all(crawl)
    assert sum("//n" in url for url in got) == 30
    assert sum("//h" in url for url in got) <= crawl.world.shards
    assert ((await crawl.claim()).wait or 0) > 1.0


@pytest.mark.parametrize(("per_second", "at_once"), [(1, 1), (20, 2)])
async def test_a_job_with_a_rate_catches_up_on_a_tenth_of_a_second(crawl: Crawl, per_second: int, at_once: int) -> None:
    await crawl.add(*pages(5))
    await order(crawl, f"rate job:news {per_second * crawl.world.shards}/s")  # each shard has its part of the rate
    assert len(await crawl.urls()) == at_once


async def test_a_host_whose_spider_has_a_rate_waits_for_its_next_turn_and_no_longer(crawl: Crawl) -> None:
    await crawl.add(*[Request(url, spider="shop") for url in pages(2)])
    await order(crawl, f"rate spider:shop {crawl.world.shards}/s")
    assert len(await crawl.urls()) == 1
    assert ((await crawl.claim()).wait or 2.0) <= 1.0


async def test_a_jobs_rate_is_not_its_neighbours(crawl: Crawl) -> None:
    other = Crawl(crawl.world, crawl.frontier, await crawl.frontier.jobs.create(Job("other")))
    for one in (crawl, other):
        await one.add(*hosts(30))
    await order(crawl, "rate job:news 1/h")
    assert len(await finish_all(crawl)) <= crawl.world.shards
    assert len(await finish_all(other)) == 30


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
