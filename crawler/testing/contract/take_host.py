"""A page has its host to itself while it asks for robots.txt, and exactly as long as its lease lasts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from crawler.interfaces import Pace
from crawler.model import Dead, Done, Job, Lease, Outcome, Release, Retry, Skip
from crawler.testing.contract.world import Crawl, World, failed, hosts, pages


async def asking(crawl: Crawl, count: int = 3) -> Lease:
    """The first of `count` pages of a.example has its host, as worker w1; the others are pending."""
    await crawl.add(*pages(count))
    lease = await crawl.lease()
    assert await crawl.frontier.asking.take_host("w1", lease)
    return lease


# --- who has it


async def test_one_of_many_gets_the_host(world: World, crawl: Crawl) -> None:
    clients = [await world.client() for _ in range(5)]
    await crawl.add(*pages(5))
    leases = [await crawl.lease(worker=f"w{n}") for n in range(5)]
    taken = (client.asking.take_host(f"w{n}", leases[n]) for n, client in enumerate(clients))
    assert sum(await asyncio.gather(*taken)) == 1


async def test_the_same_lease_is_told_the_same_again_and_no_other_one_is(crawl: Crawl) -> None:
    """So a lost reply costs nothing: a repeated call of the same lease gets the host."""
    await crawl.add(*pages(2))
    first, second = (await crawl.claim()).leases
    answers = [await crawl.frontier.asking.take_host("w1", lease) for lease in (first, first, second, first, second)]
    assert answers == [True, True, False, True, False]


async def test_hosts_are_taken_one_by_one(crawl: Crawl) -> None:
    await crawl.add(*hosts(20))
    leases = (await crawl.claim()).leases
    assert all([await crawl.frontier.asking.take_host("w1", lease) for lease in leases])


async def test_a_lease_that_has_ended_gets_nothing(crawl: Crawl) -> None:
    await crawl.add(*pages(2))
    late = await crawl.lease()
    await crawl.frontier.leases.reap("w1")
    assert not await crawl.frontier.asking.take_host("w1", late)
    assert len(await crawl.urls(worker="w2")) == 2, "nobody has the host"


async def test_nor_does_another_workers(crawl: Crawl) -> None:
    await crawl.add(*pages(1))
    assert not await crawl.frontier.asking.take_host("w2", await crawl.lease(worker="w1"))


# --- what the others wait for


async def test_meanwhile_nothing_of_the_host_is_handed_out_and_other_hosts_are(crawl: Crawl) -> None:
    await asking(crawl)
    await crawl.add(*hosts(20))
    claim = await crawl.claim(worker="w2")
    assert sorted(lease.request.url for lease in claim.leases) == sorted(hosts(20))
    claim = await crawl.claim(worker="w2")
    assert (claim.leases, claim.idle) == ((), "cooling")
    assert claim.wait is not None, "something is pending"


async def test_nor_in_another_job(world: World, crawl: Crawl) -> None:
    other = await Crawl.create(world, Job("other"))
    await other.add(*pages(1))
    lease = await asking(crawl)
    assert await other.urls(worker="w2") == []
    await crawl.end(lease)
    assert await other.urls(worker="w2") == pages(1)


async def test_what_comes_meanwhile_waits_with_them(crawl: Crawl) -> None:
    lease = await asking(crawl, 1)
    await crawl.add(*pages(3))
    assert await crawl.urls() == []
    await crawl.end(lease)
    assert len(await crawl.urls()) == 2


Ending = Callable[[Crawl, Lease], Awaitable[object]]


def ending(outcome: Outcome) -> Ending:
    return lambda crawl, lease: crawl.end(lease, outcome)


async def expire(crawl: Crawl, lease: Lease) -> None:
    await crawl.world.expire("w1", ["w2"])
    assert len(await crawl.frontier.leases.reap()) == 1


ENDINGS: dict[str, Ending] = {
    "done": ending(Done()),
    "skip": ending(Skip("robots")),
    "retry": ending(Retry(failed(), 0.0)),
    "retry-later": ending(Retry(failed(), 60.0)),
    "release": ending(Release("robots")),
    "dead": ending(Dead(failed())),
    "bury": lambda crawl, lease: crawl.frontier.queue.bury("w1", crawl.job, lease.message, failed()),
    "set-aside": lambda crawl, lease: crawl.frontier.queue.set_aside("w1", crawl.job, lease.message, 60.0),
    "reap": lambda crawl, lease: crawl.frontier.leases.reap("w1"),
    "reap-and-blame": lambda crawl, lease: crawl.frontier.leases.reap("w1", blame=(lease, Retry(failed(), 0.0))),
    "expire": expire,
}


@pytest.mark.parametrize("end", ENDINGS.values(), ids=ENDINGS)
async def test_whatever_ends_the_lease_frees_the_host(crawl: Crawl, end: Ending) -> None:
    lease = await asking(crawl)
    assert await crawl.urls(worker="w2") == [], "they wait to be woken"
    await end(crawl, lease)
    (view,) = await crawl.frontier.hosts.hosts(crawl.job)
    assert (view.turn.asking, (await crawl.frontier.reading.stats(crawl.job)).asking) == ("", 0)
    assert {*pages(3)[1:]} <= {*await crawl.urls(worker="w2")}
    assert not await crawl.frontier.asking.take_host("w1", lease)


async def test_deleting_its_job_frees_the_host_for_the_others(world: World, crawl: Crawl) -> None:
    other = await Crawl.create(world, Job("other"))
    await other.add(*pages(2))
    lease = await asking(crawl)
    assert await other.urls() == []
    await crawl.frontier.jobs.delete("news")
    assert len(await other.urls()) == 2
    assert not await crawl.end(lease)


async def test_the_end_of_another_lease_does_not(crawl: Crawl) -> None:
    await crawl.add(*pages(4))
    first, second = (await crawl.claim(2)).leases
    assert await crawl.frontier.asking.take_host("w1", first)
    assert await crawl.end(second, Release("robots"), unasked=True)
    assert await crawl.urls() == []
    assert await crawl.end(first, Release("robots"))
    assert len(await crawl.urls()) == 4


async def test_its_next_delivery_is_another_lease(crawl: Crawl) -> None:
    lease = await asking(crawl, 1)
    await crawl.end(lease, Release("robots"))
    again = await crawl.lease()
    assert not await crawl.frontier.asking.take_host("w1", lease)
    assert await crawl.frontier.asking.take_host("w1", again)


async def test_a_host_that_is_asked_by_turns_keeps_its_pace(world: World, crawl: Crawl) -> None:
    """robots.txt was a request: the first page waits for the delay, and so does the next one."""
    lease = await asking(crawl)
    assert await crawl.urls(worker="w2") == []
    pace = Pace(delay=30.0)
    await crawl.end(lease, Release("robots"), asked_at=world.now(), pace=pace)
    claim = await crawl.claim(pace=pace)
    assert claim.leases == ()
    assert 29 < (claim.wait or 0) <= 30


async def test_two_origins_of_one_host_ask_one_after_the_other(crawl: Crawl) -> None:
    await crawl.add("http://a.example/", "https://a.example/", "http://a.example:8080/")
    leases = list((await crawl.claim()).leases)
    for turn in range(3):
        taken = [await crawl.frontier.asking.take_host("w1", lease) for lease in leases]
        assert taken == [True] + [False] * (2 - turn)
        await crawl.end(leases.pop(0))


# --- what is seen of it


async def test_it_is_seen_who_asks(crawl: Crawl) -> None:
    await asking(crawl)
    await crawl.add(*pages(1, "b.example"))
    views = {view.host: view for view in await crawl.frontier.hosts.hosts(crawl.job)}
    assert {host: view.turn.asking for host, view in views.items()} == {"a.example": "w1", "b.example": ""}
    assert views["a.example"].pending == 2
    assert (await crawl.frontier.traces.trace(crawl.job, pages(3)[1])).turn.asking == "w1"
    assert (await crawl.frontier.reading.stats(crawl.job)).asking == 1
