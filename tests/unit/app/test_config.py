"""The configuration of a command: where the embedded server is, and the pace of a spider that runs alone."""

from __future__ import annotations

from pathlib import Path

from crawler.app.config import Config, at_pace_of, data_dir
from crawler.settings import Settings


def test_a_relative_folder_of_data_is_in_the_projects_folder_wherever_the_process_runs() -> None:
    assert data_dir(Config(Settings(DATA_DIR="data"), {}, Path("/srv/news"))) == Path("/srv/news/data")
    assert data_dir(Config(Settings(DATA_DIR="/var/data"), {}, Path("/srv/news"))) == Path("/var/data")


def test_the_only_spider_sets_the_pace_unless_the_user_does() -> None:
    own = {"DOWNLOAD_DELAY": 0, "RETRY_TIMES": 9}
    config = Config(Settings(), {}, Path())
    assert at_pace_of(config, own, "shop").settings == Settings(DOWNLOAD_DELAY=0.0)
    given = Config(Settings(DOWNLOAD_DELAY=2.0), {"DOWNLOAD_DELAY": "-s"}, Path())
    assert at_pace_of(given, own, "shop") == given


def test_the_settings_for_the_only_spider_set_the_pace_as_its_own_do() -> None:
    config = Config(Settings(SPIDERS={"shop": {"rate": "2/s"}}), {}, Path())
    assert at_pace_of(config, {"DOWNLOAD_DELAY": 0}, "shop").settings.DOWNLOAD_DELAY == 0.5
    assert at_pace_of(config, {"DOWNLOAD_DELAY": 0}, "news").settings.DOWNLOAD_DELAY == 0.0
