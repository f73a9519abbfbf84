"""The `export --ordered` command: exports each job that a task waits for, until the task has its result."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial

from msgspec.structs import replace

from crawler.app.config import Config
from crawler.app.connect import connect
from crawler.app.coverage import broken
from crawler.app.sinks import check_targets
from crawler.app.spiders import for_its_spider
from crawler.app.tickets import POLL_SECONDS, Telling, celery_results
from crawler.app.wiring import exporter
from crawler.errors import ConfigError, UsageError
from crawler.export.exporter import Exporter
from crawler.export.formats import is_path
from crawler.export.target import Target
from crawler.interfaces import Backend
from crawler.model import Job, Ticket
from crawler.runtime.patience import OUTAGE, Patience, every
from crawler.runtime.signals import calling
from crawler.worker.supervisor import worker_name

PLACE = "{job}"


async def export_ordered(config: Config, targets: Sequence[Target]) -> int:
    """Export the jobs that tasks of CELERY_APP wait for, each to its own targets, until stopped. Return how many items.

    Raise `UsageError` if all would go to one file, `ConfigError` without CELERY_APP.
    """
    if not config.settings.CELERY_APP:
        raise ConfigError(
            "--ordered exports what tasks of Celery have ordered: set CELERY_APP, such as shop.celery:app"
        )
    for target in targets:
        _check(target)
    check_targets(config, _of_job(targets, "probe"))
    stop = asyncio.Event()
    results = celery_results(config)
    async with connect(config) as connected:
        run = _Ordered(config, connected, targets, Telling(config, connected, results))
        with calling(stop.set):
            await run.until(stop)
        return run.items


class _Ordered:
    """The exports that run, by job. `items` counts those written."""

    def __init__(self, config: Config, connected: Backend, targets: Sequence[Target], telling: Telling) -> None:
        self._config = config
        self._connected = connected
        self._targets = targets
        self._telling = telling
        self._name = worker_name()
        self._running: dict[str, _Export] = {}  # epoch of a job → its export
        self._patience = Patience("queue_server_away")
        self._stop = asyncio.Event()
        self.items = 0

    async def until(self, stop: asyncio.Event) -> None:
        """Export and tell until `stop` is set."""
        try:
            await every(POLL_SECONDS, lambda: self._patience.attempt(self._look), stop)
        finally:
            self._stop.set()
            await asyncio.gather(*(one.task for one in self._running.values()), return_exceptions=True)
            self._end({})

    async def _look(self) -> None:
        tickets = await self._connected.tickets.open()
        jobs = {job.epoch: job for job in await self._connected.jobs.all()} if tickets else {}
        waiting: dict[str, list[Ticket]] = {}
        for ticket in tickets:
            if ticket.epoch in jobs:
                waiting.setdefault(ticket.epoch, []).append(ticket)
            elif await self._has_right(Job(ticket.job, epoch=ticket.epoch)):
                await self._telling.tell_deleted(ticket)
        for epoch, its in waiting.items():
            await self._serve(jobs[epoch], its)
        self._end(waiting)

    async def _serve(self, job: Job, tickets: Sequence[Ticket]) -> None:
        """Export one job, and tell those who wait for it, if this process has the right to."""
        if not await self._has_right(job):
            return
        if not any(ticket.is_page for ticket in tickets) and job.epoch not in self._running:
            targets = _of_job(self._targets, job.name)
            out = exporter(self._config, self._connected, job, targets, patient=True, name=self._name)
            self._running[job.epoch] = _Export(out, self._stop, partial(self._say_broken, job))
        await self._telling.tell(job, tickets)

    async def _say_broken(self, job: Job) -> None:
        """Log the rules of its spider that the items of a finished job break."""
        own, unknown = for_its_spider(self._config, job)
        reading = self._connected.reading

        async def say() -> None:
            await broken(own.settings, reading, job, await reading.stats(job), unknown)

        with suppress(*OUTAGE):  # stopped during an outage
            await Patience().until_done(say, self._stop)  # `until` logs the outage

    async def _has_right(self, job: Job) -> bool:
        holder = await self._connected.outbox.hold(job, self._name, self._config.settings.LEASE_SECONDS)
        return holder == self._name

    def _end(self, waiting: dict[str, list[Ticket]]) -> None:
        """End the exports of jobs that nobody waits for any more, and forget those that have ended."""
        for epoch, one in list(self._running.items()):
            one.is_wanted = epoch in waiting
            if one.task.done():
                self.items += one.exporter.items
                del self._running[epoch]
                error = one.task.exception()
                if error is not None and not isinstance(error, UsageError):  # that one: the job was deleted
                    raise error


class _Export:
    """The export of one job, which ends when the job is no longer wanted and its outbox is empty; then it calls
    `ended`, unless it is stopped before."""

    def __init__(self, out: Exporter, stop: asyncio.Event, ended: Callable[[], Awaitable[None]]) -> None:
        self.is_wanted = True
        self.exporter = out
        self.task = asyncio.create_task(self._run(stop, ended), name="export")

    async def _run(self, stop: asyncio.Event, ended: Callable[[], Awaitable[None]]) -> None:
        await self.exporter.run(stop, until=lambda: not self.is_wanted, follow=True)
        if not self.is_wanted:
            await ended()


def _check(target: Target) -> None:
    if target.overwrite:
        raise UsageError("--ordered adds to files: write -o")
    if is_path(target.name) and PLACE not in target.name:
        raise UsageError(
            f"-o {target.name}: each job needs a file of its own; write for example -o 'items/{PLACE}.jsonl'"
        )


def _of_job(targets: Sequence[Target], job: str) -> list[Target]:
    return [replace(target, name=target.name.replace(PLACE, job)) for target in targets]
