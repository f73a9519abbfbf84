"""Scrapy's `SitemapSpider`: a spider that begins with sitemaps alone."""

from __future__ import annotations

from collections.abc import Iterable

from crawler.model import SITEMAP_CALLBACK, Request
from crawler.spiders.base import Spider


class SitemapSpider(Spider):
    """Reads the sitemaps at `sitemap_urls`, as every spider does that has some; its `start_urls` are not read.

    `sitemap_rules`, `sitemap_follow`, `sitemap_alternate_links` and `sitemap_filter` have Scrapy's meaning.
    """

    def start_requests(self) -> Iterable[Request]:
        """Yield a request for each of `sitemap_urls`."""
        for url in self.sitemap_urls:
            yield Request(url, callback=SITEMAP_CALLBACK)

    _parse_sitemap = Spider.parse_sitemap  # its name in Scrapy, by which start_requests of a subclass calls it
