"""When a host may be asked: the gap between two requests, its own delay and rest, and turns that were not used."""

from __future__ import annotations

import pytest

from crawler.interfaces import Pace
from crawler.model import Release, Skip
from crawler.testing.contract.claim import QUICK, SLOW
from crawler.testing.contract.world import AT_ONCE, Crawl, World, hosts, pages

# --- delay


async def test_with_a_delay_a_host_gives_one_request(crawl: Crawl) -> None:
    await crawl.add(*pages(3))
    assert await crawl.urls(pace=SLOW) == pages(3)[:1]
    assert await crawl.urls(pace=SLOW) == []


async def test_the_shortest_delay_is_one_too(crawl: Crawl) -> None:
    await crawl.add(*pages(3))
    assert await crawl.urls(pace=Pace(delay=0.001, concurrency=3)) == pages(3)[:1]


async def test_the_delay_counts_even_when_the_request_has_ended(crawl: Crawl) -> None:
    await crawl.add(*pages(2))
    await crawl.end(await crawl.lease(pace=SLOW), pace=SLOW)
    claim = await crawl.claim(pace=SLOW)
    assert (claim.leases, claim.idle) == ((), "cooling")
    assert claim.wait is not None
    assert 50 < claim.wait <= 60


async def test_after_the_delay_the_host_may_be_asked_again(world: World, crawl: Crawl) -> None:
    await crawl.add(*pages(2))
    await crawl.end(await crawl.lease(pace=QUICK), pace=QUICK)
    await world.pass_time(0.05)
    assert await crawl.urls(pace=QUICK) == pages(2)[1:]


async def test_jitter_only_lengthens_the_delay(crawl: Crawl) -> None:
    await crawl.add(*[url for n in range(30) for url in pages(2, f"h{n}.example")])
    pace = Pace(delay=100.0, jitter=0.5)
    leases = (await crawl.claim(pace=pace)).leases
    assert len(leases) == 30
    await crawl.finish(leases)
    claim = await crawl.claim(pace=pace)
    assert claim.leases == ()
    assert claim.wait is not None
    assert 99 < claim.wait <= 150


async def test_a_cooling_host_does_not_hold_up_the_others(crawl: Crawl) -> None:
    await crawl.add(*pages(5), *hosts(5))
    assert len((await crawl.claim(pace=SLOW)).leases) == 6
    await crawl.add("http://new.example/")
    assert await crawl.urls(pace=SLOW) == ["http://new.example/"]


async def test_the_gap_counts_from_when_the_host_was_asked(world: World, crawl: Crawl) -> None:
    """A worker may need some time between claim and request, for robots.txt or a connection."""
    await crawl.add(*pages(2))
    lease = await crawl.lease(pace=QUICK)
    await world.pass_time(0.06)  # the turn booked at the claim is over
    pace = Pace(delay=30.0)
    await crawl.end(lease, asked_at=world.now(), pace=pace)
    claim = await crawl.claim(pace=pace)
    assert claim.leases == ()
    assert claim.wait is not None
    assert 29 < claim.wait <= 30


async def test_the_gap_of_a_host_that_was_asked_a_while_ago_has_begun_then(world: World, crawl: Crawl) -> None:
    await crawl.add(*pages(2))
    await crawl.end(await crawl.lease(pace=QUICK), asked_at=world.now() - 10, pace=Pace(delay=30.0))
    assert 0 < ((await crawl.claim(pace=Pace(delay=30.0))).wait or 0) <= 20


async def test_a_request_that_never_reached_the_host_moves_nothing(world: World, crawl: Crawl) -> None:
    await crawl.add(*pages(2))
    lease = await crawl.lease(pace=QUICK)
    await world.pass_time(0.06)
    await crawl.end(lease, asked_at=None, pace=Pace(delay=30.0))
    assert len((await crawl.claim(pace=Pace(delay=30.0))).leases) == 1


async def test_an_old_request_does_not_shorten_the_gap(world: World, crawl: Crawl) -> None:
    await crawl.add(*pages(2))
    lease = await crawl.lease(pace=SLOW)
    await crawl.end(lease, asked_at=world.now() - 1_000, pace=SLOW)
    assert await crawl.urls(pace=SLOW) == []


# --- what the host asked for


async def test_a_host_that_asked_for_a_pause_gets_it(crawl: Crawl) -> None:
    await crawl.add(*pages(2))
    await crawl.end(await crawl.lease(), pause=40.0)
    claim = await crawl.claim()
    assert (claim.leases, claim.idle) == ((), "cooling")
    assert claim.wait is not None
    assert 39 < claim.wait <= 40


async def test_the_pause_ends(world: World, crawl: Crawl) -> None:
    await crawl.add(*pages(2))
    await crawl.end(await crawl.lease(), pause=0.05)
    await world.pass_time(0.05)
    assert len((await crawl.claim()).leases) == 1


async def test_a_short_pause_does_not_shorten_a_long_one(crawl: Crawl) -> None:
    await crawl.add(*pages(3))
    first, second = (await crawl.claim(2)).leases
    await crawl.end(first, pause=40.0)
    await crawl.end(second, pause=0.001)
    assert await crawl.urls() == []


async def test_a_longer_delay_of_the_hosts_own_is_kept(world: World, crawl: Crawl) -> None:
    await crawl.add(*pages(4))
    await crawl.end(await crawl.lease(), asked_at=world.now(), host_delay=0.4)
    await world.pass_time(0.41)
    assert len((await crawl.claim(2, pace=AT_ONCE)).leases) == 1, "a host with a delay gives one"
    assert await crawl.urls(pace=AT_ONCE) == []


async def test_the_hosts_own_delay_counts_from_the_request_that_told_it(world: World, crawl: Crawl) -> None:
    await crawl.add(*pages(2))
    await crawl.end(await crawl.lease(), asked_at=world.now(), host_delay=30.0)
    claim = await crawl.claim()
    assert claim.leases == ()
    assert claim.wait is not None
    assert 29 < claim.wait <= 30


async def test_the_hosts_own_delay_counts_from_every_later_request(world: World, crawl: Crawl) -> None:
    """Later visits carry no `host_delay`; the ledger remembers it, also when a turn moves by `asked_at`."""
    await crawl.add(*pages(3))
    await crawl.end(await crawl.lease(), host_delay=0.3)
    await world.pass_time(0.3)
    lease = await crawl.lease()
    await world.pass_time(0.2)
    await crawl.end(lease, asked_at=world.now())
    await world.pass_time(0.15)
    assert await crawl.urls() == [], "0.15 s after the request, 0.35 s after the claim"
    await world.pass_time(0.15)
    assert len(await crawl.urls()) == 1


async def test_a_shorter_delay_of_the_hosts_own_changes_nothing(world: World, crawl: Crawl) -> None:
    await crawl.add(*pages(2))
    await crawl.end(await crawl.lease(pace=SLOW), asked_at=world.now(), host_delay=0.01, pace=SLOW)
    await world.pass_time(0.02)
    assert await crawl.urls(pace=SLOW) == []


# --- turns that were not used


@pytest.mark.parametrize("outcome", [Skip("robots"), Release("address")])
async def test_a_host_that_was_surely_not_asked_may_be_asked_at_once(crawl: Crawl, outcome: Skip | Release) -> None:
    await crawl.add(*pages(3))
    await crawl.end(await crawl.lease(pace=SLOW), outcome, unasked=True, pace=SLOW)
    await crawl.end(await crawl.lease(pace=SLOW), asked_at=crawl.world.now(), pace=SLOW)
    assert (await crawl.claim(pace=SLOW)).leases == ()


async def test_a_release_that_says_nothing_about_the_host_keeps_its_turn(crawl: Crawl) -> None:
    await crawl.add(*pages(3))
    await crawl.end(await crawl.lease(pace=SLOW), Release("shutdown"), pace=SLOW)
    assert (await crawl.claim(pace=SLOW)).leases == ()


@pytest.mark.parametrize("unasked_ends_first", [True, False])
@pytest.mark.parametrize("unasked_was_first", [True, False])
async def test_another_request_on_its_way_keeps_the_turn_it_booked(
    world: World, crawl: Crawl, unasked_was_first: bool, unasked_ends_first: bool
) -> None:
    quick, slow = Pace(delay=0.02, concurrency=3), Pace(delay=60.0, concurrency=3)
    await crawl.add(*pages(4))
    leases = [await crawl.lease(pace=quick)]
    await world.pass_time(0.02)
    leases.append(await crawl.lease(pace=quick))
    asked, unasked = reversed(leases) if unasked_was_first else leases
    if unasked_ends_first:
        await crawl.end(unasked, Skip("robots"), unasked=True, pace=slow)
    await crawl.end(asked, asked_at=world.now(), pace=slow)
    if not unasked_ends_first:
        await crawl.end(unasked, Skip("robots"), unasked=True, pace=slow)
    assert (await crawl.claim(pace=slow)).leases == ()
