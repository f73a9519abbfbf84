"""Tells a broker what becomes of a job (EVENTS_URL). The job's exporter does, because there is one at most."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any

from crawler.amqp.address import read
from crawler.app.broker import tls_for
from crawler.app.config import Config
from crawler.interfaces import Backend
from crawler.model import Job
from crawler.runtime.patience import OUTAGE, Patience
from crawler.runtime.tasks import end
from crawler.status import JobStats
from crawler.views.figures import rest_words
from crawler.worker.supervisor import worker_name

LOOK = 1.0  # seconds between two looks at the job

Event = tuple[str, Mapping[str, Any]]


def events_between(before: JobStats | None, now: JobStats) -> Iterator[Event]:
    """Yield what happened to a job between two looks at it: started, finished, paused, resumed, host_rests,
    host_is_back. `before` is None at the first look."""
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
        yield "finished", {"pages": pages, "items": items, "dead": now.dead}


def announced(config: Config, connected: Backend, job: Job) -> AbstractAsyncContextManager[None]:
    """Tell of the job while this is open, and once more at its end. Does nothing without EVENTS_URL.

    Raises `ConfigError` for a URL that cannot be used; a broker that is away holds nothing up.
    """
    return _announced(config, connected, job) if config.settings.EVENTS_URL else nullcontext()


@asynccontextmanager
async def _announced(config: Config, connected: Backend, job: Job) -> AsyncIterator[None]:
    from crawler.amqp.events import Events, Words  # the client is an extra

    settings = config.settings
    address, words = read(settings.EVENTS_URL, Words, settings.RABBITMQ_PASSWORD)
    events = Events(address, words, name=worker_name(), seconds=settings.BROKER_TIMEOUT, tls=tls_for(config, address))

    async def publish(event: str, facts: Mapping[str, Any]) -> None:
        await events.publish(job.name, event, facts)

    look = _Look(lambda: connected.reading.stats(job), publish)
    await look.once()
    looking = asyncio.create_task(look.for_ever())
    try:
        yield
    finally:
        await end(looking)
        await look.once()
        await events.close()


class _Look:
    """Looks at one job, and tells what has changed since the last time."""

    def __init__(
        self, stats: Callable[[], Awaitable[JobStats]], publish: Callable[[str, Mapping[str, Any]], Awaitable[None]]
    ) -> None:
        self._stats = stats
        self._publish = publish
        self._before: JobStats | None = None
        self._patience = Patience(outage=OUTAGE)  # those who work on the job log the outage

    async def once(self) -> None:
        now = await self._patience.attempt(self._stats)
        if now is not None:
            before, self._before = self._before, now
            for event, facts in events_between(before, now):
                await self._publish(event, facts)

    async def for_ever(self) -> None:
        while True:
            await asyncio.sleep(LOOK)
            await self.once()
