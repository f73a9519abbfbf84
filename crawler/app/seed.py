"""The `seed` command."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import structlog

from crawler.app.config import Config
from crawler.app.connect import connect, order_of
from crawler.app.jobs import create_job, exists
from crawler.app.limits import set_limits
from crawler.app.wiring import intake, seeder, source
from crawler.interfaces import Backend, Closing, Reading
from crawler.model import Job, Limits, Request
from crawler.program import PROGRAM
from crawler.spiders.own_seeds import OwnSeeds
from crawler.status import JobStats
from crawler.views.figures import alive, at_work, no_worker
from crawler.views.reports import SeedReport

log = structlog.get_logger()


async def seed(
    config: Config,
    job: Job,
    urls: Iterable[str | Request],
    *,
    limits: Limits = Limits(),  # noqa: B008 - a constant
    refused: Callable[[str, str], None],
    progress: Callable[[int, int], None] | None = None,
) -> SeedReport:
    """Stream URLs into the job, creating it if it is new. `limits`, if there are any, replace those that it has. A new
    job of which every URL was refused is deleted again: the next call may give it another spider.

    Calls `refused(url, why)` for each refused URL, and `progress(new, known)` after each batch.
    """
    async with connect(config) as connected:
        is_new = not await exists(connected.jobs, job.name)
        job = await _made(config, connected, job, limits)
        seeding = seeder(config, connected.adding, job, refused)
        await seeding.run(urls, progress)
        await close_if_asked(connected.closing, job, urls)
        if is_new and seeding.refused and not (await connected.reading.stats(job)).known:
            await connected.jobs.delete(job.name)
        return SeedReport(job.name, seeding.new, seeding.known, dict(seeding.refused))


async def seed_from(
    config: Config,
    job: Job,
    url: str,
    *,
    idle: float | None,
    limits: Limits = Limits(),  # noqa: B008 - a constant
    refused: Callable[[str, str], None],
    progress: Callable[[int, int], None] | None = None,
) -> SeedReport:
    """Take the messages of a queue of another system into the job, until none has come for `idle` seconds (None: for
    ever). Otherwise like `seed`."""
    messages = source(config, url)
    try:
        await messages.open()
        async with connect(config) as connected:
            job = await _made(config, connected, job, limits)
            seeding = intake(config, connected.adding, connected.asking, job, messages, refused)
            await seeding.run(idle, progress)
            return SeedReport(job.name, seeding.new, seeding.known, dict(seeding.refused))
    finally:
        await messages.close()


async def _made(config: Config, connected: Backend, job: Job, limits: Limits) -> Job:
    job = await create_job(connected.jobs, job, order_of(config))
    if limits != Limits():
        await set_limits(connected.reading, connected.closing, job, limits)
    await _say_if_unserved(connected.reading, job)
    if closed := (await connected.reading.stats(job)).closed:
        log.warning("job_is_closed", job=job.name, why=closed, then=f"{PROGRAM} control resume job:{job.name}")
    return job


async def close_if_asked(closing: Closing, job: Job, urls: Iterable[str | Request]) -> None:
    """Close the job if the spider's code has asked for that while it named its seeds."""
    if isinstance(urls, OwnSeeds) and urls.closed:
        await closing.close(job, urls.closed)


async def _say_if_unserved(reading: Reading, job: Job) -> None:
    """Log that workers run, but none for this job: its requests would wait, and nobody else tells the seeder."""
    workers, stats = await reading.workers(), JobStats(job.name, job.spider)
    if alive(workers) and not at_work(stats, workers):
        log.warning("nobody_serves", job=job.name, why=no_worker(stats, workers))
