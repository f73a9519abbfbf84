"""Pages to values, the hostile ones too."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lxml import etree
from parsel import Selector

from crawler.errors import PageTooLarge
from crawler.parsing import html
from crawler.parsing import tree as page_tree
from crawler.parsing.html import PageMeta, Refresh, links, page_meta
from crawler.parsing.limits import ParseLimits, Reading
from crawler.parsing.tree import parse
from crawler.parsing.visible import visible_text
from crawler.response import Response

URL = "https://example.com/docs/handbook/frontier.html"
PAGE = Path(__file__).with_name("page.html").read_text()


def tree(text: str) -> etree._Element:
    root = parse(text)
    assert root is not None
    return root


def meta(text: str, url: str = "http://h/d/p") -> PageMeta:
    return page_meta(tree(text), url)


def test_a_saved_page_says_what_it_is() -> None:
    assert page_meta(tree(PAGE), URL) == PageMeta(
        title="Frontier — Crawling handbook",
        description="How a crawler decides what to fetch next.",
        language="en",
        base=URL,
        canonical="https://example.com/handbook/frontier.html",
        robots=frozenset({"index", "follow", "max-snippet:-1"}),
        refresh=None,
    )


def test_a_saved_page_gives_its_links() -> None:
    found = links(tree(PAGE), URL)
    assert found[:5] == [
        "https://example.com/docs/index.html",
        "https://example.com/docs/",
        "https://example.com/docs/handbook/",
        URL,
        "https://example.com/docs/handbook/index.html",
    ]
    assert found[-1] == "https://example.com/docs/handbook/area/one.html"
    assert len(found) == len(set(found)) == 33
    assert "https://example.com/docs/handbook/comment.html" not in found


def test_links_not_to_be_followed_can_be_left_out() -> None:
    every, followed = links(tree(PAGE), URL), links(tree(PAGE), URL, follow_nofollow=False)
    assert [url for url in every if url not in followed] == [
        "https://docs.example.com/en/3/library/os.html",
        "https://example.com/docs/handbook/area/one.html",
    ]


def test_a_saved_page_shows_its_text() -> None:
    lines = visible_text(tree(PAGE)).split("\n")
    assert lines[:2] == ["Home", "Up"]
    assert "The frontier¶" in lines
    assert "A frontier holds requests that wait: see the delay, a folder and robots." in lines
    assert "State" in lines
    assert lines[-1] == "After the comment."
    assert not {"Turn on scripts", "Not shown"} & set(lines)
    assert "color" not in "".join(lines)


def test_the_tree_serves_parsel() -> None:
    selector = Selector(root=tree(PAGE), type="html")
    assert selector.css("h1::text").get() == "The frontier"


@pytest.mark.parametrize("text", ["", " \n", "<!-- a --><!-- b -->", "<!DOCTYPE html>", "<?php x ?>", "\0"])
def test_nothing_to_parse_is_none(text: str) -> None:
    assert parse(text) is None


@pytest.mark.parametrize(
    "text",
    [
        '<?xml version="1.0" encoding="utf-16"?><html><body><a href=x>é</a></body></html>',
        "<?xml version='1.0'?><!DOCTYPE html><a href=x>é</a>",
        '<meta charset="koi8-r"><a href=x>é</a>',
        "\ufeff<a href=x>é</a>",
        "<a hr\0ef=x>é</a>",
        "<html><html><body><body><a href=x>é</html></html></a>",
        "<form><form><table><a href=x>é</table></form>",
    ],
)
def test_odd_openings_do_not_hide_links_nor_spoil_text(text: str) -> None:
    root = tree(text)
    assert links(root, "http://h/") == ["http://h/x"]
    assert visible_text(root).strip("\ufeff\n") == "é"


def test_what_stands_behind_the_end_of_html_is_a_part_of_the_page() -> None:
    """Pages put together by programs end more than once."""
    root = tree("<html><body><p>1</p></body></html>\n2 <a href=/3>3</a></html><!-- --><html><body><p>4<a href=/5>")
    assert links(root, "http://h/") == ["http://h/3", "http://h/5"]
    assert visible_text(root).split() == ["1", "2", "3", "4"]


@pytest.mark.parametrize(
    ("page", "found"),
    [
        ("<frameset><frame src=/menu><frame src=/main></frameset>", ["/menu", "/main"]),
        ("<p><a href=/a>a</a><iframe src=/b></iframe><area href=/c>", ["/a", "/b", "/c"]),
        ("<iframe></iframe><iframe src=about:blank></iframe><frame src=javascript:1><a href=/a>", ["/a"]),
        ("<frameset><frame src=/m></frameset><noframes><body><a href=/x>x</a></body></noframes>", ["/m", "/x"]),
        ("<noframes><a href=/x>x</a></noframes><noframes><a href=/y>y</a></noframes>", ["/x", "/y"]),
        ("<noframes>" * 2_000, []),
        ("<svg><a xlink:href=/x>x</a><a href=/y xlink:href=/z>y</a></svg><a xlink:href=/no>z</a>", ["/x", "/y"]),
        ("<noscript><a href=/x>x</a></noscript>", ["/x"]),
        ("<template><a href=/x>x</a></template>", ["/x"]),
        ("<!-- <iframe src=/x> --><script>'<frame src=/y>'</script>", []),
    ],
)
def test_frames_are_links_and_so_is_what_stands_for_them(page: str, found: list[str]) -> None:
    assert links(tree(page), "http://h/") == [f"http://h{path}" for path in found]


@pytest.mark.parametrize(
    ("encoding", "href", "url"),
    [
        ("utf-8", "/да?q=да", "/%D0%B4%D0%B0?q=%D0%B4%D0%B0"),
        ("windows-1251", "/да?q=да#да", "/%D0%B4%D0%B0?q=%E4%E0"),
        ("windows-1251", "?a=1&amp;q=да+b%20c", "?a=1&q=%E4%E0+b%20c"),
        ("windows-1251", "?q=日&r=1", "?q=%26%2326085%3B&r=1"),
        ("windows-1251", "#?да", ""),
        ("windows-1252", "?n=é&euro=€", "?n=%E9&euro=%80"),
        ("shift_jis", "?q=ソ", "?q=%83\\"),
        ("gbk", "?q=中", "?q=%D6%D0"),
        ("big5", "?q=中", "?q=%A4%A4"),
        ("euc-jp", "?q=日", "?q=%C6%FC"),
        ("euc-kr", "?q=한", "?q=%C7%D1"),
        ("iso-2022-jp", "?q=日", "?q=%1B$BF|%1B(B"),
        ("koi8-r", "?q=да", "?q=%C4%C1"),
        ("utf-16le", "?q=é", "?q=%C3%A9"),
        ("replacement", "?q=é", "?q=%C3%A9"),
        ("x-user-defined", "?q=\uf7e9", "?q=%E9"),
    ],
)
def test_the_query_of_a_link_is_in_the_encoding_of_its_page(encoding: str, href: str, url: str) -> None:
    """URL standard, "percent-encode after encoding"; the path is always in UTF-8."""
    root = tree(f"<base href=/d/><a href='{href}'>x</a><meta http-equiv=refresh content='0;{href}'>")
    how = Reading(encoding)
    base = "" if url.startswith("/") else "/d/"
    assert links(root, "http://h/p", how) == [f"http://h{base}{url}"]
    assert html.refresh(root, "http://h/p", how) == Refresh(0, f"http://h{base}{url}")


@pytest.mark.parametrize(
    ("html", "base"),
    [
        ("<p>", "http://h/d/p"),
        ("<base href=/x/>", "http://h/x/"),
        ("<base href=x>", "http://h/d/x"),
        ("<base href=//other/y>", "http://other/y"),
        ("<base target=_top><base href=/x/><base href=/y/>", "http://h/x/"),
        ("<base href=''>", "http://h/d/p"),
        ("<base href='http://['><base href=/y/>", "http://h/d/p"),
        ("<base href='javascript:1'>", "http://h/d/p"),
        ("<base href='data:,x'>", "http://h/d/p"),
        ("<body><p><base href=/x/>", "http://h/x/"),
    ],
)
def test_the_first_base_counts(html: str, base: str) -> None:
    assert meta(html).base == base
    assert links(tree(html + "<a href=z>z</a>"), "http://h/d/p") == [base[: base.rindex("/") + 1] + "z"]


@pytest.mark.parametrize(
    ("content", "target"),
    [
        ("0;url=/x", "http://h/x"),
        ("0; URL = '/x' junk", "http://h/x"),
        ('5;url="y"', "http://h/d/y"),
        ("0,/x", "http://h/x"),
        ("0 /x", "http://h/x"),
        ("1.9;url=/x", "http://h/x"),
        (";url=/x", "http://h/x"),
        ("5", None),
        ("0;", None),
        ("0;url=", None),
        ("soon;url=/x", None),
        ("0;url=javascript:1", None),
        ("0/x", None),
    ],
)
def test_refresh(content: str, target: str | None) -> None:
    root = etree.Element("html")
    etree.SubElement(root, "meta", {"http-equiv": "Refresh", "content": content})
    said = page_meta(root, "http://h/d/p").refresh
    assert (said.url if said else None) == target
    assert html.refresh(root, "http://h/d/p") == said


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("0;url=/x", 0), ("5.9;/x", 5), (";url=/x", 0), ("60;/x", 60), ("9" * 5_000 + ";/x", 999_999_999)],
)
def test_a_refresh_has_its_time(value: str, seconds: int) -> None:
    assert html.refresh_of(value, "http://h/") == Refresh(seconds, "http://h/x")


def test_a_refresh_for_readers_without_scripts_is_not_followed() -> None:
    assert meta("<noscript><meta http-equiv=refresh content='0;/x'></noscript>").refresh is None


@pytest.mark.parametrize(
    ("html", "field", "value"),
    [
        ("<title> a\n b </title><title>c</title>", "title", "a b"),
        ("<title></title>", "title", ""),
        ("<svg><title>icon</title></svg><p>x", "title", ""),
        ("<body><svg><g><title>icon</title></g></svg><title>late</title>", "title", "late"),
        ("<template><title>x</title></template>", "title", ""),
        ("<title>a &amp; <b>b</b></title>", "title", "a & <b>b</b>"),
        ("<meta name=Description content=' x  y '>", "description", "x y"),
        ("<meta name=description>", "description", ""),
        ("<html lang=pt-BR>", "language", "pt-BR"),
        ("<html xml:lang=de>", "language", "de"),
        ("<meta http-equiv=content-language content='fr, en'>", "language", "fr"),
        ("<link rel='x CANONICAL' href=/x#y>", "canonical", "http://h/x"),
        ("<base href=/b/><link rel=canonical href=x>", "canonical", "http://h/b/x"),
        ("<link rel=canonical>", "canonical", None),
        ("<link rel=canonical href=''>", "canonical", None),
        ("<link rel=canonical href='http://['>", "canonical", None),
        ("<link rel=canonical href=mailto:x>", "canonical", None),
        ("<meta name=ROBOTS content='NoIndex , ,nofollow'>", "robots", {"noindex", "nofollow"}),
        ("<meta name=robots content=noindex><meta name=robots content=none>", "robots", {"noindex", "none"}),
        ("<meta name=googlebot content=noindex>", "robots", set()),
    ],
)
def test_page_meta(html: str, field: str, value: object) -> None:
    assert getattr(meta(html), field) == value


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>a<p>b", "a\nb"),
        ("a<br>b<br/>c", "a\nb\nc"),
        ("<b>a</b><i>b</i> c", "ab c"),
        ("<div>a<div>b</div>c</div>d", "a\nb\nc\nd"),
        ("a \n\t b\xa0 c", "a b c"),
        ("<ul><li>a<li>b</ul>", "a\nb"),
        ("<table><tr><td>a<td>b</table>", "a\nb"),
        ("<head><title>t</title></head><body>a", "a"),
        ("a<script>x</script>b<style>y</style>c", "abc"),
        ("a<noscript>x</noscript><template>y<p>z</template>b", "ab"),
        ("a<!-- x -->b<?y z?>c", "abc"),
        ("a&lt;b&amp;&nbsp;&copy;", "a<b& ©"),
        ("<frameset><frame src=a><noframes><p>x</noframes></frameset>", ""),
    ],
)
def test_visible_text(html: str, text: str) -> None:
    assert visible_text(tree(html)) == text


def meta_of(root: etree._Element, how: Reading) -> PageMeta:
    return page_meta(root, "http://h/", how)


def robots_of(root: etree._Element, how: Reading) -> list[str]:
    return html.robots_metas(root, {"robots"}, how)


def links_of(root: etree._Element, how: Reading) -> list[str]:
    return links(root, "http://h/", how)


class TestHostile:
    """Results are bounded, and come back: the suite's time-out is the judge of time."""

    @pytest.mark.parametrize(
        "deep",
        [
            "<div>" * 100_000,
            "<font>" * 3_000,
            "<b>" * 300_000 + "</i>" * 300_000,
            ("<b>" * 200 + "<table><tr><td>") * 1_000,
            "<!--" + "<b>" * 300 + "-->" + "<b>" * 3_000,
            "<script>" + "<b>" * 300 + "</script>" + "<font>" * 3_000,
        ],
    )
    def test_what_is_nested_deep_is_read(self, deep: str) -> None:
        told: dict[str, str] = {}
        root = parse(f"<title>t</title><a href=/x>x</a>{deep}<a href=/deep>y</a>", Reading(cut=told.__setitem__))
        assert root is not None
        assert page_meta(root, "http://h/").title == "t"
        assert links(root, "http://h/") == ["http://h/x", "http://h/deep"]
        assert visible_text(root).split() == ["x", "y"]
        assert not told

    def test_what_is_nested_deep_below_noframes_is_read(self) -> None:
        told: dict[str, str] = {}
        deep = "<div>" * 400 + "<a href=/deep>x</a>" + "</div>" * 400 + "<a href=/behind>y</a>"
        root = parse(f"<frameset></frameset><noframes>{deep}</noframes>", Reading(cut=told.__setitem__))
        assert root is not None
        assert links(root, "http://h/") == ["http://h/deep", "http://h/behind"]
        assert not told

    @pytest.mark.parametrize("around", ["{}", "<frameset></frameset><noframes>{}</noframes>"])
    def test_a_page_that_can_be_read_in_no_way_says_so(self, around: str) -> None:
        """The parser ignores an end tag of a lower rank, so the depth is not what it seems."""
        told: dict[str, str] = {}
        page = around.format("<b><div></b>" * 3_000 + "<a href=/deep>y</a>")
        root = parse(page, Reading(cut=told.__setitem__))
        assert root is not None
        assert links(root, "http://h/") == ["http://h/deep"] or "nesting" in told

    def test_unclosed_tags_of_old_pages_keep_their_nesting(self) -> None:
        root = tree("<font>x<br>" * 1_000 + "<a href=/end>end</a>")
        assert len([*next(root.iter("a")).iterancestors()]) > 1_000
        assert visible_text(root).endswith("x\nend")

    def test_a_long_deep_page_is_read_in_time(self) -> None:
        """Ten million bytes of this took nine seconds at a depth of 2,048."""
        root = tree("<a href=/x>x</a>" + "<b>" * 2_000 + "</i>" * 600_000 + "<a href=/deep>y</a>")
        assert links(root, "http://h/") == ["http://h/x", "http://h/deep"]

    def test_many_metas_below_noscript(self) -> None:
        root = tree("<noscript>" * 1_900 + "<meta http-equiv=refresh content=0;/x>" * 40_000)
        assert page_meta(root, "http://h/").refresh is None

    def test_a_long_attribute(self) -> None:
        root = tree(f"<p title='{'x' * 10_000_000}'>a</p><a href=/y>b</a>")
        assert links(root, "http://h/") == ["http://h/y"]
        assert visible_text(root) == "a\nb"

    def test_a_long_href_is_no_link(self) -> None:
        assert links(tree(f"<a href='{'x' * 10_000_000}'>a</a><a href=/y>"), "http://h/") == ["http://h/y"]

    @pytest.mark.parametrize(
        ("page", "word", "read"),
        [
            ("<p>" + "x " * 60, "text", visible_text),
            (f"<title>{'x' * 99}", "meta", meta_of),
            (f"<meta name=description content={'y' * 99}>", "meta", meta_of),
            (f"<meta name=robots content={'y' * 99}>", "meta", robots_of),
            ("<a href=1></a>" * 3 + "<a href=2><a href=3>", "links", links_of),
            (f"<a href='{'x' * 9_000}'>", "long_urls", links_of),
            (f"<a href='http://h/{'é' * 9_000}'>", "long_urls", links_of),
        ],
    )
    def test_what_a_bound_cuts_off_is_told(
        self, page: str, word: str, read: Callable[[etree._Element, Reading], object]
    ) -> None:
        told: dict[str, str] = {}
        read(tree(page), Reading("utf-8", ParseLimits(links=2, text=100, meta=10), told.__setitem__))
        assert list(told) == [word]

    @pytest.mark.parametrize("begin", ["<p>", "<P>"], ids=["scanned", "parsed"])
    def test_all_links_of_a_long_list_are_taken(self, begin: str) -> None:
        body = begin + "".join(f"<a href=/{number}>x</a>" for number in range(12_000))
        page = Response("http://h/", headers={"content-type": "text/html"}, body=body.encode())
        assert len(page.links) == 12_000
        assert not page.cut

    def test_a_page_within_the_bounds_tells_nothing(self) -> None:
        told: dict[str, str] = {}
        how = Reading("utf-8", ParseLimits(links=2, text=3, meta=1), told.__setitem__)
        root = tree("<title>t</title>x<a href=1>y</a><a href=2></a>z")
        assert (links(root, "http://h/", how), visible_text(root, how)) == (["http://h/1", "http://h/2"], "xyz")
        assert page_meta(root, "http://h/", how).title == "t"
        assert not told

    def test_a_long_base_does_not_multiply(self) -> None:
        """A hundred thousand links below a base of 8 KB would take 800 MB."""
        told: dict[str, str] = {}
        root = tree(f"<base href=/{'b' * 8_000}/>" + "".join(f"<a href={number}>" for number in range(20_000)))
        found = links(root, "http://h/", Reading(cut=told.__setitem__))
        assert 81_000_000 > sum(map(len, found)) > 70_000_000
        assert list(told) == ["links"]

    @pytest.mark.parametrize("quote", ["", "'", '"'])
    def test_many_attributes_are_cut(self, quote: str) -> None:
        """Two hundred thousand attributes took the parser two minutes."""
        many = " ".join(f"a{number}={quote}1{quote}" for number in range(200_000))
        told: dict[str, str] = {}
        root = parse(f"<p {many}>x</p><a href=/y>y</a>", Reading(cut=told.__setitem__))
        assert root is not None
        assert len(root.xpath("//p")[0].attrib) <= ParseLimits().attributes
        assert list(told) == ["attributes"]
        assert links(root, "http://h/") == ["http://h/y"]

    def test_tags_of_a_long_page_keep_their_attributes(self) -> None:
        tag = "<a title='a > b' data=\"x='y' <z>\" href=/y>y</a>"
        assert links(tree("<p>" + "x" * 70_000 + tag), "http://h/") == ["http://h/y"]

    def test_unclosed_quotes(self) -> None:
        for text in ("<a href='x" * 20_000, "<a b=" * 30_000, "<a " + "'" * 100_000, "<" * 100_000):
            parse(text)


# What a tag is, said plainly; the parser's expression passes by short ones.
TAG = re.compile(r"""<[A-Za-z](?:[^>=]|=\s*(?:"[^"]*(?:"|\Z)|'[^']*(?:'|\Z))?)*+""")
PARTS = ["<a", "<", ">", "=", '"', "'", " ", "\n", "/", "x", " y=", '="z"', " q" * 40, " r=1" * 120, " s" * 600]


@settings(deadline=None)
@given(st.lists(st.sampled_from(PARTS)))
@example(["<a", *['="z"'] * 4, " s" * 600, ">"])
@example(["<a", ' t="' + "u" * 198 + '"', " q" * 40, ">"])
@example(["<a", '="', ">" * 2_000, '"', " s" * 600, ">"])
def test_tags_that_are_passed_by_are_short(parts: list[str]) -> None:
    """Whatever a page is made of, the attributes of the same tags are cut, at the same indexes."""
    text = "".join(parts)
    shorten = partial(page_tree._cut_off, ParseLimits().attributes)
    assert page_tree._TAG.sub(shorten, text) == TAG.sub(shorten, text)


PIECES = """
< > </ /> <a href= <!-- --> <p> </p> <base href= = ' " x \0 \ud800 & ; é </html> <html> <svg> <?xml ?> <![CDATA[
&#xD800; &#0; <!DOCTYPE <title> <meta http-equiv=refresh content=0;url= name=robots content= <link rel=canonical
[::1 xn-- // % <frameset> a:b
"""


@settings(deadline=None)
@given(st.lists(st.sampled_from([*PIECES.split(), " "])))
def test_no_markup_raises(pieces: list[str]) -> None:
    root = parse("".join(pieces))
    if root is not None:
        page_meta(root, "http://h/")
        links(root, "http://h/")
        html.links_not_to_follow(root, "http://h/")
        html.robots_metas(root, {"robots"})
        assert "\0" not in visible_text(root)


# ---------------------------------------------------------------------------------------------------------
# Which pages are parsed at all


def _piled(shape: str, size: int = 1_100_000) -> bytes:
    return (shape * (size // len(shape))).encode()


@pytest.mark.parametrize(
    "shape",
    [
        "<p>",
        "<li>x",
        "<br/>",
        "<b><!----></b>",
        '<a href="/a">x</a>',
        "<p {}>".format(" ".join(f"a{n}=1" for n in range(90))),
        "<p {}>".format(" ".join(f"a{n}" for n in range(90))),
        "<p/{}>".format("/".join(f"a{n}" for n in range(90))),
        "<p\n{}\n>".format("\n".join(f'a{n}="1 2 3"' for n in range(90))),
    ],
)
def test_the_nodes_of_a_page_are_counted_as_the_parser_makes_them(shape: str) -> None:
    body = _piled(shape)
    root = parse(body.decode())
    assert root is not None
    made = sum(1 + len(element.attrib) for element in root.iter())
    with pytest.raises(PageTooLarge, match=r"PARSE_MAXNODES") as refused:
        page_tree.check_size(body, ParseLimits(nodes=int(made * 0.8)))
    assert refused.value.reason == "parse_maxnodes"


@pytest.mark.parametrize(
    "page",
    [
        _piled("lorem ipsum dolor "),
        b"<script>" + _piled("if (a < b) { c = d / e; } "),
        _piled("<"),
        _piled("&amp; "),
        _piled('<p title="one two three four five six seven eight" class="a b c d">some words</p>'),
    ],
    ids=["words", "script", "directives", "references", "paragraphs"],
)
def test_what_makes_no_nodes_is_not_counted(page: bytes) -> None:
    page_tree.check_size(page, ParseLimits(nodes=len(page) // 18))


def test_a_page_beyond_the_bytes_is_refused_whatever_is_in_it() -> None:
    page_tree.check_size(b"x" * 100, ParseLimits(size=100))
    with pytest.raises(PageTooLarge, match=r"101 bytes of HTML; at most 100 are parsed \(PARSE_MAXSIZE\)") as refused:
        page_tree.check_size(b"x" * 101, ParseLimits(size=100))
    assert refused.value.reason == "parse_maxsize"
