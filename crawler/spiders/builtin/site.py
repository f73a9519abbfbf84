"""The `site` spider: any site, no code. Follows every page of the seeded hosts, one item a page."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from crawler import DropItem, Follow, Response, Spider
from crawler.parsing.scope import looks_like_page


class Site(Spider):
    """Any site, no code: one item a page, follows all links that stay on the seeded hosts."""

    name = "site"
    stay_on_seeded_hosts = True
    sitemap_rules = (("", "parse"),)
    read_ahead = ("root", "visible_text", "links")

    def parse(self, response: Response) -> Iterator[dict[str, Any] | Follow]:
        """An item for HTML and its links to follow; the rest counts as `no_page`."""
        if response.is_html:
            yield html_item(response)
            yield Follow(response.links, looks_like_page)
        else:
            raise DropItem("no_page")


def html_item(response: Response) -> dict[str, Any]:
    """What an HTML page says, and where it leads. `url` is the one requested; `fetched_at` is UTC, to the second."""
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
