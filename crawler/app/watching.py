"""Polls the queue for the commands that wait for a job."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from crawler.runtime.patience import Patience

LOOK_SECONDS = 0.5  # between two polls
PAUSED_SECONDS = 3.0  # a command ends once only paused requests have been left for this long

Seen = TypeVar("Seen")


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
