"""Jobs: how they are created, found and deleted, and the proof that one is finished."""

from __future__ import annotations

import asyncio

import pytest

from crawler.interfaces import Pace
from crawler.model import Done, Job, Outcome, Release, Request, Retry, Skip, Visit
from crawler.testing.contract.world import AT_ONCE, Crawl, World, dead, failed, hosts, pages

# --- made and found again


async def test_a_job_is_made_with_an_epoch_and_a_time(crawl: Crawl) -> None:
    job = await crawl.frontier.jobs.create(Job("shop", order="lifo", spider="shop", arguments={"lang": "de"}))
    assert (job.name, job.order, job.spider, job.arguments) == ("shop", "lifo", "shop", {"lang": "de"})
    assert job.epoch
    assert job.created > 1_700_000_000


async def test_making_it_again_returns_the_one_that_exists(world: World, crawl: Crawl) -> None:
    first = await crawl.frontier.jobs.create(Job("shop", order="lifo"))
    second = await (await world.client()).jobs.create(Job("shop", order="fifo", spider="other"))
    assert second == first


async def test_concurrent_creations_agree(world: World, crawl: Crawl) -> None:
    clients = [await world.client() for _ in range(5)]
    made = await asyncio.gather(*(client.jobs.create(Job("shop", order="fifo")) for client in clients))
    assert len({job.epoch for job in made}) == 1


async def test_jobs_are_listed_oldest_first(world: World, crawl: Crawl) -> None:
    for name in ("z", "a", "m"):
        await world.pass_time(0.001)
        await crawl.frontier.jobs.create(Job(name))
    assert [job.name for job in await crawl.frontier.jobs.all()] == ["news", "z", "a", "m"]


async def test_another_client_finds_the_job(world: World, crawl: Crawl) -> None:
    await crawl.add(*pages(2))
    other = await world.client()
    assert await other.jobs.all() == [crawl.job]
    claim = await other.queue.claim("w1", 5, await other.jobs.all(), AT_ONCE)
    assert len(claim.leases) == 2
    assert await other.queue.commit("w1", [(lease, Visit(Done())) for lease in claim.leases], AT_ONCE) == [
        True,
        True,
    ]
    assert await crawl.finished()


# --- deleted


async def test_deleting_leaves_nothing_of_the_job(world: World, crawl: Crawl) -> None:
    await _fill(crawl)
    assert await crawl.frontier.jobs.delete("news")
    assert await crawl.frontier.jobs.all() == []
    again = Crawl(world, crawl.frontier, await crawl.frontier.jobs.create(Job("news")))
    assert again.job.epoch != crawl.job.epoch
    assert await again.counts() == (0, 0, 0, 0)
    assert await again.urls() == []
    assert await again.frontier.letters.newest(again.job) == []
    assert await again.outbox.read(again.job, {}, 100) == []
    assert await again.frontier.links.in_scope(again.job, ["a.example"]) == [False]
    assert not {name for name, n in (await again.frontier.reading.stats(again.job)).counters.items() if n}
    assert await again.add(*hosts(3)) == 3


async def test_deleting_an_unknown_job(crawl: Crawl) -> None:
    assert not await crawl.frontier.jobs.delete("other")
    assert await crawl.frontier.jobs.delete("news")
    assert not await crawl.frontier.jobs.delete("news")


async def test_deleting_keeps_the_ledger(world: World, crawl: Crawl) -> None:
    pace = Pace(delay=60.0)
    await crawl.add("http://a.example/")
    await crawl.end(await crawl.lease(pace=pace), pace=pace)
    await crawl.frontier.jobs.delete("news")
    other = await Crawl.create(world, Job("other"))
    await other.add(*pages(2))
    assert await other.urls(pace=pace) == []


@pytest.mark.parametrize("late_commit", [False, True])
async def test_deleting_a_job_with_requests_in_flight_frees_their_hosts(
    world: World, crawl: Crawl, late_commit: bool
) -> None:
    pace = Pace(delay=0.0, concurrency=1)
    await crawl.add("http://a.example/")
    lease = await crawl.lease(pace=pace)
    await crawl.frontier.jobs.delete("news")
    if late_commit:
        assert not await crawl.end(lease, pace=pace)
    other = await Crawl.create(world, Job("other"))
    await other.add(*pages(2))
    assert len(await other.urls(pace=pace)) == 1
    assert await other.urls(pace=pace) == [], "and the cap still holds"


async def test_deleting_one_job_leaves_the_others_alone(world: World, crawl: Crawl) -> None:
    other = await Crawl.create(world, Job("news2"))
    await _fill(other)
    before = await other.counts()
    await _fill(crawl)
    await crawl.frontier.jobs.delete("news")
    assert await other.counts() == before
    assert await crawl.frontier.jobs.all() == [other.job]


async def test_reaping_after_a_deletion_finds_nothing_of_the_job(world: World, crawl: Crawl) -> None:
    await crawl.add(*hosts(5))
    await crawl.claim()
    await crawl.frontier.jobs.delete("news")
    reaped = await crawl.frontier.leases.reap("w1")
    assert sum(one.requeued + one.dead for one in reaped) == 0


# --- finished, exactly


async def test_a_job_that_nobody_has_seeded_yet_is_not_finished(crawl: Crawl) -> None:
    """Workers that wait for the end may start before the seeder."""
    assert not await crawl.finished()


async def test_finished_when_the_last_request_has_ended_and_not_before(crawl: Crawl) -> None:
    await crawl.add(*hosts(8))
    outcomes: list[Outcome] = [Done(), Skip("robots"), dead(), Done()]
    for lease, outcome in zip((await crawl.claim(4)).leases, outcomes, strict=True):
        assert not await crawl.finished()
        await crawl.end(lease, outcome)
    assert not await crawl.finished()
    leases = (await crawl.claim()).leases
    await crawl.finish(leases[:-1])
    assert not await crawl.finished()
    await crawl.finish(leases[-1:])
    assert await crawl.finished()


@pytest.mark.parametrize(
    "outcome",
    [Retry(failed(), 0.0), Retry(failed(), 60.0), Release("x"), Release("x", 60.0)],
    ids=["retry", "retry-later", "release", "release-later"],
)
async def test_a_request_that_goes_back_keeps_the_job_unfinished(crawl: Crawl, outcome: Outcome) -> None:
    await crawl.add("http://a.example/")
    await crawl.end(await crawl.lease(), outcome)
    assert not await crawl.finished()


async def test_a_reaped_request_keeps_the_job_unfinished(crawl: Crawl) -> None:
    await crawl.add("http://a.example/")
    await crawl.lease()
    await crawl.frontier.leases.reap("w1")
    assert not await crawl.finished()


async def test_links_keep_the_job_unfinished(crawl: Crawl) -> None:
    await crawl.add("http://a.example/")
    await crawl.end(await crawl.lease(), links=(Request("http://b.example/"),))
    assert not await crawl.finished()
    await crawl.end(await crawl.lease())
    assert await crawl.finished()


async def test_a_finished_job_goes_on_when_more_is_added(crawl: Crawl) -> None:
    await crawl.add("http://a.example/")
    await crawl.end(await crawl.lease())
    assert await crawl.finished()
    await crawl.add("http://a.example/")
    assert await crawl.finished(), "nothing new"
    await crawl.add("http://b.example/")
    assert not await crawl.finished()


async def test_not_finished_while_somebody_seeds(crawl: Crawl) -> None:
    await crawl.frontier.adding.seeding(crawl.job, "s1", 60.0)
    await crawl.add("http://a.example/")
    await crawl.end(await crawl.lease())
    assert not await crawl.finished()
    assert (await crawl.frontier.reading.stats(crawl.job)).seeding == 1
    await crawl.frontier.adding.seeding(crawl.job, "s1", 0.0)
    assert await crawl.finished()
    assert (await crawl.frontier.reading.stats(crawl.job)).seeding == 0


async def test_every_seeder_must_have_ended(crawl: Crawl) -> None:
    await crawl.add("http://a.example/")
    await crawl.end(await crawl.lease())
    for seeder in ("s1", "s2"):
        await crawl.frontier.adding.seeding(crawl.job, seeder, 60.0)
    await crawl.frontier.adding.seeding(crawl.job, "s1", 0.0)
    assert not await crawl.finished()
    await crawl.frontier.adding.seeding(crawl.job, "s2", 0.0)
    assert await crawl.finished()


async def test_a_seeder_that_died_does_not_keep_the_job_open_for_ever(world: World, crawl: Crawl) -> None:
    await crawl.add("http://a.example/")
    await crawl.end(await crawl.lease())
    await crawl.frontier.adding.seeding(crawl.job, "s1", 0.3)
    assert not await crawl.finished()
    await world.pass_time(0.3)
    assert await crawl.finished()


async def test_a_seeder_that_found_nothing_ends_the_job(crawl: Crawl) -> None:
    await crawl.frontier.adding.seeding(crawl.job, "s1", 60.0)
    assert not await crawl.finished()
    await crawl.frontier.adding.seeding(crawl.job, "s1", 0.0)
    assert await crawl.finished()


async def test_never_early_while_workers_add_links(world: World, crawl: Crawl) -> None:
    """A watcher that reads `finished` all the time sees True only when the whole tree of pages is done."""
    depth, branches = 5, 3
    total = sum(branches**level for level in range(depth + 1))
    await crawl.add("http://h0.example/r")
    done = 0

    async def work(worker: str, frontier_of: Crawl) -> None:
        nonlocal done
        while not await frontier_of.finished():
            claim = await frontier_of.claim(5, worker=worker)
            for lease in claim.leases:
                url = lease.request.url
                level = url.rpartition("/")[2].count("-")
                links = tuple(
                    Request(f"http://h{branch}.example/{url.rpartition('/')[2]}-{branch}")
                    for branch in range(branches if level < depth else 0)
                )
                accepted = await frontier_of.end(lease, worker=worker, links=links)
                done += accepted
            await asyncio.sleep(0)

    clients = [Crawl(world, await world.client(), crawl.job) for _ in range(3)]
    watchers = [asyncio.create_task(work(f"w{n}", client)) for n, client in enumerate(clients)]
    finished, _ = await asyncio.wait(watchers, return_when=asyncio.FIRST_COMPLETED, timeout=60)
    assert finished
    assert done == total
    await asyncio.gather(*watchers)
    assert await crawl.counts() == (0, 0, total, 0)


# --- figures


async def test_the_counts_add_up_at_any_time(crawl: Crawl) -> None:
    outcomes: list[Outcome] = [
        Done(),
        Skip("x"),
        Retry(failed(), 0.0),
        Release("x"),
        dead(),
        Retry(failed(), 60.0),
    ]
    await crawl.add(*hosts(30))
    for turn in range(20):
        for number, lease in enumerate((await crawl.claim(3)).leases):
            await crawl.counts()
            await crawl.end(lease, outcomes[(turn + number) % len(outcomes)])
            await crawl.counts()
        if turn == 10:
            await crawl.frontier.letters.redrive(crawl.job)
            await crawl.counts()
        await crawl.claim(1)
        await crawl.frontier.leases.reap("w1")
        await crawl.counts()


async def test_hosts_that_wait_and_hosts_that_are_ready(crawl: Crawl) -> None:
    pace = Pace(delay=60.0)
    for number in range(6):
        await crawl.add(*pages(2, f"h{number}.example"))
    assert len((await crawl.claim(4, pace=pace)).leases) == 4
    stats = await crawl.frontier.reading.stats(crawl.job)
    assert stats.ready == 2
    assert stats.next_due is not None
    assert stats.next_due <= 60


async def test_the_next_delayed_request_is_told(crawl: Crawl) -> None:
    await crawl.add(Request("http://a.example/", delay=30.0), Request("http://b.example/", delay=90.0))
    stats = await crawl.frontier.reading.stats(crawl.job)
    assert stats.delayed == 2
    assert stats.next_due is not None
    assert 29 < stats.next_due <= 30


async def _fill(crawl: Crawl) -> None:
    """Create a request in every state and an entry under every key."""
    await crawl.add(*hosts(10), *pages(3), Request("http://a.example/p", priority=5))
    await crawl.add(Request("http://a.example/later", delay=60.0))
    await crawl.frontier.adding.seeding(crawl.job, "s1", 60.0)
    await crawl.outbox.hold(crawl.job, "e1", 60.0)
    leases = (await crawl.claim(8)).leases
    visits = [
        Visit(Done(), items=(b"{}",), status=200),
        Visit(dead()),
        Visit(Retry(failed(), 60.0)),
        Visit(Skip("x")),
    ]
    assert all(await crawl.frontier.queue.commit("w1", list(zip(leases, visits, strict=False)), AT_ONCE))
