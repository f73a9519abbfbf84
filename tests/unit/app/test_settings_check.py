"""`settings --check FILE`: all that is wrong with a settings file, before a crawl meets it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from crawler.app.settings_check import check_settings
from crawler.cli.schedule import wrong_values


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A project; what is imported from it is forgotten again."""
    before, path = dict(sys.modules), list(sys.path)
    yield tmp_path
    sys.path[:] = path
    for name in sys.modules.keys() - before.keys():
        del sys.modules[name]


NEWS = {"cron": "@daily", "command": ["crawl", "https://a.example/", "--spider", "sight"]}


def checked(folder: Path, *lines: str) -> tuple[int, list[str]]:
    file = folder / "production.py"
    file.write_text("\n".join(lines))
    number, _, wrong = check_settings(file, folder, wrong_values)
    return number, wrong


def test_all_that_is_wrong_is_told_at_once_whether_it_has_the_wrong_type_or_cannot_be_used(folder: Path) -> None:
    number, wrong = checked(
        folder,
        "DOWNLOAD_DELAY = 'slow'",
        "DOWNLOAD_DELY = 1",
        "ALLOWED_NETWORKS = ['home']",
        "SPIDERS = {'sight': {'rate': '10'}}",
        "ROUTES = {'spider:sight': 'eu', 'spider:si*': 'eu', 'job:news*': 'fast'}",
        f"SCHEDULES = {{'news': {NEWS}, 'old': {{**{NEWS}, 'cron': 'x'}}}}",
        "DATA_DIR = '~nobody-has-this-name/data'",
        "TLS_CA_FILE = '/no/such.pem'",
        "REDIS_URL = 'valky://:geheim@host/0'",
        "FEEDS = {'items.xml': {}, 'a.jsonl': {'format': 'csv'}, 'b.csv': {'batch_item_count': 5}, 'c.csv': {}}",
        "EMBEDDED_BINARY = 'no-such-server'",
        "EVENTS_URL = 'http://host/'",
        "CELERY_APP = 'nothing.app'",
        "DOWNLOADER_MIDDLEWARES = ['nothing.first', 'nothing.second']",
        "ITEM_PIPELINES = {'nothing.Third': 1, 'nothing.Off': None}",
        "EXTENSIONS = {'nothing.Fourth': 1, 'scrapy.extensions.telnet.TelnetConsole': 2}",
    )
    assert number == 14
    for sentence, words in zip(
        wrong,
        (
            "setting DOWNLOAD_DELAY='slow'",
            "did you mean DOWNLOAD_DELAY?",
            "rate in SPIDERS['sight']: '10' is not a rate",
            "SCHEDULES['old']: cron line 'x'",
            "ALLOWED_NETWORKS: 'home' is not a network",
            "SPIDERS: no spider is named 'sight'; did you mean site?",
            "ROUTES: no spider is named 'sight'; did you mean site?",
            "SCHEDULES['news']: no spider is named 'sight'; did you mean site?",
            "DATA_DIR=~nobody-has-this-name/data",
            "TLS_CA_FILE: /no/such.pem holds no PEM certificates",
            "did you mean valkey://?",
            "FEEDS['items.xml']: items.xml: ",
            "FEEDS['a.jsonl']: ",
            "FEEDS['b.csv']: batches need names of their own: b-%(batch_id)05d.csv",
            "EMBEDDED_BINARY: no-such-server is not a program",
            "EVENTS_URL: http://host/: write amqp://",
            "CELERY_APP=nothing.app: ModuleNotFoundError",
            "DOWNLOADER_MIDDLEWARES: nothing.first: ModuleNotFoundError",
            "DOWNLOADER_MIDDLEWARES: nothing.second: ModuleNotFoundError",
            "ITEM_PIPELINES: nothing.Third: ModuleNotFoundError",
            "EXTENSIONS: nothing.Fourth: ModuleNotFoundError",
        ),
        strict=True,
    ):
        assert words in sentence


def test_a_file_that_is_right_is_checked_with_the_spiders_and_middlewares_of_the_folder(folder: Path) -> None:
    (folder / "spiders").mkdir()
    (folder / "spiders" / "shop.py").write_text(
        "from crawler import Spider\nclass Shop(Spider):\n    name = 'shop'\n    def parse(self, response): ..."
    )
    (folder / "steps.py").write_text("async def add_token(request, call_next): ...")
    lines = "SPIDERS = {'shop': {'rate': '10/m'}}", "DOWNLOADER_MIDDLEWARES = ['steps.add_token']", "REDIS_URL = {!r}"
    for url in ("redis://host/0", "memory://?maxsize=9"):
        assert checked(folder, *lines[:2], lines[2].format(url)) == (3, [])
    for url in ("redis://host/first", "memory://?maxsize=many"):
        _, (wrong,) = checked(folder, *lines[:2], lines[2].format(url))
        assert wrong.startswith("REDIS_URL")


def test_a_spider_file_that_cannot_be_used_is_named(folder: Path) -> None:
    (folder / "spiders").mkdir()
    (folder / "spiders" / "shop.py").write_text("class Shop(")
    _, (wrong,) = checked(folder, "SPIDERS = {'shop': {'rate': '10/m'}}")
    assert "SyntaxError" in wrong


@pytest.mark.parametrize("text", ["DEPTH_LIMIT = = 2", "raise RuntimeError('x')", "import sys; sys.exit(0)"])
def test_a_file_that_cannot_be_run_is_named(folder: Path, text: str) -> None:
    number, (wrong,) = checked(folder, text)
    assert number == 0
    assert wrong.startswith(str(folder / "production.py"))


def test_a_settings_file_of_another_program_is_recognized(folder: Path) -> None:
    _, wrong = checked(folder, "INSTALLED_APPS = ['a']")
    assert "is a settings file of Django" in wrong[0]


def test_what_becomes_of_scrapys_settings_is_told(folder: Path) -> None:
    file = folder / "settings.py"
    file.write_text(
        "BOT_NAME = 'shop'\nRETRY_ENABLED = False\nLOG_FORMAT = 'json'\nMINE = 1\nTELNETCONSOLE_ENABLED = 0\n"
    )
    assert check_settings(file, folder, wrong_values) == (
        5,
        [
            "RETRY_ENABLED of Scrapy counts as RETRY_TIMES = 0",
            "LOG_FORMAT of Scrapy counts as LOG_RENDERER = 'json'; "
            "lines have a fixed form; LOG_RENDERER chooses console or json",
            "of Scrapy, and changing nothing here: BOT_NAME, TELNETCONSOLE_ENABLED",
        ],
        [],
    )
