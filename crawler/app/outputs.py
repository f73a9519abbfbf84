"""Where the items of a command go: what its `-o` and `-O` name, and FEEDS."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from crawler.errors import ConfigError, UsageError
from crawler.export.formats import check_word, format_of
from crawler.export.sinks.encodings import ENCODINGS
from crawler.export.target import Target
from crawler.parsing.feeds import Feed, feed_of, renaming
from crawler.runtime.safe_text import without_password
from crawler.settings import Settings

_NUMBERED = re.compile(r"%\(batch_(id|time)\)").search


def with_feeds(settings: Settings, given: Sequence[Target] = ()) -> list[Target]:
    """Return the targets given on the command line, with the words that FEEDS has for the same names, and those of
    FEEDS. Raise `ConfigError` for an output of FEEDS that does not exist."""
    feeds = {name: target_of_feed(name, words, settings) for name, words in feeds_in(settings).items()}
    return [*(_joined(feeds.pop(one.name, one), one) for one in given), *feeds.values()]


def _joined(feed: Target, given: Target) -> Target:
    return replace(feed, overwrite=feed.overwrite or given.overwrite, append=given.append)


def feeds_in(settings: Settings) -> Mapping[str, Mapping[str, Any]]:
    """Return the outputs of FEEDS and FEED_URI: name → words."""
    older = {settings.FEED_URI: {"format": settings.FEED_FORMAT}} if settings.FEED_URI else {}
    return {**settings.FEEDS, **{name: words for name, words in older.items() if name not in settings.FEEDS}}


def target_of_feed(name: str, words: Mapping[str, Any], settings: Settings) -> Target:
    """Return the target of one output of FEEDS. Raise `ConfigError` if there is no such output."""
    feed = feed_of(words)
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
