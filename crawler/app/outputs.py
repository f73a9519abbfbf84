"""Where the items of a command go: what its `-o` and `-O` name, and FEEDS."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import structlog
from msgspec.structs import replace

from crawler.app.config import Config, for_one_spider
from crawler.app.spiders import spiders_of
from crawler.errors import ConfigError, CrawlerError, UsageError
from crawler.export.formats import check_word, format_of
from crawler.export.sinks.encodings import ENCODINGS
from crawler.export.target import Target
from crawler.model import Job
from crawler.parsing.feeds import Feed, feed_of, renaming
from crawler.runtime.safe_text import without_password
from crawler.settings import Settings

log = structlog.get_logger()

_NUMBERED = re.compile(r"%\(batch_(id|time)\)").search


def with_feeds(settings: Settings, given: Sequence[Target] = ()) -> list[Target]:
    """Return the targets given on the command line, with the words that FEEDS has for the same names, and those of
    FEEDS. Raise `ConfigError` for an output of FEEDS that does not exist."""
    feeds = {target.name: target for target in _of_feeds(settings)}
    return [*(_joined(feeds.pop(one.name, one), one) for one in given), *feeds.values()]


def _joined(feed: Target, given: Target) -> Target:
    return replace(feed, overwrite=feed.overwrite or given.overwrite, append=given.append)


def with_feeds_of_job(config: Config, job: Job, given: Sequence[Target]) -> list[Target]:
    """Return the same for a job, whose spider may have FEEDS of its own."""
    try:
        spider = spiders_of(config).make(job.spider, job.arguments)
        config = for_one_spider(config, spider.custom_settings, spider.name)
    except CrawlerError as error:
        log.warning("spider_not_asked", spider=job.spider, why=str(error), then="FEEDS of settings.py hold")
    return with_feeds(config.settings, given)


def _of_feeds(settings: Settings) -> list[Target]:
    feeds = dict(settings.FEEDS)
    if settings.FEED_URI and settings.FEED_URI not in feeds:
        feeds[settings.FEED_URI] = {"format": settings.FEED_FORMAT}
    return [_target(name, feed_of(words), settings) for name, words in feeds.items()]


def _target(name: str, feed: Feed, settings: Settings) -> Target:
    try:
        check_word(name, feed.format)
        items = _batch_items(name, feed, settings)
        if (items or feed.batch_bytes or feed.batch_seconds) and not _NUMBERED(name):
            raise UsageError(f"batches need names of their own: {_numbered(name)}")
    except UsageError as error:
        raise ConfigError(f"FEEDS[{without_password(name)!r}]: {error}") from None
    return Target(
        name,
        overwrite=feed.overwrite,
        fields=renaming(feed.fields or settings.FEED_EXPORT_FIELDS),
        kinds=feed.item_classes,
        spiders=feed.spiders,
        batch_items=items,
        batch_bytes=feed.batch_bytes,
        batch_seconds=feed.batch_seconds,
    )


def _batch_items(name: str, feed: Feed, settings: Settings) -> int:
    """Return how many items a batch has (0: any). Raise `UsageError` for words of batches that this output has not."""
    kind = format_of(name)
    if kind.name in ENCODINGS:
        return feed.batch_item_count or settings.FEED_EXPORT_BATCH_ITEM_COUNT
    if feed.batch_item_count or feed.batch_bytes or feed.batch_seconds:
        raise UsageError(f"batch_… are words of files; {kind.says} has no batches of your size: leave them out")
    return 0


def _numbered(name: str) -> str:
    format_of(name)
    path = Path(name)
    return str(path.with_name(f"{path.stem}-%(batch_id)05d{path.suffix}"))
