"""Busy hosts and hosts that are down: how long they rest, and whether it costs the page an attempt."""

from __future__ import annotations

import pytest

from crawler.interfaces import Pace
from crawler.model import Claim, Dead, Done, Failure, Job, Outcome, Retry, Skip
from crawler.testing.contract.world import Crawl, World, pages

PACE = Pace(delay=0.0, concurrency=3, backoff=60.0)
ONE = Pace(delay=0.0, concurrency=1, backoff=60.0)
BUSY = Retry(Failure("http_503", "busy", 503), 0.0)
DOWN = Retry(Failure("connect", "nobody there"), 0.0)
SPENT = Dead(DOWN.failure, spent=True)


async def say(crawl: Crawl, world: World, health: str, outcome: Outcome, pace: Pace = ONE) -> Claim:
    """Commit the host's next request with that answer; then claim, reap the worker, and return the claim."""
    lease = await crawl.lease(pace=pace)
    await crawl.end(lease, outcome, pace=pace, health=health, asked_at=world.now())
    claim = await crawl.claim(1, pace=pace)
    await crawl.frontier.leases.reap("w1")
    return claim


async def rest(crawl: Crawl, world: World, health: str, outcome: Outcome) -> float:
    """Return the seconds for which the host then rests; the rest is over when this returns."""
    claim = await say(crawl, world, health, outcome)
    if claim.leases:
        return 0.0
    assert claim.wait is not None
    await world.end_rest(crawl.job.name, "a.example", claim.wait)
    return claim.wait


# --- busy


async def test_a_busy_host_is_left_alone_for_longer_each_time(world: World, crawl: Crawl) -> None:
    await crawl.add(*pages(5))
    waits = [await rest(crawl, world, "busy", BUSY) for _ in range(4)]
    for wait, least in zip(waits, (60, 120, 240, 480), strict=True):
        assert least * 0.9 < wait <= least * 1.25, waits
    assert await crawl.counter("backoff") == 4


async def test_a_good_answer_takes_one_doubling_back(world: World, crawl: Crawl) -> None:
    await crawl.add(*pages(9))
    for _ in range(3):
        await rest(crawl, world, "busy", BUSY)
    assert await rest(crawl, world, "ok", Done()) == 0.0
    assert 200 < await rest(crawl, world, "busy", BUSY) <= 300


async def test_what_the_host_says_goes_before(world: World, crawl: Crawl) -> None:
    """Retry-After of twenty seconds is neither lengthened nor counted as a doubling."""
    await crawl.add(*pages(3))
    await crawl.end(await crawl.lease(pace=PACE), BUSY, pace=PACE, health="busy", pause=20.0)
    claim = await crawl.claim(pace=PACE)
    assert not claim.leases
    assert 15 < (claim.wait or 0) <= 20


async def test_a_good_answer_on_its_way_ends_no_rest(crawl: Crawl) -> None:
    await crawl.add(*pages(3))
    first, second = (await crawl.claim(2, pace=PACE)).leases
    await crawl.end(first, BUSY, pace=PACE, health="busy", pause=30.0)
    await crawl.end(second, pace=PACE, health="ok")
    claim = await crawl.claim(pace=PACE)
    assert not claim.leases
    assert (claim.wait or 0) > 25


async def test_answers_of_one_moment_count_once(crawl: Crawl) -> None:
    await crawl.add(*pages(5))
    leases = (await crawl.claim(3, pace=PACE)).leases
    assert len(leases) == 3
    for lease in leases:
        await crawl.end(lease, BUSY, pace=PACE, health="busy")
    claim = await crawl.claim(pace=PACE)
    assert 50 < (claim.wait or 0) <= 75.1, "one back-off, not four times as long"
    assert await crawl.counter("backoff") == 1


async def test_only_the_first_page_pays_for_its_host(world: World, crawl: Crawl) -> None:
    """A page that fails alone among good ones is used up; a host that refuses all of them costs them nothing."""
    await crawl.add(*pages(3))
    for _ in range(4):
        await rest(crawl, world, "busy", BUSY)
    assert (await crawl.counter("retried"), await crawl.counter("spared")) == (1, 3)
    (spared,) = (await crawl.frontier.traces.trace(crawl.job, pages(3)[0])).sightings
    assert (spared.state, spared.attempt, spared.crashes) == ("pending", 1, 0)
    assert (await crawl.lease(pace=ONE)).attempt == 1
    assert await crawl.counts() == (2, 1, 0, 0)


async def test_a_page_that_is_refused_among_good_ones_pays(world: World, crawl: Crawl) -> None:
    await crawl.add(*pages(6))
    for _ in range(3):
        await rest(crawl, world, "busy", BUSY)
        await rest(crawl, world, "ok", Done())
    assert (await crawl.counter("retried"), await crawl.counter("spared")) == (3, 0)


async def test_a_host_that_is_not_well_yet_gets_one_request_at_a_time(world: World, crawl: Crawl) -> None:
    await crawl.add(*pages(9))
    await crawl.end(await crawl.lease(pace=PACE), BUSY, pace=PACE, health="busy")
    await world.end_rest("news", "a.example", 80.0)
    (probe,) = (await crawl.claim(pace=PACE)).leases
    assert (await crawl.claim(pace=PACE)).leases == ()
    await crawl.end(probe, pace=PACE, health="ok")
    assert len((await crawl.claim(pace=PACE)).leases) == 3


async def test_the_others_go_on(crawl: Crawl) -> None:
    await crawl.add("http://a.example/")
    await crawl.end(await crawl.lease(pace=PACE), BUSY, pace=PACE, health="busy")
    await crawl.add("http://b.example/", "http://a.example/2")
    assert await crawl.urls(pace=PACE) == ["http://b.example/"]


# --- down


async def test_the_fifth_failure_in_a_row_opens_the_breaker(world: World, crawl: Crawl) -> None:
    await crawl.add(*pages(30))
    waits = [await rest(crawl, world, "down", DOWN) for _ in range(7)]
    assert waits[:4] == [0.0] * 4
    for wait, least in zip(waits[4:], (30, 60, 120), strict=True):
        assert least * 0.8 < wait <= least * 1.25, waits
    assert await crawl.counter("breaker_opened") == 1


async def test_a_good_answer_closes_it(world: World, crawl: Crawl) -> None:
    await crawl.add(*pages(30))
    for _ in range(6):
        await rest(crawl, world, "down", DOWN)
    assert await rest(crawl, world, "ok", Done()) == 0.0
    assert [await rest(crawl, world, "down", DOWN) for _ in range(4)] == [0.0] * 4


async def test_a_good_answer_in_between_keeps_it_closed(world: World, crawl: Crawl) -> None:
    await crawl.add(*pages(30))
    for _ in range(3):
        assert [await rest(crawl, world, "down", DOWN) for _ in range(4)] == [0.0] * 4
        assert await rest(crawl, world, "ok", Skip("redirect")) == 0.0


@pytest.mark.parametrize("outcome", [DOWN, SPENT])
async def test_while_it_is_open_no_page_pays(world: World, crawl: Crawl, outcome: Outcome) -> None:
    """Whether it has tries left or not."""
    await crawl.add(*pages(3))
    for _ in range(4):
        await rest(crawl, world, "down", DOWN)
    for _ in range(3):
        await rest(crawl, world, "down", outcome)
    assert (await crawl.counter("retried"), await crawl.counter("spared")) == (4, 3)
    assert (await crawl.counts())[0] == 3


async def test_a_page_that_can_never_be_had_dies_though_its_host_is_down(world: World, crawl: Crawl) -> None:
    await crawl.add(*pages(3))
    for _ in range(6):
        await rest(crawl, world, "down", DOWN)
    await rest(crawl, world, "", Dead(Failure("malformed", "no")))
    assert await crawl.counts() == (2, 0, 0, 1)


async def test_a_last_try_does_not_count_when_other_pages_fail_in_a_row_with_it(world: World, crawl: Crawl) -> None:
    """The breaker is not open yet, but a page that is tried again soon must not pay for all failures."""
    await crawl.add(*pages(2))
    later = Retry(DOWN.failure, 60.0)
    await crawl.end(await crawl.lease(pace=ONE), later, pace=ONE, health="down", asked_at=world.now())
    await crawl.end(await crawl.lease(pace=ONE), SPENT, pace=ONE, health="down", asked_at=world.now())
    assert await crawl.counter("spared") == 1
    assert await crawl.counts() == (2, 0, 0, 0)


async def test_a_last_try_counts_when_only_that_page_fails(world: World, crawl: Crawl) -> None:
    await crawl.add(*pages(1))
    for outcome in (DOWN, DOWN, SPENT):
        await crawl.end(await crawl.lease(pace=ONE), outcome, pace=ONE, health="down", asked_at=world.now())
    assert await crawl.counts() == (0, 0, 0, 1)


async def test_patience_ends(world: World, crawl: Crawl) -> None:
    """Then failures count as attempts again, so that the crawl can finish."""
    await crawl.add(*pages(3))
    hasty = Pace(delay=0.0, concurrency=1, backoff=0.01, patience=0.03)
    for _ in range(6):
        claim = await say(crawl, world, "down", DOWN, hasty)
        await world.pass_time(claim.wait or 0.0)
    await world.pass_time(0.05)
    for _ in range(3):
        assert (await say(crawl, world, "down", SPENT, hasty)).wait in (0.0, None)
    assert await crawl.counts() == (0, 0, 0, 3)


async def test_all_jobs_leave_it_alone(world: World, crawl: Crawl) -> None:
    other = await Crawl.create(world, Job("other"))
    await crawl.add(*pages(3))
    await other.add(*pages(3))
    await crawl.end(await crawl.lease(pace=PACE), BUSY, pace=PACE, health="busy")
    assert (await other.claim(pace=PACE)).leases == ()


# --- slow


STEPS = [  # status, health, seconds it took → delay after that
    (200, "ok", 8.0, 4.0),
    (200, "ok", 4.0, 4.0),  # shorter from the next turn on: this one is booked
    (429, "busy", 0.0, 3.0),
    (404, "ok", 0.0, 3.0),
    (None, "down", 20.0, 10.0),
    (200, "ok", 400.0, 30.0),
    (200, "ok", 0.0, 30.0),
]


async def test_the_delay_follows_the_latency(world: World, crawl: Crawl) -> None:
    """The delay rises at once and falls by half the difference; an error never shortens it."""
    await crawl.add(*pages(20))
    pace = Pace(delay=1.0, target=2.0, longest=30.0, backoff=0.001)
    found = []
    for status, health, seconds, _ in STEPS:
        lease = await crawl.lease(pace=pace)
        asked = world.now()
        await crawl.end(lease, pace=pace, asked_at=asked, status=status, health=health, seconds=seconds)
        wait = (await crawl.claim(pace=pace)).wait
        assert wait is not None
        found.append(wait)
        await world.end_rest("news", "a.example", wait)
    for wait, (*_, delay) in zip(found, STEPS, strict=True):
        assert delay - 0.5 < wait <= delay + 0.01, found


async def test_for_one_request_at_once_the_delay_is_the_latency(world: World, crawl: Crawl) -> None:
    pace = Pace(delay=1.0, target=1.0, longest=30.0)
    await crawl.add(*pages(2))
    await crawl.end(await crawl.lease(pace=pace), pace=pace, asked_at=world.now(), status=200, health="ok", seconds=8.0)
    assert (await crawl.claim(pace=pace)).wait == pytest.approx(8.0, abs=0.5)


async def test_a_visit_of_unknown_latency_leaves_the_delay_as_it_is(crawl: Crawl) -> None:
    pace = Pace(delay=1.0, target=1.0, longest=30.0)
    await crawl.add(*pages(2))
    assert await crawl.end(await crawl.lease(pace=pace), pace=pace)
    assert ((await crawl.claim(pace=pace)).wait or 0.0) <= 1.0


async def test_without_a_delay_a_host_is_due_at_once(world: World, crawl: Crawl) -> None:
    await crawl.add(*pages(2))
    await crawl.end(await crawl.lease(), asked_at=world.now(), status=200, health="ok", seconds=8.0)
    assert len(await crawl.urls()) == 1


async def test_it_is_never_shorter_than_the_delay_and_off_by_default(world: World, crawl: Crawl) -> None:
    await crawl.add(*pages(3), *pages(3, "b.example"))
    leases = {lease.host: lease for lease in (await crawl.claim(pace=Pace(delay=5.0))).leases}
    for host, pace, seconds in (("a.example", Pace(delay=5.0, target=1.0), 0.1), ("b.example", Pace(delay=5.0), 50.0)):
        asked = world.now()
        await crawl.end(leases[host], pace=pace, asked_at=asked, status=200, health="ok", seconds=seconds)
    waits = [view.turn.wait for view in await crawl.frontier.hosts.hosts(crawl.job)]
    assert all(4 < wait <= 5.01 for wait in waits), waits


async def test_a_host_that_rests_tells_why_until_it_is_well_again(world: World, crawl: Crawl) -> None:
    await crawl.add(*pages(4))
    leases = (await crawl.claim(3)).leases
    for lease in leases[:2]:
        await crawl.end(lease, BUSY, status=503, health="busy")
    await crawl.end(leases[2], health="ok")  # asked before the rest began
    assert await crawl.urls() == []
    (resting,) = (await crawl.frontier.reading.stats(crawl.job)).resting
    turn = resting.turn
    assert (resting.host, turn.cause, turn.rests, turn.asked_for_rest) == ("a.example", "http_503", 1, False)
    assert not (await crawl.frontier.reading.stats(crawl.job)).is_flowing
    await world.end_rest(crawl.job.name, "a.example", turn.rest)
    await crawl.end(await crawl.lease(), health="ok")
    stats = await crawl.frontier.reading.stats(crawl.job)
    assert (stats.resting, stats.is_flowing) == ((), True)


async def test_a_host_that_says_for_how_long_tells_that_too(crawl: Crawl) -> None:
    await crawl.add(*pages(2))
    await crawl.end(await crawl.lease(), BUSY, status=503, health="busy", pause=100.0)
    (resting,) = (await crawl.frontier.reading.stats(crawl.job)).resting
    assert resting.turn.asked_for_rest


async def test_a_host_at_its_pace_flows(crawl: Crawl) -> None:
    await crawl.add(*pages(2))
    slow = Pace(delay=100.0)
    await crawl.end(await crawl.lease(pace=slow), pace=slow, asked_at=crawl.world.now())
    assert (await crawl.frontier.reading.stats(crawl.job)).is_flowing
