"""The base class of all spiders: what is extracted from a site, and which links are followed. Pure: no I/O."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar, Self

from msgspec.structs import replace

from crawler.model import BLANK, SITEMAP_CALLBACK, Failure, Request, Unfollowed
from crawler.parsing import scrapy_words, sitemap
from crawler.parsing.limits import Reading
from crawler.parsing.robots_lines import sitemaps_in, usable_sitemaps
from crawler.parsing.sitemap_entries import Entry
from crawler.response import Response
from crawler.runtime.logs import USERS
from crawler.spiders.items import ItemError, shown_value

if TYPE_CHECKING:
    from crawler.spiders.context import Crawler, SettingsView

Results = Iterable[Any] | AsyncIterable[Any] | None


class DropItem(Exception):
    """Raised by `process_item` to drop an item, or by a callback to drop the rest of its page.

    The text is the counted reason: a word from a small set (`no_price`), not one that differs by page.
    """


class CloseSpider(Exception):
    """Raised by a callback, an errback, `process_item` or `start` to close the job: no worker begins another page.

    What was yielded before is kept, and pages in flight end as usual. `reason` is a text for people and scripts.
    """

    def __init__(self, reason: str = "cancelled") -> None:
        super().__init__(reason)
        self.reason = reason


class _Missing:
    """Stands for an attribute that a spider does not have, or not yet: reading it says what to write. It may be set."""

    def __init__(self, advice: str) -> None:
        self._advice = advice

    def __set_name__(self, spider: type[Spider], name: str) -> None:
        self._name = name

    def __get__(self, spider: Spider | None, cls: type[Spider]) -> Any:
        raise AttributeError(f"spider {cls.name} has no {self._name}{self._advice}", name=self._name, obj=spider)


class Spider:
    """One site, one class. Subclass it in `spiders/<site>.py`:

        class Quotes(Spider):
            name = "quotes"

            def parse(self, response):
                for quote in response.css("div.quote"):
                    yield {"text": quote.css("span.text::text").get()}
                yield from response.follow_all(css="li.next a")

    A callback yields items (docs/pipelines.md names their kinds) and `Request`s. It may be a plain or an async
    generator, or return an iterable or None. The name of the callback travels with a request through the queue,
    so it must be a method of the class.
    """

    name: ClassVar[str] = ""
    start_urls: ClassVar[Iterable[str]] = ()
    # Sitemaps, with Scrapy's meaning; without these attributes, the spider reads none. It reads the sitemaps at these
    # URLs (a robots.txt stands for those it names). With rules but no URLs, it reads those that its hosts' robots.txt
    # names.
    sitemap_urls: ClassVar[Sequence[str]] = ()
    # which of their pages to follow: (regex, callback). The first regex found in the URL decides; a URL that matches
    # none is left out. None: [("", "parse")]
    sitemap_rules: ClassVar[Sequence[tuple[str | re.Pattern[str], str | Callable[..., Any]]] | None] = None
    # which sitemaps of an index to follow: regexes, one of which must be found in the URL; None: all
    sitemap_follow: ClassVar[Sequence[str | re.Pattern[str]] | None] = None
    sitemap_alternate_links: ClassVar[bool] = False  # also follow the page in other languages (`xhtml:link`)
    # statuses outside 2xx whose answers the callbacks get, once the tries of RETRY_HTTP_CODES are used up; with those
    # of a redirect, the answer is read instead of followed
    handle_httpstatus_list: ClassVar[Iterable[int]] = ()
    # follow only links to these domains and their subdomains; empty: to any host
    allowed_domains: ClassVar[Iterable[str]] = ()
    # follow only links to seeded hosts; a seed's redirect to another host adds that host
    stay_on_seeded_hosts: ClassVar[bool] = False
    # parts of a response that the callbacks use (`root`, `visible_text`, `links` …): the worker computes those of a
    # large page before a callback gets it, in this order, and lets other pages run in between
    read_ahead: ClassVar[Iterable[str]] = ()
    # the fields that make two items one, such as ("url",): the job keeps the first. Do not collect what was seen in the
    # spider instead: each worker process has a spider of its own, and a page may be read twice. Exact with one shard;
    # with SHARDS > 1 an item may come once from the pages of each shard's hosts
    ITEM_KEY: ClassVar[Sequence[str]] = ()
    custom_settings: ClassVar[
        Mapping[str, Any] | None
    ] = {}  # those in `settings.PER_SPIDER` and PER_PROCESS, and your own

    def __init__(self, name: str | None = None, **arguments: Any) -> None:
        """Set the arguments of `-a NAME=VALUE` as attributes.

        `name` is the spider's own, as some of Scrapy's spiders pass it on. Raise `ValueError` for another one.
        """
        if name is not None and name != self.name:
            raise ValueError(f"the name {name!r} is not {self.name!r}, by which pages find the class; leave it out")
        for argument, value in arguments.items():
            setattr(self, argument, value)

    @classmethod
    def from_crawler(cls, crawler: Crawler, *args: Any, **arguments: Any) -> Self:
        """Make the spider. A subclass that must read settings while it is made has a `from_crawler` of its own."""
        spider = cls(*args, **arguments)
        spider._set_crawler(crawler)
        return spider

    def _set_crawler(self, crawler: Crawler) -> None:
        self.crawler = crawler
        self.settings = crawler.settings

    @classmethod
    def update_settings(cls, settings: SettingsView) -> None:
        """Set what holds for this spider alone: `custom_settings`, or what a subclass computes."""
        if isinstance(cls.custom_settings, Mapping):  # a property has its value once there is a spider
            settings.setdict(cls.custom_settings, priority="spider")

    @cached_property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """Writes to the crawler's log from LOG_LEVEL up, with the spider's name: `self.logger.info("no price")`."""
        return logging.LoggerAdapter(logging.getLogger(f"{USERS}.{self.name}"), {"spider": self.name})

    def log(self, message: object, level: int = logging.DEBUG, **options: Any) -> None:
        """Write to the crawler's log, as Scrapy's older spiders do."""
        self.logger.log(level, message, **options)

    crawler: Any = _Missing(scrapy_words.READ["crawler"])  # a `Crawler`
    settings: Any = _Missing(scrapy_words.READ["settings"])  # a `SettingsView`
    state: Any = _Missing(scrapy_words.READ["state"])

    def start_requests(self) -> Iterable[Request]:
        """Yield the seeds for a command line that names none."""
        for url in self.start_urls:
            yield Request(url)
        for url in self.sitemap_urls:
            yield Request(url, callback=SITEMAP_CALLBACK)

    async def start(self) -> AsyncIterator[Request]:
        """Yield the seeds, as in Scrapy 2.13: a spider may have this async generator instead of `start_requests`."""
        for request in self.start_requests():
            yield request

    def parse(self, response: Response) -> Results:
        """Read the response to a request that names no callback."""
        raise NotImplementedError(f"spider {self.name!r} has no parse() method")

    def parse_sitemap(self, response: Response) -> Results:
        """Read a sitemap, or a robots.txt that names some. `sitemap_rules` name the callbacks of their pages.

        A page where a sitemap should be goes to the callback that the rules name for it. Any other body without entries
        counts as `no_sitemap`; each entry left out is counted under the rule that decided it.
        """
        found = _read(self, response)
        if any(found) or not response.is_html:
            return _listed(self, response, found)
        callback = _callbacks(self)(response.url)
        return getattr(self, callback)(response) if callback else [Unfollowed("sitemap_rules", 1)]

    def sitemap_filter(self, entries: Iterable[Entry]) -> Iterable[Entry]:
        """Choose among the entries of one sitemap: dicts of `loc` and, where given, `lastmod`, `priority` …"""
        return entries

    def callback_named(self, name: str) -> Any:
        """Return the method that a request's `callback` names; None if there is none."""
        return getattr(self, name, None)

    def process_item(self, item: Any) -> Any:
        """Check each item before it leaves: return it, changed or not, or raise `DropItem`."""
        return item

    def errback(self, request: Request, failure: Failure) -> Results:
        """Handle a request that was given up and names `errback="errback"`; may yield items and requests."""
        return None

    def closed(self, reason: str) -> None:
        """Clean up. Each worker process calls this once, when it ends: `finished` if the job is, `shutdown` if it is
        not, or why it was closed, such as `closespider_itemcount`."""


def reads_robots_sitemaps(spider: Spider) -> bool:
    """Return whether the spider reads the sitemaps that robots.txt names: it has sitemap rules but no sitemap URLs."""
    return not spider.sitemap_urls and bool(spider.sitemap_rules or spider.sitemap_follow)


def _listed(spider: Spider, response: Response, found: sitemap.Sitemap) -> Iterator[Request | Unfollowed]:
    """Yield requests for what a sitemap lists. Raise `DropItem` if it lists nothing."""
    if not any(found):
        raise DropItem("no_sitemap")
    yield Unfollowed("sitemap_entries", found.left_out)
    yield Unfollowed("sitemap_filter", found.unchosen)
    yield from _pages(spider, response, found.pages)
    yield from _sitemaps(spider, response, found.sitemaps)


def _read(spider: Spider, response: Response) -> sitemap.Sitemap:
    if _is_robots_txt(response):
        urls, unusable = usable_sitemaps(sitemaps_in(response.body), response.url)
        return sitemap.Sitemap([], urls, len(unusable))
    choose = None if type(spider).sitemap_filter is Spider.sitemap_filter else partial(_chosen, spider)
    how = Reading(limits=response.parse_limits, cut=response.cut.setdefault)
    return sitemap.parse(response.body, response.url, choose, alternates=spider.sitemap_alternate_links, how=how)


def _chosen(spider: Spider, entries: Iterable[Entry]) -> Iterator[Entry]:
    for entry in spider.sitemap_filter(entries):
        if not isinstance(entry, Mapping) or not isinstance(entry.get("loc"), str):
            gave = f"{spider.name}.sitemap_filter gave {shown_value(entry)}"
            raise ItemError(f"{gave}; yield the entries that it gets, with their loc", "sitemap_filter")
        yield entry


def _callbacks(spider: Spider) -> Callable[[str], str]:
    """Return a function that returns the callback of a URL by `sitemap_rules`; empty if none matches."""
    rules = (("", "parse"),) if spider.sitemap_rules is None else spider.sitemap_rules
    compiled = [(re.compile(regex).search, callback_name(callback)) for regex, callback in rules]
    return lambda url: next((callback for found, callback in compiled if found(url)), "")


def _pages(spider: Spider, response: Response, urls: Iterable[str]) -> Iterator[Request | Unfollowed]:
    callback_of = _callbacks(spider)
    unmatched = 0
    for url in urls:
        if callback := callback_of(url):
            # The URLs are already canonical; naming the spider keeps the request from being canonicalized again.
            yield replace(BLANK, url=url, callback=callback, spider=response.request.spider)
        else:
            unmatched += 1
    yield Unfollowed("sitemap_rules", unmatched)


def _sitemaps(spider: Spider, response: Response, urls: Sequence[str]) -> Iterator[Request | Unfollowed]:
    follow = ("",) if spider.sitemap_follow is None or _is_robots_txt(response) else spider.sitemap_follow
    followed = [url for url in urls if any(re.search(regex, url) for regex in follow)]
    yield Unfollowed("sitemap_follow", len(urls) - len(followed))
    level = response.meta.get("sitemap_level", 0) + 1
    if level > response.parse_limits.sitemap_levels:
        yield Unfollowed("sitemap_level", len(followed))
        return
    for url in followed:
        meta = {"sitemap_level": level}
        yield Request(url, callback=SITEMAP_CALLBACK, meta=meta, spider=response.request.spider)


def _is_robots_txt(response: Response) -> bool:
    return response.url.endswith("/robots.txt")


def method_of(callback: str) -> str:
    """Return the name of the method that a request's callback names, without the rule of a `CrawlSpider` behind it."""
    return callback.partition(":")[0]


def own_classes(spider: type[Spider]) -> Iterator[type[Spider]]:
    """Yield the class and those of its base classes that the project has written."""
    for one in spider.__mro__[: spider.__mro__.index(Spider)]:
        if one.__module__.rpartition(".")[0] != "crawler.spiders":
            yield one


def callback_name(callback: str | Callable[..., Any]) -> str:
    """Return the name of a callback given as a name or a method; empty if it has none."""
    return callback if isinstance(callback, str) else str(getattr(callback, "__name__", ""))
