"""Every spider gets a `Crawler`: its settings, as Scrapy's spiders read them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any, ClassVar

import pytest

from crawler import Response, Spider
from crawler.errors import ConfigError
from crawler.settings import Settings
from crawler.spiders.context import Crawler, SettingsView, SpidersOwn
from crawler.spiders.registry import Registry, find_spiders
from crawler.testing import run_spider

VALUES = {
    "N": "3",
    "X": "0.5",
    "YES": "True",
    "NO": "0",
    "LIST": "a,b",
    "TUPLE": ("a", "b"),
    "DICT": '{"a": 1}',
    "D": {"b": 2},
    "D_BASE": {"a": 1, "b": 1},
    "NONE": None,
}


def test_settings_are_read_as_in_scrapy() -> None:
    settings = SettingsView(VALUES)
    assert (settings["N"], settings["MISSING"], settings.get("MISSING", 1), settings.get("NONE", 2)) == (
        "3",
        None,
        1,
        2,
    )
    assert (settings.getint("N"), settings.getint("MISSING", 7), settings.getfloat("X")) == (3, 7, 0.5)
    assert [settings.getbool(name) for name in ("YES", "NO", "N", "MISSING")] == [True, False, True, False]
    assert settings.getbool("MISSING", True) is True
    assert settings.getlist("LIST") == settings.getlist("TUPLE") == ["a", "b"]
    assert (settings.getlist("MISSING"), settings.getlist("MISSING", ["x"])) == ([], ["x"])
    assert (settings.getdict("DICT"), settings.getdict("D"), settings.getdict("MISSING")) == ({"a": 1}, {"b": 2}, {})
    assert (settings.getdictorlist("DICT"), settings.getdictorlist("LIST")) == ({"a": 1}, ["a", "b"])
    assert settings.getwithbase("D") == {"a": 1, "b": 2}
    assert ("N" in settings, "MISSING" in settings, settings.copy_to_dict()) == (True, False, VALUES)
    with pytest.raises(ValueError, match="setting LIST='a,b': expected true or false"):
        settings.getbool("LIST")


def test_what_is_read_is_a_copy_and_nothing_can_be_set() -> None:
    settings = SettingsView(VALUES)
    settings.getdict("D")["b"] = 9
    settings.getlist("TUPLE").append("c")
    assert settings.copy_to_dict() == VALUES
    changes: list[Any] = [
        lambda: settings.set("N", 1),
        lambda: settings.setdict({"N": 1}),
        lambda: settings.update({"N": 1}),
        lambda: settings.setdefault("M", 1),
        lambda: settings.__setitem__("N", 1),
        lambda: settings.__delitem__("N"),
    ]
    for change in changes:
        with pytest.raises(TypeError, match="cannot be changed once there is a spider"):
            change()
    assert settings.setdefault("N", 1) == "3"


def test_settings_do_not_show_their_values() -> None:
    assert "secret" not in repr(SettingsView({"REDIS_URL": "redis://:secret@h"}))


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "spiders").mkdir()
    before, path = dict(sys.modules), list(sys.path)
    yield tmp_path
    sys.path[:] = path
    for name in sys.modules.keys() - before.keys():
        del sys.modules[name]
    sys.modules.update(before)


def found(folder: Path, body: str, settings: Settings | None = None, explicit: tuple[str, ...] = ()) -> Registry:
    head = "from crawler import Spider\n\nclass Shop(Spider):\n    name = 'shop'\n    def parse(self, response): ...\n"
    lines = "".join(f"    {line}\n" for line in dedent(body).strip().splitlines())
    (folder / "spiders" / "shop.py").write_text(head + lines)
    return find_spiders(folder, settings=settings, explicit=explicit)


def test_a_spider_reads_the_settings_that_hold_for_it(folder: Path) -> None:
    ours = Settings(RETRY_TIMES=7, DEPTH_LIMIT=3, SPIDERS={"shop": {"RETRY_DELAY": 9}})
    body = "custom_settings = {'RETRY_TIMES': 1, 'DEPTH_LIMIT': 1, 'RETRY_DELAY': 1}"
    spider = found(folder, body, ours, explicit=("DEPTH_LIMIT",)).make("shop")
    read = [
        spider.settings.getint(name) for name in ("RETRY_TIMES", "DEPTH_LIMIT", "RETRY_DELAY", "REDIRECT_MAX_TIMES")
    ]
    assert read == [1, 3, 9, 20]
    assert spider.crawler.settings is spider.settings
    assert (spider.crawler.spider, spider.crawler.spidercls) == (spider, type(spider))


def test_what_a_spider_sets_when_it_is_made_counts_and_none_is_nothing(folder: Path) -> None:
    body = """
    custom_settings = None
    def __init__(self, times=''):
        if times: self.custom_settings = {'RETRY_TIMES': times}
    """
    registry = found(folder, body)
    assert registry.make("shop").settings.getint("RETRY_TIMES") == 2
    made = registry.make("shop", {"times": "9"})
    assert (made.settings.getint("RETRY_TIMES"), made.crawler.settings.getint("RETRY_TIMES")) == (9, 9)


def test_update_settings_sets_what_holds_for_the_spider(folder: Path) -> None:
    body = """
    custom_settings = {"RETRY_TIMES": 5}
    @classmethod
    def update_settings(cls, settings):
        super().update_settings(settings)
        settings.set("DEPTH_LIMIT", settings.getint("RETRY_TIMES") + 1, priority="spider")
        settings.setdefault("DOWNLOAD_DELAY", 99)
        settings["RETRY_DELAY"] = 4
    """
    made = found(folder, body).make("shop")
    assert made.custom_settings == {"RETRY_TIMES": 5, "DEPTH_LIMIT": 6, "RETRY_DELAY": 4}
    assert (made.settings.getint("DEPTH_LIMIT"), made.settings.getfloat("DOWNLOAD_DELAY")) == (6, 1.0)


def test_lists_can_be_changed_by_update_settings() -> None:
    own = SpidersOwn({"L": ("a", "b")})
    own.add_to_list("L", "c")
    own.add_to_list("L", "a")
    own.remove_from_list("L", "b")
    assert (own.changes, own["L"]) == ({"L": ["a", "c"]}, ["a", "c"])


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("settings.set('RETRY_TIMES', 'x')", "setting RETRY_TIMES='x' (from update_settings): "),
        ("settings.set('PROCESSES', 2)", "PROCESSES in update_settings: no spider can set it"),
        ("1 / 0", "spider shop: ZeroDivisionError: division by zero ("),
    ],
)
def test_a_mistake_in_update_settings_is_told(folder: Path, line: str, told: str) -> None:
    registry = found(folder, f"@classmethod\ndef update_settings(cls, settings): {line}")
    with pytest.raises(ConfigError) as caught:
        registry.make("shop")
    assert told in str(caught.value)


def test_from_crawler_makes_the_spider(folder: Path) -> None:
    body = """
    @classmethod
    def from_crawler(cls, crawler, *args, **kwargs):
        spider = super().from_crawler(crawler, *args, depth=crawler.settings.getint("DEPTH_LIMIT"), **kwargs)
        spider.early = spider.crawler.stats
        return spider
    def __init__(self, city, depth):
        self.city, self.depth = city, depth
    """
    made: Any = found(folder, body, Settings(DEPTH_LIMIT=4)).make("shop", {"city": "Oslo"})
    assert (made.city, made.depth, made.early) == ("Oslo", 4, made.crawler.stats)


def test_a_from_crawler_that_forgets_the_crawler_gets_it_all_the_same(folder: Path) -> None:
    made = found(folder, "@classmethod\ndef from_crawler(cls, crawler, **kwargs): return cls(**kwargs)").make("shop")
    assert made.crawler.settings is made.settings


def test_a_from_crawler_that_gives_no_spider_is_told(folder: Path) -> None:
    registry = found(folder, "@classmethod\ndef from_crawler(cls, crawler, **kwargs): cls(**kwargs)")
    with pytest.raises(ConfigError, match="from_crawler gave NoneType"):
        registry.make("shop")


def test_settings_in_a_constructor_are_refused_with_what_to_write(folder: Path) -> None:
    registry = found(folder, "def __init__(self): self.n = self.settings.getint('N')")
    with pytest.raises(ConfigError, match=r"no settings before it is made; instead of __init__ write from_crawler"):
        registry.make("shop")


class Reads(Spider):
    name = "reads"
    custom_settings: ClassVar = {"RETRY_TIMES": 4}

    def parse(self, response: Response) -> Iterator[dict[str, Any]]:
        yield {
            name: self.settings.getint(name) for name in ("RETRY_TIMES", "DEPTH_LIMIT", "MINE", "REDIRECT_MAX_TIMES")
        }


def test_a_spider_on_a_saved_page_has_settings() -> None:
    told = {"DEPTH_LIMIT": 2, "MINE": 5}
    wanted = [{"RETRY_TIMES": 4, "DEPTH_LIMIT": 2, "MINE": 5, "REDIRECT_MAX_TIMES": 20}]
    assert run_spider(Reads, settings=told).items == run_spider(Reads(), settings=told).items == wanted
    made = Reads.from_crawler(Crawler(Reads, {"MINE": 1}))
    assert run_spider(made).items[0]["MINE"] == 1
