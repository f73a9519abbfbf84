"""What the settings say of spiders is said of spiders that exist."""

from __future__ import annotations

from pathlib import Path

import pytest

from crawler.app.config import Config
from crawler.app.spiders import spiders_of
from crawler.errors import ConfigError
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
