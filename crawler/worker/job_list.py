"""The jobs that a worker works for now, read from the frontier at most once a second."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from crawler.control.routes import Assignment
from crawler.errors import UsageError
from crawler.model import Job

FRESH_FOR = 1.0  # seconds


class JobList:
    """The jobs that `all_jobs` returns and that are assigned to the worker. Callable, as the worker needs it."""

    def __init__(self, all_jobs: Callable[[], Awaitable[list[Job]]], assigned: Assignment | None = None) -> None:
        self._all_jobs = all_jobs
        self._assigned = assigned or Assignment()
        self._jobs: list[Job] = []
        self._by_name: dict[str, Job] = {}
        self._read_at = -FRESH_FOR
        self._turn = 0

    async def __call__(self) -> list[Job]:
        """Return the jobs, rotated by one each time, so that none is always first."""
        now = time.monotonic()
        if now - self._read_at >= FRESH_FOR:
            jobs = await self._all_jobs()
            self._jobs = [job for job in jobs if self._assigned.has(job.name, job.spider)]
            self._by_name.update((job.name, job) for job in jobs)
            self._read_at = now
        self._turn += 1  # not reset when the list is read again, or the same job would always be first
        first = self._turn % max(1, len(self._jobs))
        return self._jobs[first:] + self._jobs[:first]

    def job(self, name: str) -> Job:
        """Return the job of a lease. Raises `UsageError` if it was never in the list."""
        if name not in self._by_name:
            raise UsageError(f"no job {name!r}")
        return self._by_name[name]
