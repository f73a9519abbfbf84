"""The same callback as the Scrapy contender's: one item per page, extracted with selectors, and all links."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from crawler import DropItem, Request, Response, Spider

PAGES = (".html", "/")


class Titles(Spider):
    """One item a page by selectors."""

    name = "titles"
    stay_on_seeded_hosts = True

    def parse(self, response: Response) -> Iterator[dict[str, Any] | Request]:
        """Title, headings and text length; then the links that lead to pages."""
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
    """The same work, but no item is kept: the difference is the price of writing each item exactly once."""

    name = "dropped"

    def process_item(self, item: Any) -> Any:
        """Keep none."""
        raise DropItem("measured without")
