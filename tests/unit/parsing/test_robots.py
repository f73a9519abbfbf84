"""Verdicts as RFC 9309 gives them."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crawler.parsing.robots import ALLOW_ALL, DISALLOW_ALL, MAX_BYTES, Robots

SITE = "https://example.com"


def allowed(rules: str, path: str, agent: str = "bot") -> bool:
    return Robots.parse(rules.encode()).allowed(SITE + path, agent)


@pytest.mark.parametrize(
    ("rules", "path", "verdict"),
    [
        # nothing matches: allowed
        ("", "/", True),
        ("Disallow:", "/x", True),
        ("Disallow: /x", "/", True),
        ("Disallow: /x", "/y", True),
        ("Disallow: x", "/x", True),
        ("Allow: /x", "/y", True),
        # a pattern is the beginning of a path, and case counts
        ("Disallow: /", "/", False),
        ("Disallow: /x", "/x", False),
        ("Disallow: /x", "/xy", False),
        ("Disallow: /x", "/x?y", False),
        ("Disallow: /x/", "/x", True),
        ("Disallow: /X", "/x", True),
        ("Disallow: /x?y", "/x?yz", False),
        ("Disallow: /x?y", "/x", True),
        # the longest match wins, in whatever order; allow where two are equal (§5.2)
        ("Allow: /x/y\nDisallow: /x", "/x/y", True),
        ("Disallow: /x\nAllow: /x/y", "/x/y", True),
        ("Allow: /x\nDisallow: /x/y", "/x/y", False),
        ("Disallow: /x\nAllow: /x", "/x", True),
        ("Allow: /x\nDisallow: /x", "/x", True),
        ("Allow: /example/page/\nDisallow: /example/page/disallowed.gif", "/example/page/", True),
        (
            "Allow: /example/page/\nDisallow: /example/page/disallowed.gif",
            "/example/page/disallowed.gif",
            False,
        ),
        ("Allow: /page\nDisallow: /*.html", "/page.html", False),
        ("Allow: /$\nDisallow: /", "/", True),
        ("Allow: /$\nDisallow: /", "/x", False),
        ("Disallow: /*x\nAllow: /ax", "/ax", True),
        ("Disallow: /*xy\nAllow: /ax", "/axy", False),
        ("Disallow: /*\nAllow: /a", "/ab", True),
        # * is any sequence, also an empty one
        ("Disallow: *", "/", False),
        ("Disallow: *.php", "/a.php5", False),
        ("Disallow: /*.php", "/a/b.php?c", False),
        ("Disallow: /*.php", "/a.html", True),
        ("Disallow: /a*b", "/ab", False),
        ("Disallow: /a*b*c", "/a-b-c-d", False),
        ("Disallow: /a*b*c", "/a-c-b", True),
        ("Disallow: /a**b", "/a-b", False),
        ("Disallow: /x*", "/x", False),
        # a final $ is the end of the path with its query; elsewhere it is a character
        ("Disallow: /x$", "/x", False),
        ("Disallow: /x$", "/xy", True),
        ("Disallow: /x$", "/x?y", True),
        ("Disallow: /*.php$", "/a.php", False),
        ("Disallow: /*.php$", "/a.php?x", True),
        ("Disallow: /*.php$", "/a.php.php", False),
        ("Disallow: /a*b$", "/ab-", True),
        ("Disallow: /a*ba$", "/aba", False),
        ("Disallow: /aba*ba$", "/aba", True),
        ("Disallow: /x*$", "/xyz", False),
        ("Disallow: /a$b", "/a$b", False),
        ("Disallow: /a$b", "/a", True),
        # one spelling for paths and patterns (table of §2.2.2, §2.2.3)
        ("Disallow: /foo/bar?baz=quz", "/foo/bar?baz=quz", False),
        ("Disallow: /foo/bar?baz=https://foo.bar", "/foo/bar?baz=https%3A%2F%2Ffoo.bar", False),
        ("Disallow: /foo/bar?baz=https%3a%2f%2ffoo.bar", "/foo/bar?baz=https://foo.bar", False),
        ("Disallow: /foo/bar/ツ", "/foo/bar/%E3%83%84", False),
        ("Disallow: /foo/bar/%E3%83%84", "/foo/bar/%e3%83%84", False),
        ("Disallow: /foo/bar/%62%61%7A", "/foo/bar/baz", False),
        ("Disallow: /foo/bar/baz", "/foo/bar/%62%61%7A", False),
        ("Disallow: /a%2Fb", "/a/b", True),
        ("Disallow: /a/b", "/a%2Fb", True),
        ("Disallow: /a b", "/a%20b", False),
        ("Disallow: /a|b", "/a|b", False),
        ("Disallow: /file-with-a-%2A.html", "/file-with-a-*.html", False),
        ("Disallow: /file-with-a-%2A.html", "/file-with-a-b.html", True),
        ("Disallow: /foo-%24", "/foo-$", False),
        ("Disallow: /*ツ$", "/a%E3%83%84", False),
        ("Disallow: /%", "/%", False),
        # robots.txt itself (§2.2.2)
        ("Disallow: /", "/robots.txt", True),
        ("Disallow: /", "/robots.txt?x", True),
        ("Disallow: /", "/robots.txt2", False),
        ("Disallow: /", "/x/robots.txt", False),
        # index pages are pages like others
        ("Disallow: /\nAllow: /index.html", "/", False),
    ],
)
def test_rules(rules: str, path: str, verdict: bool) -> None:
    assert allowed("User-agent: *\n" + rules, path) is verdict


@pytest.mark.parametrize(
    ("robots", "agent", "verdict"),
    [
        ("User-agent: bot\nDisallow: /", "bot", False),
        ("User-agent: BOT\nDisallow: /", "Bot", False),
        ("User-agent: bot\nDisallow: /", "bot/1.0 (+https://example.com/bot)", False),
        ("User-agent: bot/2.0\nDisallow: /", "bot/1.0", False),
        ("User-agent: bot extra\nDisallow: /", "bot", False),
        # the whole token, not its beginning nor a part of it (§2.2.1)
        ("User-agent: bot\nDisallow: /", "botany", True),
        ("User-agent: bot\nDisallow: /", "bot-news", True),
        ("User-agent: bot-news\nDisallow: /", "bot", True),
        ("User-agent: bot\nDisallow: /", "my-bot", True),
        ("User-agent: bot\nDisallow: /", "Mozilla/5.0 (compatible; bot/1.0)", True),
        # * for those that no group names
        ("User-agent: *\nDisallow: /", "bot", False),
        ("User-agent: *\nDisallow: /\nUser-agent: bot\nAllow: /", "bot", True),
        ("User-agent: bot\nDisallow:\nUser-agent: *\nDisallow: /", "bot", True),
        ("User-agent: bot\nDisallow:\nUser-agent: *\nDisallow: /", "other", False),
        ("User-agent: *\nDisallow: /x\nUser-agent: bot", "bot", True),
        ("User-agent: other\nDisallow: /", "bot", True),
        ("User-agent: *\nDisallow: /", "", False),
        ("User-agent: *\nDisallow: /", "*", False),
        # groups of one agent are one group
        (
            "User-agent: bot\nDisallow: /a\nUser-agent: x\nDisallow: /b\nUser-agent: bot\nDisallow: /x",
            "bot",
            False,
        ),
        ("User-agent: bot\nDisallow: /x\nUser-agent: bot\nAllow: /x", "bot", True),
        ("User-agent: *\nDisallow: /a\nUser-agent: *\nDisallow: /x", "bot", False),
        # several agents, one group
        ("User-agent: a\nUser-agent: bot\nDisallow: /x", "bot", False),
        ("User-agent: a\n\n# b\nUser-agent: bot\n\nDisallow: /x", "a", False),
        ("User-agent: a\nDisallow: /\nUser-agent: bot\nAllow: /", "bot", True),
        ("User-agent: a\nDisallow:\nUser-agent: bot\nDisallow: /", "a", True),
        # other lines neither begin nor end a group (§2.2.4)
        ("User-agent: bot\nSitemap: https://example.com/s\nDisallow: /x", "bot", False),
        ("User-agent: a\nSitemap: /s\nUser-agent: bot\nDisallow: /x", "a", False),
        ("User-agent: a\nCrawl-delay: 3\nUser-agent: bot\nDisallow: /x", "a", False),
        ("User-agent: bot\nUnknown: y\nDisallow: /x", "bot", False),
        ("Disallow: /x\nUser-agent: bot", "bot", True),
    ],
)
def test_groups(robots: str, agent: str, verdict: bool) -> None:
    assert allowed(robots, "/x", agent) is verdict


@pytest.mark.parametrize(
    "body",
    [
        b"User-agent: *\nDisallow: /x",
        b"User-agent: *\r\nDisallow: /x\r\n",
        b"User-agent: *\rDisallow: /x\r",
        b"\xef\xbb\xbfUser-agent: *\nDisallow: /x",
        b"USER-AGENT:*\nDISALLOW:/x",
        b"  User-agent :\t*  \n\t Disallow  : /x \t",
        b"User-agent: * # all\nDisallow: /x # that",
        b"# first\n\nUser-agent: *\n#\n\n\nDisallow: /x#y",
        b"User-agent *\nDisallow /x",
        b"useragent: *\ndisalow: /x",
        b"\xff\xfe\nUser-agent: *\n\xff: \xff\nDisallow: /x",
        b"<html>\nUser-agent: *\nDisallow: /x",
    ],
)
def test_lines_are_read_with_patience(body: bytes) -> None:
    robots = Robots.parse(body)
    assert not robots.allowed(SITE + "/x", "bot")
    assert robots.allowed(SITE + "/y", "bot")


def test_a_line_ends_at_a_line_end_only() -> None:
    """Python's splitlines knows more: form feed, U+0085, U+2028."""
    robots = Robots.parse("User-agent: *\nDisallow: /a\u2028Disallow: /b\x0cDisallow: /c".encode())
    assert robots.allowed(SITE + "/b", "bot")
    assert robots.allowed(SITE + "/c", "bot")


def test_bytes_that_are_not_utf8_match_the_same_bytes_in_a_url() -> None:
    robots = Robots.parse("User-agent: *\nDisallow: /é".encode("latin-1"))
    assert not robots.allowed(SITE + "/%E9", "bot")
    assert robots.allowed(SITE + "/%C3%A9", "bot")


def test_the_file_is_cut_at_the_end_of_a_line() -> None:
    head = b"User-agent: *\nDisallow: /x\n"
    filler = b"#" * (MAX_BYTES - len(head) - 1 - 10) + b"\n"
    robots = Robots.parse(head + filler + b"Disallow: /yyyyyyy\nDisallow: /z\n")
    assert not robots.allowed(SITE + "/x", "bot")
    assert robots.allowed(SITE + "/yyyyyyy", "bot")
    assert robots.allowed(SITE + "/", "bot")  # "Disallow: /" of the cut line is no rule
    assert robots.allowed(SITE + "/z", "bot")


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
        ("User-agent: bot\nCrawl-delay: 1e999", None),
        ("User-agent: bot\nCrawl-delay: 1_0", None),
        ("User-agent: bot\nCrawl-delay: \u0663", None),
        ("User-agent: bot\nCrawl-delay: soon", None),
        ("Crawl-delay: 5", None),
        ("", None),
    ],
)
def test_crawl_delay(robots: str, delay: float | None) -> None:
    assert Robots.parse(robots.encode()).crawl_delay("bot/1.0") == delay


def test_sitemaps_belong_to_no_group_and_come_once() -> None:
    body = b"Sitemap: https://a/s\nUser-agent: x\nsitemap: /t # t\nSitemap:\nDisallow: /\nSite-map: https://a/s\n"
    assert Robots.parse(body).sitemaps == ("https://a/s", "/t")


def test_constants() -> None:
    assert ALLOW_ALL.allowed(SITE + "/x", "bot")
    assert not DISALLOW_ALL.allowed(SITE + "/x", "bot")
    assert ALLOW_ALL.sitemaps == DISALLOW_ALL.sitemaps == ()


def test_stars_do_not_backtrack() -> None:
    path = "/" + "a" * 8_000
    assert allowed("User-agent: *\nDisallow: /" + "*a" * 4_000 + "*b", path)
    assert not allowed("User-agent: *\nDisallow: /" + "*a" * 4_000 + "$", path)


PIECES = "User-agent: Disallow: Allow: Crawl-delay: Sitemap: * $ / a % %2 %41 é # ? : = 1 \n \r"
FILES = st.lists(st.sampled_from(PIECES.split(" "))).map(lambda pieces: "".join(pieces).encode())


@settings(deadline=None)
@given(st.binary(max_size=200) | FILES, st.text(max_size=9))
def test_no_file_raises(body: bytes, agent: str) -> None:
    robots = Robots.parse(b"User-agent: *\n" + body)
    assert robots.allowed(SITE + "/a", agent) in (True, False)
    delay = robots.crawl_delay(agent)
    assert delay is None or (math.isfinite(delay) and delay >= 0)
    "".join(robots.sitemaps).encode()
