"""The gate's memory of robots.txt is bounded, whatever hosts there are."""

from __future__ import annotations

import asyncio
import gc
import time

import pytest
from structlog.testing import capture_logs

from crawler import gate
from crawler.errors import OwnLimit
from crawler.frontier.memory import MemoryFrontier
from crawler.gate import RobotsGate
from crawler.model import Request
from crawler.response import Response
from crawler.testing import FakeFetcher

RULES = b"User-agent: *\nDisallow: /private\n"


def made(pages: dict[str, bytes]) -> tuple[RobotsGate, FakeFetcher]:
    fetcher = FakeFetcher(pages)
    return RobotsGate(MemoryFrontier(), fetcher, user_agent="t/1", cache_seconds=60, max_delay=60), fetcher


async def test_large_rules_are_kept_for_few_origins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "MAX_BYTES", 10_000)
    large = RULES + b"#" * 3_000
    robots, fetcher = made({f"http://h{n}.example/robots.txt": large for n in range(20)})
    for number in range(20):
        assert (await robots.check(Request(f"http://h{number}.example/"))).word == "again"
        assert (await robots.check(Request(f"http://h{number}.example/private"))).word == "disallow"
    assert len(robots._known) == 3
    assert (await robots.check(Request("http://h0.example/private"))).word == "disallow", "read from the fleet's copy"
    assert len(fetcher.requests) == 20
    gc.collect()
    assert len(robots._locks) == 0


async def test_one_of_many_visits_asks_for_robots_txt() -> None:
    robots, fetcher = made({"http://a.example/robots.txt": RULES})
    words = await asyncio.gather(*(robots.check(Request(f"http://a.example/{n}")) for n in range(50)))
    assert fetcher.urls == ["http://a.example/robots.txt"]
    assert [verdict.word for verdict in words].count("again") == 1


async def test_a_limit_of_our_own_is_no_answer_and_leaves_no_lock() -> None:
    robots, fetcher = made({"http://a.example/robots.txt": RULES})
    page, fetcher.pages["http://a.example/robots.txt"] = fetcher.pages["http://a.example/robots.txt"], OwnLimit("none")
    with pytest.raises(OwnLimit):
        await robots.check(Request("http://a.example/private"))
    fetcher.pages["http://a.example/robots.txt"] = page
    await asyncio.sleep(0.01)  # the lock is let go by a value that ends at once
    assert (await robots.check(Request("http://a.example/private"))).asked_at is not None
    assert (await robots.check(Request("http://a.example/private"))).word == "disallow"


async def test_an_absurd_crawl_delay_is_cut_and_said_once() -> None:
    robots, _ = made({"http://a.example/robots.txt": b"User-agent: *\nCrawl-delay: 1000000000\nRequest-rate: 1/2h"})
    with capture_logs() as logs:
        for _ in range(3):
            verdict = await robots.check(Request("http://a.example/"))
    assert verdict.crawl_delay == 60
    (line,) = [line for line in logs if line["event"] == "crawl_delay_cut"]
    assert (line["origin"], line["asked"], line["used"]) == ("http://a.example", 1e9, 60)
    assert "ROBOTSTXT_MAX_DELAY" in line["why"]


@pytest.mark.parametrize(
    ("lines", "seconds"),
    [
        (b"Crawl-delay: 2.5", 2.5),
        (b"Crawl-delay: soon", None),
        (b"Request-rate: 1/10", 10.0),
        (b"Request-rate: 1/10\nCrawl-delay: 20", 20.0),
        (b"Crawl-delay: 60", 60.0),
        (b"", None),
    ],
)
async def test_a_crawl_delay_travels_with_each_verdict(lines: bytes, seconds: float | None) -> None:
    robots, _ = made({"http://a.example/robots.txt": b"User-agent: T\n" + lines})
    with capture_logs() as logs:
        await robots.check(Request("http://a.example/"))
        assert (await robots.check(Request("http://a.example/"))).crawl_delay == seconds
    assert not logs


async def test_a_refusal_names_the_rule() -> None:
    robots, _ = made({"http://a.example/robots.txt": RULES})
    await robots.check(Request("http://a.example/"))
    verdict = await robots.check(Request("http://a.example/private/x"))
    assert (verdict.word, verdict.why) == ("disallow", "Disallow: /private")


async def test_an_agents_group_is_found_by_the_token_of_its_user_agent() -> None:
    rules = b"User-agent: ExampleBot\nDisallow: /\n\nUser-agent: Mozilla\nUser-agent: *\nAllow: /\n"
    fetcher = FakeFetcher({"http://a.example/robots.txt": rules})
    for name, word in (
        ("examplebot/1.0 (+https://example.com/bot)", "disallow"),
        ("Mozilla/5.0 (compatible; ExampleBot/2.1; +https://example.com/bot)", "disallow"),
        ("ExampleBotany/1.0", "allow"),
    ):
        robots = RobotsGate(MemoryFrontier(), fetcher, user_agent=name, cache_seconds=60, max_delay=60)
        await robots.check(Request("http://a.example/"))
        assert (await robots.check(Request("http://a.example/"))).word == word, name


SITEMAPS = b"Sitemap: https://a.example/s.xml\nSitemap: /t.xml\nSitemap: mailto:me\nSitemap: /t.xml#x\n" + RULES
LISTED = ("https://a.example/s.xml", "http://a.example/t.xml")


async def test_sitemaps_are_offered_once_a_job() -> None:
    robots, _ = made({"http://a.example/robots.txt": SITEMAPS})
    request = Request("http://a.example/")
    assert (await robots.check(request, "news")).sitemaps == LISTED, "with the answer of robots.txt itself"
    assert (await robots.check(request, "news")).sitemaps == ()
    assert (await robots.check(request)).sitemaps == (), "this one does not want them"
    assert (await robots.check(Request("http://a.example/private"), "other")).sitemaps == LISTED
    assert (await robots.check(request, "other")).sitemaps == ()


async def test_they_are_offered_again_when_the_rules_are_looked_at_again() -> None:
    """A page that was told of them may have been lost with its worker; adding twice is adding once."""
    now = 1_000_000.0
    fetcher = FakeFetcher({"http://a.example/robots.txt": SITEMAPS})
    robots = RobotsGate(
        MemoryFrontier(), fetcher, user_agent="t/1", cache_seconds=86_400, max_delay=60, clock=lambda: now
    )
    request = Request("http://a.example/")
    await robots.check(request, "news")
    rules = robots._known["http://a.example"].rules
    now += gate.REFRESH_SECONDS
    assert (await robots.check(request, "news")).sitemaps == LISTED
    assert (await robots.check(request, "news")).sitemaps == ()
    assert robots._known["http://a.example"].rules is rules, "the same bytes are not parsed again"
    assert len(fetcher.requests) == 1


class Hanging(FakeFetcher):
    """Never answers."""

    async def fetch(self, request: Request) -> Response:
        self.requests.append(request)
        await asyncio.Event().wait()
        raise AssertionError


async def test_a_robots_txt_that_never_comes_is_given_up_before_the_lock_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert gate.ASK_SECONDS < gate.LOCK_SECONDS
    monkeypatch.setattr(gate, "ASK_SECONDS", 0.01)
    robots = RobotsGate(MemoryFrontier(), Hanging({}), user_agent="t/1", cache_seconds=60, max_delay=60)
    verdict = await robots.check(Request("http://a.example/"))
    assert verdict.word == "unreachable"
    assert verdict.error is not None
    assert verdict.error.kind == "timeout"
    assert "http://a.example/robots.txt" in str(verdict.error)


async def test_a_worker_that_is_stopped_while_it_asks_leaves_no_lock_behind() -> None:
    frontier, hanging = MemoryFrontier(), Hanging({})
    stopped = RobotsGate(frontier, hanging, user_agent="t/1", cache_seconds=60, max_delay=60)
    task = asyncio.create_task(stopped.check(Request("http://a.example/")))
    while not hanging.requests:
        assert not task.done()
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    fetcher = FakeFetcher({"http://a.example/robots.txt": RULES})
    other = RobotsGate(frontier, fetcher, user_agent="t/1", cache_seconds=60, max_delay=60)
    assert (await other.check(Request("http://a.example/"))).asked_at is not None
    assert len(fetcher.requests) == 1


async def test_redirects_are_not_followed_in_a_burst() -> None:
    site: dict[str, Response | bytes] = {
        "http://a.example/robots.txt": Response("", status=301, headers={"location": "/r.txt"}),
        "http://a.example/r.txt": RULES,
    }
    moments: list[float] = []

    class Clocked(FakeFetcher):
        async def fetch(self, request: Request) -> Response:
            moments.append(time.monotonic())
            return await super().fetch(request)

    robots = RobotsGate(
        MemoryFrontier(), Clocked(site), user_agent="t/1", cache_seconds=60, max_delay=60, hop_delay=0.05
    )
    assert (await robots.check(Request("http://a.example/"))).word == "again"
    first, second = moments
    assert second - first >= 0.05
