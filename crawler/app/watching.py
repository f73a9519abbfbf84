"""Polls the queue for the commands that wait for a job."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Generic, TypeVar

import structlog

from crawler.control.routes import Assignment
from crawler.interfaces import Jobs, Reading
from crawler.model import LACKING
from crawler.runtime.incident import Incident
from crawler.runtime.patience import Patience
from crawler.status import JobStats, WorkerInfo
from crawler.views.figures import alive, at_work, no_worker, routes_differ
from crawler.views.history import Momentum

log = structlog.get_logger()

POLL_SECONDS = 0.5  # between two polls
_FIRST_POLL_SECONDS = 0.05  # between the first two
_SOONEST_SECONDS = 0.1  # between two polls though the end is expected: a poll costs 3 ms of CPU
PAUSED_SECONDS = 3.0  # a command ends once only paused requests have been left for this long

LACKING_SECONDS = 30.0  # the same for requests that no worker at work can read

Seen = TypeVar("Seen")


class Lacking:
    """Measures for how long all workers of a job have met only requests whose spider or callback they lack."""

    def __init__(self) -> None:
        self._since: float | None = None

    def seen(self, stats: JobStats, workers: Sequence[WorkerInfo]) -> float:
        """Return the seconds; 0 if a worker can do something."""
        now, ours = time.monotonic(), at_work(stats, workers)
        is_stuck = bool(ours) and not stats.processing and all(one.info.get("idle") == LACKING for one in ours)
        self._since = (self._since or now) if is_stuck and not stats.finished else None
        return now - self._since if self._since is not None else 0.0


class Unserved:
    """Logs each job that has requests and that no worker works for, and workers with different ROUTES: once when that
    begins, once when it is over. Jobs that are `assigned` to this command have a worker in a moment, if not now."""

    def __init__(self, jobs: Jobs, reading: Reading, assigned: Assignment) -> None:
        self._jobs = jobs
        self._reading = reading
        self._assigned = assigned
        self._said: set[str] = set()
        self._differ = Incident("routes_differ")
        self._patience = Patience()  # those who watch the jobs log the outage

    async def look(self, workers: Sequence[WorkerInfo]) -> None:
        """Look at all jobs; do nothing during an outage, or while even this command's workers are being replaced."""
        if not alive(workers):
            return
        if differ := routes_differ(workers):
            self._differ.met(differ)
        else:
            self._differ.over()
        await self._patience.attempt(partial(self._look, workers))

    async def _look(self, workers: Sequence[WorkerInfo]) -> None:
        jobs = await self._jobs.all()
        self._said &= {job.name for job in jobs}
        for job in jobs:
            is_served = self._assigned.has(job.name, job.spider) or at_work(JobStats(job.name, job.spider), workers)
            stats = None if is_served else await self._reading.stats(job)
            if stats is None or not stats.pending:
                if job.name in self._said:
                    self._said.discard(job.name)
                    log.info("nobody_serves_over", job=job.name)
            elif job.name not in self._said:
                self._said.add(job.name)
                log.warning("nobody_serves", job=job.name, pending=stats.pending, why=no_worker(stats, workers))


def end_expected_in(stats: JobStats, momentum: Momentum) -> float:
    """Seconds until the job's queue is empty if no page leads to a new one; infinite while no page is read."""
    rate = momentum.pages_per_second
    return (stats.pending + stats.processing) / rate if rate else math.inf


class Watch(Generic[Seen]):
    """Repeats `look`, soon at first, because many crawls are short, then twice a second. Waits out an outage and logs
    it as `event` (empty: does not log it)."""

    def __init__(self, look: Callable[[], Awaitable[Seen]], event: str = "queue_server_away") -> None:
        self._look = look
        self._patience = Patience(event)
        self._pause = 0.0  # seconds before the next poll

    async def next(self, expected: float = math.inf) -> Seen:
        """Wait for the next poll and return what `look` found. It comes sooner, but not at once, if something is
        `expected` in that many seconds."""
        while True:
            await asyncio.sleep(min(self._pause, max(expected, _SOONEST_SECONDS)))
            self._pause = min(POLL_SECONDS, 2 * self._pause or _FIRST_POLL_SECONDS)
            seen = await self._patience.attempt(self._look)
            if seen is not None:
                return seen
