"""Crawls with the page cache: what the site hears the second time, and what a hit costs its host."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from crawler import Report, Request, Response, Spider, crawl
from crawler.app.config import Config
from crawler.app.one_page import open_pages
from crawler.errors import ConfigError
from crawler.settings import given_by_program, load
from crawler.spiders.registry import find_spiders
from tests.acceptance.shell import Shell
from tests.crawling import Pages
from tests.valkey import Valkey
from tests.webserver import Running, serve
from tests.website import Answer

LOCAL = {"ALLOWED_NETWORKS": ["127.0.0.0/8"], "DOWNLOAD_DELAY": 0, "CONCURRENT_REQUESTS_PER_DOMAIN": 8}
PAGES = 40


class Links(Spider):
    name = "links"

    def parse(self, response: Response) -> Iterator[Any]:
        yield {"url": response.url, "title": response.css("title::text").get()}
        yield from response.follow_all()


def site(*, crawl_delay: str = "") -> Pages:
    links = "".join(f'<a href="/{number}">x</a>' for number in range(PAGES))
    return Pages(
        {
            "/robots.txt": f"User-agent: *\nDisallow: /no\n{crawl_delay}",
            "/": f"<title>list</title>{links}<a href='/old'>o</a><a href='/no'>n</a><a href='/missing'>m</a>",
            "/old": Answer(b"", status=301, headers={"Location": "/new"}),
            "/new": "<title>new</title>",
            **{f"/{number}": f"<title>{number}</title>" for number in range(PAGES)},
        }
    )


async def crawled(web: Running, folder: Path, **settings: Any) -> tuple[Report, int]:
    """The report, and how often the site was asked."""
    web.log.clear()
    cached = {**LOCAL, "HTTPCACHE_ENABLED": True, "HTTPCACHE_DIR": str(folder / "cache"), **settings}
    report = await crawl(Links, web.seeds, settings=cached)
    return report, len(web.log)


def of(report: Report) -> set[tuple[str, str]]:
    return {(item["url"], item["title"]) for item in report.items}


@pytest.mark.parametrize("gzip", [False, True])
async def test_the_second_run_asks_nobody_and_finds_the_same(tmp_path: Path, gzip: bool) -> None:
    async with serve(site()) as web:
        first, asked = await crawled(web, tmp_path, HTTPCACHE_GZIP=gzip)
        assert asked == PAGES + 5  # robots.txt, the list, the redirect and its target, the missing page
        # one at a time with a minute between would take 45 minutes
        again, asked = await crawled(
            web, tmp_path, HTTPCACHE_GZIP=gzip, DOWNLOAD_DELAY=60, CONCURRENT_REQUESTS_PER_DOMAIN=1
        )
    assert asked == 0
    assert of(again) == of(first)
    assert len(again.items) == PAGES + 2
    assert again.stats.counters["httpcache/hit"] == PAGES + 4
    assert first.stats.counters["httpcache/stored"] == PAGES + 4
    assert (again.stats.dead, again.stats.counters.get("skip/robots")) == (first.stats.dead, 1)


async def test_the_crawl_delay_of_a_cached_robots_txt_holds_nothing_up(tmp_path: Path) -> None:
    async with serve(site(crawl_delay="Crawl-delay: 30")) as web:
        # the first run need not wait for it
        await crawled(web, tmp_path, ROBOTSTXT_MAX_DELAY=0)
        again, asked = await crawled(web, tmp_path)
    assert (asked, len(again.items)) == (0, PAGES + 2)


async def test_a_page_that_is_missing_is_asked_for_at_the_hosts_pace(tmp_path: Path) -> None:
    async with serve(site()) as web:
        await crawled(web, tmp_path)
        files = [path for path in (tmp_path / "cache").glob("??/*") if b"<title>1" in path.read_bytes()]
        for file in files[:4]:
            file.unlink()
        again, asked = await crawled(
            web, tmp_path, DOWNLOAD_DELAY=0.4, DOWNLOAD_DELAY_JITTER=0, CONCURRENT_REQUESTS_PER_DOMAIN=1
        )
        times = [hit.time for hit in web.log]
    assert (asked, len(again.items)) == (4, PAGES + 2)
    assert min(later - earlier for earlier, later in pairwise(times)) >= 0.39


async def test_no_host_is_asked_where_only_cached_pages_are_wanted(tmp_path: Path) -> None:
    async with serve(site()) as web:
        report, asked = await crawled(web, tmp_path, HTTPCACHE_IGNORE_MISSING=True)
        assert (asked, report.items) == (0, [])
        assert report.stats.counters["skip/not_cached"] == 1
        assert (report.stats.dead, report.reason) == (0, "finished")


async def test_what_would_be_tried_again_is_not_stored(tmp_path: Path) -> None:
    pages = site()
    pages._pages = {**pages._pages, "/3": Answer(b"busy", status=500)}
    async with serve(pages) as web:
        first, _ = await crawled(web, tmp_path, RETRY_TIMES=0)
        assert first.stats.dead == 2
        pages._pages = {**pages._pages, "/3": "<title>well</title>"}
        again, asked = await crawled(web, tmp_path)
    assert asked == 1
    assert "well" in {title for _, title in of(again)}


async def test_without_the_setting_nothing_is_stored(tmp_path: Path) -> None:
    async with serve(site()) as web:
        report, asked = await crawled(web, tmp_path, HTTPCACHE_ENABLED=False)
        assert asked == PAGES + 5
    assert not (tmp_path / "cache").exists()
    assert not [name for name in report.stats.counters if "httpcache" in name]


async def test_dont_cache_of_a_request(tmp_path: Path) -> None:
    class Fresh(Links):
        name = "fresh"

        def start_requests(self) -> Iterator[Request]:
            yield Request(f"{web.seeds[0]}1", meta={"dont_cache": True})

    async with serve(site()) as web:
        for _ in range(2):
            cached = {**LOCAL, "HTTPCACHE_ENABLED": True, "HTTPCACHE_DIR": str(tmp_path / "cache")}
            await crawl(Fresh, settings=cached)
        assert len(web.hits(f"{web.seeds[0]}1")) == 2


async def test_single_pages_come_from_the_same_cache(tmp_path: Path) -> None:
    async with serve(site()) as web:
        await crawled(web, tmp_path)
        web.log.clear()
        overrides = {"ALLOWED_NETWORKS": "127.0.0.0/8", "HTTPCACHE_ENABLED": "1", "HTTPCACHE_DIR": "cache"}
        settings, origins = load(tmp_path, overrides=overrides, environ={})
        config = Config(settings, origins, tmp_path)
        async with open_pages(config, find_spiders(tmp_path)) as pages:
            for number in (1, 2, 3):
                response = await pages.fetch(Request(f"{web.seeds[0]}{number}"))
                assert response.css("title::text").get() == str(number)
        assert web.log == []


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("HTTPCACHE_POLICY", "RFC 9111"),
        ("HTTPCACHE_STORAGE", "files of its own"),
    ],
)
async def test_another_policy_or_storage_is_refused_with_the_reason(setting: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        await crawl(Links, ["http://127.0.0.1/"], settings={setting: "scrapy.extensions.httpcache.RFC2616Policy"})
    policy, storage = ("scrapy.extensions.httpcache." + name for name in ("DummyPolicy", "FilesystemCacheStorage"))
    given_by_program({"HTTPCACHE_POLICY": policy, "HTTPCACHE_STORAGE": storage})


async def test_worker_processes_share_the_cache(valkey_server: Valkey, tmp_path: Path) -> None:
    """Two worker processes on a queue server, twice."""
    async with serve(site()) as web:
        shell = Shell(tmp_path, {"REDIS_URL": valkey_server.url, "CRAWLER_KEY_PREFIX": secrets.token_hex(4)})
        command = [
            *("crawl", web.seeds[0], "--spider", "site", "-O", "items.jsonl", "--fresh", "--processes", "2"),
            *("-s", "ALLOWED_NETWORKS=127.0.0.0/8", "-s", "HTTPCACHE_ENABLED=true"),
        ]
        for delay, wanted in (("0", PAGES + 5), ("60", 0)):
            web.log.clear()
            ran = await shell.run(*command, "-s", f"DOWNLOAD_DELAY={delay}")
            assert ran.code == 0, ran.err
            assert len(web.log) == wanted
            items = shell.folder.joinpath("items.jsonl").read_text().splitlines()
            assert len(items) == PAGES + 2
