"""The `export` command."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack

import structlog

from crawler.app.config import Config
from crawler.app.connect import connect
from crawler.app.coverage import broken
from crawler.app.events import announced
from crawler.app.losing import code_of
from crawler.app.outputs import with_feeds
from crawler.app.spiders import for_its_spider
from crawler.app.tickets import told
from crawler.app.watching import POLL_SECONDS, Watch
from crawler.app.wiring import exporter, outputs
from crawler.errors import Exit, UsageError
from crawler.export.target import Target
from crawler.interfaces import Jobs, Reading
from crawler.model import Job
from crawler.runtime.patience import Patience, pause
from crawler.runtime.signals import calling
from crawler.runtime.tasks import end
from crawler.views.job_names import no_job
from crawler.views.reports import ExportReport, Output

log = structlog.get_logger()


async def export(
    config: Config,
    job: str,
    given: Sequence[Target],
    *,
    follow: bool = False,
    until_finished: bool = False,
) -> ExportReport:
    """Move items from the outbox to the sinks of FEEDS and those given: those present now, with `follow` until stopped,
    with `until_finished` until the job is proven finished.

    With `follow` alone, the files of the job may have been rotated while no export ran. At the end, what the job has
    lost so far is logged, and is the report's exit code if the command is strict.
    """
    patient = follow or until_finished
    stop = asyncio.Event()
    async with connect(config) as connected:
        with calling(stop.set):
            record = await _find_job(connected.jobs, job, stop if patient else None)
            if record is None:
                return ExportReport(job, tuple(Output(target.shown) for target in given))
            own, unknown = for_its_spider(config, record)
            targets = with_feeds(own.settings, given)
            if not targets:
                raise UsageError(
                    "give a file for the items: -o FILE appends, -O FILE overwrites, -o - is stdout; or write FEEDS"
                )
            out = exporter(config, connected, record, targets, patient=patient, rotated=follow and not until_finished)
            watching = asyncio.create_task(_finished(connected.reading, record)) if until_finished else None
            until = None if watching is None else lambda: watching.done() and watching.result()
            try:
                async with AsyncExitStack() as stack:
                    if patient:
                        await stack.enter_async_context(announced(config, connected.reading, record, out.begun))
                        await stack.enter_async_context(told(config, connected, record, out.begun))
                    await out.run(stop, until=until, follow=patient)
            finally:
                if watching is not None:
                    await end(watching)
        stats = await connected.reading.stats(record)
        code = code_of([stats], strict=config.settings.STRICT)
        if await broken(own.settings, connected.reading, record, stats, unknown) and config.settings.STRICT:
            code = Exit.LOST
        return ExportReport(job, outputs(targets, out), stats.outbox, code)


async def _finished(reading: Reading, job: Job) -> bool:
    """Wait until the job is proven finished, then return True."""
    watch = Watch(lambda: reading.stats(job))
    while not (await watch.next()).finished:
        pass
    return True


async def _find_job(jobs: Jobs, name: str, stop: asyncio.Event | None) -> Job | None:
    """Return the job of that name. With `stop`, wait until it is seeded; return None if stopped first."""
    patience, said = Patience("queue_server_away"), False
    while stop is None or not stop.is_set():
        found = await jobs.all() if stop is None else await patience.attempt(jobs.all)
        for job in found or ():
            if job.name == name:
                return job
        if stop is None:
            raise UsageError(no_job(name, (job.name for job in found or ())))
        if found is not None and not said:
            log.warning("waits_for_job", job=name, why=no_job(name, (job.name for job in found)))
            said = True
        await pause(POLL_SECONDS, stop)
    return None
