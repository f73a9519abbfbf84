"""What Scrapy gives its spiders, and a spider here does not have, or not yet."""

from __future__ import annotations

import pytest

from crawler import Spider


class Shop(Spider):
    name = "shop"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("settings", "spider shop has no settings before it is made; instead of __init__ write from_crawler(cls, "),
        ("crawler", "spider shop has no crawler before it is made; instead of __init__ write from_crawler(cls, "),
        ("state", "spider shop has no state; each worker process has a spider of its own"),
    ],
)
def test_what_scrapys_spiders_have_says_what_to_write_and_may_be_set(name: str, told: str) -> None:
    spider = Shop()
    with pytest.raises(AttributeError) as caught:
        getattr(spider, name)
    assert str(caught.value).startswith(told)
    assert not hasattr(Shop, name)
    setattr(spider, name, "mine")
    assert [getattr(one, name) for one in (spider, Shop(**{name: "mine"}))] == ["mine", "mine"]


def test_a_spider_may_pass_its_own_name_on_and_no_other() -> None:
    assert Shop("shop", city="Oslo").city == Shop(name="shop", city="Oslo").city == "Oslo"  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="the name 'other' is not 'shop', by which pages find the class"):
        Shop("other")


def test_log_writes_at_debug_as_in_scrapy(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG"):
        Shop().log("found it")
        Shop().log("odd", 30)
    assert [(one.levelname, one.getMessage()) for one in caplog.records] == [("DEBUG", "found it"), ("WARNING", "odd")]
