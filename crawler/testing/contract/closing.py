"""A job that is closed hands out nothing more: what is in flight ends as usual, and then it is finished."""

from __future__ import annotations

import pytest

from crawler.model import Dead, Job, Limits, Outcome, Release, Request, Retry
from crawler.testing.contract.world import AT_ONCE, Crawl, World, dead, failed, hosts


async def state(crawl: Crawl) -> tuple[str, bool]:
    """Why the job is closed, and whether it is finished."""
    stats = await crawl.frontier.reading.stats(crawl.job)
    return stats.closed, stats.finished


async def test_a_page_closes_its_job_with_its_commit(crawl: Crawl) -> None:
    await crawl.add(*hosts(8))
    first, second, *_ = (await crawl.claim(2)).leases
    assert await crawl.end(first, items=(b'{"n":1}',), links=(Request("http://new.example/", depth=1),), close="enough")
    assert await state(crawl) == ("enough", False)
    assert await crawl.urls() == []
    assert (await crawl.claim()).idle == "closed"
    assert await crawl.end(second, items=(b'{"n":2}',))
    assert await state(crawl) == ("enough", True)
    assert await crawl.counts() == (7, 0, 2, 0)
    assert await crawl.counter("items") == 2


async def test_what_else_ends_in_flight(crawl: Crawl) -> None:
    await crawl.add(*hosts(4))
    leases = (await crawl.claim()).leases
    await crawl.frontier.closing.close(crawl.job, "enough")
    outcomes: list[Outcome] = [Retry(failed("timeout"), 0.0), Release("drain"), dead("http_404")]
    for lease, outcome in zip(leases, outcomes, strict=False):
        assert not await crawl.finished()
        assert await crawl.end(lease, outcome)
    assert not await crawl.finished()
    assert await crawl.end(leases[3])
    assert await state(crawl) == ("enough", True)
    assert await crawl.counts() == (2, 0, 1, 1)
    assert await crawl.urls() == []


async def test_the_first_reason_stays(crawl: Crawl) -> None:
    await crawl.add(*hosts(2))
    await crawl.frontier.closing.close(crawl.job, "enough")
    await crawl.frontier.closing.close(crawl.job, "too much")
    assert await state(crawl) == ("enough", True)


async def test_a_dead_page_closes_as_well(crawl: Crawl) -> None:
    """Its errback may say so."""
    await crawl.add(*hosts(2))
    assert await crawl.end(await crawl.lease(), dead("http_404"), close="gone")
    assert await state(crawl) == ("gone", True)


async def test_a_late_commit_closes_nothing(world: World, crawl: Crawl) -> None:
    await crawl.add(*hosts(2))
    lease = await crawl.lease()
    await world.expire("w1")
    await crawl.frontier.leases.reap()
    assert not await crawl.end(lease, close="enough")
    assert await state(crawl) == ("", False)


async def test_a_page_that_its_host_cannot_serve_closes_nothing(crawl: Crawl) -> None:
    """It is handed back, so its errback will be called again."""
    await crawl.add("http://a.example/")
    for _ in range(8):
        lease = await crawl.lease()
        await crawl.end(lease, Dead(failed(), spent=True), health="down", asked_at=crawl.world.now(), close="gone")
        closed, _ = await state(crawl)
        stats = await crawl.frontier.reading.stats(crawl.job)
        assert closed == ("gone" if stats.dead else "")
        if stats.dead:
            return
        await crawl.world.end_rest(crawl.job.name, "a.example", 3600.0)


async def test_other_jobs_go_on(crawl: Crawl) -> None:
    other = await crawl.frontier.jobs.create(Job("other"))
    await crawl.frontier.adding.add(other, [Request(url) for url in hosts(4)], seed=True)
    await crawl.add(*hosts(4))
    await crawl.frontier.closing.close(crawl.job, "enough")
    claim = await crawl.frontier.queue.claim("w1", 100, [crawl.job, other], AT_ONCE)
    assert [lease.job for lease in claim.leases] == ["other"] * 4


async def test_every_client_hears_of_it(world: World, crawl: Crawl) -> None:
    await crawl.add(*hosts(8))
    await crawl.end(await crawl.lease(), close="enough")
    for _ in range(2):
        client = await world.client()
        assert (await client.queue.claim("w2", 100, [crawl.job], AT_ONCE)).leases == ()


async def test_it_can_be_opened_again(crawl: Crawl) -> None:
    await crawl.add(*hosts(4))
    await crawl.frontier.closing.limit(crawl.job, Limits(pages=100))
    for reason in ("enough", "again"):
        await crawl.end(await crawl.lease(), close=reason)
        assert await crawl.urls() == []
        assert await crawl.frontier.closing.reopen(crawl.job) == reason
        assert await state(crawl) == ("", False)
    assert len(await crawl.urls()) == 2
    assert (await crawl.frontier.reading.stats(crawl.job)).limits == Limits()
    assert await crawl.frontier.closing.reopen(crawl.job) == ""


async def test_one_that_its_limit_has_closed_tells_so_when_it_is_opened_again(crawl: Crawl) -> None:
    await crawl.add(*hosts(4))
    await crawl.frontier.closing.limit(crawl.job, Limits(pages=1))
    await crawl.end(await crawl.lease())
    assert await crawl.urls() == []
    assert await crawl.frontier.closing.reopen(crawl.job) == "closespider_pagecount"
    assert len(await crawl.urls()) == 3


async def test_a_closing_that_was_lifted_does_not_come_back(world: World, crawl: Crawl) -> None:
    """A client that has heard of it tells no shard again."""
    await crawl.add(*hosts(8))
    other = await world.client()
    await crawl.end(await crawl.lease(), close="enough")
    await other.queue.claim("w2", 1, [crawl.job], AT_ONCE)
    await crawl.frontier.closing.reopen(crawl.job)
    assert len((await other.queue.claim("w2", 1, [crawl.job], AT_ONCE)).leases) == 1
    assert len(await crawl.urls()) == 6


async def test_seeders_do_not_keep_it_from_being_finished(crawl: Crawl) -> None:
    await crawl.add(*hosts(4))
    await crawl.frontier.adding.seeding(crawl.job, "s", 60.0)
    await crawl.frontier.closing.close(crawl.job, "enough")
    assert await state(crawl) == ("enough", True)
    assert await crawl.add("http://later.example/") == 1
    assert await crawl.urls() == []


@pytest.mark.parametrize("reason", ["1 2 3", "two words", "ende gut", "closespider_itemcount"])
async def test_any_words_are_a_reason(crawl: Crawl, reason: str) -> None:
    await crawl.add(*hosts(2))
    await crawl.end(await crawl.lease(), close=reason)
    assert await state(crawl) == (reason, True)
