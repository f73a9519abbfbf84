"""A host or spider whose pages fail alike is paused until a person resumes it, so that it does not use up attempts."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from crawler.model import Dead, Done, Failure, Job, Outcome, Release, Request, Retry
from crawler.testing.contract.world import Crawl, World, hosts, pages

LEAST = 6
FORBIDDEN = Failure("http_403", "403 Forbidden", 403)
BROKEN = Failure("callback", "KeyError: 'price'", error="KeyError", line="shop.py:42")
MISSING = Failure("http_404", "404 Not Found", 404)


@pytest.fixture
async def alarmed(world: World) -> Crawl:
    """A job that pauses after few failures."""
    return await Crawl.create(world, exploding_share=0.5, exploding_min=LEAST)


async def visit(crawl: Crawl, *outcomes: Outcome, host: str = "a.example", spider: str = "shop") -> None:
    """Add a new page of the host for each outcome, and commit it with that outcome."""
    known = (await crawl.frontier.reading.stats(crawl.job)).known
    for number, outcome in enumerate(outcomes, known):
        await crawl.add(Request(f"http://{host}/{number}", spider=spider, priority=9))
        lease = await crawl.lease()
        failure = getattr(outcome, "failure", None)
        assert await crawl.end(lease, outcome, status=failure.status if failure else 200)


async def paused(crawl: Crawl) -> list[tuple[str, str]]:
    """The pauses of this job."""
    return [(pause.what, pause.name) for pause in (await crawl.frontier.reading.stats(crawl.job)).paused]


# --- what explodes


async def test_a_host_that_fails_alike_is_left_alone_and_says_why(alarmed: Crawl) -> None:
    await visit(alarmed, Done(), *[Dead(FORBIDDEN)] * LEAST)
    await alarmed.add(*[f"{url}x" for url in pages(3)], "http://b.example/")
    assert await alarmed.urls() == ["http://b.example/"]
    (pause,) = (await alarmed.frontier.reading.stats(alarmed.job)).paused
    assert (pause.what, pause.name) == ("host", "a.example")
    assert pause.why == f"{LEAST} of {LEAST} failed with http_403, the last one: {FORBIDDEN.message}"
    assert await alarmed.counts() == (3, 1, 1, LEAST)
    assert not await alarmed.finished()


async def test_retries_count_and_burn_no_further_attempt(alarmed: Crawl) -> None:
    await alarmed.add(*pages(LEAST))
    leases = (await alarmed.claim()).leases
    for lease in leases:
        await alarmed.end(lease, Retry(FORBIDDEN, 0.0), status=403)
    assert await alarmed.urls() == []
    assert (await alarmed.claim()).idle == "paused"
    await alarmed.frontier.pauses.resume(alarmed.job, "host", "a.example")
    assert [lease.attempt for lease in (await alarmed.claim()).leases] == [1] * LEAST


async def test_a_page_that_fails_again_and_again_counts_once(alarmed: Crawl) -> None:
    """The last requests of any crawl are such pages."""
    await visit(alarmed, Done())
    await alarmed.add(*[f"{url}x" for url in pages(LEAST - 1)])
    for _ in range(4):
        for lease in (await alarmed.claim()).leases:
            await alarmed.end(lease, Retry(FORBIDDEN, 0.0), status=403)
    assert await paused(alarmed) == []


@pytest.mark.parametrize("kind", ["http_401", "http_403", "http_407", "crash"])
async def test_kinds_that_are_not_the_pages_own(alarmed: Crawl, kind: str) -> None:
    status = int(kind.removeprefix("http_")) if kind.startswith("http_") else None
    await visit(alarmed, *[Dead(Failure(kind, "x", status))] * LEAST)
    assert await paused(alarmed) == [("host", "a.example")]


@pytest.mark.parametrize(
    "outcomes",
    [
        [Dead(MISSING)] * 20,
        [Dead(Failure("http_410", "gone", 410))] * 20,
        [Dead(Failure("malformed", "x"))] * 20,
        [Release("drain")] * 20,
        [Dead(FORBIDDEN)] * (LEAST - 1),
        [Done(), Dead(FORBIDDEN), Done()] * 15,
        [Dead(MISSING), Dead(FORBIDDEN), Dead(MISSING)] * 15,
        [Dead(FORBIDDEN), Dead(Failure("http_401", "x", 401))] * 20,
        [Retry(Failure("http_503", "x", 503), 60.0)] * 20,
        [Retry(Failure("connect", "x"), 60.0)] * 20,
        [*[Dead(FORBIDDEN)] * (LEAST - 1), *[Done()] * 40] * 3,
    ],
    ids=["404", "410", "malformed", "release", "few", "a-third", "a-third-404", "two-kinds", "503", "down", "bursts"],
)
async def test_what_does_not_explode(alarmed: Crawl, outcomes: list[Outcome]) -> None:
    for outcome in outcomes:
        await visit(alarmed, outcome)
        if isinstance(outcome, Release):
            await alarmed.finish((await alarmed.claim()).leases)
    assert await paused(alarmed) == []


async def test_the_end_of_a_pause_begins_to_count_anew(alarmed: Crawl) -> None:
    """Whatever was paused: a person has looked."""
    await visit(alarmed, *[Dead(FORBIDDEN)] * (LEAST - 1))
    await alarmed.frontier.pauses.pause(alarmed.job, "spider", "other", "a person said so")
    await alarmed.frontier.pauses.resume(alarmed.job, "spider", "other")
    await visit(alarmed, Dead(FORBIDDEN))
    assert await paused(alarmed) == []
    await visit(alarmed, *[Dead(FORBIDDEN)] * (LEAST - 1))
    assert await paused(alarmed) == [("host", "a.example")]


async def test_a_share_of_one_means_never(world: World) -> None:
    crawl = await Crawl.create(world, exploding_share=1.0, exploding_min=1)
    await visit(crawl, *[Dead(FORBIDDEN)] * 10)
    assert await paused(crawl) == []


async def test_a_host_that_turns_bad_after_good_years_is_noticed(alarmed: Crawl) -> None:
    await visit(alarmed, *[Done()] * 50, *[Dead(FORBIDDEN)] * LEAST)
    assert await paused(alarmed) == [("host", "a.example")]


@pytest.mark.parametrize("failure", [BROKEN, Failure("http_407", "x", 407)], ids=["callback", "proxy"])
async def test_many_hosts_that_fail_alike_pause_the_spider(alarmed: Crawl, failure: Failure) -> None:
    """With a broken spider or proxy, each host fails only once. Every shard judges for itself."""
    await alarmed.add(*[Request(url, spider="shop") for url in hosts(LEAST * alarmed.world.shards * 4)])
    while leases := (await alarmed.claim(1)).leases:
        await alarmed.end(leases[0], Dead(failure))
    assert await paused(alarmed) == [("spider", "shop")]
    _, _, _, dead = await alarmed.counts()
    assert dead == LEAST * alarmed.world.shards
    await alarmed.add(Request("http://z.example/x", spider="news"))
    assert await alarmed.urls() == ["http://z.example/x"]


async def test_a_failing_host_does_not_pause_its_spider(alarmed: Crawl) -> None:
    await visit(alarmed, *[Dead(FORBIDDEN)] * LEAST)
    await visit(alarmed, Dead(FORBIDDEN), host="b.example")
    assert await paused(alarmed) == [("host", "a.example")]


@pytest.mark.parametrize("kind", ["callback", "pipeline"])
async def test_code_of_the_project_that_raises_pauses_its_spider_and_not_the_host(alarmed: Crawl, kind: str) -> None:
    await visit(alarmed, *[Dead(replace(BROKEN, kind=kind))] * LEAST)
    (pause,) = (await alarmed.frontier.reading.stats(alarmed.job)).paused
    assert (pause.what, pause.job) == ("spider", alarmed.job.name)
    assert pause.why.endswith(f"failed with {kind}, the last one: KeyError: 'price' (shop.py:42)")


async def test_pages_that_kill_their_worker_count(world: World) -> None:
    crawl = await Crawl.create(world, exploding_share=0.5, exploding_min=2)
    await crawl.add(*pages(3))
    for _ in range(2):
        lease = await crawl.lease()
        await crawl.frontier.leases.reap("w1", blame=(lease, Retry(Failure("crash", "signal 9"), 1.0)))
    assert await paused(crawl) == [("host", "a.example")]


async def test_another_job_goes_on(alarmed: Crawl) -> None:
    await visit(alarmed, *[Dead(FORBIDDEN)] * LEAST)
    other = Crawl(alarmed.world, alarmed.frontier, await alarmed.frontier.jobs.create(Job("other")))
    await other.add(*pages(2))
    assert len(await other.urls()) == 2


# --- what a person pauses


async def test_pausing_and_resuming_a_host(alarmed: Crawl) -> None:
    await alarmed.add(*pages(2), *hosts(2))
    assert await alarmed.frontier.pauses.pause(alarmed.job, "host", "a.example", "they asked us to")
    assert not await alarmed.frontier.pauses.pause(alarmed.job, "host", "a.example", "again")
    assert sorted(await alarmed.urls()) == hosts(2)
    (pause,) = (await alarmed.frontier.reading.stats(alarmed.job)).paused
    assert (pause.why, pause.by) == ("they asked us to", "")
    assert await alarmed.frontier.pauses.resume(alarmed.job, "host", "a.example")
    assert not await alarmed.frontier.pauses.resume(alarmed.job, "host", "a.example")
    assert await alarmed.urls() == pages(2)
    assert await paused(alarmed) == []


async def test_pausing_and_resuming_a_spider(alarmed: Crawl) -> None:
    """Requests of other spiders in a host's line wait, in order, until the page of the paused spider is handed out."""
    await alarmed.add(Request("http://a.example/0", spider="news"), Request("http://a.example/1", spider="shop"))
    await alarmed.add(Request("http://a.example/2", spider="news"), Request("http://b.example/0", spider="news"))
    await alarmed.frontier.pauses.pause(alarmed.job, "spider", "shop", "being mended")
    assert sorted(await alarmed.urls()) == ["http://a.example/0", "http://b.example/0"]
    assert await alarmed.urls() == []
    views = await alarmed.frontier.hosts.hosts(alarmed.job)
    assert [(view.host, view.pending) for view in views if view.held] == [("a.example", 2)]
    await alarmed.frontier.pauses.resume(alarmed.job, "spider", "shop")
    assert not any(view.held for view in await alarmed.frontier.hosts.hosts(alarmed.job))
    assert await alarmed.urls() == ["http://a.example/1", "http://a.example/2"]


async def test_pausing_and_resuming_the_whole_job(alarmed: Crawl) -> None:
    await alarmed.add(*hosts(8))
    await alarmed.frontier.pauses.pause(alarmed.job, "job", alarmed.job.name, "till Monday")
    claim = await alarmed.claim()
    assert (claim.leases, claim.idle) == ((), "paused")
    assert claim.wait is not None
    assert claim.wait > 0.1
    assert (await alarmed.frontier.reading.stats(alarmed.job)).is_all_paused
    await alarmed.frontier.pauses.resume(alarmed.job, "job", alarmed.job.name)
    assert len(await alarmed.urls()) == 8


async def test_what_is_in_flight_ends_as_ever_while_paused(alarmed: Crawl) -> None:
    await alarmed.add(*pages(3))
    first, second, third = (await alarmed.claim()).leases
    await alarmed.frontier.pauses.pause(alarmed.job, "host", "a.example", "x")
    assert await alarmed.end(first)
    assert await alarmed.end(second, Retry(FORBIDDEN, 0.0))
    assert await alarmed.end(third, Release("drain"))
    assert await alarmed.add("http://a.example/new") == 1
    assert await alarmed.urls() == []
    assert await alarmed.counts() == (3, 0, 1, 0)
    await alarmed.frontier.pauses.resume(alarmed.job, "host", "a.example")
    assert len(await alarmed.urls()) == 3


async def test_pausing_what_nobody_knows_harms_nothing(alarmed: Crawl) -> None:
    await alarmed.add(*hosts(3))
    await alarmed.frontier.pauses.pause(alarmed.job, "host", "z.example", "x")
    await alarmed.frontier.pauses.pause(alarmed.job, "spider", "nobody", "x")
    assert len(await alarmed.urls()) == 3
    assert not await alarmed.frontier.pauses.resume(alarmed.job, "host", "y.example")


async def test_held_means_that_nothing_else_is_left(alarmed: Crawl) -> None:
    await alarmed.add(*pages(2), "http://b.example/")
    await alarmed.frontier.pauses.pause(alarmed.job, "host", "a.example", "x")
    lease = await alarmed.lease()
    assert await alarmed.urls() == []
    assert not (await alarmed.frontier.reading.stats(alarmed.job)).is_all_paused
    await alarmed.end(lease)
    assert await alarmed.urls() == []
    stats = await alarmed.frontier.reading.stats(alarmed.job)
    assert (stats.is_all_paused, stats.held, stats.ready, stats.cooling) == (True, 1, 0, 0)
    await alarmed.add("http://c.example/")
    assert not (await alarmed.frontier.reading.stats(alarmed.job)).is_all_paused


async def test_after_a_resume_the_counts_begin_anew(alarmed: Crawl) -> None:
    await visit(alarmed, *[Dead(FORBIDDEN)] * LEAST)
    await alarmed.frontier.pauses.resume(alarmed.job, "host", "a.example")
    await visit(alarmed, *[Dead(FORBIDDEN)] * (LEAST - 1))
    assert await paused(alarmed) == []
    await visit(alarmed, Dead(FORBIDDEN))
    assert await paused(alarmed) == [("host", "a.example")]


async def test_a_deleted_job_takes_its_pauses_with_it(alarmed: Crawl) -> None:
    await alarmed.frontier.pauses.pause(alarmed.job, "host", "a.example", "x")
    await alarmed.frontier.jobs.delete(alarmed.job.name)
    again = Crawl(alarmed.world, alarmed.frontier, await alarmed.frontier.jobs.create(Job(alarmed.job.name)))
    await again.add(*pages(1))
    assert len(await again.urls()) == 1
