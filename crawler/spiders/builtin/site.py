"""The `site` spider: any site, no code. Follows every page of the seeded hosts, one item per page."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from crawler import DropItem, Follow, Response, Spider
from crawler.parsing.scope import looks_like_page
from crawler.parsing.sitemap import is_sitemap
from crawler.spiders.base import Results


class Site(Spider):
    """Any site, no code: one item per page; follows all links within the seeded hosts."""

    name = "site"
    stay_on_seeded_hosts = True
    sitemap_rules = (("", "parse"),)
    read_ahead = ("visible_text", "links")

    def parse(self, response: Response) -> Results:
        """Return an item for an HTML page, and its links to follow; for a sitemap or a feed, the links that it lists.

        Anything else counts as `no_page`.
        """
        if response.is_html:
            return (html_item(response), Follow(response.links, looks_like_page))
        if is_sitemap(response.body):
            return self.parse_sitemap(response)
        raise DropItem("no_page")


def html_item(response: Response) -> dict[str, Any]:
    """Return the text and links of an HTML page. `url` is the requested one; `fetched_at` is UTC, to the second."""
    page = response.page
    return {
        "url": response.request.url,
        "status": response.status,
        "title": page.title,
        "description": page.description,
        "language": page.language,
        "text": response.visible_text,
        "links": response.links,
        "depth": response.depth,
        "fetched_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
