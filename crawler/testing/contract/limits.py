"""The limits of a job: pages exactly, over all workers and shards; the others with what is in flight when they are
reached."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest

from crawler.interfaces import Backend
from crawler.model import Dead, Done, Failure, Job, Lease, Limits, Outcome, Release, Retry, Skip
from crawler.testing.contract.world import AT_ONCE, Crawl, World, failed, hosts, pages

RAISED = Failure("callback", "KeyError: 'price'", error="KeyError", line="shop.py:42")


async def limited(crawl: Crawl, **limits: float) -> None:
    """Set the job's limits."""
    await crawl.frontier.closing.limit(crawl.job, Limits(**limits))  # type: ignore[arg-type]


async def state(crawl: Crawl) -> tuple[str, bool]:
    """Why the job is closed, and whether it is finished."""
    stats = await crawl.frontier.reading.stats(crawl.job)
    return stats.closed, stats.finished


async def claimed(crawl: Crawl, limit: int = 100, *, worker: str = "w1", client: Backend | None = None) -> list[Lease]:
    """Claim as a worker does: until a claim gives nothing."""
    leases: list[Lease] = []
    while len(leases) < limit:
        claim = await (client or crawl.frontier).queue.claim(worker, limit - len(leases), [crawl.job], AT_ONCE)
        leases += claim.leases
        if not claim.leases:
            break
    return leases


async def crawled(crawl: Crawl) -> int:
    """Visit until nothing more is handed out; return the number of visits."""
    visits = 0
    while leases := await claimed(crawl):
        for lease in leases:
            visits += 1
            assert await crawl.end(lease)
    return visits


async def test_without_limits_a_job_is_read_to_its_end(crawl: Crawl) -> None:
    await limited(crawl)
    await crawl.add(*hosts(20))
    assert await crawled(crawl) == 20
    assert await state(crawl) == ("", True)


@pytest.mark.parametrize("pages", [1, 2, 10, 19])
async def test_pages_are_read_exactly(crawl: Crawl, pages: int) -> None:
    await limited(crawl, pages=pages)
    await crawl.add(*hosts(20))
    assert await crawled(crawl) == pages
    assert await state(crawl) == ("closespider_pagecount", True)
    assert await crawl.counts() == (20 - pages, 0, pages, 0)
    assert (await crawl.frontier.reading.stats(crawl.job)).limits == Limits(pages=pages)


async def test_the_last_page_may_be_anywhere(crawl: Crawl) -> None:
    """Claimed one by one, each in its turn."""
    await limited(crawl, pages=19)
    await crawl.add(*hosts(20))
    for _ in range(19):
        (lease,) = await claimed(crawl, 1)
        await crawl.end(lease)
    assert await claimed(crawl, 1) == []
    assert await state(crawl) == ("closespider_pagecount", True)


async def test_a_job_with_as_few_pages_is_simply_finished(crawl: Crawl) -> None:
    await limited(crawl, pages=21)
    await crawl.add(*hosts(20))
    assert await crawled(crawl) == 20
    assert await state(crawl) == ("", True)


async def test_no_more_are_in_flight_than_are_allowed(world: World, crawl: Crawl) -> None:
    await limited(crawl, pages=6)
    await crawl.add(*hosts(40))
    held = {name: await claimed(crawl, 4, worker=name, client=await world.client()) for name in ("a", "b", "c")}
    assert sum(map(len, held.values())) == 6
    assert await state(crawl) == ("", False)
    for worker, leases in held.items():
        for lease in leases:
            assert await crawl.end(lease, worker=worker)
    assert await claimed(crawl) == []
    assert await state(crawl) == ("closespider_pagecount", True)


async def test_a_claim_says_that_what_is_in_flight_may_be_all(world: World, crawl: Crawl) -> None:
    """A process that has not heard of the limit asks once more at once; then it waits for an end, for a second."""
    await limited(crawl, pages=2)
    await crawl.add(*hosts(5))
    assert len(await claimed(crawl)) == 2
    other = Crawl(world, crawl.frontier, await crawl.frontier.jobs.create(Job("other")))
    await other.add(*hosts(30)[20:])
    client = await world.client()
    for leases, wait in ((10, 0.0), (0, 1.0)):
        claim = await client.queue.claim("w2", 100, [crawl.job, other.job], AT_ONCE)
        assert (len(claim.leases), claim.idle, claim.wait) == (leases, "limit", wait)


@pytest.mark.parametrize(
    "outcome",
    [Skip("robots"), Skip("redirect"), Release("drain"), Retry(failed("timeout"), 0.0), Dead(RAISED)],
    ids=["robots", "redirect", "release", "retry", "dead"],
)
async def test_what_is_no_page_makes_room_for_others(world: World, crawl: Crawl, outcome: Outcome) -> None:
    """A claim waits for what is in flight, and goes on when that ends otherwise: in any shard, by any worker."""
    await limited(crawl, pages=5)
    await crawl.add(*hosts(40))
    other = await world.client()
    leases = await claimed(crawl)
    assert len(leases) == 5
    assert await claimed(crawl, worker="w2", client=other) == []
    for lease in leases[:3]:
        assert await crawl.end(lease, outcome)
    more = await claimed(crawl, worker="w2", client=other)
    assert len(more) == 3
    for lease in leases[3:]:
        assert await crawl.end(lease)
    for lease in more:
        assert await crawl.end(lease, worker="w2")
    assert await claimed(crawl) == []
    assert (await state(crawl))[0] == "closespider_pagecount"
    assert await crawl.counter("pages") == 5


async def test_requests_of_dead_workers_count_once(world: World, crawl: Crawl) -> None:
    await limited(crawl, pages=5)
    await crawl.add(*hosts(40))
    assert len(await claimed(crawl, worker="dead")) == 5
    assert await claimed(crawl) == []
    await world.expire("dead")
    await crawl.frontier.leases.reap()
    assert await crawled(crawl) == 5
    assert await state(crawl) == ("closespider_pagecount", True)


async def test_every_client_learns_that_the_limit_is_reached(world: World, crawl: Crawl) -> None:
    """Also one that has asked the budget before, and was not there when it was used up."""
    await limited(crawl, pages=6)
    await crawl.add(*hosts(40))
    other = await world.client()
    for lease in await claimed(crawl, 1, worker="w2", client=other):
        await crawl.end(lease, worker="w2")
    assert await crawled(crawl) == 5
    for client in (other, crawl.frontier, other):
        assert await claimed(crawl, worker="w2", client=client) == []
        assert await state(crawl) == ("closespider_pagecount", True)
    await limited(crawl, pages=8)
    assert len(await claimed(crawl, worker="w2", client=other)) == 2


async def test_a_limit_can_be_raised_and_the_job_goes_on(crawl: Crawl) -> None:
    await crawl.add(*hosts(40))
    read = 0
    for most in (5, 12, 13):
        await limited(crawl, pages=most)
        read += await crawled(crawl)
        assert read == most
        assert await state(crawl) == ("closespider_pagecount", True)
    await limited(crawl)
    assert read + await crawled(crawl) == 40
    assert await state(crawl) == ("", True)


async def test_the_same_limit_again_changes_nothing(crawl: Crawl) -> None:
    await crawl.add(*hosts(20))
    await limited(crawl, pages=5)
    await crawled(crawl)
    await limited(crawl, pages=5)
    assert await crawled(crawl) == 0
    assert await state(crawl) == ("closespider_pagecount", True)


async def test_a_raised_limit_does_not_undo_what_the_spider_said(crawl: Crawl) -> None:
    await crawl.add(*hosts(20))
    await limited(crawl, pages=5)
    await crawl.end((await claimed(crawl, 1))[0], close="enough")
    await limited(crawl, pages=50)
    assert await crawled(crawl) == 0
    assert await state(crawl) == ("enough", True)


async def test_a_limit_on_a_running_job_counts_what_was_read(world: World, crawl: Crawl) -> None:
    await crawl.add(*hosts(40))
    leases = await claimed(crawl, 10)
    for lease in leases[:7]:
        await crawl.end(lease)
    await limited(await another(world, crawl), pages=15)
    more = await claimed(crawl)
    assert len(more) == 5
    for lease in leases[7:] + more:
        await crawl.end(lease)
    assert await claimed(crawl) == []
    assert await crawl.counter("pages") == 15


async def test_a_limit_below_what_was_read_closes_at_once(crawl: Crawl) -> None:
    await crawl.add(*hosts(20))
    for lease in await claimed(crawl, 8):
        await crawl.end(lease)
    await limited(crawl, pages=3)
    assert await claimed(crawl) == []
    assert await state(crawl) == ("closespider_pagecount", True)


async def test_limits_that_come_and_go(crawl: Crawl) -> None:
    """What shards have borrowed is neither lost nor counted twice."""
    await crawl.add(*hosts(60))
    read = 0
    for most in (4, 0, 20, 0, 30, 31):
        await limited(crawl, pages=most)
        if most:
            read += await crawled(crawl)
            assert read == most
        else:
            for lease in await claimed(crawl, 3):
                read += await crawl.end(lease)
    assert await state(crawl) == ("closespider_pagecount", True)


def _away_and_at_home(world: World) -> tuple[str, str]:
    """A host whose shard must borrow, and one in the shard that lends."""
    names = [f"h{number}.example" for number in range(100)]
    return tuple(  # type: ignore[return-value]
        next(name for name in names if world.shard_of(name) == shard) for shard in (world.shards - 1, 0)
    )


async def test_what_was_returned_is_not_used_as_well(world: World, crawl: Crawl) -> None:
    away, home = _away_and_at_home(world)
    await limited(crawl, pages=4)
    await crawl.add(*pages(4, away))
    for lease in await claimed(crawl, 3):
        await crawl.end(lease, Skip("robots"))
    assert len(await claimed(crawl, 1)) == 1
    await crawl.add(*(f"{url}/home" for url in pages(6, home)))
    assert len(await claimed(crawl)) == 3
    await crawl.add(*pages(7, away))
    assert await claimed(crawl) == []


async def test_what_ends_between_two_limits_makes_room(world: World, crawl: Crawl) -> None:
    away, home = _away_and_at_home(world)
    await limited(crawl, pages=8)
    await crawl.add(*pages(4, away))
    leases = await claimed(crawl)
    await limited(crawl)
    for lease in leases[:3]:
        await crawl.end(lease, Skip("robots"))
    await limited(crawl, pages=8)
    await crawl.add(*(f"{url}/home" for url in pages(20, home)))
    assert len(await claimed(crawl)) == 7


async def test_many_workers_and_random_ends(world: World, crawl: Crawl) -> None:
    """At no time are more read and in flight than the limit, and in the end exactly that many are read."""
    chance = random.Random(7)
    await limited(crawl, pages=30)
    await crawl.add(*hosts(120))
    clients = [await world.client() for _ in range(3)]
    held: list[tuple[int, Lease]] = []
    for _ in range(2_000):
        who = chance.randrange(3)
        mine = [one for one in held if one[0] == who]
        if chance.random() < 0.5 and mine:
            held.remove(mine[0])
            outcomes: list[Outcome] = [Done(), Done(), Skip("robots"), Release("drain")]
            outcome = chance.choice(outcomes)
            assert await crawl.end(mine[0][1], outcome, worker=f"w{who}")
        else:
            claim = await clients[who].queue.claim(f"w{who}", chance.randint(1, 8), [crawl.job], AT_ONCE)
            held += [(who, lease) for lease in claim.leases]
        stats = await crawl.frontier.reading.stats(crawl.job)
        assert stats.counters.get("pages", 0) + stats.processing <= 30
        if stats.finished:
            break
    assert await state(crawl) == ("closespider_pagecount", True)
    assert await crawl.counter("pages") == 30


async def test_items_close_a_job_at_the_next_claim(crawl: Crawl) -> None:
    """Pages in flight bring what they bring; nobody knows before how many items a page has."""
    await limited(crawl, items=10)
    await crawl.add(*hosts(40))
    leases = await claimed(crawl, 6)
    for lease in leases[:3]:
        await crawl.end(lease, items=(b"{}",) * 3)
    more = await claimed(crawl, 1)
    assert len(more) == 1
    await crawl.end(leases[3], items=(b"{}",))
    assert await claimed(crawl) == []
    assert await state(crawl) == ("closespider_itemcount", False)
    for lease in leases[4:] + more:
        await crawl.end(lease, items=(b"{}",) * 3)
    assert await state(crawl) == ("closespider_itemcount", True)
    assert await crawl.counter("items") == 19


async def test_exceptions_of_the_spider_close_a_job(crawl: Crawl) -> None:
    """What hosts answer does not count, as in Scrapy."""
    await limited(crawl, errors=3)
    await crawl.add(*hosts(40))
    for outcome in (Dead(RAISED), Dead(failed("http_404")), Retry(RAISED, 0.0), Done()):
        await crawl.end((await claimed(crawl, 1))[0], outcome)
    assert await state(crawl) == ("", False)
    await crawl.end((await claimed(crawl, 1))[0], Dead(RAISED))
    assert await claimed(crawl) == []
    assert await state(crawl) == ("closespider_errorcount", True)


async def test_time_closes_a_job(world: World, crawl: Crawl) -> None:
    await limited(crawl, seconds=0.4)
    await crawl.add(*hosts(40))
    leases = await claimed(crawl, 2)
    assert len(leases) == 2
    await world.pass_time(0.4)
    assert await claimed(crawl) == []
    assert await state(crawl) == ("closespider_timeout", False)
    for lease in leases:
        await crawl.end(lease)
    assert await state(crawl) == ("closespider_timeout", True)


async def test_the_same_time_again_does_not_open_it_but_another_does(world: World, crawl: Crawl) -> None:
    await limited(crawl, seconds=0.2)
    await crawl.add(*hosts(40))
    await world.pass_time(0.2)
    assert await claimed(crawl) == []
    await limited(crawl, seconds=0.2)
    assert await claimed(crawl) == []
    await limited(crawl, seconds=30.0)
    assert len(await claimed(crawl, 4)) == 4


async def test_pages_without_an_item_close_a_job(crawl: Crawl) -> None:
    await limited(crawl, pages_without_item=4)
    await crawl.add(*hosts(60))
    for items in [0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]:
        (lease,) = await claimed(crawl, 1)
        await crawl.end(lease, items=(b"{}",) * items)
    (lease,) = await claimed(crawl, 1)
    await crawl.end(lease)
    assert await claimed(crawl) == []
    assert await state(crawl) == ("closespider_pagecount_no_item", True)


@pytest.mark.parametrize("also", [{}, {"seconds_without_item": 1.0}])
async def test_a_page_with_an_item_is_not_one_without(crawl: Crawl, also: Mapping[str, float]) -> None:
    await limited(crawl, pages_without_item=1, **also)
    await crawl.add(*hosts(60))
    for _ in range(5):
        (lease,) = await claimed(crawl, 1)
        await crawl.end(lease, items=(b"{}",))
    (lease,) = await claimed(crawl, 1)
    await crawl.end(lease)
    assert await claimed(crawl) == []
    assert await state(crawl) == ("closespider_pagecount_no_item", True)


async def test_a_new_limit_of_pages_without_an_item_begins_anew(crawl: Crawl) -> None:
    await crawl.add(*hosts(60))
    for most in (2, 3):
        await limited(crawl, pages_without_item=most)
        read = 0
        while leases := await claimed(crawl, 1):
            read += await crawl.end(leases[0])
        assert read == most


async def test_time_without_an_item_closes_a_job(world: World, crawl: Crawl) -> None:
    await limited(crawl, seconds_without_item=0.5)
    await crawl.add(*hosts(60))
    for _ in range(3):
        (lease,) = await claimed(crawl, 1)
        await world.pass_time(0.3)
        await crawl.end(lease, items=(b"{}",))
    await claimed(crawl, 1)
    await world.pass_time(0.5)
    assert await claimed(crawl) == []
    assert await state(crawl) == ("closespider_timeout_no_item", False)


async def another(world: World, crawl: Crawl) -> Crawl:
    """The same job, for another client."""
    return Crawl(world, await world.client(), crawl.job)
