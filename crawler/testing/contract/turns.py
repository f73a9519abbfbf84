"""Turns that no claim can book, because the host and its group lie in different parts of the store."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from crawler.interfaces import Pace
from crawler.model import Done, Job, Lease, Release, Skip, Visit
from crawler.testing.contract.groups import ADDRESS, place
from crawler.testing.contract.rules import order
from crawler.testing.contract.world import Crawl, World, hosts, pages

QUICK = Pace(delay=0.02)
NOT_SO_QUICK = Pace(delay=0.05)  # who comes a delay too late for its turn has to wait for the next one
SLOW = Pace(delay=60.0)
ONE_AT_ONCE, TWO_AT_ONCE = Pace(delay=0.0), Pace(delay=0.0, concurrency=2)
NAMES = 12
ANSWER = 0.003  # seconds that a host takes for its answer
POLL_SECONDS = 0.1  # between two claims at most


class Visits:
    """What workers do with the requests of one address: none is made before it has its turn."""

    def __init__(self, crawl: Crawl, pace: Pace) -> None:
        self.crawl = crawl
        self.pace = pace
        self.under_way: list[tuple[str, Lease]] = []
        self.asked: list[tuple[float, str]] = []  # when, which host
        self.refusals: list[str] = []  # hosts
        self.claims = 0

    async def begin(self, worker: str = "w1") -> float:
        """Claim once, and release what has no turn. Returns the seconds until the next claim."""
        claim = await self.crawl.claim(worker=worker, pace=self.pace)
        self.claims += 1
        for lease in claim.leases:
            wait = await self.crawl.frontier.ledger.take_turn(worker, lease, ADDRESS, self.pace)
            if wait:
                self.refusals.append(lease.host)
                early = Release("turn", turn=wait)
                assert await self.crawl.end(lease, early, worker=worker, pace=self.pace, unasked=True)
            else:
                self.under_way.append((worker, lease))
        return min(claim.wait or 0.0, POLL_SECONDS)

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


def lying_away(world: World) -> list[str]:
    """URLs of names that lie in other shards than the home of their address, if there is more than one."""
    home = world.shard_of(ADDRESS)
    return [url for url in hosts(NAMES) if world.shards == 1 or world.shard_of(url.split("/")[2]) != home]


@pytest.fixture
async def away(world: World) -> Crawl:
    """A job with a page on each of these."""
    crawl = await Crawl.create(world)
    await crawl.add(*lying_away(world))
    await place(crawl, lying_away(world))
    return crawl


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
    assert len(visits.refusals) <= 5 * len(times) * (world.shards > 1)
    assert visits.claims <= 6 * len(times)


async def test_all_of_them_come_to_their_turns(world: World, shared: Crawl) -> None:
    """No shard, and no host in it, waits for ever, though all have more pages than they may ask for."""
    await shared.add(*(f"{url}{number}" for url in hosts(NAMES) for number in range(20)))
    visits = Visits(shared, NOT_SO_QUICK)
    often: Counter[str] = Counter()
    while len(often) < NAMES:
        wait = await visits.begin()
        await world.pass_time(ANSWER if visits.under_way else wait)
        await visits.end()
        often = Counter(host for _, host in visits.asked)
        assert often.total() <= 5 * NAMES, often  # a slow machine comes too late for some turns, which others then take


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


async def test_a_turn_that_is_taken_twice_is_one_turn(world: World, away: Crawl) -> None:
    """The reply to the first call was lost."""
    visits = Visits(away, TWO_AT_ONCE)
    await visits.begin()
    for worker, lease in visits.under_way:
        for _ in range(2):
            assert await away.frontier.ledger.take_turn(worker, lease, ADDRESS, TWO_AT_ONCE) == 0.0
    await visits.end()
    for _ in range(5):
        await world.pass_time(await visits.begin())
    assert len(visits.under_way) == 2, "none of them is left behind"


@pytest.mark.parametrize("is_known_dead", [True, False])
async def test_the_turn_of_a_dead_worker_is_free_again(world: World, away: Crawl, is_known_dead: bool) -> None:
    """Until somebody reaps it, nobody else has it."""
    visits = Visits(away, ONE_AT_ONCE)
    await visits.until_one("w1")
    visits.under_way.clear()
    for _ in range(3):
        await world.pass_time(await visits.begin("w2"))
    assert visits.under_way == []
    if not is_known_dead:
        await world.expire("w1", ["w2"])
    assert await away.frontier.leases.reap("w1" if is_known_dead else None)
    await visits.until_one("w2")


async def test_a_worker_that_takes_a_turn_is_alive(away: Crawl) -> None:
    """Also in the shard that has the turns."""
    await Visits(away, ONE_AT_ONCE).until_one()
    assert await away.frontier.leases.reap() == []


async def test_where_a_group_has_no_room_a_shard_asks_again_after_a_tenth_of_a_second(away: Crawl) -> None:
    first, *others = (await away.claim(pace=ONE_AT_ONCE)).leases
    assert await away.frontier.ledger.take_turn("w1", first, ADDRESS, ONE_AT_ONCE) == 0.0
    waits = [await away.frontier.ledger.take_turn("w1", other, ADDRESS, ONE_AT_ONCE) for other in others]
    assert set(waits) <= {0.1}, "with one shard the claim has kept the others back"
    assert bool(waits) == (away.world.shards > 1)


async def test_the_delay_begins_when_the_host_was_asked(world: World, away: Crawl) -> None:
    """Not when the turn was taken: the worker may have needed a while. Nor when the page was committed."""
    pace = Pace(delay=30.0)
    first, *others = (await away.claim(pace=pace)).leases
    assert await away.frontier.ledger.take_turn("w1", first, ADDRESS, pace) == 0.0
    await world.pass_time(1.0)
    asked = world.now()
    await world.pass_time(0.5)
    assert await away.end(first, pace=pace, asked_at=asked)
    wait = (await away.claim(pace=pace)).wait or 0.0
    if world.shards > 1:
        wait = await away.frontier.ledger.take_turn("w1", others[0], ADDRESS, pace)
    assert 28.5 < wait <= 29.5


async def test_a_name_whose_address_nobody_else_wants_is_refused_no_turn(world: World, away: Crawl) -> None:
    """Its shard knows from each commit when the address has its next turn."""
    name = lying_away(world)[0]
    await away.frontier.jobs.delete("news")
    alone = Crawl(world, away.frontier, await away.frontier.jobs.create(Job("alone")))
    await alone.add(*(f"{name}{number}" for number in range(8)))
    visits = Visits(alone, Pace(delay=0.02, jitter=1.0))
    while not await alone.finished():
        wait = await visits.begin()
        await world.pass_time(0.0 if visits.under_way else wait)
        await visits.end()
    assert visits.refusals == []


async def test_a_page_that_was_refused_comes_before_the_others_of_its_shard(world: World, away: Crawl) -> None:
    shards = [world.shard_of(url.split("/")[2]) for url in lying_away(world)]
    visits = Visits(away, ONE_AT_ONCE)
    await visits.until_one()
    await visits.begin()
    refused = {host: world.shard_of(host) for host in visits.refusals}
    assert max(shards.count(shard) for shard in refused.values()) > 1 if world.shards > 1 else not refused
    while refused:
        await visits.end()
        await visits.until_one()
        ((_, lease),) = visits.under_way
        shard = world.shard_of(lease.host)
        assert lease.host in refused or shard not in refused.values()
        refused.pop(lease.host, None)


async def test_without_room_nobody_asks_for_a_turn_again_and_again(world: World, away: Crawl) -> None:
    visits = Visits(away, ONE_AT_ONCE)
    await visits.until_one()
    before, began = len(visits.refusals), world.now()
    for _ in range(30):
        await visits.begin()
        await world.pass_time(0.01)
    tenths = 1 + int((world.now() - began) / 0.1)  # of a second, in each of which a shard asks once at most
    assert len(visits.refusals) - before <= tenths * (world.shards - 1)


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


async def test_a_raised_rate_of_a_host_lets_its_address_go_on_earlier_wherever_its_home_is(
    world: World, shared: Crawl
) -> None:
    visits = Visits(shared, SLOW)
    await visits.until_one()
    await visits.end()
    for _ in range(4):
        await visits.begin()
    assert visits.under_way == []
    await order(shared, f"rate {lying_away(world)[0]} 20/s")
    for _ in range(10):
        await world.pass_time(0.05)
        await visits.begin()
    assert len(visits.under_way) == 1


async def test_a_cap_of_a_host_is_its_address_s_until_it_is_lifted(world: World, shared: Crawl) -> None:
    host = lying_away(world)[0].split("/")[2]
    await shared.add(*pages(4, host))
    visits = Visits(shared, ONE_AT_ONCE)
    await order(shared, "concurrency elsewhere.example 9")  # so that there are rules in the end, too
    await order(shared, f"concurrency {host} 3")
    for _ in range(12):
        await world.pass_time(await visits.begin())
    assert len(visits.under_way) == 3
    await order(shared, f"concurrency {host} off")
    await visits.end()
    for _ in range(4):
        await world.pass_time(await visits.begin())
    assert len(visits.under_way) == 1


async def test_the_worker_that_was_refused_a_turn_hands_the_page_back_unharmed(world: World, shared: Crawl) -> None:
    visits = Visits(shared, SLOW)
    for _ in range(2 * NAMES):
        await visits.begin()
    assert len(visits.under_way) == 1
    assert await shared.counts() == (NAMES - 1, 1, 0, 0)
    assert len(visits.refusals) <= world.shards, "each shard has asked once, and no claim asks again before its time"
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
