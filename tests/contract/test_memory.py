"""What only the in-process frontier has: a bound on pending requests that cannot deadlock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from crawler.errors import FrontierError
from crawler.frontier.memory.backend import open_memory
from crawler.frontier.memory.server import MemoryServer
from crawler.interfaces import Backend
from crawler.model import Done, Job, Request, Visit
from crawler.testing.contract.world import AT_ONCE, pages


@pytest.fixture
async def small() -> AsyncIterator[tuple[Backend, Job]]:
    """At most 3 requests pending."""
    async with open_memory(maxsize=3) as frontier:
        yield frontier, await frontier.jobs.create(Job("news"))


async def test_a_seeder_waits_for_room(small: tuple[Backend, Job]) -> None:
    frontier, job = small
    seeder = asyncio.create_task(frontier.adding.add(job, _requests(5), seed=True))
    await _settle()
    assert not seeder.done()
    assert (await frontier.reading.stats(job)).pending == 3
    await frontier.queue.claim("w1", 2, [job], AT_ONCE)
    assert (await seeder).new == 5


async def test_links_never_wait(small: tuple[Backend, Job]) -> None:
    frontier, job = small
    assert (await asyncio.wait_for(frontier.adding.add(job, _requests(50)), 5)).new == 50


async def test_a_worker_whose_page_has_more_links_than_there_is_room_gets_on(
    small: tuple[Backend, Job],
) -> None:
    """The consumer is the producer: a bound on its links would make it wait for itself."""
    frontier, job = small
    await frontier.adding.add(job, [Request("http://b.example/")], seed=True)
    seeder = asyncio.create_task(frontier.adding.add(job, _requests(20), seed=True))
    done = 0
    while not seeder.done() or not (await frontier.reading.stats(job)).finished:
        claim = await frontier.queue.claim("w1", 2, [job], AT_ONCE)
        for lease in claim.leases:
            links = tuple(Request(f"{lease.request.url}x{n}") for n in range(10)) if done < 3 else ()
            await asyncio.wait_for(frontier.queue.commit("w1", [(lease, Visit(Done(), links=links))], AT_ONCE), 5)
            done += 1
        await asyncio.sleep(0)
    assert done == 1 + 20 + 30


async def test_several_seeders_share_the_room(small: tuple[Backend, Job]) -> None:
    frontier, job = small
    seeders = [
        asyncio.create_task(frontier.adding.add(job, _requests(10, f"h{n}.example"), seed=True)) for n in range(3)
    ]
    done = 0
    while not all(seeder.done() for seeder in seeders) or (await frontier.reading.stats(job)).pending:
        assert (await frontier.reading.stats(job)).pending <= 3
        done += len((await frontier.queue.claim("w1", 1, [job], AT_ONCE)).leases)
        await asyncio.sleep(0)
    assert done == 30


async def test_deleting_the_job_wakes_its_seeder(small: tuple[Backend, Job]) -> None:
    frontier, job = small
    seeder = asyncio.create_task(frontier.adding.add(job, _requests(5), seed=True))
    await _settle()
    await frontier.jobs.delete("news")
    with pytest.raises(FrontierError, match="news"):
        await seeder


async def test_a_cancelled_seeder_has_added_what_there_was_room_for(
    small: tuple[Backend, Job],
) -> None:
    frontier, job = small
    seeder = asyncio.create_task(frontier.adding.add(job, _requests(5), seed=True))
    await _settle()
    seeder.cancel()
    await frontier.queue.claim("w1", 3, [job], AT_ONCE)
    assert (await frontier.adding.add(job, _requests(5), seed=True)).new == 2


async def test_state_outlives_close() -> None:
    server = MemoryServer()
    async with open_memory(server) as frontier:
        job = await frontier.jobs.create(Job("news"))
        await frontier.adding.add(job, _requests(2))
    async with open_memory(server) as frontier:
        assert (await frontier.reading.stats(job)).pending == 2


def _requests(count: int, host: str = "a.example") -> list[Request]:
    return [Request(url) for url in pages(count, host)]


async def _settle() -> None:
    """Let every task that can run do so."""
    for _ in range(5):
        await asyncio.sleep(0)
