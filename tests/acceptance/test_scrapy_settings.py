"""A project in Scrapy's layout, crawled as it is: its scrapy.cfg, its settings file, names of its own."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.acceptance.shell import Shell
from tests.webserver import Running, Site, serve

SETTINGS = """
BOT_NAME = "shop"
SPIDER_MODULES = ["shop.spiders"]
NEWSPIDER_MODULE = "shop.spiders"
TELNETCONSOLE_ENABLED = False
FEED_EXPORT_ENCODING = "utf-8"
RANDOMIZE_DOWNLOAD_DELAY = False
DOWNLOAD_DELAY = 0
ALLOWED_NETWORKS = ["127.0.0.0/8"]
LOG_FORMAT = "%(message)s"
LOG_FILE = "shop.log"
LOG_LEVEL = "DEBUG"
MONGO_URI = "mongodb://me:geheim@host/db"
COLORS = ("red", "blue")
"""

SPIDER = """
import crawler as scrapy
from shop.items import named

class Shop(scrapy.Spider):
    name = "shop"
    custom_settings = {"COLORS": ["green"], "RETRY_ENABLED": False}

    def start_requests(self):
        yield scrapy.Request(self.settings["START"])

    def parse(self, response):
        self.logger.info("read %s", self.settings)
        yield named(colors=self.settings.getlist("COLORS"), uri=self.settings.get("MONGO_URI"),
                    bot=self.settings["BOT_NAME"], retries=self.settings.getint("RETRY_TIMES"))
"""


@pytest.fixture
async def site() -> AsyncIterator[Running]:
    async with serve(Site(pages=1, hosts=1)) as running:
        yield running


def lay_out(folder: Path) -> None:
    (folder / "scrapy.cfg").write_text("[settings]\ndefault = shop.settings\n")
    (folder / "shop" / "spiders").mkdir(parents=True)
    (folder / "shop" / "__init__.py").write_text("")
    (folder / "shop" / "spiders" / "__init__.py").write_text("")
    (folder / "shop" / "items.py").write_text("named = dict\n")
    (folder / "shop" / "settings.py").write_text(SETTINGS)
    (folder / "shop" / "spiders" / "shop.py").write_text(SPIDER)


async def test_a_project_of_scrapy_is_crawled_with_its_settings(bare: Shell, site: Running) -> None:
    lay_out(bare.folder)
    ended = await bare.run("crawl", "--spider", "shop", "-O", "out.jsonl", "-s", f"START={site.seeds[0]}")
    assert ended.code == 0, ended.err
    (item,) = map(json.loads, (bare.folder / "out.jsonl").read_text().splitlines())
    told = {name: item[name] for name in ("colors", "uri", "bot", "retries")}
    assert told == {"colors": ["green"], "uri": "mongodb://me:geheim@host/db", "bot": "shop", "retries": 0}
    log = (bare.folder / "shop.log").read_text()
    assert all(json.loads(line) for line in log.splitlines())
    assert "geheim" not in log + ended.err
    assert "read <SettingsView" in log


async def test_a_name_of_a_spider_is_no_url(bare: Shell) -> None:
    lay_out(bare.folder)
    ended = await bare.run("crawl", "shop")
    assert ended.code == 2
    assert "shop is a spider: write" in ended.err
    assert "crawl --spider shop" in ended.err


async def test_a_log_file_that_cannot_be_written_is_a_mistake_of_the_settings(bare: Shell) -> None:
    ended = await bare.run("settings", "-s", "LOG_FILE=/no/such/folder/x.log")
    assert ended.code == 78
    assert "LOG_FILE=/no/such/folder/x.log: No such file or directory" in ended.err
