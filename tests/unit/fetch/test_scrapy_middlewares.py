"""Middlewares in Scrapy's shape see what they see in Scrapy; what they may not do has their name."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from crawler import IgnoreRequest, Request, Response
from crawler.errors import AskedInstead, ConfigError, FetchError, Ignored
from crawler.fetch.middleware import Middlewares
from crawler.fetch.scrapy_middlewares import ScrapyMiddlewares
from crawler.spiders.base import Spider
from crawler.spiders.context import Crawler

URL = "http://a.example/"
SAID: list[str] = []


class Host:
    """The fetcher inside."""

    def __init__(self, error: Exception | None = None) -> None:
        self.asked: list[Request] = []
        self.error = error

    async def fetch(self, request: Request) -> Response:
        self.asked.append(request)
        if self.error:
            raise self.error
        return Response(request.url, request=request, body=b"page")

    async def close(self) -> None: ...


class Told:
    """Tells which of its methods is called, with a name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def process_request(self, request: Request) -> Any:
        SAID.append(f"request {self.name}")

    async def process_response(self, request: Request, response: Response, spider: Any) -> Any:
        await asyncio.sleep(0)
        SAID.append(f"response {self.name} {spider}")
        return response

    def process_exception(self, request: Request, exception: Exception) -> Any:
        SAID.append(f"exception {self.name} {exception}")


def gives(method: str, given: Any) -> Any:
    """Return a middleware with one method, which returns or raises this."""

    def call(self: Any, **arguments: Any) -> Any:
        arguments.pop("spider", None)
        if isinstance(given, BaseException):
            raise given
        return given(**arguments) if callable(given) else given

    return type("Gives", (), {method: call})()


def chain(*made: Any, seconds: float | None = None) -> ScrapyMiddlewares:
    named = [(f"mine.{getattr(one, 'name', type(one).__name__)}", one) for one in made]
    return ScrapyMiddlewares(named, "shop", seconds)


ANSWER = Response(URL, body=b"made")


@pytest.fixture(autouse=True)
def silent() -> None:
    SAID.clear()


async def test_requests_go_in_by_their_order_and_responses_out_in_reverse() -> None:
    response = await chain(Told("a"), Told("b"))(Request(URL), Host().fetch)
    assert response.body == b"page"
    assert SAID == ["request a", "request b", "response b shop", "response a shop"]


async def test_one_that_answers_keeps_the_host_from_being_asked_and_all_see_the_answer() -> None:
    host = Host()
    response = await chain(Told("a"), gives("process_request", ANSWER), Told("c"))(Request(URL), host.fetch)
    assert (response.body, response.request.url, host.asked) == (b"made", URL, [])
    assert SAID == ["request a", "response c shop", "response a shop"]


async def test_the_first_that_has_an_answer_to_an_exception_ends_it() -> None:
    host = Host(FetchError("timeout", "too slow", transient=True))
    made = chain(Told("a"), gives("process_exception", ANSWER), Told("c"))
    assert (await made(Request(URL), host.fetch)).body == b"made"
    assert SAID == ["request a", "request c", "exception c too slow", "response c shop", "response a shop"]


async def test_without_an_answer_the_exception_stays_what_it_was() -> None:
    error = FetchError("timeout", "too slow", transient=True)
    with pytest.raises(FetchError) as caught:
        await chain(Told("a"))(Request(URL), Host(error).fetch)
    assert caught.value is error


@pytest.mark.parametrize(
    ("changes", "sent"),
    [
        ({"User-Agent": "mine"}, {"user-agent": "mine", "accept": "text/html"}),
        ({b"ACCEPT": b"*/*"}, {"accept": "*/*"}),
    ],
)
async def test_headers_may_be_changed_in_place_by_names_in_any_case(changes: Any, sent: dict[str, str]) -> None:
    def change(request: Request) -> None:
        request.headers.update(changes)  # type: ignore[attr-defined]

    host, request = Host(), Request(URL, headers={"Accept": "text/html"})
    response = await chain(gives("process_request", change))(request, host.fetch)
    assert dict(host.asked[0].headers) == sent
    assert request.headers == {"Accept": "text/html"}, "a retry begins with the request as it was"
    assert response.request.headers == sent


async def test_what_is_not_changed_arrives_as_it_was() -> None:
    host, request = Host(), Request(URL, headers={"Accept": "text/html"}, meta={"page": 1})
    await chain(Told("a"))(request, host.fetch)
    assert host.asked == [request]


async def test_meta_may_be_changed_and_the_callback_sees_it() -> None:
    def change(request: Request) -> None:
        request.meta["page"] = 2  # type: ignore[index]

    response = await chain(gives("process_request", change))(Request(URL), Host().fetch)
    assert response.request.meta == {"page": 2}


@pytest.mark.parametrize("method", ["process_request", "process_response"])
async def test_a_returned_request_is_asked_instead(method: str) -> None:
    other, host = Request("http://b.example/"), Host()
    with pytest.raises(AskedInstead) as caught:
        await chain(gives(method, other))(Request(URL), host.fetch)
    assert caught.value.request is other
    assert caught.value.unasked == (method == "process_request") == (not host.asked)


@pytest.mark.parametrize("method", ["process_request", "process_response"])
async def test_an_ignored_request_is_told_with_its_reason(method: str) -> None:
    host = Host()
    with pytest.raises(Ignored, match="not today") as caught:
        await chain(Told("a"), gives(method, IgnoreRequest("not today")))(Request(URL), host.fetch)
    assert caught.value.unasked == (not host.asked)
    heard = [said for said in SAID if said.startswith("exception")]
    assert heard == (["exception a not today"] if method == "process_request" else [])


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (gives("process_request", "text"), "mine.Gives.process_request returned str; return None, a response or a"),
        (gives("process_response", lambda **_: None), "mine.Gives.process_response returned NoneType; return the resp"),
        (gives("process_request", ValueError("bad")), "mine.Gives.process_request: ValueError: bad (tests/unit/fetch/"),
        (gives("process_response", SystemExit(3)), "mine.Gives.process_response: SystemExit: 3 (tests/unit/fetch/"),
        (
            gives("process_request", lambda request: request.meta.update(proxy="http://p.example")),
            "a middleware changed the request: meta['proxy']: the crawler uses no proxies",
        ),
        (
            gives("process_request", lambda request: request.headers.update({"x": "a\nb"})),
            "a middleware changed the request: headers['x'] holds a line break",
        ),
    ],
)
async def test_what_a_middleware_does_wrong_makes_the_page_fail_with_its_name(made: Any, said: str) -> None:
    with pytest.raises(FetchError) as caught:
        await chain(made)(Request(URL), Host().fetch)
    assert (caught.value.kind, caught.value.transient) == ("middleware", False)
    assert said in str(caught.value)


async def test_one_that_never_answers_is_ended() -> None:
    async def hang(request: Request) -> None:
        await asyncio.Event().wait()

    with pytest.raises(FetchError, match=r"mine\.Gives\.process_request did not return within 0\.05 s"):
        await chain(gives("process_request", hang), seconds=0.05)(Request(URL), Host().fetch)


def test_a_method_with_other_arguments_is_refused_at_the_start() -> None:
    class Wrong:
        def process_response(self, request: Request) -> None: ...

    with pytest.raises(ConfigError, match=r"write def process_response\(self, request, response\)"):
        chain(Wrong())


class Mine:
    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Mine:
        made = cls()
        made.spider = crawler.spider  # type: ignore[attr-defined]
        return made

    def process_request(self, request: Request) -> None:
        SAID.append(self.spider.name)  # type: ignore[attr-defined]


async def ours(request: Request, call_next: Any) -> Response:
    SAID.append("ours")
    response: Response = await call_next(replace(request, headers={"x": "1"}))
    return response


def crawler_of(name: str) -> Crawler:
    class Shop(Spider):
        pass

    Shop.name = name
    crawler = Crawler(Shop)
    crawler.spider = Shop()
    return crawler


async def test_each_spider_has_its_own_and_both_shapes_stand_side_by_side() -> None:
    host, paths = Host(), (f"{__name__}.Mine", f"{__name__}.ours", "scrapy.downloadermiddlewares.stats.DownloaderStats")
    made = Middlewares(paths, host)
    for name in ("a", "b"):
        fetcher = made.fetcher_for(paths, crawler_of(name))
        assert fetcher is not None
        await fetcher.fetch(Request(URL))
    assert SAID == ["a", "ours", "b", "ours"]
    assert host.asked[0].headers == {"x": "1"}
    SAID.clear()
    await made.fetcher.fetch(Request(URL))
    assert SAID == ["ours"], "without a spider only those that need none"


async def test_those_of_the_whole_process_are_not_made_again_for_a_spider() -> None:
    made = Middlewares([f"{__name__}.ours"], Host())
    assert made.fetcher_for([f"{__name__}.ours"], crawler_of("a")) is None
    assert made.fetcher_for([], crawler_of("a")) is not None
