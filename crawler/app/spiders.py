"""The spiders of a project, together with what its settings say of them."""

from __future__ import annotations

from crawler.app.config import Config
from crawler.control.routes import unmatched
from crawler.errors import ConfigError, UsageError
from crawler.parsing.scope import Scope
from crawler.spiders.files import is_file
from crawler.spiders.registry import Registry, find_spiders


def spiders_of(config: Config) -> Registry:
    """Find the spiders of the project. Raise `ConfigError` for the names in SPIDERS that none of them has."""
    registry = find_spiders(config.folder, config.settings.SPIDER_MODULES, config.settings, config.explicit)
    if wrong := unknown_spiders(config, registry):
        raise ConfigError("\n  ".join(wrong))
    return registry


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
