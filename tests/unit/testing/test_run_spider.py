"""What users test their spiders with."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from crawler import Request, Response, Spider
from crawler.model import Unfollowed
from crawler.testing import FakeFetcher, run_spider, run_spider_async

NEXT = Request("http://example.com/next")


class Giving(Spider):
    name = "giving"
    given: tuple[Any, ...] = ()

    def parse(self, response: Response) -> Iterator[Any]:
        yield from self.given

    def one_item(self, response: Response) -> dict[str, int]:
        return {"a": 1}

    def links(self, response: Response) -> dict[str, int]:
        return {"links": 1 + len(response.links)}


def test_run_spider_takes_a_class_or_an_instance() -> None:
    spider = Giving()
    spider.given = ({"a": b"\xff"}, NEXT)
    result = run_spider(spider, "<p>", url="http://example.com/x", depth=2)
    assert (result.items, result.urls) == ([{"a": "\ufffd"}], [NEXT.url])
    assert run_spider(Giving) == ([], [], {}, {}, {}, [], [])


def test_run_spider_tells_what_a_crawl_would_lose() -> None:
    spider = Giving()
    spider.given = ({"a": 1}, "a text", Request("mailto:me@a.example"), Unfollowed("archive", 3), {"a": None})
    found = run_spider(spider)
    assert (len(found.items), found.requests, found.unfollowed) == (2, [], {"malformed": 1, "archive": 3})
    assert [one.kind for one in found.strays] == ["not_an_item", "request_refused"]
    assert all(one.line.partition(":")[0].endswith("test_run_spider.py") for one in found.strays)
    assert {one.counter: one.count for one in found.lost} == {
        "dropped/not_an_item": 1,
        "links/malformed": 1,
        "empty/items": 1,
    }
    page = f"<a href='/{'a' * 10_000}'>"
    assert [one.counter for one in run_spider(Giving, page, callback="links").lost] == ["cut/long_urls"]


async def test_run_spider_in_an_event_loop() -> None:
    assert (await run_spider_async(Giving, callback="one_item")).items == [{"a": 1}]


async def test_fake_fetcher_answers_from_its_pages_and_remembers_the_requests() -> None:
    fetcher = FakeFetcher(
        {
            "http://a.example/": "<p>ü",
            "http://a.example/raw": Response("http://a.example/raw", status=301, headers={"location": "/"}),
            "http://a.example/flaky": [TimeoutError("slow"), b"ok"],
        }
    )
    page = await fetcher.fetch(Request("http://a.example/", depth=3))
    assert (page.text, page.status, page.is_html, page.depth) == ("<p>ü", 200, True, 3)
    moved = await fetcher.fetch(Request("http://a.example/raw"))
    assert (moved.status, moved.headers["location"]) == (301, "/")
    with pytest.raises(TimeoutError):
        await fetcher.fetch(Request("http://a.example/flaky"))
    for _ in range(2):
        assert (await fetcher.fetch(Request("http://a.example/flaky"))).body == b"ok"
    assert (await fetcher.fetch(Request("http://a.example/none"))).status == 404
    assert len(fetcher.urls) == 6
    await fetcher.close()
    assert fetcher.closed


def test_the_contract_suite_is_imported_without_the_backends_of_the_crawler() -> None:
    """Another backend's tests must not depend on how these place hosts."""
    code = (
        "import sys; import crawler.testing.contract as suite; import crawler.testing.contract.world; "
        "assert suite.test_nobody_starves; sys.exit('redis' in sys.modules or 'crawler.frontier.redis' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
