"""Builds the archive of a worker process from the settings (WARC_DIR)."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from crawler.app.config import Config
from crawler.errors import ConfigError
from crawler.program import DISTRIBUTION, VERSION
from crawler.settings import Settings

if TYPE_CHECKING:
    from crawler.archive.writer import ArchiveWriter

_TOLD = ("CONCURRENT_REQUESTS_PER_DOMAIN", "DEPTH_LIMIT", "DOWNLOAD_DELAY", "DOWNLOAD_MAXSIZE", "NOINDEX_OBEY")
_STANDARD = "http://iipc.github.io/warc-specifications/specifications/warc-format/warc-1.1/"


async def archiving(config: Config, worker: str, stack: AsyncExitStack) -> ArchiveWriter | None:
    """Return the open archive of a worker; `stack` closes it. None if the settings want none. Raise `ConfigError`."""
    settings = config.settings
    if not settings.WARC_DIR:
        return None
    if settings.HTTPCACHE_ENABLED:
        raise ConfigError(
            "WARC_DIR and HTTPCACHE_ENABLED: a page from the cache is no visit to archive; set one of them"
        )
    from crawler.archive.writer import ArchiveWriter  # few crawls have an archive

    archive = ArchiveWriter(_folder(config), worker, most_bytes=settings.WARC_MAXSIZE, about=partial(_about, settings))
    await archive.open()
    stack.push_async_callback(archive.close)
    return archive


def _folder(config: Config) -> Path:
    return (config.folder / Path(config.settings.WARC_DIR).expanduser()).absolute()


def _about(settings: Settings, job: str) -> Iterable[tuple[str, str]]:
    """The fields of a file's first record."""
    return (
        ("software", f"{DISTRIBUTION}/{VERSION}"),
        ("format", "WARC File Format 1.1"),
        ("conformsTo", _STANDARD),
        ("hostname", socket.gethostname()),
        ("isPartOf", job),
        ("http-header-user-agent", settings.USER_AGENT),
        ("robots", "obey" if settings.ROBOTSTXT_OBEY else "ignore"),
        ("settings", json.dumps({name: getattr(settings, name) for name in _TOLD})),
    )
