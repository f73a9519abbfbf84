"""Which jobs a worker works for at the moment, read from the frontier once a second."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from crawler.errors import UsageError
from crawler.model import Job

FRESH_FOR = 1.0  # seconds


class JobList:
    """The jobs that `all_jobs` reads, or those named. Callable, as the worker wants it."""

    def __init__(self, all_jobs: Callable[[], Awaitable[list[Job]]], names: tuple[str, ...] = ()) -> None:
        self._all_jobs = all_jobs
        self._names = names
        self._jobs: list[Job] = []
        self._by_name: dict[str, Job] = {}
        self._read_at = -FRESH_FOR
        self._turn = 0

    async def __call__(self) -> list[Job]:
        """The jobs, rotated by one each time, so that none is always served first."""
        now = time.monotonic()
        if now - self._read_at >= FRESH_FOR:
            jobs = await self._all_jobs()
            self._jobs = [job for job in jobs if not self._names or job.name in self._names]
            self._by_name.update((job.name, job) for job in jobs)
            self._read_at = now
        self._turn += 1  # goes on when the list is read anew, or the same job would be first each time
        first = self._turn % max(1, len(self._jobs))
        return self._jobs[first:] + self._jobs[:first]

    def job(self, name: str) -> Job:
        """The job of a lease. Raises `UsageError` when it was never seen."""
        if name not in self._by_name:
            raise UsageError(f"no job {name!r}")
        return self._by_name[name]
