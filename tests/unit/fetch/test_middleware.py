"""Middlewares stand around a fetch in the order they are given."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from crawler.errors import FetchError
from crawler.fetch.middleware import Fetch, Middleware, compose
from crawler.model import Request
from crawler.response import Response


async def echo(request: Request) -> Response:
    return Response(request.url, body=request.url.encode(), request=request)


def appending(text: str) -> Middleware:
    async def middleware(request: Request, call_next: Fetch) -> Response:
        response = await call_next(replace(request, url=request.url + text))
        response.body += text.upper().encode()
        return response

    return middleware


async def test_the_first_is_the_outermost() -> None:
    fetch = compose([appending("a"), appending("b")], echo)
    assert (await fetch(Request("/"))).body == b"/abBA"


async def test_none_leaves_the_fetch_as_it_is() -> None:
    assert compose([], echo) is echo


async def test_a_middleware_may_answer_by_itself_or_ask_again() -> None:
    async def from_cache(request: Request, call_next: Fetch) -> Response:
        return Response(request.url, body=b"cached")

    async def twice(request: Request, call_next: Fetch) -> Response:
        await call_next(request)
        return await call_next(request)

    asked: list[str] = []

    async def fetch(request: Request) -> Response:
        asked.append(request.url)
        return await echo(request)

    assert (await compose([from_cache], fetch)(Request("/1"))).body == b"cached"
    assert (await compose([twice], fetch)(Request("/2"))).body == b"/2"
    assert asked == ["/2", "/2"]


async def test_errors_pass_through() -> None:
    async def fails(request: Request) -> Response:
        raise FetchError("timeout", "slow", transient=True)

    with pytest.raises(FetchError, match="slow"):
        await compose([appending("a")], fails)(Request("/"))
