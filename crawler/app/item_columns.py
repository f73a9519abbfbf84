"""The columns that the classes of a project's items declare."""

from __future__ import annotations

from functools import cache

import structlog

from crawler.app.config import Config
from crawler.app.spiders import spiders_of
from crawler.errors import CrawlerError
from crawler.export.sinks.columns import Kind
from crawler.export.sinks.declared import Lookup, kind_of
from crawler.export.target import Target
from crawler.spiders.item_classes import find_class, typed_fields

log = structlog.get_logger()


def declared_columns(config: Config, target: Target) -> Lookup:
    """Return what tells the columns of a class, under the names that they have in the target. The project's spiders are
    loaded when it is first asked. A class that the project lacks declares none, which the log says."""

    @cache
    def columns(spider: str, kind: str) -> dict[str, Kind]:
        if not kind:
            return {}
        found = _class(config, spider, kind)
        if found is None:
            then = "columns come from the items alone"
            log.info("item_class_not_found", output=target.shown, item_class=kind, spider=spider, then=then)
            return {}
        kinds = {name: kind_of(declared) for name, declared in typed_fields(found).items()}
        return {name: kinds[field] for field, name in target.fields or zip(kinds, kinds, strict=True) if field in kinds}

    return columns


def _class(config: Config, spider: str, kind: str) -> type | None:
    try:
        return find_class(spiders_of(config).get(spider), kind, config.folder.resolve())
    except CrawlerError:
        return None
