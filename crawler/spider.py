"""The base class of all spiders: what is extracted from a site, and which links are followed. Pure: no I/O."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Iterator, Mapping
from typing import Any, ClassVar

from crawler.model import Failure, Request
from crawler.parsing import sitemap
from crawler.response import Response

Results = Iterable[Any] | AsyncIterable[Any] | None

MAX_SITEMAP_LEVEL = 3
"""How deep indexes of sitemaps may lie in each other; sitemaps.org knows one level."""


class DropItem(Exception):
    """Raised by `process_item` to leave an item out, by a callback to leave out the rest of its page.

    The text is the reason that is counted: a word from a small set (`no_price`), nothing that differs by page.
    """


class Spider:
    """One site, one class. Subclass it in `spiders/<site>.py`:

        class Quotes(Spider):
            name = "quotes"

            def parse(self, response):
                for quote in response.css("div.quote"):
                    yield {"text": quote.css("span.text::text").get()}
                yield from response.follow_all(css="li.next a")

    A callback yields items (dict, dataclass or msgspec struct) and `Request`s; it may be a plain or an async
    generator, return an iterable, or None. The name of the callback travels with a request through the queue,
    so it must be a method of the class.
    """

    name: ClassVar[str] = ""
    start_urls: ClassVar[Iterable[str]] = ()
    # follow links to these domains and their subdomains only; empty: any host
    allowed_domains: ClassVar[Iterable[str]] = ()
    # follow links to hosts that were seeded only; a seed's redirect to another host adds that host
    stay_on_seeded_hosts: ClassVar[bool] = False
    # parts of a response that the callbacks use (`root`, `visible_text`, `links` …): those of a large page are made
    # ready before a callback gets it, in this order, and other pages have their turn in between
    read_ahead: ClassVar[Iterable[str]] = ()
    custom_settings: ClassVar[Mapping[str, Any]] = {}  # those of `settings.PER_SPIDER`

    def __init__(self, **arguments: str) -> None:
        """`arguments` come from `-a NAME=VALUE` and become attributes."""
        for name, value in arguments.items():
            setattr(self, name, value)

    def start_requests(self) -> Iterable[Request]:
        """The seeds when the command line names none."""
        for url in self.start_urls:
            yield Request(url)

    def parse(self, response: Response) -> Results:
        """The callback of requests that name none."""
        raise NotImplementedError(f"spider {self.name!r} has no parse() method")

    def parse_sitemap(self, response: Response) -> Results:
        """The callback of sitemaps: those that robots.txt names, and any a spider asks for with this callback.

        `parse` gets the pages they list. A body without any counts as `no_sitemap`.
        """
        return _listed(response)

    def process_item(self, item: Any) -> Any:
        """Last look at each item before it leaves: return it, changed or not, or raise `DropItem`."""
        return item

    def errback(self, request: Request, failure: Failure) -> Results:
        """Called for a request that is given up and names `errback="errback"`; may yield items and requests."""
        return None

    def closed(self, reason: str) -> None:
        """Called once in each worker process when it lets go of the spider (`finished` or `shutdown`)."""


def _listed(response: Response) -> Iterator[Request]:
    """Requests for what a sitemap lists. Raises `DropItem`."""
    found = sitemap.parse(response.body, response.url)
    if not found.pages and not found.sitemaps:
        raise DropItem("no_sitemap")
    # The URLs are canonical; a request that names its spider is not made so once more.
    spider = response.request.spider
    for url in found.pages:
        yield Request(url, spider=spider)
    level = response.meta.get("sitemap_level", 0) + 1
    if level <= MAX_SITEMAP_LEVEL:
        for url in found.sitemaps:
            yield Request(url, callback="parse_sitemap", meta={"sitemap_level": level}, spider=spider)
