"""The steps of an item that waits for its files: whatever a visit brings, its step has one successor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from crawler.errors import FetchError
from crawler.frontier.message import check, encode
from crawler.frontier.redis.adding import _identity
from crawler.frontier.redis.queue import _links
from crawler.media.folder import Folder
from crawler.media.library import Library
from crawler.model import Lease, Release, Request, Retry, Step, Visit
from crawler.parsing.scope import Scope
from crawler.parsing.url import host_of
from crawler.policy import RetryPolicy
from crawler.response import Response
from crawler.spiders.base import DropItem, Spider
from crawler.spiders.context import Crawler
from crawler.spiders.hooks import Hooks
from crawler.testing import Answer, FakeFetcher
from crawler.visit import waiting
from crawler.visit.admission import Admission
from crawler.visit.item_files import ItemFiles, Section
from crawler.visit.ready_spiders import ReadySpider
from crawler.visit.visit import Visitor
from crawler.worker.blame_slot import NoSlot
from tests.unit.visit.test_visit import Nobody

PAGE, FILE, NEXT = "http://a.example/", "http://b.example/f.jpg", "http://c.example/g.jpg"


class Shop(Spider):
    name = "shop"

    def parse(self, response: Response) -> Any:
        urls = response.css("b::text").getall()
        yield {"file_urls": urls}
        yield Request(response.url, dont_filter=True)


@dataclass
class Book:
    title: str


class Marked:
    def process_item(self, item: Any) -> Any:
        return {**item, "mark": 1}


class Bound:
    def process_item(self, item: Any) -> Any:
        return Book("bound")


class Sold:
    def process_item(self, item: Any) -> Any:
        raise DropItem("sold")


def visitor(folder: Path, answer: Answer, *behind: type) -> Visitor:
    """`behind`: pipelines that get items with their files."""
    store = Folder("FILES_STORE", folder)
    store.check()
    files = ItemFiles({waiting.FILES: Section("file_urls", "files", Library(store, "urls", 90.0))}, check, follows=True)
    crawler = Crawler(Shop, {})
    spider = crawler.spider = Shop()
    pipelines = ["scrapy.pipelines.files.FilesPipeline", *(f"{__name__}.{one.__name__}" for one in behind)]
    hooks = Hooks(crawler, pipelines=pipelines, waits=files.waits) if behind else None
    ready = ReadySpider(spider, Scope(["a.example"], 1), RetryPolicy(), gate=None, files=files, hooks=hooks)
    fetcher = FakeFetcher({PAGE: answer, FILE: answer})
    return Visitor(fetcher, lambda job, spider: ready, Admission(Nobody(), check), NoSlot())


def lease(request: Request, attempt: int = 0) -> Lease:
    return Lease("news", request, encode(request, "nonce"), host_of(request.url), attempt=attempt)


def names(given: Lease, visit: Visit) -> list[tuple[str, str]]:
    """Host and name of each item's step that a visit adds: by these the frontier knows whether it has it."""
    found = [(link.url, _identity(link, word)) for link, word in _links(given, visit) if link.media]
    return [(host_of(url), name) for url, name in found]


def asking() -> Request:
    item = waiting.Waiting("{}", PAGE, "shop.parse", "dict", (("files", FILE), ("files", NEXT)))
    following = waiting.onward(lease(Request(PAGE, depth=1, spider="shop")), item)
    assert isinstance(following, Request)
    return following


ENDS: list[Answer] = [
    Response(FILE, status=200, body=b"f"),
    Response(FILE, status=404),
    Response(FILE, status=302, headers={"location": "http://d.example/once?1"}),
    Response(FILE, status=302, headers={"location": "http://e.example/once?2"}),
    FetchError("refused", "a private address", transient=False),
]


async def test_each_end_of_a_fetch_has_the_same_successor_at_the_same_host(tmp_path: Path) -> None:
    given, found = lease(asking(), attempt=2), set()
    for number, answer in enumerate(ENDS):
        visit = await visitor(tmp_path / str(number), answer).visit(given)
        assert isinstance(visit.outcome, Step)
        found.add(tuple(names(given, visit)))
    ((only,),) = found
    assert only[0] == "b.example"


async def test_each_visit_of_a_page_has_the_same_successor_whatever_its_items_name(tmp_path: Path) -> None:
    given, found = lease(Request(PAGE, spider="shop")), set()
    for names_of_files in (f"<b>{FILE}</b>", f"<b>{NEXT}</b><b>{FILE}</b>", "<b>http://f.example/?token=7</b>"):
        visit = await visitor(tmp_path, names_of_files).visit(given)
        found.add(tuple(names(given, visit)))
    ((only,),) = found
    assert only[0] == "a.example"


async def test_a_step_at_a_url_depends_on_nothing_but_its_message(tmp_path: Path) -> None:
    """Not on the store, which may have the file by now."""
    item = waiting.Waiting("{}", PAGE, "shop.parse", "dict", (("files", FILE),))
    given = lease(waiting.stay(lease(Request(PAGE, depth=1, spider="shop")), item))
    before = await visitor(tmp_path, "").visit(given)
    await visitor(tmp_path, ENDS[0]).visit(lease(asking()))
    assert (await visitor(tmp_path, "").visit(given)).links == before.links
    assert [link.url for link in before.links] == [FILE]


@pytest.mark.parametrize("answer", [FetchError("timeout", "no answer", transient=True), Response(FILE, status=503)])
async def test_what_may_pass_takes_no_step(tmp_path: Path, answer: Answer) -> None:
    visit = await visitor(tmp_path, answer).visit(lease(asking()))
    assert isinstance(visit.outcome, Retry)
    assert not visit.links


async def test_a_host_that_is_away_has_one_more_try_so_that_the_frontier_can_spare_it(tmp_path: Path) -> None:
    away = FetchError("timeout", "no answer", transient=True)
    assert isinstance((await visitor(tmp_path, away).visit(lease(asking(), attempt=2))).outcome, Retry)
    assert (await visitor(tmp_path, away).visit(lease(asking(), attempt=3))).outcome == Step("timeout")


async def test_a_worker_without_the_store_leaves_the_item_to_others(tmp_path: Path) -> None:
    ready = ReadySpider(spider=Shop(), scope=Scope(), retry=RetryPolicy(), gate=None)
    found = Visitor(FakeFetcher({}), lambda job, spider: ready, Admission(Nobody(), check), NoSlot())
    outcome = (await found.visit(lease(asking()))).outcome
    assert isinstance(outcome, Release)
    assert "no FILES_STORE is set here" in outcome.lacks


@pytest.mark.parametrize(
    ("kind", "behind", "kinds"),
    [
        ("Product", (), ("Product",)),
        ("dict", (), ()),
        ("Product", (Marked,), ("Product",)),
        ("Product", (Bound,), ("Book",)),
        ("Product", (Sold,), ()),
    ],
)
async def test_an_item_leaves_with_its_class(
    tmp_path: Path, kind: str, behind: tuple[type, ...], kinds: tuple[str, ...]
) -> None:
    """By which outputs choose items (`item_classes`), and tables get their columns."""
    item = waiting.Waiting("{}", PAGE, "shop.parse", kind, ())
    visit = await visitor(tmp_path, "", *behind).visit(lease(waiting.stay(lease(Request(PAGE, spider="shop")), item)))
    assert visit.item_kinds == kinds
    assert [filled.kind for filled in visit.filled] == list(kinds or ([] if behind else ["dict"]))
