"""Links joined by string operations are those that the URL parser would give."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from crawler.parsing.url import MAX_URL_LENGTH, BadUrl, canonical, join_links

PAGE = Path(__file__).with_name("page.html")

BASES = [
    "http://h/",
    "https://example.com/a/b/c.html?x=1",
    "https://example.com:8443/a//b/",
    "http://127.0.0.1:8000/d/e/f",
    "http://[::1]:81/x",
    "https://example.com//",
]

# What a link may be built of: everything that some state of the standard's parser treats specially.
PIECES = r"""
/ // . .. ./ ../ ... .a a.b a b.html ? # %2e %2E %41 % %zz %20 %e4 \ : @ & = a=1 ' " < > ^ | ` { } ( ) [ ]
~ $ ! * ; , + - _ http: https: HTTP: http:// https:// example.com EXAMPLE.com example.com. xn-- xn--a 1.2.3.4
127.1 ex.1 ex.0x1 a..b exa_mple.com -.com [::1] :80 :443 :8443 user:pw@ mailto: javascript: data: é 日
"""
BLANKS_AND_WORSE = [" ", "\t", "\n", "\0", "\x01", "\x7f", "\ud800", "\ufeff", "\xa0", "y" * MAX_URL_LENGTH]


def one_by_one(base: str, hrefs: list[str]) -> list[str]:
    found: dict[str, None] = {}
    for href in hrefs:
        try:
            found[canonical(href, base)] = None
        except BadUrl:
            continue
    return list(found)


@st.composite
def hrefs(draw: st.DrawFn) -> tuple[str, str]:
    base = draw(st.sampled_from(BASES))
    pieces = draw(st.lists(st.sampled_from([*PIECES.split(), *BLANKS_AND_WORSE]), max_size=7))
    start = draw(st.sampled_from(["", "", base, base.rstrip("/"), base[:-1]]))
    return base, start + "".join(pieces)


@settings(max_examples=2_000, deadline=None)
@given(hrefs())
def test_a_link_is_joined_as_the_parser_joins_it(case: tuple[str, str]) -> None:
    base, href = case
    assert join_links(base, [href]) == one_by_one(base, [href])


@pytest.mark.parametrize("start", ["", "/", "../", "a", "?a", "http://h/a", "http://h/"])
@pytest.mark.parametrize("end", [" #x", "#", "#x", "\n#x", " ", "\n", "b\n/../c", "\t.", "\0", "/../b", "?b#c?d"])
def test_blanks_and_line_breaks_before_a_fragment(start: str, end: str) -> None:
    for hrefs in ([start + end], [start + end, start], ["x", start + end, start + end + "y"]):
        assert join_links("http://h/d/e/f?g", hrefs) == one_by_one("http://h/d/e/f?g", hrefs)


def test_no_links_lead_nowhere() -> None:
    assert join_links("http://h/d", []) == []
    assert join_links("http://h/d", [""]) == ["http://h/d"]


def spelled(href: str, base: str | None) -> str | None:
    try:
        return canonical(href, base)
    except BadUrl:
        return None


@settings(max_examples=2_000, deadline=None)
@given(hrefs())
def test_a_canonical_url_is_known_without_the_parser(case: tuple[str, str]) -> None:
    """With a base the parser is always asked; one of another scheme has no part in an absolute URL."""
    _, href = case
    assert spelled(href, None) == spelled(href, "ftp://elsewhere/")


@settings(deadline=None)
@given(st.sampled_from(BASES), st.text())
def test_any_text_is_joined_as_the_parser_joins_it(base: str, href: str) -> None:
    assert join_links(base, [href]) == one_by_one(base, [href])


@pytest.mark.parametrize("base", BASES)
def test_a_saved_page_gives_the_parsers_links(base: str) -> None:
    tree = etree.HTML(PAGE.read_text())
    hrefs = [str(href) for href in tree.xpath("//@href | //@src")]
    assert len(hrefs) > 35
    assert join_links(base, hrefs) == one_by_one(base, hrefs)


def test_links_come_once_and_in_first_seen_order() -> None:
    hrefs = ["b", "a#1", "mailto:x", "a#2", "./a", "http://h/d/b", "http://[", "c", "#top"]
    assert join_links("http://h/d/p", hrefs) == [
        "http://h/d/b",
        "http://h/d/a",
        "http://h/d/c",
        "http://h/d/p",
    ]


def test_the_limit_counts_links_not_hrefs() -> None:
    hrefs = ["a#1", "a#2", "mailto:x", "b", "c"]
    assert join_links("http://h/", hrefs, limit=2) == ["http://h/a", "http://h/b"]


@pytest.mark.parametrize("start", ["", "../", "/", "?", "http://h/", "http://other.example/", "HTTP://h/", " /"])
@pytest.mark.parametrize("surplus", [0, 1])
def test_a_link_may_be_as_long_as_a_url_however_it_is_written(start: str, surplus: int) -> None:
    told: list[str] = []
    shortest = len(canonical(start + "y", "http://h/d/p"))
    href = start + "y" * (1 + MAX_URL_LENGTH - shortest + surplus)
    found = join_links("http://h/d/p", ["a", href, "b"], cut=lambda what, why: told.append(what))
    assert [len(url) for url in found] == [len("http://h/d/a"), *[MAX_URL_LENGTH] * (1 - surplus), len("http://h/d/b")]
    assert told == ["long_urls"] * surplus


@pytest.mark.parametrize(
    "origin",
    [
        *("http://h:80", "https://h:443", "http://h:", "http://h.", "http://h..", "http://127.1", "http://0x7f.1"),
        *("http://1.2.3.4:8080", "http://xn--a", "http://xn--nxasmq6b", "http://a_b", "http://h:99999", "http://:80"),
        *("http://-", "https://" + "h" * 280, "http://" + "h." * 140 + "h", "http://h:8o"),
    ],
)
def test_an_absolute_link_is_kept_as_it_is_only_if_its_origin_is_canonical(origin: str) -> None:
    for href in (f"{origin}/a/b?c", f"{origin}/a#b", f"{origin}/", origin):
        assert join_links("https://example.com/a", [href]) == one_by_one("https://example.com/a", [href])


def test_a_base_that_is_no_url_is_an_error() -> None:
    with pytest.raises(BadUrl):
        join_links("no base", ["a"])
