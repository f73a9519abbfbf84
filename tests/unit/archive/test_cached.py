"""What of the page cache is not read, and that it is counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crawler.archive.cached import CachedPages
from crawler.fetch.caching import CachingFetcher
from crawler.fetch.page_cache import PageCache
from crawler.frontier import message
from crawler.model import Request
from crawler.parsing.limits import ParseLimits
from crawler.testing import FakeFetcher

ORIGIN = "http://a.example"


def cache(folder: Path) -> PageCache:
    return PageCache(folder, seconds=0, most_bytes=1_000_000, parse_limits=ParseLimits())


async def fill(folder: Path, *requests: Request, version: int = 2) -> None:
    """Store pages as a crawl does (with a spider) or `fetch` (without). Version 1 noted nothing."""
    noted = message.encode if version > 1 else None
    inner = FakeFetcher({request.url: "<p>x</p>" for request in requests})
    caching = CachingFetcher(inner, cache(folder), lambda request: request.headers, noted=noted)
    for request in requests:
        await caching.fetch(request)


def read(folder: Path) -> CachedPages:
    pages = CachedPages([folder], most_bytes=1_000_000, parse_limits=ParseLimits())
    pages.scan()
    return pages


def urls(pages: CachedPages) -> set[str]:
    return {kept.request.url.removeprefix(ORIGIN) for kept in pages}


def request(path: str, spider: str = "shop", **fields: Any) -> Request:
    return Request(ORIGIN + path, spider=spider, **fields)


async def test_pages_of_an_older_version_are_counted_where_a_newer_one_noted_others(tmp_path: Path) -> None:
    """Nobody knows which callback read them; the rules of a host are read by none."""
    await fill(tmp_path, *(request(path) for path in ("/1", "/2", "/robots.txt")), version=1)
    assert (urls(read(tmp_path)), +read(tmp_path).left_out) == ({"/1", "/2"}, {})
    await fill(tmp_path, request("/new"), request("/1", callback="parse_item"))
    assert (urls(read(tmp_path)), +read(tmp_path).left_out) == ({"/new", "/1"}, {"unread/not_noted": 1})


async def test_pages_that_no_spider_asked_for_are_told_apart(tmp_path: Path) -> None:
    await fill(tmp_path, request("/by-hand", spider=""), request("/1"), request("/robots.txt", spider=""))
    assert (urls(read(tmp_path)), +read(tmp_path).left_out) == ({"/1"}, {"unread/no_spider": 1})
    await fill(tmp_path, request("/by-hand"))
    assert (urls(read(tmp_path)), +read(tmp_path).left_out) == ({"/1", "/by-hand"}, {})


async def test_a_look_at_a_page_of_an_older_version_notes_nothing(tmp_path: Path) -> None:
    await fill(tmp_path, request("/old"), version=1)
    await fill(tmp_path, request("/old", spider=""), request("/1"))
    assert +read(tmp_path).left_out == {"unread/not_noted": 1}


async def test_forms_of_an_older_version_are_counted(tmp_path: Path) -> None:
    await fill(tmp_path, request("/1"), request("/form", method="POST"), version=1)
    assert (urls(read(tmp_path)), +read(tmp_path).left_out) == ({"/1"}, {"unread/form": 1})


@pytest.mark.parametrize("number", [100, 103])
async def test_requests_that_are_not_noted_are_told(tmp_path: Path, number: int) -> None:
    await fill(tmp_path, *(request("/1", errback=f"gone_{n}") for n in range(number)))
    pages = read(tmp_path)
    assert (len(pages), +pages.left_out) == (100, {"unread/requests": 1} if number > 100 else {})


async def test_a_damaged_file_or_note_is_unreadable(tmp_path: Path) -> None:
    await fill(tmp_path, request("/old"), version=1)
    await fill(tmp_path, request("/1"), request("/2"))
    for path in tmp_path.glob("??/*"):
        if b"/old" in path.read_bytes() or (path.suffix and b"/1" in path.read_bytes()):
            path.write_bytes(b"junk\n")
    pages = read(tmp_path)
    assert (urls(pages), pages.unreadable, +pages.left_out) == ({"/2"}, 2, {})
