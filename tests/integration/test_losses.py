"""What a crawl loses is counted and said; with STRICT it is the exit code. Whole crawls of a few pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crawler.errors import Exit
from crawler.views.losses import lost, told
from tests.crawling import Crawled, crawl_pages
from tests.website import Answer, Handler

LINKS = "<a href=/a>a</a><a href=/b>b</a>"
ROBOTS = Answer(b"User-agent: *\nDisallow: /\n", content_type="text/plain")
MINE = """
from crawler import DropItem, Request, Spider
class Mine(Spider):
    name = "mine"
    def parse(self, response):
        {body}
"""


def spider(body: str) -> str:
    return MINE.format(body=body)


def lines(crawled: Crawled) -> list[str]:
    return [one.text for one in lost(crawled.report.stats)]


@pytest.mark.parametrize(
    ("pages", "body", "settings", "said"),
    [
        ({"/": LINKS, "/a": "a"}, "", {}, "1 page: given up; crawler dead --job test"),
        ({"/": LINKS, "/a": "a", "/b": "<p>" * 300}, "", {"PARSE_MAXNODES": 200}, "1 page: not parsed: more elements"),
        (
            {"/": LINKS, "/a": "a", "/b": "b"},
            "yield {'url': response.url}; yield Request('mailto:me@a.example')",
            {},
            "1 request: refused: no URL that can be fetched",
        ),
        ({"/": LINKS, "/robots.txt": ROBOTS}, "", {}, "no page was read: robots.txt forbids all of them"),
        (
            {"/": LINKS, "/a": "a", "/b": "b", "/robots.txt": Answer(b"#" * 600_000, content_type="text/plain")},
            "",
            {},
            "1 host: with a robots.txt over 500 KiB",
        ),
        ({"/": LINKS}, "response.follow_all(css='a')", {}, "neither an item nor a request on any page"),
        ({"/": LINKS}, "yield {}", {}, "1 item: no field has a value"),
        ({"/": LINKS}, "yield {'title': None, 'tags': []}", {}, "1 item: no field has a value"),
        ({"/": LINKS}, "yield Request(response.url)", {}, "no item: 1 page read, and no callback yielded one"),
        (
            {"/": LINKS, "/a": "a", "/b": "b"},
            "yield {'url': response.url}; yield None; yield from response.follow_all(css='a'); yield 'x'",
            {},
            "3 values: yielded by callbacks, but neither items nor requests",
        ),
        ({"/": LINKS}, "raise DropItem('no_price')", {}, "no item was kept: all were dropped (no_price 1)"),
    ],
)
async def test_a_loss_is_said_and_is_the_exit_code_of_a_strict_crawl(
    tmp_path: Path, pages: dict[str, str | Answer | Handler], body: str, settings: dict[str, Any], said: str
) -> None:
    crawled = await crawl_pages(tmp_path, pages, spider(body) if body else "", STRICT=True, **settings)
    (line,) = lines(crawled)
    assert said in line
    assert crawled.report.code == Exit.LOST


async def test_a_loss_alone_does_not_change_the_exit_code(tmp_path: Path) -> None:
    crawled = await crawl_pages(tmp_path, {"/": LINKS, "/a": "a"})
    assert lines(crawled)
    assert crawled.report.code == Exit.DONE


async def test_what_was_asked_for_is_told_and_is_no_loss(tmp_path: Path) -> None:
    pages: dict[str, str | Answer | Handler] = {
        "/": '<a href=/a>a</a><a href=/old>b</a><a href=/x rel=nofollow>x</a><a href="http://b.example/">c</a>',
        "/a": "<meta name=robots content=noindex><a href=/deep>d</a>",
        "/old": Answer(status=301, headers={"Location": "/a"}),
    }
    crawled = await crawl_pages(tmp_path, pages, STRICT=True, DEPTH_LIMIT=1)
    assert {one.counter: one.count for one in told(crawled.report.stats)} == {
        "skip/redirect": 1,
        "dropped/noindex": 1,
        "links/depth": 1,
        "links/offsite": 1,
        "links/rel_nofollow": 1,
    }
    assert all(one.is_asked_for for one in told(crawled.report.stats))
    assert crawled.report.code == Exit.DONE


ERRBACK = spider("""
        yield {'url': response.url}
        yield Request(response.urljoin('/missing'), errback=self.failed)
    def failed(self, request, failure):
        yield {'failed': request.url}
        raise ValueError('in the errback')
""")


async def test_an_errback_that_fails_is_counted_beside_its_dead_letter(tmp_path: Path) -> None:
    crawled = await crawl_pages(tmp_path, {"/": LINKS}, ERRBACK, STRICT=True)
    assert {one.counter: one.count for one in lost(crawled.report.stats)} == {"dead": 1, "dropped/errback": 1}
    assert len(crawled.items) == 1


MOVED = Answer(status=301, headers={"Location": "/new"})
BOTH = spider("""
        yield {'by': 'parse', 'url': response.url}
        yield from response.follow_all(css='a')
        yield Request(response.urljoin('/old'), callback=self.detail)
    def detail(self, response):
        yield {'by': 'detail', 'url': response.url}
""")


async def test_a_page_is_read_by_the_callback_whose_request_redirects_to_it(tmp_path: Path) -> None:
    crawled = await crawl_pages(tmp_path, {"/": "<a href=/new>n</a>", "/old": MOVED, "/new": "n"}, BOTH, STRICT=True)
    read = sorted((item["by"], item["url"].rpartition("/")[2]) for item in crawled.items)
    assert read == [("detail", "new"), ("parse", ""), ("parse", "new")]
    assert crawled.report.code == Exit.DONE


async def test_an_endless_redirect_is_given_up_at_the_bound(tmp_path: Path) -> None:
    loop = Answer(status=302, headers={"Location": "/loop"})
    crawled = await crawl_pages(tmp_path, {"/": "<a href=/loop>l</a>", "/loop": loop}, REDIRECT_MAX_TIMES=5)
    assert crawled.asked.count("/loop") == 6
    assert crawled.counters["dead/redirects"] == 1
