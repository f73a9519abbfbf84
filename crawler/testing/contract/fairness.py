"""Which host is asked next: the one that was asked a moment ago, but nobody starves."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from crawler.frontier.rules import LOOKS_A_REQUEST, OLDEST_SHARE
from crawler.interfaces import Pace
from crawler.model import Job, Lease, Release, Request
from crawler.testing.contract.groups import place
from crawler.testing.contract.world import Crawl, hosts

ONE_AT_ONCE = Pace(delay=0.0)


class Endless:
    """Workers in turn with one slot each, and hosts of which every page has a link to another one."""

    def __init__(self, crawl: Crawl) -> None:
        self.crawl = crawl
        self.asked: list[str] = []  # hosts

    async def visit(self, times: int = 1) -> list[str]:
        """Visit so many pages; return the hosts that were asked."""
        for _ in range(times):
            worker = f"w{len(self.asked) % 3}"
            await self.end(await self.crawl.lease(worker=worker, pace=ONE_AT_ONCE), worker)
        return self.asked[-times:]

    async def end(self, lease: Lease, worker: str) -> None:
        """The host has been asked just now."""
        self.asked.append(lease.host)
        link = Request(f"http://{lease.host}/{len(self.asked)}", depth=1)
        now = self.crawl.world.now()
        assert await self.crawl.end(lease, worker=worker, pace=ONE_AT_ONCE, links=(link,), asked_at=now)
        await self.crawl.world.pass_time(0.0)  # so that no two hosts have the same turn

    def longest_waits(self) -> Counter[str]:
        """Host → requests to the others in its shard, at most, before it was asked."""
        waits: Counter[str] = Counter()
        for host in set(self.asked):
            shard = self.crawl.world.shard_of(host)
            beside = [one for one in self.asked if self.crawl.world.shard_of(one) == shard]
            turns = [-1, *(at for at, one in enumerate(beside) if one == host), len(beside)]
            waits[host] = max(after - before for before, after in pairwise(turns))
        return waits


@pytest.fixture
async def endless(crawl: Crawl) -> Endless:
    """Of a new job."""
    return Endless(crawl)


@pytest.fixture
async def active(endless: Endless) -> Endless:
    """The same; its only host has been asked once."""
    if endless.crawl.world.shards > 1:
        pytest.skip("the hosts lie in several shards")
    await endless.crawl.add("http://active.example/")
    await endless.visit()
    return endless


@pytest.fixture
async def waiting(active: Endless) -> Endless:
    """The same with three other hosts, which have waited since then."""
    await active.crawl.add(*hosts(3))
    return active


async def test_a_host_that_was_asked_a_moment_ago_is_asked_again_before_the_others(waiting: Endless) -> None:
    assert await waiting.visit(OLDEST_SHARE - 2) == ["active.example"] * (OLDEST_SHARE - 2)


async def test_of_the_active_hosts_the_one_that_was_asked_last_comes_first(waiting: Endless) -> None:
    await waiting.visit(OLDEST_SHARE - 1)
    assert waiting.asked[-1] == "h0.example"
    assert await waiting.visit(2) == ["h0.example"] * 2


async def test_of_so_many_requests_one_goes_to_the_host_that_has_waited_longest(waiting: Endless) -> None:
    asked = await waiting.visit(3 * OLDEST_SHARE)
    opened = [at for at, host in enumerate(asked, 2) if host not in waiting.asked[: at - 1]]
    assert opened == [OLDEST_SHARE, 2 * OLDEST_SHARE, 3 * OLDEST_SHARE]


@pytest.mark.parametrize(
    ("paused", "asked"), [(LOOKS_A_REQUEST - 1, "other.example"), (LOOKS_A_REQUEST, "active.example")]
)
async def test_that_request_is_sought_at_so_many_hosts(active: Endless, paused: int, asked: str) -> None:
    """Where nobody who has waited may be asked, the claim goes on with the active hosts."""
    await active.crawl.add(*(Request(url, spider="paused") for url in hosts(paused)), "http://other.example/")
    await active.crawl.frontier.pauses.pause(active.crawl.job, "spider", "paused", "a person said so")
    assert await active.visit(OLDEST_SHARE - 1) == ["active.example"] * (OLDEST_SHARE - 2) + [asked]


@pytest.mark.parametrize("paused", [0, LOOKS_A_REQUEST])
async def test_a_claim_of_many_opens_one_of_so_many_as_well(active: Endless, paused: int) -> None:
    await active.crawl.add(*(Request(f"http://a{n}.example/", spider="paused") for n in range(paused)), *hosts(3))
    await active.crawl.frontier.pauses.pause(active.crawl.job, "spider", "paused", "a person said so")
    await active.crawl.add(*[f"http://active.example/more/{n}" for n in range(3 * OLDEST_SHARE)])
    claim = await active.crawl.claim(2 * OLDEST_SHARE, pace=Pace(delay=0.0, concurrency=3 * OLDEST_SHARE))
    assert [Counter(lease.host for lease in claim.leases)[f"h{n}.example"] for n in range(3)] == [1, 1, 0]


async def test_requests_of_another_job_in_the_same_claim_do_not_count(waiting: Endless) -> None:
    frontier, others = waiting.crawl.frontier, OLDEST_SHARE // 2
    other = await frontier.jobs.create(Job("other"))
    await frontier.adding.add(other, [Request(f"http://o{n}.example/") for n in range(others)])
    claim = await frontier.queue.claim("w1", others + 1, [other, waiting.crawl.job], ONE_AT_ONCE)
    assert [lease.host for lease in claim.leases][others:] == ["active.example"]


async def test_slots_that_no_active_host_can_fill_open_others(waiting: Endless) -> None:
    claim = await waiting.crawl.claim(3, pace=ONE_AT_ONCE)
    assert [lease.host for lease in claim.leases] == ["active.example", "h0.example", "h1.example"]


async def test_a_new_host_waits_behind_those_that_have_waited_longer(waiting: Endless) -> None:
    await waiting.crawl.add("http://new.example/")
    claim = await waiting.crawl.claim(5, pace=ONE_AT_ONCE)
    assert [lease.host for lease in claim.leases] == [
        "active.example",
        *("h0.example", "h1.example", "h2.example"),
        "new.example",
    ]


async def test_a_host_that_hands_its_page_back_unasked_comes_next(waiting: Endless) -> None:
    """The first claim of a host only looks up its address: the next one is not at the end of a long line."""
    crawl = waiting.crawl
    first, new = (await crawl.claim(2, pace=ONE_AT_ONCE)).leases
    assert [first.host, new.host] == ["active.example", "h0.example"]
    assert await crawl.end(new, Release("no address"), pace=ONE_AT_ONCE, unasked=True)
    assert (await crawl.lease(pace=ONE_AT_ONCE)).host == "h0.example"


async def test_a_turn_that_was_not_used_is_not_one_of_so_many(waiting: Endless) -> None:
    await waiting.visit(OLDEST_SHARE - 2)
    for _ in range(2):
        new = await waiting.crawl.lease(pace=ONE_AT_ONCE)
        assert new.host == "h0.example"
        assert await waiting.crawl.end(new, Release("no address"), pace=ONE_AT_ONCE, unasked=True)


async def test_nobody_starves(endless: Endless) -> None:
    """Of H hosts that could all be asked all the time, none waits for more than OLDEST_SHARE · H requests to others."""
    count = 8
    await endless.crawl.add(*hosts(count))
    await endless.visit(2 * OLDEST_SHARE * count)
    together = Counter(endless.crawl.world.shard_of(url.split("/")[2]) for url in hosts(count))
    waits = endless.longest_waits()
    assert len(waits) == count
    for host, longest in waits.items():
        assert longest <= OLDEST_SHARE * together[endless.crawl.world.shard_of(host)], waits


async def test_nor_does_a_host_beside_addresses_of_many_hosts(waiting: Endless) -> None:
    """A group with a line is due all the time; the host without one must not wait until all lines are empty."""
    names = [f"http://g{n}.example/" for n in range(6)]
    await waiting.crawl.add(*names)
    for at, address in enumerate(("127.0.0.8", "127.0.0.9")):
        await place(waiting.crawl, names[at::2], address)
    entries = 1 + 3 + len(names) + 2  # hosts and groups
    asked = await waiting.visit(OLDEST_SHARE * entries)
    assert set(asked) == {"active.example", *(f"h{n}.example" for n in range(3)), *(f"g{n}.example" for n in range(6))}
