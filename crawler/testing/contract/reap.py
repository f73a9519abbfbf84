"""processing → pending for dead and silent workers; which request is to blame, and which are innocent."""

from __future__ import annotations

import asyncio

import pytest

from crawler.interfaces import Pace
from crawler.model import Dead, Failure, Job, Release, Request, Retry
from crawler.testing.contract.world import Crawl, World, failed, hosts, pages

LEASE = 0.15
CRASH = Failure("crash", "the process was killed by signal 9", traceback="…")


@pytest.fixture
async def brief(world: World) -> Crawl:
    """A frontier whose leases last 0.15 s, with 3 crashes."""
    return await Crawl.create(world, lease_seconds=LEASE, max_crashes=3)


async def test_an_expired_workers_requests_go_back(world: World, brief: Crawl) -> None:
    await brief.add(*hosts(5))
    await brief.claim(5)
    await world.pass_time(LEASE)
    reaped = await _reap_all(brief)
    assert reaped == {"w1": (5, 0)}
    assert await brief.counts() == (5, 0, 0, 0)
    assert await brief.counter("reaped") == 5


async def test_a_living_workers_requests_stay(world: World, crawl: Crawl) -> None:
    await crawl.add(*hosts(5))
    await crawl.claim(5)
    assert await crawl.frontier.leases.reap() == []
    assert await crawl.counts() == (0, 5, 0, 0)


async def test_a_heartbeat_renews_the_lease(world: World, brief: Crawl) -> None:
    await brief.add("http://a.example/")
    lease = await brief.lease()
    for _ in range(4):
        await world.pass_time(LEASE / 2)
        await asyncio.to_thread(brief.frontier.leases.beat, "w1", {})
        await brief.frontier.leases.reap()
    assert await brief.end(lease)


async def test_a_heartbeat_lasts_from_its_own_time(world: World, brief: Crawl) -> None:
    await brief.add("http://a.example/")
    await brief.lease()
    await asyncio.to_thread(brief.frontier.leases.beat, "w1", {})
    await world.pass_time(LEASE)
    assert await _reap_all(brief) == {"w1": (1, 0)}


async def test_only_the_expired_are_reaped(world: World, brief: Crawl) -> None:
    await brief.add(*hosts(10))
    await brief.claim(5, worker="gone")
    await brief.claim(5, worker="here")
    await world.pass_time(LEASE)
    await asyncio.to_thread(brief.frontier.leases.beat, "here", {})
    assert await _reap_all(brief) == {"gone": (5, 0)}
    assert await brief.counts() == (5, 5, 0, 0)


async def test_reaping_again_finds_nothing(world: World, brief: Crawl) -> None:
    await brief.add(*hosts(5))
    await brief.claim(5)
    await world.pass_time(LEASE)
    await _reap_all(brief)
    assert await brief.frontier.leases.reap() == []


async def test_many_reapers_at_once_double_nothing(world: World, brief: Crawl) -> None:
    await brief.add(*hosts(60))
    for number in range(6):
        await brief.claim(10, worker=f"w{number}")
    await world.pass_time(LEASE)
    clients = [await world.client(lease_seconds=LEASE) for _ in range(5)]
    await asyncio.gather(*(client.leases.reap() for client in clients for _ in range(8)))
    await _reap_all(brief)
    assert await brief.counts() == (60, 0, 0, 0)
    assert await brief.counter("reaped") == 60
    assert len(set(await brief.urls(200))) == 60


async def test_leases_of_all_jobs_go_back(world: World, brief: Crawl) -> None:
    other = Crawl(world, brief.frontier, await brief.frontier.jobs.create(Job("other")))
    await brief.add(*hosts(3))
    await other.add(*hosts(4))
    await brief.claim()
    await other.claim()
    await world.pass_time(LEASE)
    assert await _reap_all(brief) == {"w1": (7, 0)}
    assert await brief.counts() == (3, 0, 0, 0)
    assert await other.counts() == (4, 0, 0, 0)


async def test_many_leases_of_one_worker(world: World, brief: Crawl) -> None:
    await brief.add(*pages(700))
    assert len((await brief.claim(700)).leases) == 700
    await world.pass_time(LEASE)
    assert await _reap_all(brief) == {"w1": (700, 0)}
    assert await brief.counts() == (700, 0, 0, 0)


@pytest.mark.parametrize("count", [199, 200])
async def test_a_worker_is_gone_when_its_last_request_has_moved(crawl: Crawl, count: int) -> None:
    """The script moves 200 in one step."""
    await crawl.add(*pages(count))
    await crawl.claim(count)
    await crawl.frontier.leases.reap("w1")
    assert await crawl.counts() == (count, 0, 0, 0)
    assert await crawl.frontier.reading.workers() == []


async def test_a_reaped_request_keeps_its_attempts_and_has_another_delivery(crawl: Crawl) -> None:
    await crawl.add(Request("http://a.example/", priority=4, meta={"a": 1}))
    first = await crawl.lease()
    await crawl.frontier.leases.reap("w1")
    second = await crawl.lease(worker="w2")
    assert (second.attempt, second.delivery) == (0, 1)
    assert second.request == first.request


async def test_a_reaped_request_comes_to_the_front(crawl: Crawl) -> None:
    await crawl.add(*pages(4))
    await crawl.claim(1)
    await crawl.frontier.leases.reap("w1")
    assert await crawl.urls() == pages(4)


async def test_reaping_frees_the_hosts_slots(crawl: Crawl) -> None:
    pace = Pace(delay=0.0, concurrency=2)
    await crawl.add(*pages(4))
    await crawl.claim(pace=pace)
    await crawl.frontier.leases.reap("w1")
    assert len(await crawl.urls(worker="w2", pace=pace)) == 2


async def test_the_ledger_outlives_its_workers(crawl: Crawl) -> None:
    """A crash loop must not flood a host: reaping does not shorten the gap between two requests."""
    pace = Pace(delay=60.0)
    await crawl.add(*pages(2))
    await crawl.lease(pace=pace)
    await crawl.frontier.leases.reap("w1")
    assert await crawl.urls(worker="w2", pace=pace) == []


async def test_a_worker_can_go_on_after_it_was_reaped(world: World, brief: Crawl) -> None:
    await brief.add(*hosts(2))
    late = await brief.lease()
    await world.pass_time(LEASE)
    await _reap_all(brief)
    leases = (await brief.claim()).leases
    assert len(leases) == 2
    assert not await brief.end(late)
    assert await brief.finish(leases) == [True, True]
    assert await brief.finished()


async def test_reaping_an_unknown_worker_changes_nothing(crawl: Crawl) -> None:
    await crawl.add("http://a.example/")
    reaped = await crawl.frontier.leases.reap("nobody")
    assert sum(one.requeued + one.dead for one in reaped) == 0


# --- vanished: nobody knows why


async def test_a_request_that_outlives_too_many_workers_is_dead(world: World, brief: Crawl) -> None:
    await brief.add("http://a.example/")
    outcomes = []
    for number in range(3):
        await brief.lease(worker=f"w{number}")
        await world.pass_time(LEASE)
        outcomes.append((await _reap_all(brief))[f"w{number}"])
    assert outcomes == [(1, 0), (1, 0), (0, 1)]
    (letter,) = await brief.frontier.letters.newest(brief.job)
    assert (letter.url, letter.worker, letter.failure.kind) == ("http://a.example/", "w2", "crash")
    assert await brief.counts() == (0, 0, 0, 1)
    assert await brief.finished()


async def test_a_commit_in_between_does_not_forgive_crashes(world: World, brief: Crawl) -> None:
    await brief.add("http://a.example/")
    for number in range(3):
        await brief.end(await brief.lease(worker="x"), Release("drain"), worker="x")
        await brief.lease(worker=f"w{number}")
        await world.pass_time(LEASE)
        await _reap_all(brief)
    assert await brief.counts() == (0, 0, 0, 1)


# --- seen dying: its supervisor knows why


async def test_a_named_worker_is_reaped_at_once(crawl: Crawl) -> None:
    await crawl.add(*hosts(9))
    await crawl.claim(9)
    reaped = await crawl.frontier.leases.reap("w1")
    assert sum(one.requeued for one in reaped) == 9
    assert {one.worker for one in reaped} == {"w1"}
    assert await crawl.counts() == (9, 0, 0, 0)


async def test_the_page_that_kills_has_the_outcome_that_is_given(world: World, crawl: Crawl) -> None:
    await crawl.add("http://a.example/poison", "http://b.example/innocent")
    outcomes: list[Retry | Dead] = [Retry(CRASH, 0.3), Dead(CRASH, spent=True)]
    for attempt, outcome in enumerate(outcomes):
        leases = {lease.request.url: lease for lease in (await crawl.claim(worker=f"w{attempt}")).leases}
        poison, innocent = leases["http://a.example/poison"], leases["http://b.example/innocent"]
        assert (poison.attempt, innocent.attempt) == (attempt, 0)
        assert await crawl.counts() == (0, 2, 0, 0)
        reaped = await crawl.frontier.leases.reap(f"w{attempt}", blame=(poison, outcome))
        assert sum(one.dead for one in reaped) == attempt
        await world.pass_time(0.3)
    (letter,) = await crawl.frontier.letters.newest(crawl.job)
    assert letter.url == "http://a.example/poison"
    assert (letter.attempts, letter.worker, letter.failure) == (2, "w1", CRASH)
    assert await crawl.counts() == (1, 0, 0, 1)
    assert await crawl.counter("dead/crash") == 1


@pytest.mark.parametrize("seconds", [40.0, 4_000.0])
async def test_the_page_that_kills_waits_as_long_as_is_given(crawl: Crawl, seconds: float) -> None:
    await crawl.add("http://a.example/poison")
    await crawl.frontier.leases.reap("w1", blame=(await crawl.lease(), Retry(CRASH, seconds)))
    (waiting,) = (await crawl.frontier.traces.trace(crawl.job, "http://a.example/poison")).sightings
    assert (waiting.state, waiting.attempt) == ("delayed", 1)
    assert waiting.due == pytest.approx(seconds, abs=10.0)
    assert await crawl.counter("retried") == 1


async def test_the_innocent_are_put_back_uncounted_however_often(brief: Crawl) -> None:
    await brief.add(*hosts(5))
    for number in range(10):
        assert len((await brief.claim(worker=f"w{number}")).leases) == 5
        await brief.frontier.leases.reap(f"w{number}")
    leases = (await brief.claim()).leases
    assert [lease.attempt for lease in leases] == [0] * 5
    assert await brief.counts() == (0, 5, 0, 0)


async def test_nor_does_that_count_when_a_worker_and_its_supervisor_are_gone(world: World, brief: Crawl) -> None:
    await brief.add("http://a.example/")
    for number in range(5):
        await brief.lease(worker=f"w{number}")
        await brief.frontier.leases.reap(f"w{number}")
    await brief.lease(worker="last")
    await world.expire("last")
    (reaped,) = await brief.frontier.leases.reap()
    assert (reaped.requeued, reaped.dead) == (1, 0)


async def test_blame_and_retries_share_the_account(brief: Crawl) -> None:
    await brief.add("http://a.example/")
    await brief.end(await brief.lease(), Retry(failed(), 0.0))
    await brief.frontier.leases.reap("w1", blame=(await brief.lease(), Retry(CRASH, 0.0)))
    assert (await brief.lease()).attempt == 2


async def test_blame_for_a_lease_that_has_ended_hits_nobody(brief: Crawl) -> None:
    await brief.add(*hosts(2))
    ended, other = (await brief.claim()).leases
    await brief.end(ended)
    await brief.frontier.leases.reap("w1", blame=(ended, Dead(CRASH)))
    assert await brief.counts() == (1, 0, 1, 0)
    assert (await brief.lease()).attempt == 0
    assert other.attempt == 0


async def test_the_blamed_lease_cannot_be_committed_later(brief: Crawl) -> None:
    await brief.add("http://a.example/")
    lease = await brief.lease()
    await brief.frontier.leases.reap("w1", blame=(lease, Retry(CRASH, 0.0)))
    assert not await brief.end(lease)
    assert await brief.counts() == (1, 0, 0, 0)


# --- who is there


async def test_workers_tell_about_themselves(crawl: Crawl) -> None:
    await asyncio.to_thread(crawl.frontier.leases.beat, "w1", {"host": "box", "pages": 7})
    (worker,) = await crawl.frontier.reading.workers()
    assert (worker.worker, worker.info) == ("w1", {"host": "box", "pages": 7})
    assert 10 < worker.lease_left <= 15


async def test_a_heartbeat_without_news_keeps_what_a_worker_told_about_itself(crawl: Crawl) -> None:
    for told in ({"pid": 1}, {}):
        await asyncio.to_thread(crawl.frontier.leases.beat, "w1", told)
    assert [worker.info for worker in await crawl.frontier.reading.workers()] == [{"pid": 1}]


async def test_an_expired_worker_is_shown_until_it_is_reaped(world: World, brief: Crawl) -> None:
    await asyncio.to_thread(brief.frontier.leases.beat, "w1", {})
    await world.pass_time(LEASE * 1.2)
    (worker,) = await brief.frontier.reading.workers()
    assert worker.lease_left < 0
    await _reap_all(brief)
    assert await brief.frontier.reading.workers() == []


async def test_a_claim_keeps_what_a_worker_told_about_itself(crawl: Crawl) -> None:
    await asyncio.to_thread(crawl.frontier.leases.beat, "w1", {"pid": 1})
    await crawl.claim()
    assert [worker.info for worker in await crawl.frontier.reading.workers()] == [{"pid": 1}]


async def _reap_all(crawl: Crawl) -> dict[str, tuple[int, int]]:
    """Reap until no expired worker is left; return requeued and dead of each worker."""
    total: dict[str, tuple[int, int]] = {}
    while reaped := await crawl.frontier.leases.reap():
        for one in reaped:
            requeued, dead = total.get(one.worker, (0, 0))
            total[one.worker] = (requeued + one.requeued, dead + one.dead)
    return total


async def test_a_request_that_dies_with_its_workers_waits_for_no_other_try(world: World) -> None:
    crawl = await Crawl.create(world, max_crashes=1)
    await crawl.add(*pages(1))
    await crawl.end(await crawl.lease(), Retry(failed(), 0.0))
    await crawl.lease()
    assert (await crawl.frontier.reading.stats(crawl.job)).failing == 1
    await world.expire("w1")
    await crawl.frontier.leases.reap()
    stats = await crawl.frontier.reading.stats(crawl.job)
    assert (stats.dead, stats.failing) == (1, 0)
