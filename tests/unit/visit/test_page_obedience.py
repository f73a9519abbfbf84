"""The worker obeys and counts a page's directives whatever the spider yields, each kind if its setting is on."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import pytest
from msgspec.structs import replace

from crawler.frontier.message import check, encode
from crawler.model import Done, Lease, Request, Visit
from crawler.parsing.scope import Scope
from crawler.parsing.url import host_of
from crawler.policy import RetryPolicy, counts
from crawler.response import Response
from crawler.robots.page_directives import names_of
from crawler.spiders.base import DropItem, Spider
from crawler.testing import FakeFetcher
from crawler.visit.admission import Admission
from crawler.visit.page_obedience import DirectivePolicy
from crawler.visit.ready_spiders import ReadySpider
from crawler.visit.visit import Visitor
from crawler.worker.blame_slot import NoSlot

URL = "http://a.example/"
OURS = DirectivePolicy(names=names_of("ourbot"))
LINKS = '<a href="/1">one</a> <a href="/2">two</a>'
PLAIN = f'<html><head><meta charset="utf-8"><title>x</title></head><body>{LINKS}</body></html>'
ALL = ["http://a.example/1", "http://a.example/2"]


class Everything(Spider):
    """Yields an item and a request for each link, in each of the ways a spider has."""

    name = "everything"

    def parse(self, response: Response) -> Any:
        yield {"links": len(response.links)}
        yield from (Request(url) for url in response.links)

    def by_selector(self, response: Response) -> Any:
        yield {"url": response.url, "title": response.css("title::text").get()}
        yield from response.follow_all(css="a")

    def by_hand(self, response: Response) -> Any:
        yield {"url": response.url}
        yield Request("http://a.example:80/x/../1#part")
        yield Request("http://A.example/2")

    def again(self, response: Response) -> Any:
        yield Request(response.url, dont_filter=True)

    def item_only(self, response: Response) -> Any:
        yield {"size": len(response.body)}
        raise DropItem("the rest")

    def nothing(self, response: Response) -> Any:
        return None

    def errback(self, request: Request, failure: object) -> Any:
        yield {"failed": request.url}
        yield Request("http://a.example/1")


def answer(body: str, tag: str | None = None, kind: str = "text/html", status: int = 200, **headers: str) -> Response:
    fields = {"content-type": f"{kind}; charset=utf-8", **headers}
    return Response(
        URL, status=status, headers=fields if tag is None else {**fields, "x-robots-tag": tag}, body=body.encode()
    )


async def visit(page: Response, callback: str = "parse", rules: DirectivePolicy = OURS) -> Visit:
    ready = ReadySpider(spider=Everything(), scope=Scope(), retry=RetryPolicy(), gate=None, directives=rules)
    request = Request(URL, callback=callback, errback="errback", spider="everything")
    lease = Lease("news", request, encode(request), host_of(URL))
    fetcher = FakeFetcher({URL: page})
    return await Visitor(fetcher, lambda job, spider: ready, Admission(Nobody(), check), NoSlot()).visit(lease)


class Nobody:
    """No host was seeded."""

    async def among(self, job: str, hosts: Any) -> set[str]:
        return set()


def urls(found: Visit) -> list[str]:
    return [link.url for link in found.links]


def meta(content: str, name: str = "robots") -> str:
    return PLAIN.replace("<title>", f'<meta name="{name}" content="{content}"><title>')


CALLBACKS = ["parse", "by_selector", "by_hand"]


@pytest.mark.parametrize("callback", CALLBACKS)
@pytest.mark.parametrize(
    "page",
    [
        answer(PLAIN),
        answer(PLAIN, ""),
        answer(PLAIN, "all"),
        answer(PLAIN, "otherbot: none"),
        answer(meta("index, follow, max-image-preview:large")),
        answer(meta("none", name="otherbot")),
        answer(meta("unavailable_after: 2999-01-01")),
        answer(PLAIN.replace("<title>", '<meta name="description" content="none of noindex, nofollow"><title>')),
        answer(PLAIN.replace("two", "noindex, nofollow <!-- <meta name=robots content=none> -->")),
        answer(PLAIN.replace('href="/2"', 'href="/2" rel="noopener external"')),
        answer(PLAIN + '<a rel="nofollow" href="/2">the same, marked</a>'),
    ],
)
async def test_pages_that_ask_for_nothing_are_taken_whole(page: Response, callback: str) -> None:
    found = await visit(page, callback)
    assert len(found.items) == 1
    assert urls(found) == ALL
    assert not counts(found)


@pytest.mark.parametrize("callback", CALLBACKS)
@pytest.mark.parametrize(
    ("page", "items", "links"),
    [
        (answer(PLAIN, "noindex"), 0, 2),
        (answer(PLAIN, "nofollow"), 1, 0),
        (answer(PLAIN, "otherbot: all\nourbot: none"), 0, 0),
        (answer(PLAIN, "otherbot: none\nnoindex"), 0, 2),
        (answer(meta("noindex")), 0, 2),
        (answer(meta("NOFOLLOW", name="OurBot")), 1, 0),
        (answer(meta("none")), 0, 0),
        (answer(meta("noindex"), "nofollow"), 0, 0),
        (answer(meta("nofollow").replace("<meta", "<META").replace("name=", "Name = ")), 1, 0),
        (answer(LINKS + "<meta name=robots content=none>"), 0, 0),
        (answer(meta("none"), kind="application/xhtml+xml"), 0, 0),
    ],
)
async def test_marked_pages(page: Response, callback: str, items: int, links: int) -> None:
    found = await visit(page, callback)
    assert found.outcome == Done(), "the page itself was fetched and is done with"
    assert (len(found.items), len(found.links)) == (items, links)
    expected = {"dropped/noindex": 1 - items, "links/nofollow": 2 - links}
    assert counts(found) == {name: count for name, count in expected.items() if count}


@pytest.mark.parametrize("callback", CALLBACKS)
@pytest.mark.parametrize("rel", ["nofollow", "ugc", "sponsored", "UGC", "external  NoFollow"])
async def test_marked_links_are_not_followed(callback: str, rel: str) -> None:
    page = answer(PLAIN.replace('href="/1"', f'class="x" href="/1" rel="{rel}"'))
    found = await visit(page, callback)
    assert urls(found) == ALL[1:]
    assert counts(found) == {"links/rel_nofollow": 1}
    assert len(found.items) == 1, "the mark is about the link, not about the page"


async def test_a_marked_link_stays_among_the_links_of_an_item() -> None:
    found = await visit(answer(PLAIN.replace('href="/1"', 'href="/1" rel=nofollow')))
    assert found.items == (b'{"links":2}',)


async def test_a_page_whose_time_has_passed_is_not_kept_but_followed() -> None:
    found = await visit(answer(meta("unavailable_after: Friday, 25-Jun-10 15:00:00 UTC")))
    assert counts(found) == {"dropped/unavailable_after": 1}
    assert urls(found) == ALL


async def test_what_a_spider_drops_itself_is_counted_beside_it() -> None:
    found = await visit(answer(meta("noindex")), "item_only")
    assert counts(found) == Counter({"dropped/the_rest": 1, "dropped/noindex": 1})


@pytest.mark.parametrize(
    ("off", "items", "links"),
    [({"noindex": False}, 1, 0), ({"nofollow": False}, 0, 1), ({"nofollow_links": False}, 0, 0)],
)
async def test_each_kind_has_its_setting(off: dict[str, bool], items: int, links: int) -> None:
    page = answer(meta("none").replace('href="/1"', 'href="/1" rel=ugc'))
    found = await visit(page, rules=replace(OURS, **off))
    assert (len(found.items), len(found.links)) == (items, links)


async def test_with_all_of_them_off_a_page_is_taken_whole() -> None:
    page = answer(meta("none").replace('href="/1"', 'href="/1" rel=ugc'), "none")
    found = await visit(page, rules=replace(OURS, noindex=False, nofollow=False, nofollow_links=False))
    assert (len(found.items), urls(found), counts(found)) == (1, ALL, {})


@pytest.mark.parametrize("kind", ["application/pdf", "application/json", "text/plain"])
async def test_other_types_have_the_header_alone(kind: str) -> None:
    marked = await visit(answer(meta("none"), "none", kind=kind), "by_hand")
    assert (marked.items, marked.links) == ((), ())
    unmarked = await visit(answer(meta("none"), kind=kind), "by_hand")
    assert (len(unmarked.items), urls(unmarked)) == (1, ALL)


async def test_a_request_for_the_page_itself_is_no_link_of_it() -> None:
    found = await visit(answer(meta("nofollow")), "again")
    assert urls(found) == [URL]


@pytest.mark.parametrize("status", [301, 302, 307])
async def test_a_redirect_is_no_link(status: int) -> None:
    found = await visit(answer("", "none", status=status, location="/1"))
    assert urls(found) == ALL[:1]
    assert not counts(found)


async def test_what_an_errback_gives_is_about_the_failure_not_about_a_page() -> None:
    found = await visit(answer(meta("none"), "none", status=404))
    assert (len(found.items), urls(found)) == (1, ALL[:1])


async def test_a_page_of_which_nothing_is_taken_is_not_looked_at() -> None:
    hostile = answer("<div>" * 500_000 + meta("none"))
    began = time.process_time()
    await visit(hostile, "nothing")
    assert time.process_time() - began < 0.5


async def test_an_encoding_that_is_no_ascii_hides_no_sign() -> None:
    page = Response(URL, headers={"content-type": "text/html; charset=utf-16le"}, body=meta("none").encode("utf-16le"))
    found = await visit(page)
    assert counts(found) == {"dropped/noindex": 1, "links/nofollow": 2}
