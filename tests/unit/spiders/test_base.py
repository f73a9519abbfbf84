"""What Scrapy gives its spiders, and a spider here does not have."""

from __future__ import annotations

import pytest

from crawler import Spider


class Shop(Spider):
    name = "shop"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("settings", "spider shop has no settings; give the spider the value with -a NAME=VALUE"),
        ("crawler", "spider shop has no crawler; `crawler status` has the figures"),
        ("log", "spider shop has no log; write self.logger.info(text)"),
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
