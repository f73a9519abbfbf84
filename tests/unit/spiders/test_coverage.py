"""Which fields of a page's items are filled: as the outbox has the items, by class, in bounded space."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Any

import pytest

from crawler.spiders.coverage import coverage_of
from crawler.spiders.item import Field, Item
from crawler.spiders.items import encode_item


class Product(Item):
    name = Field()
    price = Field()


@dataclasses.dataclass
class Offer:
    price: float | None = None


def counted(*items: Any) -> dict[str, tuple[int, dict[str, int], int]]:
    found = coverage_of("shop.parse", [encode_item(item) for item in items], [type(item).__name__ for item in items])
    return {one.kind: (one.items, dict(one.fields), one.others) for one in found}


@pytest.mark.parametrize("value", [None, "", [], (), {}, set(), float("nan"), b""])
def test_these_values_do_not_fill_a_field(value: object) -> None:
    assert counted({"a": value}) == {"dict": (1, {"a": 0}, 0)}


@pytest.mark.parametrize("value", [0, 0.0, False, "0", " ", [None], {"a": None}, datetime.timedelta()])
def test_these_values_fill_a_field(value: object) -> None:
    assert counted({"a": value}) == {"dict": (1, {"a": 1}, 0)}


def test_items_are_counted_by_class() -> None:
    items = (Product(name="x"), Offer(3.0), Product(name="y", price=""), Offer(), {"price": 1})
    assert counted(*items) == {
        "Product": (2, {"name": 2, "price": 0}, 0),
        "Offer": (2, {"price": 1}, 0),
        "dict": (1, {"price": 1}, 0),
    }


def test_a_page_without_items_counts_nothing() -> None:
    assert coverage_of("shop.parse", [], []) == ()


def test_invented_names_are_a_sum() -> None:
    """Names beyond the first hundred, and long ones."""
    assert counted({f"f{number}": 1 for number in range(130)})["dict"][2] == 30
    (_, fields, others) = counted({"a" * 101: 1, "b" * 100: 1})["dict"]
    assert (list(fields), others) == (["b" * 100], 1)
    long_name = type("C" * 200, (Item,), {})
    assert list(counted(long_name())) == ["C" * 100]
