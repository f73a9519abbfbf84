"""Scrapy, and with REDIS_URL set scrapy-redis: `python scrapy_spider.py links|titles|site|broad OUTPUT SEEDS`."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urldefrag, urlsplit

from scrapy import Spider
from scrapy.crawler import CrawlerProcess
from scrapy.linkextractors import LinkExtractor

PAGES = (".html", "/")
MODE, OUTPUT = sys.argv[1:3]
SEEDS = Path(sys.argv[3]).read_text().split()
HOSTS = frozenset(urlsplit(seed).hostname for seed in SEEDS)
REDIS_URL = os.environ.get("REDIS_URL", "")


class Pages(Spider):
    """Follows every page of the seeds' hosts."""

    name = "pages"
    start_urls = SEEDS
    links = LinkExtractor(canonicalize=False, deny_extensions=[])

    def parse(self, response):
        """Yield the same items and links as the contender of `crawler`."""
        if MODE == "titles":
            yield {
                "url": response.url,
                "title": response.css("title::text").get(),
                "headings": response.css("h1::text, h2::text").getall(),
                "paragraphs": len(response.xpath("//p").getall()),
            }
        if MODE == "site":
            yield item(response)
        for link in self.links.extract_links(response):
            parts = urlsplit(link.url)
            if parts.hostname in HOSTS and parts.path.endswith(PAGES):
                yield response.follow(link.url)


def item(response):
    """The item of the crawler's `site` spider."""
    links = [urldefrag(response.urljoin(href)).url for href in response.css("a::attr(href), area::attr(href)").getall()]
    text = response.xpath("//body//text()[not(ancestor::script or ancestor::style or ancestor::noscript)]").getall()
    return {
        "url": response.url,
        "status": response.status,
        "title": response.xpath("normalize-space(//title)").get(),
        "description": response.css('meta[name="description"]::attr(content)').get(),
        "language": response.css("html::attr(lang)").get(),
        "text": "\n".join(line for part in text if (line := " ".join(part.split()))),
        "links": list(dict.fromkeys(links)),
        "depth": response.meta.get("depth", 0),
        "fetched_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


settings = {
    "ROBOTSTXT_OBEY": True,
    "CONCURRENT_REQUESTS": int(os.environ["AT_ONCE"]),
    "CONCURRENT_REQUESTS_PER_DOMAIN": int(os.environ["PER_HOST"]),
    "DOWNLOAD_DELAY": 0,
    "LOG_LEVEL": "INFO",
    "TELNETCONSOLE_ENABLED": False,
    "REDIRECT_ENABLED": False,
}
if MODE == "broad":  # https://docs.scrapy.org/en/latest/topics/broad-crawls.html, breadth first
    settings |= {
        "SCHEDULER_PRIORITY_QUEUE": "scrapy.pqueues.DownloaderAwarePriorityQueue",
        "DOWNLOAD_DELAY": float(os.environ["DELAY"]),
        "RANDOMIZE_DOWNLOAD_DELAY": False,
        "REACTOR_THREADPOOL_MAXSIZE": 20,
        "COOKIES_ENABLED": False,
        "RETRY_ENABLED": False,
        "DOWNLOAD_TIMEOUT": 15,
        "DEPTH_PRIORITY": 1,
        "SCHEDULER_DISK_QUEUE": "scrapy.squeues.PickleFifoDiskQueue",
        "SCHEDULER_MEMORY_QUEUE": "scrapy.squeues.FifoMemoryQueue",
        "DNSCACHE_SIZE": 100_000,
    }
if MODE in ("titles", "site"):
    settings["FEEDS"] = {OUTPUT: {"format": "jsonlines", "overwrite": True}}
if REDIS_URL:
    settings |= {
        "SCHEDULER": "scrapy_redis.scheduler.Scheduler",
        "DUPEFILTER_CLASS": "scrapy_redis.dupefilter.RFPDupeFilter",
        "REDIS_URL": REDIS_URL,
    }
process = CrawlerProcess(settings)
process.crawl(Pages)
process.start()
