"""Steps around a fetch: each gets the request and the next step, and returns a response.

A middleware may change the request, answer by itself, look at the response, or ask again:

    async def add_token(request, call_next):
        return await call_next(replace(request, headers={**request.headers, "x-token": "…"}))
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from crawler.model import Request
from crawler.response import Response

Fetch = Callable[[Request], Awaitable[Response]]
Middleware = Callable[[Request, Fetch], Awaitable[Response]]


def compose(middlewares: Iterable[Middleware], fetch: Fetch) -> Fetch:
    """`fetch` inside all of `middlewares`; the first is the outermost."""
    for middleware in reversed(tuple(middlewares)):
        fetch = _around(middleware, fetch)
    return fetch


def _around(middleware: Middleware, call_next: Fetch) -> Fetch:
    async def fetch(request: Request) -> Response:
        return await middleware(request, call_next)

    return fetch
