"""Which hosts share their turns, and which requests were claimed before anybody knew."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest
from msgspec.structs import replace
from publicsuffixlist import PublicSuffixList

from crawler.frontier.memory.backend import open_memory
from crawler.frontier.redis.keys import shard_of
from crawler.interfaces import Pace
from crawler.model import Job, Lease, Release, Request, Visit
from crawler.visit.host_groups import GroupOf, HostGroups, alone, by_address, by_domain
from tests.memory import MemoryFrontier

PACE = Pace(delay=0.0)
EARLY = Release("address")
LATER = 1.0  # seconds; the ledger counts in milliseconds, and what its answer takes counts against the claim


class Addresses:
    """A resolver with the answers of the test."""

    def __init__(self, *answer: str) -> None:
        self.answer: Sequence[str] = answer
        self.asked: list[str] = []

    async def __call__(self, url: str) -> Sequence[str]:
        self.asked.append(url)
        return self.answer


@pytest.mark.parametrize(
    ("addresses", "group"),
    [
        ((), None),
        (("127.0.0.9",), "127.0.0.9"),
        (("127.0.0.10", "127.0.0.9"), "127.0.0.9"),
        (("::2", "127.0.0.9", "::1"), "127.0.0.9"),
        (("::2", "0:0:0:0:0:0:0:1"), "[::1]"),
    ],
)
async def test_the_group_of_a_name_is_its_lowest_address(addresses: tuple[str, ...], group: str | None) -> None:
    assert await by_address(Addresses(*addresses))("http://a.example/") == group


@pytest.mark.parametrize(
    ("host", "group"),
    [
        ("a.example", "*.a.example"),
        ("www.shop.a.example", "*.a.example"),
        ("b.a.co.uk", "*.a.co.uk"),
        ("co.uk", ""),
        ("mine.github.io", "*.mine.github.io"),
    ],
)
async def test_the_group_of_a_domain_is_what_somebody_registered(host: str, group: str) -> None:
    assert await by_domain(PublicSuffixList().privatesuffix)(f"http://{host}:8080/x") == group


class Queue:
    """A frontier with one page on each host, and one worker."""

    def __init__(self) -> None:
        self.frontier = MemoryFrontier()
        self.job = Job("news")

    async def open(self, *urls: str) -> Queue:
        self.job = await self.frontier.create_job(self.job)
        await self.frontier.add(self.job, [Request(url) for url in urls], seed=True)
        return self

    async def claim(self) -> Sequence[Lease]:
        return (await self.frontier.claim("w1", 10, [self.job], PACE)).leases

    def groups(self, group_of: GroupOf) -> HostGroups:
        return HostGroups(self.frontier, group_of, "w1", PACE)

    async def hand_back(self, lease: Lease) -> None:
        assert await self.frontier.commit("w1", [(lease, Visit(Release("address")))], PACE) == [True]


async def test_the_first_request_has_the_turn_of_a_free_group() -> None:
    queue, addresses = await Queue().open("http://a.example/"), Addresses("127.0.0.9")
    (lease,) = await queue.claim()
    assert await queue.groups(by_address(addresses)).too_early(lease) is None


async def test_a_first_request_without_a_turn_is_handed_back_once() -> None:
    queue, addresses = await Queue().open("http://a.example/", "http://b.example/"), Addresses("127.0.0.9")
    groups = queue.groups(by_address(addresses))
    first, second = await queue.claim()
    assert await groups.too_early(first) is None
    assert await groups.too_early(second) == EARLY
    await queue.hand_back(second)
    assert await queue.claim() == ()
    await queue.hand_back(first)
    (lease,) = await queue.claim()
    assert await groups.too_early(lease) is None
    assert await groups.too_early(lease) is None
    assert len(addresses.asked) == 2


async def test_another_worker_finds_it_known() -> None:
    queue, addresses = await Queue().open("http://a.example/"), Addresses("127.0.0.9")
    await queue.groups(by_address(addresses)).too_early((await queue.claim())[0])
    await queue.frontier.reap("w1")
    (lease,) = await queue.claim()
    later = replace(lease, claimed_at=lease.claimed_at + 1.0)  # longer than any answer takes
    assert await queue.groups(by_address(addresses)).too_early(later) is None


async def test_a_request_claimed_before_the_group_was_known_to_anybody_is_not_booked() -> None:
    queue, addresses = await Queue().open("http://a.example/"), Addresses("127.0.0.9")
    (lease,) = await queue.claim()
    await queue.frontier.join("a.example", "127.0.0.9")
    assert await queue.groups(by_address(addresses)).too_early(lease) == EARLY


async def test_a_literal_address_and_a_name_that_does_not_resolve_are_not_asked_about() -> None:
    queue = await Queue().open("http://127.0.0.9/", "http://[::1]/", "http://a.example/")
    groups = queue.groups(by_address(Addresses()))
    assert [await groups.too_early(lease) for lease in await queue.claim()] == [None] * 3


async def test_with_pace_per_host_a_group_of_before_is_left() -> None:
    queue = await Queue().open("http://a.example/", "http://b.example/")
    for host in ("a.example", "b.example"):
        await queue.frontier.join(host, "127.0.0.9")
    (lease,) = await queue.claim()
    groups = queue.groups(alone)
    assert await groups.too_early(lease)
    await queue.frontier.join("b.example", "")
    assert len(await queue.claim()) == 1


async def test_names_move(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while the address is looked up again; a host that changes its group needs a turn there."""
    monkeypatch.setattr("crawler.visit.host_groups.FRESH_SECONDS", -1.0)
    queue, addresses = await Queue().open("http://a.example/", "http://b.example/"), Addresses("127.0.0.9")
    groups = queue.groups(by_address(addresses))
    lease, _ = await queue.claim()
    await groups.too_early(lease)
    later = replace(lease, claimed_at=time.monotonic() + LATER)
    assert await groups.too_early(later) is None
    addresses.answer = ("127.0.0.8",)
    assert await groups.too_early(replace(lease, claimed_at=time.monotonic())) is None
    await queue.frontier.join("b.example", "127.0.0.7")
    addresses.answer = ("127.0.0.7",)
    assert await groups.too_early(replace(lease, claimed_at=time.monotonic())) == EARLY, "another host is asked there"


@pytest.mark.parametrize("fresh", [600.0, -1.0])
async def test_a_group_at_home_in_another_shard_gives_its_turns_there(
    monkeypatch: pytest.MonkeyPatch, fresh: float
) -> None:
    """Also when the name does not resolve any more, so that the host keeps its group."""
    monkeypatch.setattr("crawler.visit.host_groups.FRESH_SECONDS", fresh)
    addresses = Addresses("127.0.0.9")
    names = [
        f"h{number}.example" for number in range(9) if shard_of(f"h{number}.example", 2) != shard_of("127.0.0.9", 2)
    ]
    async with open_memory(shards=2) as backend:
        groups = HostGroups(backend.ledger, by_address(addresses), "w1", PACE)
        job = await backend.jobs.create(Job("news"))
        await backend.adding.add(job, [Request(f"http://{name}/") for name in names])
        first, second, *_ = (await backend.queue.claim("w1", 9, [job], PACE)).leases
        assert [await groups.too_early(lease) for lease in (first, second)] == [None, EARLY]
        addresses.answer = ()
        first, second = (replace(lease, claimed_at=time.monotonic() + LATER) for lease in (first, second))
        assert await groups.too_early(first) is None, "it has the turn already"
        release = await groups.too_early(second)
        assert release is not None
        assert (release.reason, release.turn > 0) == ("turn", True)


async def test_the_hosts_looked_up_longest_ago_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crawler.visit.host_groups.MAX_HOSTS", 20)
    queue = await Queue().open("http://a.example/")
    (lease,) = await queue.claim()
    groups = queue.groups(alone)
    for number in range(50):
        await groups.too_early(replace(lease, host=f"127.0.0.{number}"))
    assert 18 <= len(groups._members) <= 20
    assert "127.0.0.49" in groups._members
