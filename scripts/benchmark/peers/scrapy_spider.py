"""Scrapy, and with REDIS_URL set scrapy-redis: `python scrapy_spider.py links|titles|broad OUTPUT SEEDS`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

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
        for link in self.links.extract_links(response):
            parts = urlsplit(link.url)
            if parts.hostname in HOSTS and parts.path.endswith(PAGES):
                yield response.follow(link.url)


settings = {
    "ROBOTSTXT_OBEY": True,
    "CONCURRENT_REQUESTS": 64,
    "CONCURRENT_REQUESTS_PER_DOMAIN": 8,
    "DOWNLOAD_DELAY": 0,
    "LOG_LEVEL": "INFO",
    "TELNETCONSOLE_ENABLED": False,
    "REDIRECT_ENABLED": False,
}
if MODE == "broad":  # https://docs.scrapy.org/en/latest/topics/broad-crawls.html, breadth first
    settings |= {
        "SCHEDULER_PRIORITY_QUEUE": "scrapy.pqueues.DownloaderAwarePriorityQueue",
        "CONCURRENT_REQUESTS": int(os.environ["CONCURRENT_REQUESTS"]),
        "CONCURRENT_REQUESTS_PER_DOMAIN": 1,
        "DOWNLOAD_DELAY": float(os.environ["DOWNLOAD_DELAY"]),
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
if MODE == "titles":
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
