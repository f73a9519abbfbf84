"""`crawl` with the queue of one process, `memory://`: bounded and last in, first out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.crawling import crawl_pages
from tests.website import Answer

ONE_AT_ONCE: dict[str, Any] = {"CONCURRENT_REQUESTS": 1, "CONCURRENT_REQUESTS_PER_DOMAIN": 1}


async def test_a_full_queue_loses_no_seed(tmp_path: Path) -> None:
    """The seeds wait, and the page whose links are more than there is room for does not."""
    links = [f"/l{number}" for number in range(50)]
    seeds = ["/", *(f"/s{number}" for number in range(60))]
    pages = {**dict.fromkeys([*seeds, *links], "a page"), "/": "".join(f"<a href={link}>x</a>" for link in links)}
    crawled = await crawl_pages(tmp_path, pages, seeds=seeds, REDIS_URL="memory://?order=lifo&maxsize=20")
    assert crawled.report.reason == "finished"
    assert sorted(crawled.asked) == sorted([*seeds, *links])


async def test_a_host_that_is_paused_does_not_keep_the_others_out(tmp_path: Path) -> None:
    """A full queue of which nothing can be asked would wait for itself."""
    refused = {f"/no{number}": Answer(b"no", status=403) for number in range(60)}
    other = "http://127.0.1.2/"  # nobody serves it, but it is asked
    crawled = await crawl_pages(
        tmp_path, refused, seeds=[*refused, other], REDIS_URL="memory://?maxsize=5", RETRY_TIMES=0
    )
    assert (crawled.report.reason, crawled.report.code) == ("paused", 75)
    assert crawled.counters["error/connect"] == 1


async def test_depth_first(tmp_path: Path) -> None:
    pages = {"/": "<a href=/a>x</a> <a href=/b>x</a>", "/a": "<a href=/a1>x</a>", "/b": "<a href=/b1>x</a>"}
    pages |= {"/a1": "a page", "/b1": "a page"}
    deep = await crawl_pages(tmp_path, pages, REDIS_URL="memory://?order=lifo&maxsize=1000", **ONE_AT_ONCE)
    assert deep.asked == ["/", "/b", "/b1", "/a", "/a1"]
    (tmp_path / "items.jsonl").unlink()
    wide = await crawl_pages(tmp_path, pages, REDIS_URL="memory://?maxsize=1000", **ONE_AT_ONCE)
    assert wide.asked == ["/", "/a", "/b", "/a1", "/b1"]
