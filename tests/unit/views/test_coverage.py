"""The shares of fields, as people and scripts read them."""

from __future__ import annotations

import pytest

from crawler.status import Coverage, FieldCoverage
from crawler.views.coverage import BAR, as_data, bar, broken_rules, incomplete, rows, share, title, uncounted

PAGES = ("http://a.example/1", "http://a.example/2")


def coverage(kind: str = "Product", items: int = 200, others: int = 0, **fields: int) -> Coverage:
    its = {name: FieldCoverage(filled, PAGES if filled < items else ()) for name, filled in fields.items()}
    return Coverage("my.shop.parse_item", kind, items, 150, its, others)


@pytest.mark.parametrize(
    ("filled", "items", "text", "drawn"),
    [
        (10, 10, "100 %", 20),
        (99_999, 100_000, "99.9 %", 19),
        (1, 3, "33.3 %", 6),
        (1, 2, "50 %", 10),
        (1, 100_000, "0.1 %", 0),
        (0, 7, "0 %", 0),
        (0, 0, "0 %", BAR),
    ],
)
def test_only_all_items_are_a_hundred_per_cent_and_only_none_are_zero(
    filled: int, items: int, text: str, drawn: int
) -> None:
    assert share(filled, items) == text
    assert bar(filled, items).count("█") == drawn
    assert len(bar(filled, items)) == BAR


def test_the_fullest_field_comes_first_with_a_page_that_lacks_it() -> None:
    one = coverage(price=180, name=200, alt=180)
    assert [row[0] for row in rows(one, bars=False)] == ["name", "alt", "price"]
    assert next(iter(rows(one, bars=False))) == ("name", "100 %", "200", "")
    assert list(rows(one, bars=True))[2] == ("price", "█" * 18 + "░" * 2, "90 %", "180", PAGES[0])
    assert title(one) == "my.shop.parse_item, Product: 200 items of 150 pages"


def test_the_summary_names_the_emptiest_fields() -> None:
    assert incomplete([]) == incomplete([coverage(name=200)]) == ""
    assert incomplete([coverage(name=200, price=180, brand=0)]) == "brand 0 %, price 90 %"
    many = coverage(f0=0, f1=1, f2=2, f3=3, f4=4, f5=5, f6=6)
    assert incomplete([many]).endswith("f4 2 %, and 2 fields more (crawler coverage)")
    assert incomplete([coverage(price=1), coverage("Offer", price=2)]) == "Product.price 0.5 %, Offer.price 1 %"


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"name": 1.0, "price": 0.9}, []),
        ({"price": 0.95}, ["price is filled in 180 of 200 items (90 %), at least 95 % wanted"]),
        ({"Product.price": 0.95}, ["Product.price is filled in 180 of 200 items (90 %), at least 95 % wanted"]),
        ({"Product.brand": 0.001}, ["Product.brand is filled in 0 of 200 items (0 %), at least 0.1 % wanted"]),
        ({"Offer.price": 0.1}, ["Offer.price is filled in 0 of 200 items (0 %), at least 10 % wanted"]),
    ],
)
def test_a_broken_rule_is_told_with_figures(rules: dict[str, float], said: list[str]) -> None:
    found = list(broken_rules([coverage(name=200, price=180)], rules, 0, 200))
    assert [one.partition(" (COVERAGE_RULES)")[0] for one in found] == said


def test_a_rule_names_pages_that_lack_the_field() -> None:
    (said,) = broken_rules([coverage(price=180)], {"price": 1.0}, 0, 200)
    assert said.endswith(" (COVERAGE_RULES); for example http://a.example/1 http://a.example/2")


def test_a_rule_without_a_class_is_about_all_items() -> None:
    both = [coverage("Product", price=200), coverage("Offer", items=100, price=40)]
    assert list(broken_rules(both, {"price": 0.8, "Product.price": 1.0}, 0, 300)) == []
    (said,) = broken_rules(both, {"price": 0.81, "Offer.price": 0.4}, 0, 300)
    assert said.startswith("price is filled in 240 of 300 items (80 %), at least 81 % wanted")


def test_a_crawl_may_have_too_few_items() -> None:
    """Without items there are no shares."""
    assert list(broken_rules([], {"price": 1.0}, 100, 0)) == ["0 items, at least 100 wanted (MIN_ITEMS)"]
    assert list(broken_rules([], {}, 100, 100)) == []


def test_what_is_not_counted_by_name_is_told() -> None:
    assert uncounted(coverage(name=1)) == ""
    assert (
        uncounted(coverage(others=7, name=1)) == "7 values of other fields not counted: a job counts 1 names by itself"
    )


def test_the_data_for_scripts() -> None:
    (data,) = as_data([coverage(others=3, name=200, price=50)])
    assert (data["spider"], data["callback"], data["class"]) == ("my.shop", "parse_item", "Product")
    assert (data["items"], data["pages"], data["others"]) == (200, 150, 3)
    assert list(data["fields"]) == ["name", "price"]
    assert data["fields"]["price"] == {"filled": 50, "share": 0.25, "lacking": PAGES}
