"""An independent crawl to compare with: breadth first, standard library alone, one request at a time.

    python tests/breadth_first.py http://127.0.1.1:8000/ > pages.json

Prints URL → links for every HTML page of the first URL's host. Shares no line with the crawler on purpose.
"""

from __future__ import annotations

import json
import re
import sys
from collections import deque
from html.parser import HTMLParser
from http.client import HTTPConnection
from urllib.parse import urldefrag, urljoin, urlsplit


class Links(HTMLParser):
    """The targets of a page's links, absolute, without fragments, in order, each once."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._base = url
        self.found: dict[str, None] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take the link out of `a` and `area`, the base out of `base`."""
        href = dict(attrs).get("href")
        if href is None:
            return
        if tag == "base":
            self._base = urljoin(self._base, href)
        elif tag in ("a", "area"):
            url = urldefrag(urljoin(self._base, href.strip())).url
            if re.match(r"https?://", url):
                self.found[url if urlsplit(url).path else f"{url}/"] = None


def walk(start: str) -> dict[str, list[str]]:
    """URL → links of every HTML page reachable on the host of `start`, redirects followed."""
    host = urlsplit(start).netloc
    pages: dict[str, list[str]] = {}
    seen, queue = {start}, deque([start])
    connection = HTTPConnection(host, timeout=30)
    while queue:
        url = queue.popleft()
        links, moved = _fetch(connection, url)
        if links is not None:
            pages[url] = links
        for link in [*(links or ()), *moved]:
            if urlsplit(link).netloc == host and link not in seen:
                seen.add(link)
                queue.append(link)
    connection.close()
    return pages


def _fetch(connection: HTTPConnection, url: str) -> tuple[list[str] | None, list[str]]:
    """The links of an HTML page, None for anything else; and where a redirect leads."""
    parts = urlsplit(url)
    connection.request("GET", parts.path + (f"?{parts.query}" if parts.query else ""))
    response = connection.getresponse()
    body = response.read()
    location = response.headers.get("Location")
    if location:
        return None, [urldefrag(urljoin(url, location)).url]
    if response.status != 200 or response.headers.get_content_type() != "text/html":
        return None, []
    links = Links(url)
    links.feed(body.decode("utf-8", "replace"))
    return list(links.found), []


if __name__ == "__main__":
    json.dump(walk(sys.argv[1]), sys.stdout, indent=1)
