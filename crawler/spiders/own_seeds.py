"""The seeds that a spider names itself, as a stream: those of `start`, if the spider has it, or of `start_requests`."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Iterator
from typing import Any

from crawler.errors import UsageError
from crawler.model import Request
from crawler.program import PROGRAM
from crawler.runtime.standard_output import kept_from_users
from crawler.spiders.base import CloseSpider, Spider
from crawler.spiders.callbacks import by_name, close_reason
from crawler.spiders.failures import config_error
from crawler.spiders.items import is_item

TOGETHER = 100
"""Requests of `async def start` that are taken at once, if it waits for nothing between them."""


class OwnSeeds:
    """Iterates over the requests once; they are never all in memory.

    The constructor makes the first request. It raises `UsageError` if there is none. Like the iteration, it raises
    `ConfigError` with the traceback for what the spider's code raises or gives in place of a request.
    """

    @kept_from_users()
    def __init__(self, spider: Spider) -> None:
        self._spider = spider
        self._given = 0
        self.closed = ""  # why the spider's code ended the job with `CloseSpider`; empty: it has not
        self._requests = self._stream()
        first = next(self._requests, None)
        if first is None:
            if self.closed:
                raise UsageError(f"spider {spider.name} closed the job before its first request: {self.closed}")
            raise UsageError(
                f"no seeds: spider {spider.name} has no start_urls or sitemap_urls; "
                f"{PROGRAM} crawl and {PROGRAM} seed take URLs, -f FILE or - for stdin"
            )
        self._first = first

    @property
    def urls(self) -> Iterable[str]:
        """The URLs that are known before the spider's code runs: its attributes, unless they are streams as well."""
        for urls in (self._spider.start_urls, self._spider.sitemap_urls):
            if isinstance(urls, Collection):
                yield from urls

    def __iter__(self) -> Iterator[Request]:
        yield self._first
        yield from self._requests

    def _stream(self) -> Iterator[Request]:
        method = "start_requests" if type(self._spider).start is Spider.start else "start"
        try:
            given = getattr(self._spider, method)()
            ways = _Awaited if hasattr(given, "__aiter__") else _OneByOne
            for request in ways(given, method, self._checked):
                yield request
                self._given += 1
        except CloseSpider as why:
            self.closed = close_reason(why)
        except (Exception, SystemExit) as error:  # the spider author's code may raise anything
            after = f" after request {self._given:,} (all before the error are seeded)" if self._given else ""
            what = f"{method} of spider {self._spider.name}{after}"
            raise config_error(what, type(self._spider), method, error) from error

    def _checked(self, request: Any, method: str) -> Request:
        """Return the request with its callbacks by name. Raise `TypeError` for anything else."""
        if not isinstance(request, Request):
            way = _NO_ITEM if is_item(request) else "write yield Request(url)"
            raise TypeError(f"{method} gave a {type(request).__name__}; {way}")
        return by_name(self._spider, request)


_NO_ITEM = "an item belongs to a page, whose commit stores it once: yield Request(url), and the item in its callback"

Check = Callable[[Any, str], Request]


class _OneByOne:
    """The requests of a plain generator or another iterable. A mistake is raised where the generator stands."""

    def __init__(self, given: Any, method: str, check: Check) -> None:
        if inspect.iscoroutine(given):
            given.close()  # otherwise Python warns that nobody awaited it
        if not isinstance(given, Iterable):
            raise TypeError(f"{method} gave a {type(given).__name__}; write yield Request(url)")
        self._given = given
        self._method = method
        self._check = check

    def __iter__(self) -> Iterator[Request]:
        for request in self._given:
            try:
                checked = self._check(request, self._method)
            except Exception as error:
                if inspect.isgenerator(self._given):
                    self._given.throw(error)
                raise
            yield checked


class _Awaited:
    """The same of an async generator. It runs in a loop of its own, in whichever thread asks for the next.

    Requests that it gives without waiting for anything are taken together, because to start and stop a loop for each
    takes longer than to make one.
    """

    def __init__(self, given: AsyncGenerator[Any, None], method: str, check: Check) -> None:
        self._given = given
        self._method = method
        self._check = check
        self._taken: list[Request] = []
        self._next: asyncio.Future[Any] | None = None
        self._has_ended = False

    def __iter__(self) -> Iterator[Request]:
        most = 1
        with asyncio.Runner() as runner:
            while not self._has_ended:
                error = None
                try:
                    runner.run(self._take(most))
                except (Exception, SystemExit) as raised:
                    error = raised  # for those who take what came before it
                yield from self._taken
                if error is not None:
                    raise error
                self._taken, most = [], TOGETHER

    async def _take(self, most: int) -> None:
        """Take the next request, and at most so many that are there already."""
        while len(self._taken) < most:
            self._next = self._next or asyncio.ensure_future(_next(self._given))
            if self._taken:
                await asyncio.sleep(0)
                if not self._next.done():
                    return
            step, self._next = self._next, None
            try:
                request = await step
            except StopAsyncIteration:
                self._has_ended = True
                return
            self._taken.append(await self._checked(request))

    async def _checked(self, request: Any) -> Request:
        try:
            return self._check(request, self._method)
        except Exception as error:
            await self._given.athrow(error)
            raise


async def _next(generator: AsyncGenerator[Any, None]) -> Any:
    return await anext(generator)
