"""What only the in-process frontier has: a bound on pending requests that cannot deadlock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest
from structlog.testing import capture_logs

from crawler.errors import FrontierError
from crawler.frontier.memory.backend import open_memory
from crawler.frontier.memory.server import MemoryServer
from crawler.frontier.rules import ACTIVE_FOR, STICKS_FOR
from crawler.interfaces import Backend, Pace
from crawler.model import LACKING, Done, Job, Lease, Request, Visit
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


async def test_seeds_do_not_wait_behind_requests_that_are_all_paused(small: tuple[Backend, Job]) -> None:
    """Nobody can resume them from outside, so they would keep the seeds of other hosts out for ever."""
    frontier, job = small
    await frontier.pauses.pause(job, "host", "a.example", "23 of 25 failed")
    seeder = asyncio.create_task(frontier.adding.add(job, _requests(9) + _requests(1, "b.example"), seed=True))
    await _settle()
    assert not seeder.done(), "no claim has met the pause yet"
    claimed: list[Lease] = []
    while not seeder.done() or not claimed:
        claimed += (await frontier.queue.claim("w1", 9, [job], AT_ONCE)).leases
        await asyncio.sleep(0)
    assert [lease.host for lease in claimed] == ["b.example"]


async def test_seeds_do_not_wait_behind_requests_that_no_worker_can_read(small: tuple[Backend, Job]) -> None:
    frontier, job = small
    frontier.leases.beat("w1", {"idle": "no request"})
    seeder = asyncio.create_task(frontier.adding.add(job, _requests(5), seed=True))
    await _settle()
    assert not seeder.done()
    frontier.leases.beat("w1", {"idle": LACKING})
    assert (await asyncio.wait_for(seeder, 5)).new == 5


async def test_it_is_said_once_that_seeds_wait(small: tuple[Backend, Job]) -> None:
    frontier, job = small
    with capture_logs() as logs:
        seeder = asyncio.create_task(frontier.adding.add(job, _requests(9), seed=True))
        while not seeder.done():
            await frontier.queue.claim("w1", 1, [job], AT_ONCE)
            await asyncio.sleep(0)
    assert [(line["event"], line["maxsize"]) for line in logs] == [("queue_full", 3)]


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


@pytest.mark.parametrize(("seconds", "host"), [(-1.0, "active.example"), (1.0, "waiting.example")])
async def test_a_host_that_is_not_asked_for_some_seconds_waits_as_the_others_do(seconds: float, host: str) -> None:
    time, half = 1_000.0, ACTIVE_FOR / 2000
    async with open_memory(MemoryServer(clock=lambda: time)) as frontier:
        job = await frontier.jobs.create(Job("news"))
        await frontier.adding.add(job, _requests(2, "active.example"))
        (lease,) = (await frontier.queue.claim("w1", 1, [job], AT_ONCE)).leases
        await frontier.queue.commit("w1", [(lease, Visit(Done()))], AT_ONCE)
        time += half
        await frontier.adding.add(job, _requests(1, "waiting.example"))
        time += half + seconds
        (lease,) = (await frontier.queue.claim("w1", 1, [job], AT_ONCE)).leases
    assert lease.host == host


class TwoWorkers:
    """Two processes; each has asked a host of its own, `b.example` last. Then these seconds pass."""

    def __init__(self, *claims: Callable[[int], Awaitable[list[str]]]) -> None:
        self.claims = claims

    @classmethod
    @asynccontextmanager
    async def after(cls, seconds: float, *waiting: str) -> AsyncIterator[TwoWorkers]:
        """`waiting`: hosts that nobody has asked."""
        time, pace = 1_000.0, Pace(delay=1.0, jitter=0.0)
        server = MemoryServer(clock=lambda: time)
        async with open_memory(server) as one, open_memory(server) as other:
            job = await one.jobs.create(Job("news"))

            async def claim(frontier: Backend, worker: str, limit: int) -> list[str]:
                leases = (await frontier.queue.claim(worker, limit, [job], pace)).leases
                visits = [(lease, Visit(Done(), asked_at=time)) for lease in leases]
                await frontier.queue.commit(worker, visits, pace)
                return [lease.host for lease in leases]

            for frontier, worker, host in ((one, "w1", "a.example"), (other, "w2", "b.example")):
                await frontier.adding.add(job, _requests(5, host))
                assert await claim(frontier, worker, 1) == [host]
                time += 0.01
            for host in waiting:
                await one.adding.add(job, _requests(1, host))
            time += seconds
            yield cls(partial(claim, one, "w1"), partial(claim, other, "w2"))


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_a_host_sticks_to_the_process_that_asked_it(order: tuple[int, int]) -> None:
    async with TwoWorkers.after(seconds=1.1) as workers:
        asked = {worker: await workers.claims[worker](1) for worker in order}
        assert asked == {0: ["a.example"], 1: ["b.example"]}


async def test_a_process_with_nothing_else_to_do_takes_the_hosts_of_others_as_well() -> None:
    async with TwoWorkers.after(seconds=1.1) as workers:
        assert await workers.claims[0](2) == ["a.example", "b.example"]


async def test_a_host_that_has_waited_comes_before_those_of_other_processes() -> None:
    async with TwoWorkers.after(1.1, "waiting.example") as workers:
        assert await workers.claims[0](2) == ["a.example", "waiting.example"]


async def test_a_host_that_its_process_leaves_alone_goes_to_any() -> None:
    async with TwoWorkers.after(seconds=1.1 + STICKS_FOR / 1000) as workers:
        assert await workers.claims[0](1) == ["b.example"], "the latest turn comes first again"


async def test_an_address_with_a_line_that_nobody_asked_for_a_while_is_asked_again() -> None:
    time = 1_000.0
    async with open_memory(MemoryServer(clock=lambda: time)) as frontier:
        job = await frontier.jobs.create(Job("news"))
        for host in ("a.example", "b.example"):
            await frontier.ledger.join(host, "127.0.0.9")
            await frontier.adding.add(job, _requests(1, host))
        for seconds in (0.0, 0.0, ACTIVE_FOR / 500):
            time += seconds
            claim = await frontier.queue.claim("w1", 5, [job], Pace(delay=1.0))
            await frontier.queue.commit("w1", [(lease, Visit(Done())) for lease in claim.leases], Pace(delay=1.0))
    assert [lease.host for lease in claim.leases] == ["b.example"]


def _requests(count: int, host: str = "a.example") -> list[Request]:
    return [Request(url) for url in pages(count, host)]


async def _settle() -> None:
    """Let every task that can run do so."""
    for _ in range(5):
        await asyncio.sleep(0)
