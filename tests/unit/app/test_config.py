"""The configuration of a command: where the embedded server is, and the pace of a spider that runs alone."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from crawler.app.config import Config, data_dir, for_one_spider
from crawler.app.start_worker import pace
from crawler.interfaces import Pace
from crawler.settings import DEFAULTS, Settings


def test_a_relative_folder_of_data_is_in_the_projects_folder_wherever_the_process_runs() -> None:
    assert data_dir(Config(Settings(DATA_DIR="data"), {}, Path("/srv/news"))) == Path("/srv/news/data")
    assert data_dir(Config(Settings(DATA_DIR="/var/data"), {}, Path("/srv/news"))) == Path("/var/data")


def test_the_only_spider_sets_the_pace_unless_the_user_does() -> None:
    own = {"DOWNLOAD_DELAY": 0, "RETRY_TIMES": 9}
    config = Config(Settings(), {}, Path())
    assert for_one_spider(config, own, "shop").settings == Settings(DOWNLOAD_DELAY=0.0)
    given = Config(Settings(DOWNLOAD_DELAY=2.0), {"DOWNLOAD_DELAY": "-s"}, Path())
    assert for_one_spider(given, own, "shop") == given


def test_the_only_spider_sets_what_holds_for_the_whole_process_unless_the_user_does() -> None:
    own = {"USER_AGENT": "own/1", "CONCURRENT_REQUESTS": "7", "RANDOMIZE_DOWNLOAD_DELAY": False, "RETRY_TIMES": 9}
    wanted = Settings(USER_AGENT="own/1", CONCURRENT_REQUESTS=7, DOWNLOAD_DELAY_JITTER=0.0)
    assert for_one_spider(Config(Settings(), {}, Path()), own, "shop").settings == wanted
    given = Config(Settings(USER_AGENT="me/1"), {"USER_AGENT": "-s"}, Path())
    assert for_one_spider(given, own, "shop").settings.USER_AGENT == "me/1"


def test_the_settings_for_the_only_spider_set_the_pace_as_its_own_do() -> None:
    config = Config(Settings(SPIDERS={"shop": {"rate": "2/s"}}), {}, Path())
    assert for_one_spider(config, {"DOWNLOAD_DELAY": 0}, "shop").settings.DOWNLOAD_DELAY == 0.5
    assert for_one_spider(config, {"DOWNLOAD_DELAY": 0}, "news").settings.DOWNLOAD_DELAY == 0.0


def test_a_pace_without_fields_is_that_of_the_settings_without_chance() -> None:
    assert Pace() == replace(pace(DEFAULTS), jitter=0.0)
