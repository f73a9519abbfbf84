"""Checks the items of a finished job against the rules of its spider: COVERAGE_RULES and MIN_ITEMS."""

from __future__ import annotations

import structlog

from crawler.app.config import Config
from crawler.app.spiders import spiders_of
from crawler.errors import ConfigError, UsageError
from crawler.interfaces import Backend
from crawler.model import Job
from crawler.settings import Settings, override, own_settings
from crawler.spiders.registry import Registry
from crawler.status import JobStats
from crawler.views.coverage import broken_rules

log = structlog.get_logger()


async def broken(
    config: Config, connected: Backend, job: Job, stats: JobStats, registry: Registry | None = None
) -> tuple[str, ...]:
    """Log each rule that the items of a finished job break, and return them as sentences."""
    settings = _settings_of(config, job.spider, registry)
    if not stats.finished or not (settings.COVERAGE_RULES or settings.MIN_ITEMS):
        return ()
    coverage = [one for one in await connected.reading.coverage(job) if one.callback.startswith(f"{job.spider}.")]
    found = tuple(broken_rules(coverage, settings.COVERAGE_RULES, settings.MIN_ITEMS, stats.counters.get("items", 0)))
    for why in found:
        log.warning("coverage_rule_broken", job=job.name, why=why)
    return found


def _settings_of(config: Config, spider: str, registry: Registry | None) -> Settings:
    """The settings of the spider; on a machine that does not have it, what settings.py says of it."""
    try:
        custom = (registry or spiders_of(config)).get(spider).custom_settings
    except (UsageError, ConfigError):
        custom = {}
    own = own_settings(config.settings, spider, custom)
    return override(config.settings, own, f"spider {spider}", keep=config.explicit)
