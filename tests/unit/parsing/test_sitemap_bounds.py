"""Sitemaps that are large, or that break off: what they cost, and what is told of them."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable

import pytest

from crawler.parsing.limits import ParseLimits, Reading
from crawler.parsing.sitemap import Choose, parse
from tests.unit.parsing.test_sitemap import ONE, URL, numbered, packed, urlset

LARGE: dict[str, tuple[Callable[[], bytes], int]] = {
    "60,000 pages": (lambda: numbered(60_000), ParseLimits().sitemap_urls),
    "60,000 lines": (lambda: b"".join(b"http://a.example/%d\n" % n for n in range(60_000)), ParseLimits().sitemap_urls),
    "the same page for ever": (lambda: b"http://a.example/1\n" * 2_500_000, 1),
    "nothing but elements": (lambda: b"<urlset>" + b"<a/>" * 5_000_000, 0),
    "elements in elements": (lambda: b"<a>" * 1_000_000, 0),
    "a URL without end": (lambda: b"<urlset><url><loc>" + b"x" * 20_000_000, 0),
    "attributes without end": (lambda: b"<urlset " + b"".join(b'a%d="" ' % n for n in range(200_000)), 0),
    "attributes that do not end": (lambda: b'<urlset><a b="' * 3_000_000, 0),
    "pages without a URL": (lambda: b"<urlset>" + b"<url><loc></loc></url>" * 1_000_000, 0),
    "CDATA without end": (lambda: b"<urlset>" + b"&<![CDATA[" * 2_000_000, 0),
    "CDATA": (lambda: b"<urlset>" + b"<![CDATA[&]]>" * 3_000_000, 0),
    "ampersands": (lambda: b"<urlset><url><loc>" + b"&" * 50_000_000, 0),
    "escaped ampersands": (lambda: b"<urlset><url><loc>" + b"&amp;" * 10_000_000, 0),
    "numbers of no characters": (lambda: b"<urlset>" + b"&#xD800;" * 5_000_000, 0),
    "tags that are none": (lambda: b"<urlset>" + b"< " * 25_000_000, 0),
    "instructions": (lambda: b"<urlset>" + b"<?" * 25_000_000, 0),
    "zero bytes": (lambda: b"<urlset>" + bytes(50_000_000), 0),
    "line ends": (lambda: b"\n" * 50_000_000, 0),
    "spaces": (lambda: b" " * 50_000_000, 0),
    "one line": (lambda: b"0" * 50_000_000, 0),
    "lines that are almost URLs": (lambda: b"http\n" * 10_000_000, 0),
    "a gzip of nothing, 100 MB": (lambda: packed(bytes(100_000_000), compresslevel=1), 0),
    "a gzip of gzips": (lambda: packed(b"") * 500_000, 0),
}


@pytest.fixture(scope="module")
def honest() -> float:
    """CPU seconds for as many pages as a sitemap may have."""
    body = numbered(ParseLimits().sitemap_urls)
    began = time.process_time()
    parse(body, URL)
    return time.process_time() - began


@pytest.mark.parametrize("name", LARGE)
def test_large_ones_are_bounded(name: str, honest: float) -> None:
    """Whatever it holds, it costs no more than twice what a long honest one costs. Figures: `pytest -s`."""
    make, count = LARGE[name]
    body = make()
    began = time.process_time()
    found = parse(body, URL)
    seconds = time.process_time() - began
    print(f"\n{name}: {len(body):,} bytes, {len(found.pages):,} pages in {seconds:.2f} s, {seconds / honest:.2f} ×")
    assert len(found.pages) == count
    assert seconds < 2 * honest


@pytest.mark.parametrize("choose", [None, list], ids=["urls", "entries"])
@pytest.mark.parametrize(
    ("body", "pages", "why"),
    [
        (b"<urlset>%s" + b" " * 200_000 + b"%s</urlset>", 2, ""),
        (b"<urlset>%s" + b"<a></a>" * 100_000 + b"%s</urlset>", 1, "SITEMAP_MAXURLS"),
        (b"<urlset>%s" + b" " * 800_000 + b"%s</urlset>", 1, "SITEMAP_MAXSIZE"),
        (b"http://a.example/0\n" + b" " * 800_000 + b"\nhttp://a.example/1%.0s%.0s", 1, "SITEMAP_MAXSIZE"),
        (b"http://a.example/0\n" * 3 + b"http://a.example/1\nhttp://a.example/2%.0s%.0s", 2, "SITEMAP_MAXURLS"),
    ],
)
def test_one_that_is_not_read_to_its_end_says_so(choose: Choose | None, body: bytes, pages: int, why: str) -> None:
    told: dict[str, str] = {}
    limits = ParseLimits(sitemap_size=800_000, sitemap_urls=2 if b"%.0s" in body else 50_000)
    how = Reading(limits=limits, cut=told.setdefault)
    first, last = (b"<url><loc>http://a.example/%d</loc></url>" % n for n in range(2))
    for written in (body % (first, last), packed(body % (first, last))):
        told.clear()
        assert len(parse(written, URL, choose, how=how).pages) == pages
        assert [*told][:1] == ["sitemap"] * bool(why)
        assert why in told.get("sitemap", "")


WHOLE = urlset(*(f"<loc>{ONE}?{number}</loc>" for number in range(5_000)))
PACKED = packed(WHOLE)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (WHOLE, ""),
        (PACKED, ""),
        (PACKED + b"garbage", ""),
        (WHOLE + b"\n<!-- made by x -->\n", ""),
        (WHOLE[:100_000], "XML"),
        (WHOLE[:-9], "XML"),  # its last tag
        (WHOLE[: WHOLE.rindex(b"<url>") + 2], "XML"),
        (WHOLE + b"<!-- made by x", "XML"),
        (PACKED[:9_000], "gzip"),
        (PACKED[:9_000] + b"x" * 90_000, "gzip"),
        (PACKED[:-4], "gzip"),
        (b"".join(packed(line + b"\n") for line in [ONE.encode()] * 21), "gzip"),
    ],
)
def test_one_that_breaks_off_says_so(body: bytes, why: str) -> None:
    told: dict[str, str] = {}
    assert parse(body, URL, how=Reading(cut=told.setdefault)).pages
    assert [*told][:1] == ["sitemap_end"] * bool(why)
    assert why in told.get("sitemap_end", "")


def test_no_tree_is_built() -> None:
    body = numbered(5_000)
    tracemalloc.start()
    parse(body, URL)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * len(body) + 5_000_000
