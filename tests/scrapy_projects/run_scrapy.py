"""Runs a spider of the project in the working directory with Scrapy: SPIDER OUTPUT STATS NAME=VALUE…

It writes the items and, at the end, Scrapy's figures. Unlike `scrapy crawl`, it makes no request for the list of public
suffixes, which Scrapy's cookies want.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import tldextract
from scrapy.crawler import AsyncCrawlerProcess
from scrapy.downloadermiddlewares import cookies
from scrapy.utils.project import get_project_settings


def main(spider: str, output: str, stats: str, *arguments: str) -> None:
    """Crawl, and write both files."""
    cookies._split_domain = tldextract.TLDExtract(suffix_list_urls=())
    settings = get_project_settings()
    settings.set("FEEDS", {output: {"format": "jsonlines"}}, priority="cmdline")
    process = AsyncCrawlerProcess(settings)
    crawler = process.create_crawler(spider)
    process.crawl(crawler, **dict(argument.split("=", 1) for argument in arguments))
    process.start()
    assert crawler.stats is not None
    Path(stats).write_text(json.dumps(crawler.stats.get_stats(), default=str))


if __name__ == "__main__":
    main(*sys.argv[1:])
