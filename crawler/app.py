"""What the commands do, built from the parts that `wiring.py` makes. `crawl` has a file of its own."""

from __future__ import annotations

import asyncio
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable

import structlog

from crawler.contact import ContactCheck
from crawler.crawl import HELD, TRY_LATER, crawl
from crawler.ending import end
from crawler.errors import FrontierFull, FrontierUnavailable, UsageError
from crawler.incident import Incident, Pauses
from crawler.model import Job, JobStats, Request
from crawler.reports import CrawlReport, ExportReport, Progress, SeedReport
from crawler.signals import calling, draining
from crawler.supervisor import sibling_names
from crawler.wiring import Config, Connected, connect, data_dir, exporter, seeder, supervisor

log = structlog.get_logger()

LOOK = 0.5  # seconds between looks at the counters
REPORT = 10.0  # seconds between log lines


# --- the single steps


async def seed(
    config: Config,
    job: Job,
    urls: Iterable[str | Request],
    *,
    refused: Callable[[str, str], None],
    progress: Callable[[int, int], None] | None = None,
) -> SeedReport:
    """Stream URLs into the job, creating it when it is new.

    `refused(url, why)` is called for each that is not taken, `progress(new, known)` now and then.
    """
    async with connect(config) as connected:
        job = await connected.frontier.create_job(job)
        seeding = seeder(config, connected, job, refused)
        await seeding.run(urls, progress)
        return SeedReport(job.name, seeding.new, seeding.known, dict(seeding.refused))


async def work(
    config: Config,
    *,
    jobs: tuple[str, ...] = (),
    processes: int = 0,
    concurrency: int = 0,
    until_finished: bool = False,
) -> int:
    """Run a supervisor and its worker processes until stopped, or until the jobs (all, when none is named) are
    proven finished and their outboxes drained by an exporter that is at work, or until all that is left of them is
    paused. Returns the exit code."""
    _needs_server(config, "worker")
    async with connect(config) as connected:
        crew = supervisor(config, connected, jobs, concurrency)
        with draining(crew):
            running = asyncio.create_task(crew.run(processes or config.settings.PROCESSES or os.cpu_count() or 1))
            watching = asyncio.create_task(_watch_jobs(connected, jobs, until_finished))
            meeting = asyncio.create_task(_watch_hosts(connected, ContactCheck(config.settings.USER_AGENT)))
            try:
                await asyncio.wait({running, watching}, return_when=asyncio.FIRST_COMPLETED)
                if watching.done():
                    crew.stop()
                code = await running
            finally:
                await end(running, watching, meeting)
            held = not watching.cancelled() and watching.result()
        return TRY_LATER if held and not code else code


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
    _needs_server(config, "export")
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


# --- watching


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


async def _watch_jobs(connected: Connected, names: tuple[str, ...], until_finished: bool) -> bool:
    """Log how the jobs stand every 10 s; with `until_finished` return when they have ended.

    True: of some all that is left is paused.
    """
    away, pauses = Incident("queue_server_away"), defaultdict[str, Pauses](Pauses)
    reported = time.monotonic()
    waiting_for_export = False
    while True:
        await asyncio.sleep(LOOK)
        try:
            jobs = [job for job in await connected.frontier.jobs() if not names or job.name in names]
            stats = [await connected.frontier.stats(job) for job in jobs]
            exporters = [await connected.outbox.holder(job) for job in jobs]
            away.over()
        except (FrontierUnavailable, FrontierFull) as error:
            away.met(error)
            continue
        if time.monotonic() - reported >= REPORT:
            reported = time.monotonic()
            _report(stats)
        held = [one.job for one in stats if pauses[one.job].seen(one) > HELD]
        if not until_finished or not jobs or len(jobs) < len(names):
            continue
        if not all(one.finished or one.job in held for one in stats):
            continue
        undrained = [one for one, holder in zip(stats, exporters, strict=True) if one.outbox and holder]
        if not undrained:
            for one in stats:
                if one.outbox:
                    log.warning("items_wait", job=one.job, pages=one.outbox, why="no exporter is running")
            return bool(held)
        if not waiting_for_export:
            waiting_for_export = True
            log.info("finished_waiting_for_exporter", jobs=[one.job for one in undrained])


async def _watch_hosts(connected: Connected, contact: ContactCheck) -> None:
    """Tell the check which hosts the worker processes of this command have asked, until it has made up its mind."""
    ours = sibling_names()
    while not contact.settled:
        await asyncio.sleep(LOOK)
        try:
            workers = await connected.frontier.workers()
        except (FrontierUnavailable, FrontierFull):
            continue
        for worker in workers:
            if worker.worker.startswith(ours):
                for host in worker.info.get("hosts", {}):
                    contact.met(host)


def _report(stats: list[JobStats]) -> None:
    if not stats:
        log.info("waiting", why="no job has been seeded yet")
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


def _needs_server(config: Config, command: str) -> None:
    if config.settings.REDIS_URL.startswith("memory:"):
        raise UsageError(
            f"REDIS_URL={config.settings.REDIS_URL} lives in one process, so `{command}` would find nothing in it; "
            "use `crawler crawl`, or a Redis or Valkey server"
        )


__all__ = [
    "Config",
    "Connected",
    "CrawlReport",
    "ExportReport",
    "Progress",
    "SeedReport",
    "connect",
    "crawl",
    "data_dir",
    "export",
    "seed",
    "work",
]
