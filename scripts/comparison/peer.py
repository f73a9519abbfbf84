"""A worker of scrapy-redis with one spider, as its documentation says: `python peer.py REDIS_URL OUTPUT`.

Runs in the throw-away environment, where nothing of this project is installed.
"""

import sys
from collections.abc import Iterator
from typing import Any

from scrapy.crawler import CrawlerProcess
from scrapy.linkextractors import LinkExtractor
from scrapy_redis.spiders import RedisSpider

REDIS_URL, OUTPUT, PER_HOST, IN_FLIGHT = sys.argv[1:]


class Site(RedisSpider):  # type: ignore[misc]
    """An item a page; every link to a page is followed."""

    name = "site"
    redis_key = "site:start_urls"
    links = LinkExtractor(allow=r"\.html$", canonicalize=False)

    def parse(self, response: Any) -> Iterator[Any]:
        yield {"url": response.url, "title": response.css("title::text").get()}
        for link in self.links.extract_links(response):
            yield response.follow(link)


process = CrawlerProcess(
    {
        "SCHEDULER": "scrapy_redis.scheduler.Scheduler",
        "SCHEDULER_PERSIST": True,
        "DUPEFILTER_CLASS": "scrapy_redis.dupefilter.RFPDupeFilter",
        "REDIS_URL": REDIS_URL,
        "FEEDS": {OUTPUT: {"format": "jsonlines", "overwrite": False}},
        "ROBOTSTXT_OBEY": False,
        "DOWNLOAD_DELAY": 0,
        "CONCURRENT_REQUESTS": int(IN_FLIGHT),
        "CONCURRENT_REQUESTS_PER_DOMAIN": int(PER_HOST),
        "LOG_LEVEL": "INFO",
        "TELNETCONSOLE_ENABLED": False,
    }
)
process.crawl(Site)
process.start()
