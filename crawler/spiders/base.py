"""The base class of all spiders: what is extracted from a site, and which links are followed. Pure: no I/O."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from crawler.model import Failure, Request, Unfollowed
from crawler.parsing import sitemap
from crawler.parsing.robots_lines import sitemaps_in
from crawler.parsing.url import join_links
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
    # Sitemaps, with Scrapy's meaning; without any of these, none is read. Which: those at these URLs (a robots.txt
    # stands for those it names); a spider that has rules and names none reads those that robots.txt of its hosts names.
    sitemap_urls: ClassVar[Sequence[str]] = ()
    # which of their pages are followed: (regex, callback), the first whose regex is found in the URL counts, others are
    # left out; None: [("", "parse")]
    sitemap_rules: ClassVar[Sequence[tuple[str | re.Pattern[str], str | Callable[..., Any]]] | None] = None
    # which of an index's sitemaps are: regexes, one of which must be found in the URL; None: all
    sitemap_follow: ClassVar[Sequence[str | re.Pattern[str]] | None] = None
    sitemap_alternate_links: ClassVar[bool] = False  # the same page in other languages (`xhtml:link`), too
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
        for url in self.sitemap_urls:
            yield Request(url, callback="parse_sitemap")

    def parse(self, response: Response) -> Results:
        """The callback of requests that name none."""
        raise NotImplementedError(f"spider {self.name!r} has no parse() method")

    def parse_sitemap(self, response: Response) -> Results:
        """The callback of sitemaps, and of a robots.txt that names some. `sitemap_rules` say who gets their pages.

        A body without any counts as `no_sitemap`; what is left out is counted by what decided it.
        """
        return _listed(self, response)

    def sitemap_filter(self, entries: Iterable[sitemap.Entry]) -> Iterable[sitemap.Entry]:
        """Choose among the entries of one sitemap: dicts of `loc`, and `lastmod`, `priority` … where they are given."""
        return entries

    def process_item(self, item: Any) -> Any:
        """Last look at each item before it leaves: return it, changed or not, or raise `DropItem`."""
        return item

    def errback(self, request: Request, failure: Failure) -> Results:
        """Called for a request that is given up and names `errback="errback"`; may yield items and requests."""
        return None

    def closed(self, reason: str) -> None:
        """Called once in each worker process when it lets go of the spider (`finished` or `shutdown`)."""


def reads_robots_sitemaps(spider: Spider) -> bool:
    """Whether it wants the sitemaps that robots.txt names: it has rules for sitemaps, and does not say which."""
    return not spider.sitemap_urls and bool(spider.sitemap_rules or spider.sitemap_follow)


def _listed(spider: Spider, response: Response) -> Iterator[Request | Unfollowed]:
    """Requests for what a sitemap lists. Raises `DropItem`."""
    found = _read(spider, response)
    if not any(found):
        raise DropItem("no_sitemap")
    yield Unfollowed("sitemap_entries", found.left_out)
    yield Unfollowed("sitemap_cut", int(found.is_cut))
    yield Unfollowed("sitemap_filter", found.unchosen)
    yield from _pages(spider, response, found.pages)
    yield from _sitemaps(spider, response, found.sitemaps)


def _read(spider: Spider, response: Response) -> sitemap.Sitemap:
    if _is_robots_txt(response):
        return sitemap.Sitemap([], join_links(response.url, sitemaps_in(response.body)), 0)
    choose = None if type(spider).sitemap_filter is Spider.sitemap_filter else spider.sitemap_filter
    return sitemap.parse(response.body, response.url, choose, alternates=spider.sitemap_alternate_links)


def _pages(spider: Spider, response: Response, urls: Iterable[str]) -> Iterator[Request | Unfollowed]:
    rules = (("", "parse"),) if spider.sitemap_rules is None else spider.sitemap_rules
    compiled = [(re.compile(regex).search, callback_name(callback)) for regex, callback in rules]
    unmatched = 0
    for url in urls:
        callback = next((callback for found, callback in compiled if found(url)), "")
        if callback:
            # The URLs are canonical; a request that names its spider is not made so once more.
            yield Request(url, callback=callback, spider=response.request.spider)
        else:
            unmatched += 1
    yield Unfollowed("sitemap_rules", unmatched)


def _sitemaps(spider: Spider, response: Response, urls: Sequence[str]) -> Iterator[Request | Unfollowed]:
    follow = ("",) if spider.sitemap_follow is None or _is_robots_txt(response) else spider.sitemap_follow
    followed = [url for url in urls if any(re.search(regex, url) for regex in follow)]
    yield Unfollowed("sitemap_follow", len(urls) - len(followed))
    level = response.meta.get("sitemap_level", 0) + 1
    if level > MAX_SITEMAP_LEVEL:
        yield Unfollowed("sitemap_level", len(followed))
        return
    for url in followed:
        meta = {"sitemap_level": level}
        yield Request(url, callback="parse_sitemap", meta=meta, spider=response.request.spider)


def _is_robots_txt(response: Response) -> bool:
    return response.url.endswith("/robots.txt")


def callback_name(callback: str | Callable[..., Any]) -> str:
    """The name of a callback that is given as one, or as a method; empty: it has none."""
    return callback if isinstance(callback, str) else str(getattr(callback, "__name__", ""))
