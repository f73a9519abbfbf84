"""A watch sees the queue again and again, whatever happens to it in between."""

from __future__ import annotations

import math

import pytest
from structlog.testing import capture_logs

from crawler.app import watching
from crawler.app.watching import Unserved, Watch, end_expected_in
from crawler.control.routes import Assignment
from crawler.errors import FrontierReplaced, FrontierUnavailable
from crawler.model import Job, Request
from crawler.status import JobStats, WorkerInfo
from crawler.testing.contract.world import AT_ONCE
from crawler.views.history import Momentum
from tests.memory import MemoryFrontier


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "POLL_SECONDS", 0.0)


class Queue:
    """What there is to see, one look after the other; errors are raised."""

    def __init__(self, *looks: int | Exception) -> None:
        self._looks = iter(looks)

    async def look(self) -> int:
        seen = next(self._looks)
        if isinstance(seen, Exception):
            raise seen
        return seen


async def test_an_outage_is_passed_over_and_logged_once() -> None:
    watch = Watch(Queue(1, FrontierUnavailable("gone"), FrontierUnavailable("gone"), 0).look)
    with capture_logs() as lines:
        assert [await watch.next(), await watch.next()] == [1, 0]  # 0 is something that was seen
    assert [line["event"] for line in lines] == ["queue_server_away", "queue_server_away_over"]


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds between polls, which nobody waits."""
    seen: list[float] = []

    async def sleep(seconds: float) -> None:
        seen.append(seconds)

    monkeypatch.setattr(watching, "POLL_SECONDS", 0.5)
    monkeypatch.setattr("asyncio.sleep", sleep)
    return seen


async def test_the_first_polls_come_sooner(waits: list[float]) -> None:
    """A short crawl ends when it has ended, not half a second later."""
    watch = Watch(Queue(*range(7)).look)
    assert [await watch.next() for _ in range(7)] == [*range(7)]
    assert waits == [0.0, 0.05, 0.1, 0.2, 0.4, 0.5, 0.5]


@pytest.mark.parametrize(("rate", "seconds"), [(30.0, 0.5), (1.5, 10.0), (0.0, math.inf)])
def test_the_end_is_expected_by_the_rate_and_not_at_all_of_a_crawl_that_stands(rate: float, seconds: float) -> None:
    stats = JobStats("news", pending=10, processing=5)
    assert end_expected_in(stats, Momentum(pages_per_second=rate)) == seconds


async def test_a_poll_comes_when_the_end_is_expected(waits: list[float]) -> None:
    watch = Watch(Queue(*range(9)).look)
    for _ in range(6):
        await watch.next()
    del waits[:]
    for expected in (7.0, 0.3, 0.01):
        await watch.next(expected)
    assert waits == [0.5, 0.3, 0.1]


async def test_a_server_that_was_replaced_ends_the_watch() -> None:
    with pytest.raises(FrontierReplaced):
        await Watch(Queue(FrontierReplaced("another")).look).next()


async def test_a_job_that_no_worker_works_for_is_logged_when_that_begins_and_when_it_is_over() -> None:
    frontier = MemoryFrontier()
    for name, spider in (("s1", "shop"), ("empty", "shop"), ("ours", "site")):
        await frontier.create_job(Job(name, spider=spider))
    for job in await frontier.jobs():
        if job.name != "empty":
            await frontier.add(job, [Request("http://a.example/")], seed=True)
    ours = WorkerInfo("w1", 9.0, {"queues": ["default"], "routes": {"spider:shop": "eu"}})
    others = WorkerInfo("w2", 9.0, {"queues": ["eu"], "routes": {"spider:shop": "eu"}})
    unserved = Unserved(
        frontier.backend.jobs, frontier.backend.reading, Assignment(queues=("default",), routes={"spider:shop": "eu"})
    )
    with capture_logs() as lines:
        for workers in ([ours], [], [ours, others], [others], [ours]):
            await unserved.look(workers)
        await frontier.claim("w2", 9, await frontier.jobs(), AT_ONCE)
        await unserved.look([ours])
    assert [(line["event"], line["job"]) for line in lines] == [
        ("nobody_serves", "s1"),
        ("nobody_serves_over", "s1"),
        ("nobody_serves", "s1"),
        ("nobody_serves_over", "s1"),
    ], "the last one because somebody has been there meanwhile"
    assert "crawler worker --queue eu" in lines[0]["why"]


async def test_workers_whose_routes_differ_are_logged_when_that_begins_and_when_it_is_over() -> None:
    one = WorkerInfo("w1", 9.0, {"queues": ["default"], "routes": {"spider:shop": "eu"}})
    connected = MemoryFrontier().backend
    unserved = Unserved(connected.jobs, connected.reading, Assignment())
    with capture_logs() as lines:
        for workers in ([one], [one, WorkerInfo("w2", 9.0)], [one, WorkerInfo("w2", 9.0)], [one]):
            await unserved.look(workers)
    assert [line["event"] for line in lines] == ["routes_differ", "routes_differ_over"]
