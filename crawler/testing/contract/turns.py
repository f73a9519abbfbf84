"""Turns that no claim can book, because the host and its group lie in different parts of the store."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from crawler.interfaces import Pace
from crawler.model import Done, Lease, Release, Skip, Visit
from crawler.testing.contract.groups import ADDRESS, place
from crawler.testing.contract.world import Crawl, World, hosts

QUICK = Pace(delay=0.02)
NOT_SO_QUICK = Pace(delay=0.05)  # who comes a delay too late for its turn has to wait for the next one
SLOW = Pace(delay=60.0)
ONE_AT_ONCE, TWO_AT_ONCE = Pace(delay=0.0), Pace(delay=0.0, concurrency=2)
NAMES = 20
ANSWER = 0.003  # seconds that a host takes for its answer
LOOK = 0.1  # seconds between two claims at most


class Visits:
    """What workers do with the requests of one address: none is made before it has its turn."""

    def __init__(self, crawl: Crawl, pace: Pace) -> None:
        self.crawl = crawl
        self.pace = pace
        self.under_way: list[tuple[str, Lease]] = []
        self.asked: list[tuple[float, str]] = []  # when, which host
        self.claims = self.refused = 0

    async def begin(self, worker: str = "w1") -> float:
        """Claim once, and release what has no turn. Returns the seconds until the next claim."""
        claim = await self.crawl.claim(worker=worker, pace=self.pace)
        self.claims += 1
        for lease in claim.leases:
            wait = await self.crawl.frontier.ledger.take_turn(worker, lease, ADDRESS, self.pace)
            if wait:
                self.refused += 1
                early = Release("turn", turn=wait)
                assert await self.crawl.end(lease, early, worker=worker, pace=self.pace, unasked=True)
            else:
                self.under_way.append((worker, lease))
        return min(claim.wait or 0.0, LOOK)

    async def end(self) -> None:
        """The hosts have been asked just now."""
        for worker, lease in self.under_way:
            now = self.crawl.world.now()
            assert await self.crawl.end(lease, worker=worker, pace=self.pace, asked_at=now)
            self.asked.append((now, lease.host))
        self.under_way.clear()

    async def until_one(self, worker: str = "w1") -> tuple[str, Lease]:
        """Claim until the address is asked, and return who asks it."""
        while not self.under_way:
            wait = await self.begin(worker)
            await self.crawl.world.pass_time(0.0 if self.under_way else wait)
        (one,) = self.under_way
        return one


@pytest.fixture
async def shared(world: World) -> Crawl:
    """A job with a page on each of many names of one address, which lie in all shards."""
    crawl = await Crawl.create(world)
    await crawl.add(*hosts(NAMES))
    await place(crawl, hosts(NAMES))
    return crawl


async def test_the_names_of_an_address_share_its_delay_wherever_they_lie(world: World, shared: Crawl) -> None:
    """One request at a time, a delay apart; and nobody asks for its turn again and again."""
    await shared.add(*(f"{url}more" for url in hosts(NAMES)))
    visits = Visits(shared, QUICK)
    while not await shared.finished():
        wait = await visits.begin(f"w{visits.claims % 3}")
        assert len(visits.under_way) <= 1
        await world.pass_time(ANSWER if visits.under_way else wait)
        await visits.end()
    times = [when for when, _ in visits.asked]
    assert len(times) == 2 * NAMES
    assert min(later - earlier for earlier, later in pairwise(times)) >= 0.95 * QUICK.delay
    assert visits.refused <= (0 if world.shards == 1 else 3 * len(times))
    assert visits.claims <= 6 * len(times)


async def test_all_of_them_come_to_their_turns(world: World, shared: Crawl) -> None:
    """No shard, and no host in it, waits for ever, though all have more pages than they may ask for."""
    await shared.add(*(f"{url}{number}" for url in hosts(NAMES) for number in range(20)))
    visits = Visits(shared, NOT_SO_QUICK)
    while len(visits.asked) < 2 * NAMES:
        wait = await visits.begin()
        await world.pass_time(ANSWER if visits.under_way else wait)
        await visits.end()
    often = Counter(host for _, host in visits.asked)
    assert len(often) == NAMES, often


async def test_over_all_shards_no_more_than_the_cap_are_under_way(world: World, shared: Crawl) -> None:
    visits = Visits(shared, TWO_AT_ONCE)
    for _ in range(4):
        await world.pass_time(await visits.begin())
    assert len(visits.under_way) == 2
    while not await shared.finished():
        await visits.end()
        await world.pass_time(await visits.begin())
        assert len(visits.under_way) <= 2
    assert {host for _, host in visits.asked} == {url.split("/")[2] for url in hosts(NAMES)}


async def test_a_turn_that_is_taken_twice_is_one_turn(world: World, shared: Crawl) -> None:
    """The reply to the first call was lost."""
    visits = Visits(shared, TWO_AT_ONCE)
    await visits.begin()
    for worker, lease in visits.under_way:
        for _ in range(2):
            assert await shared.frontier.ledger.take_turn(worker, lease, ADDRESS, TWO_AT_ONCE) == 0.0
    await visits.end()
    for _ in range(5):
        await world.pass_time(await visits.begin())
    assert len(visits.under_way) == 2, "none of them is left behind"


@pytest.mark.parametrize("is_known_dead", [True, False])
async def test_the_turn_of_a_dead_worker_is_free_again(world: World, shared: Crawl, is_known_dead: bool) -> None:
    """It may have asked the host until it died, so that the delay begins then."""
    visits = Visits(shared, ONE_AT_ONCE)
    await visits.until_one("w1")
    visits.under_way.clear()
    for _ in range(3):
        await world.pass_time(await visits.begin("w2"))
    assert visits.under_way == []
    if not is_known_dead:
        await world.expire("w1", ["w2"])
    assert await shared.frontier.leases.reap("w1" if is_known_dead else None)
    await visits.until_one("w2")


async def test_a_turn_that_was_not_used_is_free_at_once(world: World, shared: Crawl) -> None:
    """A page that robots.txt forbids costs its address no turn, wherever the turn was booked."""
    leases = list((await shared.claim(pace=SLOW)).leases)
    assert len(leases) >= min(world.shards, 2)
    for _ in range(len(leases)):  # each time the first in line has its turn, and nobody waits for it
        for lease in list(leases):
            if await shared.frontier.ledger.take_turn("w1", lease, ADDRESS, SLOW) == 0.0:
                leases.remove(lease)
                assert await shared.end(lease, Skip("robots"), pace=SLOW, unasked=True)
    assert leases == []
    await world.check()


async def test_the_worker_that_was_refused_a_turn_hands_the_page_back_unharmed(world: World, shared: Crawl) -> None:
    visits = Visits(shared, SLOW)
    for _ in range(2 * NAMES):
        await visits.begin()
    assert len(visits.under_way) == 1
    assert await shared.counts() == (NAMES - 1, 1, 0, 0)
    assert visits.refused <= world.shards, "each shard has asked once, and no claim asks again before its time"
    await visits.end()
    assert (await shared.frontier.reading.stats(shared.job)).counters.get("retried", 0) == 0
    await world.check()


async def test_a_deleted_job_leaves_no_turn_behind(world: World, shared: Crawl) -> None:
    visits = Visits(shared, ONE_AT_ONCE)
    worker, lease = await visits.until_one()
    await shared.frontier.jobs.delete("news")
    assert await shared.frontier.queue.commit(worker, [(lease, Visit(Done()))], ONE_AT_ONCE) == [False]
    again = Crawl(world, shared.frontier, await shared.frontier.jobs.create(shared.job))
    await again.add(*hosts(NAMES))
    await Visits(again, ONE_AT_ONCE).until_one()
