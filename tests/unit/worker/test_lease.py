"""When a worker's lease may have run out, its requests have ended, and none starts until a heartbeat succeeds again."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from crawler.errors import FrontierUnavailable
from crawler.interfaces import Pace
from crawler.model import Done, Job, Lease, Request, Visit
from crawler.response import Response
from crawler.worker import worker as module
from crawler.worker.blame_slot import Slot
from crawler.worker.job_list import JobList
from crawler.worker.lease import SAFE_SHARE, LeaseClock, LeasedFetcher
from crawler.worker.process_stats import Tally
from crawler.worker.worker import Worker, WorkerOptions
from tests.memory import MemoryFrontier

LEASE = 10.0
SAFE = LEASE * SAFE_SHARE


class Clock:
    """The clock of leases, moved by hand."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("crawler.worker.lease.now", clock)
    return clock


async def until_finished(frontier: MemoryFrontier, job: Job) -> None:
    async with asyncio.timeout(10):
        while not (await frontier.stats(job)).finished:  # noqa: ASYNC110 - the frontier tells nobody
            await asyncio.sleep(0)


def test_a_lease_is_safe_for_less_than_its_whole_length_from_when_its_renewal_was_sent(clock: Clock) -> None:
    lease = LeaseClock(LEASE)
    assert lease.is_valid
    clock.time += 5
    sent = clock.time
    clock.time += 1  # the answer takes its time
    lease.renewed(sent)
    assert lease.left == pytest.approx(SAFE - 1)
    lease.renewed(sent - 5)  # an older one, whose answer comes later
    assert lease.left == pytest.approx(SAFE - 1)
    clock.time += SAFE - 1
    assert not lease.is_valid
    assert SAFE < LEASE - LEASE / 10


def test_renewed_too_late_it_stays_over_until_all_that_was_begun_under_it_has_ended(clock: Clock) -> None:
    lease = LeaseClock(LEASE)
    clock.time += SAFE
    assert not lease.begin_anew()
    lease.renewed(clock.time)
    assert not lease.is_valid
    assert lease.begin_anew()
    assert lease.is_valid


def test_what_the_supervisor_renews_the_worker_knows(clock: Clock) -> None:
    slot = Slot()
    ours = LeaseClock(LEASE, slot.lease)
    its = LeaseClock(LEASE, Slot(slot.descriptor).lease)
    for _ in range(3):  # its own heartbeat is silent
        clock.time += SAFE - 1
        ours.renewed(clock.time)
    assert its.is_valid
    clock.time += SAFE
    ours.renewed(clock.time)
    assert not its.is_valid


async def test_no_exchange_starts_when_the_lease_is_over(clock: Clock) -> None:
    class Page:
        async def fetch(self, request: Request) -> Response:
            return Response(request.url, status=200, headers={}, body=b"", request=request)

        async def close(self) -> None:
            """Nothing is open."""

    lease = LeaseClock(LEASE)
    fetcher = LeasedFetcher(Page(), lease)
    assert (await fetcher.fetch(Request("http://a.example/"))).status == 200
    clock.time += SAFE
    with pytest.raises(FrontierUnavailable, match="lease is over"):
        await fetcher.fetch(Request("http://a.example/"))


async def test_a_worker_ends_its_visits_starts_none_and_goes_on_when_the_lease_is_renewed(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "OFTEN", 0.01)
    lease, frontier = LeaseClock(LEASE), MemoryFrontier()
    job = await frontier.create_job(Job("news"))
    await frontier.add(job, [Request(f"http://a.example/{number}") for number in range(3)], seed=True)
    told, cancelled, stuck = asyncio.Semaphore(0), asyncio.Semaphore(0), asyncio.Event()

    async def visit(lease_of_page: Lease) -> Visit:
        told.release()
        if lease.left < SAFE:  # the second time
            return Visit(Done())
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.release()
            await stuck.wait()
        raise AssertionError

    options = WorkerOptions("w1", Pace(delay=0.0, concurrency=100), concurrency=2)
    worker = Worker(frontier, visit, JobList(frontier.jobs), options, Tally("1"), lease)
    with capture_logs() as lines:
        async with asyncio.timeout(10):
            running = asyncio.create_task(worker.run())
            await told.acquire()
            await told.acquire()
            clock.time += SAFE
            await cancelled.acquire()
            await cancelled.acquire()
            lease.renewed(clock.time)
            clock.time += 1
            assert not worker._has_lease(), "visits go on that were begun under the old lease"
            stuck.set()
            for _ in range(3):
                await told.acquire()
            await until_finished(frontier, job)
            worker.stop()
            await running
    stats = await frontier.stats(job)
    assert stats.counters.get("retried", 0) == 0
    assert [line["event"] for line in lines] == ["lease_not_renewed", "lease_not_renewed_over"]
    assert "2 requests ended" in lines[0]["why"]


async def test_a_visit_that_is_ended_before_it_has_begun_goes_back_as_well(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease, frontier = LeaseClock(LEASE), MemoryFrontier()
    job = await frontier.create_job(Job("news"))
    await frontier.add(job, [Request("http://a.example/")], seed=True)

    async def visit(lease_of_page: Lease) -> Visit:
        return Visit(Done())

    worker = Worker(frontier, visit, JobList(frontier.jobs), WorkerOptions("w1", Pace()), Tally("1"), lease)
    (claimed,) = (await frontier.claim("w1", 1, [job], Pace())).leases
    worker._start(claimed)
    clock.time += SAFE
    worker._mind_the_lease()
    lease.renewed(clock.time)
    running = asyncio.create_task(worker.run())
    await until_finished(frontier, job)
    worker.stop()
    await running
    assert (await frontier.stats(job)).counters["released"] == 1
