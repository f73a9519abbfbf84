"""The `export` command."""

from __future__ import annotations

import asyncio

import structlog

from crawler.app.config import Config, needs_server
from crawler.app.connect import Connected, connect
from crawler.app.wiring import exporter
from crawler.errors import FrontierFull, FrontierUnavailable, UsageError
from crawler.model import Job
from crawler.runtime.incident import Incident
from crawler.runtime.signals import calling
from crawler.runtime.tasks import end
from crawler.views.reports import ExportReport

log = structlog.get_logger()

LOOK = 0.5  # seconds between looks at the counters
REPORT = 10.0  # seconds between log lines


async def export(
    config: Config,
    job: str,
    target: str,
    *,
    overwrite: bool = False,
    follow: bool = False,
    until_finished: bool = False,
) -> ExportReport:
    """Outbox → sink: what is there now, or with `follow` until stopped, or until the job is proven finished.

    `target` is a path, or `-` for stdout.
    """
    needs_server(config, "export")
    patient = follow or until_finished
    stop = asyncio.Event()
    async with connect(config) as connected:
        with calling(stop.set):
            record = await _find_job(connected, job, stop if patient else None)
            if record is None:
                return ExportReport(job, target, 0, 0)
            out = exporter(config, connected, record, target, overwrite=overwrite, patient=patient)
            finished = _Finished(connected, record)
            watching = asyncio.create_task(finished.watch()) if until_finished else None
            try:
                await out.run(stop, until=finished.is_set if until_finished else None, follow=patient)
            finally:
                if watching is not None:
                    await end(watching)
        left = (await connected.frontier.stats(record)).outbox
        return ExportReport(job, target, out.items, left)


class _Finished:
    """Set once a job is proven finished. Waits out a queue server that is away."""

    def __init__(self, connected: Connected, job: Job) -> None:
        self._connected = connected
        self._job = job
        self._event = asyncio.Event()

    def is_set(self) -> bool:
        return self._event.is_set()

    async def watch(self) -> None:
        away = Incident("queue_server_away")
        while not self._event.is_set():
            try:
                if (await self._connected.frontier.stats(self._job)).finished:
                    self._event.set()
                away.over()
            except (FrontierUnavailable, FrontierFull) as error:
                away.met(error)
            await asyncio.sleep(LOOK)


async def _find_job(connected: Connected, name: str, stop: asyncio.Event | None) -> Job | None:
    """The job of that name. With `stop`: wait for it to be seeded; None when stopped before."""
    said = False
    while True:
        try:
            jobs = {job.name: job for job in await connected.frontier.jobs()}
        except (FrontierUnavailable, FrontierFull):
            if stop is None:
                raise
            jobs = {}
        if name in jobs:
            return jobs[name]
        if stop is None:
            known = ", ".join(sorted(jobs)) or "none yet; `crawler seed URL` makes one"
            raise UsageError(f"no job {name!r}; jobs: {known}")
        if not said:
            log.info("waiting", why=f"job {name!r} has not been seeded yet")
            said = True
        try:
            await asyncio.wait_for(stop.wait(), 0.5)
        except TimeoutError:
            continue
        return None
