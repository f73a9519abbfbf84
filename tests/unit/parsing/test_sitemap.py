"""Sitemaps as sites write them, and as those write them who mean harm."""

from __future__ import annotations

import gzip
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.parsing.sitemap import Choose, Sitemap, is_sitemap, parse

URL = "http://a.example/maps/sitemap.xml"
HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9" '
    'xmlns:image="http://www.google.com/schemas/sitemap-image/1.1" xmlns:xhtml="http://www.w3.org/1999/xhtml">'
)


packed = partial(gzip.compress, mtime=0)  # without the time, so that a test has the same name in every run


def urlset(*entries: str) -> bytes:
    """A sitemap of these `url` elements."""
    return f"{HEAD}{''.join(f'<url>{entry}</url>' for entry in entries)}</urlset>".encode()


def numbered(count: int) -> bytes:
    """A sitemap of that many pages, with all that is usual."""
    return urlset(
        *(
            f"<loc>http://a.example/{number}</loc><lastmod>2024-05-01</lastmod><priority>0.5</priority>"
            f"<image:image><image:loc>http://a.example/{number}.png</image:loc></image:image>"
            for number in range(count)
        )
    )


ONE = "http://a.example/1"
TWO = "http://a.example/2?x=1&y=2"


@pytest.mark.parametrize(
    ("body", "pages"),
    [
        (urlset(f"<loc>{ONE}</loc>"), [ONE]),
        (
            urlset(f"<loc>\n  {ONE}\n</loc><lastmod>2024</lastmod>", f"<loc>{TWO.replace('&', '&amp;')}</loc>"),
            [ONE, TWO],
        ),
        (urlset(f"<loc><![CDATA[{TWO}]]></loc>"), [TWO]),
        (urlset(f"<loc>{TWO}</loc>"), [TWO]),  # an ampersand that should have been escaped
        (urlset("<loc>/1</loc>", "<loc>../2?x=1</loc>"), [ONE, "http://a.example/2?x=1"]),
        (urlset(f"<loc>{ONE}</loc>", f"<loc>{ONE}#part</loc>"), [ONE]),
        (urlset(f"<loc>{ONE}</loc>", "<loc>mailto:me</loc>", "<loc></loc>", "<lastmod>2024</lastmod>"), [ONE]),
        (urlset(f"<image:image><image:loc>{TWO}</image:loc></image:image><loc>{ONE}</loc>"), [ONE]),
        (urlset(f'<loc>{ONE}</loc><xhtml:link rel="alternate" href="{TWO}"/>'), [ONE]),
        (f"<urlset><url><loc>{ONE}</loc></url></urlset>".encode(), [ONE]),
        (f"<s:urlset xmlns:s='x'><s:url><s:loc>{ONE}</s:loc></s:url></s:urlset>".encode(), [ONE]),
        (f"\n  <urlset><url><loc>{ONE}</loc></url></urlset>".encode(), [ONE]),
        (b"\xef\xbb\xbf" + urlset(f"<loc>{ONE}</loc>"), [ONE]),
        (urlset(f"<loc>{ONE}</loc>").decode().replace("UTF-8", "UTF-16").encode("utf-16"), [ONE]),
        (urlset("<loc>/caf\u00e9</loc>"), ["http://a.example/caf%C3%A9"]),
        (
            urlset("<loc>/caf\u00e9</loc>").decode().replace("UTF-8", "ISO-8859-1").encode("latin-1"),
            ["http://a.example/caf%C3%A9"],
        ),
        # what comes before a fault is taken, and mostly what comes after it
        (urlset(f"<loc>{ONE}</loc>", f"<loc>{ONE}2</loc>")[:-30], [ONE]),
        (urlset(f"<loc>{ONE}</loc></wrong>"), [ONE]),
        (
            urlset(f"<loc>{ONE}</loc>").replace(b"</url>", b"</url></wrong></urlset>" + b"<url><loc>/2</loc></url>"),
            [ONE, "http://a.example/2"],
        ),
        (urlset("<loc>/0</url>", f"<loc>{ONE}</loc>"), ["http://a.example/0", ONE]),
        (urlset(f"<loc>{ONE}</loc>") + urlset("<loc>/2</loc>"), [ONE, "http://a.example/2"]),
        (
            packed(urlset(f"<loc>{ONE}</loc>")) + packed(urlset("<loc>/2</loc>")),
            [ONE, "http://a.example/2"],
        ),
        # what stands before the root element is passed over
        (b"<br />\n<b>Warning</b>: x in y.php\n" + urlset(f"<loc>{ONE}</loc>"), [ONE]),
        (b"Deprecated: <i>x</i> &amp; &nbsp; in y.php on line 3\n" + urlset(f"<loc>{ONE}</loc>"), [ONE]),
        (b"junk\n" * 9_000 + urlset(f"<loc>{ONE}</loc>"), [ONE]),
        (b"<!-- <urlset> --><!DOCTYPE urlset>" + urlset(f"<loc>{ONE}</loc>"), [ONE]),
        (f"<sm:urlset><sm:url><sm:loc>{ONE}</sm:loc></sm:url></sm:urlset>".encode(), [ONE]),  # no such prefix
        (f"Warning: x\n<urlset><url><loc>{ONE}</loc></url></urlset>".encode("utf-16"), [ONE]),
        # feeds
        (
            b'<!DOCTYPE rss PUBLIC "-//Netscape Communications//DTD RSS 0.91//EN" "http://127.0.0.1:9/rss-0.91.dtd">'
            b'<rss version="0.91"><channel><item><link>/1</link></item></channel></rss>',
            [ONE],
        ),
        (f"<rss><item><guid>{ONE}</guid></item><item><guid>tag:3</guid></item></rss>".encode(), [ONE]),
        (b'<rss><item><guid isPermaLink="true">/1</guid><title>x</title></item></rss>', [ONE]),
        (f'<rss><item><guid isPermaLink="false">3</guid><link>{ONE}</link></item></rss>'.encode(), [ONE]),
        (f"<rss><item><guid>http://a.example/g</guid><link>{ONE}</link></item></rss>".encode(), [ONE]),
        (f'<rss><item><a:link xmlns:a="x" rel="self" href="/self"/><guid>{ONE}</guid></item></rss>'.encode(), [ONE]),
        (b'<rss><item><a:link xmlns:a="x" href="/1"/><description>x</description></item></rss>', [ONE]),
        (f"<feed><entry><id>{ONE}</id></entry><entry><id>urn:uuid:1</id></entry></feed>".encode(), [ONE]),
        (
            b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/">'
            b'<item rdf:about="http://a.example/1"><title>x</title></item></rdf:RDF>',
            [ONE],
        ),
        (b'<feed xml:base="http://a.example/x/"><entry><link href="../1"/></entry></feed>', [ONE]),
        (
            b'<feed xml:base="/x/"><entry xml:base="y/"><link href="1"/></entry>'
            b'<entry><link href="../1"/></entry></feed>',
            ["http://a.example/x/y/1", ONE],
        ),
        (b'<rss xml:base="http://["><item><link>/1</link></item></rss>', [ONE]),
        (b'{"version": "https://jsonfeed.org/version/1.1", "items": [{"id": "3", "url": "/1"}, {"id": 4}]}', [ONE]),
        (b'\xef\xbb\xbf{"items": [{"url": null, "external_url": "/1"}, {"url": 7}], "next_url": null}', [ONE]),
        (f"<rss><channel><link>{TWO}</link><item><link>{ONE}</link></item></channel></rss>".encode(), [ONE]),
        (b'<feed><link href="/0"/><entry><link href="/1"/><link rel="edit" href="/3"/></entry></feed>', [ONE]),
        # plain text
        (f"{ONE}\r\n {TWO}\nnot a URL\nSee {ONE}3\n/3\n".encode(), [ONE, TWO]),
        (f"{ONE}\r\tHTTP://a.example/2?x=1&y=2\r".encode(), [ONE, TWO]),
        (b"\xef\xbb\xbf" + ONE.encode(), [ONE]),
        # compressed, whatever its name and content type say
        (packed(urlset(f"<loc>{ONE}</loc>")), [ONE]),
        (packed(ONE.encode()) + packed(f"\n{TWO}".encode()), [ONE, TWO]),
        (packed(ONE.encode()) + b"garbage", [ONE]),
        (packed(packed(urlset(f"<loc>{ONE}</loc>"))), [ONE]),
        # garbage
        (b"", []),
        (b"\0" * 5_000, []),
        (b"<", []),
        (b"<!DOCTYPE html><html><body><a href='/1'>1</a>", []),
        (b"<html><head><title>Not here</title></head></html>", []),
        (b"\x1f\x8bnonsense", []),
        (b"Not found", []),
        (bytes(range(256)) * 50, []),
    ],
)
def test_pages(body: bytes, pages: list[str]) -> None:
    assert parse(body, URL)[:2] == (pages, [])


JUNK = [
    *(
        b"&#xD800;",
        b"&#55296;",
        b"&#0;",
        b"&#x1;",
        b"&#xFFFE;",
        b"&#x110000;",
        b"&#9999999999999;",
        b"&#x;",
        b"&#xD800",
    ),
    *(
        b"&",
        b"&&amp;",
        b"&nbsp;",
        b"a < b",
        b"<5",
        b"\0",
        b"\x01",
        b"\x1f",
        b"\xff",
        b"\xe9t\xe9",
        b"\xed\xa0\x80",
        b"]]>",
    ),
]


@pytest.mark.parametrize("junk", JUNK, ids=repr)
@pytest.mark.parametrize("place", ["<url><loc>/%s</loc></url>", "<url><x>%s</x></url>", "<url x='%s'/>", "%s"])
def test_a_bad_character_costs_at_most_its_own_entry(place: str, junk: bytes) -> None:
    head, tail = urlset(f"<loc>{ONE}</loc>", "<loc>/?3</loc>").split(b"<url><loc>/?3")
    found = parse(head + place.encode().replace(b"%s", junk) + b"<url><loc>/?3" + tail, URL)
    assert (found.pages[0], found.pages[-1]) == (ONE, "http://a.example/?3")


@given(st.binary(max_size=30).filter(lambda junk: b"<" not in junk) | st.lists(st.sampled_from(JUNK)).map(b"".join))
def test_nor_do_any_bytes_that_begin_no_tag(junk: bytes) -> None:
    test_a_bad_character_costs_at_most_its_own_entry("<url><loc>/%s</loc></url>", junk)


def test_a_character_is_read_and_what_is_none_is_marked() -> None:
    written = "/&#233;&#xE9;&#128512;&#x2F;&#xDFFF;&#x110000;&#0;"
    assert parse(urlset(f"<loc>{written}</loc>"), URL).pages == [
        "http://a.example/%C3%A9%C3%A9%F0%9F%98%80/%EF%BF%BD%EF%BF%BD%EF%BF%BD"
    ]


@pytest.mark.parametrize(
    "name", ["UTF-16", "utf8", "x-none", "", "ascii", "utf-7", "EBCDIC-CP-US", "UCS-4", "GBK", "UTF-32"]
)
def test_a_wrong_encoding_costs_no_pages(name: str) -> None:
    body = urlset(f"<loc>{ONE}</loc>", "<loc>/caf\u00e9</loc>", f"<loc>{ONE}?2</loc>")
    pages = parse(body.replace(b"UTF-8", name.encode()), URL).pages
    assert (len(pages), pages[0], pages[-1]) == (3, ONE, f"{ONE}?2")


@pytest.mark.parametrize("before", range(64_800, 65_300, 9))
def test_pieces_are_cut_where_nothing_is_lost(before: int) -> None:
    """Whatever stands where one ends."""
    entries = (
        f"<loc>{TWO}</loc>",
        f"<loc><![CDATA[{TWO}>&33333333]]></loc>",
        f"<loc>{TWO.replace('&', '&#38;')}4</loc>",
    )
    body = urlset(*entries).replace(b"<url>", b"<!--" + b"x" * before + b"--><url>", 1)
    assert parse(body, URL).pages == [TWO, f"{TWO}%3E&33333333", f"{TWO}4"]


def test_an_index_lists_sitemaps() -> None:
    body = (
        b"<sitemapindex xmlns='http://www.sitemaps.org/schemas/sitemap/0.9'>"
        b"<sitemap><loc>http://a.example/s1.xml.gz</loc><lastmod>2024</lastmod></sitemap>"
        b"<sitemap><loc>s2.xml</loc></sitemap><sitemap><loc>ftp://a.example/</loc></sitemap></sitemapindex>"
    )
    assert parse(body, URL) == Sitemap([], ["http://a.example/s1.xml.gz", "http://a.example/maps/s2.xml"], 1)


def laughs(end: str) -> bytes:
    """Ten entities, each ten times the one before."""
    entities = "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(10))
    return f'<!DOCTYPE urlset [<!ENTITY a "aaaaaaaaaa">{entities}]>{end}'.encode()


@pytest.mark.parametrize(
    "body",
    [
        laughs("<urlset><url><loc>http://a.example/&k;</loc></url></urlset>"),
        laughs("<urlset x='&k;'><url><loc>http://a.example/</loc></url></urlset>"),
        b'<!DOCTYPE u [<!ENTITY f SYSTEM "file:///etc/passwd">]><urlset><url><loc>/&f;</loc></url></urlset>',
        b'<!DOCTYPE u SYSTEM "http://127.0.0.1:9/x.dtd"><urlset><url><loc>/1</loc></url></urlset>',
        b"<!DOCTYPE urlset><urlset><url><loc>/1</loc></url></urlset>",
    ],
)
def test_a_document_type_never_reaches_the_parser(body: bytes) -> None:
    """What it declares stays as it is written."""
    assert parse(body, URL).pages in ([ONE], ["http://a.example/"], ["http://a.example/&k;"], ["http://a.example/&f;"])


def test_a_document_type_behind_the_root_is_refused() -> None:
    body = b"<urlset><!DOCTYPE u [<!ENTITY f 'x'>]><url><loc>/&f;</loc></url></urlset>"
    assert parse(body, URL).pages in ([], ["http://a.example/&f;"])
    assert parse(b"<!DOCTYPE u [<!ENTITY f 'x'>]><other><url><loc>/&f;</loc></url></other>", URL) == Sitemap([], [], 0)


def test_a_json_feed_leads_to_its_next_page() -> None:
    body = b'\n{"items": [{"external_url": "http://b.example/"}], "next_url": "/feed?2"}'
    assert parse(body, URL)[:2] == (["http://b.example/"], ["http://a.example/feed?2"])
    assert parse(b'{"items": [', URL) == parse(b'{"items": 3}', URL) == parse(b'{"x": 1}', URL) == Sitemap([], [], 0)


@pytest.mark.parametrize(
    ("body", "is_one"),
    [
        (urlset(), True),
        (packed(urlset()), True),
        (b"<br>Warning\n<rss>", True),
        (b'<feed xmlns="http://www.w3.org/2005/Atom"/>', True),
        (urlset().decode().encode("utf-16"), True),
        (b"<html><p>&lt;urlset>", False),
        (b"<urlsets>", False),
        (b"%PDF", False),
        (b"\x1f\x8bnonsense", False),
        (b"", False),
    ],
)
def test_a_sitemap_is_known_by_its_root_element(body: bytes, is_one: bool) -> None:
    assert is_sitemap(body) is is_one


def test_no_entity_and_no_inclusion_is_resolved() -> None:
    body = urlset("<loc>http://a.example/&unknown;1</loc>")
    assert parse(body, URL).pages == ["http://a.example/&unknown;1"]
    include = b'<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="/etc/passwd" parse="text"/>'
    assert parse(b"<urlset><url><loc>/" + include + b"1</loc></url></urlset>", URL).pages == [ONE]


def test_an_entry_that_comes_twice_is_no_loss() -> None:
    body = urlset(*[f"<loc>{ONE}</loc>"] * 3, f"<loc>{ONE}#part</loc>", "<loc>mailto:me</loc>", "<loc>http://[</loc>")
    assert parse(body, URL) == Sitemap([ONE], [], 2)


@pytest.mark.parametrize("body", [urlset(f"<loc>/{'x' * 90_000}</loc>"), f"http://h/{'x' * 90_000}\n{ONE}".encode()])
def test_a_url_that_is_too_long_is_counted(body: bytes) -> None:
    assert parse(body, URL).left_out == 1


ITEM = f"<item><link>{ONE}</link></item>"
ATOM = f"<entry><link href='{ONE}'/></entry>"


@pytest.mark.parametrize(
    ("body", "without"),
    [
        (f"<urlset><url><loc>{ONE}</loc></url><url><lastmod>2024</lastmod></url><url><loc/></url></urlset>", 2),
        (f"<sitemapindex><sitemap/><sitemap><loc> </loc></sitemap></sitemapindex><url><loc>{ONE}</loc></url>", 2),
        (f"<rss><channel><image><url>/i.png</url></image>{ITEM}<item><title>x</title></item></channel></rss>", 1),
        (f"<rss><channel>{ITEM}<item><guid>urn:x</guid><link></link></item></channel></rss>", 1),
        (f"<feed>{ATOM}<entry><link rel='enclosure' href='/x'/><id>urn:x</id></entry></feed>", 1),
        (f"<rdf:RDF>{ITEM}<item/></rdf:RDF>", 1),
        (f'{{"items": [{{"url": "{ONE}"}}, {{"url": null}}, {{"external_url": " "}}]}}', 2),
        (f"{ONE}\n# a comment\n\n  \n/relative\nftp://a.example/\n", 2),
        ("# no list\n/relative\n", 0),
        ("<html><body><url>x</url><item>y</item></body></html>", 0),
    ],
)
@pytest.mark.parametrize("choose", [None, list])
def test_entries_without_a_url_are_counted(body: str, without: int, choose: Choose | None) -> None:
    found = parse(body.encode(), URL, choose)
    assert (found.pages, found.left_out) == ([ONE] if ONE in body else [], without)


TOKENS = """
<urlset> </urlset> <url> </url> <loc> </loc> <sitemap> <!DOCTYPE <![CDATA[ ]]> &amp; &x; http:// /1 é < > &#xD800;
&#0; <?xml?> <?xml\tencoding="utf-16"?>
"""
PIECES = st.lists(st.sampled_from([*TOKENS.split(), "\0", "\n"]), max_size=30).map(
    lambda pieces: "".join(pieces).encode()
)


@given(st.binary(max_size=300) | PIECES | PIECES.map(packed))
def test_no_body_raises(body: bytes) -> None:
    for url in (*(found := parse(body, URL)).pages, *found.sitemaps):
        assert url.startswith(("http://", "https://"))
