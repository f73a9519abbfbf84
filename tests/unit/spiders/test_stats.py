"""What a project's code counts belongs to a page; all the rest is of one process, and said so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from crawler import Response, Spider
from crawler.spiders.stats import CUT, LARGEST, MAX_NAME, MAX_NAMES, OTHERS, Page, Stats, counted, take_back
from crawler.testing import run_spider


class Counts(Spider):
    name = "counts"

    def parse(self, response: Response) -> Iterator[Any]:
        self.crawler.stats.inc_value("pages")
        self.crawler.stats.inc_value("prices/missing", 2)
        yield {"a": 1}

    async def process_item(self, item: Any) -> Any:
        await asyncio.to_thread(self.crawler.stats.inc_value, "items")
        return item


def test_what_a_callback_and_process_item_count_is_counted_for_the_page() -> None:
    assert run_spider(Counts).stats == {"pages": 1, "prices/missing": 2, "items": 1}


async def test_pages_that_are_read_at_once_count_apart() -> None:
    stats = Stats()

    async def read(times: int) -> dict[str, int]:
        with Page() as page:
            for _ in range(times):
                stats.inc_value("n")
                await asyncio.sleep(0)
        return page.counts

    assert await asyncio.gather(*map(read, (1, 2, 3))) == [{"own/n": 1}, {"own/n": 2}, {"own/n": 3}]
    assert (stats.get_value("n"), stats.get_stats()) == (6, {"n": 6})


async def test_a_task_that_outlives_its_page_counts_nothing_and_the_log_says_so() -> None:
    stats, go = Stats(), asyncio.Event()

    async def late() -> None:
        await go.wait()
        stats.inc_value("late")

    with Page() as page:
        task = asyncio.create_task(late())
    with capture_logs() as logs:
        go.set()
        await task
    assert (page.counts, [one["stat"] for one in logs]) == ({}, ["late"])


def test_what_failed_is_taken_back() -> None:
    stats = Stats()
    with Page() as page:
        stats.inc_value("kept")
        before = counted()
        stats.inc_value("kept")
        stats.inc_value("lost")
        take_back(before)
        stats.inc_value("errback")
    assert page.counts == {"own/kept": 1, "own/errback": 1}


def test_values_and_counts_outside_pages_are_of_this_process_and_told_once_with_their_line() -> None:
    stats = Stats()
    with capture_logs() as logs:
        for _ in range(3):
            stats.set_value("last", "x")
            stats.max_value("deepest", 3)
            stats.max_value("deepest", 2)
            stats.min_value("least", 3)
            stats.min_value("least", 2)
            stats.inc_value("made")
    assert stats.get_stats() == {"last": "x", "deepest": 3, "least": 2, "made": 3}
    assert [(one["event"], one["stat"], one["method"]) for one in logs] == [
        ("stat_of_one_process", "last", "set_value"),
        ("stat_of_one_process", "deepest", "set_value"),
        ("stat_of_one_process", "least", "set_value"),
        ("stat_of_one_process", "made", "inc_value"),
    ]
    assert all(one["line"].startswith("tests/unit/spiders/test_stats.py:") for one in logs)


def test_names_are_bounded_and_the_rest_is_summed_and_told() -> None:
    stats = Stats()
    with capture_logs() as logs, Page() as page:
        for number in range(MAX_NAMES + 5):
            stats.inc_value(f"url/{number}", 2)
        stats.inc_value("url/0")
    assert len(page.counts) == MAX_NAMES + 2
    assert (page.counts[f"own/{OTHERS}"], page.counts[CUT], page.counts["own/url/0"]) == (10, 1, 3)
    assert [one["stat"] for one in logs] == [OTHERS]


def test_a_name_is_valid_text_of_bounded_length() -> None:
    with Page() as page:
        Stats().inc_value("a\ud800" + "b" * 1000)
    (name,) = page.counts
    assert name == "own/a\ufffd" + "b" * (MAX_NAME - 2)


@pytest.mark.parametrize("given", [{"count": 0.5}, {"count": "1"}, {"count": LARGEST + 1}, {"start": 5}])
def test_what_cannot_be_summed_is_refused(given: dict[str, Any]) -> None:
    with Page() as page, pytest.raises(TypeError, match=r"stats\.inc_value\('n', "):
        Stats().inc_value("n", **given)
    assert page.counts == {}


def test_the_fleets_figures_are_known_at_the_end_and_refused_before() -> None:
    stats = Stats()
    for key in ("item_scraped_count", "downloader/response_status_count/200", "log_count/ERROR"):
        with pytest.raises(LookupError, match="write CLOSESPIDER_ITEMCOUNT"):
            stats.get_value(key, 0)
    stats.learn({"item_scraped_count": 7, "mine": 9})
    with Page():
        stats.inc_value("mine")
    assert (stats.get_value("item_scraped_count"), stats.get_value("mine"), stats.get_value("no", 1)) == (7, 9, 1)
    assert stats.get_value("log_count/ERROR", 0) == 0
    assert stats.get_stats() == {"item_scraped_count": 7, "mine": 9}


def test_what_a_fleet_has_counted_can_be_neither_cleared_nor_replaced() -> None:
    with pytest.raises(TypeError, match=r"stats\.clear_stats\(\): the job's figures belong to all its workers"):
        Stats().clear_stats()
    with pytest.raises(TypeError, match=r"stats\.set_stats"):
        Stats().set_stats({})


class CountsAsync(Counts):
    async def parse(self, response: Response) -> AsyncIterator[Any]:  # type: ignore[override]
        self.crawler.stats.inc_value("async", spider=self)
        yield {"a": 1}


def test_an_async_callback_counts_as_well() -> None:
    assert run_spider(CountsAsync).stats == {"async": 1, "items": 1}
