"""A spider that follows every page of the seeded hosts and yields no items: the least cost of a page."""

from __future__ import annotations

from crawler import Follow, Response, Spider

PAGES = (".html", "/")


class Links(Spider):
    """Follows every page; yields no items."""

    name = "links"
    stay_on_seeded_hosts = True

    def parse(self, response: Response) -> Follow:
        """The links of the page that lead to pages."""
        return Follow(response.links, lambda url: url.partition("?")[0].endswith(PAGES))


class Anywhere(Links):
    """The same on all hosts."""

    name = "anywhere"
    stay_on_seeded_hosts = False
