"""A spider's own seeds: a stream with callbacks by name, whose errors name the spider's line."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count, islice
from typing import Any

import pytest

from crawler import CloseSpider, Request, Response, Spider
from crawler.errors import ConfigError, UsageError
from crawler.spiders.own_seeds import TOGETHER, OwnSeeds

URL = "http://a.example/"


class Shop(Spider):
    name = "shop"

    def parse_item(self, response: Response) -> None: ...

    def failed(self, request: Request, failure: Any) -> None: ...


class Stranger:
    def parse_item(self, response: Response) -> None: ...


def spider(start_requests: Callable[[Any], Any], start: Callable[[Any], Any] = Spider.start) -> Spider:
    return type("Made", (Shop,), {"start_requests": start_requests, "start": start})()  # type: ignore[no-any-return]


def test_methods_become_names() -> None:
    def start_requests(self: Shop) -> Iterator[Any]:
        yield Request(URL, self.parse_item, errback=self.failed)
        yield Request(URL, Shop.parse_item)
        yield Request(URL, "parse_item")

    assert [one.callback for one in OwnSeeds(spider(start_requests))] == ["parse_item"] * 3
    assert next(iter(OwnSeeds(spider(start_requests)))).errback == "failed"


def test_no_more_is_made_than_is_taken() -> None:
    made = count()
    seeds = OwnSeeds(spider(lambda self: (Request(f"{URL}{n}") for n in made)))
    assert [one.url for one in islice(seeds, 3)] == [f"{URL}{n}" for n in range(3)]
    assert next(made) == 3


def test_an_async_generator_is_a_stream_as_well() -> None:
    async def start(self: Shop) -> AsyncIterator[Request]:
        async for request in Spider.start(self):
            yield request
        yield Request(f"{URL}last")

    seeds = OwnSeeds(spider(lambda self: [Request(URL)], start))
    assert [one.url for one in seeds] == [URL, f"{URL}last"]


def test_an_async_generator_is_taken_ahead_by_a_little_and_never_waited_for() -> None:
    """What is there is not held back until the next one comes; what comes at once is taken together."""
    made: list[int] = []

    async def start(self: Shop) -> AsyncIterator[Request]:
        for number in count():
            made.append(number)
            yield Request(f"{URL}{number}")
            if number == 5:
                await asyncio.Event().wait()  # for ever

    seeds = iter(OwnSeeds(spider(Spider.start_requests, start)))
    assert made == [0], "a command that only looks for a first seed makes one"
    assert [next(seeds).url for _ in range(6)] == [f"{URL}{number}" for number in range(6)]
    assert made == [0, 1, 2, 3, 4, 5]

    async def endless(self: Shop) -> AsyncIterator[Request]:
        for number in count():
            made.append(number)
            yield Request(f"{URL}{number}")

    made.clear()
    seeds = iter(OwnSeeds(spider(Spider.start_requests, endless)))
    assert [next(seeds).url for _ in range(3)] == [f"{URL}{number}" for number in range(3)]
    assert len(made) == 1 + TOGETHER


async def gives_an_item(self: Shop) -> AsyncIterator[Any]:
    yield Request(URL)
    yield {"price": 1}


def test_without_seeds_the_user_must_name_some() -> None:
    with pytest.raises(UsageError, match=r"no seeds: spider shop has no start_urls or sitemap_urls; .*seed take URLs"):
        OwnSeeds(Shop())


def test_only_urls_that_are_no_stream_are_known_before() -> None:
    listed = type("Listed", (Shop,), {"start_urls": [URL], "sitemap_urls": (f"{URL}s.xml",)})()
    assert list(OwnSeeds(listed).urls) == [URL, f"{URL}s.xml"]
    streamed = type("Streamed", (Shop,), {"start_urls": iter([URL])})()
    seeds = OwnSeeds(streamed)
    assert list(seeds.urls) == []
    assert [one.url for one in seeds] == [URL]


def raises(self: Shop) -> Iterator[Any]:
    yield Request(URL)
    raise ZeroDivisionError("no!")


def exits(self: Shop) -> Iterator[Any]:
    yield Request(URL)
    sys.exit(3)


def has_no_scheme(self: Shop) -> Iterator[Any]:
    yield Request(URL)
    yield Request("/x")


def gives_text(self: Shop) -> Iterator[Any]:
    yield Request(URL)
    yield URL


def calls_a_stranger(self: Shop) -> Iterator[Any]:
    yield Request(URL)
    yield Request(URL, callback=Stranger().parse_item)


def calls_a_lambda(self: Shop) -> Iterator[Any]:
    yield Request(URL)
    yield Request(URL, callback=lambda response: None)


@pytest.mark.parametrize("given", [None, 5, Request(URL)])
@pytest.mark.parametrize("method", ["start_requests", "start"])
def test_seeds_come_one_by_one(method: str, given: Any) -> None:
    def start_requests(self: Shop) -> Any:
        return given

    async def start(self: Shop) -> Any:
        return given

    made = spider(start_requests) if method == "start_requests" else spider(Spider.start_requests, start)
    kind = type(given).__name__ if method == "start_requests" else "coroutine"
    with pytest.raises(
        ConfigError, match=rf"{method} gave a {kind}; write yield Request\(url\) \(.*\.py:[0-9]+\)"
    ) as caught:
        OwnSeeds(made)
    assert 'own_seeds.py", line' not in str(caught.value).replace("test_own_seeds", "")


async def starts_badly(self: Shop) -> AsyncIterator[Any]:
    yield Request(URL)
    yield Request(URL, callback="parse_itme")


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (raises, "ZeroDivisionError: no!"),
        (exits, "SystemExit: 3"),
        (has_no_scheme, "url of a request is '/x', which has no scheme"),
        (gives_text, "TypeError: start_requests gave a str; write yield Request(url)"),
        (calls_a_stranger, "is not the method parse_item of spider shop, by whose name it would travel"),
        (calls_a_lambda, "write a method of the spider, such as def parse_item"),
        (gives_an_item, "TypeError: start gave a dict; an item belongs to a page, whose commit stores it once"),
        (starts_badly, "spider shop has no method 'parse_itme' to call back; did you mean parse_item?"),
    ],
)
def test_a_mistake_is_told_with_its_line_after_what_came_before(bad: Callable[..., Any], told: str) -> None:
    is_async = bad in (starts_badly, gives_an_item)
    seeds = iter(OwnSeeds(spider(Spider.start_requests, bad) if is_async else spider(bad)))
    assert next(seeds).url == URL
    with pytest.raises(ConfigError) as caught:
        next(seeds)
    text = str(caught.value)
    method = "start" if is_async else "start_requests"
    assert text.startswith(f"{method} of spider shop after request 1 (all before the error are seeded): ")
    assert told in text
    line = bad.__code__.co_firstlineno + 2
    assert f"test_own_seeds.py:{line})" in text
    assert f'test_own_seeds.py", line {line}, in {bad.__name__}' in text


@pytest.mark.parametrize("is_async", [False, True])
def test_a_spider_that_closes_the_job_ends_its_seeds(is_async: bool) -> None:
    def start_requests(self: Shop) -> Iterator[Any]:
        yield Request(URL)
        raise CloseSpider("enough")

    async def start(self: Shop) -> AsyncIterator[Any]:
        yield Request(URL)
        raise CloseSpider("enough")

    seeds = OwnSeeds(spider(start_requests, start) if is_async else spider(start_requests))
    assert [one.url for one in seeds] == [URL]
    assert seeds.closed == "enough"


def test_a_spider_that_closes_the_job_before_its_first_seed_says_so() -> None:
    def start_requests(self: Shop) -> Iterator[Any]:
        raise CloseSpider("closed on Sundays")
        yield

    with pytest.raises(UsageError, match="closed the job before its first request: closed on Sundays"):
        OwnSeeds(spider(start_requests))
