"""The spiders that are shipped: a saved page in, items and requests out."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from crawler.spiders.builtin.site import Site
from crawler.testing import run_spider
from spiders.catalogue import Catalogue, price, stock
from spiders.docs import Docs

PAGES = Path(__file__).parents[3] / "pages"


def test_site_gives_one_item_a_page() -> None:
    url = "http://example.com/cafes?x=1"
    result = run_spider(Site, PAGES / "site.html", url, depth=3)
    [item] = result.items
    fetched_at = datetime.strptime(item.pop("fetched_at"), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert abs((datetime.now(UTC) - fetched_at).total_seconds()) < 10
    assert "Open all day." in item["text"]
    assert "not text" not in item.pop("text")
    assert item == {
        "url": url,
        "status": 200,
        "title": "Café guide",
        "description": "Where to drink.",
        "language": "en-GB",
        "links": [
            "http://example.com/guide/north.html",
            "http://example.com/south",
            "http://other.example/",
            "http://example.com/guide/map.png",
            "http://example.com/guide/menu.PDF?lang=en",
            "http://example.com/guide/?page=2",
        ],
        "depth": 3,
    }


def test_site_follows_what_may_be_a_page() -> None:
    assert run_spider(Site, PAGES / "site.html", "http://example.com/cafes").urls == [
        "http://example.com/guide/north.html",
        "http://example.com/south",
        "http://other.example/",
        "http://example.com/guide/?page=2",
    ]


@pytest.mark.parametrize("kind", ["image/png", "application/pdf", "application/json", "text/plain; charset=utf-8"])
def test_site_counts_what_is_no_page(kind: str) -> None:
    found = run_spider(Site, b"\x89PNG <a href=x>", headers={"content-type": kind})
    assert (found.items, found.requests, found.dropped) == ([], [], {"no_page": 1})


def test_site_makes_an_item_of_an_empty_page() -> None:
    [item] = run_spider(Site, "").items
    assert (item["title"], item["text"], item["links"]) == ("", "", [])


def test_docs_gives_headings_sections_and_code() -> None:
    [item] = run_spider(Docs, PAGES / "docs.html", "http://example.com/queues.html").items
    assert item["title"] == "Queues"
    assert item["headings"] == [
        {"level": 1, "title": "Queues", "anchor": "queues"},
        {"level": 2, "title": "Real lists", "anchor": "lists"},
        {"level": 2, "title": "Old anchors", "anchor": "old"},
    ]
    assert item["sections"] == [
        {"title": "Queues", "anchor": "queues", "text": "A queue keeps order. It has two ends."},
        {"title": "Real lists", "anchor": "lists", "text": "One can look at them: LRANGE. left right"},
        {"title": "Old anchors", "anchor": "old", "text": "Still found."},
    ]
    assert item["code"] == [
        {"language": "python", "text": "queue = deque()\nqueue.append(1)"},
        {"language": "sh", "text": "redis-cli lrange pending 0 -1"},
    ]


def test_docs_follows_pages_only() -> None:
    assert run_spider(Docs, PAGES / "docs.html", "http://example.com/queues.html").urls == [
        "http://example.com/index.html",
        "http://example.com/queues.html",
        "http://example.com/next.html",
    ]


@pytest.mark.parametrize("page", ["", "<p>no heading", "<title>x</title>"])
def test_docs_makes_no_item_of_a_page_without_headings(page: str) -> None:
    assert run_spider(Docs, page).items == []


def test_catalogue_asks_for_products_before_the_next_list() -> None:
    result = run_spider(Catalogue, PAGES / "catalogue_list.html", "http://example.com/teapots/page-2.html")
    assert [(request.url, request.callback, request.priority) for request in result.requests] == [
        ("http://example.com/pot/1.html", "parse_product", 1),
        ("http://example.com/pot/2.html", "parse_product", 1),
        ("http://example.com/pot/3.html", "parse_product", 1),
        ("http://example.com/teapots/page-3.html", "parse", 0),
    ]


def test_catalogue_ends_with_the_last_list() -> None:
    assert run_spider(Catalogue, "<li class=previous><a href=1>back</a>").requests == []


def test_catalogue_reads_a_product() -> None:
    result = run_spider(Catalogue, PAGES / "catalogue_product.html", "http://example.com/pot/2.html", "parse_product")
    assert result.items == [
        {
            "url": "http://example.com/pot/2.html",
            "name": "Iron pot",
            "price": 1150.0,
            "currency": "£",
            "available": 22,
            "category": ["Teapots"],
            "description": "Cast in one piece. Keeps warm.",
            "properties": {"Volume": "1.2 l", "Weight": "2.4 kg"},
        }
    ]


def test_catalogue_drops_what_is_no_product() -> None:
    assert run_spider(Catalogue, "<h1>Gone</h1>", callback="parse_product").dropped == {"no_product": 1}


@pytest.mark.parametrize(
    ("text", "amount", "currency"),
    [
        ("£51.77", 51.77, "£"),
        ("£1,234.50", 1234.5, "£"),
        ("12 €", 12.0, "€"),
        ("from USD 7", 7.0, "USD"),
        ("call us", None, ""),
        ("", None, ""),
    ],
)
def test_prices(text: str, amount: float | None, currency: str) -> None:
    assert price(text) == {"price": amount, "currency": currency}


@pytest.mark.parametrize(
    ("text", "number"),
    [("In stock (22 available)", 22), (" in stock ", 1), ("Sold out", 0), ("", 0)],
)
def test_stock(text: str, number: int) -> None:
    assert stock(text) == number
