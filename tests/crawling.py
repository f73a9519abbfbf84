"""A whole crawl of a few written pages in this process, over real HTTP, without a queue server: a tenth of a second."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from crawler.app.config import Config
from crawler.app.crawl import crawl
from crawler.export.target import Target
from crawler.model import Job
from crawler.settings import load
from crawler.views.reports import CrawlReport
from tests.webserver import serve
from tests.website import Answer, Handler, Hit

USUAL = {
    "REDIS_URL": "memory://",
    "ALLOWED_NETWORKS": "127.0.0.0/8",
    "DOWNLOAD_DELAY": "0",
    "CONCURRENT_REQUESTS_PER_DOMAIN": "8",
    "RETRY_DELAY": "0",
    "LOG_LEVEL": "WARNING",
}


class Pages:
    """A site of one host: by path with query, a page's HTML, an answer, or a handler. Everything else is a 404."""

    def __init__(self, pages: Mapping[str, str | Answer | Handler]) -> None:
        self.hosts = ["127.0.1.1"]
        self.port = 80
        self._pages = pages

    def address(self, host: str) -> str:
        return host

    def answer(self, hit: Hit) -> Answer:
        missing = Answer(b"missing", status=404)
        page = self._pages.get(hit.path, missing)
        if isinstance(page, str):
            return Answer(page.encode())
        return page if isinstance(page, Answer) else page(hit, missing)

    @property
    def seeds(self) -> list[str]:
        return [f"http://{self.hosts[0]}:{self.port}/"]


@dataclass(frozen=True)
class Crawled:
    """What a crawl left behind."""

    report: CrawlReport
    items: list[dict[str, Any]]
    asked: list[str]  # paths with queries, in order, without robots.txt

    @property
    def counters(self) -> Mapping[str, int]:
        return self.report.stats.counters


async def crawl_pages(
    folder: Path,
    pages: Mapping[str, str | Answer | Handler],
    spider: str = "",
    *,
    seeds: Sequence[str] = ("/",),
    **settings: Any,
) -> Crawled:
    """Crawl `pages` from the paths `seeds` with the spider whose source is given, or with `site`."""
    (folder / "spiders").mkdir(exist_ok=True)
    (folder / "spiders" / "mine.py").write_text(spider)
    given, origins = load(
        folder, overrides={**USUAL, **{name: str(value) for name, value in settings.items()}}, environ={}
    )
    job, target = Job("test", order="", spider="mine" if spider else "site"), folder / "items.jsonl"
    async with serve(Pages(pages)) as web:
        report = await crawl(
            Config(given, origins, folder),
            job,
            [urljoin(web.seeds[0], path) for path in seeds],
            [Target(str(target))],
            refused=lambda url, why: None,
            observe=lambda progress: None,
        )
        asked = [hit.path for hit in web.log if hit.path != "/robots.txt"]
    items = [json.loads(line) for line in target.read_text().splitlines()] if target.exists() else []
    return Crawled(report, items, asked)
