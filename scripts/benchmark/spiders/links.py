"""Follows every page of the seeded hosts, makes no items: what a page costs at the least."""

from __future__ import annotations

from collections.abc import Iterator

from crawler import Request, Response, Spider

PAGES = (".html", "/")


class Links(Spider):
    """Follows every page, no items."""

    name = "links"
    stay_on_seeded_hosts = True

    def parse(self, response: Response) -> Iterator[Request]:
        """The links of the page that lead to pages."""
        spider = self.name
        return (Request(url, spider=spider) for url in response.new_links if url.partition("?")[0].endswith(PAGES))
