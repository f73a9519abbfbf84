"""A shop's catalogue: lists with pagination, each entry leading to the page of one product."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from parsel import Selector

from crawler import DropItem, Request, Response, Spider

NEXT = "li.next a, a[rel~=next], link[rel~=next]"


class Catalogue(Spider):
    """Product pages behind paginated lists: name, price, availability, rating, properties."""

    name = "catalogue"
    stay_on_seeded_hosts = True

    def parse(self, response: Response) -> Iterator[Request]:
        """A list: its products first (they are what we came for), then its next page."""
        yield from response.follow_all(css=".product h3 a, .product a.name", callback=self.parse_product, priority=1)
        yield from response.follow_all(css=NEXT)

    def parse_product(self, response: Response) -> Iterator[dict[str, Any]]:
        """The page of one product."""
        product = next(iter(response.css("article.product, [itemtype$=Product]")), response.selector)
        yield {
            "url": response.url,
            "name": product.css("h1::text").get("").strip(),
            **price(product.css(".price::text").get("")),
            "available": stock(product.css(".availability").xpath("string()").get("")),
            "category": response.css(".breadcrumb li a::text").getall()[-1:],
            "description": " ".join(product.css(".description").xpath("string()").get("").split()),
            "properties": dict(properties(product)),
        }

    def process_item(self, item: dict[str, Any]) -> dict[str, Any]:
        """A page without name or price is no product page."""
        if not item["name"] or item["price"] is None:
            raise DropItem("no_product")
        return item


def price(text: str) -> dict[str, Any]:
    """`£1,234.50` → amount and currency sign; no amount: None."""
    found = re.search(r"([^\d\s.,-]*)\s*(\d[\d,]*(?:\.\d+)?)\s*([^\d\s.,]*)", text)
    if not found:
        return {"price": None, "currency": ""}
    return {"price": float(found[2].replace(",", "")), "currency": found[1] or found[3]}


def stock(text: str) -> int:
    """`In stock (22 available)` → 22; in stock without a number: 1; anything else: 0."""
    if "in stock" not in text.lower():
        return 0
    number = re.search(r"\d+", text)
    return int(number[0]) if number else 1


def properties(product: Selector) -> Iterator[tuple[str, str]]:
    """The rows of its table."""
    for row in product.css("table tr"):
        yield row.css("th::text").get("").strip(), row.css("td::text").get("").strip()
