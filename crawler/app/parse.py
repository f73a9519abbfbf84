"""`parse`: what a spider makes of a page, and of the pages behind it, as a worker would find out."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from crawler.app.config import Config
from crawler.app.one_page import Pages, open_pages
from crawler.errors import OwnLimit, UsageError
from crawler.frontier import message
from crawler.model import Done, Lease, Release, Request, Skip, Visit
from crawler.parsing.url import dedup_key, host_of
from crawler.spiders.base import Spider
from crawler.spiders.crawl_spider import CrawlSpider
from crawler.spiders.registry import Registry
from crawler.visit.admission import Admission
from crawler.visit.visit import Visitor
from crawler.worker.blame_slot import NoSlot


class Parsed(Struct, frozen=True):
    """One page: the request, its level (1 for the first page), and what came of it."""

    request: Request
    level: int
    visit: Visit

    @property
    def is_redirect(self) -> bool:
        """Whether the page only sent on to another, which follows."""
        return isinstance(self.visit.outcome, Skip) and self.visit.outcome.reason == "redirect"

    @property
    def was_read(self) -> bool:
        """Whether the spider read the page, or its errback gave something."""
        gave = bool(self.visit.items or self.visit.links)
        return isinstance(self.visit.outcome, Done) or (gave and not self.is_redirect)


async def parse(
    config: Config,
    registry: Registry,
    spider: str,
    request: Request,
    *,
    levels: int = 1,
    arguments: Mapping[str, str] | None = None,
    pipelines: bool = False,
) -> AsyncGenerator[Parsed, None]:
    """Yield the page of a canonical request, and the pages that its results lead to: `levels` in all, each page once.

    Items pass the pipelines only if `pipelines`. Redirects do not count as a level. Raise `UsageError` for a callback
    that the spider lacks, `OwnLimit`, and what `open_pages` raises.
    """
    async with open_pages(config, registry, spider, arguments, pipelines=pipelines) as pages:
        reader = _Reader(pages, config.settings.CALLBACK_TIMEOUT)
        waiting, known = deque([(replace(request, spider=spider), 1)]), {dedup_key(request.url)}
        while waiting:
            asked, level = waiting.popleft()
            parsed = Parsed(asked, level, await reader.visit(asked))
            yield parsed
            if parsed.is_redirect or level < levels:
                below = level if parsed.is_redirect else level + 1
                waiting += [(link, below) for link in parsed.visit.links if _is_new(link, known)]


def by_rules(spider: type[Spider], request: Request) -> Request:
    """Return the request as a link that the rules of a `CrawlSpider` take. Raise `UsageError` if none does."""
    if not issubclass(spider, CrawlSpider):
        raise UsageError(f"spider {spider.name} is no CrawlSpider, so it has no rules: leave out --rules")
    for number, rule in enumerate(spider.rules):
        if rule.link_extractor.matches(request.url):
            meta = {**request.meta, "rule": number}
            return replace(
                request, callback=rule.travelling, cb_kwargs={**rule.cb_kwargs, **request.cb_kwargs}, meta=meta
            )
    raise UsageError(f"no rule of spider {spider.name} takes {request.url}; name the method with --callback")


def _is_new(link: Request, known: set[str]) -> bool:
    key = dedup_key(link.url)
    is_new = key not in known or link.dont_filter
    known.add(key)
    return is_new


class _Reader:
    """Visits one page after the other, without the frontier."""

    def __init__(self, pages: Pages, callback_seconds: float) -> None:
        self._pages = pages
        self._seeded = _SeededHosts()
        self._visitor = Visitor(
            pages.fetcher,
            lambda job, spider: pages.ready,
            Admission(self._seeded, message.check),
            NoSlot(),
            callback_seconds=callback_seconds,
        )
        self._crawl_delay: float | None = None

    async def visit(self, request: Request) -> Visit:
        if request.depth == 0:
            self._seeded.hosts.add(host_of(request.url))
        await self._pages.take_turn(request, self._crawl_delay)
        while True:
            visit = await self._visitor.visit(Lease("", request, b"", host_of(request.url)))
            self._crawl_delay = visit.host_delay or self._crawl_delay
            if not isinstance(visit.outcome, Release):
                return visit
            if visit.outcome.lacks:
                raise UsageError(visit.outcome.lacks)
            if visit.outcome.own_limit:
                raise OwnLimit(visit.outcome.own_limit)


class _SeededHosts:
    """The hosts of the first page and of those that it redirects to."""

    def __init__(self) -> None:
        self.hosts: set[str] = set()

    async def among(self, job: str, hosts: Iterable[str]) -> set[str]:
        return self.hosts.intersection(hosts)
