"""Builds the sink that hands items to a class of the project: `python:module:Class`."""

from __future__ import annotations

from functools import cache
from typing import Any

from crawler.app.config import Config
from crawler.app.spiders import spider_here
from crawler.errors import ConfigError
from crawler.export.sinks.user_class import Own, UserClass, Words
from crawler.export.target import Target
from crawler.model import DEFAULT_SPIDER, Job
from crawler.runtime import components
from crawler.runtime.url_words import read
from crawler.settings import override, own_settings
from crawler.spiders.base import DropItem, Spider
from crawler.spiders.context import Crawler, SettingsView, view_of
from crawler.spiders.files import make_importable

SCHEME = "python:"
_SETTING = "output"  # how errors call what names the class


def user_sink(config: Config, target: Target, job: Job) -> UserClass:
    """Build the sink. Raise `ConfigError` for a class that cannot be imported or takes no items."""
    name, _, query = target.name.partition("?")
    words = read(query, name, Words) if query else Words()
    path = name.removeprefix(SCHEME).replace(":", ".")
    make_importable(config.folder.resolve())
    _check(path)

    @cache
    def spider(named: str) -> Any:
        return _spider(config, job, named or job.spider or DEFAULT_SPIDER)

    own = Own(lambda: _made(path, spider(job.spider).crawler), spider, DropItem)
    return UserClass(name, own, words, job, append=target.append)


def _check(path: str) -> None:
    found = components.load(_SETTING, path)
    if not isinstance(found, type):
        raise ConfigError(f"{_SETTING}: {path} is no class; name one")
    if not (hasattr(found, "process_item") or hasattr(found, "write")):
        raise ConfigError(f"{_SETTING}: {path} has neither process_item(self, item) nor write(self, items)")


def _made(path: str, crawler: Crawler) -> Any:
    found = components.load(_SETTING, path)
    if hasattr(found, "from_settings") and not hasattr(found, "from_crawler"):
        return found.from_settings(crawler.settings)
    made = components.make(_SETTING, path, crawler)
    if made is None:
        raise ConfigError(f"{_SETTING}: {path} raised NotConfigured: without it the items have no place to go")
    return made


def _spider(config: Config, job: Job, name: str) -> Spider:
    """Return the spider of that name; where the project lacks it, one that has the name alone. Raise `ConfigError` for
    one that cannot be used: its settings may say where the items go."""
    without = "the class gets a spider without arguments, with the settings of settings.py"
    if found := spider_here(config, name, job.arguments if name == job.spider else {}, without):
        return found
    own = own_settings(config.settings, name, {})
    settings = override(config.settings, own, f"spider {name}", keep=config.explicit)
    spider: Spider = type("Spider", (Spider,), {"name": name})()
    spider._set_crawler(Crawler(type(spider), SettingsView(view_of(settings))))
    spider.crawler.spider = spider
    return spider
