"""Scrapy's settings: each is the same, translated, harmless or unsupported here; Scrapy's own value is no problem."""

from __future__ import annotations

from typing import Any

import pytest
from scrapy.settings import default_settings

from crawler.parsing.scrapy_settings import HARMLESS, MISSING, TRANSLATED, Kind, in_our_form, verdict
from crawler.runtime.setting_layers import read_layer
from crawler.settings import KINDS, NAMES

OTHERS_HAVE = ("CONCURRENT_REQUESTS_PER_IP",)  # names that a module of Scrapy's defaults has and does not list
SCRAPYS = sorted({name for name in dir(default_settings) if name.isupper()} | {*OTHERS_HAVE})


def test_scrapy_has_the_names_that_this_test_is_about() -> None:
    assert len(SCRAPYS) > 200
    assert set(default_settings.__all__) <= set(SCRAPYS)


@pytest.mark.parametrize("name", SCRAPYS)
def test_each_of_scrapys_settings_is_classed_once(name: str) -> None:
    tables = [table for table in (NAMES, TRANSLATED, MISSING, HARMLESS) if name in table]
    begins = [one for table in (MISSING, HARMLESS) for one in table if one[-1] == "*" and name.startswith(one[:-1])]
    assert len(tables) == 1 or (not tables and begins), f"{name} stands in {len(tables)} tables"


@pytest.mark.parametrize("name", sorted(set(SCRAPYS) - NAMES))
def test_the_value_that_scrapy_has_anyway_is_no_problem(name: str) -> None:
    value = vars(default_settings).get(name, 0)
    if isinstance(value, list):
        value = [f"{one.__module__}.{one.__name__}" if isinstance(one, type) else one for one in value]
    found = verdict(name, value)
    assert found is not None
    assert found.kind != "unsupported", found.words


def test_no_entry_hides_a_setting_that_works() -> None:
    assert NAMES & {*TRANSLATED, *MISSING, *HARMLESS} == set()
    assert [ours for _, name in TRANSLATED.items() for ours in name.ours("1") if ours not in NAMES] == []


@pytest.mark.parametrize(
    ("name", "value", "kind", "settings"),
    [
        ("CONCURRENT_REQUESTS_PER_IP", 4, "translated", {"CONCURRENT_REQUESTS_PER_DOMAIN": 4}),
        ("CONCURRENT_REQUESTS_PER_IP", "0", "harmless", {}),
        ("RANDOMIZE_DOWNLOAD_DELAY", True, "translated", {"DOWNLOAD_DELAY_JITTER": 0.5}),
        ("RANDOMIZE_DOWNLOAD_DELAY", "False", "translated", {"DOWNLOAD_DELAY_JITTER": 0.0}),
        ("RETRY_ENABLED", False, "translated", {"RETRY_TIMES": 0}),
        ("RETRY_ENABLED", True, "harmless", {}),
        ("REDIRECT_ENABLED", "no", "translated", {"REDIRECT_MAX_TIMES": 0}),
        ("LOG_ENABLED", False, "translated", {"LOG_LEVEL": "ERROR"}),
        ("LOG_FORMAT", "json", "translated", {"LOG_RENDERER": "json"}),
        ("LOG_FORMAT", "%(levelname)s: %(message)s", "harmless", {}),
        ("BOT_NAME", "shop", "harmless", {}),
        ("DEPTH_PRIORITY", 1, "harmless", {}),
        ("DEPTH_PRIORITY", -1, "unsupported", {}),
        ("DUPEFILTER_CLASS", "scrapy_redis.dupefilter.RFPDupeFilter", "harmless", {}),
        ("DUPEFILTER_CLASS", "scrapy.dupefilters.BaseDupeFilter", "unsupported", {}),
        ("SPIDER_MIDDLEWARES", {"shop.Mine": None, "scrapy.spidermiddlewares.depth.X": 9}, "harmless", {}),
        ("SPIDER_MIDDLEWARES", {"shop.Mine": 543}, "unsupported", {}),
        ("DOWNLOAD_HANDLERS", {"s3": None}, "harmless", {}),
        ("DOWNLOAD_HANDLERS", {"https": "scrapy_playwright.handler.X"}, "unsupported", {}),
        ("URLLENGTH_LIMIT", 5000, "harmless", {}),
        ("URLLENGTH_LIMIT", 300, "unsupported", {}),
        ("FEED_EXPORT_ENCODING", "latin-1", "unsupported", {}),
        ("FEED_EXPORT_ENCODING", "UTF_8", "harmless", {}),
        ("METAREFRESH_IGNORE_TAGS", ["div"], "unsupported", {}),
        ("RETRY_EXCEPTIONS", ["shop.Bad"], "unsupported", {}),
        ("REDIS_HOST", "10.0.0.1", "unsupported", {}),
        ("SCHEDULER_PERSIST", True, "harmless", {}),
    ],
)
def test_the_value_decides(name: str, value: Any, kind: Kind, settings: dict[str, Any]) -> None:
    found = verdict(name, value)
    assert found is not None
    assert (found.kind, found.settings) == (kind, settings)


@pytest.mark.parametrize("name", ["MONGO_URI", "DOWNLOAD_DELAY", "ITEMS"])
def test_what_is_none_of_scrapys_has_no_verdict(name: str) -> None:
    assert verdict(name, 1) is None


@pytest.mark.parametrize(("level", "ours"), [("CRITICAL", "ERROR"), (10, "DEBUG"), ("WARN", "WARNING"), ("x", "x")])
def test_scrapys_levels_are_read(level: object, ours: str) -> None:
    assert in_our_form("LOG_LEVEL", level) == ours


def test_a_header_without_a_value_is_not_sent() -> None:
    assert in_our_form("DEFAULT_REQUEST_HEADERS", {"Accept": "*/*", "X-Off": None}) == {"Accept": "*/*"}


def test_parts_of_scrapy_whose_work_is_done_here_are_left_out_of_a_setting() -> None:
    given = {"scrapy.downloadermiddlewares.retry.RetryMiddleware": 90, "scrapy.pipelines.images.X": 1, "shop.Mine": 2}
    assert in_our_form("DOWNLOADER_MIDDLEWARES", given) == {"scrapy.pipelines.images.X": 1, "shop.Mine": 2}
    assert in_our_form("SPIDERS", {"shop": {"rate": "1/s"}}) == {"shop": {"rate": "1/s"}}


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("REDIS_HOST", "10.0.0.1", 'write REDIS_URL = "redis://10.0.0.1:6379/0"'),
        ("REDIS_PORT", 6380, 'write REDIS_URL = "redis://host:6380/0"'),
        ("HTTPERROR_ALLOWED_CODES", [404, 410], "write handle_httpstatus_list = [404, 410] in the spider"),
    ],
)
def test_what_to_write_holds_the_value(name: str, value: object, words: str) -> None:
    found = verdict(name, value)
    assert found is not None
    assert found.words == words


@pytest.mark.parametrize("name", sorted(set(SCRAPYS) & NAMES))
def test_a_setting_of_the_same_name_takes_the_value_that_scrapy_has(name: str) -> None:
    value = vars(default_settings)[name]
    assert value is None or read_layer({name: value}, "settings.py", KINDS).wrong == []
