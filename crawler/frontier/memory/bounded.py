"""A bound on pending requests, for seeders alone: `memory://?maxsize=N`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from crawler.interfaces import Adding, Reading
from crawler.model import LACKING, Added, Job, Request
from crawler.status import JobStats

log = structlog.get_logger()

POLL_SECONDS = 0.02  # between two checks for room


class Bounded:
    """Implements `Adding`: a seeder waits while its job has `most` requests pending, and loses none.

    Two things never wait, or the crawl would wait for itself: the links of a page, because the worker that adds them is
    the one that makes room; and seeds behind requests that are all paused or that no worker can read, because nobody
    from outside can change that here.
    """

    def __init__(self, adding: Adding, reading: Reading, most: int) -> None:
        self._adding = adding
        self._reading = reading
        self._most = most
        self._full: set[str] = set()  # jobs whose seeds have had to wait; logged once
        self.seeding, self.durable = adding.seeding, adding.durable

    async def add(self, job: Job, requests: Sequence[Request], *, seed: bool = False) -> Added:
        """Add as many at a time as there is room for. Raises `FrontierError` when the job is deleted meanwhile."""
        if not seed:
            return await self._adding.add(job, requests)
        added = Added(0, 0)
        while requests:
            room = await self._room(job)
            part = await self._adding.add(job, requests[:room], seed=True)
            added = Added(added.new + part.new, added.known + part.known)
            requests = requests[room:]
        return added

    async def _room(self, job: Job) -> int:
        while (room := self._most - (stats := await self._reading.stats(job)).pending) <= 0:
            if stats.is_pending_paused or await self._is_lacking(stats):
                return self._most
            self._say_full(job)
            await asyncio.sleep(POLL_SECONDS)  # nothing signals new room
        return room

    async def _is_lacking(self, stats: JobStats) -> bool:
        """Whether the workers lack the spider of all that is pending."""
        workers = [] if stats.processing else await self._reading.workers()
        return bool(workers) and all(one.info.get("idle") == LACKING for one in workers)

    def _say_full(self, job: Job) -> None:
        if job.name not in self._full:
            self._full.add(job.name)
            then = "further seeds wait until pages have been fetched; links that pages bring are added all the same"
            log.info("queue_full", job=job.name, maxsize=self._most, then=then)
