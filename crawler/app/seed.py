"""The `seed` command."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import structlog

from crawler.app.config import Config
from crawler.app.connect import connect, order_of
from crawler.app.jobs import create_job
from crawler.app.wiring import intake, seeder, source
from crawler.interfaces import Backend
from crawler.model import Job, Request
from crawler.status import JobStats
from crawler.views.figures import alive, at_work, no_worker
from crawler.views.reports import SeedReport

log = structlog.get_logger()


async def seed(
    config: Config,
    job: Job,
    urls: Iterable[str | Request],
    *,
    refused: Callable[[str, str], None],
    progress: Callable[[int, int], None] | None = None,
) -> SeedReport:
    """Stream URLs into the job, creating it if it is new.

    Calls `refused(url, why)` for each refused URL, and `progress(new, known)` after each batch.
    """
    async with connect(config) as connected:
        job = await create_job(connected.jobs, job, order_of(config))
        await _say_if_unserved(connected, job)
        seeding = seeder(config, connected, job, refused)
        await seeding.run(urls, progress)
        return SeedReport(job.name, seeding.new, seeding.known, dict(seeding.refused))


async def seed_from(
    config: Config,
    job: Job,
    url: str,
    *,
    idle: float | None,
    refused: Callable[[str, str], None],
    progress: Callable[[int, int], None] | None = None,
) -> SeedReport:
    """Take the messages of a queue of another system into the job, until none has come for `idle` seconds (None: for
    ever). Otherwise like `seed`."""
    messages = source(config, url)
    try:
        await messages.open()
        async with connect(config) as connected:
            job = await create_job(connected.jobs, job, order_of(config))
            await _say_if_unserved(connected, job)
            seeding = intake(config, connected, job, messages, refused)
            await seeding.run(idle, progress)
            return SeedReport(job.name, seeding.new, seeding.known, dict(seeding.refused))
    finally:
        await messages.close()


async def _say_if_unserved(connected: Backend, job: Job) -> None:
    """Log that workers run, but none for this job: its requests would wait, and nobody else tells the seeder."""
    workers, stats = await connected.reading.workers(), JobStats(job.name, job.spider)
    if alive(workers) and not at_work(stats, workers):
        log.warning("nobody_serves", job=job.name, why=no_worker(stats, workers))
