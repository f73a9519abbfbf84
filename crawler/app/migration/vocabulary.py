"""What becomes of each of Scrapy's words here. It asks the running program, so that a word that the program has counts
as supported."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from importlib import import_module
from typing import Any

import crawler
from crawler import errors
from crawler import settings as ours
from crawler.app.migration.findings import Word
from crawler.app.outputs import with_feeds
from crawler.errors import ConfigError
from crawler.parsing import scrapy_words
from crawler.parsing.request_fields import META_WORDS
from crawler.parsing.scrapy_plugins import plugin
from crawler.parsing.scrapy_settings import is_done_here, verdict
from crawler.program import PROGRAM
from crawler.response import Response
from crawler.runtime.setting_layers import read_layer
from crawler.spiders.base import Spider
from crawler.spiders.context import Crawler, SettingsView
from crawler.spiders.pipelines import MEDIA

_NONE = "has no counterpart here"
_RESPONSE = "write Response, which has the text, css and xpath of each page"
_RUN = f"run `{PROGRAM} crawl --spider NAME`, or write `from crawler import run`, and run(SpiderClass)"
_MEDIA = (
    "the crawler fetches files itself, by FILES_STORE and IMAGES_STORE (docs/media.md); what a subclass changes goes "
    "into the item's file_urls, and into process_item of a pipeline behind Scrapy's in ITEM_PIPELINES"
)
_LOADERS = "write `from itemloaders.processors import …`"

OTHERWISE: Mapping[str, str] = {
    "BaseSpider": "write `from crawler import Spider`",
    "Compose": _LOADERS,
    "CrawlerProcess": _RUN,
    "CrawlerRunner": _RUN,
    "HtmlResponse": _RESPONSE,
    "Identity": _LOADERS,
    "Join": _LOADERS,
    "JsonResponse": _RESPONSE,
    "MapCompose": _LOADERS,
    "Selector": "write `from parsel import Selector`; in a callback response.css and response.xpath",
    "SelectJmes": _LOADERS,
    "TakeFirst": _LOADERS,
    "TextResponse": _RESPONSE,
    "cmdline": _RUN,
    "execute": _RUN,
    "XmlResponse": _RESPONSE,
    "Settings": "read self.settings or crawler.settings",
    "get_base_url": "write response.urljoin(url), which knows the page's base",
    "get_project_settings": "read self.settings or crawler.settings",
    "log": "write self.logger, or logging.getLogger(__name__)",
    "settings": "read self.settings or crawler.settings",
}
"""Names that Scrapy's packages export, and that stand elsewhere or have another name."""

WITHOUT: Mapping[str, str] = {
    "DontCloseSpider": f"a job waits for more with `{PROGRAM} seed --from … --follow`",
    "FilesPipeline": _MEDIA,
    "HtmlXPathSelector": "write response.xpath",
    "ImagesPipeline": _MEDIA,
    "MailSender": "write smtplib, in a step of your own",
    "RetryMiddleware": "RETRY_TIMES and RETRY_HTTP_CODES say what is tried again",
    "StopDownload": "DOWNLOAD_MAXSIZE bounds a body",
    "logformatter": "lines of the log have a fixed form",
    "open_in_browser": f"run `{PROGRAM} shell URL`, and view(response)",
}
"""The same, for what there is no counterpart of."""

MODULES: Mapping[str, str] = {
    "scrapy.commands": "write a script that calls the program",
    "scrapy.contracts": "test a spider with crawler.testing.run_spider",
    "scrapy.core": "the crawler fetches in its own way: DOWNLOADER_MIDDLEWARES names steps around a fetch",
    "scrapy.crawler": f"run `{PROGRAM} crawl --spider NAME`; leave a type out",
    "scrapy.downloadermiddlewares": "the crawler does this work by its settings; a class of your own needs no base",
    "scrapy.dupefilters": "each URL is fetched once; Request(dont_filter=True) asks again",
    "scrapy.exporters": "items go to -o FILE.jsonl or to a queue of RabbitMQ: write the other form from there",
    "scrapy.extensions": "the crawler does this work in its own way, by its settings",
    "scrapy.link": "response.links has the URLs",
    "scrapy.pipelines": WITHOUT["FilesPipeline"],
    "scrapy.settings": "read self.settings or crawler.settings",
    "scrapy.spidermiddlewares": "write the step into a callback, a pipeline or a downloader middleware",
    "scrapy.statscollectors": "self.crawler.stats has the figures",
    "scrapy.utils": "write it with the standard library, w3lib or parsel",
}
"""The same, for all other names of a package of Scrapy's."""

SPIDER = frozenset(
    {
        *("name", "start_urls", "allowed_domains", "custom_settings", "handle_httpstatus_list", "parse", "start"),
        *("start_requests", "closed", "from_crawler", "update_settings", "logger", "sitemap_urls", "sitemap_rules"),
        *("sitemap_follow", "sitemap_filter", "sitemap_alternate_links", "rules", "parse_start_url", "settings"),
        *("crawler", "state", "log", "process_results", "parse_node", "parse_row", "close", "handles_request"),
    }
)
RESPONSE = frozenset(
    {
        *("url", "status", "headers", "body", "text", "meta", "request", "flags", "cb_kwargs", "encoding", "selector"),
        *("css", "xpath", "jmespath", "json", "urljoin", "follow", "follow_all", "copy", "replace", "certificate"),
        *("ip_address", "protocol", "attributes", "body_as_unicode", "to_dict", "from_dict"),
    }
)
_OF_RESPONSE = Response("https://a.example/")  # its own attributes are in no class
_RESPONSE_WORDS: Mapping[str, str] = {"body_as_unicode": "write response.text"}
_CRAWLER_WORDS: Mapping[str, str] = {
    "engine": f"a spider ends its job by raising CloseSpider(reason); others by `{PROGRAM} control`",
    "crawl": "yield the request from a callback",
    "stop": "raise CloseSpider(reason)",
}
_SPIDER_METHODS = frozenset({"process_spider_input", "process_spider_output", "process_spider_exception"}) | {
    "process_start_requests",
    "process_start",
}


def exported() -> Collection[str]:
    """Return what `from crawler import …` gives."""
    return crawler.__all__


def imported(module: str, name: str) -> Word | None:
    """Return what becomes of `from module import name`; None if it has nothing to do with Scrapy."""
    if known := plugin(module):
        return Word("missing", "plugin", *known)
    if module.partition(".")[0] not in ("scrapy", "twisted"):
        return None
    if name not in exported() and (found := _exception(name)):
        return Word("different", "import", f"{module}.{name}", found)
    if module.partition(".")[0] == "twisted":
        return Word("different", "import", module, "write async def and await: the crawler runs on asyncio")
    full = f"{module}.{name}" if name else module
    if not name:
        return Word("different", "import", full, "leave it out, and import its names from crawler")
    if name == "*":
        return Word("different", "import", full, "write the names that are used: `from crawler import Spider, …`")
    if module == "scrapy.signals" or full.startswith("scrapy.signals."):
        return signal(name)
    return _export(full, name)


def _exception(name: str) -> str:
    """Say where an exception of Scrapy or Twisted is that an errback is asked about; empty if it is none."""
    found = getattr(errors, name, None)
    is_one = isinstance(found, type) and issubclass(found, errors.PageError)
    return f"write `from crawler.errors import {name}`" if is_one and name not in exported() else ""


def _export(full: str, name: str) -> Word:
    plain = "LinkExtractor" if name.endswith("LinkExtractor") else name.replace("JSONRequest", "JsonRequest")
    if plain in exported():
        return Word("different", "import", full, f"write `from crawler import {plain}`")
    if advice := OTHERWISE.get(plain):
        return Word("different", "import", full, advice)
    if advice := scrapy_words.NAMES.get(plain) or WITHOUT.get(plain):
        return Word("missing", "import", full, advice)
    package = ".".join(full.split(".")[:2])
    return Word("missing", "import", full, MODULES.get(package, _NONE))


def signal(name: str) -> Word:
    """Return what becomes of one of Scrapy's signals."""
    try:
        there: Any = import_module("crawler.spiders.signals")
    except ImportError:
        there = None
    if name in vars(there or type):
        return Word("have", "signal", name)
    return Word("missing", "signal", name, getattr(there, "LACKING", {}).get(name, _NONE))


def request_argument(name: str, maker: str) -> Word:
    """Return what becomes of an argument of `Request`, `FormRequest`, `follow` …"""
    advice = scrapy_words.REQUEST.get(name) if maker in ("Request", "follow", "follow_all") else None
    return Word("missing", "request", f"{name}=", advice) if advice else Word("have", "request", f"{name}=")


def meta_key(name: str) -> Word | None:
    """Return what becomes of a key of `meta`; None if it is the project's own."""
    if name.startswith("playwright"):
        return Word("missing", "meta", name, scrapy_words.META["playwright"])
    if name not in META_WORDS:
        return None
    advice = scrapy_words.META.get(name)
    return Word("missing", "meta", name, advice) if advice else Word("have", "meta", name)


def spider_attribute(name: str, root: str) -> Word | None:
    """Return what becomes of an attribute or method that a spider defines; None if it is the project's own. `root` is
    the class of Scrapy's that the spider derives from, such as CrawlSpider."""
    spider = getattr(crawler, root) if root in exported() else Spider
    known = name in SPIDER or name in scrapy_words.ATTRIBUTES
    if known and (hasattr(spider, name) or name in spider.__annotations__):
        return Word("have", "spider", name)
    if advice := scrapy_words.ATTRIBUTES.get(name):
        return Word("missing", "spider", name, advice)
    return Word("missing", "spider", name, "nothing calls or reads it") if known else None


def spider_read(name: str) -> Word | None:
    """Return what becomes of an attribute that a spider reads: `self.crawler`, `self.state` …"""
    if name == "state":
        return Word("missing", "spider", "self.state", scrapy_words.READ["state"].lstrip("; "))
    return Word("have", "spider", f"self.{name}") if name in ("crawler", "settings", "logger") else None


def crawler_attribute(path: str) -> Word | None:
    """Return what becomes of `crawler.…`, such as `stats.inc_value`; None if it is no word of Scrapy's."""
    first, _, rest = path.partition(".")
    there = {"stats": Crawler(Spider).stats, "settings": SettingsView({}), "signals": object(), "spider": Spider}
    if first in _CRAWLER_WORDS:
        return Word("missing", "spider", f"crawler.{first}", _CRAWLER_WORDS[first])
    if first not in there:
        return None
    if rest and first in ("stats", "settings") and not hasattr(there[first], rest.partition(".")[0]):
        return Word("missing", "spider", f"crawler.{path}", _NONE)
    return Word("have", "spider", f"crawler.{first}")


def response_attribute(name: str) -> Word | None:
    """Return what becomes of an attribute of a response; None if it is the project's own."""
    if name not in RESPONSE:
        return None
    if hasattr(_OF_RESPONSE, name):
        return Word("have", "response", f"response.{name}")
    return Word("missing", "response", f"response.{name}", _RESPONSE_WORDS.get(name, _NONE))


def component_method(name: str, *, is_pipeline: bool) -> Word | None:
    """Return what becomes of a method of a pipeline or middleware; None if Scrapy calls none of that name."""
    if name in _SPIDER_METHODS:
        advice = "write the step into the spider's callbacks, or into process_item"
        return Word("missing", "middleware", name, advice)
    if is_pipeline and name in ("process_item", "open_spider", "close_spider", "from_crawler"):
        advice = "" if "ITEM_PIPELINES" in ours.NAMES else "write def process_item(self, item) in the spider"
        return Word("missing" if advice else "have", "pipeline", name, advice)
    if name == "from_settings":
        return Word("different", "pipeline" if is_pipeline else "middleware", name, "write from_crawler(cls, crawler)")
    if name in ("process_request", "process_response", "process_exception"):
        return Word("have", "middleware", name)
    return None


UNKNOWN = object()
"""The value of a setting that only running its file tells."""

_TABLES = ("ITEM_PIPELINES", "DOWNLOADER_MIDDLEWARES", "EXTENSIONS", "SPIDER_MIDDLEWARES")


def setting(name: str, value: Any, place: str, *, of_spider: bool = False) -> list[Word]:
    """Return what becomes of a setting, and of the components that it names."""
    words = (
        [_parts(name, path) for path, number in value.items() if number is not None] if _is_table(name, value) else []
    )
    if parts := [word for word in words if word]:
        value = {path: number for path, number in value.items() if not (number is not None and _parts(name, path))}
    return [*parts, _setting(name, value, place, of_spider=of_spider)]


def _is_table(name: str, value: Any) -> bool:
    return name in _TABLES and isinstance(value, Mapping)


def _parts(setting: str, path: Any) -> Word | None:
    """Return what becomes of a component that is Scrapy's or a plugin's; None if it is the project's own."""
    if known := plugin(str(path)):
        return Word("missing", "plugin", *known)
    if path in MEDIA:
        return Word("have", "setting", f"{setting}: {path}", f"the crawler does its work itself, by {MEDIA[path]}")
    if str(path).startswith("scrapy.pipelines."):
        return Word("missing", "setting", f"{setting}: {path}", WITHOUT["FilesPipeline"])
    if is_done_here(path):
        return Word("have", "setting", f"{setting}: {path}", "changes nothing here: the crawler does its work itself")
    if str(path).startswith("scrapy."):
        return Word(
            "different", "setting", f"{setting}: {path}", "take it out: the crawler does its work in its own way"
        )
    return None


def _setting(name: str, value: Any, place: str, *, of_spider: bool) -> Word:
    if value is UNKNOWN:
        return _unread(name)
    if value is None and not of_spider:
        return Word("have", "setting", name)
    found = verdict(name, value) if name not in ours.NAMES else None
    read = read_layer({name: value}, place, ours.KINDS)
    if found and found.kind == "unsupported":
        return Word("missing", "setting", name, found.words)
    if wrong := [*read.wrong, *_wrong_outputs(read.values)]:
        return Word("different", "setting", name, wrong[0])
    if of_spider and (read.values.keys() - ours.PER_SPIDER - ours.PER_PROCESS - {"OWN"}):
        return Word("different", "setting", name, "no spider can set it: write it in settings.py, or with -s")
    if found and found.kind == "translated":
        counts = ", ".join(f"{one} = {what!r}" for one, what in found.settings.items())
        return Word("have", "setting", name, f"counts as {counts}")
    return Word("have", "setting", name, f"changes nothing here: {found.words}" if found else _own(name))


def _wrong_outputs(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with outputs that have the right form."""
    if ours.FEED_NAMES.isdisjoint(values):
        return
    try:
        yield from ours.wrong_feeds(settings := ours.Settings(**values))
        with_feeds(settings)
    except (ConfigError, ValueError) as error:
        yield str(error)


def _own(name: str) -> str:
    return "" if name in ours.NAMES else "your own: self.settings"


def _unread(name: str) -> Word:
    found = verdict(name, UNKNOWN)
    if found and found.kind == "unsupported":
        return Word("missing", "setting", name, f"unless it is off (its value is computed): {found.words}")
    return Word("have", "setting", name, "its value is computed: `settings --check` tells whether it fits")
