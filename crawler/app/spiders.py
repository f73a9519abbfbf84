"""The spiders of a project, together with what its settings say of them."""

from __future__ import annotations

from crawler.app.config import Config
from crawler.control.routes import unmatched
from crawler.errors import ConfigError
from crawler.spiders.registry import Registry, find_spiders


def spiders_of(config: Config) -> Registry:
    """Find the spiders of the project. Raise `ConfigError` for the names in SPIDERS that none of them has."""
    registry = find_spiders(config.folder, config.settings.SPIDER_MODULES, config.settings, config.explicit)
    if wrong := unknown_spiders(config, registry):
        raise ConfigError("\n  ".join(wrong))
    return registry


def unknown_spiders(config: Config, registry: Registry) -> list[str]:
    """Return one sentence for each spider that SPIDERS names and the project does not have."""
    return [f"SPIDERS: {text}" for text in registry.unknown(config.settings.SPIDERS)]


def routed_unknown_spiders(config: Config, registry: Registry) -> list[str]:
    """Return the same for ROUTES: a mistake in the project of that spider only, because a fleet shares its routes."""
    return [f"ROUTES: {text}" for text in registry.unknown(unmatched(config.settings.ROUTES, registry.names()))]
