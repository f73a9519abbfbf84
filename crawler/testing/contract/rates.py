"""The paces that people set while a crawl runs: of hosts, of addresses that hosts share, of spiders and of jobs."""

from __future__ import annotations

from typing import Any

import pytest

from crawler.interfaces import Pace
from crawler.model import Job, Release, Request
from crawler.testing.contract.rules import POLITE, finish_all, order
from crawler.testing.contract.world import Crawl, World, hosts, pages

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


@pytest.mark.parametrize("rule", ["concurrency a.example 4", "rate spider:shop 1/s"])
async def test_a_rule_for_a_host_that_is_held_or_any_spider_has_it_looked_at_where_it_waits(
    crawl: Crawl, rule: str
) -> None:
    other = await crawl.frontier.jobs.create(Job("other"))
    await crawl.add(*pages(2))
    await crawl.frontier.pauses.pause(crawl.job, "host", "a.example", "a person said so")
    assert await crawl.urls() == []
    await order(crawl, rule)
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


def beside(crawl: Crawl, host: str, letter: str = "n") -> str:
    """Another host of the same shard, so that a claim books the turns of both in one ledger of their address."""
    shard = crawl.world.shard_of(host)
    return next(name for n in range(1000) if crawl.world.shard_of(name := f"{letter}{n}.example") == shard)


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


async def test_nor_need_the_host_have_pages_for_that(crawl: Crawl) -> None:
    first, second = beside(crawl, "a.example"), beside(crawl, "a.example", "m")
    await on_one_address(crawl, "a.example", first, second)
    await crawl.add(f"http://{first}/")
    await finish_all(crawl, POLITE)
    await crawl.add(f"http://{second}/")
    assert await crawl.urls(pace=POLITE) == []
    await order(crawl, "rate a.example 5/s")
    await crawl.world.pass_time(0.2)
    assert await crawl.urls(pace=POLITE) == [f"http://{second}/"]


async def test_a_raised_rate_holds_for_the_turn_with_which_a_host_joins(crawl: Crawl) -> None:
    neighbour = beside(crawl, "a.example")
    await order(crawl, "rate a.example 5/s")
    await crawl.add("http://a.example/", f"http://{neighbour}/")
    leases = {lease.host: lease for lease in (await crawl.claim(pace=POLITE)).leases}
    joined = [
        (await crawl.frontier.ledger.join(host, ADDRESS, crawl.job.name, POLITE)).has_turn
        for host in ("a.example", neighbour)
    ]
    assert joined == [True, False]
    for lease in leases.values():
        await crawl.end(lease, Release("address"), unasked=lease.host == neighbour, pace=POLITE)
    await crawl.world.pass_time(0.2)
    assert len(await crawl.urls(pace=POLITE)) == 1


async def test_a_raised_cap_of_a_host_holds_when_it_joins(crawl: Crawl) -> None:
    """The address is at the usual cap, and has room for the host to which the rule gives more."""
    neighbour = beside(crawl, "a.example")
    await order(crawl, "concurrency a.example 2")
    await crawl.add("http://a.example/", f"http://{neighbour}/")
    pace = Pace(delay=0.0)
    leases = (await crawl.claim(pace=pace)).leases
    assert len(leases) == 2
    joined = [
        (await crawl.frontier.ledger.join(host, ADDRESS, crawl.job.name, pace)).has_turn
        for host in (neighbour, "a.example")
    ]
    assert joined == [True, True]


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


async def test_nor_is_one_that_is_lowered_while_the_address_waits(crawl: Crawl) -> None:
    slow, neighbour = Pace(delay=0.05), beside(crawl, "a.example")
    await on_one_address(crawl, "a.example", neighbour)
    await crawl.add(*pages(2))
    await crawl.end(await crawl.lease(pace=slow), pace=slow)
    await crawl.add(f"http://{neighbour}/")
    await order(crawl, "rate a.example 1/h")
    await crawl.world.pass_time(0.05)
    assert await crawl.urls(pace=slow) == [f"http://{neighbour}/"]


async def test_a_rate_of_the_address_holds_for_all_its_hosts(crawl: Crawl) -> None:
    neighbour = beside(crawl, "a.example")
    await on_one_address(crawl, "a.example", neighbour)
    await crawl.add(*pages(3), *pages(3, neighbour))
    await order(crawl, f"rate {ADDRESS} 1/h")
    assert len(await finish_all(crawl)) == 1


async def test_a_raised_rate_of_an_address_holds_for_the_hosts_in_its_line(crawl: Crawl) -> None:
    neighbour = beside(crawl, "a.example")
    await on_one_address(crawl, "a.example", neighbour)
    await crawl.add("http://a.example/", f"http://{neighbour}/")
    await order(crawl, f"rate {ADDRESS} 1/h")
    assert len(await finish_all(crawl)) == 1
    await order(crawl, f"rate {ADDRESS} 1000/s")
    await crawl.world.pass_time(0.002)
    assert len(await crawl.urls()) == 1


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


async def test_without_the_concurrency_of_its_host_an_address_has_the_cap_of_the_settings_again(crawl: Crawl) -> None:
    one, neighbour = Pace(delay=0.0, concurrency=1), beside(crawl, "a.example")
    await on_one_address(crawl, "a.example", neighbour)
    await crawl.add(*pages(4), *pages(4, neighbour))
    await order(crawl, "priority job:news 1")
    await order(crawl, "concurrency a.example 2")
    leases = (await crawl.claim(pace=one)).leases
    assert len(leases) == 2
    await order(crawl, "concurrency a.example off")
    await crawl.finish(leases)
    assert len(await crawl.urls(pace=one)) == 1, "though another rule is in force"


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


@pytest.mark.parametrize("subject", ["spider:shop", "job:news"])
async def test_a_raised_rate_of_a_spider_or_a_job_holds_at_once(crawl: Crawl, subject: str) -> None:
    await crawl.add(*[Request(url, spider="shop") for url in pages(2)])
    await order(crawl, f"rate {subject} 1/h")
    assert len(await finish_all(crawl)) == 1
    await order(crawl, f"rate {subject} 1000/s")
    assert len(await finish_all(crawl)) == 1


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
