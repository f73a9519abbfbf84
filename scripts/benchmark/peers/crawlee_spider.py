"""Crawlee for Python with its parsel crawler: `python crawlee_spider.py links|titles OUTPUT SEEDS`."""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from crawlee import ConcurrencySettings, service_locator
from crawlee.configuration import Configuration
from crawlee.crawlers import ParselCrawler, ParselCrawlingContext
from crawlee.storage_clients import MemoryStorageClient

PAGES = (".html", "/")
MODE, OUTPUT = sys.argv[1:3]
SEEDS = Path(sys.argv[3]).read_text().split()
HOSTS = frozenset(urlsplit(seed).hostname for seed in SEEDS)
CONCURRENCY = int(os.environ.get("CONCURRENCY", "16"))


async def main() -> None:
    """Crawl to the end."""
    service_locator.set_storage_client(MemoryStorageClient())
    service_locator.set_configuration(Configuration(purge_on_start=True))
    crawler = ParselCrawler(
        respect_robots_txt_file=True,
        max_request_retries=2,
        request_handler_timeout=timedelta(seconds=60),
        concurrency_settings=ConcurrencySettings(
            min_concurrency=CONCURRENCY, desired_concurrency=CONCURRENCY, max_concurrency=CONCURRENCY
        ),
        configure_logging=True,
    )

    @crawler.router.default_handler
    async def handle(context: ParselCrawlingContext) -> None:
        if MODE == "titles":
            await context.push_data(
                {
                    "url": context.request.url,
                    "title": context.selector.css("title::text").get(),
                    "headings": context.selector.css("h1::text, h2::text").getall(),
                    "paragraphs": len(context.selector.xpath("//p").getall()),
                }
            )
        found = await context.extract_links(strategy="all")
        wanted = [request for request in found if _is_followed(request.url)]
        await context.add_requests([request.url.partition("#")[0] for request in wanted])

    await crawler.run(SEEDS)
    if MODE == "titles":
        await crawler.export_data(OUTPUT)


def _is_followed(url: str) -> bool:
    parts = urlsplit(url)
    return parts.hostname in HOSTS and parts.path.endswith(PAGES)


asyncio.run(main())
