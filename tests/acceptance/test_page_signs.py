"""What pages say to robots, over real HTTP with the command itself: who is asked, what is written, what is told."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.acceptance.shell import LOCAL, ROOT
from tests.webserver import Answer, Hit, Running, Site, flaky, redirect, serve

AGENT = "ourbot/2.0 (+https://example.com/bot)"

PAGES = {
    "/start": (
        "",
        "<a href=/kept>1</a> <a href=/noindex>2</a> <a href=/nofollow>3</a> <a href=/old>4</a> <a href=/other>5</a> "
        '<a rel="ugc" href=/marked>6</a> <a href=/moved>7</a>',
    ),
    "/kept": ("", "kept"),
    "/noindex": ("", "<meta name=robots content=noindex><a href=/behind-noindex>8</a>"),
    "/behind-noindex": ("all", "kept"),
    "/nofollow": ("otherbot: noindex\r\nX-Robots-Tag: nofollow", "<a href=/behind-nofollow>9</a>"),
    "/behind-nofollow": ("", "never asked for"),
    "/old": ("unavailable_after: Friday, 25-Jun-10 15:00:00 UTC", "too late"),
    "/other": ("", "<meta name=otherbot content=none><meta name=OURBOT content=noarchive>"),
    "/marked": ("", "never asked for"),
    "/there": ("ourbot: none", "<a href=/behind-moved>10</a>"),
}


@pytest.fixture
async def web() -> AsyncIterator[Running]:
    """The pages above on one host, each with its header."""
    site = Site(pages=1, hosts=1)

    def page(hit: Hit, _: Answer) -> Answer:
        tag, body = PAGES.get(hit.path, ("", ""))
        headers = {"X-Robots-Tag": tag} if tag else {}
        return Answer(f"<html><body>{body}</body></html>".encode(), headers=headers)

    for path in PAGES:
        site.on(path, page)
    site.on(
        "/moved",
        lambda hit, answer: replace(
            redirect("/there")(hit, answer), headers={"Location": "/there", "X-Robots-Tag": "none"}
        ),
    )
    site.on("/kept", flaky(1))
    async with serve(site) as running:
        yield running


async def crawl(folder: Path, web: Running, *more: str) -> tuple[dict[str, Any], set[str], str]:
    """The figures, the paths of the items written, and what a person is told."""
    seed = f"http://{web.site.hosts[0]}:{web.site.port}/start"
    command = (
        sys.executable,
        "-m",
        "crawler",
        "crawl",
        seed,
        *LOCAL,
        "-s",
        f"USER_AGENT={AGENT}",
        "--json",
        "-O",
        "out.jsonl",
    )
    environment = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "REDIS_URL": "memory://"}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, *more, cwd=folder, env=environment, stdout=pipe, stderr=pipe, stdin=asyncio.subprocess.DEVNULL
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, err.decode()
    lines = (folder / "out.jsonl").read_text().splitlines()
    return json.loads(out), {urlsplit(json.loads(line)["url"]).path for line in lines}, err.decode()


async def test_what_pages_ask_for_is_heeded_counted_and_told(tmp_path: Path, web: Running) -> None:
    figures, written, told = await crawl(tmp_path, web)
    asked = {hit.path for hit in web.log}
    assert asked == {
        "/robots.txt",
        "/start",
        "/kept",
        "/noindex",
        "/behind-noindex",
        "/nofollow",
        "/old",
        "/other",
        "/moved",
        "/there",
    }
    assert written == {"/start", "/kept", "/behind-noindex", "/nofollow", "/other"}
    counted = {name: figures[name] for name in figures if name.startswith(("item_dropped", "links/"))}
    assert counted == {
        "item_dropped_count": 3,
        "item_dropped_reasons_count/noindex": 2,
        "item_dropped_reasons_count/unavailable_after": 1,
        "links/nofollow": 2,
        "links/rel_nofollow": 1,
    }
    for one in (
        "2 items: their pages are marked noindex (NOINDEX_OBEY)",
        "1 item: their pages have expired (NOINDEX_OBEY)",
        "2 links: their pages are marked nofollow (NOFOLLOW_OBEY)",
        "1 link: marked nofollow, ugc or sponsored (NOFOLLOW_LINKS_OBEY)",
    ):
        assert one in " ".join(told.split())


async def test_each_may_be_asked_for_all_the_same(tmp_path: Path, web: Running) -> None:
    names = ("NOINDEX_OBEY", "NOFOLLOW_OBEY", "NOFOLLOW_LINKS_OBEY")
    figures, written, told = await crawl(tmp_path, web, *(part for name in names for part in ("-s", f"{name}=no")))
    assert set(PAGES) <= {hit.path for hit in web.log}
    assert written >= set(PAGES) - {"/there"}
    assert figures["item_dropped_count"] == 0
    assert "left out" not in told


async def test_every_request_says_who_asks_robots_txt_included(tmp_path: Path, web: Running) -> None:
    await crawl(tmp_path, web)
    assert {hit.agent for hit in web.log} == {AGENT}
    assert web.log[0].path == "/robots.txt"
    assert len([hit for hit in web.log if hit.path == "/kept"]) == 2, "the second try says so, too"
