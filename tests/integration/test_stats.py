"""What a spider counts, and what it can read of the whole crawl when it is closed."""

from __future__ import annotations

import json
from pathlib import Path

from tests.crawling import crawl_pages

MINE = """
import json
from pathlib import Path
from crawler import Spider

class Mine(Spider):
    name = "mine"

    def parse(self, response):
        self.crawler.stats.inc_value("letters", len(response.url))
        self.crawler.stats.inc_value("pages", 5)  # also a figure of the crawler itself
        yield {"url": response.url}
        if response.url.endswith("b"):
            raise ValueError("after what it has counted")
        yield from response.follow_all(css="a")

    def closed(self, reason):
        stats = self.crawler.stats
        told = {name: stats.get_value(name) for name in ("letters", "pages", "item_scraped_count", "missing")}
        Path(__file__).with_name("told.json").write_text(json.dumps({"reason": reason, **told}))
"""


async def test_closed_reads_the_figures_of_the_whole_crawl(tmp_path: Path) -> None:
    pages = {"/": "<a href=/a>a</a><a href=/b>b</a>", "/a": "a", "/b": "b"}
    crawled = await crawl_pages(tmp_path, pages, MINE)
    letters = sum(len(item["url"]) for item in crawled.items)
    assert len(crawled.items) == 2, "the page that raised has no item, and counts nothing"
    assert crawled.counters["own/letters"] == letters
    told = json.loads((tmp_path / "spiders" / "told.json").read_text())
    assert told == {"reason": "finished", "letters": letters, "pages": 2, "item_scraped_count": 2, "missing": None}
