"""A distributed web crawler built on reliable queues. Spider authors import these names."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crawler.api import Crawling, Report, crawl, run
    from crawler.errors import IgnoreRequest, NotConfigured
    from crawler.model import Follow, Request
    from crawler.program import VERSION as __version__
    from crawler.response import Response
    from crawler.spiders import signals
    from crawler.spiders.base import CloseSpider, DropItem, Spider
    from crawler.spiders.crawl_spider import CrawlSpider, Rule
    from crawler.spiders.feed_spiders import CSVFeedSpider, XMLFeedSpider
    from crawler.spiders.item import Field, Item
    from crawler.spiders.link_extractor import Link, LinkExtractor
    from crawler.spiders.loader import ItemLoader
    from crawler.spiders.requests import FormRequest, JsonRequest
    from crawler.spiders.sitemap_spider import SitemapSpider

__all__ = [
    "CSVFeedSpider",
    "CloseSpider",
    "CrawlSpider",
    "Crawling",
    "DropItem",
    "Field",
    "Follow",
    "FormRequest",
    "IgnoreRequest",
    "Item",
    "ItemLoader",
    "JsonRequest",
    "Link",
    "LinkExtractor",
    "NotConfigured",
    "Report",
    "Request",
    "Response",
    "Rule",
    "SitemapSpider",
    "Spider",
    "XMLFeedSpider",
    "__version__",
    "crawl",
    "run",
    "signals",
]

_HOMES = {
    "Crawling": "api",
    "Report": "api",
    "crawl": "api",
    "run": "api",
    "Follow": "model",
    "FormRequest": "spiders.requests",
    "JsonRequest": "spiders.requests",
    "Request": "model",
    "Response": "response",
    "Spider": "spiders.base",
    "CloseSpider": "spiders.base",
    "DropItem": "spiders.base",
    "Field": "spiders.item",
    "Item": "spiders.item",
    "ItemLoader": "spiders.loader",
    "CrawlSpider": "spiders.crawl_spider",
    "Rule": "spiders.crawl_spider",
    "Link": "spiders.link_extractor",
    "LinkExtractor": "spiders.link_extractor",
    "SitemapSpider": "spiders.sitemap_spider",
    "IgnoreRequest": "errors",
    "NotConfigured": "errors",
    "CSVFeedSpider": "spiders.feed_spiders",
    "XMLFeedSpider": "spiders.feed_spiders",
}


def __getattr__(name: str) -> Any:
    """Import a name on first use (PEP 562): the parsing libraries take 0.1 s, which `crawler --help` does not need."""
    if name == "__version__":
        return import_module("crawler.program").VERSION
    if name == "signals":
        return import_module("crawler.spiders.signals")
    if name not in _HOMES:
        if advice := import_module("crawler.parsing.scrapy_words").NAMES.get(name):
            raise ImportError(f"the crawler has no {name}: {advice}")
        raise AttributeError(f"module 'crawler' has no attribute {name!r}")
    return getattr(import_module(f"crawler.{_HOMES[name]}"), name)
