"""The scan finds what our tree and the HTML standard find, or leaves the page to the parser; never anything else."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
from html5lib import HTMLParser
from html5lib.constants import tokenTypes
from hypothesis import example, given
from hypothesis import strategies as st

from crawler.parsing import html
from crawler.parsing.charset import decode
from crawler.parsing.link_scan import LINK_DIRECTIVES, MAX_TAG, META_SIGNS, Hrefs, scan
from crawler.parsing.tree import parse

URL = "http://example.com/folder/page.html"
PAGES = sorted((Path(__file__).parents[2] / "pages").glob("*.html"))
DOCUMENTATION = sorted(Path("/usr/share/doc").glob("*/html/**/*.html"))[::25][:200]  # where there is some


class Found(NamedTuple):
    """What a page says of its links, read in one way or the other."""

    links: list[str]
    base: str | None
    marked: frozenset[int] | None
    metas: list[tuple[str, str]] | None


def in_tree(text: str) -> Found:
    """The slow way."""
    root = parse(text)
    if root is None:
        return Found([], None, frozenset(), [])
    bases = (base.get("href") for base in root.iter("base"))
    links = [link for link in root.iter("a", "area") if link.get("href") is not None]
    base = next((base for base in bases if base is not None), None)
    rels = [set(link.get("rel", "").lower().split()) for link in links]
    marked = frozenset(place for place, rel in enumerate(rels) if rel & set(LINK_DIRECTIVES))
    metas = [(meta.get("name", ""), meta.get("content", "")) for meta in root.iter("meta")]
    return Found([link.get("href") for link in links], base, marked, metas)


class StandardParser(HTMLParser):  # type: ignore[misc]  # no types
    """The HTML standard to the letter, but in what it has changed since: a ``select`` is an element like others."""

    @property
    def phase(self) -> object:
        """The insertion mode."""
        return self._phase

    @phase.setter
    def phase(self, phase: object) -> None:
        if phase not in (self.phases["inSelect"], self.phases["inSelectInTable"]):
            self._phase = phase

    def resetInsertionMode(self) -> None:
        """Find the insertion mode from the open elements."""
        elements = self.tree.openElements
        self.tree.openElements = [element for element in elements if element.name != "select"]
        super().resetInsertionMode()
        self.tree.openElements = elements

    def mainLoop(self) -> None:
        """Keep the start tags in their order: in the tree some are repeated, and some moved before a table."""
        self.tags: list[tuple[str, dict[str, str]]] = []
        tokenizer = self.tokenizer
        emit = tokenizer.emitCurrentToken

        def note() -> None:
            token = tokenizer.currentToken
            emit()
            if token["type"] == tokenTypes["StartTag"]:
                self.tags.append((token["name"], dict(token["data"])))

        tokenizer.emitCurrentToken = note
        super().mainLoop()


def by_standard(text: str) -> Found:
    """The independent way."""
    parser = StandardParser()
    parser.parse(text)
    links = [tag for name, tag in parser.tags if name in ("a", "area") and "href" in tag]
    base = next((tag["href"] for name, tag in parser.tags if name == "base" and "href" in tag), None)
    rels = [set(link.get("rel", "").lower().split()) for link in links]
    marked = frozenset(place for place, rel in enumerate(rels) if rel & set(LINK_DIRECTIVES))
    metas = [(tag.get("name", ""), tag.get("content", "")) for name, tag in parser.tags if name == "meta"]
    return Found([link["href"] for link in links], base, marked, metas)


def scanned(text: str) -> Found | None:
    """The fast one."""
    found = scan(text)
    return None if found is None else Found(found.links, found.base, found.marked(), found.telling_metas())


def bears_sign(meta: tuple[str, str]) -> bool:
    """Whether its content holds a word of a sign."""
    return any(word in meta[1].lower() for word in META_SIGNS)


def agree(text: str) -> bool:
    """The scan declines, or finds what the others find."""
    found = scanned(text)
    return found is None or all(same(found, read(text)) for read in (in_tree, by_standard))


def same(found: Found, other: Found) -> bool:
    """Whether the scan has found the same, or declines where it comes to directives; of metas those that ask count."""
    return (
        found[:2] == other[:2]
        and found.marked in (None, other.marked)
        and (found.metas is None or [*filter(bears_sign, found.metas)] == [*filter(bears_sign, other.metas or [])])
    )


@pytest.mark.parametrize(
    ("text", "links"),
    [
        ('<!DOCTYPE html><p>x <a href="1">one</a> <a class="b" href=\'2\'>two</a>', ["1", "2"]),
        ("<ul><li><a href=3>3<li><a rel=x href=4 title='y'>4</ul>", ["3", "4"]),
        ('<a name="x">no link</a><a href="">here</a><area href="5"/>', ["", "5"]),
        ('<a href="x?a=1&amp;b=2&quot;&#64;&#38;">', ['x?a=1&b=2"@&']),
        ('<img alt="a > b <a href=x>"><a href="6">', ["6"]),
        ("<script>if (a < b) write('<a href=x>')</script><a href=7>", ["7"]),
        ("<style>a > b {}</style><title><a href=x></title><textarea><a href=x></textarea><a href=8>", ["8"]),
        ("<!-- <a href=x> --><a href=9>", ["9"]),
        ('<?xml version="1.0"?><html><body><a href="10"/></body></html>\n', ["10"]),
        ('<a data-href="x" title="href=y" href="11">', ["11"]),
        ("<a href=/index.php?id=4>4</a><a x=y=z href=?a=1`b=2 title=c>", ["/index.php?id=4", "?a=1`b=2"]),
        ("<a href==x><a href=x/><a href='1'href='2'>", ["=x", "x/", "1"]),
        ("<p>12</html><a href=13>", ["13"]),
        ('<svg viewBox="0 0 1 1"><title>x</title><linearGradient/><path d="M0"/></svg><a href=14>', ["14"]),
        ("<math><mi>x</mi></math><template><p>x</template><select><option><a href=15></select>", ["15"]),
        ("<HTML><BODY><A HREF='16'>x</A><Area Href=17><A\nNAME=x></A></BODY></HTML>", ["16", "17"]),
        ("<SCRIPT>'<a href=1>'</SCRIPT ><Style><!-- <a href=2> --></STYLE><a href=18>", ["18"]),
        ("<style><!-- p > a { } --></style><script><!--\n'<a href=1>' //--></script><a href=19>", ["19"]),
        ('<iframe src="javascript:void(0)" name="x">no</iframe><iframe></iframe><a href=20>', ["20"]),
        ('<a href="/i?a=1&filename=2&b=3&copy=4&amp;c=5&">', ["/i?a=1&filename=2&b=3&copy=4&c=5&"]),
        (
            '<a class=\'x\'href="21">x</a><a rel="y"id=\'z\'href=22><area alt=""href=\'23\'title="">',
            ["21", "22", "23"],
        ),
        ("<iframe name='x'src='about:blank'></iframe><base target='x'href='/'><a href=24>", ["24"]),
        ("<!-- i-- > 0 --[a]-- <a href=x> -- --><a href=25><!-- -- --><a href=26>", ["25", "26"]),
        ("no markup at all", []),
        ("", []),
    ],
)
def test_plain_pages_are_scanned(text: str, links: list[str]) -> None:
    """The common forms, and what only looks like a link."""
    found = scan(text)
    assert found is not None
    assert found.links == links == in_tree(text).links == by_standard(text).links


def test_the_upper_case_meta_of_xslt_takes_no_second_pass() -> None:
    """Processors of XSLT write it into the head of each page; all else there is in lower case."""
    text = '<html><head><META http-equiv="Content-Type" content="none"><title>x</title></head><a href=1></html>'
    found = scan(text)
    assert found is not None
    assert not found.any_case
    assert found.telling_metas() == [("", "none")]
    assert agree(text)


@pytest.mark.parametrize(
    "text",
    [
        "<a href=1 HREF=2>" * (MAX_TAG // 10),
        "<\u017fcript><a href=1></\u017fcript></script>",
        f'<a title="{"x" * MAX_TAG}" href="1">',
        f"<a {' '.join(f'a{number}=1' for number in range(20_000))} href='/x'>",  # the parser drops this tag
        '<a href = "1">',
        '<a b"c=" href=1><a href="2">',
        '<a href="x&copy">',
        '<iframe src="/framed"></iframe>',
        '<iframe src="about:blank"/><a href=1></iframe>',
        "<script><!-- <script> --></script><a href=1>",
        "<!-- a --!><a href=1> -->",
        "<!-- a ---><a href=1> -->",
        "<!--> <a href=1> -->",
        "<script><!-- <script> </script> <a href=1> --></script>",
        "<script/><a href=1>",
        "<xmp><a href=1></xmp>",
        '<a href=1"2>',
        "<a x=<a href=1>",
        "<svg><style><a href=1></style></svg>",
        "<svg><svg></svg><script><a href=1></script></svg>",
        "<svg><desc><p></svg></p></desc><script><a href=1></script>",
        "<svg><foreignobject><p></svg></p></foreignobject><script><a href=1></script>",
        "<math><annotation-xml encoding=text/html><p></math></p></annotation-xml><script><a href=1></script>",
        "<math><![CDATA[<a href=1>]]></math>",
        "<template><script>'</template><a href=1>'</script></template>",
        "<template><col><script><a href=1></script></template>",
        "<svg><a href=1></svg>",
        "<frameset><style><a href=1></style>",
        "<![CDATA[<a href=1>]]>",
        "a < b <a href=1>",
        "<a:b href=1>",
        "<a href=1",
        "<a href>",
        "\0<a href=1>",
    ],
)
def test_odd_pages_are_left_to_the_parser(text: str) -> None:
    """Whatever parsers may disagree about; and the answer is then the parser's."""
    assert agree(text)
    assert fast(text) == exact(text)


def fast(text: str) -> list[str]:
    """The links as a response has them."""
    found = scan(text)
    return exact(text) if found is None else html.scanned_links(found, URL)


def exact(text: str) -> list[str]:
    """The links by the tree alone."""
    root = parse(text)
    return [] if root is None else html.links(root, URL)


def test_the_first_base_counts() -> None:
    """Also for links that stand before it."""
    text = '<a href="1"></a><base target="x"><base href="/b/"><base href="/c/">'
    assert fast(text) == exact(text) == ["http://example.com/b/1"]


@pytest.mark.parametrize(
    "text",
    [
        '\udfff<a href="1">',
        '<a href="/\ud800x">',
        '<a href="/\ud83d\ude00">',
        '<base href="/\ud800/"><a href=1>',
        '<a href="http://\ud800/">',
    ],
)
def test_lone_surrogates_are_replaced(text: str) -> None:
    """In links only: elsewhere they change nothing."""
    assert fast(text) == exact(text)


@pytest.mark.parametrize("page", PAGES + DOCUMENTATION, ids=str)
def test_real_pages(page: Path) -> None:
    """Saved pages, and the documentation that is installed."""
    text = decode(page.read_bytes(), "text/html")[0]
    assert fast(text) == exact(text)
    assert agree(text)


_VALUES = st.text("ax =`/?&;#1\t", max_size=6)
_ATTRIBUTES = st.builds(
    "{}{}{}".format,
    st.sampled_from([" ", "", "\n", " /"]),
    st.sampled_from(["href", "HREF", "rel", "content", "name", "x", "href x"]),
    st.just("")
    | st.builds('="{}"'.format, _VALUES | st.sampled_from(["nofollow", "n&#111ne", "none", "x>y", "<a href=1>"]))
    | st.builds("='{}'".format, _VALUES)
    | st.builds("={}".format, _VALUES | st.sampled_from(["nofollow", "/i?a=1", 'a"b', "a'b", "a<b"])),
)
_TAGS = st.builds(
    "<{}{}{}".format,
    st.sampled_from(["a", "a", "area", "base", "meta", "div", "A", "svg"]),
    st.lists(_ATTRIBUTES, max_size=4).map("".join),
    st.sampled_from([">", " >", "/>", " />", ""]),
)
_PIECES = """
<a href="1">|<a href='2'>|<a href=3>|<a href = "4">|<a href="5&amp;6">|<a href="&copy;7">|<a HREF=8>|<a name=x>|</a>
<area href=9>|<base href="/x/">|<base>|<p>|</p>|<b>|<i>|</b>|<div class="c">|</div>|<div title="<a href=10>">|<br/>
<div title='>'>|<div x=y>|<div =x>|<div a"b>|<!-- -->|<!-- a -- -->|<!-->|-->|--!>|<!doctype html>|<?|?>|text
<script>|</script>|<script src="s">|<style>|</style>|<title>|</title>|<textarea>|</textarea>|<SCRIPT>|</SCRIPT>
<SCRIPT><!--|<style><!--|--></style>|<iframe src='about:blank'>|<A HREF="21">|<Area Href=22 REL=UGC>|<BASE HREF=/y/>
<META NAME=robots CONTENT=none>
<TITLE>|</TITLE>|<P CLASS="c">|</P>|<SVG>|</SVG>
<select>|<option>|</select>|<table>|<tr>|<td>|</table>|<svg>|</svg>|<math>|<template>|</template>|<noscript>|<form>
</noscript>|<iframe>|</iframe>|<xmp>|<plaintext>|<frameset>|<html>|</html>|<head>|</head>|<body>|</body>|<![CDATA[
]]>|<|>| |"|'|=|/|&|ä|\u00a0|<a/href=11>|<a href="12"title="x">|<a title=href=x href=13>|<!--|\n
<a href=14 rel=nofollow>|<a rel="x UGC" href="15">|<a REL='sponsored' href=16>|<a rel=noopener href=17>|<a rel=ugc>
<meta name=robots content=none>|<meta content="NoIndex" name="robots"/>|<meta charset="utf-8">|<META content=none>
<meta>|<meta name="a"content="none">|<meta x=">" content='unavailable_after: x'>|<meta content = "nofollow">
<a rel=nofollow href="18"title=x>|<a rel=nofollow href="19"/>|<a rel="nofol&#108ow" href=20>|<a href=?a=1`&amp;b=2>
<desc>|</desc>|<foreignObject>|</math>|<mi>|</mi>|<path d="M0"/>|<svg/>|<svg x=a/>|<col>|<button>|<![CDATA[>
<?php echo ">" ?>|<title/>|<script/>|<embed>|<frame>|</br>|</p >|</a x>|<div a=b"c">|<div a='b'"c">|<p a= b>|<p a ="b">
<noframes>|</noframes>
"""
MARKUP = st.lists(st.sampled_from(_PIECES.strip().replace("\n", "|").split("|")) | _TAGS, max_size=20).map("".join)
_IN_FOREIGN = st.builds(
    "<{0}>{1}</{0}>{2}".format,
    st.sampled_from(["svg", "math", "template", "select", "noscript", "title", "style", "frameset", "table"]),
    MARKUP,
    MARKUP,
)


@given(MARKUP | _IN_FOREIGN)
@example("<p></html><a href=1>")
@example("</html><a href=1>")
@example("<table><select></table>")
@example("<select><table></select><table>")
def test_any_mixture_of_markup(text: str) -> None:
    """Whatever is put together: the same links in the same order, the same base and directives."""
    assert agree(text)
    assert fast(text) == exact(text)


@given(st.text(alphabet="<>/=\"'!-a hrefbscript\n\t1&;", max_size=60))
def test_any_characters(text: str) -> None:
    """No text makes the two differ."""
    assert agree(text)


def test_a_hostile_page_is_read_in_linear_time() -> None:
    """Half a megabyte that almost matches, in many ways: no step looks at the same text again and again."""
    for piece in (
        "<svg>",
        "<svg><g>",
        "<template a",
        "<svg><title>",
        "<math></svg>",
        "<a x=y=",
        "<a ",
        "<a href=",
        "<a href='",
        "<p x=",
        '<p x="',
        "<!--",
        "<script>",
        "<a x ",
        "</",
        "<p a=b ",
    ):
        text = piece * (500_000 // len(piece))
        assert scan(text) in (None, Hrefs([], None, [], [], []))


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ('<meta charset="utf-8"><meta name="viewport" content="width=device-width"><a class="x" href="1">', False),
        ('<meta name="robots" content="index, follow, max-snippet:-1"><a rel="noopener" href="1">', False),
        ('<meta name="robots" content="NOINDEX">', True),
        ("<meta name=otherbot content=none>", True),  # whom it is meant for, and whether it holds, is looked at later
        ('<p class="none">nofollow<!-- <meta content="none"> --><script>"<meta content=none>"</script>', False),
        ('<a href="/nofollow/ugc">', False),
        ('<a rel="external nofollow" href="1">', True),
        ('<a href="1" class="x" REL=UGC>', True),
        ("<area href=1 rel='sponsored'>", True),
        ('<a rel=nofollow href="1"title=x>', True),
        ('<a rel=ugc href="1"/>', True),
        ('<a rel="nofollow">no link</a>', False),
    ],
)
def test_whether_a_page_may_bear_a_sign_is_told_by_the_way(text: str, marked: bool) -> None:
    """So that pages without one, which are most, cost no second look."""
    found = scan(text)
    assert found is not None
    assert bool(found.marked() or found.telling_metas()) is marked


def test_signs_that_are_spelled_with_references_take_a_parser() -> None:
    """It knows the many rules for them."""
    assert Hrefs(["1"], None, [0], [' rel="no&#102;ollow"']).marked() is None
    assert Hrefs(["1"], None, [0], [' title="a &amp; b"']).marked() == frozenset()
    assert Hrefs([], None, metas=[' content="n&#111ne"']).telling_metas() is None
    assert Hrefs([], None, metas=[' content="a &amp; b"']).telling_metas() == []
