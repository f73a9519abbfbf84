"""`LinkExtractor` finds what Scrapy's finds: on saved pages, and on pages that try to confuse it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scrapy.http import HtmlResponse
from scrapy.linkextractors import IGNORED_EXTENSIONS as SCRAPYS_EXTENSIONS
from scrapy.linkextractors import LinkExtractor as ScrapysLinkExtractor

from crawler import Link, LinkExtractor, Response
from crawler.parsing.limits import ParseLimits
from crawler.spiders.link_extractor import IGNORED_EXTENSIONS

PAGES = sorted((Path(__file__).parents[2] / "pages").rglob("*.html"))
URL = "http://shop.example/a/b.html?x=1"

NASTY = {
    "base": '<head><base href="/other/"></head><a href="c">1</a><a href="?q">2</a><a href="//h.example/x">3</a>',
    "base of another host": '<base href="https://cdn.example/d/e"><a href="f">1</a><a href="#g">2</a>',
    "two bases": '<base href="/1/"><base href="/2/"><a href="c">1</a>',
    "base without href": '<base target=_top><a href="c">1</a>',
    "white space": "<a href='  c \n'>1</a><a href='\td'> 2\n </a><a href='e f'>3</a><a href='/\ng'>4</a>",
    "entities": "<a href='/p?a=1&amp;b=2&copy=3'>&lt;1&gt;</a><a href='/&uuml;'>&auml;</a>"
    "<a href='/p?a=1&#38;b=2'>2</a>",
    "letters": "<a href='/ü?q=ü#ü'>1</a><a href='/%C3%BC?q=%C3%BC'>2</a><a href='http://bücher.example/ä'>3</a>",
    "fragments": "<a href='#top'>1</a><a href='/c#d'>2</a><a href='/c#e'>3</a><a href='/c'>4</a>",
    "empty": "<a href=''>1</a><a href>2</a><a>3</a><a name=x>4</a>",
    "schemes": "<a href='mailto:a@b.c'>1</a><a href='javascript:go()'>2</a><a href='data:text/html,x'>3</a>"
    "<a href='HTTP://H.EXAMPLE/X'>4</a><a href='tel:+1'>5</a>",
    "nofollow": "<a rel=nofollow href=1>1</a><a rel='NoFollow external' href=2>2</a><a rel='me,nofollow' href=3>3</a>"
    "<a rel=unfollow href=4>4</a>",
    "twice": "<a href=/c>first</a><a href=/c>second</a><a href='/c?'>third</a><a href='/C'>4</a><a href='/%63'>5</a>",
    "queries": "<a href='/c?b=2&a=1'>1</a><a href='/c?a=1&b=2'>2</a><a href='/c?a=1&b='>3</a><a href='/c?a=1&b'>4</a>",
    "markup in text": "<a href=c><b>one</b> <i>two<!-- no --></i><script>x</script></a>",
    "nested": "<div class=menu><ul><li><a href=1>1</a></ul><div class=menu><a href=2>2</a></div></div><a href=3>3</a>",
    "images and areas": "<map><area href=1 alt=x></map><img src=2.png><link href=3><iframe src=5></iframe>",
    "extensions": "".join(f"<a href='/f.{one}'>x</a>" for one in SCRAPYS_EXTENSIONS) + "<a href='/a.PDF?x.html'>y</a>",
    "extension in a query": "<a href='/get?f=a.pdf'>1</a><a href='/a.pdf/'>2</a><a href='/pdf'>3</a>",
    "odd urls": "<a href='http://[::1'>1</a><a href='http://a b/'>2</a><a href='///x'>3</a><a href='http:/y'>4</a>"
    "<a href='http://u:p@h.example/'>5</a><a href='http://h.example:80/'>6</a><a href='/../../z'>7</a>"
    "<a href='\\w'>8</a>",
    "percent": "<a href='/a%zz'>1</a><a href='/a%2Fb'>2</a><a href='/a%2fb'>3</a><a href='/100%'>4</a>"
    "<a href='/a|b'>5</a>",
    "upper case": "<A HREF='/c'>1</A><a HREF='/d' Rel='NOFOLLOW'>2</a>",
    "not closed": "<a href=1>one<a href=2>two<p><a href=3>three",
    "without html": "<a href=1>1</a>",
    "nothing": "",
    "text alone": "no link here",
}

WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "allow": {"allow": r"[1-3c]"},
    "several": {"allow": (r"1", re.compile("C", re.I)), "deny": ["%", "2"]},
    "domains": {"allow_domains": "SHOP.example", "deny_domains": ["h.example"]},
    "other domains": {"allow_domains": ("h.example", "example", "cdn.example")},
    "css": {"restrict_css": (".menu", "map")},
    "xpath": {"restrict_xpaths": "//div[@class='menu'] | //ul"},
    "both": {"restrict_xpaths": ["//map", "//li"], "restrict_css": "div.menu > div"},
    "text": {"restrict_text": [r"second|t[wh]", r"^\s*\d"]},
    "any tag": {"tags": "*", "attrs": ("href", "src"), "deny_extensions": ()},
    "any attribute": {"tags": ("a", "img"), "attrs": "*", "deny_tags": "img", "deny_attrs": ("rel", "name")},
    "files": {"deny_extensions": ["html", "tar.gz"]},
    "canonical": {"canonicalize": True},
    "all": {"unique": False},
    "all canonical": {"unique": False, "canonicalize": True},
    "as it is": {"strip": False},
    "process": {"process_value": lambda url: None if "2" in url else url.replace("1", "one") + "#z"},
    "process to relative": {"process_value": lambda url: url.rpartition("/")[2]},
}


def found(extractor: Any, response: Any) -> list[tuple[Any, ...]]:
    return [(link.url, link.text, link.fragment, link.nofollow) for link in extractor.extract_links(response)]


def both(html: bytes, how: dict[str, Any], kind: str = "text/html; charset=utf-8", url: str = URL) -> tuple[Any, Any]:
    """What Scrapy finds, without what it finds in other schemes; and what we find."""
    theirs = HtmlResponse(url, body=html, headers={"Content-Type": kind})
    ours = Response(url, body=html, headers={"content-type": kind})
    scrapys = [one for one in found(ScrapysLinkExtractor(**how), theirs) if one[0].startswith(("http:", "https:"))]
    return scrapys, found(LinkExtractor(**how), ours)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_saved_pages_have_the_same_links_as_in_scrapy(page: Path, way: str) -> None:
    theirs, ours = both(page.read_bytes(), WAYS[way])
    assert ours == theirs


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NASTY)
def test_nasty_pages_have_the_same_links_as_in_scrapy(name: str, way: str) -> None:
    theirs, ours = both(NASTY[name].encode(), WAYS[way])
    assert ours == theirs


@pytest.mark.parametrize("encoding", ["iso-8859-1", "windows-1251", "shift_jis", "gbk", "euc-kr"])
def test_queries_are_in_the_encoding_of_the_page_as_in_scrapy(encoding: str) -> None:
    html = {"windows-1251": "привет", "shift_jis": "日本", "gbk": "中文", "euc-kr": "한국"}.get(encoding, "grün")
    body = f"<a href='/{html}?q={html}'>{html}</a>".encode(encoding)
    theirs, ours = both(body, {}, f"text/html; charset={encoding}")
    assert len(theirs) == 1
    assert ours == theirs


# What differs, and why ours is as it is.
DIFFERENT: dict[str, tuple[bytes, str, list[str], list[str]]] = {
    # They search the first 4,096 characters for it; browsers obey it wherever it stands.
    "a base far down": (
        b"<!--" + b"-" * 5000 + b"--><base href='/x/'><a href=1>1</a>",
        "utf-8",
        ["http://shop.example/a/1"],
        ["http://shop.example/x/1"],
    ),
    # They leave the link out; browsers write a letter that the encoding lacks as a reference.
    "a letter that the encoding lacks": (
        b"<a href='/?q=&#8364;'>1</a>",
        "iso-8859-5",
        [],
        ["http://shop.example/?q=%26%238364%3B"],
    ),
    # They write the query in UTF-16; browsers in UTF-8.
    "a page in UTF-16": (
        "<a href='/?q=ü'>1</a>".encode("utf-16"),
        "utf-16",
        ["http://shop.example/?q%00=%00%FC%00"],
        ["http://shop.example/?q=%C3%BC"],
    ),
    # They write it in the page's encoding; browsers in UTF-8. No host ever gets it.
    "a fragment": (
        b"<a href='/#\xfc'>1</a>",
        "iso-8859-1",
        ["http://shop.example/#%FC"],
        ["http://shop.example/#%C3%BC"],
    ),
    # Nobody fetches them.
    "ftp and file": (b"<a href='ftp://h.example/x'>1</a><a href='file:///etc'>2</a>", "utf-8", [], []),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_these_links_differ_from_scrapys(name: str) -> None:
    body, charset, theirs, ours = DIFFERENT[name]
    found_there, found_here = both(body, {}, f"text/html; charset={charset}")
    assert ([one[0] for one in found_there], [one[0] for one in found_here]) == (theirs, ours)


def test_the_extensions_are_scrapys() -> None:
    assert list(IGNORED_EXTENSIONS) == SCRAPYS_EXTENSIONS


@pytest.mark.parametrize("url", ["http://shop.example/1", "https://x.h.example/c", "http://h.example/2", "mailto:a@b"])
@pytest.mark.parametrize("way", ["plain", "allow", "several", "domains", "other domains"])
def test_matches_says_the_same_as_in_scrapy(url: str, way: str) -> None:
    assert LinkExtractor(**WAYS[way]).matches(url) == ScrapysLinkExtractor(**WAYS[way]).matches(url)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: LinkExtractor(allow="("), r"allow='\(' is no regular expression"),
        (lambda: LinkExtractor(deny="["), r"deny='\[' is no regular expression"),
        (lambda: LinkExtractor(restrict_xpaths="//["), r"restrict_xpaths: '//\[' is no XPath"),
        (lambda: LinkExtractor(restrict_css="a["), r"restrict_css: 'a\[' is no CSS selector"),
        (
            lambda: LinkExtractor(restrict_xpaths="//a/@href").extract_links(page("<a href=1>1</a>")),
            "'//a/@href' selects text; select the elements",
        ),
    ],
)
def test_a_mistake_is_told_where_it_is_made(make: Callable[[], Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        make()


def page(html: str, **limits: int) -> Response:
    return Response(URL, body=html.encode(), headers={"content-type": "text/html"}, parse_limits=ParseLimits(**limits))


def test_links_beyond_the_bound_are_cut_and_told() -> None:
    many = page("".join(f"<a href={number}>x</a>" for number in range(5)), links=3)
    assert [link.url[-1] for link in LinkExtractor().extract_links(many)] == ["0", "1", "2"]
    assert many.cut == {"links": "it has more than 3 links (PARSE_MAXLINKS)"}
    whole = page("<a href=1>x</a><a href=2>x</a>", links=2)
    assert len(LinkExtractor().extract_links(whole)) == 2
    assert not whole.cut


def test_a_link_can_be_changed_and_compared() -> None:
    link = Link("http://a.example/", "text", nofollow=True)
    assert link == Link("http://a.example/", "text", "", True)
    link.url = "http://b.example/"
    assert {link, Link("http://b.example/", "text", "", True)} == {link}
