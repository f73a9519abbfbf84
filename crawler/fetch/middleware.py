"""Steps around a fetch (DOWNLOADER_MIDDLEWARES): each gets the request and the next step, and returns a response.

    async def add_token(request, call_next):
        return await call_next(replace(request, headers={**request.headers, "x-token": "…"}))

A middleware is such a function, or a class whose instances, made without arguments, are called the same way. It may

- change the request, except its URL, for which the worker has checked robots.txt and booked the host's turn;
- answer by itself (a cache), without calling the next step;
- change the response, or return another; to fetch another URL, return a redirect (status 302, `location`);
- raise `FetchError`, whose `transient` says whether the page is retried.

It may call the next step once: a second request would come before the host's next turn. To try again, raise a transient
`FetchError`. Any other exception makes its page fail (kind `middleware`) and is recorded with it.

Requests for robots.txt pass the same steps, because a proxy or a header must apply to them as well. The worker's lease
and the address guard are inside all middlewares, so no middleware can bypass them.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable, Sequence
from importlib import import_module
from typing import cast

from crawler.errors import ConfigError, CrawlerError, FetchError
from crawler.interfaces import Fetcher
from crawler.model import Request
from crawler.response import Response
from crawler.runtime.tracebacks import error_in_words

Fetch = Callable[[Request], Awaitable[Response]]
Middleware = Callable[[Request, Fetch], Awaitable[Response]]


def load(paths: Iterable[str]) -> list[Middleware]:
    """Load the middlewares of these paths (`package.module.name`). Raises `ConfigError`, which names the path."""
    return [_load(path) for path in paths]


def _load(path: str) -> Middleware:
    module, _, name = path.rpartition(".")
    try:
        found = getattr(import_module(module), name)
        found = found() if isinstance(found, type) else found
    except Exception as error:  # a user's code may fail in any way
        raise ConfigError(f"DOWNLOADER_MIDDLEWARES: {path}: {error_in_words(error)}") from error
    if not callable(found) or not _is_async(found):
        raise ConfigError(
            f"DOWNLOADER_MIDDLEWARES: {path} is not a middleware; write it as async def {name}(request, call_next), "
            "or as a class with async def __call__(self, request, call_next)"
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
