"""The `worker` command: runs a supervisor and watches the jobs."""

from __future__ import annotations

import asyncio
import os
import time
from collections import defaultdict

import structlog

from crawler.app.config import Config
from crawler.app.connect import connect
from crawler.app.item_files import files_of
from crawler.app.losing import code_of
from crawler.app.watching import LACKING_SECONDS, PAUSED_SECONDS, Lacking, Unserved, Watch
from crawler.app.wiring import supervisor
from crawler.control.pauses import Pauses
from crawler.control.routes import Assignment, assignment
from crawler.errors import Exit
from crawler.interfaces import Backend, Reading
from crawler.program import PROGRAM
from crawler.runtime.signals import draining
from crawler.runtime.tasks import end
from crawler.seeding.contact import ContactCheck
from crawler.status import JobStats, WorkerInfo
from crawler.views.figures import nobody_exports
from crawler.views.job_names import no_job
from crawler.worker.supervisor import sibling_names

log = structlog.get_logger()

REPORT = 10.0  # seconds between log lines
UNEXPORTED = 100  # pages in the outbox without an exporter that are worth a log line


async def work(
    config: Config,
    *,
    jobs: tuple[str, ...] = (),
    queues: tuple[str, ...] = (),
    processes: int = 0,
    concurrency: int = 0,
    until_finished: bool = False,
) -> int:
    """Run a supervisor and its worker processes until stopped. Return the exit code.

    They take the jobs of these names and queues (see `control/routes.py`). Raise `UsageError` for an unknown queue.
    With `until_finished`, also end when their jobs are proven finished and a running exporter has
    drained their outboxes, or when only paused requests are left.
    """
    assigned = assignment(config.settings.ROUTES, jobs, queues)
    if assigned.queues:
        log.info("takes_queues", queues=assigned.queues, why="--queue chooses them, ROUTES say which jobs they have")
    files_of(config, config.settings)  # raises before a process is started
    async with connect(config) as connected:
        crew = supervisor(config, connected, jobs, concurrency, queues)
        with draining(crew):
            running = asyncio.create_task(crew.run(processes or config.settings.PROCESSES or os.cpu_count() or 1))
            watching = asyncio.create_task(_watch_jobs(connected, assigned, until_finished))
            meeting = asyncio.create_task(_watch_hosts(connected.reading, ContactCheck(config.settings.USER_AGENT)))
            try:
                await asyncio.wait({running, watching}, return_when=asyncio.FIRST_COMPLETED)
                if watching.done():
                    crew.stop()
                code = await running
            finally:
                await end(running, watching, meeting)
            ended = [] if watching.cancelled() else watching.result()
        return code or _code(ended, strict=config.settings.STRICT)


def _code(ended: list[JobStats], *, strict: bool) -> int:
    """Log what the jobs have lost, and return the exit code."""
    code = code_of(ended, strict=strict)
    return code if all(one.finished for one in ended) else Exit.TRY_LATER


async def _watch_jobs(connected: Backend, assigned: Assignment, until_finished: bool) -> list[JobStats]:
    """Log the progress of the jobs every 10 s; with `until_finished`, return their figures when all have ended: those
    that are not finished have only requests left that are paused or that no worker can read.
    """

    names, unserved = assigned.jobs, Unserved(connected.jobs, connected.reading, assigned)
    unsaid = set(names)

    async def look() -> tuple[list[JobStats], list[str], list[WorkerInfo]]:
        everything = await connected.jobs.all()
        jobs = [job for job in everything if assigned.has(job.name, job.spider)]
        for name in sorted(unsaid - {job.name for job in everything}):
            log.warning("waits_for_job", job=name, why=no_job(name, (job.name for job in everything)))
        unsaid.clear()
        stats = [await connected.reading.stats(job) for job in jobs]
        return stats, [await connected.outbox.holder(job) for job in jobs], await connected.reading.workers()

    watch, pauses, lacking = Watch(look), defaultdict[str, Pauses](Pauses), defaultdict[str, Lacking](Lacking)
    unexported = _Unexported()
    reported = time.monotonic()
    waiting_for_export = False
    while True:
        stats, exporters, workers = await watch.next()
        if time.monotonic() - reported >= REPORT:
            reported = time.monotonic()
            _report(stats, assigned)
            if assigned.queues:
                await unserved.look(workers)
        unexported.seen(stats)
        paused = [one.job for one in stats if pauses[one.job].seen(one) > PAUSED_SECONDS]
        paused += [one.job for one in stats if lacking[one.job].seen(one, workers) > LACKING_SECONDS]
        if not until_finished or not stats or len(stats) < len(names):
            continue
        if not all(one.finished or one.job in paused for one in stats):
            continue
        undrained = [one for one, holder in zip(stats, exporters, strict=True) if one.outbox and holder]
        if not undrained:
            for one in stats:
                if one.outbox:
                    why = f"no exporter is running; start: {PROGRAM} export --job {one.job} -o FILE"
                    log.warning("items_wait", job=one.job, pages=one.outbox, why=why)
            return stats
        if not waiting_for_export:
            waiting_for_export = True
            log.info("finished_waiting_for_exporter", jobs=[one.job for one in undrained])


class _Unexported:
    """Logs once for each job that its items wait and nobody writes them, long before the outbox is full."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def seen(self, stats: list[JobStats]) -> None:
        for one in stats:
            if one.exporter:
                self._said.discard(one.job)
            elif one.outbox >= UNEXPORTED and one.job not in self._said and (why := nobody_exports(one)):
                self._said.add(one.job)
                log.warning("nobody_exports", job=one.job, pages=one.outbox, why=why)


async def _watch_hosts(reading: Reading, contact: ContactCheck) -> None:
    """Pass the hosts that this command's worker processes have asked to the check, until it is settled."""
    ours = sibling_names()
    watch = Watch(reading.workers, event="")
    while not contact.settled:
        for worker in await watch.next():
            if worker.worker.startswith(ours):
                for host in (host for hosts in worker.info.get("job_hosts", {}).values() for host in hosts):
                    contact.met(host)


def _report(stats: list[JobStats], assigned: Assignment) -> None:
    if not stats:
        queues = f" that ROUTES lead to the queue {' or '.join(assigned.queues)}" if assigned.queues else ""
        names = f" named {' or '.join(assigned.jobs)}" if assigned.jobs else ""
        log.info("waiting", why=f"no job{names}{queues} has been seeded yet")
    for one in stats:
        if not one.finished:
            log.info(
                "progress",
                job=one.job,
                pages=one.counters.get("pages", 0),
                items=one.counters.get("items", 0),
                pending=one.pending,
                processing=one.processing,
                dead=one.dead,
                outbox=one.outbox,
            )
