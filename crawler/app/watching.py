"""Looks at the queue again and again, for the commands that wait for a job."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from crawler.runtime.patience import Patience

LOOK_SECONDS = 0.5  # between two looks
PAUSED_SECONDS = 3.0  # for which nothing but what is paused must have been left before a command ends

Seen = TypeVar("Seen")


class Watch(Generic[Seen]):
    """Repeats `look`, twice a second. An outage is waited out, and logged as `event` (empty: it is not logged)."""

    def __init__(self, look: Callable[[], Awaitable[Seen]], event: str = "queue_server_away") -> None:
        self._look = look
        self._patience = Patience(event)
        self._pause = 0.0  # before the next look

    async def next(self) -> Seen:
        """What there is to see by now."""
        while True:
            await asyncio.sleep(self._pause)
            self._pause = LOOK_SECONDS
            seen = await self._patience.attempt(self._look)
            if seen is not None:
                return seen
