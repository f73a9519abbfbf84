"""Middlewares stand around a fetch in the order they are given, and cannot get around the crawl's rules."""

from __future__ import annotations

from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from crawler.errors import ConfigError, FetchError, FrontierUnavailable
from crawler.fetch.middleware import Fetch, Middleware, MiddlewareFetcher, compose, load
from crawler.model import Request
from crawler.response import Response

URL = "http://a.example/"


class Inner:
    """The fetcher inside: answers with the header it was sent, and counts."""

    def __init__(self, error: Exception | None = None) -> None:
        self.asked: list[Request] = []
        self.error = error

    def fetch(self, request: Request) -> Coroutine[Any, Any, Response]:
        return self._fetch(request)

    async def _fetch(self, request: Request) -> Response:
        self.asked.append(request)
        if self.error:
            raise self.error
        return Response(request.url, body=request.headers.get("x", "").encode(), request=request)

    async def close(self) -> None:
        pass


def appending(text: str) -> Middleware:
    async def middleware(request: Request, call_next: Fetch) -> Response:
        response = await call_next(replace(request, headers={"x": request.headers.get("x", "") + text}))
        response.body += text.upper().encode()
        return response

    return middleware


async def test_the_first_is_the_outermost() -> None:
    fetch = compose([appending("a"), appending("b")], Inner().fetch)
    assert (await fetch(Request(URL))).body == b"abBA"


async def test_one_may_answer_by_itself() -> None:
    async def from_cache(request: Request, call_next: Fetch) -> Response:
        return Response(request.url, body=b"cached", request=request)

    inner = Inner()
    assert (await MiddlewareFetcher([from_cache], inner).fetch(Request(URL))).body == b"cached"
    assert not inner.asked


@pytest.mark.parametrize(
    "error",
    [FetchError("timeout", "slow", transient=True), FrontierUnavailable("this worker's lease is over")],
)
async def test_errors_of_the_crawl_pass_through(error: Exception) -> None:
    with pytest.raises(type(error), match=str(error)):
        await MiddlewareFetcher([appending("a")], Inner(error)).fetch(Request(URL))


async def test_a_host_is_asked_once_in_its_turn() -> None:
    async def twice(request: Request, call_next: Fetch) -> Response:
        await call_next(request)
        return await call_next(request)

    inner = Inner()
    with pytest.raises(FetchError, match="asked twice") as caught:
        await MiddlewareFetcher([twice], inner).fetch(Request(URL))
    assert (caught.value.kind, caught.value.transient, len(inner.asked)) == ("middleware", False, 1)


async def test_nobody_but_the_requested_url_is_asked() -> None:
    async def elsewhere(request: Request, call_next: Fetch) -> Response:
        return await call_next(replace(request, url="http://b.example/"))

    inner = Inner()
    with pytest.raises(FetchError, match=r"changed the URL to http://b\.example/"):
        await MiddlewareFetcher([elsewhere], inner).fetch(Request(URL))
    assert not inner.asked


async def test_a_middleware_that_fails_costs_the_page_alone() -> None:
    async def fails(request: Request, call_next: Fetch) -> Response:
        raise KeyError("token")

    async def forgets(request: Request, call_next: Fetch) -> Any:
        await call_next(request)

    for middleware, why in (
        (fails, r"KeyError: 'token' \(.*test_middleware\.py:[0-9]+\)"),
        (forgets, "returned NoneType"),
    ):
        with pytest.raises(FetchError, match=why) as caught:
            await MiddlewareFetcher([middleware], Inner()).fetch(Request(URL))
        assert caught.value.kind == "middleware"


# ---------------------------------------------------------------------------------------------------------
# Import paths

SOURCE = """
async def function(request, call_next):
    return await call_next(request)

class Class:
    async def __call__(self, request, call_next):
        return await call_next(request)

class Old:
    def process(self, request, spider):
        return None

def plain(request, call_next):
    return call_next(request)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "steps_of_this_test.py").write_text(SOURCE)
    return "steps_of_this_test"


async def test_functions_and_classes_are_loaded(module: str) -> None:
    inner = Inner()
    await MiddlewareFetcher(load([f"{module}.function", f"{module}.Class"]), inner).fetch(Request(URL))
    assert len(inner.asked) == 1


@pytest.mark.parametrize("name", ["Old", "plain", "missing"])
def test_what_is_no_middleware_is_named(module: str, name: str) -> None:
    with pytest.raises(ConfigError, match=rf"DOWNLOADER_MIDDLEWARES: {module}\.{name}"):
        load([f"{module}.{name}"])
    with pytest.raises(ConfigError, match=r"no_such_module\.step: ModuleNotFoundError"):
        load(["no_such_module.step"])
