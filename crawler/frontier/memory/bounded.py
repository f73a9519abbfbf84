"""A bound on pending requests, for seeders alone: `memory://?maxsize=N`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from crawler.interfaces import Adding, Reading
from crawler.model import Added, Job, Request

POLL_SECONDS = 0.02  # between two checks for room


class Bounded:
    """Implements `Adding`: a seeder waits while its job has `most` requests pending.

    The links of a page never wait, because the worker that adds them is the one that makes room.
    """

    def __init__(self, adding: Adding, reading: Reading, most: int) -> None:
        self._adding = adding
        self._reading = reading
        self._most = most
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
        while (room := self._most - (await self._reading.stats(job)).pending) <= 0:  # noqa: ASYNC110 - nothing signals new room
            await asyncio.sleep(POLL_SECONDS)
        return room
