"""processing → done | pending | dead: each outcome, the fence around a lease, and the counters."""

from __future__ import annotations

import asyncio

import pytest

from crawler.model import Done, Job, Outcome, Release, Request, Retry, Skip, Step, Visit
from crawler.testing.contract.world import AT_ONCE, Crawl, World, dead, failed, hosts, pages


@pytest.mark.parametrize(
    ("outcome", "counts"),
    [
        (Done(), (0, 0, 1, 0)),
        (Step(), (0, 0, 1, 0)),
        (Skip("robots"), (0, 0, 1, 0)),
        (Retry(failed(), 0.0), (1, 0, 0, 0)),
        (Retry(failed(), 60.0), (1, 0, 0, 0)),
        (Release("drain"), (1, 0, 0, 0)),
        (Release("drain", 60.0), (1, 0, 0, 0)),
        (dead(), (0, 0, 0, 1)),
    ],
    ids=["done", "step", "skip", "retry", "retry-later", "release", "release-later", "dead"],
)
async def test_each_outcome_leads_to_its_state(
    crawl: Crawl, outcome: Outcome, counts: tuple[int, int, int, int]
) -> None:
    await crawl.add("http://a.example/")
    assert await crawl.end(await crawl.lease(), outcome)
    assert await crawl.counts() == counts


async def test_done_is_never_asked_for_again(crawl: Crawl) -> None:
    await crawl.add("http://a.example/")
    await crawl.end(await crawl.lease())
    assert await crawl.urls() == []


async def test_many_commits_in_one_call_are_answered_one_by_one(crawl: Crawl) -> None:
    await crawl.add(*hosts(20))
    leases = (await crawl.claim(20)).leases
    await crawl.finish(leases[::2])
    assert await crawl.finish(leases) == [number % 2 == 1 for number in range(20)]
    assert await crawl.counts() == (0, 0, 20, 0)


async def test_commits_for_several_jobs_in_one_call(world: World, crawl: Crawl) -> None:
    other = await Crawl.create(world, Job("other"))
    await crawl.add(*hosts(3))
    await other.add(*hosts(3))
    claim = await crawl.frontier.queue.claim("w1", 10, [crawl.job, other.job], AT_ONCE)
    assert await crawl.finish(claim.leases) == [True] * 6
    assert await crawl.counts() == await other.counts() == (0, 0, 3, 0)


async def test_no_commits(crawl: Crawl) -> None:
    assert await crawl.finish([]) == []


# --- the way back


async def test_retry_counts_an_attempt_and_a_delivery(crawl: Crawl) -> None:
    await crawl.add(Request("http://a.example/", meta={"a": 1}, priority=2, depth=3))
    first = await crawl.lease()
    await crawl.end(first, Retry(failed(), 0.0))
    second = await crawl.lease()
    assert (second.attempt, second.delivery) == (1, 1)
    assert second.request == first.request
    assert second.message != first.message


async def test_release_counts_a_delivery_but_no_attempt(crawl: Crawl) -> None:
    await crawl.add("http://a.example/")
    await crawl.end(await crawl.lease(), Release("drain"))
    lease = await crawl.lease()
    assert (lease.attempt, lease.delivery) == (0, 1)


@pytest.mark.parametrize("limit", ["a disk is full", ""])
async def test_what_went_back_for_a_limit_of_our_own_is_counted(crawl: Crawl, limit: str) -> None:
    await crawl.add("http://a.example/")
    await crawl.end(await crawl.lease(), Release("x", own_limit=limit))
    assert (await crawl.counter("released"), await crawl.counter("own_limit")) == (1, 1 if limit else 0)
    assert (await crawl.lease()).attempt == 0


async def test_attempts_add_up_over_retries_and_releases(crawl: Crawl) -> None:
    await crawl.add("http://a.example/")
    for outcome in (Retry(failed(), 0.0), Release("x"), Retry(failed(), 0.0)):
        await crawl.end(await crawl.lease(), outcome)
    assert (await crawl.lease()).attempt == 2


@pytest.mark.parametrize("outcome", [Retry(failed(), 30.0), Release("x", 30.0)], ids=["retry", "release"])
async def test_a_delay_on_the_way_back_is_kept(crawl: Crawl, outcome: Outcome) -> None:
    await crawl.add("http://a.example/")
    await crawl.end(await crawl.lease(), outcome)
    claim = await crawl.claim()
    assert (claim.leases, claim.idle) == ((), "cooling")
    assert claim.wait is not None
    assert 29 < claim.wait <= 30
    assert (await crawl.frontier.reading.stats(crawl.job)).delayed == 1


async def test_a_retry_comes_to_the_front_of_its_priority_when_it_is_due(world: World, crawl: Crawl) -> None:
    await crawl.add(*pages(3))
    await crawl.end(await crawl.lease(), Retry(failed(), 0.02))
    await world.pass_time(0.02)
    assert await crawl.urls() == pages(3)


async def test_a_released_request_comes_to_the_front(crawl: Crawl) -> None:
    await crawl.add(*pages(3))
    await crawl.end(await crawl.lease(), Release("drain"))
    assert await crawl.urls() == pages(3)


@pytest.mark.parametrize("outcome", [Retry(failed(), 0.0), Release("x")], ids=["retry", "release"])
async def test_priority_is_kept_on_the_way_back(crawl: Crawl, outcome: Outcome) -> None:
    await crawl.add(Request("http://a.example/low", priority=-5), Request("http://a.example/high", priority=5))
    await crawl.end(await crawl.lease(), outcome)
    await crawl.add("http://a.example/normal")
    assert await crawl.urls() == [f"http://a.example/{name}" for name in ("high", "normal", "low")]


async def test_equal_dont_filter_requests_can_all_be_retried_later(world: World, crawl: Crawl) -> None:
    await crawl.add(*[Request("http://a.example/", dont_filter=True)] * 2)
    for lease in (await crawl.claim()).leases:
        assert await crawl.end(lease, Retry(failed(), 0.02))
    assert await crawl.counts() == (2, 0, 0, 0)
    await world.pass_time(0.02)
    assert len((await crawl.claim()).leases) == 2


# --- the fence


async def test_a_second_commit_changes_nothing(crawl: Crawl) -> None:
    """It may get the first one's answer (that reply may have been lost), but it takes effect once."""
    await crawl.add("http://a.example/")
    lease = await crawl.lease()
    for _ in range(3):
        await crawl.end(lease, items=(b'{"a":1}',), status=200, size=10)
    assert await crawl.counts() == (0, 0, 1, 0)
    assert await crawl.counter("items") == 1
    assert await crawl.counter("status/200") == 1
    assert len(await crawl.outbox.read(crawl.job, {}, 10)) == 1


async def test_a_commit_with_another_outcome_comes_too_late(crawl: Crawl) -> None:
    await crawl.add("http://a.example/")
    lease = await crawl.lease()
    await crawl.end(lease)
    await crawl.end(lease, Retry(failed(), 0.0))
    assert await crawl.counts() == (0, 0, 1, 0)


async def test_a_commit_after_another_one_is_refused(crawl: Crawl) -> None:
    await crawl.add(*pages(2))
    first, second = (await crawl.claim()).leases
    assert await crawl.end(first)
    assert await crawl.end(second)
    assert not await crawl.end(first)
    assert await crawl.counter("fenced") == 1


async def test_only_the_holder_may_commit(crawl: Crawl) -> None:
    await crawl.add("http://a.example/")
    lease = await crawl.lease(worker="w1")
    assert not await crawl.end(lease, worker="w2")
    assert await crawl.counts() == (0, 1, 0, 0)
    assert await crawl.end(lease, worker="w1")


async def test_a_late_commit_of_a_reaped_lease_changes_nothing(crawl: Crawl) -> None:
    await crawl.add("http://a.example/")
    late = await crawl.lease(worker="w1")
    await crawl.frontier.leases.reap("w1")
    assert not await crawl.end(late, worker="w1", items=(b"{}",), status=200, size=7, pause=60.0, host_delay=60.0)
    assert await crawl.counts() == (1, 0, 0, 0)
    counters = (await crawl.frontier.reading.stats(crawl.job)).counters
    assert counters["fenced"] == 1
    assert not {"items", "status/200", "bytes", "pages"} & {name for name, n in counters.items() if n}
    assert await crawl.outbox.read(crawl.job, {}, 10) == []
    assert len((await crawl.claim(worker="w2")).leases) == 1, "nor does the host wait"


async def test_a_late_commit_cannot_end_the_next_delivery(crawl: Crawl) -> None:
    """Even when the same worker got the same request again."""
    await crawl.add("http://a.example/")
    late = await crawl.lease()
    await crawl.frontier.leases.reap("w1")
    held = await crawl.lease()
    assert not await crawl.end(late)
    assert await crawl.counts() == (0, 1, 0, 0)
    assert await crawl.end(held)


@pytest.mark.parametrize("outcome", [Retry(failed(), 0.0), Release("x")], ids=["retry", "release"])
async def test_a_lease_given_back_cannot_end_the_next_delivery(crawl: Crawl, outcome: Outcome) -> None:
    await crawl.add(*pages(2))
    old = await crawl.lease()
    await crawl.end(old, outcome)
    other = await crawl.lease()
    assert other.request.url == old.request.url
    await crawl.end(await crawl.lease())  # another commit in between
    assert not await crawl.end(old)
    assert await crawl.end(other)
    assert await crawl.counts() == (0, 0, 2, 0)


async def test_the_same_request_in_two_jobs_ends_in_each(world: World, crawl: Crawl) -> None:
    """One worker, one URL, two jobs: the messages may be equal byte for byte."""
    other = await Crawl.create(world, Job("other"))
    await crawl.add("http://a.example/")
    await other.add("http://a.example/")
    for each in (crawl, other):
        lease = (await each.frontier.queue.claim("w1", 1, [each.job], AT_ONCE)).leases[0]
        assert (await crawl.frontier.queue.commit("w1", [(lease, Visit(Done()))], AT_ONCE)) == [True]
    assert await crawl.counts() == await other.counts() == (0, 0, 1, 0)


async def test_the_same_request_in_a_later_job_ends_too(crawl: Crawl) -> None:
    await crawl.add("http://a.example/")
    await crawl.end(await crawl.lease())
    await crawl.frontier.jobs.delete("news")
    later = Crawl(crawl.world, crawl.frontier, await crawl.frontier.jobs.create(Job("news")))
    await later.add("http://a.example/")
    assert await later.end(await later.lease())
    assert await later.counts() == (0, 0, 1, 0)


async def test_a_lease_of_a_deleted_job_ends_nothing_in_a_later_one_of_its_name(crawl: Crawl) -> None:
    await crawl.add("http://a.example/")
    old = await crawl.lease()
    await crawl.frontier.jobs.delete("news")
    later = Crawl(crawl.world, crawl.frontier, await crawl.frontier.jobs.create(Job("news")))
    await later.add("http://a.example/")
    new = await later.lease()
    assert new.message == old.message
    assert not await later.end(old, items=(b"{}",), links=(Request("http://b.example/"),))
    assert await later.counts() == (0, 1, 0, 0)
    assert await later.end(new)


async def test_a_commit_for_a_deleted_job_is_refused(crawl: Crawl) -> None:
    await crawl.add("http://a.example/")
    lease = await crawl.lease()
    await crawl.frontier.jobs.delete("news")
    assert not await crawl.end(lease, items=(b"{}",), links=(Request("http://b.example/"),))


async def test_concurrent_commits_of_one_lease_take_effect_once(world: World, crawl: Crawl) -> None:
    await crawl.add(*hosts(10))
    leases = (await crawl.claim()).leases
    await asyncio.gather(*(crawl.end(lease, items=(b"{}",)) for lease in leases for _ in range(3)))
    assert await crawl.counts() == (0, 0, 10, 0)
    assert await crawl.counter("items") == 10


async def test_items_of_an_errback_reach_the_outbox_though_the_page_is_dead(crawl: Crawl) -> None:
    await crawl.add("http://a.example/")
    await crawl.end(await crawl.lease(), dead("http_404"), items=(b'{"gone":1}', b'{"gone":2}'))
    assert await crawl.counts() == (0, 0, 0, 1)
    assert await crawl.counter("items") == 2
    assert [entry.items for entry in await crawl.outbox.read(crawl.job, {}, 10)] == [(b'{"gone":1}', b'{"gone":2}')]


# --- links


async def test_links_are_admitted_before_the_page_is_done(crawl: Crawl) -> None:
    await crawl.add("http://a.example/")
    links = tuple(Request(url) for url in [*pages(3), *hosts(20), "http://a.example/"])
    assert await crawl.end(await crawl.lease(), links=links)
    assert await crawl.counts() == (23, 0, 1, 0)
    assert not await crawl.finished()


async def test_a_page_with_thousands_of_links(crawl: Crawl) -> None:
    """They are added in chunks, even if the page has a link twice, or its last visit added it."""
    await crawl.add("http://a.example/")
    links = tuple(Request(url, depth=1) for url in [*pages(2_500), *hosts(20), *pages(1_500)])
    lease = await crawl.lease()
    await crawl.frontier.adding.add(crawl.job, links[:1_200])
    assert await crawl.end(lease, links=links)
    assert await crawl.counts() == (2_520, 0, 1, 0)


async def test_links_bring_no_host_into_scope(crawl: Crawl) -> None:
    await crawl.add("http://a.example/")
    await crawl.end(await crawl.lease(), links=(Request("http://b.example/", depth=1),))
    assert await crawl.frontier.links.in_scope(crawl.job, ["b.example"]) == [False]


@pytest.mark.parametrize("known", [False, True])
async def test_where_a_seed_is_redirected_belongs_to_the_crawl(crawl: Crawl, known: bool) -> None:
    """A link of depth 0 is a seed's redirect; its host comes into scope even if a page linked to it before."""
    await crawl.add("http://a.example/", "http://c.example/")
    first, second = sorted((await crawl.claim()).leases, key=lambda lease: lease.request.url)
    if known:
        await crawl.end(first, links=(Request("http://b.example/", depth=1),))
    await crawl.end(second, links=(Request("http://b.example/", depth=0, redirects=1),))
    assert await crawl.frontier.links.in_scope(crawl.job, ["b.example"]) == [True]


async def test_links_of_a_lost_lease_do_not_double(crawl: Crawl) -> None:
    """The links of a page whose lease was lost may be known; the next delivery adds each once."""
    await crawl.add("http://a.example/")
    late = await crawl.lease()
    await crawl.frontier.leases.reap("w1")
    links = tuple(Request(url) for url in hosts(5))
    assert not await crawl.end(late, links=links)
    again = next(lease for lease in (await crawl.claim()).leases if lease.request.url == "http://a.example/")
    assert await crawl.end(again, links=links)
    stats = await crawl.frontier.reading.stats(crawl.job)
    assert (stats.known, stats.done) == (6, 1)


async def test_dont_filter_links_of_a_lost_lease_do_not_double(crawl: Crawl) -> None:
    """False means that nothing of the visit was changed."""
    await crawl.add("http://a.example/")
    late = await crawl.lease()
    await crawl.frontier.leases.reap("w1")
    links = (Request("http://a.example/again", dont_filter=True),)
    assert not await crawl.end(late, links=links)
    again = next(lease for lease in (await crawl.claim()).leases if lease.request.url == "http://a.example/")
    assert await crawl.end(again, links=links)
    assert (await crawl.frontier.reading.stats(crawl.job)).known == 2


# --- counters


async def test_what_is_counted(crawl: Crawl) -> None:
    await crawl.add(*pages(9))
    leases = (await crawl.claim()).leases
    visits = [
        Visit(Done(), status=200, size=100, items=(b"{}", b"{}")),
        Visit(Done(), status=200, size=20),
        Visit(Done(), status=404, size=3),
        Visit(Skip("robots")),
        Visit(Skip("robots")),
        Visit(Skip("offsite")),
        Visit(Retry(failed(), 60.0), status=503),
        Visit(Release("drain", 60.0)),
        Visit(dead("http_410"), status=410),
    ]
    assert all(await crawl.frontier.queue.commit("w1", list(zip(leases, visits, strict=True)), AT_ONCE))
    counters = (await crawl.frontier.reading.stats(crawl.job)).counters
    expected = {
        "pages": 3,
        "items": 2,
        "bytes": 123,
        "status/200": 2,
        "status/404": 1,
        "status/503": 1,
        "status/410": 1,
        "skip/robots": 2,
        "skip/offsite": 1,
        "retried": 1,
        "released": 1,
        "dead/http_410": 1,
    }
    assert {name: counters.get(name) for name in expected} == expected
    assert await crawl.counts() == (2, 0, 6, 1)


# --- bytes that are not a request


async def test_only_the_holder_may_bury(crawl: Crawl) -> None:
    await crawl.add("http://a.example/")
    lease = await crawl.lease()
    assert not await crawl.frontier.queue.bury("w2", crawl.job, lease.message, failed())
    other = lease.message.replace(b"a.example", b"b.example")
    assert not await crawl.frontier.queue.bury("w1", crawl.job, other, failed())
    assert await crawl.counts() == (0, 1, 0, 0)
    assert await crawl.counter("fenced") == 0, "each shard is asked, and all but one say no"


async def test_what_is_set_aside_comes_back_later(world: World, crawl: Crawl) -> None:
    await crawl.add("http://a.example/")
    lease = await crawl.lease()
    assert await crawl.frontier.queue.set_aside("w1", crawl.job, lease.message, 0.05)
    assert await crawl.urls() == []
    assert await crawl.counts() == (1, 0, 0, 0)
    await world.pass_time(0.05)
    again = await crawl.lease()
    assert (again.request, again.attempt) == (lease.request, 0)
    assert await crawl.end(again)


async def test_what_is_set_aside_can_be_set_aside_again(world: World, crawl: Crawl) -> None:
    await crawl.add("http://a.example/")
    for _ in range(3):
        lease = await crawl.lease()
        assert await crawl.frontier.queue.set_aside("w1", crawl.job, lease.message, 0.01)
        assert await crawl.counts() == (1, 0, 0, 0)
        await world.pass_time(0.01)
    assert await crawl.counter("set_aside") == 3
    assert await crawl.end(await crawl.lease())
    assert await crawl.finished()


async def test_only_the_holder_may_set_aside(crawl: Crawl) -> None:
    await crawl.add("http://a.example/")
    lease = await crawl.lease()
    assert not await crawl.frontier.queue.set_aside("w2", crawl.job, lease.message, 0.0)
    assert await crawl.counts() == (0, 1, 0, 0)
    assert await crawl.counter("fenced") == 0, "each shard is asked, and all but one say no"


async def test_what_was_left_out_is_counted_by_reason(crawl: Crawl) -> None:
    await crawl.add(*pages(2))
    for _ in range(2):
        await crawl.end(
            await crawl.lease(), dropped={"no page": 1, "no_page": 1, "twice": 2}, unfollowed={"nofollow": 3}
        )
    counters = (await crawl.frontier.reading.stats(crawl.job)).counters
    assert {name: counters[name] for name in counters if name.startswith(("dropped/", "links/"))} == {
        "dropped/no_page": 4,
        "dropped/twice": 4,
        "links/nofollow": 6,
    }
