"""The entries of sitemaps, which a filter of the spider chooses among."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from crawler.parsing.sitemap import parse
from crawler.parsing.sitemap_entries import Entry
from tests.unit.parsing.test_sitemap import ONE, URL, numbered, urlset


def entries(body: bytes) -> list[Entry]:
    """What a filter gets to see."""
    seen: list[Entry] = []

    def choose(some: Iterable[Entry]) -> Iterable[Entry]:
        seen.extend(some)
        return some

    parse(body, URL, choose)
    return seen


MORE = (
    "<lastmod> 2024-05-01\n</lastmod><loc>/1</loc><priority>0.5</priority>"
    '<xhtml:link rel="alternate" hreflang="de" href="/de/1"/><xhtml:link rel="alternate" hreflang="fr" href="/fr/1"/>'
    "<image:image><image:loc>/1.png</image:loc></image:image>"
)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (urlset(MORE), {"loc": "/1", "lastmod": "2024-05-01", "priority": "0.5", "alternate": ["/de/1", "/fr/1"]}),
        (b"<sitemapindex><sitemap><loc>/s</loc><lastmod>x</lastmod>", {"loc": "/s", "lastmod": "x"}),
        (b"<rss><item><link>/1</link><pubDate>x</pubDate></item></rss>", {"loc": "/1", "pubDate": "x"}),
        (b'<feed><entry><updated>x</updated><link href="/1"/></entry></feed>', {"loc": "/1", "updated": "x"}),
        (b"http://a.example/1\n", {"loc": ONE}),
    ],
    ids=["pages", "index-cut-off", "rss", "atom", "text"],
)
def test_a_filter_sees_what_stands_beside_a_url(body: bytes, expected: Entry) -> None:
    (entry,) = entries(body)
    assert entry.items() >= expected.items()


def test_a_filter_decides_what_is_taken_and_what_is_left_out_is_counted() -> None:
    body = urlset("<loc>/1</loc><lastmod>2024</lastmod>", "<loc>/2</loc>", "<loc>/3</loc><lastmod>2025</lastmod>")
    found = parse(body, URL, lambda some: [entry for entry in some if entry.get("lastmod", "") >= "2025"])
    assert (found.pages, found.unchosen) == (["http://a.example/3"], 2)


def test_an_index_is_filtered_too() -> None:
    found = parse(b"<sitemapindex><sitemap><loc>/s</loc></sitemap></sitemapindex>", URL, lambda some: ())
    assert (found.sitemaps, found.unchosen) == ([], 1)


def test_alternate_links_are_taken_when_asked_for() -> None:
    assert parse(urlset(MORE), URL).pages == [ONE]
    assert parse(urlset(MORE), URL, alternates=True).pages == [ONE, "http://a.example/de/1", "http://a.example/fr/1"]


@pytest.mark.parametrize("body", [numbered(3), urlset(MORE, "<loc>/2</loc><loc>/3</loc>"), b"junk", b"<urlset><url>"])
def test_a_filter_that_takes_all_changes_nothing(body: bytes) -> None:
    assert parse(body, URL, lambda some: some) == parse(body, URL)
