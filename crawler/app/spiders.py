"""The spiders of a project, together with what its settings say of them."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from crawler.app.config import Config, for_one_spider
from crawler.control.routes import unmatched
from crawler.errors import ConfigError, UsageError
from crawler.model import Job
from crawler.parsing.scope import Scope
from crawler.spiders.base import Spider
from crawler.spiders.files import is_file
from crawler.spiders.registry import Registry, find_spiders

log = structlog.get_logger()


def spiders_of(config: Config) -> Registry:
    """Find the spiders of the project. Raise `ConfigError` for the names in SPIDERS that none of them has."""
    if config.registry is not None:
        return config.registry
    registry = _found(config)
    if wrong := unknown_spiders(config, registry):
        raise ConfigError("\n  ".join(wrong))
    return registry


def _found(config: Config) -> Registry:
    return find_spiders(config.folder, config.settings.SPIDER_MODULES, config.settings, config.explicit)


def spider_here(config: Config, name: str, arguments: Mapping[str, str], without: str) -> Spider | None:
    """Return a spider for work that no worker does. If this machine's project has no spider of that name, return None,
    and log what holds `without` it.

    Raise `ConfigError` for one that cannot be used, and while some file is broken, because it may be in there.
    """
    registry = config.registry or _found(config)
    try:
        return registry.make(name, arguments)
    except UsageError as error:
        if registry.broken:
            raise ConfigError(str(error)) from None
        log.warning("spider_not_asked", spider=name, why=str(error), then=without)
        return None


def for_its_spider(config: Config, job: Job) -> tuple[Config, str]:
    """Return `config` with what the job's spider sets, as `for_one_spider` does, and why that is not known, which is
    logged: the spider cannot be used. Empty if it can, or if this machine does not have it."""
    without = "FEEDS, COVERAGE_RULES and MIN_ITEMS of settings.py hold"
    try:
        spider = spider_here(config, job.spider, job.arguments, without)
    except ConfigError as error:
        log.warning("spider_not_asked", spider=job.spider, why=str(error), then=without)
        return for_one_spider(config, {}, job.spider), str(error)
    return for_one_spider(config, spider.custom_settings if spider else {}, job.spider), ""


def unknown_spiders(config: Config, registry: Registry) -> list[str]:
    """Return one sentence for each spider that SPIDERS names and the project does not have. With one file alone the
    others are not known."""
    if any(map(is_file, config.settings.SPIDER_MODULES)):
        return []
    return [f"SPIDERS: {text}" for text in registry.unknown(config.settings.SPIDERS)]


def routed_unknown_spiders(config: Config, registry: Registry) -> list[str]:
    """Return the same for ROUTES: a mistake in the project of that spider only, because a fleet shares its routes."""
    return [f"ROUTES: {text}" for text in registry.unknown(unmatched(config.settings.ROUTES, registry.names()))]


def spider_of(registry: Registry, url: str) -> str:
    """Return the name of the spider that has the canonical URL's domain in its allowed_domains; empty if none has.

    Raise `UsageError` if several have.
    """
    domains = {name: registry.get(name).allowed_domains for name in registry.names()}
    found = [name for name, some in domains.items() if some and Scope(some).reason_out(url) is None]
    if len(found) > 1:
        raise UsageError(f"{url} is in the allowed_domains of {len(found)} spiders: --spider {' or '.join(found)}")
    return found[0] if found else ""
