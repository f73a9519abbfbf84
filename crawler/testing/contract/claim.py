"""pending → processing: which requests a claim returns, in which order, and why no more."""

from __future__ import annotations

import asyncio

import pytest

from crawler.interfaces import Pace
from crawler.model import Exported, Job, Release, Request, Retry, Rule
from crawler.testing.contract.world import AT_ONCE, Crawl, World, failed, hosts, pages

SLOW = Pace(delay=60.0)
QUICK = Pace(delay=0.05)


# --- which requests


async def test_a_claim_moves_requests_to_processing(crawl: Crawl) -> None:
    await crawl.add(*pages(3))
    assert await crawl.urls(2) == pages(2)
    assert await crawl.counts() == (1, 2, 0, 0)


async def test_at_most_the_limit(crawl: Crawl) -> None:
    await crawl.add(*pages(10), *hosts(10))
    claim = await crawl.claim(7)
    assert len(claim.leases) == 7
    assert claim.idle == ""


async def test_all_shards_are_asked_before_the_claim_gives_less_than_the_limit(crawl: Crawl) -> None:
    await crawl.add(*hosts(40))
    assert len((await crawl.claim(100, pace=SLOW)).leases) == 40


async def test_each_request_is_handed_out_once(world: World, crawl: Crawl) -> None:
    await crawl.add(*hosts(100))
    clients = [await world.client() for _ in range(4)]
    claims = await asyncio.gather(
        *(client.queue.claim(f"w{n}", 40, [crawl.job], AT_ONCE) for n, client in enumerate(clients))
    )
    urls = [lease.request.url for claim in claims for lease in claim.leases]
    assert sorted(urls) == sorted(hosts(100))


async def test_first_in_first_out(crawl: Crawl) -> None:
    await crawl.add(*pages(5))
    await crawl.add("http://a.example/last")
    assert await crawl.urls() == [*pages(5), "http://a.example/last"]


async def test_last_in_first_out_when_the_job_says_so(world: World) -> None:
    crawl = await Crawl.create(world, Job("deep", order="lifo"))
    await crawl.add(*pages(3))
    await crawl.add("http://a.example/newest")
    assert await crawl.urls() == ["http://a.example/newest", *reversed(pages(3))]


@pytest.mark.parametrize("order", ["fifo", "lifo"])
async def test_higher_priorities_first(world: World, order: str) -> None:
    crawl = await Crawl.create(world, Job("news", order=order))
    priorities = [0, 5, -1000, 1000, -1, 10, 9]
    await crawl.add(*[Request(f"http://a.example/{p}", priority=p) for p in priorities])
    assert await crawl.urls() == [f"http://a.example/{p}" for p in sorted(priorities, reverse=True)]


async def test_the_lowest_priority_comes_when_the_higher_ones_are_done(crawl: Crawl) -> None:
    urls = pages(3)
    await crawl.add(*[Request(url, priority=priority) for url, priority in zip(urls, (5, -1, -1), strict=True)])
    assert [await crawl.urls(2), await crawl.urls(2)] == [urls[:2], urls[2:]]


async def test_first_in_first_out_inside_equal_priority(crawl: Crawl) -> None:
    await crawl.add(*[Request(url, priority=3) for url in pages(4)])
    assert await crawl.urls(2) == pages(4)[:2]
    await crawl.add(Request("http://a.example/first", priority=4))
    assert await crawl.urls() == ["http://a.example/first", *pages(4)[2:]]


async def test_jobs_are_served_in_the_order_given(world: World, crawl: Crawl) -> None:
    other = await Crawl.create(world, Job("other"))
    await crawl.add(*pages(3, "a.example"))
    await other.add(*pages(3, "b.example"))
    claim = await crawl.frontier.queue.claim("w1", 4, [other.job, crawl.job], AT_ONCE)
    assert [lease.job for lease in claim.leases if crawl.world.shards == 1] in ([], ["other"] * 3 + ["news"])
    assert len(claim.leases) == 4


async def test_only_the_jobs_asked_for(world: World, crawl: Crawl) -> None:
    other = await Crawl.create(world, Job("other"))
    await other.add(*pages(3))
    assert await crawl.urls() == []
    assert len(await other.urls()) == 3


async def test_no_job_gives_nothing(crawl: Crawl) -> None:
    await crawl.add(*pages(1))
    claim = await crawl.frontier.queue.claim("w1", 5, [], AT_ONCE)
    assert (claim.leases, claim.idle) == ((), "empty")


async def test_a_job_that_is_not_known_is_named(world: World, crawl: Crawl) -> None:
    await crawl.add(*pages(1))
    stranger = Job("stranger", epoch="0")
    claim = await crawl.frontier.queue.claim("w1", 5, [stranger, crawl.job], AT_ONCE)
    assert claim.gone == ("stranger",)
    assert len(claim.leases) == 1


async def test_a_later_job_of_the_same_name_is_another_one(crawl: Crawl) -> None:
    await crawl.frontier.jobs.delete("news")
    later = await crawl.frontier.jobs.create(Job("news"))
    await crawl.frontier.adding.add(later, [Request("http://a.example/")])
    assert (await crawl.claim()).gone == ("news",)
    assert len((await crawl.frontier.queue.claim("w1", 5, [later], AT_ONCE)).leases) == 1


async def test_the_lease_names_its_host_without_port(crawl: Crawl) -> None:
    await crawl.add("http://a.example:8080/")
    assert (await crawl.lease()).host == "a.example"


async def test_claimed_at_is_the_workers_clock(world: World, crawl: Crawl) -> None:
    await crawl.add("http://a.example/")
    before = world.now()
    assert before <= (await crawl.lease()).claimed_at <= world.now()


# --- concurrency


async def test_at_most_the_cap_is_in_flight(crawl: Crawl) -> None:
    await crawl.add(*pages(10))
    pace = Pace(delay=0.0, concurrency=3)
    assert await crawl.urls(pace=pace) == pages(10)[:3]
    claim = await crawl.claim(pace=pace)
    assert (claim.leases, claim.idle) == ((), "cooling")
    assert claim.wait is not None, "something is pending"


async def test_a_slot_that_is_free_again_is_used(crawl: Crawl) -> None:
    await crawl.add(*pages(10))
    pace = Pace(delay=0.0, concurrency=3)
    leases = (await crawl.claim(pace=pace)).leases
    await crawl.finish(leases[:2])
    assert await crawl.urls(pace=pace) == pages(10)[3:5]


async def test_the_cap_holds_over_workers(world: World, crawl: Crawl) -> None:
    second = await world.client()
    await crawl.add(*pages(10))
    pace = Pace(delay=0.0, concurrency=3)
    assert len((await crawl.claim(2, pace=pace)).leases) == 2
    assert len((await second.queue.claim("w2", 5, [crawl.job], pace)).leases) == 1


async def test_the_cap_holds_together_with_the_delay(world: World, crawl: Crawl) -> None:
    """A slow host: the delay has passed, but its one request is still in flight."""
    await crawl.add(*pages(2))
    lease = await crawl.lease(pace=QUICK)
    await world.pass_time(0.06)
    assert await crawl.urls(pace=QUICK) == []
    await crawl.end(lease, pace=QUICK)
    assert len(await crawl.urls(pace=QUICK)) == 1


@pytest.mark.parametrize("outcome", [Retry(failed(), 0.0), Release("drain")], ids=["retry", "release"])
async def test_every_way_back_frees_the_slot(crawl: Crawl, outcome: Retry | Release) -> None:
    await crawl.add(*pages(1))
    pace = Pace(delay=0.0, concurrency=1)
    for _ in range(3):
        await crawl.end(await crawl.lease(pace=pace), outcome, pace=pace)
    assert await crawl.urls(pace=pace) == pages(1)


async def test_a_fenced_commit_frees_no_slot(crawl: Crawl) -> None:
    await crawl.add(*pages(2))
    pace = Pace(delay=0.0, concurrency=1)
    late = await crawl.lease(worker="w1", pace=pace)
    await crawl.frontier.leases.reap("w1")
    await crawl.lease(worker="w2", pace=pace)
    assert not await crawl.end(late, worker="w1", pace=pace)
    assert await crawl.urls(worker="w3", pace=pace) == []


async def test_two_jobs_on_one_host_share_its_delay(world: World, crawl: Crawl) -> None:
    other = await Crawl.create(world, Job("other"))
    await crawl.add(*pages(2))
    await other.add(*pages(2))
    await crawl.lease(pace=SLOW)
    claim = await other.claim(pace=SLOW)
    assert (claim.leases, claim.idle) == ((), "cooling")


async def test_two_jobs_on_one_host_share_its_cap(world: World, crawl: Crawl) -> None:
    other = await Crawl.create(world, Job("other"))
    pace = Pace(delay=0.0, concurrency=2)
    await crawl.add(*pages(5))
    await other.add(*pages(5))
    leases = (await crawl.claim(pace=pace)).leases
    assert len(leases) == 2
    assert await other.urls(pace=pace) == []
    await crawl.finish(leases[:1])
    assert len(await other.urls(pace=pace)) == 1, "room made by one job serves the other"


async def test_two_jobs_on_one_host_share_its_cap_also_when_the_delay_has_passed(world: World, crawl: Crawl) -> None:
    """A slow host: the request of one job is still in flight when the other's turn would come."""
    other = await Crawl.create(world, Job("other"))
    await crawl.add(*pages(2))
    await other.add(*pages(2))
    lease = await crawl.lease(pace=QUICK)
    await world.pass_time(0.06)
    assert await other.urls(pace=QUICK) == []
    await crawl.end(lease, pace=QUICK)
    assert len(await other.urls(pace=QUICK)) == 1


async def test_both_jobs_get_on_when_they_share_a_host(world: World, crawl: Crawl) -> None:
    other = await Crawl.create(world, Job("other"))
    pace = Pace(delay=0.0, concurrency=1)
    await crawl.add(*pages(4))
    await other.add(*pages(4))
    for turn in range(8):
        jobs = [crawl.job, other.job] if turn % 2 else [other.job, crawl.job]
        (lease,) = (await crawl.frontier.queue.claim("w1", 5, jobs, pace)).leases
        owner = crawl if lease.job == "news" else other
        assert await owner.end(lease, pace=pace)
    assert await crawl.finished()
    assert await other.finished()


# --- not before


async def test_a_delayed_request_waits(crawl: Crawl) -> None:
    await crawl.add(Request("http://a.example/", delay=30.0))
    claim = await crawl.claim()
    assert (claim.leases, claim.idle) == ((), "cooling")
    assert claim.wait is not None
    assert 29 < claim.wait <= 30
    assert await crawl.counts() == (1, 0, 0, 0)


async def test_a_delayed_request_comes_out_when_it_is_due(world: World, crawl: Crawl) -> None:
    await crawl.add(Request("http://a.example/", delay=0.05))
    await world.pass_time(0.05)
    assert await crawl.urls() == ["http://a.example/"]


async def test_a_request_that_is_due_comes_to_the_front_of_its_priority(world: World, crawl: Crawl) -> None:
    await crawl.add(Request("http://a.example/due", delay=0.02), *pages(2))
    await crawl.add(Request("http://a.example/urgent", priority=1))
    await world.pass_time(0.02)
    assert await crawl.urls() == ["http://a.example/urgent", "http://a.example/due", *pages(2)]


async def test_a_due_request_still_waits_for_its_host(world: World, crawl: Crawl) -> None:
    await crawl.add("http://a.example/", Request("http://a.example/due", delay=0.02))
    await crawl.lease(pace=SLOW)
    await world.pass_time(0.03)
    assert await crawl.urls(pace=SLOW) == []


# --- why no more


async def test_idle_when_nothing_is_pending(crawl: Crawl) -> None:
    claim = await crawl.claim()
    assert (claim.idle, claim.wait) == ("empty", None)


async def test_idle_when_all_is_handed_out(crawl: Crawl) -> None:
    await crawl.add(*pages(2))
    claim = await crawl.claim(5)
    assert len(claim.leases) == 2
    assert (claim.idle, claim.wait) == ("empty", None)


async def test_wait_is_until_the_earliest_of_all(crawl: Crawl) -> None:
    await crawl.add(*pages(2), Request("http://b.example/", delay=20.0))
    await crawl.end(await crawl.lease(pace=SLOW), pace=SLOW)
    claim = await crawl.claim(pace=SLOW)
    assert claim.wait is not None
    assert 19 < claim.wait <= 20


@pytest.mark.parametrize("job_is", ["blocked first", "blocked last"])
async def test_what_can_be_done_at_once_in_one_job_does_not_wait_for_another(crawl: Crawl, job_is: str) -> None:
    """A claim ends a part of many blocked requests; the next claim may come at once."""
    cooling, paused = [await crawl.frontier.jobs.create(Job(name)) for name in ("cooling", "paused")]
    await crawl.add(*pages(510))
    for job in (cooling, paused):
        await crawl.frontier.adding.add(job, [Request(url) for url in pages(2, "b.example")])
    await crawl.frontier.queue.claim("w1", 1, [cooling], SLOW)
    for action, name in (("block", "news"), ("pause", "paused")):
        await crawl.frontier.control.set_rule(Rule(action, "job", name, "on"))
    jobs = [crawl.job, cooling, paused][:: 1 if job_is == "blocked first" else -1]
    claim = await crawl.frontier.queue.claim("w1", 9, jobs, SLOW)
    assert (claim.leases, claim.wait) == ((), 0.0)


async def test_a_full_outbox_of_one_job_does_not_hold_up_what_another_waits_for(world: World) -> None:
    crawl = await Crawl.create(world, outbox_limit=1)
    other = Crawl(world, crawl.frontier, await crawl.frontier.jobs.create(Job("other")))
    await crawl.add(*pages(2))
    await crawl.end(await crawl.lease(), items=(b"{}",))
    await other.add(Request("http://a.example/later", delay=0.5))
    claim = await crawl.frontier.queue.claim("w1", 9, [other.job, crawl.job], AT_ONCE)
    assert (claim.wait or 1.0) <= 0.5


async def test_a_full_outbox_pauses_claims_and_says_so(world: World) -> None:
    crawl = await Crawl.create(world, outbox_limit=2)
    await crawl.add(*pages(10))
    for lease in (await crawl.claim(2)).leases:
        await crawl.end(lease, items=(b"{}",))
    claim = await crawl.claim()
    assert (claim.leases, claim.idle) == ((), "outbox")
    assert claim.wait is not None


async def test_claims_go_on_when_the_outbox_has_room_again(world: World) -> None:
    crawl = await Crawl.create(world, outbox_limit=1)
    await crawl.add(*pages(3))
    await crawl.end(await crawl.lease(), items=(b"{}",))
    assert await crawl.urls() == []
    entries = await crawl.outbox.read(crawl.job, {}, 10)
    await crawl.outbox.acknowledge(crawl.job, Exported({entry.shard: entry.position for entry in entries}))
    assert len(await crawl.urls()) == 2


async def test_a_full_outbox_of_one_job_does_not_stop_another(world: World) -> None:
    crawl = await Crawl.create(world, outbox_limit=1)
    other = Crawl(world, crawl.frontier, await crawl.frontier.jobs.create(Job("other")))
    await crawl.add(*pages(3))
    await other.add(*pages(3))
    await crawl.end(await crawl.lease(), items=(b"{}",))
    claim = await crawl.frontier.queue.claim("w1", 10, [crawl.job, other.job], AT_ONCE)
    assert {lease.job for lease in claim.leases} == {"other"}
