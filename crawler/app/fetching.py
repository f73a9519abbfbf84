"""Builds the fetcher from the settings, for worker processes and for the commands that fetch single pages."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from crawler.app.config import Config
from crawler.fetch.guard import AddressGuard
from crawler.frontier import message
from crawler.interfaces import Fetcher
from crawler.model import Request
from crawler.parsing.limits import ParseLimits
from crawler.runtime.credentials import authorizations
from crawler.settings import Settings

if TYPE_CHECKING:
    from crawler.fetch.http import HttpFetcher


def http_fetcher(settings: Settings, connections: int = sys.maxsize) -> HttpFetcher:
    """Build the fetcher that asks hosts, with at most `connections` open ones. Raise `ConfigError`."""
    from crawler.fetch.http import HttpFetcher, Limits  # importing aiohttp takes 0.2 s; few commands need it

    return HttpFetcher(
        settings.USER_AGENT,
        AddressGuard(settings.ALLOWED_NETWORKS),
        headers=settings.DEFAULT_REQUEST_HEADERS,
        authorizations=authorizations(settings.HTTP_AUTH),
        limits=Limits(
            seconds=settings.DOWNLOAD_TIMEOUT,
            connect_seconds=settings.CONNECT_TIMEOUT,
            silent_seconds=settings.READ_TIMEOUT,
            body_bytes=settings.DOWNLOAD_MAXSIZE,
            media_bytes=settings.MEDIA_MAXSIZE,
            fail_on_dataloss=settings.DOWNLOAD_FAIL_ON_DATALOSS,
            active_bytes=settings.SCRAPER_SLOT_MAX_ACTIVE_SIZE,
        ),
        parse_limits=parse_limits(settings),
        tls_ca_file=settings.TLS_CA_FILE,
        connections=connections,
        keeps_exchange=bool(settings.WARC_DIR),
    )


def caching(config: Config, fetcher: Fetcher, sent: Callable[[Request], Mapping[str, str]]) -> Fetcher:
    """Return `fetcher` behind the page cache if the settings want one. `sent`: as for `CachingFetcher`. Raise
    `ConfigError` for a folder that cannot be used."""
    settings = config.settings
    if not settings.HTTPCACHE_ENABLED:
        return fetcher
    from crawler.archive.records import without_secrets
    from crawler.fetch.caching import CachingFetcher  # few crawls have a cache
    from crawler.fetch.page_cache import PageCache

    cache = PageCache(
        config.folder / Path(settings.HTTPCACHE_DIR).expanduser(),
        seconds=settings.HTTPCACHE_EXPIRATION_SECS,
        most_bytes=max(settings.DOWNLOAD_MAXSIZE, settings.SITEMAP_MAXSIZE),
        parse_limits=parse_limits(settings),
        gzip=settings.HTTPCACHE_GZIP,
    )
    return CachingFetcher(
        fetcher,
        cache,
        sent,
        not_stored={*settings.HTTPCACHE_IGNORE_HTTP_CODES, *settings.RETRY_HTTP_CODES},
        schemes=settings.HTTPCACHE_IGNORE_SCHEMES,
        only_cached=settings.HTTPCACHE_IGNORE_MISSING,
        noted=lambda request: message.encode(without_secrets(request)),
    )


def parse_limits(settings: Settings) -> ParseLimits:
    """Return how much of a page is read."""
    return ParseLimits(
        size=settings.PARSE_MAXSIZE,
        nodes=settings.PARSE_MAXNODES,
        links=settings.PARSE_MAXLINKS,
        text=settings.PARSE_MAXTEXT,
        attributes=settings.PARSE_MAXATTRIBUTES,
        meta=settings.PARSE_MAXMETA,
        sitemap_size=settings.SITEMAP_MAXSIZE,
        sitemap_urls=settings.SITEMAP_MAXURLS,
        sitemap_levels=settings.SITEMAP_MAXLEVEL,
    )
