"""From `Sitemap:` in robots.txt to the pages: sitemaps are links like others."""

from __future__ import annotations

import asyncio
import gzip
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pytest

from crawler.frontier import message
from crawler.interfaces import Pace
from crawler.model import Job, Request, Unfollowed
from crawler.parsing.limits import ParseLimits
from crawler.parsing.robots_lines import MAX_BYTES
from crawler.parsing.scope import Scope
from crawler.parsing.sitemap_entries import Entry
from crawler.policy import RetryPolicy
from crawler.response import Response
from crawler.robots.gate import RobotsGate
from crawler.spiders.base import Spider, reads_robots_sitemaps
from crawler.spiders.builtin.site import Site
from crawler.status import JobStats
from crawler.testing import FakeFetcher, run_spider
from crawler.visit.admission import Admission
from crawler.visit.ready_spiders import ReadySpider
from crawler.visit.seeded_hosts import SeededHosts
from crawler.visit.visit import Visitor
from crawler.worker.blame_slot import NoSlot
from crawler.worker.job_list import JobList
from crawler.worker.lease import LeaseClock
from crawler.worker.process_stats import Tally
from crawler.worker.worker import Worker, WorkerOptions
from tests.memory import MemoryFrontier

A = "http://a.example"


def index(*urls: str) -> bytes:
    """A sitemap of sitemaps."""
    return f"<sitemapindex>{''.join(f'<sitemap><loc>{url}</loc></sitemap>' for url in urls)}</sitemapindex>".encode()


def urlset(*urls: str) -> bytes:
    """A sitemap of pages."""
    return f"<urlset>{''.join(f'<url><loc>{url}</loc></url>' for url in urls)}</urlset>".encode()


class Pages(Spider):
    """An item a page; follows no links, so that all it finds beside the seed came from sitemaps."""

    name = "pages"

    def parse(self, response: Response) -> Any:
        yield {"url": response.url, "depth": response.depth}


class Ruled(Pages):
    """Pots are what it came for."""

    name = "ruled"
    sitemap_rules = (("/pot/new", "parse_new"), ("/pot/", "parse_pot"))
    sitemap_follow = ("/pots",)

    def parse_new(self, response: Response) -> Any: ...

    def parse_pot(self, response: Response) -> Any: ...


class OnlyPots(Pages):
    """A rule for one kind of pages."""

    sitemap_rules = (("/pot/", "parse_pot"),)

    def parse_pot(self, response: Response) -> Any:
        return {"pot": response.url}


class Filtered(Pages):
    """Takes what has changed lately."""

    sitemap_alternate_links = True

    def sitemap_filter(self, entries: Iterable[Entry]) -> Iterable[Entry]:
        for entry in entries:
            if entry["lastmod"] > "2024":
                yield entry


class OnSeededHosts(Pages):
    """Stays where it began."""

    stay_on_seeded_hosts = True


async def crawl(
    pages: Mapping[str, Any],
    *seeds: str,
    spider: Spider | None = None,
    scope: Scope | None = None,
    sitemaps: bool = True,
    frontier: MemoryFrontier | None = None,
    name: str = "news",
) -> tuple[FakeFetcher, JobStats]:
    """A crawl to its end by one worker, on a new server if no `frontier` is given."""
    frontier, fetcher = frontier or MemoryFrontier(), FakeFetcher(pages)
    job = await frontier.create_job(Job(name))
    gate = RobotsGate(frontier, fetcher, worker="w1", user_agent="t/1", cache_seconds=60, max_delay=0)
    ready = ReadySpider(spider or Pages(), scope or Scope(), RetryPolicy(retry_times=0), gate, sitemaps=sitemaps)
    seeded = SeededHosts(frontier.in_scope, lambda name: job)
    visitor = Visitor(fetcher, lambda job, spider: ready, Admission(seeded, message.check), NoSlot())
    options = WorkerOptions("w1", Pace(delay=0.0, concurrency=10))
    worker = Worker(frontier, visitor.visit, JobList(frontier.jobs), options, Tally("1"), LeaseClock(60.0))
    await frontier.add(job, [Request(seed, spider="pages") for seed in seeds], seed=True)
    running = asyncio.create_task(worker.run())
    async with asyncio.timeout(20):
        while not (stats := await frontier.stats(job)).finished:
            assert not running.done(), running.result()
            await asyncio.sleep(0.01)
    worker.stop()
    await running
    return fetcher, stats


SITE = {
    f"{A}/": "<p>home",
    f"{A}/robots.txt": b"User-agent: *\nDisallow: /private\nSitemap: /index.xml\n",
    f"{A}/index.xml": index(f"{A}/s1.xml.gz", f"{A}/s2.txt", f"{A}/gone.xml"),
    f"{A}/s1.xml.gz": gzip.compress(urlset(f"{A}/1", f"{A}/2", f"{A}/private/3", "http://b.example/4")),
    f"{A}/s2.txt": f"{A}/2\n{A}/5\n".encode(),
    **{f"{A}/{number}": "<p>page" for number in (1, 2, 5)},
    "http://b.example/4": "<p>page",
}


async def test_the_pages_of_sitemaps_are_crawled() -> None:
    fetcher, stats = await crawl(SITE, f"{A}/")
    asked = Counter(fetcher.urls)
    for url in SITE:
        assert asked[url] == (0 if "private" in url else 1), url
    assert stats.counters["items"] == 5, "the home page and four of the sitemaps; a sitemap is none"
    assert stats.counters["skip/robots"] == 1
    assert stats.counters["dead/http_404"] == 1, "the sitemap that is gone"


async def test_they_are_left_alone_when_so_set() -> None:
    fetcher, _ = await crawl(SITE, f"{A}/", sitemaps=False)
    assert sorted(fetcher.urls) == [f"{A}/", f"{A}/robots.txt"]


async def test_they_follow_the_scope_of_the_spider_and_what_lies_outside_is_counted() -> None:
    for choice in ({"scope": Scope(["a.example"])}, {"spider": OnSeededHosts()}):
        fetcher, stats = await crawl(SITE, f"{A}/", **choice)
        assert "http://b.example/robots.txt" not in fetcher.urls
        assert f"{A}/5" in fetcher.urls
        assert stats.counters["links/offsite"] == 1


@pytest.mark.parametrize(("limit", "asked"), [(1, "/index.xml"), (2, "/s2.txt"), (3, "/5")])
async def test_each_sitemap_is_a_link_deeper(limit: int, asked: str) -> None:
    fetcher, _ = await crawl(SITE, f"{A}/", scope=Scope(depth_limit=limit))
    deeper = {"/index.xml": "/s2.txt", "/s2.txt": "/5"}.get(asked)
    assert A + asked in fetcher.urls
    assert deeper is None or A + deeper not in fetcher.urls


async def test_a_seed_that_robots_txt_forbids_leads_to_sitemaps_all_the_same() -> None:
    fetcher, _ = await crawl(SITE, f"{A}/private/0")
    assert f"{A}/private/0" not in fetcher.urls
    assert f"{A}/5" in fetcher.urls


async def test_sitemaps_that_name_each_other_end() -> None:
    site = {
        f"{A}/": "<p>home",
        f"{A}/robots.txt": b"Sitemap: /a.xml\nSitemap: http://b.example/c.xml",
        f"{A}/a.xml": index(f"{A}/a.xml", f"{A}/b.xml", f"{A}/a.xml?again"),
        f"{A}/b.xml": index(f"{A}/a.xml", f"{A}/b.xml"),
        "http://b.example/robots.txt": f"Sitemap: {A}/a.xml".encode(),
    }
    fetcher, _ = await crawl(site, f"{A}/")
    assert max(Counter(fetcher.urls).values()) == 1


async def test_indexes_without_end_are_followed_a_few_levels() -> None:
    site = {f"{A}/robots.txt": b"Sitemap: /0", f"{A}/": "<p>home"}
    site |= {f"{A}/{level}": index(f"{A}/{level + 1}") for level in range(20)}
    fetcher, stats = await crawl(site, f"{A}/")
    assert len(fetcher.urls) == 2 + 1 + ParseLimits().sitemap_levels
    assert stats.counters["links/sitemap_level"] == 1


@pytest.mark.parametrize("body", ["", "Not found", b"\x1f\x8b", b"\xff\xd8\xff", "<urlset></urlset>"])
def test_garbage_is_counted(body: str | bytes) -> None:
    headers = {"content-type": "text/xml"}
    result = run_spider(Pages, body, f"{A}/s.xml", callback="parse_sitemap", headers=headers)
    assert (result.items, result.requests, result.dropped) == ([], [], {"no_sitemap": 1})


def test_a_spider_may_ask_for_a_sitemap_itself() -> None:
    result = run_spider(Pages, urlset("/1", "mailto:me") + index("/s"), f"{A}/s.xml", callback="parse_sitemap")
    assert result.urls == [f"{A}/1", f"{A}/s"]
    result = run_spider(Pages, index("/s"), f"{A}/s.xml", callback="parse_sitemap")
    assert [(request.url, request.callback) for request in result.requests] == [(f"{A}/s", "parse_sitemap")]


async def test_a_page_where_a_sitemap_should_be_is_read_as_a_page() -> None:
    site = {
        f"{A}/": "<p>home",
        f"{A}/robots.txt": b"Sitemap: /map.html\nSitemap: /i.xml",
        f"{A}/map.html": "<a href=/only>o</a>",
        f"{A}/i.xml": index(f"{A}/list.html"),
        f"{A}/list.html": "<a href=/last>o</a>",
        f"{A}/only": "<p>1",
        f"{A}/last": "<p>2",
    }
    fetcher, stats = await crawl(site, f"{A}/", spider=Site())
    assert sorted(fetcher.urls) == sorted(site)
    assert stats.counters["items"] == 5
    assert not any(name.startswith("dropped/") for name in stats.counters)


async def test_a_link_to_a_sitemap_asks_for_no_second_reading() -> None:
    site = {
        f"{A}/": "<a href=/s.xml>map</a><a href=/1>1</a>",
        f"{A}/robots.txt": b"Sitemap: /s.xml",
        f"{A}/s.xml": urlset(f"{A}/1"),
        f"{A}/1": "<a href=/s.xml>map</a>",
    }
    fetcher, stats = await crawl(site, f"{A}/", spider=Site())
    assert sorted(fetcher.urls) == sorted(site)
    assert "links/other_callback" not in stats.counters
    assert stats.counters["links/listed_sitemap"] == 2


class AsksForMap(Pages):
    """Asks a listed sitemap for something that a link does not ask for."""

    def parse(self, response: Response) -> Any:
        yield Request(f"{A}/s.xml", meta={"part": 1})


async def test_a_request_for_a_sitemap_that_is_more_than_a_link_stays() -> None:
    site = {f"{A}/": "", f"{A}/robots.txt": b"Sitemap: /s.xml", f"{A}/s.xml": urlset(f"{A}/")}
    _, stats = await crawl(site, f"{A}/", spider=AsksForMap())
    assert "links/listed_sitemap" not in stats.counters
    assert stats.counters["links/other_callback"] == 1


def test_such_a_page_goes_to_the_callback_that_the_rules_name() -> None:
    def read(spider: type[Spider], path: str) -> list[dict[str, Any]]:
        return run_spider(spider, "<p>a pot", A + path, callback="parse_sitemap").items

    assert read(Pages, "/1") == [{"url": f"{A}/1", "depth": 0}]
    assert read(OnlyPots, "/pot/1") == [{"pot": f"{A}/pot/1"}]
    assert read(OnlyPots, "/news") == []


async def test_the_site_spider_reads_a_sitemap_or_a_feed_wherever_it_meets_one() -> None:
    site = {
        f"{A}/sitemap.xml": Response(A, headers={"content-type": "text/xml"}, body=urlset(f"{A}/")),
        f"{A}/": "<a href=/feed>news</a>",
        f"{A}/feed": Response(A, headers={"content-type": "application/rss+xml"}, body=b"<rss><item><link>/1</link>"),
        f"{A}/1": "<p>news",
    }
    fetcher, stats = await crawl(site, f"{A}/sitemap.xml", spider=Site())
    assert {*site} <= {*fetcher.urls}
    assert stats.counters["items"] == 2


# ---------------------------------------------------------------------------------------------------------
# Rules


def followed(spider: type[Spider], body: bytes, url: str = f"{A}/s.xml") -> list[tuple[str, str]]:
    """The URLs that a sitemap leads to, and who reads them."""
    result = run_spider(spider, body, url, callback="parse_sitemap")
    return [(request.url, request.callback) for request in result.requests]


def test_the_first_rule_that_matches_says_who_reads_a_page_and_others_are_left_out() -> None:
    pots = urlset("/pot/1", "/news/1", "/pot/new/2")
    assert followed(Ruled, pots) == [(f"{A}/pot/1", "parse_pot"), (f"{A}/pot/new/2", "parse_new")]


def test_only_the_sitemaps_of_an_index_that_the_spider_follows() -> None:
    assert followed(Ruled, index("/pots.xml", "/news.xml")) == [(f"{A}/pots.xml", "parse_sitemap")]
    assert followed(Pages, index("/pots.xml")) == [(f"{A}/pots.xml", "parse_sitemap")]


def test_a_robots_txt_stands_for_the_sitemaps_it_names() -> None:
    body = b"User-agent: *\nSitemap: /news.xml\nSitemap: http://b.example/s.xml\n"
    sitemaps = [(f"{A}/news.xml", "parse_sitemap"), ("http://b.example/s.xml", "parse_sitemap")]
    assert followed(Ruled, body, f"{A}/robots.txt") == sitemaps


def test_entries_are_chosen_by_what_stands_beside_them() -> None:
    link = '<link rel="alternate" href="/de/2"/>'
    body = "".join(f"<url><loc>/{n}</loc>{link}<lastmod>{year}</lastmod></url>" for n, year in ((1, 2020), (2, 2025)))
    assert followed(Filtered, f"<urlset>{body}</urlset>".encode()) == [(f"{A}/2", "parse"), (f"{A}/de/2", "parse")]


async def test_what_the_rules_leave_out_is_counted() -> None:
    site = {
        f"{A}/": "<p>home",
        f"{A}/robots.txt": b"Sitemap: /i.xml\nSitemap: mailto:me",
        f"{A}/i.xml": index(f"{A}/pots.xml", f"{A}/news.xml", "mailto:me"),
        f"{A}/pots.xml": urlset(f"{A}/pot/1", f"{A}/about", f"{A}/about/us") + b"<a></a>" * 100_000,
        f"{A}/pot/1": "<p>pot",
    }
    _, stats = await crawl(site, f"{A}/", spider=Ruled())
    left_out = {name: count for name, count in stats.counters.items() if name.startswith("links/")}
    counts = {"follow": 1, "rules": 2, "entries": 1}
    assert stats.counters["cut/sitemap"] == 1
    assert left_out == {f"links/sitemap_{why}": count for why, count in counts.items()} | {"links/robots_sitemaps": 1}


async def test_a_job_counts_what_is_lost_of_a_robots_txt_that_another_has_asked_for() -> None:
    frontier = MemoryFrontier()
    site = {f"{A}/": "<p>home", f"{A}/robots.txt": b"Sitemap: mailto:me\n" + b"#" * MAX_BYTES}
    _, first = await crawl(site, f"{A}/", sitemaps=False, frontier=frontier, name="first")
    assert (first.counters.get("cut/robots"), first.counters.get("links/robots_sitemaps")) == (1, None)
    fetcher, second = await crawl(site, f"{A}/", frontier=frontier, name="second")
    assert (second.counters.get("cut/robots"), second.counters.get("links/robots_sitemaps")) == (1, 1)
    assert fetcher.urls == [f"{A}/"]


def test_what_a_robots_txt_lists_without_a_url_is_counted() -> None:
    body = b"Sitemap: /news.xml\nSitemap:\nSitemap: mailto:me\n"
    results = Ruled().parse_sitemap(Response(f"{A}/robots.txt", body=body))
    assert isinstance(results, Iterator)
    assert Unfollowed("sitemap_entries", 2) in results


def having(**attributes: Any) -> Spider:
    """A spider that says this about sitemaps."""
    spider: Spider = type("S", (Pages,), attributes)()
    return spider


@pytest.mark.parametrize(
    ("attributes", "wants"),
    [
        ({}, False),
        ({"sitemap_rules": [("", "parse")]}, True),
        ({"sitemap_follow": [""]}, True),
        ({"sitemap_rules": ()}, False),
        ({"sitemap_urls": [f"{A}/s.xml"]}, False),
        ({"sitemap_urls": [f"{A}/s.xml"], "sitemap_rules": [("", "parse")]}, False),
    ],
    ids=str,
)
def test_robots_txt_is_asked_for_sitemaps_by_spiders_that_have_rules_and_name_none(
    attributes: dict[str, Any], wants: bool
) -> None:
    assert reads_robots_sitemaps(having(**attributes)) is wants
