"""A host joins a group of hosts that share its address: what it brings and leaves, and the turn that it may get."""

from __future__ import annotations

import pytest

from crawler.interfaces import Pace
from crawler.model import Job, Lease, Release, Skip
from crawler.testing.contract.groups import ADDRESS, SLOW, TWO_AT_ONCE, place
from crawler.testing.contract.world import AT_ONCE, Crawl, World, hosts, pages


async def meet(crawl: Crawl, lease: Lease, pace: Pace, group: str = ADDRESS) -> bool:
    """Look up the address for this lease; whether the lease has a turn of it."""
    return (await crawl.frontier.ledger.join(lease.host, group, lease.job, pace)).has_turn


async def test_place_tells_for_how_long_it_has_been_so(world: World, grouped: Crawl) -> None:
    join = grouped.frontier.ledger.join
    assert await join("a.example", ADDRESS) == (0.0, False)
    await world.pass_time(0.05)
    assert 0.04 < (await join("a.example", ADDRESS)).seconds < 10
    assert await join("a.example", "127.0.0.8") == (0.0, False)
    assert await join("a.example", "") == (0.0, False)
    assert (await join("b.example", "")).seconds > 1e6, "it never was in one"


async def test_a_host_that_waits_for_its_old_group_does_so_no_more(grouped: Crawl) -> None:
    """It stood in the line of a group that another host has filled."""
    await grouped.add("http://a.example/", "http://b.example/")
    await place(grouped, ["http://a.example/", "http://b.example/"])
    first = await grouped.lease(pace=Pace(delay=0.0))
    (waiting,) = {"a.example", "b.example"} - {first.host}
    assert (await grouped.claim(pace=Pace(delay=0.0))).leases == ()
    await grouped.frontier.ledger.join(waiting, "127.0.0.8")
    assert [lease.host for lease in (await grouped.claim(pace=Pace(delay=0.0))).leases] == [waiting]


async def test_requests_in_flight_move_along(grouped: Crawl) -> None:
    """A host that joins with two in flight fills the group; when it leaves, the others go on."""
    await grouped.add(*pages(2), "http://b.example/", "http://c.example/")
    leases = [lease for lease in (await grouped.claim(2, pace=AT_ONCE)).leases if lease.host == "a.example"]
    assert len(leases) == 2
    await place(grouped, ["http://a.example/", "http://b.example/", "http://c.example/"])
    assert (await grouped.claim(pace=TWO_AT_ONCE)).leases == ()
    await grouped.frontier.ledger.join("a.example", "127.0.0.8")
    assert len((await grouped.claim(pace=TWO_AT_ONCE)).leases) == 2
    assert all(await grouped.finish(leases))


async def test_a_host_that_leaves_takes_only_its_own_requests_along(grouped: Crawl) -> None:
    """The group had two in flight, of two hosts, so one place is free now."""
    await grouped.add(*hosts(5))
    await place(grouped, hosts(5))
    leases = (await grouped.claim(pace=TWO_AT_ONCE)).leases
    assert len(leases) == 2
    await grouped.frontier.ledger.join(leases[0].host, "127.0.0.8")
    assert len((await grouped.claim(pace=TWO_AT_ONCE)).leases) == 1


async def test_the_turn_of_a_group_stays_when_the_host_leaves_that_had_it(world: World, grouped: Crawl) -> None:
    await grouped.add(*hosts(3))
    await place(grouped, hosts(3))
    lease = await grouped.lease(pace=SLOW)
    await grouped.end(lease, asked_at=world.now(), pace=SLOW)
    await grouped.frontier.ledger.join(lease.host, "127.0.0.8")
    claim = await grouped.claim(pace=SLOW)
    assert claim.leases == ()
    assert 55 < (claim.wait or 0) <= 60


async def test_a_host_that_leaves_the_line_is_no_longer_counted_in_it(grouped: Crawl) -> None:
    await grouped.add(*hosts(4))
    await place(grouped, hosts(4))
    asked = (await grouped.lease(pace=SLOW)).host
    assert (await grouped.claim(pace=SLOW)).leases == ()
    waiting = next(host for url in hosts(4) if (host := url.split("/")[2]) != asked)
    await grouped.frontier.ledger.join(waiting, "127.0.0.8")
    stats = await grouped.frontier.reading.stats(grouped.job)
    assert (stats.ready, stats.cooling) == (1, 2)


async def test_a_request_that_came_too_early_is_handed_back_and_booked(grouped: Crawl) -> None:
    """Release a lease as a visit does when the claim did not know the group."""
    await grouped.add(*hosts(3))
    leases = (await grouped.claim(pace=Pace(delay=0.0))).leases
    assert len(leases) == 3
    await place(grouped, hosts(3))
    for lease in leases:
        await grouped.end(lease, Release("address"), pace=Pace(delay=0.0))
    assert len((await grouped.claim(pace=Pace(delay=0.0))).leases) == 1


async def test_a_thousand_hosts_of_one_group_leave_the_others_alone(grouped: Crawl) -> None:
    await grouped.add(*hosts(1000))
    await place(grouped, hosts(1000))
    await grouped.add(*pages(1, "alone.example"))
    found: list[str] = []
    while claim := (await grouped.claim(pace=SLOW)).leases:
        found += [lease.host for lease in claim]
    for _ in range(20):  # a claim looks at a few hundred hosts, then the line is complete
        found += [lease.host for lease in (await grouped.claim(pace=SLOW)).leases]
    assert len(found) == 2
    assert "alone.example" in found


# --- the turn of a lease whose host joins


@pytest.mark.parametrize("pace", [SLOW, Pace(delay=0.0)])
async def test_a_lease_whose_host_joins_has_a_turn_of_the_group(world: World, grouped: Crawl, pace: Pace) -> None:
    """Until it ends nobody has another one; then the group waits for its delay."""
    await grouped.add(*hosts(3))
    first, *others = (await grouped.claim(pace=pace)).leases
    assert [await meet(grouped, lease, pace) for lease in (first, *others)] == [True, False, False]
    for lease in others:
        await grouped.end(lease, Release("address"), unasked=True, pace=pace)
    assert (await grouped.claim(pace=pace)).leases == ()
    await grouped.end(first, asked_at=world.now(), pace=pace)
    claim = await grouped.claim(pace=pace)
    assert len(claim.leases) == (0 if pace.delay else 1)
    assert claim.leases or 55 < (claim.wait or 0) <= 60


async def test_the_next_turn_is_a_delay_after_joining(grouped: Crawl) -> None:
    """Also while the lease that joined is in flight."""
    await grouped.add(*hosts(2))
    lease, other = (await grouped.claim(pace=SLOW)).leases
    assert await meet(grouped, lease, SLOW)
    assert not await meet(grouped, other, SLOW)
    await grouped.end(other, Release("address"), unasked=True, pace=SLOW)
    claim = await grouped.claim(pace=Pace(delay=60.0, concurrency=2))
    assert claim.leases == ()
    assert 55 < (claim.wait or 0) <= 60


async def test_a_turn_from_joining_that_was_not_used_is_the_next_hosts(grouped: Crawl) -> None:
    """A page that robots.txt forbids costs its address no turn."""
    await grouped.add(*hosts(2))
    first, second = (await grouped.claim(pace=SLOW)).leases
    assert await meet(grouped, first, SLOW)
    await grouped.end(first, Skip("robots"), unasked=True, pace=SLOW)
    assert await meet(grouped, second, SLOW)


async def test_a_lost_reply_to_joining_costs_only_the_turn(grouped: Crawl) -> None:
    """The repeated call finds the host in its group."""
    await grouped.add(*hosts(1))
    lease = await grouped.lease(pace=SLOW)
    join = grouped.frontier.ledger.join
    assert await join(lease.host, ADDRESS, lease.job, SLOW) == (0.0, True)
    assert not await meet(grouped, lease, SLOW)
    await grouped.end(lease, Release("address"), unasked=True, pace=SLOW)
    assert await grouped.urls(pace=SLOW) == hosts(1)


async def test_a_host_with_more_in_flight_joins_without_a_turn(grouped: Crawl) -> None:
    """Each of its requests would need one."""
    await grouped.add(*pages(2))
    first, second = (await grouped.claim(pace=AT_ONCE)).leases
    assert [await meet(grouped, lease, AT_ONCE) for lease in (first, second)] == [False, False]


async def test_a_host_that_joins_without_a_lease_takes_no_turn(grouped: Crawl) -> None:
    await grouped.add(*hosts(2))
    first, second = (await grouped.claim(pace=SLOW)).leases
    await place(grouped, [first.request.url])
    await grouped.end(first, Release("address"), unasked=True, pace=SLOW)
    assert await meet(grouped, second, SLOW)


async def test_a_host_joins_a_busy_group_without_a_turn(grouped: Crawl) -> None:
    await grouped.add(*hosts(4))
    leases = (await grouped.claim(pace=TWO_AT_ONCE)).leases
    assert [await meet(grouped, lease, TWO_AT_ONCE) for lease in leases] == [True, True, False, False]
    for lease in leases[2:]:
        await grouped.end(lease, Release("address"), unasked=True, pace=TWO_AT_ONCE)
    assert await grouped.urls(pace=TWO_AT_ONCE) == []
    await grouped.end(leases[0], pace=TWO_AT_ONCE)
    assert len(await grouped.urls(pace=TWO_AT_ONCE)) == 1


async def test_a_host_that_joins_overtakes_nobody_in_line(world: World, grouped: Crawl) -> None:
    """The group is free, and one of its hosts waits; what waits in another job does not count, as for a claim."""
    other = Crawl(world, grouped.frontier, await grouped.frontier.jobs.create(Job("other")))
    await grouped.add(*hosts(3))
    await other.add("http://h3.example/")
    await place(grouped, hosts(2))
    (elsewhere,) = (await other.claim(pace=SLOW)).leases
    leases = {lease.host: lease for lease in (await grouped.claim(pace=SLOW)).leases}
    newcomer = leases.pop("h2.example")
    (busy,) = leases.values()
    assert (await grouped.claim(pace=SLOW)).leases == (), "the other one stands in line now"
    await grouped.end(busy, Release("drain"), unasked=True, pace=SLOW)
    assert not await meet(grouped, newcomer, SLOW)
    await grouped.end(newcomer, Release("address"), unasked=True, pace=SLOW)
    assert await meet(other, elsewhere, SLOW)


async def test_a_host_that_moves_has_a_turn_of_its_new_group(grouped: Crawl) -> None:
    """The old group has the place that it held free again."""
    await grouped.add(*hosts(2))
    await place(grouped, hosts(2))
    pace = Pace(delay=0.0)
    lease = await grouped.lease(pace=pace)
    assert await meet(grouped, lease, pace, "127.0.0.8")
    assert len(await grouped.urls(pace=pace)) == 1
