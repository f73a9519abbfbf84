"""`migrate` reads a project without running it: what works here, what is to be changed, and where."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from scrapy import Spider as ScrapysSpider
from scrapy.http import TextResponse

from crawler.app.migration import files, vocabulary
from crawler.app.migration.findings import Word, grouped
from crawler.app.migration.project import read_project
from crawler.errors import UsageError

SPIDER = """\
import scrapy
from scrapy import signals
from scrapy.http import HtmlResponse, Request
from scrapy.exceptions import DropItem
from scrapy.utils.project import get_project_settings; from scrapy.crawler import CrawlerProcess
from twisted.internet import defer
from twisted.internet.error import DNSLookupError
from scrapy_splash import SplashRequest


class Base(scrapy.Spider):
    download_delay = 3
    custom_settings = {"SPIDER_MODULES": "x", "MINE": 1, "FEEDS": {"items.xml": {}}}

    def parse(self, response):
        yield Request(response.url, params={}, meta={"proxy": "x", "mine": 1, "dont_retry": True}, callback=lambda r: r)
        yield response.follow("/x", timeout=3)
        self.crawler.engine.close_spider(self, "enough")
        self.crawler.stats.inc_value("x")
        self.state["x"] = 1
        response.request.meta["splash"] = {}
        yield scrapy.Request("u")
        yield scrapy.spiderloader.SpiderLoader()
        response.mine()


class Mine(Base):
    proxy = "x"


class Other:
    proxy = "not a spider's"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    (folder / "shop" / "spiders").mkdir(parents=True)
    (folder / "scrapy.cfg").write_text("# made by scrapy startproject\n[settings]\ndefault = shop.conf\n")
    (folder / "shop" / "conf.py").write_text(
        "TIMEOUT = 5 * 2\nDOWNLOAD_TIMEOUT = TIMEOUT\nRETRY_ENABLED = False\nBOT_NAME = 'shop'\n"
        "FEEDS = {'items.xml': {}}\nDEPTH_PRIORITY = compute()\nDOWNLOAD_DELAY = 'slow'\n"
        "MONGO_URI = 'mongodb://x'\nDOWNLOADER_MIDDLEWARES = {'scrapy_user_agents.middlewares.X': 400,\n"
        "    'scrapy.downloadermiddlewares.useragent.UserAgentMiddleware': None,\n"
        "    'scrapy.downloadermiddlewares.retry.RetryMiddleware': 90}\nLOG_FILE = None\n"
        "ITEM_PIPELINES = {'scrapy_redis.pipelines.RedisPipeline': 400}\n"
    )
    (folder / "shop" / "spiders" / "one.py").write_text(SPIDER)
    (folder / "run.sh").write_text("cd /srv\nscrapy crawl shop -a page=1 -o out.csv\n./scrapy-thing crawl\n")
    (folder / "requirements.txt").write_text("scrapy==2.11\nscrapy-redis>=0.7\nspidermon[monitoring]\nrequests\n")
    return folder


def words(path: Path) -> dict[tuple[str, str], tuple[str, str, list[str]]]:
    return {
        (word.kind, word.name): (word.state, word.change, places)
        for word, places in grouped(read_project(path).findings)
    }


@pytest.mark.parametrize(
    ("kind", "name", "state", "place", "change"),
    [
        ("setting", "DOWNLOAD_TIMEOUT", "have", "shop/conf.py:2", ""),
        ("setting", "RETRY_ENABLED", "have", "shop/conf.py:3", "counts as RETRY_TIMES = 0"),
        ("setting", "BOT_NAME", "have", "shop/conf.py:4", "changes nothing here"),
        ("setting", "FEEDS", "different", "shop/conf.py:5", "no output has the ending .xml"),
        ("setting", "DOWNLOAD_DELAY", "different", "shop/conf.py:7", "expected a number such as 0.5"),
        ("setting", "MONGO_URI", "have", "shop/conf.py:8", "your own: self.settings"),
        ("setting", "LOG_FILE", "have", "shop/conf.py:12", ""),
        (
            "setting",
            "DOWNLOADER_MIDDLEWARES: scrapy.downloadermiddlewares.retry.RetryMiddleware",
            "have",
            "shop/conf.py:9",
            "does its work itself",
        ),
        ("setting", "SPIDER_MODULES", "different", "shop/spiders/one.py:13", "no spider can set it"),
        ("setting", "MINE", "have", "shop/spiders/one.py:13", "your own"),
        ("setting", "scrapy.cfg: shop.conf", "have", "scrapy.cfg:1", ""),
        ("plugin", "scrapy_user_agents", "missing", "shop/conf.py:9", "say who you are"),
        ("plugin", "scrapy_splash", "missing", "shop/spiders/one.py:8", "runs no browser"),
        ("plugin", "scrapy_redis", "missing", "requirements.txt:2", "the queue is shared"),
        ("plugin", "spidermon", "missing", "requirements.txt:3", "status --json"),
        ("import", "scrapy", "different", "shop/spiders/one.py:1", "import crawler as scrapy"),
        ("import", "scrapy.http.Request", "different", "shop/spiders/one.py:3", "`from crawler import Request`"),
        ("import", "scrapy.http.HtmlResponse", "different", "shop/spiders/one.py:3", "write Response"),
        (
            "import",
            "scrapy.exceptions.DropItem",
            "different",
            "shop/spiders/one.py:4",
            "`from crawler import DropItem`",
        ),
        ("import", "scrapy.spiderloader.SpiderLoader", "missing", "shop/spiders/one.py:23", "no counterpart"),
        (
            "import",
            "twisted.internet.error.DNSLookupError",
            "different",
            "shop/spiders/one.py:7",
            "`from crawler.errors import DNS",
        ),
        ("import", "scrapy.crawler.CrawlerProcess", "different", "shop/spiders/one.py:5", "`from crawler import run`"),
        ("import", "twisted.internet", "different", "shop/spiders/one.py:6", "async def"),
        ("spider", "download_delay", "missing", "shop/spiders/one.py:12", "custom_settings"),
        ("spider", "proxy", "missing", "shop/spiders/one.py:28", "no proxies"),
        ("spider", "parse", "have", "shop/spiders/one.py:15", ""),
        ("spider", "crawler.engine", "missing", "shop/spiders/one.py:18", "CloseSpider"),
        ("spider", "crawler.stats", "have", "shop/spiders/one.py:19", ""),
        ("spider", "self.state", "missing", "shop/spiders/one.py:20", "Request(meta={…})"),
        ("request", "params=", "missing", "shop/spiders/one.py:16", "into the URL"),
        ("request", "timeout=", "missing", "shop/spiders/one.py:17", "download_timeout"),
        ("request", "callback=lambda", "different", "shop/spiders/one.py:16", "write a method"),
        ("meta", "proxy", "missing", "shop/spiders/one.py:16", "no proxies"),
        ("meta", "dont_retry", "have", "shop/spiders/one.py:16", ""),
        ("meta", "splash", "missing", "shop/spiders/one.py:21", "no browser"),
        ("response", "response.url", "have", "shop/spiders/one.py:16", ""),
        (
            "plugin",
            "scrapy_redis.pipelines.RedisPipeline",
            "missing",
            "shop/conf.py:13",
            "write -o 'redis://host/0?list={spider}:items'",
        ),
        ("command", "scrapy crawl", "different", "run.sh:2", "crawl --spider shop -o out."),
    ],
)
def test_a_word_is_told_with_its_place_and_what_to_write(
    project: Path, kind: str, name: str, state: str, place: str, change: str
) -> None:
    found = words(project)[(kind, name)]
    assert found[0] == state
    assert change in found[1]
    assert place in found[2]


def test_what_is_the_projects_own_is_not_told(project: Path) -> None:
    found = words(project)
    assert ("meta", "mine") not in found
    assert ("response", "response.mine") not in found
    assert found["spider", "proxy"][2] == ["shop/spiders/one.py:28"], "a class that is no spider may have it"
    assert ("command", "scrapy startproject") not in found, "it stands in a comment of scrapy.cfg"
    assert ("import", "scrapy.Request") not in found, "`import crawler as scrapy` gives it"


def test_pipelines_and_middlewares_count_if_the_settings_name_them(project: Path) -> None:
    (project / "shop" / "middlewares.py").write_text(
        "class Common:\n    def process_spider_input(self, response):\n        pass\n"
        "class Used(Common):\n    def process_spider_output(self, response, result):\n        pass\n"
        "class Template:\n    def process_start(self, start):\n        pass\n"
        "class Item:\n    def process_item(self, item):\n        pass\n"
        "    def from_settings(cls, settings):\n        pass\n"
    )
    with (project / "shop" / "conf.py").open("a") as file:
        file.write("SPIDER_MIDDLEWARES = {'shop.middlewares.Used': 1}\nITEM_PIPELINES = {Item: 1}\n")
    found = words(project)
    assert found["middleware", "process_spider_input"][0] == "missing"
    assert found["middleware", "process_spider_output"][0] == "missing"
    assert found["pipeline", "from_settings"][:2] == ("different", "write from_crawler(cls, crawler)")
    assert ("middleware", "process_start") not in found
    assert ("middleware", "process_start") in words(project / "shop" / "middlewares.py"), "its settings are elsewhere"


def test_rules_are_read_by_a_crawl_spider_alone(tmp_path: Path) -> None:
    (tmp_path / "base.py").write_text("from scrapy.spiders import CrawlSpider\n\nclass Base(CrawlSpider):\n    pass\n")
    (tmp_path / "one.py").write_text("from .base import Base\n\nclass One(Base):\n    rules = ()\n")
    assert words(tmp_path)["spider", "rules"] == ("have", "", ["one.py:4"])
    (tmp_path / "two.py").write_text("import scrapy\n\nclass Two(scrapy.Spider):\n    rules = ()\n")
    states = [(one.where, one.word.state) for one in read_project(tmp_path).findings if one.word.name == "rules"]
    assert states == [("one.py:4", "have"), ("two.py:4", "missing")]


def test_what_is_missing_comes_first(project: Path) -> None:
    states = [word.state for word, _ in grouped(read_project(project).findings)]
    assert states == sorted(states, key=["missing", "different", "have"].index)


def test_nothing_of_the_project_is_imported_or_run(project: Path) -> None:
    (project / "shop" / "evil.py").write_text("import scrapy\nopen('ran', 'w')\nraise SystemExit\n")
    (project / "setup.py").write_text("raise SystemExit\n")
    here = Path.cwd()
    read_project(project)
    assert not (here / "ran").exists()


def test_a_setting_whose_value_is_computed_is_told_as_such(project: Path) -> None:
    state, change, _ = words(project)["setting", "DEPTH_PRIORITY"]
    assert state == "have"
    assert "its value is computed" in change
    (project / "shop" / "conf.py").write_text("BOT_NAME = 'x'\nFEED_STORAGES = compute()\n")
    state, change, _ = words(project)["setting", "FEED_STORAGES"]
    assert state == "missing"
    assert change.startswith("unless it is off (its value is computed): write a class of your own")


@pytest.mark.parametrize(
    "code",
    [
        "try:\n    from local import *\nexcept ImportError:\n    {}",
        "try:\n    x = 1\nexcept* OSError:\n    {}",
        "try:\n    x = 1\nfinally:\n    {}",
        "if x:\n    pass\nelif y:\n    {}",
        "match x:\n    case 1:\n        {}",
        "for x in y:\n    {}",
        "while x:\n    {}",
        "with x:\n    {}",
    ],
)
def test_settings_in_any_block_are_read(project: Path, code: str) -> None:
    (project / "shop" / "conf.py").write_text(f"BOT_NAME = 'x'\n{code.format('HTTPPROXY_ENABLED = True')}\n")
    assert ("setting", "HTTPPROXY_ENABLED") in words(project)


def test_settings_that_are_assigned_together_or_added_to_are_read(project: Path) -> None:
    (project / "shop" / "conf.py").write_text(
        "BOT_NAME, (DOWNLOAD_DELAY, *FEED_STORAGES), (A, B) = 'x', ('soon', f()), g()\n"
        "DOWNLOADER_MIDDLEWARES = {'scrapy_splash.SplashMiddleware': 1}\n"
        "DOWNLOADER_MIDDLEWARES |= {'scrapy.downloadermiddlewares.retry.RetryMiddleware': 2}\n"
        "REDIRECT_MAX_TIMES = 5\n"
        "REDIRECT_MAX_TIMES += f()\n"
    )
    found = words(project)
    assert "expected a number such as 0.5" in found["setting", "DOWNLOAD_DELAY"][1]
    assert "its value is computed" in found["setting", "FEED_STORAGES"][1]
    assert "its value is computed" in found["setting", "REDIRECT_MAX_TIMES"][1]
    assert {("setting", "A"), ("setting", "B")} <= set(found)
    assert ("setting", "DOWNLOADER_MIDDLEWARES: scrapy.downloadermiddlewares.retry.RetryMiddleware") in found
    assert "shop/conf.py:3" in found["plugin", "scrapy_splash"][2]


def test_folders_with_a_tools_name_that_hold_code_are_named(project: Path) -> None:
    for name in ("env", "build/lib", "dist", "venv", "node_modules/gyp", ".tox/py"):
        (project / "shop" / name).mkdir(parents=True)
    for name in ("env/spider.py", "build/lib/spider.py", "venv/x.py", "node_modules/gyp/x.py", ".tox/py/x.py"):
        (project / "shop" / name).write_text("import scrapy_splash\n")
    (project / "shop" / "venv" / "pyvenv.cfg").write_text("")
    told = [name for name, why in read_project(project).left_out if "holds code" in why]
    assert told == ["shop/build", "shop/env"]


def test_files_that_cannot_be_read_are_named_and_stop_nothing(project: Path) -> None:
    spiders = project / "shop" / "spiders"
    (spiders / "old.py").write_text("import scrapy\nprint 'two'\n")
    (spiders / "latin.py").write_bytes(b"# coding: latin-1\nimport scrapy\nname = '\xe9'\n")
    (spiders / "bytes.py").write_bytes(b"import scrapy\n\x00")
    (spiders / "wrong.py").write_bytes(b"name = '\xe9'\n")
    (spiders / "deep.py").write_text(f"import scrapy\nx = {'(' * 500}{')' * 500}\n")
    (spiders / "chain.py").write_text(f"import scrapy\nx = {'+'.join(['1'] * 5000)}\n")
    (spiders / "page.ipynb").write_text("{}")
    os.mkfifo(spiders / "pipe.py")
    (spiders / "gone.py").symlink_to(project / "nowhere")
    (spiders / "loop").symlink_to(project)
    (project / ".venv").mkdir()
    (project / ".venv" / "x.py").write_text("import scrapy_splash\n")
    report = read_project(project)
    left_out = dict(report.left_out)
    assert {name.rpartition("/")[2] for name in left_out} >= {
        "old.py:2",
        "bytes.py:1",
        "wrong.py:1",
        "pipe.py",
        "gone.py",
        "loop",
    }
    assert all(".venv" not in one.file for one in report.findings)
    assert any(one.file.endswith("latin.py") for one in report.findings)
    assert report.notebooks == 1
    told = {*left_out, *(one.file for one in report.findings if "nested too deeply" in one.word.change)}
    assert "shop/spiders/chain.py" in told, "whether Python's parser or our reader gives up depends on the version"
    assert words(project)["import", "scrapy"][2][-1].endswith("one.py:1")


def test_a_tree_that_is_too_large_is_told(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_FILES", 2)
    assert read_project(project).left_out[-1] == (str(project), "more than 2 files: the others were not read")


def test_one_file_may_be_read(project: Path) -> None:
    assert {one.file for one in read_project(project / "shop" / "spiders" / "one.py").findings} == {"one.py"}


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("nowhere", "there is no such file or folder"),
        ("run.sh", "no Python file; name a Scrapy project's folder, or one file.py"),
        ("empty", "no Scrapy project: no file in it names Scrapy"),
        ("broken", r"no Scrapy project: no file in it names Scrapy; old.py:1: no Python of today"),
    ],
)
def test_what_is_no_project_is_a_wrong_path(project: Path, path: str, told: str) -> None:
    (project / "empty").mkdir()
    (project / "broken").mkdir()
    (project / "broken" / "old.py").write_text("print 'two'\n")
    with pytest.raises(UsageError, match=told):
        read_project(project / path)


def test_a_folder_that_nobody_may_read_is_a_wrong_path(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(path: object) -> list[str]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "listdir", deny)
    with pytest.raises(UsageError, match="shop: Permission denied"):
        read_project(project)


# ---------------------------------------------------------------------------------------------------------
# The running program is asked


def test_what_the_program_exports_is_only_another_import() -> None:
    for name in vocabulary.exported():
        word = vocabulary.imported("scrapy.anywhere", name)
        assert word == Word("different", "import", f"scrapy.anywhere.{name}", f"write `from crawler import {name}`")


def test_all_attributes_of_scrapys_responses_are_known() -> None:
    names = {name for name in dir(TextResponse("https://a.example/")) if name[0] != "_"}
    assert names - vocabulary.RESPONSE == set()


def test_all_attributes_of_scrapys_spiders_are_known() -> None:
    names = {name for name in dir(ScrapysSpider) if name[0] != "_"}
    assert names - vocabulary.SPIDER == set()
    assert vocabulary.spider_attribute("start_urls", "Spider") == Word("have", "spider", "start_urls")


def test_the_tables_of_what_is_missing_hold_nothing_that_works() -> None:
    tables = vocabulary.OTHERWISE.keys() | vocabulary.WITHOUT.keys()
    assert tables & set(vocabulary.exported()) == set()


def test_the_value_of_a_header_is_text(project: Path) -> None:
    (project / "shop" / "spiders" / "one.py").write_text(
        "def parse(response):\n"
        "    response.headers['Server'].decode('latin-1')\n"
        "    self.response.headers.get(b'Server', b'').decode()\n"
        "    response.body.decode()\n"
    )
    state, _, places = words(project)["response", "headers[…].decode()"]
    assert (state, places) == ("different", ["shop/spiders/one.py:2", "shop/spiders/one.py:3"])
