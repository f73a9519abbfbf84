"""What the settings say of spiders is said of spiders that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from crawler.app.config import Config
from crawler.app.spiders import for_its_spider, spiders_of
from crawler.errors import ConfigError
from crawler.model import Job
from crawler.settings import Settings


def test_a_setting_for_a_spider_that_nobody_has_names_those_that_there_are(tmp_path: Path) -> None:
    config = Config(Settings(SPIDERS={"site": {}, "sight": {}, "xyzzy": {}}), {}, tmp_path)
    with pytest.raises(ConfigError) as caught:
        spiders_of(config)
    assert str(caught.value).splitlines() == [
        "SPIDERS: no spider is named 'sight'; did you mean site?",
        "  SPIDERS: no spider is named 'xyzzy'; there are: site",
    ]


def test_a_broken_file_stops_no_other_spider_though_it_may_be_the_one_that_the_setting_is_for(tmp_path: Path) -> None:
    (tmp_path / "spiders").mkdir()
    (tmp_path / "spiders" / "shop.py").write_text("class Shop(")
    assert spiders_of(Config(Settings(SPIDERS={"shop": {}}), {}, tmp_path)).names() == ["site"]


SHOP = """
from crawler import Spider

class Shop(Spider):
    name = "shop"

    @classmethod
    def update_settings(cls, settings):
        settings.set("MIN_ITEMS", 10)
        settings.set("FEEDS", {"shop.csv": {}})

    def parse(self, response): ...
"""


@pytest.mark.parametrize(
    ("code", "items", "feeds", "unknown", "logged"),
    [
        (SHOP, 10, ["shop.csv"], "", []),
        ("class Shop(", 3, [], "not loaded: .*shop.py", ["spider_not_asked"]),
        (SHOP.replace("MIN_ITEMS", "MIN_ITEM"), 3, [], "MIN_ITEM", ["spider_not_asked"]),
        ("", 3, [], "^$", ["spider_not_asked"]),  # a machine that has no such spider
    ],
)
def test_the_settings_for_the_spider_of_a_job(
    tmp_path: Path, code: str, items: int, feeds: list[str], unknown: str, logged: list[str]
) -> None:
    (tmp_path / "spiders").mkdir()
    (tmp_path / "spiders" / "shop.py").write_text(code)
    with capture_logs() as logs:
        own, why = for_its_spider(Config(Settings(MIN_ITEMS=3), {}, tmp_path), Job("j", spider="shop"))
    assert (own.settings.MIN_ITEMS, list(own.settings.FEEDS)) == (items, feeds)
    assert re.search(unknown, why)
    assert [one["event"] for one in logs] == logged
