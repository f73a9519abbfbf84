"""A large page keeps no other page waiting for long."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from crawler.frontier.message import check
from crawler.model import Done, Request, Skip, Visit
from crawler.parsing.scope import Scope
from crawler.policy import RetryPolicy
from crawler.response import Response
from crawler.spiders.base import Spider
from crawler.testing import FakeFetcher
from crawler.visit.admission import Admission
from crawler.visit.ready_spiders import ReadySpider
from crawler.visit.visit import LARGE, LINKS_AT_ONCE, Visitor
from crawler.worker.blame_slot import NoSlot, Page, Slot
from tests.unit.visit.test_visit import URL, Nobody, lease


class Reader(Spider):
    """Uses the tree, and records how many turns the other pages had before and during its callback."""

    name = "reader"
    read_ahead = ("root", "links")

    def __init__(self) -> None:
        super().__init__()
        self.turns: list[str] = []  # of the others: whom they could blame
        self.before: list[str] = []  # those of them before the callback
        self.was_ready = False

    def parse(self, response: Response) -> Any:
        self.before = list(self.turns)
        self.was_ready = {"root", "links"} <= response.__dict__.keys()
        return [Request(url, spider=self.name) for url in response.links]


async def read(page: str) -> tuple[Visit, Reader]:
    """One visit, beside a neighbour who takes each turn it is given."""
    spider, slot = Reader(), Slot()

    async def neighbour() -> None:
        while True:
            await asyncio.sleep(0)
            seen = slot.read()
            spider.turns.append(seen.on.lease.request.url if seen and isinstance(seen.on, Page) else "nobody")

    ready = ReadySpider(spider=spider, scope=Scope(), retry=RetryPolicy(), gate=None)
    visits = Visitor(FakeFetcher({URL: page}), lambda job, spider: ready, Admission(Nobody(), check), slot)
    beside = asyncio.create_task(neighbour())
    found = await visits.visit(lease())
    beside.cancel()
    assert slot.read() is None
    return found, spider


async def test_a_large_page_leaves_turns_to_the_others() -> None:
    """Other pages run between its parts and while its links are admitted; the slot names only a page being parsed."""
    many = "".join(f"<p><a href=/{number}.html>one of many</a>" for number in range(3 * LINKS_AT_ONCE))
    assert len(many) > LARGE
    found, spider = await read(many)
    assert spider.was_ready
    assert len(spider.before) >= 2
    assert len(spider.turns) >= len(spider.before) + 3
    assert set(spider.turns) == {"nobody"}
    assert [link.url for link in found.links] == [f"{URL}{number}.html" for number in range(3 * LINKS_AT_ONCE)]
    assert {link.depth for link in found.links} == {1}


def test_the_parts_of_a_large_page_are_made_ready_in_several_steps_and_are_the_same() -> None:
    body = b"<title>one</title>" + b"<p>some <b>words</b> of text" * 30_000 + b"<a href=/1>last</a>"
    ready, plain = (Response(URL, headers={"content-type": "text/html"}, body=body) for _ in range(2))
    steps = [part for part in ("root", "visible_text", "links") for _ in ready.prepare(part)]
    assert steps.count("visible_text") > 2
    assert {"root", "visible_text", "links"} <= ready.__dict__.keys()
    assert (ready.visible_text, ready.links) == (plain.visible_text, plain.links)


class Patient(Spider):
    """Takes its time with each page, and notes how many it has at once."""

    name = "patient"

    def __init__(self) -> None:
        super().__init__()
        self.at_once = self.most = 0

    async def looks(self, response: Response) -> Any:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        for _ in range(5):
            await asyncio.sleep(0)
        self.at_once -= 1


@pytest.mark.parametrize(("size", "at_once"), [(LARGE, 4), (LARGE + 1, 1)], ids=["small", "large"])
async def test_large_pages_are_worked_on_one_at_a_time(size: int, at_once: int) -> None:
    spider = Patient()
    ready = ReadySpider(spider=spider, scope=Scope(), retry=RetryPolicy(), gate=None)
    visits = Visitor(FakeFetcher({URL: "x" * size}), lambda job, spider: ready, Admission(Nobody(), check), NoSlot())
    found = await asyncio.gather(*(visits.visit(lease("looks")) for _ in range(4)))
    assert [visit.outcome for visit in found] == [Done()] * 4
    assert spider.most == at_once


async def test_a_page_with_too_many_elements_is_skipped_and_counted() -> None:
    found, spider = await read("<p>" * 600_000)
    assert isinstance(found.outcome, Skip)
    assert found.outcome.reason == "parse_maxnodes"
    assert "PARSE_MAXNODES" in found.outcome.detail
    assert not spider.was_ready


async def test_a_visit_may_be_cancelled_while_it_leaves_a_turn_to_others() -> None:
    slot = Slot()
    ready = ReadySpider(spider=Reader(), scope=Scope(), retry=RetryPolicy(), gate=None)
    visits = Visitor(
        FakeFetcher({URL: "<p>" + "x" * LARGE}), lambda job, spider: ready, Admission(Nobody(), check), slot
    )
    task = asyncio.create_task(visits.visit(lease()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert slot.read() is None


async def test_what_does_not_belong_is_counted_among_many_links_as_among_few() -> None:
    class Wanderer(Spider):
        name = "wanderer"

        def parse(self, response: Response) -> Any:
            for number in range(LINKS_AT_ONCE):
                yield from (Request(f"http://a.example/{number}"), Request("http://"), Request("http://b.example/"))

    ready = ReadySpider(spider=Wanderer(), scope=Scope(["a.example"]), retry=RetryPolicy(), gate=None)
    visits = Visitor(FakeFetcher({URL: ""}), lambda job, spider: ready, Admission(Nobody(), check), NoSlot())
    found = await visits.visit(lease())
    assert len(found.links) == LINKS_AT_ONCE
    assert dict(found.unfollowed) == {"malformed": LINKS_AT_ONCE, "offsite": LINKS_AT_ONCE}


async def test_a_small_page_is_read_when_its_callback_asks() -> None:
    found, spider = await read("<a href=/x>x</a>")
    assert not spider.was_ready
    assert spider.turns == []
    assert [link.url for link in found.links] == ["http://a.example/x"]
