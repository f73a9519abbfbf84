"""The text by the definition of `crawler.parsing.visible`: the scan of a page finds what the walk of its tree finds."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crawler.parsing import html, tree, visible
from crawler.parsing.charset import decode
from crawler.parsing.limits import ParseLimits, Reading
from crawler.parsing.link_scan import scan
from crawler.response import Response
from tests.unit.parsing.test_link_scan import DOCUMENTATION, MARKUP, PAGES

URL = "http://example.com/folder/page.html"


def by_tree(page: str) -> str:
    """The slow way, which is the reference."""
    root = tree.parse(page)
    return "" if root is None else visible.visible_text(root)


def by_scan(page: str) -> str | None:
    """The fast way; None if it leaves the page to the tree."""
    found = scan(page)
    elements = found and visible.elements_of(page, any_case=found.any_case)
    text = elements and visible.scanned(elements.body)
    return None if text is None else visible.text_of([text])


def declared(page: str) -> tuple[html.PageMeta | None, html.PageMeta]:
    """What the page declares about itself, by the scan and by the tree."""
    found, root = scan(page), tree.parse(page)
    if root is None:
        root = tree.parse("<html></html>")
    elements = found and visible.elements_of(page, any_case=found.any_case)
    fast = html.scanned_page_meta(found, elements, URL) if found and elements else None
    return fast, html.page_meta(root, URL)


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("<p>one<p>two", "one\ntwo"),
        ("a<b>b</b>c <i>d</i>", "abc d"),
        ("<pre>a\n  b</pre>&nbsp;\u3000c &amp;amp; &eacute;&#233;&#x41;", "a b\nc &amp; ééA"),
        ("<ul><li>a<li>b<ul><li>c</ul></ul>d", "a\nb\nc\nd"),
        ("<ul> <li> <b>a</b> </li>\n<li><i> b</i> c</li> <b> </b> </ul> d<p> <b title='<p>'></b></p>e", "a\nb c\nd\ne"),
        ("<table><tr><th>a<td>b<tr><td>c<td>d</table>", "a\nb\nc\nd"),
        ("a<br>b<hr/>c<br />d", "a\nb\nc\nd"),
        ("<select><option>a<option>b</select><textarea>c &lt; d</textarea><button>e</button>", "a\nb\nc < de"),
        ("<head><title>no</title><style>no</style></head><body>a<script>no</script>b", "ab"),
        ("<p>a<!-- no -->b<?no?>c<svg><title>no</title></svg>d<template><p>no</template>e", "abcde"),
        ("<body>a<noscript><p>no</p></noscript>b<object><p>no</p></object>c<iframe></iframe>", "abc"),
        ("<P>one</P><DIV CLASS='a>b'>two<BR>three</DIV>", "one\ntwo\nthree"),
        ('<a title="<p>no</p>">yes</a> <a title="a > b < c">too</a>', "yes too"),
        ('<a title="<p " alt="-">one "x> two " three></a>', 'one "x> two " three>'),
        ('<img alt="<-"> a <b title="<">b</b> <i title="</p>">c</i>', "a b c"),
        ("<p-x>a</p-x><html-y>b</html-y>", "ab"),
        ("<math><mi>x</mi><mo>=</mo></math>", "x="),
        ("<title>no</title><h1>yes</h1>", "yes"),
        ('<link integrity="a="><title>no</title><a href="?q=">yes</a><svg></svg><a name=\'"=\'></a><!-- no -->', "yes"),
        ("a \x01\x1cb", "a \x01 b"),
        ("", ""),
    ],
)
def test_the_definition(page: str, text: str) -> None:
    """Both ways; the scan reads all of these."""
    assert by_tree(page) == text
    assert by_scan(page) == text


@pytest.mark.parametrize(
    "page",
    [
        "<title>a <b>c</title>d",
        "x<textarea>a <b>c</textarea>d",
        "<object><object>no</object>no</object>yes",
        "<head><noscript><p>yes</p></noscript></head>",
        "<head><x>no</x></head>yes",
        "<title>no</title><x>no</x>",
        '<a title="<!-- ">a --> b</a>',
        '<a title="> <!-- ">a --> b</a>',
        '<meta content="<title>no</title>"><title>yes</title>a',
        "<meta content='> \" <title>no</title>'><title>yes</title>a",
        "<title>a</title><b title='<link rel=canonical href=/no>'>b</b>",
        "a&#1;b&#128;c&#xd800;d",
        "a < b",
        "&co<b>py</b>",
        "&am<!-- -->p;",
        "<svg-x>yes</svg-x>",
        *(f"a<{name}/>b</{name}>c" for name in ("object", "noscript", "svg", "iframe", "script", "style", "template")),
        '<iframe src="x" />b</iframe>c',
    ],
)
def test_odd_pages_are_left_to_the_tree(page: str) -> None:
    """Where the scan is not certain, the answer is the tree's."""
    response = Response(URL, headers={"content-type": "text/html; charset=utf-8"}, body=page.encode())
    assert by_scan(page) in (None, by_tree(page))
    assert response.visible_text == by_tree(page)
    fast, slow = declared(page)
    assert fast in (None, slow)
    assert response.page == slow


@pytest.mark.parametrize("page", PAGES + DOCUMENTATION, ids=str)
def test_real_pages(page: Path) -> None:
    """Saved pages, and the documentation that is installed: the same text, and the same that they declare."""
    text = decode(page.read_bytes(), "text/html")[0]
    assert by_scan(text) in (None, by_tree(text))
    fast, slow = declared(text)
    assert fast in (None, slow)


_TEXT = st.sampled_from(
    ["a", "b ", " c", "\n", "&amp;", "&lt;", "&copy", "&nbsp;", "é", "&#65;", "\t", "x > y", "&x", "& "]
)
_BLOCKS = st.sampled_from(["p", "div", "ul", "li", "td", "h1", "pre", "section", "DIV", "center"])
_INLINES = st.sampled_from(["span", "b", "em", "code", "i", "x-y", "SPAN", "noscript", "object", "svg", "label"])
_ATTRIBUTES = st.sampled_from(
    [
        *("", ' class="x"', " id=a", " title='a > b'", ' title="<p>"', ' title="<b> x <"', ' title="> <!-- "'),
        *(" title='<title>x</title>'", ' title="<link rel=canonical href=/x>"', " title='<option>x</select>'"),
        " title='='",
    ]
)
_ALONE = st.sampled_from(
    ["<br>", "<hr/>", "<img src=x>", "<!-- x -->", "<script>x</script>", "<style><!-- --></style>"]
)


def _element(names: st.SearchStrategy[str], inside: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    def written(name: str, attributes: str, parts: list[str]) -> str:
        return f"<{name}{attributes}>{''.join(parts)}</{name}>"

    return st.builds(written, names, _ATTRIBUTES, st.lists(inside, max_size=4))


_PHRASES = st.recursive(_TEXT | _ALONE, lambda inside: _element(_INLINES, inside), max_leaves=10)
_NESTED = st.recursive(_PHRASES, lambda inside: _element(st.just("div") | st.just("section"), inside), max_leaves=10)
_BODIES = st.lists(_NESTED | _element(_BLOCKS, _PHRASES), max_size=6).map("".join)
_HEADS = st.sampled_from(
    [
        "",
        "<html><head><title>t &amp; u</title></head><body>",
        "<!doctype html>\n<html lang=en xml:lang='de'>\n<head>\n<meta name=description content='a &amp; b'>\n",
        "<HTML LANG=\"pt-BR\"><HEAD><TITLE>T</TITLE><META NAME='Robots' CONTENT='NoIndex, x'></HEAD>\n<BODY>",
        "<html><head><script>'<title>no</title>'</script><link rel='x canonical' href='/c?a=1&b=2'></head>",
        "<head><!-- <title>no</title> --><base href='/b/'><title>t</title><style>p{}</style></head><body class=x>",
        "<meta http-equiv=content-language content='de, en'><title> a\n b </title><body>",
        "<head><noscript><link rel=stylesheet href=x></noscript><title>t</title></head>",
    ]
)


@given(_HEADS, _BODIES)
def test_nested_elements(head: str, body: str) -> None:
    """Where elements are properly nested, the two ways give the same text, line for line."""
    page = head + body
    assert by_scan(page) in (None, by_tree(page))
    fast, slow = declared(page)
    assert fast in (None, slow)


@given(MARKUP)
@example("<b><p>x</b>y")
@example("x</div>y")
def test_any_mixture_of_markup(page: str) -> None:
    """Where they are not, the same characters in the same order."""
    fast = by_scan(page)
    assert fast is None or "".join(fast.split()) == "".join(by_tree(page).split())


def test_a_head_with_the_upper_case_meta_of_xslt_needs_no_tree() -> None:
    """The scan takes such a page at its first pass, so nothing here has lowered the name."""
    page = '<html lang="en"><head><META http-equiv="x" content="y"><title>t</title></head><body><p>one<p>two'
    fast, slow = declared(page)
    assert fast == slow
    assert by_scan(page) == by_tree(page) == "one\ntwo"


def test_a_hostile_page_is_read_in_linear_time() -> None:
    """Half a megabyte that almost matches, in many ways."""
    for piece in (
        "<p>",
        "<b>",
        "<p x='",
        '<p x="',
        "<!-- -->",
        "<svg></svg>",
        '<p x="<">',
        "<title></title>",
        "&#1",
        "&x",
        "x>",
        "<noscript></noscript>",
        '<link x="=">',
        '<link x="="',
    ):
        by_scan(piece * (500_000 // len(piece)))
    for piece in (
        "<p ",
        "<p>",
        "<p><b ",
        '<p "',
        '<p " ""',
        "<link ",
        "<title ",
        "<textarea ",
        "<option ",
        "> <option ",
    ):  # inside one value, with text behind it
        text = f"<body><select></select><i title='{piece * (250_000 // len(piece))}'>{'x' * 250_000}"
        by_scan(text)
        declared(text)


@pytest.mark.parametrize("space", [c for c in map(chr, range(sys.maxunicode)) if c.isspace()], ids=ascii)
def test_each_white_space_that_python_knows_collapses(space: str) -> None:
    """Alone, beside another one, and at the ends of lines."""
    text = f"{space}a{space}b {space} c{space}{space}{space}d{space}\0{space}\0{space} e"
    assert visible.text_of([text]) == "a b c d\ne"


def test_the_bounds_hold_without_a_tree() -> None:
    """PARSE_MAXTEXT cuts, and says so."""
    told: dict[str, str] = {}
    limits = ParseLimits(text=3)
    assert visible.text_of(["abcdef"], Reading("utf-8", limits, told.setdefault)) == "abc"
    assert "PARSE_MAXTEXT" in told["text"]
