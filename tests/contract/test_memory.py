"""What only the in-process frontier has: a bound on pending requests that cannot deadlock."""

from __future__ import annotations

import asyncio

import pytest

from crawler.errors import FrontierError
from crawler.frontier.memory.frontier import MemoryFrontier
from crawler.model import Done, Failure, Job, Request, Visit
from crawler.testing.contract.world import AT_ONCE, pages


@pytest.fixture
async def small() -> tuple[MemoryFrontier, Job]:
    """At most 3 requests pending."""
    frontier = MemoryFrontier(maxsize=3)
    return frontier, await frontier.create_job(Job("news"))


async def test_a_seeder_waits_for_room(small: tuple[MemoryFrontier, Job]) -> None:
    frontier, job = small
    seeder = asyncio.create_task(frontier.add(job, _requests(5), seed=True))
    await _settle()
    assert not seeder.done()
    assert (await frontier.stats(job)).pending == 3
    await frontier.claim("w1", 2, [job], AT_ONCE)
    assert (await seeder).new == 5


async def test_links_never_wait(small: tuple[MemoryFrontier, Job]) -> None:
    frontier, job = small
    assert (await asyncio.wait_for(frontier.add(job, _requests(50)), 5)).new == 50


async def test_a_worker_whose_page_has_more_links_than_there_is_room_gets_on(
    small: tuple[MemoryFrontier, Job],
) -> None:
    """The consumer is the producer: a bound on its links would make it wait for itself."""
    frontier, job = small
    await frontier.add(job, [Request("http://b.example/")], seed=True)
    seeder = asyncio.create_task(frontier.add(job, _requests(20), seed=True))
    done = 0
    while not seeder.done() or not (await frontier.stats(job)).finished:
        claim = await frontier.claim("w1", 2, [job], AT_ONCE)
        for lease in claim.leases:
            links = tuple(Request(f"{lease.request.url}x{n}") for n in range(10)) if done < 3 else ()
            await asyncio.wait_for(frontier.commit("w1", [(lease, Visit(Done(), links=links))], AT_ONCE), 5)
            done += 1
        await asyncio.sleep(0)
    assert done == 1 + 20 + 30


async def test_several_seeders_share_the_room(small: tuple[MemoryFrontier, Job]) -> None:
    frontier, job = small
    seeders = [asyncio.create_task(frontier.add(job, _requests(10, f"h{n}.example"), seed=True)) for n in range(3)]
    done = 0
    while not all(seeder.done() for seeder in seeders) or (await frontier.stats(job)).pending:
        assert (await frontier.stats(job)).pending <= 3
        done += len((await frontier.claim("w1", 1, [job], AT_ONCE)).leases)
        await asyncio.sleep(0)
    assert done == 30


async def test_deleting_the_job_wakes_its_seeder(small: tuple[MemoryFrontier, Job]) -> None:
    frontier, job = small
    seeder = asyncio.create_task(frontier.add(job, _requests(5), seed=True))
    await _settle()
    await frontier.delete_job("news")
    with pytest.raises(FrontierError, match="news"):
        await seeder


async def test_a_cancelled_seeder_has_added_what_there_was_room_for(
    small: tuple[MemoryFrontier, Job],
) -> None:
    frontier, job = small
    seeder = asyncio.create_task(frontier.add(job, _requests(5), seed=True))
    await _settle()
    seeder.cancel()
    await frontier.claim("w1", 3, [job], AT_ONCE)
    assert (await frontier.add(job, _requests(5), seed=True)).new == 2


async def test_what_is_buried_is_dead(small: tuple[MemoryFrontier, Job]) -> None:
    frontier, job = small
    await frontier.add(job, _requests(1))
    (lease,) = (await frontier.claim("w1", 1, [job], AT_ONCE)).leases
    assert await frontier.bury("w1", job, lease.message, Failure("junk", "cannot be read"))
    stats = await frontier.stats(job)
    assert (stats.dead, stats.known, stats.finished, stats.counters["dead/junk"]) == (1, 1, True, 1)


async def test_state_outlives_close() -> None:
    frontier = MemoryFrontier()
    job = await frontier.create_job(Job("news"))
    await frontier.add(job, _requests(2))
    await frontier.close()
    await frontier.open()
    assert (await frontier.stats(job)).pending == 2


def _requests(count: int, host: str = "a.example") -> list[Request]:
    return [Request(url) for url in pages(count, host)]


async def _settle() -> None:
    """Let every task that can run do so."""
    for _ in range(5):
        await asyncio.sleep(0)
