"""Hosts that share an address: their turns, their caps, and which of them comes next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from crawler.interfaces import Pace
from crawler.model import Job, Retry, Skip
from crawler.testing.contract.world import Crawl, World, failed, hosts, pages

ADDRESS = "127.0.0.9"
SLOW = Pace(delay=60.0)
QUICK = Pace(delay=0.02)
UNEVEN = Pace(delay=0.02, jitter=0.9)  # a host's next turn may come before that of its group
TWO_AT_ONCE = Pace(delay=0.0, concurrency=2)


@pytest.fixture
async def grouped(world: World) -> Crawl:
    """A job in one shard: each has groups of its own, and these hosts would lie in different ones."""
    if world.shards > 1:
        pytest.skip("the hosts lie in several shards")
    return await Crawl.create(world)


async def place(crawl: Crawl, urls: Sequence[str], group: str = ADDRESS) -> None:
    """The hosts of these URLs share an address."""
    for url in urls:
        await crawl.frontier.ledger.join(url.split("/")[2], group)


async def test_of_a_group_one_host_is_asked_at_a_time(grouped: Crawl) -> None:
    await grouped.add(*hosts(20))
    await place(grouped, hosts(20))
    assert len((await grouped.claim(pace=SLOW)).leases) == 1
    claim = await grouped.claim(pace=SLOW)
    assert (claim.leases, claim.idle) == ((), "cooling")
    assert claim.wait is not None
    stats = await grouped.frontier.reading.stats(grouped.job)
    assert (stats.ready, stats.cooling) == (0, 19)


async def test_the_delay_is_that_of_the_group_when_the_request_has_ended(world: World, grouped: Crawl) -> None:
    await grouped.add(*hosts(2))
    await place(grouped, hosts(2))
    await grouped.end(await grouped.lease(pace=SLOW), asked_at=world.now(), pace=SLOW)
    claim = await grouped.claim(pace=SLOW)
    assert claim.leases == ()
    assert 55 < (claim.wait or 0) <= 60


async def test_a_turn_that_was_not_used_is_the_next_hosts(grouped: Crawl) -> None:
    """A page that robots.txt forbids costs its address no turn."""
    await grouped.add(*hosts(3))
    await place(grouped, hosts(3))
    for _ in range(2):
        assert await grouped.end(await grouped.lease(pace=SLOW), Skip("robots"), unasked=True, pace=SLOW)
    assert len((await grouped.claim(pace=SLOW)).leases) == 1
    assert (await grouped.claim(pace=SLOW)).leases == ()


async def test_the_hosts_of_a_group_take_turns(world: World, grouped: Crawl) -> None:
    """Those whose turns came between the same two claims may stand in line in any order, but no host has three turns
    while another waits for one."""
    names = [url.split("/")[2] for url in hosts(4)]
    await grouped.add(*(url for name in names for url in pages(8, name)))
    await place(grouped, hosts(4))
    asked = dict.fromkeys(names, 0)
    while sum(asked.values()) < 6 * len(names):
        for lease in (await grouped.claim(pace=UNEVEN)).leases:
            await grouped.end(lease, pace=UNEVEN, asked_at=world.now())
            asked[lease.host] += 1
        assert max(asked.values()) - min(asked.values()) <= 2, asked
        await world.pass_time(UNEVEN.delay)


async def test_hosts_of_other_groups_and_of_none_are_not_held_up(grouped: Crawl) -> None:
    await grouped.add(*hosts(9))
    await place(grouped, hosts(3))
    await place(grouped, hosts(6)[3:], "127.0.0.8")
    assert len((await grouped.claim(pace=SLOW)).leases) == 5


async def test_the_literal_address_is_one_of_the_group(grouped: Crawl) -> None:
    await grouped.add(f"http://{ADDRESS}/", "http://a.example/")
    await place(grouped, ["http://a.example/"])
    assert len((await grouped.claim(pace=SLOW)).leases) == 1
    assert (await grouped.claim(pace=SLOW)).leases == ()


async def test_the_cap_is_that_of_the_group(grouped: Crawl) -> None:
    await grouped.add(*hosts(5), f"http://{ADDRESS}/")
    await place(grouped, hosts(5))
    leases = (await grouped.claim(pace=TWO_AT_ONCE)).leases
    assert len(leases) == 2
    assert (await grouped.claim(pace=TWO_AT_ONCE)).leases == ()
    seen = [lease.host for lease in leases]
    while leases:
        await grouped.end(leases[0], pace=TWO_AT_ONCE)
        new = (await grouped.claim(pace=TWO_AT_ONCE)).leases
        assert len(new) <= 1
        seen += [lease.host for lease in new]
        leases = (*leases[1:], *new)
    assert len(seen) == len(set(seen)) == 6
    assert await grouped.finished()


async def test_hosts_of_a_group_take_turns(world: World, grouped: Crawl) -> None:
    """However many pages one of them has, and though all of them wait all the time."""
    names = ["a.example", "b.example", "c.example"]
    await grouped.add(*(url for name in names for url in pages(20, name)))
    await place(grouped, [f"http://{name}/" for name in names])
    turns: list[str] = []
    while len(turns) < 30:
        claim = await grouped.claim(pace=QUICK)
        turns += [lease.host for lease in claim.leases]
        for lease in claim.leases:
            await grouped.end(lease, pace=QUICK)
        await world.pass_time(QUICK.delay if claim.leases else claim.wait or 0.0)
    assert Counter(turns) == dict.fromkeys(names, 10)
    assert all(len(set(turns[at : at + 3])) == 3 for at in range(3, 27))


async def test_no_turn_is_left_out_when_hosts_run_empty(world: World, grouped: Crawl) -> None:
    """After each wait, a claim returns one request of the group, until none is left."""
    await grouped.add(*hosts(6), *pages(3, "h0.example"))
    await place(grouped, hosts(6))
    empty_handed = done = 0
    while done < 9:
        claim = await grouped.claim(pace=QUICK)
        empty_handed = 0 if claim.leases else empty_handed + 1
        assert empty_handed < 2
        for lease in claim.leases:
            await grouped.end(lease, pace=QUICK)
            done += 1
        await world.pass_time(claim.wait or 0.0)
    assert await grouped.finished()


async def test_a_slow_host_does_not_hold_up_its_group(world: World, grouped: Crawl) -> None:
    """A host's own delay or Retry-After does not slow the others of its group down."""
    await grouped.add(*pages(2, "slow.example"))
    await place(grouped, ["http://slow.example/", "http://a.example/"])
    await grouped.end(await grouped.lease(pace=QUICK), asked_at=world.now(), host_delay=30.0, pause=40.0, pace=QUICK)
    await grouped.add(*pages(2))
    await world.pass_time(0.02)
    assert (await grouped.lease(pace=QUICK)).host == "a.example"


async def test_two_jobs_share_the_group(world: World, grouped: Crawl) -> None:
    other = Crawl(world, grouped.frontier, await grouped.frontier.jobs.create(Job("other")))
    await grouped.add("http://a.example/")
    await other.add("http://b.example/", "http://c.example/")
    await place(grouped, ["http://a.example/", "http://b.example/", "http://c.example/"])
    first = await grouped.lease(pace=Pace(delay=0.0))
    assert (await other.claim(pace=Pace(delay=0.0))).leases == ()
    await grouped.end(first)
    second = await other.lease(pace=Pace(delay=0.0), worker="w2")
    assert (await other.claim(pace=Pace(delay=0.0))).leases == ()
    await other.frontier.leases.reap("w2")
    assert len((await other.claim(pace=Pace(delay=0.0))).leases) == 1
    assert second.host in ("b.example", "c.example")


async def test_a_deleted_job_gives_its_slots_back(world: World, grouped: Crawl) -> None:
    other = Crawl(world, grouped.frontier, await grouped.frontier.jobs.create(Job("other")))
    await grouped.add("http://a.example/")
    await other.add("http://b.example/")
    await place(grouped, ["http://a.example/", "http://b.example/"])
    await grouped.lease(pace=Pace(delay=0.0))
    assert (await other.claim(pace=Pace(delay=0.0))).leases == ()
    await grouped.frontier.jobs.delete("news")
    assert len((await other.claim(pace=Pace(delay=0.0))).leases) == 1


# --- looking


async def test_each_host_is_shown_with_its_turn(world: World, grouped: Crawl) -> None:
    await grouped.add(*pages(3), *pages(2, "b.example"), *pages(1, "c.example"))
    await place(grouped, ["http://a.example/", "http://b.example/"])
    (first, second) = (await grouped.claim(pace=SLOW)).leases
    assert (await grouped.claim(pace=SLOW)).leases == ()
    shown = {view.host: view for view in await grouped.frontier.hosts.hosts(grouped.job)}
    in_group, alone = ("a.example", "b.example"), "c.example"
    assert sorted((first.host in in_group, second.host in in_group)) == [False, True]
    assert {host: shown[host].pending + shown[host].turn.inflight for host in shown} == {
        "a.example": 3,
        "b.example": 2,
        "c.example": 1,
    }
    assert all(shown[host].turn.group == ADDRESS and shown[host].turn.wait > 55 for host in in_group)
    assert shown[alone].turn.group == ""


async def test_a_host_in_trouble_is_shown(world: World, grouped: Crawl) -> None:
    await grouped.add(*pages(3), *hosts(3))
    by_host = {lease.host: lease for lease in (await grouped.claim(pace=SLOW)).leases}
    failure = Retry(failed(), 0.0)
    await grouped.end(by_host["a.example"], failure, pace=SLOW, asked_at=world.now(), health="busy", host_delay=2.5)
    (shown,) = [view for view in await grouped.frontier.hosts.hosts(grouped.job) if view.host == "a.example"]
    assert shown.pending == 3
    assert (shown.turn.backoff, shown.turn.failures, shown.turn.delay, shown.turn.inflight) == (1, 0, 2.5, 0)
    assert 55 < shown.turn.rest <= 75
    assert len(await grouped.frontier.hosts.hosts(grouped.job, 2)) == 2


# --- a host that a page has to itself, to ask it for robots.txt


async def test_the_others_of_the_group_go_on(grouped: Crawl) -> None:
    await place(grouped, hosts(2))
    await grouped.add(*pages(3, "h0.example"))
    lease = await grouped.lease()
    assert await grouped.frontier.asking.take_host("w1", lease)
    await grouped.add(*pages(3, "h1.example"))
    assert await grouped.urls(pace=TWO_AT_ONCE) == pages(1, "h1.example")
    assert await grouped.urls(pace=TWO_AT_ONCE) == [], "its address has as many as it may"
    await grouped.end(lease)
    assert len(await grouped.urls(pace=TWO_AT_ONCE)) == 1


async def test_they_go_on_while_the_address_itself_is_asked(grouped: Crawl) -> None:
    """The ledger of that host is the group's, its robots.txt is not."""
    await place(grouped, hosts(1))
    await grouped.add(*pages(2, ADDRESS))
    asker, other = (await grouped.claim(pace=TWO_AT_ONCE)).leases
    assert await grouped.frontier.asking.take_host("w1", asker)
    await grouped.add(*pages(2, "h0.example"))
    assert await grouped.urls(pace=TWO_AT_ONCE) == [], "it waits in line"
    await grouped.end(other)
    assert await grouped.urls(pace=TWO_AT_ONCE) == pages(1, "h0.example")


@pytest.mark.parametrize("first", [0, 1])
async def test_a_host_from_the_line_waits_for_its_own_asker(grouped: Crawl, first: int) -> None:
    """Its group has room, but the host has none: it leaves the line and comes back when that lease ends."""
    await place(grouped, hosts(2))
    await grouped.add(*pages(4, "h0.example"), *pages(4, "h1.example"))
    leases = (await grouped.claim(pace=TWO_AT_ONCE)).leases
    assert len(leases) == 2
    assert (await grouped.claim(pace=TWO_AT_ONCE)).leases == (), "both hosts wait for their address"
    assert await grouped.frontier.asking.take_host("w1", leases[first])
    await grouped.finish([leases[1 - first]])
    host = leases[first].host
    while others := (await grouped.claim(pace=TWO_AT_ONCE)).leases:
        assert host not in {lease.host for lease in others}
        await grouped.finish(others)
    await grouped.finish([leases[first]])
    while others := (await grouped.claim(pace=TWO_AT_ONCE)).leases:
        await grouped.finish(others)
    assert await grouped.counts() == (0, 0, 8, 0)
