"""The gate's memory of robots.txt is bounded, whatever hosts there are."""

from __future__ import annotations

import asyncio
import codecs
import gzip
import time
from collections.abc import Callable, Mapping
from typing import cast

import pytest
from structlog.testing import capture_logs

from crawler.errors import OwnLimit
from crawler.model import Lease, Request
from crawler.parsing import robots_lines
from crawler.response import Response
from crawler.robots import gate
from crawler.robots.file import Robots
from crawler.robots.gate import RobotsGate
from crawler.testing import FakeFetcher
from crawler.testing.contract.asking import end, held
from tests.asking import ask, ask_all
from tests.memory import MemoryFrontier

RULES = b"User-agent: *\nDisallow: /private\n"


def made(pages: Mapping[str, bytes | Response]) -> tuple[RobotsGate, FakeFetcher]:
    fetcher = FakeFetcher(pages)
    return RobotsGate(MemoryFrontier(), fetcher, worker="w1", user_agent="t/1", cache_seconds=60, max_delay=60), fetcher


async def test_large_rules_are_kept_for_few_origins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "MAX_BYTES", 10_000)
    bodies = {f"http://h{n}.example/robots.txt": RULES + f"Disallow: /{n}{'x' * 3_000}\n".encode() for n in range(20)}
    robots, fetcher = made(bodies)
    for number in range(20):
        assert (await ask(robots, f"http://h{number}.example/")).word == "again"
        assert (await ask(robots, f"http://h{number}.example/private")).word == "disallow"
    assert len(robots._cached) == 3
    assert (await ask(robots, "http://h0.example/private")).word == "disallow", "read from the fleet's copy"
    assert len(fetcher.requests) == 20


async def test_sitemaps_count_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "MAX_BYTES", 10_000)
    lines = b"".join(b"Sitemap: /%d.xml\n" % number for number in range(20))
    robots, _ = made({f"http://h{n}.example/robots.txt": lines for n in range(20)})
    for number in range(20):
        await ask(robots, f"http://h{number}.example/")
    assert len(robots._cached) == 2, "one file, but twenty times its sitemaps"


async def test_no_more_origins_are_kept_than_the_bound_and_the_last_ones_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "MAX_ORIGINS", 100)
    robots, _ = made({f"http://h{n}.example/robots.txt": RULES for n in range(300)})
    for number in range(300):
        await ask(robots, f"http://h{number}.example/")
    assert 90 <= len(robots._cached) <= 100
    assert list(robots._cached)[-1] == "http://h299.example"


async def test_one_file_of_many_origins_is_read_and_held_once(monkeypatch: pytest.MonkeyPatch) -> None:
    robots, _ = made({f"http://h{n}.example/robots.txt": RULES for n in range(200)})
    read: list[bytes] = []

    def noting(body: bytes, parse: Callable[[bytes], Robots] = Robots.parse) -> Robots:
        read.append(body)
        return parse(body)

    monkeypatch.setattr(Robots, "parse", noting)
    for number in range(200):
        await ask(robots, f"http://h{number}.example/")
        assert (await ask(robots, f"http://h{number}.example/private")).word == "disallow"
    assert read == [RULES]
    assert len({id(cached.file) for cached in robots._cached.values()}) == 1


async def test_files_that_differ_only_in_their_sitemaps_share_their_rules() -> None:
    robots, _ = made({f"http://h{n}.example/robots.txt": RULES + b"Sitemap: /%d.xml\n" % n for n in range(9)})
    for number in range(9):
        await ask(robots, f"http://h{number}.example/")
    assert len({id(cached.file) for cached in robots._cached.values()}) == 9
    assert len({id(cached.file.rules) for cached in robots._cached.values()}) == 1


@pytest.mark.parametrize(
    "body",
    [
        gzip.compress(RULES),
        gzip.compress(RULES[:20]) + gzip.compress(RULES[20:]),
        codecs.BOM_UTF16_LE + RULES.decode().encode("utf-16-le"),
        codecs.BOM_UTF16_BE + RULES.decode().encode("utf-16-be"),
        gzip.compress(RULES.decode().encode("utf-16")),
        codecs.BOM_UTF8 + RULES,
        b"\0\n" + RULES,
    ],
    ids=["gzip", "two gzips", "utf-16-le", "utf-16-be", "utf-16 in gzip", "utf-8", "a stray NUL"],
)
async def test_robots_txt_is_read_in_the_encodings_that_its_first_bytes_tell(body: bytes) -> None:
    robots, _ = made({"http://a.example/robots.txt": body})
    assert (await ask(robots, "http://a.example/")).word == "again"
    assert (await ask(robots, "http://a.example/private")).word == "disallow"
    assert (await ask(robots, "http://a.example/")).word == "allow"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (RULES.decode().encode("utf-16-le"), "it is no text: it has NUL bytes"),
        (codecs.BOM_UTF32_LE + RULES.decode().encode("utf-32-le"), "it is no text: it has NUL bytes"),
        (gzip.compress(RULES)[:-9], "its gzip breaks off or is damaged"),
        (gzip.compress(RULES)[:10] + b"no gzip", "its gzip breaks off or is damaged"),
    ],
    ids=["utf-16 without a mark", "utf-32", "half a gzip", "no gzip"],
)
async def test_a_robots_txt_that_nobody_can_read_permits_nothing_for_now(body: bytes, why: str) -> None:
    robots, _ = made({"http://a.example/robots.txt": body})
    verdict = await ask(robots, "http://a.example/")
    assert verdict.word == "unreachable"
    assert verdict.error is not None
    assert (verdict.error.kind, verdict.error.transient) == ("decode", True)
    assert str(verdict.error).startswith(f"http://a.example/robots.txt: {why}")


async def test_the_page_that_comes_in_place_of_a_robots_txt_need_not_be_text() -> None:
    robots, _ = made({"http://a.example/robots.txt": Response("http://a.example/robots.txt", status=404, body=b"\0")})
    assert (await ask(robots, "http://a.example/")).word == "again"
    assert (await ask(robots, "http://a.example/")).word == "allow"


async def test_what_is_cut_off_a_robots_txt_is_told_by_the_visit_that_asks() -> None:
    for rest, is_cut in ((b"", False), (b"#", True)):
        for wrapped in (bytes, gzip.compress):
            body = wrapped(RULES + b"#" * (robots_lines.MAX_BYTES - len(RULES)) + rest)
            robots, _ = made({"http://a.example/robots.txt": body})
            with capture_logs() as logs:
                verdict = await ask(robots, "http://a.example/")
            assert (verdict.word, verdict.noted) == ("again", {"cut/robots": 1} if is_cut else {})
            assert [one["event"] for one in logs] == ["robots_txt_cut"] * is_cut
            assert not (await ask(robots, "http://a.example/")).noted


async def test_every_sitemap_of_a_robots_txt_is_offered() -> None:
    lines = b"".join(b"Sitemap: /%d.xml\n" % number for number in range(20_000))
    robots, _ = made({"http://a.example/robots.txt": lines})
    verdict = await ask(robots, "http://a.example/", "news")
    assert (len(verdict.sitemaps), verdict.sitemaps[-1]) == (20_000, "http://a.example/19999.xml")


class Slow(FakeFetcher):
    """Answers when others have had their turn."""

    async def fetch(self, request: Request) -> Response:
        await asyncio.sleep(0.01)
        return await super().fetch(request)


async def test_one_of_many_visits_asks_for_robots_txt() -> None:
    fetcher = Slow({"http://a.example/robots.txt": RULES})
    robots = RobotsGate(MemoryFrontier(), fetcher, worker="w1", user_agent="t/1", cache_seconds=60, max_delay=60)
    verdicts = await ask_all([robots] * 50, "http://a.example/")
    assert fetcher.urls == ["http://a.example/robots.txt"]
    assert {verdict.word for verdict in verdicts} == {"again"}, "nobody waits to fetch in a burst behind it"
    assert sum(verdict.asked_at is not None for verdict in verdicts) == 1


async def test_an_answer_that_came_before_we_had_the_host_gives_it_back() -> None:
    """Between looking and taking the host another worker may have got it, asked, and ended. A page that kept the host
    would be the only one there until it had been read."""

    class Quick(MemoryFrontier):
        taken = 0

        async def take_host(self, worker: str, lease: Lease) -> bool:
            if worker == "w1":
                await ask(other, lease.request.url)
            self.taken += 1
            return await super().take_host(worker, lease)

    fetcher = FakeFetcher({"http://a.example/robots.txt": RULES})
    frontier = Quick()
    robots, other = (
        RobotsGate(frontier, fetcher, worker=worker, user_agent="t/1", cache_seconds=60, max_delay=60)
        for worker in ("w1", "w2")
    )
    verdict = await ask(robots, "http://a.example/")
    assert (verdict.word, verdict.asked_at) == ("again", None)
    (lease,) = await held(frontier.backend, "http://a.example/", "w3")
    assert (await robots.check(lease)).word == "allow"
    assert fetcher.urls == ["http://a.example/robots.txt"]
    assert frontier.taken == 2, "once by each worker, not for the page whose rules were known"


async def test_a_limit_of_our_own_is_no_answer_and_the_next_lease_asks() -> None:
    frontier, url = MemoryFrontier(), "http://a.example/private"
    fetcher = FakeFetcher({"http://a.example/robots.txt": [OwnLimit("none"), RULES]})
    robots = RobotsGate(frontier, fetcher, worker="w1", user_agent="t/1", cache_seconds=60, max_delay=60)
    (lease,) = await held(frontier.backend, url, "w1")
    with pytest.raises(OwnLimit):
        await robots.check(lease)
    await end(frontier.backend, "w1", lease)
    assert (await ask(robots, url)).asked_at is not None
    assert (await ask(robots, url)).word == "disallow"


async def test_an_absurd_crawl_delay_is_cut_and_said_once() -> None:
    robots, _ = made({"http://a.example/robots.txt": b"User-agent: *\nCrawl-delay: 1000000000\nRequest-rate: 1/2h"})
    with capture_logs() as logs:
        for _ in range(3):
            verdict = await ask(robots, "http://a.example/")
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
        await ask(robots, "http://a.example/")
        assert (await ask(robots, "http://a.example/")).crawl_delay == seconds
    assert not logs


async def test_a_refusal_names_the_rule() -> None:
    robots, _ = made({"http://a.example/robots.txt": RULES})
    await ask(robots, "http://a.example/")
    verdict = await ask(robots, "http://a.example/private/x")
    assert (verdict.word, verdict.why) == ("disallow", "Disallow: /private")


async def test_an_agents_group_is_found_by_the_token_of_its_user_agent() -> None:
    rules = b"User-agent: ExampleBot\nDisallow: /\n\nUser-agent: Mozilla\nUser-agent: *\nAllow: /\n"
    fetcher = FakeFetcher({"http://a.example/robots.txt": rules})
    for name, word in (
        ("examplebot/1.0 (+https://example.com/bot)", "disallow"),
        ("Mozilla/5.0 (compatible; ExampleBot/2.1; +https://example.com/bot)", "disallow"),
        ("ExampleBotany/1.0", "allow"),
    ):
        robots = RobotsGate(MemoryFrontier(), fetcher, worker="w1", user_agent=name, cache_seconds=60, max_delay=60)
        await ask(robots, "http://a.example/")
        assert (await ask(robots, "http://a.example/")).word == word, name


SITEMAPS = b"Sitemap: https://a.example/s.xml\nSitemap: /t.xml\nSitemap: mailto:me\nSitemap: /t.xml#x\n" + RULES
LISTED = ("https://a.example/s.xml", "http://a.example/t.xml")


async def test_sitemaps_are_offered_once_a_job() -> None:
    robots, _ = made({"http://a.example/robots.txt": SITEMAPS})
    url = "http://a.example/"
    assert (await ask(robots, url, "news")).sitemaps == LISTED, "with the answer of robots.txt itself"
    assert (await ask(robots, url, "news")).sitemaps == ()
    assert (await ask(robots, url)).sitemaps == (), "this one does not want them"
    assert (await ask(robots, "http://a.example/private", "other")).sitemaps == LISTED
    assert (await ask(robots, url, "other")).sitemaps == ()


async def test_sitemap_lines_without_a_url_are_told_to_each_job_that_wants_sitemaps() -> None:
    body = SITEMAPS + b"Sitemap:\nSitemap: # none\nSitemap: http://[\nSitemap: %s\n" % (b"x" * 10_000)
    robots, _ = made({"http://a.example/robots.txt": body})
    with capture_logs() as logs:
        for job, count in ((None, 0), ("news", 4), ("news", 0), ("other", 4)):
            noted = (await ask(robots, "http://a.example/", job)).noted
            assert noted == ({"links/robots_sitemaps": count} if count else {})
    told = "Sitemap lines of its robots.txt without a URL that can be fetched: mailto:me, (empty), http://["
    assert [(one["event"], one["lines"], one["why"]) for one in logs] == [("robots_sitemaps_unusable", 4, told)] * 2


async def test_a_file_of_an_item_may_be_the_first_of_its_job_at_an_origin() -> None:
    """It wants no sitemaps, and the pages of its job do."""
    robots, _ = made({"http://a.example/robots.txt": SITEMAPS})
    backend = cast(MemoryFrontier, robots._asking).backend
    noted = []
    for sitemaps in (False, True):
        (lease,) = await held(backend, "http://a.example/", "w1")
        noted.append((await robots.check(lease, sitemaps=sitemaps)).noted)
        await end(backend, "w1", lease)
    assert noted == [{}, {"links/robots_sitemaps": 1}]


async def test_what_is_lost_of_robots_txt_counts_once_a_job_however_many_processes_and_looks() -> None:
    now, frontier = 1_000_000.0, MemoryFrontier()
    fetcher = FakeFetcher({"http://a.example/robots.txt": SITEMAPS + b"#" * robots_lines.MAX_BYTES})
    first, second = (
        RobotsGate(
            frontier, fetcher, worker=name, user_agent="t/1", cache_seconds=86_400, max_delay=60, clock=lambda: now
        )
        for name in ("w1", "w2")
    )
    lost = {"cut/robots": 1, "links/robots_sitemaps": 1}
    assert (await ask(first, "http://a.example/", "news")).noted == lost
    for robots, page in ((first, ""), (second, ""), (second, "private")):
        assert (await ask(robots, f"http://a.example/{page}", "news")).noted == {}
    assert (await ask(second, "http://a.example/private", "other")).noted == lost, "with whatever verdict"
    now += gate.REFRESH_SECONDS
    assert (await ask(first, "http://a.example/", "news")).noted == {}
    await frontier.delete_job("news")
    assert (await ask(first, "http://a.example/", "news")).noted == lost, "a new job of the same name"
    assert len(fetcher.requests) == 1


async def test_a_new_job_of_the_same_name_is_offered_the_sitemaps() -> None:
    robots, _ = made({"http://a.example/robots.txt": SITEMAPS})
    assert (await ask(robots, "http://a.example/", "news")).sitemaps == LISTED
    await cast(MemoryFrontier, robots._asking).delete_job("news")
    assert (await ask(robots, "http://a.example/", "news")).sitemaps == LISTED


async def test_they_are_offered_again_when_the_rules_are_looked_at_again() -> None:
    """A page that was told of them may have been lost with its worker; adding twice is adding once."""
    now = 1_000_000.0
    fetcher = FakeFetcher({"http://a.example/robots.txt": SITEMAPS})
    robots = RobotsGate(
        MemoryFrontier(), fetcher, worker="w1", user_agent="t/1", cache_seconds=86_400, max_delay=60, clock=lambda: now
    )
    url = "http://a.example/"
    await ask(robots, url, "news")
    file = robots._cached["http://a.example"].file
    now += gate.REFRESH_SECONDS
    assert (await ask(robots, url, "news")).sitemaps == LISTED
    assert (await ask(robots, url, "news")).sitemaps == ()
    assert robots._cached["http://a.example"].file is file, "the same bytes are not parsed again"
    assert len(fetcher.requests) == 1


class Hanging(FakeFetcher):
    """Never answers."""

    async def fetch(self, request: Request) -> Response:
        self.requests.append(request)
        await asyncio.Event().wait()
        raise AssertionError


async def test_a_robots_txt_that_never_comes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "ASK_SECONDS", 0.01)
    robots = RobotsGate(MemoryFrontier(), Hanging({}), worker="w1", user_agent="t/1", cache_seconds=60, max_delay=60)
    verdict = await ask(robots, "http://a.example/")
    assert verdict.word == "unreachable"
    assert verdict.error is not None
    assert verdict.error.kind == "timeout"
    assert "http://a.example/robots.txt" in str(verdict.error)


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
        MemoryFrontier(), Clocked(site), worker="w1", user_agent="t/1", cache_seconds=60, max_delay=60, hop_delay=0.05
    )
    assert (await ask(robots, "http://a.example/")).word == "again"
    first, second = moments
    assert second - first >= 0.05
