"""Publishes the events of a job to a broker (EVENTS_URL). The job's exporter does this, because a job has only one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from crawler.app.broker import broker_of
from crawler.app.config import Config
from crawler.interfaces import Reading
from crawler.model import Job
from crawler.runtime.patience import OUTAGE, Patience, every
from crawler.runtime.tasks import end
from crawler.status import JobStats
from crawler.views.figures import rest_words
from crawler.views.losses import lost

POLL_SECONDS = 1.0  # between two polls of the job
LAST = 2.0  # seconds at most for the last poll, after the job's work has ended

Event = tuple[str, Mapping[str, Any]]


def events_between(before: JobStats | None, now: JobStats) -> Iterator[Event]:
    """Yield what happened to a job between two polls: started, finished, paused, resumed, host_rests,
    host_is_back. `before` is None at the first poll."""
    if before is None and not now.finished:
        yield "started", {}
    paused = {(one.what, one.name): one.why for one in before.paused} if before else {}
    for one in now.paused:
        if (one.what, one.name) not in paused:
            yield "paused", {"what": one.what, "name": one.name, "why": one.why}
    for what, name in paused.keys() - {(one.what, one.name) for one in now.paused}:
        yield "resumed", {"what": what, "name": name}
    rested = {one.host for one in before.resting} if before else set()
    for host in now.resting:
        if host.host not in rested:
            yield "host_rests", {"host": host.host, "why": rest_words(host.turn, now.at), "seconds": host.turn.rest}
    for name in sorted(rested - {one.host for one in now.resting}):
        yield "host_is_back", {"host": name}
    if now.finished and before is not None and not before.finished:
        pages, items = now.counters.get("pages", 0), now.counters.get("items", 0)
        losses = {one.counter: one.count for one in lost(now) if one.counter != "dead"}
        yield "finished", {"pages": pages, "items": items, "dead": now.dead, "lost": losses}


@asynccontextmanager
async def announced(config: Config, reading: Reading, job: Job, begun: asyncio.Event) -> AsyncIterator[None]:
    """Publish the job's events while this is open, from the time when its exporter has begun, and once more at the end.

    Does nothing without EVENTS_URL. Raises `ConfigError` for a URL that cannot be used; a broker that is away, or has
    no such exchange, holds nothing up.
    """
    if not config.settings.EVENTS_URL:
        yield
        return
    from crawler.amqp.events import Events, Words  # the client is an extra

    broker, words = broker_of(config, config.settings.EVENTS_URL, Words)
    events = Events(broker, words, job.name)
    watcher = JobWatcher(lambda: reading.stats(job), events.publish)
    watching = asyncio.create_task(watcher.for_ever(begun))
    try:
        yield
    finally:
        await end(watching)
        try:
            async with asyncio.timeout(LAST):
                if begun.is_set():
                    await watcher.once()
                await events.close()
        except TimeoutError:
            for _ in watcher.untold:
                events.lose(f"the broker does not answer within {LAST:g} s")
        finally:
            events.say_lost()


class JobWatcher:
    """Polls one job, and publishes what has changed since the last poll."""

    def __init__(
        self, stats: Callable[[], Awaitable[JobStats]], publish: Callable[[str, Mapping[str, Any]], Awaitable[None]]
    ) -> None:
        self._stats = stats
        self._publish = publish
        self._before: JobStats | None = None
        self.untold: deque[Event] = deque()
        """What was seen and not published yet."""
        self._patience = Patience(outage=OUTAGE)  # those who work on the job log the outage

    async def once(self) -> None:
        """Poll, and publish."""
        now = await self._patience.attempt(self._stats)
        if now is not None:
            before, self._before = self._before, now
            self.untold += events_between(before, now)
        while self.untold:
            await self._publish(*self.untold.popleft())

    async def for_ever(self, begun: asyncio.Event) -> None:
        """Poll until cancelled, once the exporter has begun."""
        await begun.wait()
        await every(POLL_SECONDS, self.once)
