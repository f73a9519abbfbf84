"""Side task: returns the requests of workers whose heartbeat has expired to pending. Any number may run at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from crawler.model import Reaped
from crawler.runtime.patience import Patience

log = structlog.get_logger()


class Reaper:
    """Reaps every quarter of a lease, but not when an outage of the server may be why workers are silent.

    After an outage every heartbeat is late, and a reaper would take requests from living workers. So after an outage
    that it has met itself, or after another server has begun to answer (it has started, or it is a promoted replica,
    which lacks the last heartbeats), the reaper waits for a whole lease, in which every living worker sends one.
    """

    def __init__(
        self,
        reap: Callable[[], Awaitable[list[Reaped]]],
        lease_seconds: float,
        uptime: Callable[[], Awaitable[float]],
    ) -> None:
        """`reap()` takes back the requests of expired workers; `uptime()` returns for how many seconds the same server
        has answered."""
        self._reap = reap
        self._lease = lease_seconds
        self._uptime = uptime
        self._not_before = 0.0  # monotonic seconds
        self._patience = Patience("reaper_waits")

    async def run(self) -> None:
        """Reap until cancelled."""
        while True:
            if await self._patience.attempt(self.look) is None:
                self._not_before = time.monotonic() + self._lease
            await asyncio.sleep(self._lease / 4)

    async def look(self) -> int:
        """Reap once, unless the reaper must wait. Returns the number of requests taken back."""
        if time.monotonic() < self._not_before:
            return 0
        up = await self._uptime()
        if up < self._lease:
            self._not_before = time.monotonic() + self._lease - up
            return 0
        total = 0
        for reaped in await self._reap():
            total += reaped.requeued + reaped.dead
            log.warning("worker_reaped", worker=reaped.worker, requeued=reaped.requeued, dead=reaped.dead)
        return total
