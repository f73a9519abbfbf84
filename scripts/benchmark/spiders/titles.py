"""The same callback as the Scrapy contender's: one item per page, extracted with selectors, and all links."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from crawler import DropItem, Request, Response, Spider

PAGES = (".html", "/")


class Titles(Spider):
    """Yields one item per page, extracted with selectors."""

    name = "titles"
    stay_on_seeded_hosts = True

    def parse(self, response: Response) -> Iterator[dict[str, Any] | Request]:
        """Yield title, headings and number of paragraphs; then the links that lead to pages."""
        yield {
            "url": response.url,
            "title": response.css("title::text").get(),
            "headings": response.css("h1::text, h2::text").getall(),
            "paragraphs": len(response.xpath("//p").getall()),
        }
        spider = self.name
        for url in response.links:
            if url.partition("?")[0].endswith(PAGES):
                yield Request(url, spider=spider)


class Dropped(Titles):
    """Does the same work but drops the items: the difference is the price of writing each item exactly once."""

    name = "dropped"

    def process_item(self, item: Any) -> Any:
        """Drop every item."""
        raise DropItem("measured without")
