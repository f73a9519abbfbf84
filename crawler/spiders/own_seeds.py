"""The seeds that a spider names itself, as a stream: those of `start`, if the spider has it, or of `start_requests`."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Collection, Iterable, Iterator
from typing import Any, NoReturn

from crawler.errors import UsageError
from crawler.model import Request
from crawler.runtime.standard_output import kept_from_users
from crawler.spiders.base import Spider
from crawler.spiders.callbacks import by_name
from crawler.spiders.failures import config_error


class OwnSeeds:
    """Iterates over the requests once; they are never all in memory.

    The constructor makes the first request. It raises `UsageError` if there is none. Like the iteration, it raises
    `ConfigError` with the traceback for what the spider's code raises or gives in place of a request.
    """

    @kept_from_users()
    def __init__(self, spider: Spider) -> None:
        self._spider = spider
        self._given = 0
        self._requests = self._stream()
        first = next(self._requests, None)
        if first is None:
            raise UsageError(
                f"no seeds: give URLs, -f FILE or - for stdin; spider {spider.name} has no start_urls or sitemap_urls"
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
            for request in _one_by_one(given) if hasattr(given, "__aiter__") else _iterable(given, method):
                yield self._checked(request, given, method)
                self._given += 1
        except (Exception, SystemExit) as error:  # the spider author's code may raise anything
            after = f" after request {self._given:,} (all before the error are seeded)" if self._given else ""
            what = f"{method} of spider {self._spider.name}{after}"
            raise config_error(what, type(self._spider), method, error) from error

    def _checked(self, request: Any, given: Any, method: str) -> Request:
        """Return the request with its callbacks by name. Raise an error on the spider's own line."""
        try:
            if not isinstance(request, Request):
                raise TypeError(f"{method} gave a {type(request).__name__}; write yield Request(url)")
            return by_name(self._spider, request)
        except Exception as error:
            _raise_in(given, error)


def _iterable(given: Any, method: str) -> Iterable[Any]:
    """Return what the method gave. Raise `TypeError` if it gives nothing one by one."""
    if inspect.iscoroutine(given):
        given.close()  # otherwise Python warns that nobody awaited it
    if not isinstance(given, Iterable):
        raise TypeError(f"{method} gave a {type(given).__name__}; write yield Request(url)")
    return given


def _raise_in(generator: Any, error: Exception) -> NoReturn:
    """Raise the error where the generator stands; here if it is none."""
    if inspect.isgenerator(generator):
        generator.throw(error)
    elif inspect.isasyncgen(generator):
        asyncio.run(generator.athrow(error))
    raise error


def _one_by_one(generator: AsyncGenerator[Any, None]) -> Iterator[Any]:
    """Yield what an async generator gives. It runs in a loop of its own, in whichever thread asks for the next."""
    with asyncio.Runner() as runner:
        while True:
            try:
                yield runner.run(_next(generator))
            except StopAsyncIteration:
                return


async def _next(generator: AsyncGenerator[Any, None]) -> Any:
    return await anext(generator)
