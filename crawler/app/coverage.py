"""Checks the items of a finished job against the rules of its spider: COVERAGE_RULES and MIN_ITEMS."""

from __future__ import annotations

import structlog

from crawler.interfaces import Reading
from crawler.model import Job
from crawler.settings import Settings
from crawler.status import JobStats
from crawler.views.coverage import broken_rules

log = structlog.get_logger()


async def broken(settings: Settings, reading: Reading, job: Job, stats: JobStats, unknown: str = "") -> tuple[str, ...]:
    """Log each rule that the items of a finished job break, and return them as sentences. `settings`: those for the
    job's spider; `unknown`: why its own are not known, which counts as a rule that is broken."""
    if not stats.finished:
        return ()
    found = [f"the rules of spider {job.spider} are not known: {unknown}"] if unknown else []
    if settings.COVERAGE_RULES or settings.MIN_ITEMS:
        coverage = [one for one in await reading.coverage(job) if one.callback.startswith(f"{job.spider}.")]
        items = stats.counters.get("items", 0)
        found += broken_rules(coverage, settings.COVERAGE_RULES, settings.MIN_ITEMS, items)
    for why in found:
        log.warning("coverage_rule_broken", job=job.name, why=why)
    return tuple(found)
