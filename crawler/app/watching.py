"""Polls the queue for the commands that wait for a job."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from crawler.model import LACKING
from crawler.runtime.patience import Patience
from crawler.status import JobStats, WorkerInfo
from crawler.views.figures import at_work

LOOK_SECONDS = 0.5  # between two polls
PAUSED_SECONDS = 3.0  # a command ends once only paused requests have been left for this long

LACKING_SECONDS = 30.0  # the same for requests that no worker at work can read

Seen = TypeVar("Seen")


class Lacking:
    """Measures for how long all workers of a job have met only requests whose spider or callback they lack."""

    def __init__(self) -> None:
        self._since: float | None = None

    def seen(self, stats: JobStats, workers: Sequence[WorkerInfo]) -> float:
        """Return the seconds; 0 if a worker can do something."""
        now, ours = time.monotonic(), at_work(stats.job, workers)
        is_stuck = bool(ours) and not stats.processing and all(one.info.get("idle") == LACKING for one in ours)
        self._since = (self._since or now) if is_stuck and not stats.finished else None
        return now - self._since if self._since is not None else 0.0


class Watch(Generic[Seen]):
    """Repeats `look` twice a second. Waits out an outage and logs it as `event` (empty: does not log it)."""

    def __init__(self, look: Callable[[], Awaitable[Seen]], event: str = "queue_server_away") -> None:
        self._look = look
        self._patience = Patience(event)
        self._pause = 0.0  # seconds before the next poll

    async def next(self) -> Seen:
        """Wait for the next poll and return what `look` found."""
        while True:
            await asyncio.sleep(self._pause)
            self._pause = LOOK_SECONDS
            seen = await self._patience.attempt(self._look)
            if seen is not None:
                return seen
