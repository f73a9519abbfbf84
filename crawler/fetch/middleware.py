"""Steps around a fetch (DOWNLOADER_MIDDLEWARES): each gets the request and the next step, and returns a response.

    async def add_token(request, call_next):
        return await call_next(replace(request, headers={**request.headers, "x-token": "…"}))

A middleware is such a function, or a class whose instances, made without arguments, are called the same way. It may

- change the request, except its URL, for which the worker has checked robots.txt and booked the host's turn;
- answer by itself (a cache), without calling the next step;
- change the response, or return another; to fetch another URL, return a redirect (status 302, `location`);
- raise `FetchError`, whose `transient` says whether the page is retried.

It may call the next step once: a second request would come before the host's next turn. To try again, raise a transient
`FetchError`. `IgnoreRequest` skips the page. Any other exception makes its page fail (kind `middleware`) and is
recorded with it. `scrapy_middlewares.py` has the other shape that a middleware may have: Scrapy's.

Requests for robots.txt pass the same steps, because a proxy or a header must apply to them as well. The worker's lease
and the address guard are inside all middlewares, so no middleware can bypass them.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import groupby
from typing import Any, cast

from crawler.errors import ConfigError, CrawlerError, FetchError, Ignored, IgnoreRequest
from crawler.fetch.scrapy_middlewares import METHODS, SETTING, ScrapyMiddlewares
from crawler.interfaces import Fetcher
from crawler.model import Request
from crawler.response import Response
from crawler.runtime import components
from crawler.runtime.tracebacks import error_in_words

Fetch = Callable[[Request], Awaitable[Response]]
Middleware = Callable[[Request, Fetch], Awaitable[Response]]


class Middlewares:
    """The middlewares of a worker process: those of our shape are one for all spiders, those in Scrapy's shape are made
    for each spider."""

    def __init__(self, paths: Iterable[str], fetcher: Fetcher, seconds: float | None = None) -> None:
        """Load those of the whole process. `fetcher` is inside all of them; what is async in Scrapy's shape is
        cancelled after `seconds`. Raise `ConfigError`, which names the path."""
        self._inside = fetcher
        self._seconds = seconds
        self._loaded: dict[str, Middleware | None] = {}  # None: in Scrapy's shape
        self._paths = tuple(components.wanted(SETTING, paths))
        ours = [found for found in map(self._load, self._paths) if found]
        self.fetcher: Fetcher = MiddlewareFetcher(ours, fetcher) if ours else fetcher
        """For what belongs to no spider. Close this one."""

    def fetcher_for(self, paths: Iterable[str], crawler: Any) -> Fetcher | None:
        """Return the fetcher with these around it for one spider; None if it is the one of all spiders."""
        paths = tuple(components.wanted(SETTING, paths))
        if paths == self._paths and all(map(self._load, paths)):
            return None
        chain: list[Middleware] = []
        for is_ours, group in groupby(paths, lambda path: self._load(path) is not None):
            if is_ours:
                chain += [found for path in group if (found := self._load(path))]
                continue
            made = [(path, components.make(SETTING, path, crawler)) for path in group]
            made = [(path, one) for path, one in made if one is not None]
            chain.append(ScrapyMiddlewares(made, crawler.spider, self._seconds))
        return MiddlewareFetcher(chain, self._inside)

    def _load(self, path: str) -> Middleware | None:
        if path not in self._loaded:
            self._loaded[path] = _load(path)
        return self._loaded[path]


def load(paths: Iterable[str]) -> list[Middleware]:
    """Load the middlewares of these paths (`package.module.name`) that are of our shape. Raise `ConfigError`, which
    names the path, if one is of no shape at all."""
    return [found for path in components.wanted(SETTING, paths) if (found := _load(path))]


def _load(path: str) -> Middleware | None:
    found = components.load(SETTING, path)
    if any(hasattr(found, method) for method in METHODS):
        return None
    if isinstance(found, type):
        with components.told_for(SETTING, path):
            found = found()
    if not callable(found) or not _is_async(found):
        name = path.rpartition(".")[2]
        raise ConfigError(
            f"{SETTING}: {path} is not a middleware; write it as async def {name}(request, call_next), "
            "as a class with async def __call__(self, request, call_next), or as a class with process_request, "
            "process_response or process_exception, as in Scrapy"
        )
    return cast(Middleware, found)


def _is_async(found: Callable[..., object]) -> bool:
    # For an instance, only its __call__ is a coroutine function.
    return inspect.iscoroutinefunction(found) or inspect.iscoroutinefunction(getattr(found, "__call__", None))  # noqa: B004


def compose(middlewares: Iterable[Middleware], fetch: Fetch) -> Fetch:
    """Wrap `fetch` in all of `middlewares`; the first is the outermost."""
    for middleware in reversed(tuple(middlewares)):
        fetch = _around(middleware, fetch)
    return fetch


def _around(middleware: Middleware, call_next: Fetch) -> Fetch:
    async def fetch(request: Request) -> Response:
        return await middleware(request, call_next)

    return fetch


class MiddlewareFetcher:
    """A `Fetcher` with middlewares around it; the first is the outermost."""

    def __init__(self, middlewares: Sequence[Middleware], fetcher: Fetcher) -> None:
        self._middlewares = middlewares
        self._fetcher = fetcher

    async def fetch(self, request: Request) -> Response:
        """Fetch through all middlewares. Raises `FetchError` (kind `middleware`) if one fails or breaks the rules."""
        try:
            response = await compose(self._middlewares, _once(request, self._fetcher.fetch))(request)
        except IgnoreRequest as why:
            raise Ignored(str(why), unasked=False) from why
        except (CrawlerError, asyncio.CancelledError):
            raise
        except Exception as error:
            raise FetchError("middleware", error_in_words(error), transient=False) from error
        if not isinstance(response, Response):
            raise _fault(f"returned {type(response).__name__}, not a Response")
        return response

    async def close(self) -> None:
        """Close the connections."""
        await self._fetcher.close()


def _once(request: Request, fetch: Fetch) -> Fetch:
    """`fetch`, restricted to one request, and to the URL of `request`."""
    asked = False

    async def once(changed: Request) -> Response:
        nonlocal asked
        if asked:
            raise _fault("asked twice in one turn of the host; raise FetchError(…, transient=True) instead")
        if changed.url != request.url:
            raise _fault(f"changed the URL to {changed.url}; return a redirect instead")
        asked = True
        return await fetch(changed)

    return once


def _fault(what: str) -> FetchError:
    return FetchError("middleware", f"a middleware {what}", transient=False)
