"""Runs a worker with its side tasks, and ends them in the right order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress

import structlog

from crawler.errors import FrontierError
from crawler.runtime.tasks import end
from crawler.worker.heartbeat import Heartbeat
from crawler.worker.listener import Listener
from crawler.worker.reaper import Reaper
from crawler.worker.worker import Worker

log = structlog.get_logger()


class RunningWorker:
    """A worker with its side tasks: heartbeat, reaper and listener. `sign_off()` ends its lease."""

    def __init__(
        self,
        worker: Worker,
        heartbeat: Heartbeat,
        reaper: Reaper,
        listener: Listener,
        sign_off: Callable[[], Awaitable[object]],
        stack: AsyncExitStack,
    ) -> None:
        self.worker = worker
        self._sign_off = sign_off
        self._heartbeat = heartbeat
        self._reaper = reaper
        self._listener = listener
        self._stack = stack

    async def until_stopped(self) -> None:
        """Run until stopped. The end has an order: stop claiming, drain, commit; only then may the lease run out."""
        self._heartbeat.start()
        sides = [
            asyncio.create_task(self._reaper.run(), name="reap"),
            asyncio.create_task(self._listener.run(), name="listen"),
        ]
        working = asyncio.create_task(self.worker.run(), name="work")
        try:
            await asyncio.wait({*sides, working}, return_when=asyncio.FIRST_COMPLETED)
            for side in sides:
                if side.done():
                    side.result()  # it ends only by an error, which this raises
            await working
        finally:
            await end(*sides, working)
            await asyncio.to_thread(self._heartbeat.stop)
            with suppress(FrontierError):  # then the lease runs out by itself, and a reaper logs the worker as reaped
                await self._sign_off()
            await self._stack.aclose()
