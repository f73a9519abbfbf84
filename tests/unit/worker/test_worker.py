"""A worker whose queue server fails for moments or holds junk: it leaves nothing behind and commits in batches."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import pytest
from structlog.testing import capture_logs

from crawler.errors import FrontierError, FrontierUnavailable, ReplicasMissing
from crawler.interfaces import Pace
from crawler.model import LACKING, Claim, Done, Failure, Job, Junk, Lease, Release, Request, Visit
from crawler.status import JobStats
from crawler.worker import concurrency
from crawler.worker import worker as module
from crawler.worker.job_list import JobList
from crawler.worker.lease import LeaseClock
from crawler.worker.process_stats import Tally
from crawler.worker.worker import LEFT_SECONDS, Worker, WorkerOptions
from tests.memory import MemoryFrontier

PACE = Pace(delay=0.0, concurrency=100)
JUNK = b"[1,0,0,0,0,"


class Odd(MemoryFrontier):
    """Hands out junk first; `mishaps` are raised by `bury`, one after the other."""

    def __init__(self, *mishaps: Exception) -> None:
        super().__init__()
        self.mishaps = list(mishaps)
        self.junk = [Junk("news", JUNK, "not a request")]
        self.buried: list[bytes] = []
        self.batches: list[int] = []

    async def claim(self, worker: str, limit: int, jobs: Sequence[Job], pace: Pace) -> Claim:
        if self.junk:
            return Claim(junk=(self.junk.pop(),))
        return await super().claim(worker, limit, jobs, pace)

    async def bury(self, worker: str, job: Job, message: bytes, failure: Failure) -> bool:
        if self.mishaps:
            raise self.mishaps.pop(0)
        self.buried.append(message)
        return True

    async def commit(self, worker: str, visits: Sequence[tuple[Lease, Visit]], pace: Pace) -> list[bool]:
        self.batches.append(len(visits))
        return await super().commit(worker, visits, pace)


async def nothing(lease: Lease) -> Visit:
    return Visit(Done())


async def run_until_finished(
    frontier: MemoryFrontier, job: Job, visit: Callable[[Lease], Awaitable[Visit]] = nothing
) -> None:
    worker = Worker(frontier, visit, JobList(frontier.jobs), WorkerOptions("w1", PACE), Tally("1"), LeaseClock(60.0))
    running = asyncio.create_task(worker.run())
    try:
        async with asyncio.timeout(10):
            while not (await frontier.stats(job)).finished:
                assert not running.done(), running.result()
                await asyncio.sleep(0.01)
        worker.stop()
        await running
    finally:
        running.cancel()


@pytest.mark.parametrize("mishaps", [(), (FrontierUnavailable("away"), FrontierUnavailable("away"))])
async def test_junk_is_buried_however_often_it_takes(mishaps: tuple[Exception, ...]) -> None:
    frontier = Odd(*mishaps)
    job = await frontier.create_job(Job("news"))
    await frontier.add(job, [Request("http://a.example/")], seed=True)
    await run_until_finished(frontier, job)
    assert frontier.buried == [JUNK]


async def test_junk_of_a_job_that_is_deleted_meanwhile_harms_nobody() -> None:
    for frontier in (Odd(), Odd(FrontierError("job 'news' was deleted"))):
        job = await frontier.create_job(Job("other"))
        if frontier.mishaps:
            await frontier.create_job(Job("news"))
        await frontier.add(job, [Request("http://a.example/")], seed=True)
        await run_until_finished(frontier, job)


class Alone(MemoryFrontier):
    """Waits for replicas in vain until two more claims have been answered."""

    claims = 0
    until = 0

    async def claim(self, worker: str, limit: int, jobs: Sequence[Job], pace: Pace) -> Claim:
        self.claims += 1
        return await super().claim(worker, limit, jobs, pace)

    async def commit(self, worker: str, visits: Sequence[tuple[Lease, Visit]], pace: Pace) -> list[bool]:
        self.until = self.until or self.claims + 2
        if self.claims < self.until:
            raise ReplicasMissing("has 0 of the 1 replicas")
        return await super().commit(worker, visits, pace)


async def test_missing_replicas_are_one_incident_though_claims_go_on() -> None:
    frontier = Alone()
    job = await frontier.create_job(Job("news"))
    await frontier.add(job, [Request("http://a.example/")], seed=True)
    with capture_logs() as logs:
        await run_until_finished(frontier, job)
    assert [line["event"] for line in logs] == ["replicas_missing", "replicas_missing_over"]


async def test_large_pages_are_committed_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMMIT_BYTES", 10_000)
    frontier = Odd()
    job = await frontier.create_job(Job("news"))
    await frontier.add(job, [Request(f"http://a.example/{number}") for number in range(60)], seed=True)
    together = asyncio.Barrier(60)

    async def visit(lease: Lease) -> Visit:
        await together.wait()
        size = 20_000 if lease.request.url.endswith("/7") else 3_000
        return Visit(Done(), items=(b'{"text":"%s"}' % (b"x" * size),))

    await run_until_finished(frontier, job, visit)
    assert sum(frontier.batches) == 60
    assert max(frontier.batches) == 3


class Doors:
    """Visits that last until the test ends them, the oldest first."""

    def __init__(self) -> None:
        self.open: list[asyncio.Event] = []
        self.began = asyncio.Condition()

    async def visit(self, lease: Lease) -> Visit:
        door = asyncio.Event()
        async with self.began:
            self.open.append(door)
            self.began.notify_all()
        await door.wait()
        return Visit(Done())

    async def end(self, count: int) -> None:
        """End one after the other, with time to commit each alone."""
        for _ in range(count):
            self.open.pop(0).set()
            for _ in range(10):
                await asyncio.sleep(0)

    async def until(self, count: int) -> None:
        """Wait until so many are under way."""
        async with asyncio.timeout(5), self.began:
            await self.began.wait_for(lambda: len(self.open) == count)


async def first_batch(at_once: int, ended: int) -> int:
    """The visits in the first commit, after so many have ended of those that one host may have at once. Their places
    are filled again while the others last."""
    frontier, doors = Odd(), Doors()
    job = await frontier.create_job(Job("news"))
    await frontier.add(job, [Request(f"http://a.example/{number}") for number in range(2 * at_once)], seed=True)
    options = WorkerOptions("w1", Pace(delay=0.0, concurrency=at_once), grace_seconds=0.0)
    worker = Worker(frontier, doors.visit, JobList(frontier.jobs), options, Tally("1"), LeaseClock(60.0))
    running = asyncio.create_task(worker.run())
    try:
        await doors.until(at_once)
        await doors.end(ended)
        await doors.until(at_once)
        return frontier.batches[0]
    finally:
        worker.stop()
        await running


@pytest.mark.parametrize(("at_once", "company"), [(1, 1), (2, 1), (8, 2), (9, 3), (64, 16)])
async def test_a_commit_waits_for_a_quarter_of_the_visits_in_flight(
    monkeypatch: pytest.MonkeyPatch, at_once: int, company: int
) -> None:
    monkeypatch.setattr(module, "COMMIT_WAIT", 60.0)
    assert await first_batch(at_once, company) == company


async def test_a_visit_that_has_waited_in_vain_is_committed_alone() -> None:
    assert await first_batch(8, 1) == 1


async def test_a_slot_that_is_freed_while_a_claim_is_under_way_wakes_the_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 60.0)

    class Slow(MemoryFrontier):
        """Its empty answers are late: meanwhile the page is committed and leads to the next one."""

        async def claim(self, worker: str, limit: int, jobs: Sequence[Job], pace: Pace) -> Claim:
            claim = await super().claim(worker, limit, jobs, pace)
            if not claim.leases:
                await asyncio.sleep(0.05)
            return claim

    frontier = Slow()
    job = await frontier.create_job(Job("news"))
    await frontier.add(job, [Request("http://a.example/0")], seed=True)

    async def visit(lease: Lease) -> Visit:
        depth = lease.request.depth + 1
        return Visit(Done(), links=(Request(f"http://a.example/{depth}", depth=depth),) if depth < 20 else ())

    await run_until_finished(frontier, job, visit)


async def test_a_claim_without_an_answer_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LAST_CLAIM", 0.05)
    asked = asyncio.Event()

    class Silent(MemoryFrontier):
        async def claim(self, worker: str, limit: int, jobs: Sequence[Job], pace: Pace) -> Claim:
            asked.set()
            await asyncio.Event().wait()
            raise AssertionError

    frontier = Silent()
    await frontier.create_job(Job("news"))
    worker = Worker(frontier, nothing, JobList(frontier.jobs), WorkerOptions("w1", PACE), Tally("1"), LeaseClock(60.0))
    running = asyncio.create_task(worker.run())
    await asked.wait()
    worker.stop()
    async with asyncio.timeout(5):
        await running


async def test_a_limit_of_our_own_slows_the_worker_down_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """It visits fewer at once, with pauses, so that the pages do not circulate, and logs one line."""
    monkeypatch.setattr(concurrency, "FIRST_PAUSE", 0.02)
    frontier = MemoryFrontier()
    job = await frontier.create_job(Job("news"))
    await frontier.add(job, [Request(f"http://h{n}.example/") for n in range(200)], seed=True)
    at_once = 0
    met: list[int] = []  # how many were in flight then

    async def visit(lease: Lease) -> Visit:
        nonlocal at_once
        at_once += 1
        await asyncio.sleep(0)
        at_once -= 1
        if time.monotonic() - began < 0.3:
            met.append(at_once + 1)
            return Visit(Release("own limit", own_limit="no file descriptor"), asked_at=time.monotonic())
        return Visit(Done(), asked_at=time.monotonic())

    began = time.monotonic()
    with capture_logs() as logs:
        await run_until_finished(frontier, job, visit)
    assert 64 <= len(met) <= 64 + 32 + 16 + 8 + 4 + 2 + 1
    assert met[-1] <= 16
    assert [line["event"] for line in logs if line["event"].startswith("own")] == ["own_limit", "own_limit_over"]
    assert (await frontier.stats(job)).counters["own_limit"] == len(met)


async def test_a_page_that_this_worker_cannot_read_holds_up_no_other() -> None:
    """It stands first in the line of its host, and again after each try."""
    frontier = MemoryFrontier()
    job = await frontier.create_job(Job("news"))
    await frontier.add(job, [Request(f"http://a.example/{number}") for number in range(40)], seed=True)
    read, all_read = set[str](), asyncio.Event()

    async def visit(lease: Lease) -> Visit:
        url = lease.request.url
        if url in ("http://a.example/1", "http://a.example/9"):
            return Visit(Release("lacks", delay=60.0, lacks="no method 'new'"), unasked=True)
        read.add(url)
        if len(read) == 38:
            all_read.set()
        return Visit(Done())

    options = WorkerOptions("w1", Pace(delay=0.0, concurrency=1))
    worker = Worker(frontier, visit, JobList(frontier.jobs), options, Tally("1"), LeaseClock(60.0))
    running = asyncio.create_task(worker.run())
    async with asyncio.timeout(LEFT_SECONDS):
        await all_read.wait()
    worker.stop()
    await running


async def test_a_page_that_this_worker_cannot_read_waits_for_another_without_an_attempt() -> None:
    """Once said; and the job is not claimed again at once."""
    frontier = MemoryFrontier()
    job = await frontier.create_job(Job("news"))
    await frontier.add(job, [Request(f"http://a.example/{number}") for number in range(5)], seed=True)
    visited: list[int] = []

    async def visit(lease: Lease) -> Visit:
        visited.append(lease.attempt)
        return Visit(Release("lacks", lacks="no spider is named 'shop'"), unasked=True)

    class Told(Tally):
        lacking = asyncio.Event()

        def __setattr__(self, name: str, value: object) -> None:
            super().__setattr__(name, value)
            if (name, value) == ("idle", LACKING):
                self.lacking.set()

    tally = Told("1")
    worker = Worker(frontier, visit, JobList(frontier.jobs), WorkerOptions("w1", PACE), tally, LeaseClock(60.0))
    with capture_logs() as logs:
        running = asyncio.create_task(worker.run())
        async with asyncio.timeout(10):
            await tally.lacking.wait()
        worker.stop()
        await running
    stats = await frontier.stats(job)
    assert (stats.pending, stats.dead, stats.counters["released"]) == (5, 0, len(visited))
    assert len(visited) <= 5
    assert [line["why"] for line in logs if line["event"] == "spider_unusable"] == ["no spider is named 'shop'"]
    assert tally.info()["no_spider"] == {"news": {"": "no spider is named 'shop'"}}


async def run_until_recycled(frontier: MemoryFrontier, visit: Callable[[Lease], Awaitable[Visit]]) -> JobStats:
    """A job of 30 pages for a worker that ends after 10."""
    job = await frontier.create_job(Job("news"))
    await frontier.add(job, [Request(f"http://a.example/{number}") for number in range(30)], seed=True)
    options = WorkerOptions("w1", PACE, concurrency=16, grace_seconds=0.0, recycle_pages=10)
    worker = Worker(frontier, visit, JobList(frontier.jobs), options, Tally("1"), LeaseClock(60.0))
    async with asyncio.timeout(10):
        await worker.run()
    return await frontier.stats(job)


async def test_a_worker_ends_by_itself_after_its_pages_not_counting_those_it_hands_back() -> None:
    asked: list[str] = []

    async def visit(lease: Lease) -> Visit:
        asked.append(lease.request.url)
        return Visit(Release("no reason") if len(asked) % 3 == 0 else Done())

    stats = await run_until_recycled(MemoryFrontier(), visit)
    assert (stats.done, stats.pending, stats.processing) == (10, 20, 0)
    assert stats.counters["released"] == len(asked) - 10 > 0


async def test_a_worker_that_ends_by_itself_waits_for_the_server_to_take_its_pages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever ends for a signal leaves what it cannot commit to the reaper; nobody is in a hurry here."""
    monkeypatch.setattr("crawler.runtime.patience.RETRY_SECONDS", 0.001)
    monkeypatch.setattr(module, "LAST_COMMIT", 0.01)
    monkeypatch.setattr(module, "COMMIT_BATCH", 1)

    class Away(MemoryFrontier):
        commits = 0

        async def commit(self, worker: str, visits: Sequence[tuple[Lease, Visit]], pace: Pace) -> list[bool]:
            self.commits += 1
            if 3 <= self.commits < 50:
                raise FrontierUnavailable("away")
            return await super().commit(worker, visits, pace)

    stats = await run_until_recycled(Away(), nothing)
    assert (stats.done, stats.pending, stats.processing) == (10, 20, 0)
