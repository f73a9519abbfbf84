"""A shop's catalogue: paginated lists whose entries link to product pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from parsel import Selector

from crawler import DropItem, Request, Response, Spider

NEXT = "li.next a, a[rel~=next], link[rel~=next]"


class Catalogue(Spider):
    """Product pages linked from paginated lists: name, price, availability, category, description, properties."""

    name = "catalogue"
    stay_on_seeded_hosts = True

    def parse(self, response: Response) -> Iterator[Request]:
        """Follow a list's products first, because only they give items, then its next page."""
        yield from response.follow_all(css=".product h3 a, .product a.name", callback=self.parse_product, priority=1)
        yield from response.follow_all(css=NEXT)

    def parse_product(self, response: Response) -> Iterator[dict[str, Any]]:
        """Yield the item of one product page."""
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
        """Drop a page without name or price: it is not a product page."""
        if not item["name"] or item["price"] is None:
            raise DropItem("no_product")
        return item


def price(text: str) -> dict[str, Any]:
    """Parse `£1,234.50` into amount and currency sign; the amount is None if there is none."""
    found = re.search(r"([^\d\s.,-]*)\s*(\d[\d,]*(?:\.\d+)?)\s*([^\d\s.,]*)", text)
    if not found:
        return {"price": None, "currency": ""}
    return {"price": float(found[2].replace(",", "")), "currency": found[1] or found[3]}


def stock(text: str) -> int:
    """Return 22 for `In stock (22 available)`, 1 for in stock without a number, 0 for anything else."""
    if "in stock" not in text.lower():
        return 0
    number = re.search(r"\d+", text)
    return int(number[0]) if number else 1


def properties(product: Selector) -> Iterator[tuple[str, str]]:
    """Yield the rows of the product's tables as (name, value)."""
    for row in product.css("table tr"):
        yield row.css("th::text").get("").strip(), row.css("td::text").get("").strip()
