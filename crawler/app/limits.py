"""The limits at which a job is closed, from settings and the command line; and how jobs have ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Any

from crawler.app.config import Config
from crawler.errors import ConfigError, FrontierError
from crawler.interfaces import Closing, Jobs, Reading
from crawler.model import Job, Limits
from crawler.settings import override, own_settings
from crawler.spiders.base import Spider
from crawler.status import OWN, JobStats, WorkerInfo
from crawler.views.figures import at_work, group, job_figures, several

TOLD_WITHIN = 2.0  # seconds that the end of a worker waits at most to learn how its jobs have ended


def limits_of(config: Config, spider: Spider, pages: int = 0) -> Limits:
    """Return the limits that the settings name for a spider; `pages`, if given, in place of CLOSESPIDER_PAGECOUNT."""
    own = own_settings(config.settings, spider.name, spider.custom_settings)
    settings = override(config.settings, own, f"spider {spider.name}", keep=config.explicit)
    return Limits(
        pages=pages or settings.CLOSESPIDER_PAGECOUNT,
        items=settings.CLOSESPIDER_ITEMCOUNT,
        errors=settings.CLOSESPIDER_ERRORCOUNT,
        seconds=settings.CLOSESPIDER_TIMEOUT,
        pages_without_item=settings.CLOSESPIDER_PAGECOUNT_NO_ITEM,
        seconds_without_item=settings.CLOSESPIDER_TIMEOUT_NO_ITEM,
    )


async def set_limits(reading: Reading, closing: Closing, job: Job, limits: Limits) -> None:
    """Set the job's limits; none: lift them.

    Raise `ConfigError` while workers of an earlier version would take its requests, because they know no limits.
    """
    stats = await reading.stats(job)
    if limits == stats.limits == Limits():
        return
    if limits != Limits():
        _check_workers(stats, await reading.workers())
    await closing.limit(job, limits)


async def end_reasons(
    jobs: Jobs, reading: Reading, epochs: Collection[str], learn: Callable[[str, Mapping[str, Any]], None]
) -> dict[str, str]:
    """Return Scrapy's word for the end of each of these jobs, by epoch, as far as the queue server tells it at once:
    `finished`, or why it was closed. A job that goes on has none. `learn` gets the epoch and the figures of each."""
    reasons: dict[str, str] = {}
    with suppress(FrontierError, TimeoutError):
        async with asyncio.timeout(TOLD_WITHIN):
            for job in await jobs.all() if epochs else ():
                stats = await reading.stats(job) if job.epoch in epochs else None
                if stats:
                    learn(job.epoch, {**group(stats.counters, OWN), **job_figures(stats)})
                if stats and (stats.closed or stats.finished):
                    reasons[job.epoch] = stats.closed or "finished"
    return reasons


def _check_workers(stats: JobStats, workers: list[WorkerInfo]) -> None:
    older = [one for one in at_work(stats, workers) if one.info and not one.info.get("limits")]
    if older:
        raise ConfigError(
            f"job {stats.job}: {several(len(older), 'worker')} of an earlier version ({older[0].worker}) would read "
            "more pages than the limit; replace them first, or leave out --limit and the settings CLOSESPIDER_*"
        )
