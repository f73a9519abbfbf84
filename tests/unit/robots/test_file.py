"""Verdicts as RFC 9309 gives them."""

import math
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crawler.parsing.url import canonical
from crawler.robots.file import ALLOW_ALL, DISALLOW_ALL, Robots
from tests.unit.robots.verdicts import SITE, VERDICTS, Case


@pytest.mark.parametrize("case", VERDICTS, ids=lambda case: f"{case.kind}: {case.path} {case.agent}")
def test_verdicts(case: Case) -> None:
    url = canonical(SITE + case.path)
    assert Robots.parse(case.robots).allowed(url, case.agent) is case.allowed


def test_there_are_many_of_them() -> None:
    print(f"\n{len(VERDICTS)} verdicts of {len({case.kind for case in VERDICTS})} kinds")
    assert len(VERDICTS) >= 250
    assert len(set(VERDICTS)) == len(VERDICTS)


@pytest.mark.parametrize(
    ("rules", "path", "rule"),
    [
        ("Disallow: /x\nDisallow: /x/y", "/x/y/z", "Disallow: /x/y"),
        ("Disallow: /x\nAllow: /x*z", "/x/y/z", "Allow: /x*z"),
        ("Disallow: /caf\u00e9$", "/caf\u00e9", "Disallow: /caf%C3%A9$"),
        ("Disallow: /x", "/y", "None"),
        ("Disallow: /", "/robots.txt", "None"),
    ],
)
def test_the_rule_that_decides_can_be_told(rules: str, path: str, rule: str) -> None:
    robots = Robots.parse(f"User-agent: *\n{rules}".encode())
    assert str(robots.rule(canonical(SITE + path), "bot")) == rule


LONGEST = sys.float_info.max


@pytest.mark.parametrize(
    ("robots", "delay"),
    [
        ("User-agent: *\nCrawl-delay: 5", 5.0),
        ("User-agent: bot\nCrawl-delay: 0.5\nUser-agent: *\nCrawl-delay: 5", 5.0),
        ("User-agent: *\nDisallow: /\nUser-agent: bot\nCrawl-delay: .25", 0.25),
        ("User-agent: bot\nDisallow: /\n\nUser-agent: *\nCrawl-delay: 9\nDisallow: /x", None),
        ("User-agent: bot\nCrawl-delay: 0", 0.0),
        ("User-agent: bot\nCrawl-delay: 1\nCrawl-delay: 3\nCrawl-delay: 2", 3.0),
        ("User-agent: bot\nCrawl-delay: -1", None),
        ("User-agent: bot\nCrawl-delay: nan", None),
        ("User-agent: bot\nCrawl-delay: inf", None),
        ("User-agent: bot\nCrawl-delay: 2.5E1", 25.0),
        ("User-agent: bot\nCrawl-delay: 1e999", LONGEST),
        ("User-agent: bot\nCrawl-delay: 1e", None),
        ("User-agent: bot\nCrawl-delay: 1_0", None),
        ("User-agent: bot\nCrawl-delay: \u0663", None),
        ("User-agent: bot\nCrawl-delay: soon", None),
        ("User-agent: bot\nCrawl-delay: 1 # a second", 1.0),
        ("User-agent: bot\nCrawl-delay: 10s", None),
        ("User-agent: bot\nCrawl-delay:", None),
        ("User-agent: bot\nCrawl-delay: 999999999", 999_999_999.0),
        ("User-agent: bot\nCrawl-delay: 9999999999", 9_999_999_999.0),
        ("User-agent: bot\nCrawl-delay: 1000000000.0000000001", 1e9),
        (f"User-agent: bot\nCrawl-delay: {'9' * 100_000}", 1e100),
        (f"User-agent: bot\nCrawl-delay: 5.{'0' * 100_000}", 5.0),
        ("Crawl-delay: 5", None),
        ("", None),
        # documents per time; the longest of all asks counts
        ("User-agent: *\nRequest-rate: 1/5", 5.0),
        ("User-agent: *\nRequest-rate: 1/5s", 5.0),
        ("User-agent: *\nRequest-rate: 30/1m", 2.0),
        ("User-agent: *\nRequest-rate: 100/24H", 864.0),
        ("User-agent: *\nRequest-rate: 1 / 10 s", 10.0),
        ("User-agent: *\nRequest-rate: 4/1", 0.25),
        ("User-agent: *\nRequest-rate: 1/10m 1300-1659", 600.0),
        ("User-agent: *\nRequest-rate: 1/5\nCrawl-delay: 3", 5.0),
        ("User-agent: *\nRequest-rate: 1/5\nCrawl-delay: 7.5", 7.5),
        ("User-agent: x\nRequest-rate: 1/5\nDisallow:\nUser-agent: bot\nCrawl-delay: 1", 1.0),
        ("User-agent: *\nRequest-rate: 1/9999999999h", 35_999_999_996_400.0),
        (f"User-agent: *\nRequest-rate: {'9' * 100_000}/{'9' * 100_000}", 1.0),
        ("User-agent: *\nRequest-rate: 0/5", None),
        ("User-agent: *\nRequest-rate: 5", None),
        ("User-agent: *\nRequest-rate: 1/5x", None),
        ("User-agent: *\nRequest-rate: 1/-5", None),
        ("User-agent: *\nRequest-rate: 1/\u0665", None),
    ],
)
def test_crawl_delay(robots: str, delay: float | None) -> None:
    assert Robots.parse(robots.encode()).crawl_delay("bot/1.0") == delay


def test_sitemaps_belong_to_no_group_and_come_once() -> None:
    body = b"Sitemap: https://a/s\nUser-agent: x\nsitemap: /t # t\nSitemap:\nDisallow: /\nSite-map: https://a/s\n"
    assert Robots.parse(body).sitemaps == ("https://a/s", "/t", "")


def test_constants() -> None:
    assert ALLOW_ALL.allowed(SITE + "/x", "bot")
    assert not DISALLOW_ALL.allowed(SITE + "/x", "bot")
    assert ALLOW_ALL.sitemaps == DISALLOW_ALL.sitemaps == ()


PIECES = (
    "User-agent: Disallow: Allow: Crawl-delay: Request-rate: Sitemap: * $ / a % %2 %41 é # ? : = 1 9999999999 e . \n \r"
)
FILES = st.lists(st.sampled_from(PIECES.split(" "))).map(lambda pieces: "".join(pieces).encode())


@settings(deadline=None)
@given(st.binary(max_size=200) | FILES, st.text(max_size=9))
def test_no_file_raises(body: bytes, agent: str) -> None:
    robots = Robots.parse(b"User-agent: *\n" + body)
    assert robots.allowed(SITE + "/a", agent) in (True, False)
    delay = robots.crawl_delay(agent)
    assert delay is None or (math.isfinite(delay) and delay >= 0)
    "".join(robots.sitemaps).encode()
