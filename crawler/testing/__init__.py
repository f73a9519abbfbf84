"""Fakes for the tests of spiders and of the crawler: pages from a dict, a spider run on a saved page."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from crawler.model import Done, Failure, Request, Visit
from crawler.policy import counts
from crawler.response import Response
from crawler.spiders import stats
from crawler.spiders.base import Spider
from crawler.spiders.callbacks import Found, run_callback
from crawler.spiders.context import crawler_in_test
from crawler.spiders.items import is_empty
from crawler.status import OWN, JobStats
from crawler.views import losses
from crawler.views.losses import Loss

Page = str | bytes | Path
Answer = Response | Page | Exception

_HTML = {"content-type": "text/html; charset=utf-8"}


class FakeFetcher:
    """A `Fetcher` that answers from a dict, without a network. It answers 404 for URLs that are not in the dict.

    An answer is a `Response`, a page (text, bytes or the path of a saved page) or an exception to raise. A list of
    answers is used in order, and its last answer for all further requests. `requests` records the requests.
    """

    def __init__(self, pages: Mapping[str, Answer | Sequence[Answer]]) -> None:
        self.pages = dict(pages)
        self.requests: list[Request] = []
        self.closed = False

    async def fetch(self, request: Request) -> Response:
        """Return the answer for the request's URL, or raise it if it is an exception."""
        self.requests.append(request)
        answer = self._answer(request.url)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Response):
            return _response(request, answer.body, answer.url, answer.status, answer.headers)
        return _response(request, answer)

    async def close(self) -> None:
        """Record the call in `closed`."""
        self.closed = True

    @property
    def urls(self) -> list[str]:
        """The requested URLs, in order."""
        return [request.url for request in self.requests]

    def _answer(self, url: str) -> Answer:
        answer = self.pages.get(url, Response(url, status=404))
        if isinstance(answer, (Response, str, bytes, Path, Exception)):
            return answer
        turn = self.urls.count(url) - 1
        return answer[min(turn, len(answer) - 1)]


class Result(NamedTuple):
    """What a spider found on a page: items as the crawler would store them, requests as it would queue them; and what
    the crawler would leave out."""

    items: list[dict[str, Any]]
    requests: list[Request]
    dropped: Counter[str]
    stats: Counter[str]  # what it counted with `crawler.stats.inc_value`
    unfollowed: Counter[str]  # links and requests left out, by reason
    strays: Sequence[Failure]  # what is neither an item nor a request that can be fetched, each with the spider's line
    lost: Sequence[Loss]  # what `crawl --strict` would call lost, the strays among it

    @property
    def urls(self) -> list[str]:
        """The URLs of the requests, in order."""
        return [request.url for request in self.requests]


def run_spider(
    spider: Spider | type[Spider],
    page: Page = "",
    url: str = "http://example.com/",
    callback: str = "parse",
    **fields: Any,
) -> Result:
    """Run one callback of a spider on a page: HTML, bytes, or the path of a saved page.

    `fields` are the response's `status`, `headers`, `request`, the request's `meta` and `depth`, or the `settings`
    that the spider reads. Raises what the callback raises. Inside a running event loop use `run_spider_async`.
    """
    return asyncio.run(run_spider_async(spider, page, url, callback, **fields))


async def run_spider_async(
    spider: Spider | type[Spider],
    page: Page = "",
    url: str = "http://example.com/",
    callback: str = "parse",
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    request: Request | None = None,
    meta: Mapping[str, Any] | None = None,
    depth: int = 0,
    settings: Mapping[str, Any] | None = None,
) -> Result:
    """Do the same in a test that runs in an event loop."""
    crawler = crawler_in_test(spider if isinstance(spider, type) else type(spider), settings or {})
    made = spider.from_crawler(crawler) if isinstance(spider, type) else spider
    if settings is not None or not hasattr(made, "crawler"):
        made._set_crawler(crawler)
    request = request or Request(url, callback=callback, meta=meta or {}, depth=depth, spider=made.name)
    response = _response(request, page, url, status, _HTML if headers is None else headers)
    with stats.Page() as counting:
        found = await run_callback(made, callback, response, cb_kwargs=request.cb_kwargs)
    items = [msgspec.json.decode(item) for item in found.items]
    own = Counter({name.removeprefix(f"{OWN}/"): count for name, count in counting.counts.items()})
    unfollowed = Counter(found.unfollowed)
    return Result(items, found.requests, Counter(found.dropped), own, unfollowed, found.strays, _lost(found, response))


def _lost(found: Found, response: Response) -> list[Loss]:
    """Return what a crawl would count as lost on this page."""
    noted = {"empty/items": sum(map(is_empty, found.items)), **{f"cut/{what}": 1 for what in response.cut}}
    page = Visit(Done(), dropped=found.dropped, unfollowed=found.unfollowed, noted=noted)
    return losses.lost(JobStats("", counters=+Counter(counts(page))))


def _response(
    request: Request,
    page: Page,
    url: str = "",
    status: int = 200,
    headers: Mapping[str, str] = _HTML,
) -> Response:
    if isinstance(page, Path):
        page = page.read_bytes()
    body = page.encode() if isinstance(page, str) else page
    return Response(url or request.url, status=status, headers=headers, body=body, request=request)
